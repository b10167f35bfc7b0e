import contextlib

import numpy as np
import pytest

from lenet_alexnet.data import load_split, raw_index, stored_images
from lenet_alexnet.data.order import Order
from lenet_alexnet.data.prepare import photos, shards
from lenet_alexnet.data.read_ahead import ReadAhead
from lenet_alexnet.data.records import Records
from lenet_alexnet.data.sources import prepared, tf_example
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.errors import DataError, UsageError
from tests.helpers.photo_files import SIZE, write_folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Two data sets of 37 photos in five shards: `raw` and `jpeg`."""
    root = tmp_path_factory.mktemp("stream")
    source = write_folder(root / "photos", count=18)
    extra = (source / "train" / "cat" / "0.jpg").read_bytes()
    (source / "train" / "dog" / "more.jpg").write_bytes(extra)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SMALLEST", 8)
        for store in ("raw", "jpeg"):
            photos.prepare(
                "folder",
                source=str(source),
                data_dir=str(root),
                name=store,
                size=SIZE,
                store=store,
                jobs=1,
            )
    return str(root)


def resident(data_dir, name, split="train"):
    return load_split(
        source="tfds", name=name, data_dir=data_dir, split=split, image_size=SIZE, channels=3
    )


def read_ahead(data, order, start, count, **options):
    """Images and labels of `count` steps, read in dispatches of 4 steps."""
    ahead = ReadAhead(data, order, 4, lambda step: min(step + 4, start + count), **options)
    with contextlib.closing(ahead):
        for step in range(start, start + count, 4):
            batches = ahead.take(step, min(4, start + count - step))
            for read in batches.reads:
                read.result()
            images, labels = batches.arrays
            yield from zip(images[: len(batches.reads)], labels, strict=False)


@pytest.mark.parametrize("name", ["raw", "jpeg"])
def test_records_by_number_are_those_in_memory(data_dir, name):
    known, found = resident(data_dir, name), Streamed(name, data_dir, "train")
    assert (len(found), found.image_shape) == (37, (SIZE, SIZE, 3))
    assert found.class_names == known.class_names == ("cat", "dog")
    index = np.array([36, 0, 5, 5, 20, 8, 7], np.int32)
    images, labels = found.read(index)
    assert np.array_equal(images, known.images[index])
    assert np.array_equal(labels, known.labels[index])
    with pytest.raises(IndexError):
        found.read([37])
    with pytest.raises(IndexError):
        found.read([-1])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (tf_example.encode(tf_example.Example(b"short", 0, "a")), "cannot decode record 3 of"),
        (b"\x0a\x02no", "cannot decode record 3 of"),
        (
            tf_example.encode(tf_example.Example(bytes(SIZE * SIZE * 3), 2, "a")),
            r"labels outside 0\.\.1",
        ),
        (
            tf_example.encode(tf_example.Example(bytes(SIZE * SIZE * 3), 1 << 40, "a")),
            "cannot decode",
        ),
    ],
)
def test_a_damaged_record_is_one_error(data_dir, monkeypatch, record, message):
    monkeypatch.setattr(raw_index, "load", lambda records: None)
    content = Records.content
    monkeypatch.setattr(Records, "content", lambda file, i: record if i == 3 else content(file, i))
    found = Streamed("raw", data_dir, "train")
    with pytest.raises(DataError, match=message):
        found.read([1, 3])


def test_a_jpeg_of_another_size_is_one_error(data_dir, monkeypatch):
    row = stored_images.encode_jpeg(np.zeros((1, SIZE, 3), np.uint8))
    record = tf_example.encode(tf_example.Example(row, 0, "a"))
    monkeypatch.setattr(Records, "content", lambda file, i: record)
    with pytest.raises(DataError, match=r"cannot decode record 3 of .*shape is \(1, 16, 3\)"):
        Streamed("jpeg", data_dir, "train").read([3])


@pytest.mark.parametrize(
    "split",
    [
        "train[:90%]",
        "train[90%:]",
        "train[3:17]",
        "train[-25%:]",
        "train[:5]+train[30:]",
        "train[:33%]",
        "train[33%:67%]",
        "train[:15%]+train[15%:]",
    ],
)
def test_parts_of_splits_are_those_in_memory(data_dir, split):
    known, found = resident(data_dir, "raw", split), Streamed("raw", data_dir, split)
    images, labels = found.read(range(len(found)))
    assert np.array_equal(images, known.images)
    assert np.array_equal(labels, known.labels)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", ["raw", "jpeg"])
def test_batches_come_in_the_order_of_resident_data(data_dir, name, threads):
    known, order = resident(data_dir, name), Order(3, 37, 10)
    found = list(read_ahead(Streamed(name, data_dir, "train"), order, 0, 9, threads=threads))
    assert len(found) == 9  # over two borders of epochs
    for (images, labels), index in zip(found, order.batches(0, 9), strict=True):
        assert np.array_equal(images, known.images[index])
        assert np.array_equal(labels, known.labels[index])


def test_any_step_is_the_first(data_dir):
    source, order = Streamed("raw", data_dir, "train"), Order(3, 37, 10)
    whole = list(read_ahead(source, order, 0, 12))
    for start in (1, 5, 11):
        images, labels = next(read_ahead(source, Order(3, 37, 10), start, 1))
        assert np.array_equal(images, whole[start][0])
        assert np.array_equal(labels, whole[start][1])
    assert list(read_ahead(source, order, 5, 0)) == []


def test_shares_of_processes_are_disjoint_and_complete(data_dir):
    source, order = Streamed("raw", data_dir, "train"), Order(3, 37, 12)
    whole = list(read_ahead(source, order, 2, 4))
    parts = [
        list(read_ahead(source, order, 2, 4, process_index=p, process_count=3)) for p in range(3)
    ]
    for step, (images, labels) in enumerate(whole):
        assert [len(part[step][1]) for part in parts] == [4, 4, 4]
        assert np.array_equal(np.concatenate([part[step][0] for part in parts]), images)
        assert np.array_equal(np.concatenate([part[step][1] for part in parts]), labels)


def test_mistakes(data_dir, tmp_path):
    source = Streamed("raw", data_dir, "train")
    with pytest.raises(UsageError, match="not shared by 3 processes"):
        next(read_ahead(source, Order(0, 37, 10), 0, 1, process_count=3))
    with pytest.raises(UsageError, match="order of 36 examples for 37 photos"):
        next(read_ahead(source, Order(0, 36, 10), 0, 1))
    with pytest.raises(UsageError, match="did you mean 'train'"):
        Streamed("raw", data_dir, "tarin")
    for split in ("train[", "train[a:]", "train[5:5]", ""):
        with pytest.raises((UsageError, DataError), match="split"):
            Streamed("raw", data_dir, split)
    with pytest.raises(UsageError, match="did you mean 'raw'"):
        Streamed("rwa", data_dir, "train")
    with pytest.raises(DataError, match="data prepare raw"):
        Streamed("raw", str(tmp_path), "train")


def test_damaged_records_are_named(data_dir, tmp_path):
    import shutil

    shutil.copytree(f"{data_dir}/raw", tmp_path / "raw")
    shard = sorted(tmp_path.glob("raw/*/*.array_record-*"))[1]
    content = bytearray(shard.read_bytes())
    content[content.index(b"image") + 100] ^= 1
    shard.write_bytes(content)
    source = Streamed("raw", str(tmp_path), "train")
    with pytest.raises(DataError, match=shard.name):
        source.read(range(37))
    with pytest.raises(DataError, match=shard.name):
        list(read_ahead(source, Order(0, 37, 37), 0, 1))
    shard.unlink()
    with pytest.raises(DataError, match=shard.name):
        Streamed("raw", str(tmp_path), "train").read(range(37))


def test_memory_is_asked_for_before_it_is_taken(data_dir, monkeypatch):
    monkeypatch.setattr(prepared.os, "sysconf", lambda _: 8)
    with pytest.raises(DataError, match="GB of memory, this machine has"):
        prepared.decode(prepared.find("raw", data_dir), "train")
