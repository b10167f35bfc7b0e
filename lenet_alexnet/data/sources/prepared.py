"""Data sets prepared by tfds as ArrayRecord, read without TensorFlow."""

import contextlib
import hashlib
import itertools
import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.data import extra, stored_images
from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.foreign_files import load_arrays
from lenet_alexnet.data.sources.features import check_features
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.runtime import storage
from lenet_alexnet.runtime.storage import expand

PARTIAL = ".partial"  # the suffix of a folder that is being prepared
CHUNK, CHUNK_BYTES = 1000, 32 << 20  # A thread decodes at most this many records and bytes.
CHUNKS_AHEAD = 16
CACHE_BYTES = 1 << 30  # Larger splits are not cached on disk after decoding.


def default_dir() -> Path:
    """The folder of prepared data sets: $TFDS_DATA_DIR, or tfds's default."""
    return expand(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))


def folders(data_dir: str) -> dict[str, Path]:
    """The prepared data sets below `data_dir`: name -> folder of the newest version."""
    root = expand(data_dir) if data_dir else default_dir()
    infos = sorted(root.glob("*/*/dataset_info.json")) + sorted(
        root.glob("*/*/*/dataset_info.json")
    )
    found = [info.parent for info in infos if info.parent.suffix != PARTIAL]
    return {folder.parent.relative_to(root).as_posix(): folder for folder in found}


def find(name: str, data_dir: str) -> Path:
    """The folder of prepared data set `name`; UsageError or DataError if there is none.

    Without the extra `data` it is a UsageError, before the data set is looked for.
    """
    extra.require()
    known = folders(data_dir)
    if name in known:
        return known[name]
    where = data_dir or default_dir()
    message = f"no prepared data set '{name}' in '{where}'"
    if known:
        raise UsageError(f"{message}: {nearest(name, known)}")
    raise DataError(f"{message}: run lenet-alexnet data prepare {name} --data_dir={where}")


def read(name: str, data_dir: str, split: str) -> InMemory:
    """Reads one split of data set `name`; it is decoded once and cached beside the records."""
    folder = find(name, data_dir)
    if split not in sizes(folder):
        raise UsageError(f"'{name}' has no split '{split}': {nearest(split, sizes(folder))}")
    return _cached(folder, split)


def sizes(folder: Path) -> dict[str, int]:
    """The number of examples of each split."""
    return {name: info.num_examples for name, info in open_builder(folder).info.splits.items()}


