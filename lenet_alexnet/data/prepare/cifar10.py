"""Reads CIFAR-10's official files: the binary version, and the Python version without running it.

A binary record is a label and 3,072 bytes: 32x32 red values row by row, then green, then blue. A
file has 10,000 records (www.cs.toronto.edu/~kriz/cifar.html).
"""

import gzip
import io
import pickle
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import UInt8

from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.data.prepare import tar
from lenet_alexnet.errors import DataError

RECORDS = 10_000  # of each file
SIDE, PIXELS = 32, 3 * 32 * 32
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
NAMES = tuple(name for batches in BATCHES.values() for name in batches)
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
META = "batches.meta.txt"
TARS = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
CIFAR100 = ("train.bin", "test.bin", "fine_label_names.txt")
LARGEST, LARGEST_TAR = 1 << 26, 1 << 29  # bytes; the official files have less than half
GZIP = b"\x1f\x8b"
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")


def read(source: str | Path) -> dict[str, InMemory]:
    """The splits train [50000,32,32,3] and test [10000,32,32,3] in the order of the files.

    Args:
      source: the folder of the six files (or its parent), cifar-10-binary.tar.gz, or the Python
        version, packed or not.

    Raises:
      DataError: a file is missing, truncated, too long or not CIFAR-10's.
    """
    place, found = _contents(Path(source))
    if missing := [name for name in NAMES if name not in found and f"{name}.bin" not in found]:
        if other := [name for name in CIFAR100 if name in found]:
            raise DataError(f"'{place}' is CIFAR-100 (it has {other[0]}): CIFAR-10 is needed")
        raise DataError(f"no {missing[0]}.bin in '{place}'")
    named = found.get(META, "\n".join(CLASSES).encode()).decode(errors="replace").split()
    if tuple(named) != CLASSES:
        raise DataError(f"{META} in '{place}' names other classes than CIFAR-10's")
    splits = {}
    for split, names in BATCHES.items():
        parts = [_batch(f"{place}/{name}", found, name) for name in names]
        images = np.concatenate([images for images, _ in parts]).reshape(-1, 3, SIDE, SIDE)
        labels = np.concatenate([labels for _, labels in parts]).astype(np.int32)
        # From colour planes to pixels of three colours.
        splits[split] = InMemory(
            np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels, CLASSES
        )
    return splits


def _contents(source: Path) -> tuple[Path, dict[str, bytes]]:
    """The folder or tar of the files, and the contents of files with a known name."""
    if not source.exists():
        raise DataError(f"no folder or tar '{source}'")
    if source.is_file():
        return source, _read(source)
    for folder in (source, *(source / name for name in FOLDERS)):
        if any((folder / f"{name}{end}").is_file() for name in NAMES for end in ("", ".bin")):
            return folder, _read(folder)
    for packed in (source / name for name in TARS):
        if packed.is_file():
            return packed, _read(packed)
    return source, _read(source)


def _read(place: Path) -> dict[str, bytes]:
    """The contents of the known files of a folder or a tar, by name."""
    wanted = {*NAMES, *(f"{name}.bin" for name in NAMES), META, *CIFAR100}
    found = {}
    try:
        for name, file, size in _tar(place, wanted) if place.is_file() else _folder(place, wanted):
            if name not in CIFAR100 and size > LARGEST:
                raise DataError(f"{place}/{name} is too long: it is not CIFAR-10's")
            found[name] = b"" if name in CIFAR100 else file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {place}: {error or 'truncated'}") from error
    return found


def _folder(folder: Path, wanted: set[str]) -> Iterator[tuple[str, IO[bytes], int]]:
    """Name, open file and length in bytes of each wanted file."""
    for path in sorted(folder.iterdir()):
        if path.name in wanted and path.is_file():
            with open_regular(path) as file:
                yield path.name, file, path.stat().st_size


def _tar(path: Path, wanted: set[str]) -> Iterator[tuple[str, IO[bytes], int]]:
    """The same for a tar, packed or not; each file is positioned at its content."""
    with open_regular(path) as packed, tempfile.TemporaryFile() as unpacked:
        file: IO[bytes] = packed
        if packed.read(len(GZIP)) == GZIP:
            packed.seek(0)
            file = _unpack(packed, unpacked, path)
        for member in tar.members(file, path, needs_end=True):
            name = member.name.rpartition("/")[2]
            if name in wanted and member.kind == tar.FILE:
                file.seek(member.offset)
                yield name, file, member.size


def _unpack(packed: IO[bytes], unpacked: IO[bytes], path: Path) -> IO[bytes]:
    with gzip.open(packed) as content:
        while block := content.read(1 << 20):
            unpacked.write(block)
            if unpacked.tell() > LARGEST_TAR:
                raise DataError(f"{path} unpacks to more than CIFAR-10 has: it is another file")
    unpacked.flush()
    return unpacked


def _batch(
    path: str, found: dict[str, bytes], name: str
) -> tuple[UInt8[np.ndarray, "n 3072"], UInt8[np.ndarray, " n"]]:
    """The images and labels of one file, checked."""
    if f"{name}.bin" in found:
        path, (images, labels) = f"{path}.bin", _binary(f"{path}.bin", found[f"{name}.bin"])
    else:
        images, labels = _python(path, found[name])
    if labels.max() >= len(CLASSES):
        raise DataError(f"{path} has a label {labels.max()} outside 0..{len(CLASSES) - 1}")
    return images, labels


def _binary(path: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    size = RECORDS * (1 + PIXELS)
    if len(content) == RECORDS * (2 + PIXELS):
        raise DataError(f"{path} has two labels per record, as CIFAR-100 has: CIFAR-10 is needed")
    if len(content) != size:
        problem = "truncated" if len(content) < size else "too long"
        raise DataError(f"{path} is {problem}: {len(content):,} bytes, the official file {size:,}")
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, 1 + PIXELS)
    return records[:, 1:], records[:, 0]


class _Inert:
    """Replaces the objects that a pickle creates, and keeps their arguments and state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """Reads numbers, strings, lists and dicts; arrays become `_Inert`, all else is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if module in NUMPY and name in ("_reconstruct", "ndarray", "dtype"):
            return _Inert
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _python(path: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file of the Python version: a pickle, of which no code is run."""
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
        _, shape, kind, by_columns, data = batch[b"data"].state
        if kind.arguments[0] not in (b"u1", "u1") or tuple(shape) != (RECORDS, PIXELS):
            raise ValueError(f"its data are {kind.arguments[0]!r} of {shape}")
        images = np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")
        labels = np.array(batch[b"labels"], np.uint8)
        if labels.shape != (RECORDS,):
            raise ValueError(f"{RECORDS} images and labels of {labels.shape}")
    except Exception as error:  # Damaged pickles raise many kinds.
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} is not a batch of CIFAR-10's Python version "
            f"({type(error).__name__}: {reason}): take {TARS[0]}"
        ) from error
    return images, labels
