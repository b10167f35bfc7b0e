import gzip
import math
import shutil
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from lenet_alexnet.data import load_split
from lenet_alexnet.data.sources import idx
from lenet_alexnet.data.sources.idx import read_file
from lenet_alexnet.errors import DataError, LenetAlexnetError, UsageError
from lenet_alexnet.inference import open_run
from lenet_alexnet.training.experiment import build
from tests.helpers.idx_files import write_idx

SIZE, CHANNELS = 28, 1


def load(source, split="train", data_dir="", name="", size=SIZE, channels=CHANNELS):
    return load_split(
        source=source,
        name=name,
        data_dir=str(data_dir),
        split=split,
        image_size=size,
        channels=channels,
    )


@pytest.fixture
def idx_folder(tmp_path, rng):
    for prefix, size in (("train", 12), ("t10k", 5)):
        images = rng.integers(0, 256, (size, 28, 28)).astype(np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images, compress=True)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.arange(size, dtype=np.uint8) % 10)
    return tmp_path


def test_embedded_digits_are_whole_and_balanced():
    train, test = load("embedded"), load("embedded", "test")
    assert (len(train), len(test)) == (4000, 1000)
    counts = np.bincount(np.concatenate([train.labels, test.labels]))
    assert counts.tolist() == [500] * 10
    joined = np.concatenate([train.images, test.images]).reshape(5000, -1)
    assert len(np.unique(joined, axis=0)) == 5000  # No digit is in both splits.
    ink = joined.mean(0).reshape(28, 28)
    assert ink[:2].max() < 3 < 60 < ink[10:18, 10:18].mean()  # Light ink, centred, dark border.


def test_split_expressions():
    whole = load("embedded")
    assert np.array_equal(load("embedded", "train[:50]").labels, whole.labels[:50])
    assert np.array_equal(load("embedded", "train[-25%:]").labels, whole.labels[3000:])
    assert np.array_equal(load("embedded", "train[10:20]").images, whole.images[10:20])
    assert len(load("embedded", "train[:10]+test")) == 1010


@pytest.mark.attack("one line", "texts that are no split expression", "one line")
@pytest.mark.parametrize(
    "split", ["train[", "train[1:2:3]", "", "train[a:]", "valid", "train[5:5]"]
)
def test_bad_split_expressions(split):
    with pytest.raises(LenetAlexnetError):
        load("embedded", split)


def test_idx_reads_gz_and_plain(idx_folder):
    train = load("idx", data_dir=idx_folder)
    assert train.images.shape == (12, 28, 28, 1)
    assert train.labels.tolist() == [*range(10), 0, 1]
    assert len(load("idx", "test", idx_folder)) == 5


def damage(folder, kind):
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte"
    if kind == "missing":
        labels.unlink()
    elif kind == "truncated gzip":
        images.write_bytes(images.read_bytes()[:-2000])
    elif kind == "truncated plain":
        labels.write_bytes(labels.read_bytes()[:-3])
    elif kind == "truncated header":
        labels.write_bytes(labels.read_bytes()[:6])
    elif kind == "too long":
        labels.write_bytes(labels.read_bytes() + b"1")
    elif kind == "magic number":
        labels.write_bytes(b"PK\3\4" + labels.read_bytes()[4:])
    elif kind == "swapped":
        images.write_bytes(gzip.compress(labels.read_bytes()))
    elif kind == "labels out of range":
        write_idx(labels, np.full(12, 10, np.uint8))
    elif kind == "counts differ":
        write_idx(labels, np.zeros(11, np.uint8))
    elif kind == "gzip garbage":
        images.write_bytes(b"\x1f\x8b" + b"garbage" * 50)


@pytest.mark.attack(
    "one line",
    "idx files that are cut off, swapped or of another format",
    "one line names the file",
)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no file train-labels-idx1-ubyte"),
        ("truncated gzip", "cannot read .*train-images"),
        ("truncated plain", "train-labels.* is truncated: 9 bytes"),
        ("truncated header", "train-labels.* is truncated"),
        ("too long", "train-labels.* is too long"),
        ("magic number", "magic number is 504b0304"),
        ("swapped", "1 dimensions, images have 3: swapped"),
        ("labels out of range", "label 10 outside 0..9"),
        ("counts differ", "12 images but .* 11 labels"),
        ("gzip garbage", "cannot read .*train-images"),
    ],
)
def test_broken_idx_files_are_named(idx_folder, kind, message):
    damage(idx_folder, kind)
    with pytest.raises(DataError, match=message):
        load("idx", data_dir=idx_folder)


