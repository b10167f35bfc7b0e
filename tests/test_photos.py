import os
import shutil

import numpy as np
import pytest

from lenet_alexnet.cli import main
from lenet_alexnet.data import checksums, image_files, load_split, stored_images
from lenet_alexnet.data.prepare import datasets, durable, photo_sources, shards
from lenet_alexnet.data.preprocess import statistics
from lenet_alexnet.data.sources import prepared as records
from lenet_alexnet.errors import DataError, UsageError
from tests.helpers.photo_files import (
    SIZE,
    VALIDATION,
    WNIDS,
    class_members,
    make_official,
    manifest,
    prepare_folder,
    prepare_imagenet,
    write_folder,
)


@pytest.fixture
def official(tmp_path, monkeypatch):
    return make_official(tmp_path, monkeypatch)


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_official_tars_end_to_end(official, tmp_path, store):
    import tensorflow_datasets as tfds

    folder = prepare_imagenet(official, tmp_path / "D", store=store)
    assert folder == tmp_path / "D" / "imagenet2012" / "5.1.0"
    assert records.sizes(folder) == {"train": 24, "validation": 4}
    # With a version, tfds reads by the files; its own code also expects our JPEG form.
    names = ["imagenet2012:5.1.0"] + ["imagenet2012"] * (store == "jpeg")
    for name in names:
        source = tfds.data_source(name, split="train", data_dir=tmp_path / "D")
        found = {e["file_name"].decode(): e for e in source}
        assert len(found) == 24
        for label in range(3):
            for file, content in class_members(label).items():
                expected, _ = image_files.standardise(content, SIZE, file)
                if store == "jpeg":
                    expected = stored_images.decode(stored_images.encode_jpeg(expected))
                assert found[file]["label"] == label
                assert np.array_equal(found[file]["image"], expected)
    validation = tfds.data_source("imagenet2012:5.1.0", split="validation", data_dir=tmp_path / "D")
    labels = {e["file_name"].decode(): WNIDS[e["label"]] for e in validation}
    # The labels follow the order of the names, not that of the tar.
    assert labels == {f"ILSVRC2012_val_{i:08}.JPEG": w for i, w in enumerate(VALIDATION, 1)}
    assert "train 24 (8-8 per class), validation 4 (1-2 per class)" in datasets.check(folder)
    assert manifest(folder) | {"photos": ""} == {
        "size": SIZE,
        "store": store,
        "photos": "",
        "stored": {"train": 24, "validation": 4},
        "left_out": {},
        "converted": {},
    }
    assert not list(tmp_path.glob("D/imagenet2012/*.partial"))
    assert not (folder / "parts").exists()


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_records_are_mixed_and_read_into_memory(official, tmp_path, store):
    folder = prepare_imagenet(official, tmp_path / "D", store=store)
    data = load_split(
        source="tfds",
        name="imagenet2012",
        data_dir=str(tmp_path / "D"),
        split="train",
        image_size=SIZE,
        channels=3,
    )
    assert data.class_names == WNIDS
    assert np.bincount(data.labels).tolist() == [8, 8, 8]
    assert len(np.unique(data.labels[:8])) == 3
    assert len(list(folder.glob("*-train.array_record-*"))) == 5
    # A set in preparation does not count as prepared.
    begun = folder.with_name(f"5.1.0{records.PARTIAL}")
    begun.mkdir()
    (begun / "dataset_info.json").write_text("{}")
    assert records.folders(str(tmp_path / "D")) == {"imagenet2012": folder}
    # Statistics are of exactly what is read.
    found = statistics.load_statistics("imagenet2012", str(tmp_path / "D"))
    wanted = statistics.compute(data.images)
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_resuming_gives_the_same_bytes(official, tmp_path, monkeypatch):
    whole = prepare_imagenet(official, tmp_path / "A")
    write, written = shards.write, []

    def fail_at_the_third(shard, advance):
        if len(written) == 2:
            shards_written = sorted(p.name for p in shard.path.parent.glob("*.array_record-*"))
            assert len(shards_written) == 2
            raise DataError("the disk is full")
        written.append(shard.path.name)
        write(shard, advance)

    monkeypatch.setattr(shards, "write", fail_at_the_third)
    with pytest.raises(DataError, match="disk is full"):
        prepare_imagenet(official, tmp_path / "B")
    assert records.folders(str(tmp_path / "B")) == {}
    with pytest.raises(UsageError, match="started with --size=16"):
        prepare_imagenet(official, tmp_path / "B", size=8)

    partial = tmp_path / "B" / "imagenet2012" / "5.1.0.partial"
    (partial / ".a-killed-worker's.123").write_bytes(b"x")

    def count(shard, advance):
        with pytest.raises(DataError, match="another process is preparing"), durable.alone(partial):
            pass
        written.append(shard.path.name)
        write(shard, advance)

    monkeypatch.setattr(shards, "write", count)
    resumed = prepare_imagenet(official, tmp_path / "B")
    assert len(written) == len(set(written)) == 6  # none of the shards twice
    files = sorted(path.name for path in whole.iterdir())
    assert files == sorted(path.name for path in resumed.iterdir())
    for file in files:
        assert (whole / file).read_bytes() == (resumed / file).read_bytes(), file


@pytest.mark.attack(
    "one line", "the disk is full while photos are prepared", "one line; finished shards stay"
)
def test_a_full_disk_is_one_error_and_leaves_no_scraps(official, tmp_path, monkeypatch):
    from array_record.python import array_record_module

    class Full(array_record_module.ArrayRecordWriter):
        def write(self, record):
            raise RuntimeError("write() failed: No space left on device")

    monkeypatch.setattr(array_record_module, "ArrayRecordWriter", Full)
    with pytest.raises(DataError, match=r"No space left on device.*run the same command again"):
        prepare_imagenet(official, tmp_path / "D")
    partial = tmp_path / "D" / "imagenet2012" / "5.1.0.partial"
    assert [path.name for path in partial.iterdir()] == ["parts"]


