"""Broken files of data sets and runs, as further cases of malformed.py."""

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from lenet_alexnet.data.prepare import datasets, known
from tests.helpers import ROOT, damage
from tests.helpers.idx_files import write_idx
from tests.helpers.malformed import case, data_set, run_file


# The idx files.
def idx(d: Path, images: np.ndarray | bytes, labels: np.ndarray | bytes = b"") -> None:
    for prefix in ("train", "t10k"):
        for content, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
            path = d / f"{prefix}-{kind}-ubyte"
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                write_idx(path, content)


def header(magic: int, *shape: int) -> bytes:
    return struct.pack(f">I{len(shape)}I", magic, *shape)


IMAGES, LABELS = np.zeros((70, 28, 28), np.uint8), np.zeros(70, np.uint8)
data_set("empty folder", 1, "no file train-images-idx3-ubyte", "idx", lambda d: None)
data_set("empty file", 1, "truncated: 0 bytes", "idx", lambda d: idx(d, b""))
data_set("half a header", 1, "its header alone", "idx", lambda d: idx(d, header(2051, 70)))
data_set("another format", 1, "magic number is 89504e47", "idx", lambda d: idx(d, b"\x89PNG" * 9))
data_set("swapped", 1, "swapped?", "idx", lambda d: idx(d, LABELS, IMAGES))
data_set(
    "cut off", 1, "truncated: 9 bytes", "idx", lambda d: idx(d, header(2051, 70, 28, 28) + b"9" * 9)
)
data_set("too long", 1, "too long", "idx", lambda d: idx(d, header(2051, 1, 1, 1) + b"99"))
data_set(
    "sizes that overflow", 1, "truncated", "idx", lambda d: idx(d, header(2051, 2**31, 2**31, 4))
)
data_set("fewer labels", 1, "70 images but", "idx", lambda d: idx(d, IMAGES, LABELS[:9]))
data_set("a label too large", 1, "label 200", "idx", lambda d: idx(d, IMAGES, LABELS + 200))
data_set("half a gzip", 1, "cannot read", "idx", lambda d: idx(d, b"\x1f\x8b\x08\x00\x00"))
data_set("no images", 1, "holds no examples", "idx", lambda d: idx(d, IMAGES[:0], LABELS[:0]))