@pytest.mark.attack(
    "hangs", "a gzip bomb as an idx file", "no more is unpacked than its header promises; one line"
)
@pytest.mark.parametrize("shape", [(10, 28, 28), (60_000, 28, 28), (2**32 - 1,) * 3])
def test_no_more_is_unpacked_than_the_header_promises(tmp_path, shape):
    header = struct.pack(">I3I", 2051, *shape)
    bomb = gzip.compress(header + bytes(64 << 20))
    (tmp_path / "bomb").write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"bomb.* (truncated|too long)"):
        read_file(tmp_path / "bomb", 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * min(math.prod(shape), 60_000 * 28 * 28) + (1 << 20)


@pytest.mark.attack("hangs", "a gzip file of members without end", "one line")
def test_idx_files_of_several_members_are_read_and_endless_ones_refused(tmp_path):
    content = struct.pack(">II", 2049, 3) + b"abc"
    parts = [gzip.compress(content[:5]), gzip.compress(content[5:]), bytes(9)]
    (tmp_path / "x").write_bytes(b"".join(parts))
    assert read_file(tmp_path / "x", 1).tobytes() == b"abc"
    (tmp_path / "x").write_bytes(gzip.compress(content[:5]) + gzip.compress(b"") * 150_000)
    with pytest.raises(DataError, match="truncated"):
        read_file(tmp_path / "x", 1)


@pytest.mark.attack("one line", "an idx file that does not fit the memory", "one line")
def test_an_idx_file_that_does_not_fit_the_memory_is_one_error(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(gzip.compress(struct.pack(">II", 2049, 3) + b"abc"))

    def no_memory(*_):
        raise MemoryError

    monkeypatch.setattr(idx, "_gunzip", no_memory)
    with pytest.raises(DataError, match="does not fit in memory"):
        read_file(tmp_path / "x", 1)


def test_idx_dimensions_are_big_endian(tmp_path):
    content = bytes([0, 0, 8, 1, 0, 0, 1, 2]) + bytes(258)
    (tmp_path / "x").write_bytes(content)
    assert read_file(tmp_path / "x", 1).shape == (258,)


@pytest.fixture
def image_folder(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                grey = 40 * (i + 1) + label
                Image.new("RGB", (40, 30), (grey,) * 3).save(folder / f"{i}.png")
    return tmp_path


def test_folder_reads_classes_by_name(image_folder):
    train = load("folder", data_dir=image_folder, size=16, channels=3)
    assert train.images.shape == (6, 16, 16, 3)
    assert train.class_names == ("cat", "dog")
    # The grey level of each image encodes its class.
    assert [int(image[0, 0, 0]) % 40 for image in train.images] == train.labels.tolist()
    assert train.labels.tolist() != sorted(train.labels.tolist())
    assert len(load("folder", "test", image_folder, size=16)) == 4
    assert len(load("folder", "all[:50%]", image_folder / "train", size=16)) == 3


@pytest.mark.attack(
    "silent",
    "the test folder lacks a class of the training folder",
    "the classes keep the numbers of training",
)
def test_folder_numbers_each_split_as_training(image_folder):
    shutil.rmtree(image_folder / "test" / "cat")
    test = load("folder", "test", image_folder, size=16)
    assert test.class_names == ("cat", "dog")
    assert test.labels.tolist() == [1, 1]
    (image_folder / "test" / "dog").rename(image_folder / "test" / "hog")
    with pytest.raises(DataError, match=r"has a class 'hog' that '.*train' does not have"):
        load("folder", "test", image_folder, size=16)


@pytest.mark.attack("silent", "two folders of one split with other classes", "one line")
def test_parts_of_a_split_have_the_same_classes(image_folder):
    for name in ("train", "test"):
        (image_folder / name).rename(image_folder / f"{name}1")
    (image_folder / "test1" / "dog").rename(image_folder / "test1" / "ant")
    with pytest.raises(DataError, match="lacks 'dog' and has 'ant'"):
        load("folder", "train1+test1", image_folder, size=16)


@pytest.mark.attack(
    "silent",
    "folders of git, macOS and notebooks next to the classes",
    "they are not taken as classes",
)
@pytest.mark.parametrize("name", [".git", "__MACOSX", ".ipynb_checkpoints", "@eaDir", "lost+found"])
def test_folders_of_tools_are_no_classes(image_folder, name):
    for split in ("train", "test"):
        shutil.copytree(image_folder / "train" / "dog", image_folder / split / name)
    (image_folder / "train" / "cat" / "._0.png").write_bytes(b"\0\5\26\7 of a Mac")
    assert load("folder", "train", image_folder, size=16).class_names == ("cat", "dog")
    assert len(load("folder", "train", image_folder, size=16)) == 6
    assert len(load("folder", "test", image_folder, size=16)) == 4


@pytest.mark.attack(
    "silent",
    "class folders with a newline, a blank at an end or an escape",
    "one line that is printable",
)
@pytest.mark.parametrize(
    "name", ["a\nb", " a", "a ", "\N{NO-BREAK SPACE}a", "a\x1b[31m", "a\udcff"]
)
def test_odd_class_names_are_refused_in_one_line(image_folder, name):
    (image_folder / "train" / "cat").rename(image_folder / "train" / name)
    with pytest.raises(DataError, match="rename it") as caught:
        load("folder", "train", image_folder, size=16)
    assert str(caught.value).isprintable()


@pytest.mark.attack("silent", "an empty class folder", "one line")
def test_a_class_of_training_without_images_is_refused(image_folder):
    (image_folder / "train" / "ant").mkdir()
    with pytest.raises(DataError, match="no images in the folder of class 'ant'"):
        load("folder", "train", image_folder, size=16)


def test_folder_crops_the_centre_of_the_short_side(tmp_path):
    (tmp_path / "all" / "a").mkdir(parents=True)
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20] = 200
    Image.fromarray(stripes).save(tmp_path / "all" / "a" / "x.png")
    data = load("folder", "all", tmp_path / "all", size=10, channels=1)
    assert (data.images == 200).all()


def test_transparent_images_are_laid_on_white(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a" / "x.png")
    assert (load("folder", "all", tmp_path, size=8, channels=3).images == 255).all()


def test_folder_mistakes(image_folder, tmp_path):
    (image_folder / "train" / "cat" / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cat/broken\.jpg"):
        load("folder", data_dir=image_folder, size=16)
    with pytest.raises(UsageError, match="train"):
        load("folder", "tarin", image_folder, size=16)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="no images"):
        load("folder", data_dir=tmp_path / "empty", size=16)
    with pytest.raises(DataError, match="no folder"):
        load("folder", data_dir=tmp_path / "nowhere", size=16)


def test_unknown_source_and_shape():
    with pytest.raises(UsageError, match="embedded"):
        load("embeded")
    with pytest.raises(DataError, match=r"\(28, 28, 1\)"):
        load("embedded", size=32)


def folder_config(config, image_folder, **data):
    with config.unlocked():
        config.data.update(source="folder", data_dir=str(image_folder), **data)
        config.train.batch_size, config.model.num_classes = 2, 2
    return config


@pytest.mark.attack("silent", "a run is evaluated on a split with other classes", "one line")
def test_a_run_and_its_splits_have_the_same_classes(image_folder, tiny_config):
    (image_folder / "train").rename(image_folder / "fit")  # Now no split is for training.
    config = folder_config(tiny_config, image_folder, train="fit", test="test")
    build(config)
    shutil.rmtree(image_folder / "test" / "cat")
    with pytest.raises(DataError, match=r"data\.test has other classes than data\.train: it lacks"):
        build(config)
    run = open_run.TrainedRun(
        config=config,
        model=None,
        preprocess=None,
        statistics=None,
        class_names=("cat", "dog"),
        variables={},
        step=0,
        chosen="last",
    )
    assert len(open_run.load_named(run, "train")) == 6
    with pytest.raises(DataError, match="'test' has other classes than the run: it lacks 'cat'"):
        open_run.load_named(run, "test")
