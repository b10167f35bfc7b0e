"""Where a file's raw photos lie, so that they are read without a copy.

In an ArrayRecord file with one uncompressed record a chunk, the bytes of a photo are as they are,
but for a header of 24 bytes at each multiple of 65,536 (Riegeli/records file format). One system
call reads them into the memory that they are for. ArrayRecord's own reader takes three times as
long, and much of it with the interpreter's lock.

An index never changes what is read: it has a checksum of each photo with its place and label, and a
photo that differs is left to ArrayRecord's reader.
"""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8, UInt64

from lenet_alexnet.data.foreign_files import load_arrays, open_regular
from lenet_alexnet.data.sources import tf_example
from lenet_alexnet.errors import DataError

BLOCK, BLOCK_HEADER = 65536, 24
CONTENT = BLOCK - BLOCK_HEADER  # of a block, in bytes
# header_hash, data_size, data_hash, chunk_type and num_records, decoded_data_size
CHUNK_HEADER = np.dtype("<u8, <u8, <u8, <u8, <u8")
ARRAYS = {"position": np.uint64, "label": np.int32, "checksum": np.uint64}
ONE_RECORD = 1 << 8 | ord("r")  # num_records 1, chunk_type "simple"


class RawIndex:
    """The photos of one file of records.

    A position is the number of content bytes before a byte: those of the blocks, without headers.
    """

    def __init__(
        self,
        records: Path,
        position: UInt64[np.ndarray, " n"],
        label: Int32[np.ndarray, " n"],
        checksum: UInt64[np.ndarray, " n"],
    ) -> None:
        """Opens `records`.

        Args:
          records: the file.
          position: of each photo's first byte.
          label: of each photo.
          checksum: of each photo, see `checksum`.

        Raises:
          OSError: the file cannot be opened.
        """
        self._file = open_regular(records)
        weakref.finalize(self, self._file.close)
        self._position, self._label, self._checksum = position, label, checksum

    def read_into(self, record: int, image: UInt8[np.ndarray, "h w c"]) -> int | None:
        """Reads photo number `record` into `image` and returns its label; None if it differs."""
        try:
            into, label = image.data.cast("B"), int(self._label[record])
            read_content(self._file.fileno(), int(self._position[record]), into)
            same = checksum(into, record, label) == self._checksum[record]
        except (OSError, EOFError, IndexError, OverflowError, TypeError):
            return None  # TypeError: the bytes of `image` are not one after the other.
        return label if same else None


def path_of(records: Path) -> Path:
    """The path of the index of a file of records."""
    return records.with_name(records.name.replace(".array_record-", ".index-") + ".npz")


def load(records: Path) -> RawIndex | None:
    """The index of a file of records; None if it has none that can be used."""
    if not hasattr(os, "preadv"):  # Windows
        return None
    try:
        arrays = load_arrays(path_of(records))
        if any(arrays[k].ndim != 1 or arrays[k].dtype != dtype for k, dtype in ARRAYS.items()):
            return None
        return RawIndex(records, **{name: arrays[name] for name in ARRAYS})
    except (DataError, OSError, KeyError):
        return None


def build(records: Path) -> dict[str, np.ndarray] | None:
    """The arrays of the index of a file; None if its photos are not stored as they are."""
    from array_record.python.array_record_module import ArrayRecordReader

    if not hasattr(os, "preadv"):
        return None
    reader = ArrayRecordReader(str(records))
    arrays = {name: np.zeros(reader.num_records(), dtype) for name, dtype in ARRAYS.items()}
    try:
        with open_regular(records) as file:
            end = 0
            for i in range(reader.num_records()):
                end = _end_of_record(file.fileno(), end)
                record = reader.read([i])[0]
                image, label = tf_example.decode(record)
                # The record is the last part of its chunk.
                position, found = end - len(record) + _offset(image, record), bytearray(len(image))
                read_content(file.fileno(), position, memoryview(found))
                if found != image:
                    return None
                arrays["position"][i], arrays["label"][i] = position, label
                arrays["checksum"][i] = checksum(found, i, label)
    except (EOFError, OSError, OverflowError, ValueError):  # Positions of other chunks: anywhere.
        return None
    finally:
        reader.close()
    return arrays


def _end_of_record(file: int, chunk: int) -> int:
    """The position after the next chunk of one record."""
    while True:
        header = bytearray(CHUNK_HEADER.itemsize)
        read_content(file, chunk, memoryview(header))
        _, size, _, kind, _ = np.frombuffer(header, CHUNK_HEADER)[0].tolist()
        chunk += len(header) + size
        if kind == ONE_RECORD:
            return chunk


def checksum(image: bytearray | memoryview, record: int, label: int) -> int:
    """Of a photo's bytes, its number in the file and its label."""
    import xxhash

    return xxhash.xxh3_64_intdigest(image, record << 32 | label)


def read_content(file: int, position: int, into: memoryview) -> None:
    """Reads content bytes from a position on, without the headers of blocks; EOFError if they end.

    Args:
      file: a file descriptor.
      position: of the first byte.
      into: as many bytes are read as it has.
    """
    block, within = divmod(position, CONTENT)
    parts: list[Any] = [into[: CONTENT - within]]
    for start in range(CONTENT - within, len(into), CONTENT):
        parts += [bytearray(BLOCK_HEADER), into[start : start + CONTENT]]
    size = sum(map(len, parts))
    if os.preadv(file, parts, block * BLOCK + BLOCK_HEADER + within) != size:
        raise EOFError


def _offset(part: memoryview, whole: bytes) -> int:
    """Where a view of `whole` begins in it."""
    first, there = (np.frombuffer(buffer, np.uint8).ctypes.data for buffer in (whole, part))
    return there - first
