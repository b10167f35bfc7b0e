"""Raw photos that are read where they lie."""

import shutil

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from lenet_alexnet.data import raw_index
from lenet_alexnet.data.prepare import photos
from lenet_alexnet.data.raw_index import BLOCK, BLOCK_HEADER, CONTENT
from lenet_alexnet.data.records import Records
from lenet_alexnet.data.sources import tf_example
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.errors import DataError
from tests.helpers.photo_files import write_folder

SIZE = 160  # 76,800 bytes: each photo has a block's header in it


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw_index")
    source = write_folder(root / "photos", count=6)
    photos.prepare("folder", source=str(source), data_dir=str(root), name="mine", size=SIZE, jobs=1)
    return root


@pytest.fixture
def mine(prepared_once, tmp_path):
    """A copy of the prepared set, its only file of records, and images and labels."""
    whole = Streamed("mine", str(prepared_once), "train")
    shutil.copytree(prepared_once / "mine", tmp_path / "mine")
    (records,) = (tmp_path / "mine").rglob("*-train.array_record-*")
    return str(tmp_path), records, whole.read(range(12))


def read(data_dir):
    return Streamed("mine", data_dir, "train").read(range(12))


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def write(path, images):
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for label, image in enumerate(images):
        writer.write(
            tf_example.encode(tf_example.Example(image.tobytes(), label, "x" * (label % 7)))
        )
    writer.close()


def sizes():
    """Photos that end just before, in and after the header of a block, and headers cut by one."""
    near = [CONTENT - 40 - distance for distance in range(0, 130, 3)]
    return [
        1,
        2,
        1000,
        *near,
        BLOCK,
        3 * BLOCK + 7,
        5,
        *np.random.default_rng(0).integers(1, 9000, 60),
    ]


def test_photos_of_any_size_are_found_anywhere_in_a_file(tmp_path):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (1, size, 1), np.uint8) for size in sizes()]
    path = tmp_path / "a.array_record-00000-of-00001"
    write(path, images)
    index = raw_index.RawIndex(path, **raw_index.build(path))
    for i in rng.permutation(len(images)).tolist():
        found = np.zeros_like(images[i])
        assert index.read_into(i, found) == i
        assert np.array_equal(found, images[i])
    assert index.read_into(len(images), np.zeros((1, 1, 1), np.uint8)) is None


def test_headers_of_blocks_are_left_out(tmp_path):
    blocks = np.arange(3 * BLOCK, dtype=np.uint32).astype(np.uint8).reshape(3, BLOCK)
    path = tmp_path / "file"
    path.write_bytes(blocks.tobytes())
    content = blocks[:, BLOCK_HEADER:].ravel()
    with path.open("rb") as file:
        for position, count in [(0, 1), (CONTENT - 1, 2), (CONTENT, 5), (7, 2 * CONTENT + 9)]:
            found = bytearray(count)
            raw_index.read_content(file.fileno(), position, memoryview(found))
            assert found == content[position : position + count].tobytes()
        with pytest.raises(EOFError):
            raw_index.read_content(file.fileno(), 3 * CONTENT - 1, memoryview(bytearray(2)))


def test_a_prepared_set_is_read_without_the_reader_of_array_record(mine, monkeypatch):
    data_dir, records, known = mine
    with monkeypatch.context() as patch:
        patch.setattr(Records, "content", None)
        assert equal(read(data_dir), known)
    raw_index.path_of(records).unlink()
    assert equal(read(data_dir), known)


def test_memory_with_gaps_is_filled_as_well(mine):
    data_dir, _, (images, labels) = mine
    wide = np.zeros((12, SIZE, SIZE, 4), np.uint8)
    found = np.zeros(12, np.int32)
    Streamed("mine", data_dir, "train").read_into(range(12), wide[..., :3], found)
    assert equal((wide[..., :3], found), (images, labels))
    assert not wide[..., 3].any()


def swapped(arrays):
    return {key: values[::-1] for key, values in arrays.items()}


def other_labels(arrays):
    return arrays | {"label": 1 - arrays["label"]}


def moved(arrays):
    return arrays | {"position": arrays["position"] + np.uint64(1)}


def far(arrays):
    return arrays | {"position": arrays["position"] + np.uint64(1 << 63)}


def short(arrays):
    return {key: values[:2] for key, values in arrays.items()}


def no_labels(arrays):
    return {key: values for key, values in arrays.items() if key != "label"}


def of_text(arrays):
    return arrays | {"label": np.array(["a"] * 12)}


def of_one_number(arrays):
    return arrays | {"position": np.uint64(3)}


@pytest.mark.attack(
    "silent",
    "the index of prepared photos is damaged or of other photos",
    "photos and labels are those of the records",
)
@pytest.mark.parametrize(
    "change", [swapped, other_labels, moved, far, short, no_labels, of_text, of_one_number]
)
def test_a_wrong_index_changes_nothing(mine, change):
    data_dir, records, known = mine
    path = raw_index.path_of(records)
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **change(arrays))
    assert equal(read(data_dir), known)
    path.write_bytes(path.read_bytes()[:100])
    assert equal(read(data_dir), known)


@pytest.mark.attack(
    "silent",
    "a byte of a prepared photo changes before or during a run that streams",
    "one line names the file and the record",
)
def test_a_changed_byte_is_one_error(mine):
    data_dir, records, (images, _) = mine
    content = bytearray(records.read_bytes())
    place = content.index(images[3].tobytes()[:1000]) + 500
    opened = Streamed("mine", data_dir, "train")
    opened.read([2])
    content[place] ^= 1
    with records.open("r+b") as file:  # the same file, as a failing disk would change it
        file.write(content)
    for found in (opened, Streamed("mine", data_dir, "train")):
        with pytest.raises(DataError, match=r"cannot read record 3 of .*array_record-00000"):
            found.read([3])
    assert np.array_equal(opened.read([2])[0][0], images[2])


def test_records_that_are_compressed_have_no_index(tmp_path):
    path = tmp_path / "a.array_record-00000-of-00001"
    writer = ArrayRecordWriter(str(path), "group_size:1")
    image = bytes(3000)
    writer.write(tf_example.encode(tf_example.Example(image, 1, "a")))
    writer.close()
    assert raw_index.build(path) is None