def count(folder: Path, split: str) -> int:
    """The number of records in the files of a split; the description is not used."""
    from array_record.python.array_record_module import ArrayRecordReader

    total = 0
    for path in sorted(folder.glob(f"*-{split}.array_record-*")):
        try:
            reader = ArrayRecordReader(str(path))
            total += reader.num_records()
            reader.close()
        except Exception as error:  # The extension raises RuntimeError and others.
            raise DataError(f"cannot read {path}: {_line(error)}") from error
    return total


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes."""
    return tuple(open_builder(folder).info.features["label"].names)


def decode(folder: Path, split: str) -> InMemory:
    """Reads and decodes every record of a split, in the order of the files."""
    parts = chunks(folder, split)
    first, _ = start = next(parts, (np.zeros((0, 0, 0, 1), np.uint8), np.zeros(0, np.int32)))
    size = sizes(folder)[split]
    _require_memory(first[:1].nbytes * size, f"split '{split}' of '{folder}'")
    images, labels = np.empty((size, *first.shape[1:]), np.uint8), np.empty(size, np.int32)
    done = 0
    for part_images, part_labels in itertools.chain([start], parts):
        window = slice(done, done + len(part_labels))
        if part_images.shape[1:] != first.shape[1:]:
            raise DataError(f"split '{split}' of '{folder}' holds images of several sizes")
        images[window], labels[window] = part_images, part_labels
        done += len(part_labels)
    return InMemory(images, labels, class_names(folder))


def chunks(folder: Path, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of all records in order, a part at a time, in bounded memory."""
    builder = open_builder(folder)
    source = _data_source(builder, split)
    image_bytes = np.prod([side or 1 for side in builder.info.features["image"].shape])
    step = int(max(1, min(CHUNK, CHUNK_BYTES // image_bytes)))
    waiting: deque[Future] = deque()
    try:
        with ThreadPoolExecutor() as pool:
            for i in range(0, len(source), step):
                chunk = range(i, min(i + step, len(source)))
                waiting.append(pool.submit(_decode_chunk, source, chunk))
                if len(waiting) > CHUNKS_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except DataError:
        raise
    except Exception as error:  # The extension raises RuntimeError, Pillow others.
        raise DataError(f"cannot read split '{split}' in '{folder}': {_line(error)}") from error


def _decode_chunk(source: Any, chunk: range) -> tuple[np.ndarray, np.ndarray]:
    try:
        examples = source.__getitems__(list(chunk))
        images = np.stack([_image(example["image"], source) for example in examples])
    except Exception as error:  # Readers and decoders raise many kinds.
        raise DataError(
            f"cannot read records {chunk.start} to {chunk.stop - 1} of {source}: {_line(error)}"
        ) from error
    return images, np.array([example["label"] for example in examples], np.int32)


def _image(stored: Any, source: Any) -> np.ndarray:
    """An image: as stored, or decoded from a PNG or JPEG file."""
    if not isinstance(stored, bytes):
        return np.asarray(stored)
    return stored_images.decode(stored, source.dataset_info.features["image"].shape[-1])


def _require_memory(need: int, what: str) -> None:
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > have:
        raise DataError(
            f"{what} takes {need / 1e9:.0f} GB of memory, this machine has {have / 1e9:.0f} GB"
        )


def open_builder(folder: Path) -> Any:
    """The tfds builder of a prepared data set, which has an image and a label.

    Raises:
      DataError: its description is damaged, or has features that are not supported.
      UsageError: the extra `data` is not installed.
    """
    extra.require()
    import tensorflow_datasets as tfds

    check_features(folder)
    for path in folder.iterdir():
        if not path.is_file() and not path.is_dir():  # Reading it may never end.
            raise DataError(f"cannot read '{path}': it is no regular file")
    logging.getLogger("absl").setLevel(logging.ERROR)  # It recommends OpenCV at every start.
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # Of protobuf, of tfds itself ...
        raise DataError(f"cannot read the description of '{folder}': {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _data_source(builder: Any, split: str) -> Any:
    import tensorflow_datasets as tfds

    image = builder.info.features["image"]
    # tfds decodes PNG slowly, and JPEG by OpenCV if that is installed, to other values.
    ours = isinstance(image, tfds.features.Image) and image.shape[-1] in (1, 3)
    decoders = {"image": tfds.decode.SkipDecoding()} if ours else None
    try:
        return builder.as_data_source(split=split, decoders=decoders)
    except NotImplementedError as error:
        raise DataError(
            f"'{builder.data_dir}' is stored as {builder.info.file_format.value}, not as "
            "array_record, the only format read without TensorFlow: prepare it again"
        ) from error


def _cached(folder: Path, split: str) -> InMemory:
    """`decode`, with the arrays cached in one file that is valid only for these records.

    Decoding 60,000 records takes some seconds, reading the cache 0.05 s. A sweep of many short
    trials needs this.
    """
    stamps = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.glob("*"))]
    key = hashlib.sha256(repr([s for s in stamps if f"-{split}." in s[0]]).encode())
    path = folder / ".decoded" / f"{split}-{key.hexdigest()[:12]}.npz"
    # A broken cache is made again.
    with contextlib.suppress(DataError, KeyError):
        arrays = load_arrays(path)
        return InMemory(arrays["images"], arrays["labels"], class_names(folder))
    data = decode(folder, split)
    if data.images.nbytes > CACHE_BYTES:
        return data
    try:
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        with temporary.open("wb") as aside:
            np.savez(aside, images=data.images, labels=data.labels)
        storage.settle(temporary, path)
    except OSError:
        pass  # In a read-only data folder each run decodes again.
    return data
