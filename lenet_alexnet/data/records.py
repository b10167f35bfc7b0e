"""`Records`: the photos of one file of records, raw or JPEG."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lenet_alexnet.data import raw_index, stored_images
from lenet_alexnet.data.sources import tf_example
from lenet_alexnet.errors import DataError

# Measured: neither reading ahead nor larger buffers speed up random access.
OPTIONS, BUFFER = "readahead_buffer_size:0,max_parallelism:0", 32768


class Records:
    """The photos of one file, which is opened by the first read; threads may share it."""

    def __init__(self, path: Path, *, raw: bool) -> None:
        """`raw`: whether photos are stored as bytes, not as JPEG."""
        self.path, self._raw = path, raw
        self._index: raw_index.RawIndex | None = None
        self._reader: Any = None
        self._looked, self._lock = False, threading.Lock()

    def read_into(self, record: int, image: UInt8[np.ndarray, "h w c"]) -> int:
        """Reads photo number `record` into `image` and returns its label.

        Raises:
          DataError: the record cannot be read. Exception: it holds no such photo.
        """
        index = self._find_index() if self._raw else None
        if index is not None and (label := index.read_into(record, image)) is not None:
            return label
        stored, label = tf_example.decode(self.content(record))
        if self._raw:
            decoded = np.frombuffer(stored, np.uint8).reshape(image.shape)
        else:
            decoded = stored_images.decode(stored)
        if decoded.shape != image.shape:  # NumPy would repeat a row or a pixel.
            raise ValueError(f"its shape is {decoded.shape}, not {image.shape}")
        image[:] = decoded
        return label

    def content(self, record: int) -> bytes:
        """The bytes of record number `record`; DataError if it cannot be read."""
        try:
            # One at a time: lists of records cost twice as much, as each needs new memory.
            content: bytes = self._open_reader().read([record])[0]
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"cannot read record {record} of {self.path}: {reason}") from error
        return content

    def _find_index(self) -> raw_index.RawIndex | None:
        if not self._looked:
            with self._lock:
                if not self._looked:
                    self._index, self._looked = raw_index.load(self.path), True
        return self._index

    def _open_reader(self) -> Any:
        from array_record.python.array_record_module import ArrayRecordReader

        with self._lock:
            if self._reader is None:
                path = str(self.path)
                self._reader = ArrayRecordReader(path, OPTIONS, file_reader_buffer_size=BUFFER)
            return self._reader
