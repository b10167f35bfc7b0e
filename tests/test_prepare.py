"""Data sets are prepared from the official files: whole, or not at all."""

import socket

import numpy as np
import pytest

from lenet_alexnet.data import checksums, load_split
from lenet_alexnet.data.prepare import builder, datasets, durable, known
from lenet_alexnet.data.sources import prepared as records
from lenet_alexnet.errors import DataError, UsageError
from tests.helpers.idx_files import write_idx
from tests.helpers.kmnist_files import SIZES, multiset, read, write_files


@pytest.fixture
def official(tmp_path, rng, monkeypatch):
    """A folder like the official one, with fewer images."""
    monkeypatch.setattr(known, "SPLITS", SIZES)
    return write_files(tmp_path / "files", rng)


def test_prepared_records_hold_the_files_contents(official, tmp_path):
    import tensorflow_datasets as tfds

    datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path / "D"))
    for split in SIZES:
        assert multiset(read("tfds", tmp_path / "D", split)) == multiset(
            read("idx", official, split)
        )
    assert read("tfds", tmp_path / "D").class_names[0] == "o"
    # tfds opens it by its usual name, without TensorFlow.
    source = tfds.data_source("kmnist", split="train", data_dir=tmp_path / "D")
    assert len(source) == SIZES["train"]
    # The second read uses the arrays kept next to the records, with the same result.
    assert list((tmp_path / "D").glob("kmnist/*/.decoded/train-*.npz"))
    assert multiset(read("tfds", tmp_path / "D")) == multiset(read("idx", official))


@pytest.mark.attack(
    "foreign",
    "the lock of a half prepared set is a link to a file of the user",
    "one line; the file is as it was",
)
def test_preparing_writes_to_nothing_through_a_link(official, tmp_path):
    (tmp_path / "mine").write_text("precious")
    parts = tmp_path / "D" / "kmnist" / "3.0.1.partial" / durable.PARTS
    parts.mkdir(parents=True)
    (parts / "lock").symlink_to(tmp_path / "mine")
    with pytest.raises(DataError, match="it is a link"):
        datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path / "D"))
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.attack(
    "silent",
    "files with another number of images than the official ones",
    "one line; nothing is written",
)
def test_wrong_files_are_refused_before_anything_is_written(official, tmp_path):
    write_idx(official / "train-labels-idx1-ubyte.gz", np.zeros(29, np.uint8), compress=True)
    with pytest.raises(DataError, match="29 labels"):
        datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path / "D"))
    assert not (tmp_path / "D" / "kmnist").exists()


@pytest.mark.attack("hangs", "a download without a network", "one line within seconds")
def test_offline_is_one_quick_error_that_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(DataError, match="--from=DIR"):
        datasets.prepare("mnist", source=None, data_dir=str(tmp_path))


def test_names_are_checked(official, tmp_path):
    with pytest.raises(UsageError, match="fashion_mnist"):
        datasets.prepare("fashion-mnist", source=None, data_dir=str(tmp_path))
    with pytest.raises(DataError, match="data prepare kmnist"):
        read("tfds", tmp_path)
    datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    with pytest.raises(UsageError, match="did you mean 'kmnist'"):
        load_split(
            source="tfds",
            name="kminst",
            data_dir=str(tmp_path),
            split="train",
            image_size=28,
            channels=1,
        )
    with pytest.raises(UsageError, match="no split"):
        read("tfds", tmp_path, "validation")
    assert list(records.folders(str(tmp_path))) == ["kmnist"]


def test_checksums_of_the_official_files_are_known():
    made = builder._builder("mnist", "/nowhere", None)
    urls = [f"{known.KNOWN['mnist'].url}{file}" for file in known.FILES]
    sums = [made.url_infos[url].checksum for url in urls]
    # The first is as published with the tfds data set.
    assert sums[0] == "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    assert len(set(sums)) == 4


@pytest.mark.attack(
    "silent",
    "a power loss while MNIST is prepared",
    "each file is on the disk before the folder has its name",
)
def test_all_is_on_the_disk_before_it_is_renamed(official, tmp_path, synced):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path / "D"))
    assert synced(folder)
    assert (folder / checksums.FILE).is_file()


@pytest.mark.attack(
    "one line", "the disk is full while MNIST is prepared", "one line; nothing is left behind"
)
@pytest.mark.parametrize(
    "error", [RuntimeError("No space left on device"), OSError(28, "No space")]
)
def test_a_full_disk_is_one_error_and_leaves_nothing(official, tmp_path, monkeypatch, error):
    from array_record.python import array_record_module

    class Full(array_record_module.ArrayRecordWriter):
        def write(self, record):
            raise error

    monkeypatch.setattr(array_record_module, "ArrayRecordWriter", Full)
    with pytest.raises(DataError, match=r"cannot .*kmnist.*No space"):
        datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path / "D"))
    assert not [path for path in tmp_path.glob("D/**/*") if path.is_file()]
    assert not list((tmp_path / "D" / "kmnist").iterdir())


@pytest.mark.attack("silent", "a preparation was killed", "what it left is prepared again")
def test_what_a_killed_run_left_is_not_taken_for_prepared(official, tmp_path):
    folder = tmp_path / "kmnist" / "3.0.1"
    left = folder.with_name("3.0.1.partial") / "parts" / "kmnist" / "3.0.1"
    left.mkdir(parents=True)
    (left / "dataset_info.json").write_bytes(b"")
    datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    assert records.sizes(folder) == SIZES
    assert [path.name for path in folder.parent.iterdir()] == ["3.0.1"]
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="exists but holds no prepared data set: delete it"):
        datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
