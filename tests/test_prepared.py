"""Prepared sets whose files are damaged, were replaced, or are of a stranger."""

import io
import json
import os
import shutil
import struct
import zipfile

import numpy as np
import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.data import checksums, foreign_files
from lenet_alexnet.data.prepare import datasets, known
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.sources import features
from lenet_alexnet.data.sources import prepared as records
from lenet_alexnet.errors import DataError, UsageError
from tests.helpers.kmnist_files import SIZES, multiset, read, write_files


@pytest.fixture
def official(tmp_path, rng, monkeypatch):
    """A folder like the official one, with fewer images."""
    monkeypatch.setattr(known, "SPLITS", SIZES)
    return write_files(tmp_path / "files", rng)


@pytest.mark.attack(
    "silent", "decoded arrays of records that were replaced since", "they are decoded again"
)
def test_kept_arrays_of_older_records_are_not_used(official, tmp_path):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    read("tfds", tmp_path)
    (kept,) = folder.glob(".decoded/train-*.npz")
    with np.load(kept) as arrays:
        changed = dict(arrays)
    changed["labels"] = changed["labels"] * 0
    np.savez(kept, **changed)
    assert read("tfds", tmp_path).labels.max() == 0  # The arrays in the file are what is read ...
    shard = next(folder.glob("*train.array_record*"))
    shard.touch()
    assert read("tfds", tmp_path).labels.max() > 0  # ... until the records change.


@pytest.mark.attack("silent", "a byte of a prepared set changes", "data check names the file")
def test_check_reads_everything_and_names_damage(official, tmp_path):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    assert "train 30" in datasets.check(folder)
    shard = next(folder.glob("*test.array_record*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=shard.name):
        datasets.check(folder)
    shard.unlink()
    with pytest.raises(DataError, match="missing"):
        datasets.check(folder)


def spoil_features(folder, spoil):
    (folder / checksums.FILE).unlink()
    path = folder / "features.json"
    content = json.loads(path.read_text())
    spoil(content["featuresDict"]["features"])
    path.write_text(json.dumps(content))


@pytest.mark.attack(
    "foreign",
    "features.json names a module of a stranger",
    "it is compared with a list of ours and not imported",
)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: f["label"].update(pythonClassName="stranger.Feature"),
        lambda f: f["label"].update(
            python_class_name=f["label"].pop("pythonClassName") and "stranger.Feature"
        ),
        lambda f: f.update(more=f["label"] | {"pythonClassName": "stranger.Feature"}),
        lambda f: f.update(
            more={
                "featuresDict": {"features": {"x": {"pythonClassName": "stranger.Feature"}}},
                "pythonClassName": features.DICT,
            }
        ),
        lambda f: f["image"].update(pythonClassName="stranger.Feature"),
    ],
)
def test_no_module_that_a_data_set_names_is_imported(official, tmp_path, monkeypatch, spoil):
    (tmp_path / "stranger.py").write_text("raise SystemExit('the code of a stranger')")
    monkeypatch.syspath_prepend(tmp_path)
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path / "D"))
    spoil_features(folder, spoil)
    for use in (datasets.check, records.class_names, lambda _: read("tfds", tmp_path / "D")):
        with pytest.raises(DataError, match=r"is of class '.*', which is not supported"):
            use(folder)


@pytest.mark.attack(
    "foreign",
    "features.json of the older form names a module of a stranger",
    "it is refused and not imported",
)
def test_nor_where_the_file_is_of_the_older_form(official, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stranger.py").write_text("raise SystemExit('the code of a stranger')")
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path / "D"))
    (folder / "features.json").write_text('{"type": "stranger.Feature", "content": {}}')
    with pytest.raises(DataError, match=r"features\.json"):
        records.class_names(folder)


@pytest.mark.attack("one line", "features.json without image or label", "one line")
@pytest.mark.parametrize("name", ["image", "label"])
def test_a_set_without_image_or_label_is_one_error(official, tmp_path, name):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    spoil_features(folder, lambda found: found.pop(name))
    with pytest.raises(DataError, match="image and label are needed"):
        datasets.check(folder)


