"""Data sets prepared by tfds as ArrayRecord, read without TensorFlow."""

import contextlib
import hashlib
import logging
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.data.split import Split
from lenet_alexnet.errors import DataError, UsageError, nearest

CHUNK = 1000


def default_dir() -> Path:
    """Where prepared data sets live: $TFDS_DATA_DIR, or tfds's own default."""
    return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def prepared(data_dir: str) -> dict[str, Path]:
    """The prepared data sets below `data_dir`: name -> folder of the newest version."""
    root = Path(data_dir).expanduser() if data_dir else default_dir()
    infos = sorted(root.glob("*/*/dataset_info.json")) + sorted(
        root.glob("*/*/*/dataset_info.json")
    )
    return {info.parent.parent.relative_to(root).as_posix(): info.parent for info in infos}


def read(name: str, data_dir: str, split: str) -> Split:
    """Reads one split of data set `name`, decoded once and kept beside it for the next time."""
    known = prepared(data_dir)
    where = data_dir or default_dir()
    if name not in known:
        message = f"no prepared data set '{name}' in '{where}'"
        if known:
            raise UsageError(f"{message}: {nearest(name, known)}")
        raise DataError(f"{message}: run lenet-alexnet data prepare {name} --data_dir={where}")
    folder = known[name]
    if split not in sizes(folder):
        raise UsageError(f"'{name}' has no split '{split}': {nearest(split, sizes(folder))}")
    return _cached(folder, split)


def sizes(folder: Path) -> dict[str, int]:
    """The number of examples of each split."""
    return {name: info.num_examples for name, info in _builder(folder).info.splits.items()}


def count(folder: Path, split: str) -> int:
    """The number of records in the files of a split, whatever their description says."""
    from array_record.python.array_record_module import ArrayRecordReader

    total = 0
    for path in sorted(folder.glob(f"*-{split}.array_record-*")):
        try:
            reader = ArrayRecordReader(str(path))
            total += reader.num_records()
            reader.close()
        except Exception as error:  # The extension raises RuntimeError and others.
            raise DataError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    return total


def decode(folder: Path, split: str) -> Split:
    """Reads and decodes every record of a split, in the order of the files."""
    builder = _builder(folder)
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise DataError(f"'{folder}' has features {sorted(features)}, image and label are needed")
    source = _data_source(builder, split)
    chunks = [range(i, min(i + CHUNK, len(source))) for i in range(0, len(source), CHUNK)]
    try:
        with ThreadPoolExecutor() as pool:
            parts = list(pool.map(lambda chunk: _decode_chunk(source, chunk), chunks))
    except Exception as error:  # The extension raises RuntimeError, Pillow others.
        line = str(error).splitlines()[0]
        raise DataError(f"cannot read split '{split}' in '{folder}': {line}") from error
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Split(images, labels, tuple(features["label"].names))


def _decode_chunk(source: Any, chunk: range) -> tuple[np.ndarray, np.ndarray]:
    examples = source.__getitems__(list(chunk))
    images = np.stack([example["image"] for example in examples])
    return images, np.array([example["label"] for example in examples], np.int32)


def _builder(folder: Path) -> Any:
    import tensorflow_datasets as tfds

    logging.getLogger("absl").setLevel(logging.ERROR)  # It recommends OpenCV at every start.
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # Of protobuf, of tfds itself ...
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"cannot read the description of '{folder}': {line}") from error


def _data_source(builder: Any, split: str) -> Any:
    try:
        return builder.as_data_source(split=split)
    except NotImplementedError as error:
        raise DataError(
            f"'{builder.data_dir}' is stored as {builder.info.file_format.value}, not as "
            "array_record, which alone is read without TensorFlow: prepare it again"
        ) from error


def _cached(folder: Path, split: str) -> Split:
    """`decode`, with the arrays kept in one file that is valid for just these records.

    Decoding 60,000 PNG records takes 6 to 10 s, reading them back 0.05 s: what a sweep of many
    short trials needs.
    """
    stamps = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*"))]
    key = hashlib.sha256(repr([s for s in stamps if f"-{split}." in s[0]]).encode()).hexdigest()[
        :12
    ]
    path = folder / ".decoded" / f"{split}-{key}.npz"
    # One that is broken is made anew.
    broken = (OSError, ValueError, KeyError, zipfile.BadZipFile)
    with contextlib.suppress(*broken), np.load(path) as arrays:
        return Split(arrays["images"], arrays["labels"], tuple(arrays["class_names"].tolist()))
    data = decode(folder, split)
    try:
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        with temporary.open("wb") as file:
            np.savez(file, **data._asdict())
        temporary.replace(path)
    except OSError:
        pass  # A read-only data folder costs the seconds again, nothing else.
    return data