@pytest.mark.attack(
    "one line", "photos that do not fit the disk", "one line before anything is written"
)
def test_too_little_space_is_refused_before_anything_is_written(official, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"0\.0 GB free.*--store=jpeg takes a sixth"):
        prepare_imagenet(official, tmp_path / "D")
    assert not (tmp_path / "D").exists()


def test_done_already_and_otherwise(official, tmp_path, capsys):
    folder = prepare_imagenet(official, tmp_path)
    before = (folder / "checksums.json").stat().st_mtime_ns
    assert prepare_imagenet(official, tmp_path) == folder
    assert "already prepared" in capsys.readouterr().err
    assert (folder / "checksums.json").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="prepared with --size=16"):
        prepare_imagenet(official, tmp_path, size=20)
    with pytest.raises(UsageError, match="prepared with --store=raw"):
        prepare_imagenet(official, tmp_path, store="jpeg")


def test_processes_write_the_same(official, tmp_path):
    one, two = (prepare_imagenet(official, tmp_path / f"{n}", jobs=n) for n in (1, 2))
    for file in sorted(path.name for path in one.iterdir()):
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


@pytest.mark.attack("silent", "a split without one readable photo", "one line")
def test_nothing_readable_in_a_split(tmp_path):
    root = write_folder(tmp_path / "a", ("train", "val"), count=1)
    for path in root.glob("val/*/*"):
        path.write_bytes(b"gone")
    with pytest.raises(DataError, match="no photo of validation could be read; the first, val/"):
        prepare_folder(root, tmp_path / "D")


def test_a_shard_of_bad_files_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SMALLEST", 1)
    root = write_folder(tmp_path / "a", count=2)
    (root / "train" / "cat" / "1.jpg").write_bytes(b"gone")
    folder = prepare_folder(root, tmp_path / "D")
    assert records.sizes(folder) == {"train": 3}
    assert "train 3" in datasets.check(folder)
    data = records.read("mine", str(tmp_path / "D"), "train")
    assert sorted(data.labels.tolist()) == [0, 1, 1]


@pytest.mark.attack("silent", "a byte of prepared photos changes", "data check names the file")
def test_check_streams_and_names_damage(tmp_path):
    folder = prepare_folder(write_folder(tmp_path / "a"), tmp_path / "D", store="jpeg")
    (folder / checksums.FILE).unlink()
    (shard,) = folder.glob("*.array_record-*")
    content = bytearray(shard.read_bytes())
    content[content.index(b"JFIF") + 300] ^= 255
    shard.write_bytes(content)
    with pytest.raises(DataError, match="cannot read records 0 to 5"):
        datasets.check(folder)


def test_command_line(tmp_path, capsys):
    root = write_folder(tmp_path / "a")
    where = f"--data_dir={tmp_path / 'D'}"
    command = ["lenet-alexnet", "data", "prepare", "folder", f"--from={root}", where, "--size=16"]
    assert main([*command, "--name=mine", "--jobs=1"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'D' / 'mine' / '1.0.0'}\n"
    assert "train 6 photos to 16x16 raw: about 0.0 GB" in err
    assert "6 photos stored, 0 of them converted; 0 files left out" in err
    assert main(["lenet-alexnet", "data", "list", where]) == 0
    assert main(["lenet-alexnet", "data", "check", "mine", where]) == 0
    assert "mine: train 6 (3-3 per class); 7 checksums match" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["imagenet"], 2, "did you mean 'imagenette'"),
        (["imagenet2012"], 2, "--from=DIR is missing"),
        (["imagenet2012", "--name=x"], 2, "this one is called imagenet2012"),
        (["mnist", "--size=16"], 2, "--size is for photos: imagenet2012"),
        (["folder", "--from=/nowhere"], 2, "--name='' must be lower case letters"),
        (["folder", "--from=/nowhere", "--name=Mine"], 2, "must be lower case letters"),
        (["folder", "--from=/nowhere", "--name=mnist"], 2, "name of another data set"),
        (["folder", "--from=/nowhere", "--name=mine"], 1, "no folder or tar '/nowhere'"),
        (["folder", "--name=mine", "--from=x", "--store=jpg"], 2, "did you mean 'jpeg'"),
        (["folder", "--name=mine", "--from=x", "--size=0"], 2, "size"),
    ],
)
def test_command_line_mistakes(tmp_path, capsys, arguments, code, message):
    where = f"--data_dir={tmp_path / 'D'}"
    assert main(["lenet-alexnet", "data", "prepare", *arguments, where]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.attack("one line", "a file where the data folder should be", "one line")
def test_unwritable_target(tmp_path):
    root = write_folder(tmp_path / "a")
    (tmp_path / "D").write_text("a file")
    with pytest.raises(DataError, match="cannot write to"):
        prepare_folder(root, tmp_path / "D")


def test_shards_are_even_and_few():
    photo = photo_sources.Photo("a.jpg", 0, "a.jpg", 0, 9)
    assert [len(shards.cut([photo] * n)) for n in (1, 256, 257, 9469)] == [1, 1, 2, 16]
    parts = shards.cut([photo] * 1_281_167)
    assert len(parts) == 313
    assert max(len(part) for part in parts) <= shards.LARGEST
    numbered = [photo._replace(label=i) for i in range(1000)]
    assert [p.label for part in shards.cut(numbered) for p in part] == list(range(1000))
    assert os.sysconf("SC_OPEN_MAX") > 313
