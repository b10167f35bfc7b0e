"""Writes a state dict in torch's zip format, without torch.

Its pickle holds nothing but the description of tensors: `torch.load(FILE, weights_only=True)` opens
it.
"""

import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

FOLDER = "archive/"
PROTOCOL, MARK, TUPLE, REDUCE, EMPTY_TUPLE = b"\x80\x02", b"(", b"t", b"R", b")"
PERSISTENT_ID, SET_ITEMS, STOP, FALSE = b"Q", b"u", b".", b"\x89"
ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"ctorch\nFloatStorage\n"
ALWAYS = (1980, 1, 1, 0, 0, 0)  # The time of every entry: the same weights give the same bytes.


def write(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes float32 arrays by name, whole or not at all.

    Raises:
      DataError: it cannot be written.
    """
    entries = {"data.pkl": b"".join(_pickle(arrays)), "byteorder": b"little"}
    try:
        with storage.written_whole(Path(path), "wb") as file, zipfile.ZipFile(file, "w") as target:
            for name, content in entries.items():
                target.writestr(zipfile.ZipInfo(FOLDER + name, ALWAYS), content)
            for i, array in enumerate(arrays.values()):
                content = np.ascontiguousarray(array, "<f4").tobytes()
                target.writestr(zipfile.ZipInfo(f"{FOLDER}data/{i}", ALWAYS), content)
            target.writestr(zipfile.ZipInfo(f"{FOLDER}version", ALWAYS), b"3\n")
    except OSError as error:
        raise DataError(f"cannot write '{path}': {error.strerror or error}") from error


def _pickle(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """OrderedDict(name=_rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict()), ...)."""
    yield PROTOCOL + ORDERED_DICT + EMPTY_TUPLE + REDUCE + MARK
    for i, (name, array) in enumerate(arrays.items()):
        yield _text(name) + REBUILD + MARK
        place = _text("storage") + FLOATS + _text(str(i)) + _text("cpu") + _integer(array.size)
        yield MARK + place + TUPLE + PERSISTENT_ID
        strides = [int(np.prod(array.shape[n + 1 :])) for n in range(array.ndim)]
        yield _integer(0) + _integers(array.shape) + _integers(strides) + FALSE
        yield ORDERED_DICT + EMPTY_TUPLE + REDUCE + TUPLE + REDUCE
    yield SET_ITEMS + STOP


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _integer(number: int) -> bytes:
    return b"J" + struct.pack("<i", number)


def _integers(numbers: tuple[int, ...] | list[int]) -> bytes:
    return MARK + b"".join(map(_integer, numbers)) + TUPLE
