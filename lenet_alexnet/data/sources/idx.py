"""The idx format of MNIST and its relatives: four files, plain or gzipped, in one folder.

The format (from the MNIST page): two zero bytes, a type byte (8: unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit integer, then the data in C order.
"""

import math
import struct
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.foreign_files import open_regular
from lenet_alexnet.errors import DataError, UsageError

PREFIX = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 8
DEFLATE = 1032  # the largest number of bytes that gzip packs into one
MEMBERS = 1000  # Each member costs a copy of the rest; official files have one.


def read(folder: str | Path, split: str, num_classes: int = 10) -> InMemory:
    """Reads split "train" or "test" (the `t10k` files); images [N,H,W,1], labels 0..9."""
    if split not in PREFIX:
        raise UsageError(f"idx folders have no split '{split}': known: test, train")
    image_file = find(folder, f"{PREFIX[split]}-images-idx3-ubyte")
    label_file = find(folder, f"{PREFIX[split]}-labels-idx1-ubyte")
    images, labels = read_file(image_file, dimensions=3), read_file(label_file, dimensions=1)
    if len(images) != len(labels):
        raise DataError(
            f"{image_file} holds {len(images)} images but {label_file} {len(labels)} labels"
        )
    if len(labels) and labels.max() >= num_classes:
        raise DataError(f"{label_file} has a label {labels.max()} outside 0..{num_classes - 1}")
    names = tuple(str(label) for label in range(num_classes))
    return InMemory(images[..., None], labels.astype(np.int32), names)


def find(folder: str | Path, name: str) -> Path:
    """The file `name` or `name`.gz in `folder`; some copies write `.idx3` for `-idx3`."""
    for candidate in (name, name.replace("-idx", ".idx")):
        for path in (Path(folder, candidate), Path(folder, candidate + ".gz")):
            if path.is_file():
                return path
    raise DataError(f"no file {name}[.gz] in '{folder}'")


def read_file(path: Path, dimensions: int) -> np.ndarray:
    """The array in one idx file of unsigned bytes.

    No more bytes are unpacked than the header states.

    Raises:
      DataError: not gzip, wrong magic number, truncated, or more bytes than the header states.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
        # By content, not by name: browsers may unpack a download but keep its .gz suffix.
        unpack = _gunzip if content[:2] == b"\x1f\x8b" else _first
        return _parse(path, dimensions, partial(unpack, content))
    except MemoryError as error:
        raise DataError(f"cannot read {path}: it does not fit in memory") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _parse(path: Path, dimensions: int, first: Callable[[int], bytes]) -> np.ndarray:
    """The array of a file; `first(n)` gives its first n bytes, or all if it has fewer."""
    header_size = 4 + 4 * dimensions
    header = first(header_size)
    if len(header) < header_size:
        raise DataError(f"{path} is truncated: {len(header)} bytes, its header alone has more")
    zeros, kind, count = struct.unpack(">HBB", header[:4])
    if zeros or kind != UNSIGNED_BYTE:
        raise DataError(
            f"{path} is not an idx file of bytes: its magic number is {header[:4].hex()}"
        )
    if count != dimensions:
        wanted = {1: "labels", 3: "images"}[dimensions]
        raise DataError(f"{path} has {count} dimensions, {wanted} have {dimensions}: swapped?")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    expected = math.prod(shape)
    content = first(min(header_size + expected + 1, sys.maxsize))
    found = len(content) - header_size
    if found < expected:
        raise DataError(f"{path} is truncated: {found} bytes of data, its header says {expected}")
    if found > expected:
        raise DataError(f"{path} is too long: its header says {expected} bytes of data")
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _first(content: bytes, size: int) -> bytes:
    return content[:size]


def _gunzip(content: bytes, size: int) -> bytes:
    """The first `size` bytes in a gzip file of one or more members, whose checksums must hold."""
    if size > DEFLATE * len(content):
        raise OSError(f"truncated: {len(content)} packed bytes are too few for its header")
    unpacked, rest = [], content
    for _ in range(MEMBERS):
        if not rest or not size:
            break
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        unpacked.append(member.decompress(rest, size))
        size -= len(unpacked[-1])
        if size and not member.eof:
            raise OSError("truncated")
        rest = member.unused_data.lstrip(b"\0")  # Members may be padded.
    return b"".join(unpacked)
