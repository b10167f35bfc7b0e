"""CIFAR-10 from its official files: read, refused, prepared, trained on."""

import errno
import gzip
import io
import os
import struct
import zlib

import numpy as np
import pytest

from lenet_alexnet import config as configs
from lenet_alexnet.cli import main
from lenet_alexnet.data import checksums, stored_images
from lenet_alexnet.data.prepare import builder, cifar10, datasets
from lenet_alexnet.data.prepare.known import KNOWN
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.sources import prepared as records
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage
from lenet_alexnet.training import loop
from tests.helpers import ROOT
from tests.helpers.photo_files import tar_bytes

COUNT = 10


def content_of(records_of):
    return b"".join(bytes([label]) + planes.tobytes() for planes, label in records_of)


@pytest.fixture
def batches(monkeypatch, rng):
    """A few images [n, 3, 32, 32] and labels for each file."""
    monkeypatch.setattr(cifar10, "RECORDS", COUNT)
    return {
        name: (rng.integers(0, 256, (COUNT, 3, 32, 32), np.uint8), rng.permutation(10))
        for name in cifar10.NAMES
    }


@pytest.fixture
def official(batches, tmp_path):
    """A folder of the binary version, with ten images per file."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, (images, labels) in batches.items():
        (folder / f"{name}.bin").write_bytes(content_of(zip(images, labels, strict=True)))
    (folder / "batches.meta.txt").write_text("\n".join(cifar10.CLASSES) + "\n\n")
    return folder


def packed(path, members):
    path.write_bytes(gzip.compress(tar_bytes(members)))
    return path


def python_batch(images, labels):
    """A file of the Python version, as Python 2 wrote it (protocol 2)."""

    def text(content):
        return b"T" + struct.pack("<I", len(content)) + content

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + b"M"
        + struct.pack("<H", len(images))
        + b"M"
        + struct.pack("<H", 3072)
        + b"\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89" + text(images.tobytes()) + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + numbers + b"u."


def expected(batches, split):
    names = [name for name in cifar10.NAMES if (name == "test_batch") == (split == "test")]
    images = np.concatenate([batches[name][0] for name in names]).transpose(0, 2, 3, 1)
    return images, np.concatenate([batches[name][1] for name in names])


def test_records_are_read_in_their_order_from_every_place(official, batches, tmp_path):
    names = {path.name: path.read_bytes() for path in official.iterdir()}
    tar = packed(tmp_path / "cifar-10-binary.tar.gz", {f"x/{n}": c for n, c in names.items()})
    python = tmp_path / "py"
    python.mkdir()
    for name, batch in batches.items():
        (python / name).write_bytes(python_batch(*batch))
    inside = {f"cifar-10-batches-py/{p.name}": p.read_bytes() for p in python.iterdir()}
    alone = tmp_path / "alone"
    alone.mkdir()
    packed(alone / "cifar-10-python.tar.gz", inside)
    for place in (official, tmp_path, tar, python, alone):
        found = cifar10.read(place)
        for split, data in found.items():
            images, labels = expected(batches, split)
            np.testing.assert_array_equal(data.images, images)
            assert data.labels.tolist() == labels.tolist()
        assert found["train"].class_names[6] == "frog"


@pytest.mark.attack(
    "silent", "CIFAR-10's files with other sizes, labels or names", "one line names the file"
)
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data_batch_2.bin", lambda c: c[:-1], "data_batch_2.bin is truncated: 30,729 bytes"),
        ("data_batch_2.bin", lambda c: c + c[:3073], "data_batch_2.bin is too long"),
        ("test_batch.bin", lambda c: bytes(3074 * COUNT), "two labels per record, as CIFAR-100"),
        ("data_batch_5.bin", lambda c: b"\x0a" + c[1:], r"data_batch_5.bin has a label 10 outside"),
        ("batches.meta.txt", lambda c: b"cat\ndog\n", "names other classes"),
    ],
)
def test_a_wrong_file_is_named(official, tmp_path, capsys, name, change, message):
    path = official / name
    path.write_bytes(change(path.read_bytes()))
    arguments = [f"--from={official}", f"--data_dir={tmp_path / 'D'}"]
    assert main(["lenet-alexnet", "data", "prepare", "cifar10", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "D").exists()


def test_what_is_not_there(official, tmp_path):
    (official / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"no data_batch_3\.bin in '.*batches-bin'"):
        cifar10.read(official)
    with pytest.raises(DataError, match="no folder or tar '/nowhere'"):
        cifar10.read("/nowhere")
    other = packed(tmp_path / "c.tar.gz", {"cifar-100-binary/train.bin": bytes(3074)})
    with pytest.raises(DataError, match="is CIFAR-100 "):
        cifar10.read(other)
    whole = other.read_bytes()
    other.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"c\.tar\.gz"):
        cifar10.read(other)
    other.write_bytes(b"no tar at all")
    with pytest.raises(DataError, match="is not a plain tar"):
        cifar10.read(other)


@pytest.mark.attack("hangs", "CIFAR-10's tar with a negative or huge size", "one line")
@pytest.mark.parametrize("size", [b"-1\0", b"77777777777\0", b"\xff" * 12])
@pytest.mark.parametrize("form", ["w", "w:gz"])
def test_tar_headers_that_lie_about_a_size_are_refused(size, form, tmp_path):
    content = bytearray(tar_bytes({name: bytes(600) for name in cifar10.NAMES}))
    content[124:136] = size.ljust(12, b"\0")
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(content if form == "w" else gzip.compress(content))
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz is"):
        cifar10.read(path)


class Runs:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


@pytest.mark.attack(
    "foreign", "CIFAR-10's batches with a pickle that runs code", "it is refused and not run"
)
def test_no_pickle_is_run(batches, tmp_path, monkeypatch):
    import pickle

    monkeypatch.chdir(tmp_path)
    python = tmp_path / "cifar-10-batches-py"
    python.mkdir()
    whole = {name: python_batch(*batch) for name, batch in batches.items()}
    images, labels = batches["test_batch"]
    cases = {
        "it asks for posix\\.mkdir": pickle.dumps({"data": Runs()}, protocol=2),
        "of \\(9, 3072\\)": python_batch(images[:9], labels[:9]),
        "labels of \\(9,\\)": python_batch(images, labels[:9]),
        "not a batch of CIFAR-10's Python version": whole["test_batch"][:-100],
        "take cifar-10-binary.tar.gz": b"\x80\x02K\x01.",
    }
    for message, content in cases.items():
        for name, good in whole.items():
            (python / name).write_bytes(good)
        (python / "test_batch").write_bytes(content)
        with pytest.raises(DataError, match=message):
            cifar10.read(python)
    assert not (tmp_path / "it-ran").exists()


def test_the_official_file_is_downloaded_and_checked(official, batches, tmp_path):
    known = KNOWN["cifar10"]
    made = builder._builder("cifar10", "/nowhere", None)
    sums = made.url_infos["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]
    assert sums.checksum == "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

    class Manager:  # What tfds gives: each file under a separate name.
        download_dir = tmp_path

        def download(self, urls):
            assert list(urls.values()) == list(made.url_infos)
            members = {path.name: path.read_bytes() for path in official.iterdir()}
            return {file: packed(tmp_path / f"hashed-{file}", members) for file in urls}

    folder = builder._download(Manager(), known)
    assert known.read(folder)["test"].labels.tolist() == batches["test_batch"][1].tolist()


@pytest.fixture
def prepared(official, tmp_path):
    data_dir = tmp_path / "D"
    datasets.prepare("cifar10", source=str(official), data_dir=str(data_dir))
    return data_dir


def test_prepared_it_is_the_stock_data_set(prepared, batches, capsys):
    import tensorflow_datasets as tfds

    for split in ("train", "test"):
        images, labels = expected(batches, split)
        source = tfds.data_source("cifar10", split=split, data_dir=prepared)
        assert source.dataset_info.version == "3.0.2"
        assert source.dataset_info.features["label"].names[9] == "truck"
        assert len(source) == len(labels)
        for i, example in enumerate(source):
            assert np.array_equal(example["image"], images[i])
            assert example["label"] == labels[i]
            assert example["id"].decode() == f"{split}_{i:05}"
    assert main(["lenet-alexnet", "data", "list", f"--data_dir={prepared}"]) == 0
    assert "train 50, test 10" in capsys.readouterr().out
    assert main(["lenet-alexnet", "data", "check", "cifar10", f"--data_dir={prepared}"]) == 0
    assert "(5-5 per class)" in capsys.readouterr().out
    streamed, _ = Streamed("cifar10", str(prepared), "train").read([3, 40])
    np.testing.assert_array_equal(streamed, expected(batches, "train")[0][[3, 40]])


def test_stopped_before_its_statistics_it_is_finished(prepared, official, monkeypatch):
    folder = records.find("cifar10", str(prepared))
    sums = (folder / checksums.FILE).read_bytes()
    (folder / checksums.FILE).unlink()
    (folder / statistics.FILE).unlink()
    assert datasets.prepare("cifar10", source=str(official), data_dir=str(prepared)) == folder
    assert (folder / checksums.FILE).read_bytes() == sums
    datasets.check(folder)
    (folder / checksums.FILE).unlink()
    monkeypatch.setattr(storage, "settle", _read_only)
    with pytest.raises(DataError, match=r"cannot write to '.*3\.0\.2': Read-only"):
        datasets.prepare("cifar10", source=str(official), data_dir=str(prepared))


def _read_only(*_, **__):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.slow
def test_the_config_trains_on_it(prepared, tmp_path):
    config = configs.load(str(ROOT / "configs" / "cifar10_convnet.py")).get_config()
    with config.unlocked():
        config.data.update(data_dir=str(prepared), train="train[:40]")
        config.model.widths = (2, 2, 2)
        config.train.update(batch_size=20, duration="2 epochs")
        config.eval.every = config.checkpoint.every = "2 epochs"
    summary = loop.train_and_evaluate(config, tmp_path / "run")
    assert summary["status"] == "completed"
    assert summary["eval"]["test"]["examples"] == COUNT


@pytest.mark.parametrize("channels", [1, 3])
def test_png_by_hand_is_png(rng, channels):
    from PIL import Image

    image = rng.integers(0, 256, (5, 7, channels), np.uint8)
    content = stored_images.encode_png(image)
    with Image.open(io.BytesIO(content)) as file:
        file.verify()
    with Image.open(io.BytesIO(content)) as file:
        assert np.array_equal(np.asarray(file).reshape(image.shape), image)
    assert stored_images._plain_png(content, channels) is not None
    # Pillow reads files with filters or of another kind.
    smooth = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None], (40, 40, channels))
    file = io.BytesIO()
    Image.fromarray(smooth[..., 0] if channels == 1 else smooth).save(file, "PNG")
    assert stored_images._plain_png(file.getvalue(), channels) is None
    for stored in (content, file.getvalue()):
        wanted = image if stored is content else smooth
        assert np.array_equal(stored_images.decode(stored, channels), wanted)
    assert stored_images.decode(content, 4 - channels).shape == (5, 7, 4 - channels)
    with pytest.raises(zlib.error, match="incorrect data check"):
        stored_images.decode(content[:60] + b"x" + content[61:], channels)