# Images in folders.
def png(width: int, height: int) -> bytes:
    """A PNG whose header states this size, without the pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def photo(d: Path, content: bytes, name: str = "1.png") -> None:
    for split in ("train", "test"):
        (d / split / "a").mkdir(parents=True)
        (d / split / "a" / name).write_bytes(content)


def half_a_jpeg(d: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (99, 99, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(d / "x.jpg")
    photo(d, (d / "x.jpg").read_bytes()[:2000], "1.jpg")


data_set("nothing there", 2, "has no split 'train'", "folder", lambda d: None)
data_set("no classes", 1, "no images in class folders", "folder", lambda d: (d / "train").mkdir())
data_set("text named png", 1, "as an image", "folder", lambda d: photo(d, b"text"))
data_set("an empty png", 1, "as an image", "folder", lambda d: photo(d, b""))
data_set("a png of 4 gigapixels", 1, "as an image", "folder", lambda d: photo(d, png(65535, 65535)))
data_set(
    "a png of 10 x 10 megapixels", 1, "as an image", "folder", lambda d: photo(d, png(10000, 10000))
)
data_set("half a jpeg", 1, "as an image", "folder", half_a_jpeg)


# Prepared data sets.
def records(d: Path, **files: bytes) -> None:
    folder = d / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)


INFO = {
    "name": "mnist",
    "version": "3.0.1",
    "fileFormat": "array_record",
    "splits": [
        {
            "name": name,
            "numBytes": "9",
            "shardLengths": ["70"],
            "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        }
        for name in ("train", "test")
    ],
}


def prepared(d: Path) -> Path:
    """A whole data set of 70 images under the name mnist."""
    idx(d, IMAGES, LABELS)
    with mock.patch.object(known, "SPLITS", {"train": 70, "test": 70}):
        return datasets.prepare("mnist", source=str(d), data_dir=str(d))


def record_file(d: Path) -> Path:
    return next(prepared(d).glob("*-train.array_record-*"))


def other_format(d: Path) -> None:
    info = prepared(d) / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))


data_set("records cut off", 1, "cannot read", "tfds", lambda d: damage.truncate(record_file(d)))
data_set("records of nothing", 1, "cannot read", "tfds", lambda d: record_file(d).write_bytes(b""))
data_set(
    "records of noise",
    1,
    "cannot read",
    "tfds",
    lambda d: record_file(d).write_bytes(b"\xa5" * 99999),
)
data_set("no record file", 1, "cannot read", "tfds", lambda d: record_file(d).unlink())
data_set("another file format", 1, "array_record", "tfds", other_format)
data_set("no such split", 2, "known: test, train", "tfds", prepared, "train=valid")


@case("a byte flipped in the records", 1, "is damaged: prepare again")
def _(d: Path, run: Path) -> list[str]:
    damage.flip(record_file(d))
    return ["data", "check", "mnist", f"--data_dir={d}"]


data_set("no data set", 1, "run lenet-alexnet data prepare mnist", "tfds", lambda d: None)
data_set(
    "a broken description", 1, "cannot read", "tfds", lambda d: records(d, dataset_info__json=b"{")
)
data_set(
    "no features",
    1,
    "cannot read",
    "tfds",
    lambda d: records(d, dataset_info__json=json.dumps(INFO).encode()),
)


# Files of a run.
def edit(name: str, **changed: object) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        content = json.loads((run / name).read_text())
        for key, value in changed.items():
            content.pop(key) if value is None else content.update({key: value})
        (run / name).write_text(json.dumps(content))

    return spoil


def edit_section(name: str, section: str, **changed: object) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        content = json.loads((run / name).read_text())[section]
        for key, value in changed.items():
            content.pop(key) if value is None else content.update({key: value})
        edit(name, **{section: content})(run)

    return spoil


def linked(run: Path) -> None:
    no_checkpoints(run)
    (run / "checkpoints").symlink_to("checkpoints")


def put(name: str, content: str) -> Callable[[Path], object]:
    return lambda run: (run / name).write_text(content)


def all_damaged(run: Path) -> None:
    for folder in (run / "checkpoints").iterdir():
        damage.flip(damage.largest(folder))


def no_checkpoints(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")


def pipe(name: str) -> Callable[[Path], None]:
    """A named pipe in place of a file: opening it for reading never returns."""

    def spoil(run: Path) -> None:
        for path in list(run.glob(name)) or [run / name]:
            path.unlink(missing_ok=True)
            os.mkfifo(path)

    return spoil


def checkpoints_file(run: Path) -> None:
    no_checkpoints(run)
    (run / "checkpoints").write_text("")


def other_model(run: Path) -> None:
    edit("config.json", model={"name": "lenet5", "activation": "tanh", "num_classes": 12})(run)


def unfinished(spoil: Callable[[Path], object]) -> Callable[[Path], None]:
    def also(run: Path) -> None:
        (run / "summary.json").unlink()
        spoil(run)

    return also


def broken_line(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n")


run_file("config.json cut off", 2, "cannot read", "eval", put("config.json", '{"seed": 0'))
run_file("config.json a list", 2, "no JSON object", "eval", put("config.json", "[]"))
run_file("config.json without model", 2, "has no 'model'", "eval", edit("config.json", model=None))
run_file("config.json of nonsense", 2, "config.json", "eval", edit("config.json", train=3))
run_file(
    "run.json without classes",
    2,
    "has no 'class_names'",
    "eval",
    edit("run.json", class_names=None),
)
run_file("no run.json", 2, "it has no run.json", "eval", lambda run: (run / "run.json").unlink())
run_file("no checkpoints", 1, "has no checkpoints yet", "eval", no_checkpoints)
run_file("checkpoints a file", 1, "has no checkpoints yet", "eval", checkpoints_file)
run_file("all damaged", 1, "is whole", "eval", all_damaged)
run_file(
    "another network",
    1,
    "output.bias is float32[10] there, the config makes it float32[12]",
    "eval",
    other_model,
)
run_file("no such split", 2, "known: train, test", "eval", lambda run: None, "--split=valid")
run_file("no such image", 1, "no file", "predict", lambda run: None, "nowhere.png")
run_file("a folder for an image", 1, "as an image", "predict", lambda run: None, str(ROOT))
run_file("code for an image", 1, "as an image", "predict", lambda run: None, __file__)
run_file("summary.json cut off", 2, "cannot read", "train", put("summary.json", '{"status":'))
run_file("summary.json of nonsense", 2, "has no 'status'", "train", put("summary.json", "{}"))
run_file("a broken line in the log", 1, "broken in line 2", "train", unfinished(broken_line))
run_file("all damaged", 1, "remove that folder", "train", unfinished(all_damaged))
run_file(
    "no entry of data",
    2,
    "has no entry 'data.validation'",
    "predict",
    edit_section("config.json", "data", validation=None),
    "x.png",
)
run_file(
    "a batch of nothing",
    2,
    "eval.batch_size 0",
    "eval",
    edit_section("config.json", "eval", batch_size=0),
)
run_file(
    "no duration",
    2,
    "another config (train.duration: ",
    "train",
    edit_section("config.json", "train", duration={}),
)
run_file(
    "an empty duration",
    2,
    "another config (train.duration: ",
    "train",
    edit_section("config.json", "train", duration=""),
)
run_file(
    "a list where a number was",
    2,
    "checkpoint.keep = [] is no number",
    "eval",
    edit_section("config.json", "checkpoint", keep=[]),
)
run_file(
    "a number as text",
    2,
    "describes no run",
    "eval",
    edit_section("config.json", "model", num_classes="12"),
)
run_file(
    "too few class names",
    2,
    "are not those of 10 classes",
    "eval",
    edit("run.json", class_names=["a"]),
)
run_file(
    "class names of null",
    2,
    "'class_names' is None",
    "eval",
    put("run.json", '{"class_names": null}'),
)
run_file(
    "a status alone", 2, "has no 'step'", "train", put("summary.json", '{"status": "completed"}')
)
run_file(
    "a result of nonsense",
    2,
    "its result on 'test' is incomplete",
    "train",
    edit("summary.json", eval={"test": 3}),
)
run_file(
    "a line without its loss",
    1,
    "broken in line 1",
    "train",
    unfinished(put("metrics.jsonl", '{"step": 40, "split": "test"}\n')),
)
run_file("a link to itself", 2, "is a link", "train", unfinished(linked))
run_file("another config", 2, "seed: 0 -> 5", "train", lambda run: None, "--config.seed=5")
run_file(
    "a text where a number was",
    2,
    "data.pad = 'two' is no int",
    "eval",
    edit_section("config.json", "data", pad="two"),
)
run_file(
    "an error that is no number",
    1,
    "broken in line 1",
    "train",
    unfinished(
        put(
            "metrics.jsonl",
            '{"step": 40, "split": "test", "epoch": 1, "loss": null, "top1_error": "0"}\n',
        )
    ),
)

# Opening a pipe never returns; nested brackets exhaust the stack.
DEEP = "[" * 100_000
for file, verb, code, words in (
    ("config.json", "eval", 2, "no regular file"),
    ("run.json", "eval", 2, "no regular file"),
    ("summary.json", "train", 2, "no regular file"),
    ("statistics.npz", "eval", 1, "it is damaged"),
    ("checkpoints/*/SHA256SUMS", "eval", 1, "it has no SHA256SUMS"),
    ("checkpoints/*/_CHECKPOINT_METADATA", "eval", 1, "cannot be read"),
    ("checkpoints/*/rest/manifest.ocdbt", "eval", 1, "manifest.ocdbt is missing"),
):
    run_file(f"a pipe for {file}", code, words, verb, pipe(file))
run_file(
    "a pipe for metrics.jsonl", 1, "no ordinary file", "train", unfinished(pipe("metrics.jsonl"))
)
for file, verb, code, words in (
    ("config.json", "eval", 2, "nested too deeply"),
    ("run.json", "eval", 2, "nested too deeply"),
    ("summary.json", "train", 2, "nested too deeply"),
):
    run_file(f"{file} of brackets", code, words, verb, put(file, DEEP))
run_file(
    "metrics.jsonl of brackets",
    1,
    "broken in line 1",
    "train",
    unfinished(put("metrics.jsonl", DEEP + "\n")),
)
run_file(
    "a pipe for an image",
    1,
    "no regular file",
    "predict",
    lambda run: os.mkfifo(run / "x.png"),
    "{run}/x.png",
)
