import tarfile

import pytest

from lenet_alexnet.data import (
    class_folders,
    photo_sources,
    photos,
    records,
)
from lenet_alexnet.errors import DataError
from tests.photo_files import (
    WNIDS,
    class_members,
    encoded,
    make_official,
    picture,
    prepare_folder,
    prepare_imagenet,
    tar_bytes,
    validation_members,
    write_folder,
    write_official,
)


@pytest.fixture
def official(tmp_path, monkeypatch):
    return make_official(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (lambda t: t | {"n09999999.tar": t["n01440764.tar"]}, None, "holds 'n09999999.tar': the"),
        (lambda t: {k: t[k] for k in list(t)[:2]}, None, "2 of 3 class tars; n01484850.tar is"),
        (lambda t: t | {"n01440764.tar": tar_bytes(class_members(0, 7))}, None, "23 images, .* 24"),
        (lambda t: t | {"n01440764.tar": b"no tar at all" * 900}, None, "n01440764.tar .*is no"),
        (lambda t: t | {"n01440764.tar": t["n01440764.tar"][:9000]}, None, "n01440764.tar in"),
        (None, lambda v: {k.lower(): c for k, c in v.items()}, "where the official file has 'ILSV"),
        (None, lambda v: dict(list(v.items())[:1]), "holds 'ILSVRC2012_val_00000003.JPEG' where"),
    ],
)  # fmt: skip
def test_tars_that_are_not_the_official_ones(official, tmp_path, train, validation, message):
    tars = {f"{w}.tar": tar_bytes(class_members(i)) for i, w in enumerate(WNIDS)}
    write_official(official, train and train(tars), validation and validation(validation_members()))
    with pytest.raises(DataError, match=message):
        prepare_imagenet(official, tmp_path / "D")
    assert not (tmp_path / "D").exists()


@pytest.mark.parametrize("where", ["header", "cut"])
def test_damaged_outer_tar(official, tmp_path, where):
    path = official / photo_sources.TRAIN_TAR
    content = bytearray(path.read_bytes())
    second = content.index(b"n01443537.tar")
    if where == "header":
        content[second + 100 : second + 300] = b"\xff" * 200  # tarfile would take it for the end
    path.write_bytes(content if where == "header" else content[: second + 700])
    with pytest.raises(DataError, match=r"img_train\.tar is"):
        prepare_imagenet(official, tmp_path / "D")


def test_official_lists_are_whole():
    expected = photo_sources.official()
    assert (len(set(expected.wnids)), expected.wnids[0]) == (1000, "n01440764")
    assert list(expected.wnids) == sorted(expected.wnids)
    assert len(expected.validation_labels) == 50_000
    assert set(expected.validation_labels) == set(expected.wnids)


def test_missing_tars(tmp_path):
    with pytest.raises(DataError, match=r"no ILSVRC2012_img_train\.tar in"):
        prepare_imagenet(tmp_path, tmp_path / "D")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train/cat": 2, "train/dog": 0}, "no images in the folder of class 'dog'"),
        ({"train/cat": 2}, "one class only, 'cat'"),
        ({"cat": 2}, "one class only, 'cat'"),
        ({"train/cat": 2, "train/dog": 2, "val/cow": 1}, "validation has a class 'cow'"),
        ({"val/cat": 2, "val/dog": 2}, "has a folder 'val' but no 'train'"),
        ({"train/cat": 1, "train/dog": 1, "val/cat": 1, "validation/cat": 1}, "both val and"),
        ({"train": 3}, "no class folders"),
        ({"": 3}, "no class folders"),
    ],
)
def test_folders_that_are_no_class_folders(tmp_path, split, message):
    root = tmp_path / "photos"
    for name, count in split.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            picture(i).save(root / name / f"{i}.jpg")
    with pytest.raises(DataError, match=message):
        prepare_folder(root, tmp_path / "D")


def test_folder_splits_and_plain_class_folders(tmp_path):
    root = write_folder(tmp_path / "a", ("train", "val", "test"))
    (root / "train" / "cat" / "up").symlink_to(root)  # Links in circles end.
    folder = prepare_folder(root, tmp_path / "D")
    assert records.sizes(folder) == {"train": 6, "validation": 6, "test": 6}
    plain = prepare_folder(root / "test", tmp_path / "D", name="plain")
    assert records.sizes(plain) == {"train": 6}
    assert records.class_names(plain) == ("cat", "dog")


@pytest.mark.parametrize("form", ["folder", "above", "tar"])
def test_imagenette_carries_its_class_names(tmp_path, form):
    import tensorflow_datasets as tfds

    path = tfds.core.tfds_path("image_classification/imagenette_labels.txt")
    wnids = path.read_text().split()
    root = write_folder(tmp_path / "x" / "imagenette2", ("train", "val"), 1, wnids)
    source = {"folder": root, "above": root.parent, "tar": tmp_path / "x.tar"}[form]
    if form == "tar":
        with tarfile.open(source, "w") as tar:
            tar.add(root / "train", "train")
            tar.add(root / "val", "val")
    found = class_folders.imagenette(source)
    assert found.class_names[0] == "tench"
    assert found.class_names[-1] == "parachute"
    assert {split: [p.label for p in part] for split, part in found.splits.items()} == {
        "train": list(range(10)), "validation": list(range(10)),
    }  # fmt: skip
    photo = found.splits["validation"][3]
    assert photo.read() == (root / "val" / wnids[3] / "0.jpg").read_bytes()
    with pytest.raises(DataError, match="is not Imagenette, whose classes are n01440764"):
        class_folders.imagenette(write_folder(tmp_path / "y"))


def test_damaged_and_packed_tars_of_folders(tmp_path):
    content = tar_bytes({f"train/{c}/1.jpg": encoded(picture(1)) for c in ("cat", "dog")})
    (tmp_path / "cut.tar").write_bytes(content[: content.index(b"train/dog")])
    with pytest.raises(DataError, match=r"cut\.tar is damaged or truncated after 1 members"):
        prepare_folder(tmp_path / "cut.tar", tmp_path / "D")
    import gzip

    (tmp_path / "a.tgz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="unpack it first"):
        prepare_folder(tmp_path / "a.tgz", tmp_path / "D")


def test_photos_that_vanish_stop_the_run(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "a")
    found = class_folders.read(root)
    (root / "train" / "dog" / "1.jpg").unlink()
    monkeypatch.setitem(photos.KINDS, "folder", lambda _: found)
    with pytest.raises(DataError, match=r"cannot read .*dog/1\.jpg: No such file"):
        prepare_folder(root, tmp_path / "D")
