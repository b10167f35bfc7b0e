import io

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.data import image_files
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.sources import prepared as records
from lenet_alexnet.data.sources import tf_example
from lenet_alexnet.errors import DataError
from tests.helpers.photo_files import encoded, manifest, picture, prepare_folder, write_folder

DEEP = np.full((30, 40), 51200, np.uint16)
ODD = {
    "grey.jpg": (encoded(picture(1, mode="L")), "L to RGB"),
    "cmyk.jpg": (encoded(picture(2, mode="CMYK")), "CMYK to RGB"),
    "png_inside.jpg": (encoded(picture(3), "PNG"), "PNG, not JPEG"),
    "alpha.png": (encoded(Image.new("RGBA", (40, 30), (0, 0, 0, 0)), "PNG"), "RGBA to RGB"),
    "palette.gif": (encoded(picture(4, mode="P"), "GIF"), "P to RGB"),
    "deep.png": (encoded(Image.fromarray(DEEP), "PNG"), "I;16 to RGB"),
    "dot.png": (encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), "enlarged from 1x1"),
}
BAD = {
    "cut.jpg": (encoded(picture(5, (400, 300)))[:-2000], "truncated"),
    "text.jpg": (b"<html>not found</html>", "not an image"),
    "broken.png": (encoded(picture(6), "PNG")[:200] + b"x" * 500, ""),
}


def test_statistics_against_numpy(rng):
    colours = rng.normal(size=(3, 3))
    images = (rng.normal(size=(6, 5, 4, 3)) @ colours * 20 + 120).clip(0, 255).astype(np.uint8)
    found = statistics.compute(images)
    assert found.images == 6
    np.testing.assert_allclose(found.mean_image, images.mean(0), rtol=1e-6)
    pixel = images.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(found.colour_mean, pixel.mean(0), rtol=1e-12)
    covariance = np.cov(pixel.T, bias=True)
    rebuilt = found.eigenvectors @ np.diag(found.eigenvalues) @ found.eigenvectors.T
    np.testing.assert_allclose(rebuilt, covariance, rtol=1e-9)
    assert (np.diff(found.eigenvalues) < 0).all()
    with pytest.raises(DataError, match="no images"):
        statistics.compute(images[:0])


@pytest.mark.attack(
    "silent", "photos in CMYK, turned, cut off or empty", "converted or left out, and listed"
)
def test_odd_photos_are_converted_and_bad_ones_listed(tmp_path):
    root = write_folder(tmp_path / "photos")
    for file, (content, _) in (ODD | BAD).items():
        (root / "train" / "cat" / file).write_bytes(content)
    (root / "train" / "cat" / "empty.jpg").write_bytes(b"")
    (root / "train" / "notes.txt").write_text("about")
    (root / "train" / "dog" / "Thumbs.db").write_bytes(b"x")
    folder = prepare_folder(root, tmp_path / "D")
    listed = manifest(folder)
    assert listed["converted"] == {f"train/cat/{f}": note for f, (_, note) in ODD.items()}
    reasons = {f"train/cat/{f}": reason for f, (_, reason) in BAD.items()} | {
        "train/cat/empty.jpg": "empty",
        "train/notes.txt": "not in a class folder",
        "train/dog/Thumbs.db": "not an image by its name",
    }
    assert listed["left_out"].keys() == reasons.keys()
    assert all(reasons[file] in reason for file, reason in listed["left_out"].items())
    assert listed["stored"] == records.sizes(folder) == {"train": 6 + len(ODD)}


def test_what_odd_photos_become():
    become = {f: image_files.standardise(content, 8, f)[0] for f, (content, _) in ODD.items()}
    assert (become["alpha.png"] == 255).all()
    assert (become["deep.png"] == 200).all()
    assert (become["dot.png"] == (9, 8, 7)).all()
    assert np.ptp(become["grey.jpg"], axis=-1).max() == 0
    plain = image_files.standardise(encoded(picture(2), quality=100), 8, "a.jpg")[0].astype(int)
    assert np.abs(become["cmyk.jpg"] - plain).mean() < 8


def test_photos_are_turned_upright(rng):
    image = picture(7, (30, 40))
    exif = Image.Exif()
    exif[image_files.ORIENTATION] = 6  # The camera was turned: the file lies on its side.
    lying = encoded(image.transpose(Image.Transpose.ROTATE_90), quality=100, exif=exif)
    found, notes = image_files.standardise(lying, 10, "a.jpg")
    expected = image_files.standardise(encoded(image, quality=100), 10, "a.jpg")[0].astype(int)
    assert notes == ["turned upright"]
    assert np.abs(found - expected).mean() < 3


def test_the_centre_of_the_short_side(rng):
    stripes = np.zeros((30, 90, 3), np.uint8)
    stripes[:, 30:60] = 200
    found, notes = image_files.standardise(encoded(Image.fromarray(stripes), "PNG"), 30, "a.png")
    assert (found == 200).all()
    assert not notes
    # Reduced while decoding, a photo differs little from one that is decoded in full.
    large = encoded(picture(8, (900, 700)), quality=95)
    found = image_files.standardise(large, 64, "a.jpg")[0].astype(int)
    whole = Image.open(io.BytesIO(large)).crop((100, 0, 800, 700))
    assert np.abs(found - np.asarray(whole.resize((64, 64), Image.Resampling.BOX))).mean() < 1


@pytest.mark.attack("hangs", "an image of gigapixels in a few bytes", "refused by its header")
def test_decompression_bombs_are_refused_by_their_header(monkeypatch):
    content = encoded(Image.new("1", (3000, 3000)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8_000_000)
    with pytest.raises(image_files.UnusableError, match="more than 8,000,000 pixels"):
        image_files.standardise(content, 16, "a.png")


def test_records_are_what_tfds_writes(rng):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_generated_pb2

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Tensor(shape=(9, 9, 3), dtype=np.uint8, encoding="bytes"),
            "label": tfds.features.ClassLabel(num_classes=1000),
            "file_name": tfds.features.Text(),
        }
    )
    image = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for label in (0, 1, 127, 128, 999):
        content = {"image": image, "label": label, "file_name": "a/é.JPEG"}
        ours = tf_example.encode(tf_example.Example(image.tobytes(), label, "a/é.JPEG"))
        message = tf_example_generated_pb2.Example.FromString
        assert message(ours) == message(features.serialize_example(content))
        for record in (ours, features.serialize_example(content)):
            stored, found = tf_example.decode(record)
            assert (bytes(stored), found) == (image.tobytes(), label)
    for broken in (ours[:5], b"", ours[:1], b"\x08\x01", ours[:-4]):
        with pytest.raises(ValueError, match="record"):
            tf_example.decode(broken)