@pytest.mark.attack(
    "one line",
    "checksums.json that is empty, cut, nested too deeply, or names files elsewhere",
    "one line",
)
@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"x": 1', '{"../files/x": "0"}', "[1]", '{"x": null}', "[" * 100_000],
)
def test_damaged_checksums_are_one_error(official, tmp_path, content):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    (folder / checksums.FILE).write_text(content)
    with pytest.raises(DataError, match=r"checksums\.json is damaged"):
        datasets.check(folder)


@pytest.mark.attack(
    "one line", "features.json or dataset_info.json that is empty, cut or no UTF-8", "one line"
)
@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"{", b"\xff\xfe"])
def test_damaged_descriptions_are_one_error(official, tmp_path, name, content):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    (folder / checksums.FILE).unlink()
    (folder / name).write_bytes(content)
    with pytest.raises((DataError, UsageError)) as caught:
        read("tfds", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.attack(
    "one line",
    "a broken set among the sets that data list shows",
    "it is shown as broken; the list continues",
)
def test_the_list_goes_on_after_a_set_that_is_not_ours(official, tmp_path, capsys):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    shutil.copytree(folder, tmp_path / "a_set" / "1.0.0")
    (tmp_path / "a_set" / "1.0.0" / "features.json").write_text("{}")
    assert main(["lenet-alexnet", "data", "list", f"--data_dir={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("a_set ")
    assert "cannot read" in lines[0]
    assert "train 30" in lines[1]


def zipped(name, content, *, flags=0, method=0):
    """A zip file of one member with these flags and this method in its headers."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    whole = bytearray(file.getvalue())
    for start, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<HH", whole, whole.index(start) + offset, flags, method)
    return bytes(whole)


BROKEN_ARRAYS = {
    "nothing": b"",
    "half a zip": b"PK",
    "text": b"x" * 99,
    "no archive but an array": b"\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, "
    b"'shape': (1,)}".ljust(128)
    + b"\0",
    "encrypted": zipped("images.npy", b"x" * 99, flags=1),
    "an unknown compression": zipped("images.npy", b"x" * 99, method=97),
    "deflated noise": zipped("images.npy", b"x" * 99, method=8),
    "a header that is no Python": zipped("images.npy", b"\x93NUMPY\1\0\6\0{'a':("),
    "pickled objects": zipped(
        "images.npy",
        b"\x93NUMPY\1\0v\0"
        + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(118)
        + b"cos\nsystem\n(S'touch ran'\ntR.",
    ),
}


@pytest.mark.attack(
    "foreign",
    "an .npz file that is encrypted, packed in an unknown way, or holds a pickle",
    "one line; nothing is unpickled",
)
@pytest.mark.parametrize("kind", BROKEN_ARRAYS)
def test_arrays_that_are_damaged_are_one_error(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npz").write_bytes(BROKEN_ARRAYS[kind])
    with pytest.raises(DataError, match=r"x\.npz': it is damaged"):
        foreign_files.load_arrays(tmp_path / "x.npz")
    with pytest.raises(DataError, match=r"x\.npz': it is damaged"):
        statistics.load(tmp_path / "x.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.attack(
    "hangs", "a FIFO in place of a file of a prepared set", "one line; it is not opened"
)
@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "checksums.json", "train"])
def test_a_pipe_in_a_prepared_set_is_refused_unopened(official, tmp_path, name):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    (path,) = folder.glob(f"*-{name}.array_record-*" if name == "train" else name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=rf"{path.name}.*(no regular file|is damaged)"):
        datasets.check(folder)
    if name != "checksums.json":
        with pytest.raises(DataError, match=rf"{path.name}.* no regular file"):
            read("tfds", tmp_path)


@pytest.mark.attack(
    "one line", "broken decoded arrays next to the records", "they are decoded again"
)
@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 99, BROKEN_ARRAYS["encrypted"]])
def test_kept_arrays_that_are_broken_are_made_again(official, tmp_path, content):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    whole = multiset(read("tfds", tmp_path))
    (kept,) = folder.glob(".decoded/train-*.npz")
    kept.write_bytes(content)
    assert multiset(read("tfds", tmp_path)) == whole


@pytest.mark.attack(
    "silent",
    "a description with another number of examples, and no checksums",
    "data check counts and refuses",
)
def test_counts_are_checked_without_checksums(official, tmp_path):
    folder = datasets.prepare("kmnist", source=str(official), data_dir=str(tmp_path))
    (folder / checksums.FILE).unlink()
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["29"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="holds"):
        datasets.check(folder)
