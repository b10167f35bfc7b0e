"""The idx format of MNIST and its relatives: four files, plain or gzipped, in one folder.

The format (from the MNIST page): two zero bytes, a type byte (8: unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit integer, then the data in C order.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from lenet_alexnet.data.split import Split
from lenet_alexnet.errors import DataError, UsageError

PREFIX = {"train": "train", "test": "t10k"}
UNSIGNED_BYTE = 8


def read(folder: str | Path, split: str, num_classes: int = 10) -> Split:
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
    return Split(images[..., None], labels.astype(np.int32), names)


def find(folder: str | Path, name: str) -> Path:
    """The file `name` or `name`.gz in `folder`; some copies write `.idx3` for `-idx3`."""
    for candidate in (name, name.replace("-idx", ".idx")):
        for path in (Path(folder, candidate), Path(folder, candidate + ".gz")):
            if path.is_file():
                return path
    raise DataError(f"no file {name}[.gz] in '{folder}'")


def read_file(path: Path, dimensions: int) -> np.ndarray:
    """The array in one idx file of unsigned bytes.

    Raises:
      DataError: not gzip, wrong magic number, truncated, or more bytes than the header says.
    """
    content = _content(path)
    header_size = 4 + 4 * dimensions
    if len(content) < header_size:
        raise DataError(f"{path} is truncated: {len(content)} bytes, its header alone has more")
    zeros, kind, count = struct.unpack(">HBB", content[:4])
    if zeros or kind != UNSIGNED_BYTE:
        raise DataError(f"{path} is no idx file of bytes: its magic number is {content[:4].hex()}")
    if count != dimensions:
        wanted = {1: "labels", 3: "images"}[dimensions]
        raise DataError(f"{path} has {count} dimensions, {wanted} have {dimensions}: swapped?")
    shape = struct.unpack(f">{dimensions}I", content[4:header_size])
    expected, found = math.prod(shape), len(content) - header_size
    if found != expected:
        problem = "truncated" if found < expected else "too long"
        raise DataError(f"{path} is {problem}: {found} bytes of data, its header says {expected}")
    return np.frombuffer(content, np.uint8, offset=header_size).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        # By content, not by name: browsers unpack a download and keep its .gz.
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error or 'truncated'}") from error
