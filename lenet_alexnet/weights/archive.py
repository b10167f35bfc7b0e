"""Zip files from outside: bounded in size, and every error is one."""

import contextlib
import os
import zipfile
import zlib
from typing import IO

from lenet_alexnet.weights.weight_file import Unreadable

# Weights are hardly compressible, so a file that grows more than this is no file of weights.
MOST_GROWTH, SLACK = 100, 1 << 20
ENCRYPTED = 0x1  # a bit of an entry's flags
DAMAGED = "it is truncated or damaged"


class Archive(contextlib.AbstractContextManager):
    """The entries of a zip file, by name; Unreadable if it is damaged or would grow too much."""

    def __init__(self, file: IO[bytes]) -> None:
        size = os.fstat(file.fileno()).st_size
        try:
            self._zip = zipfile.ZipFile(file)
            infos = self._zip.infolist()
        except Exception as error:  # zipfile raises many kinds.
            raise Unreadable(DAMAGED) from error
        self.sizes = {info.filename: info.file_size for info in infos}
        if len(self.sizes) != len(infos):
            raise Unreadable("its zip has two entries of one name")
        if any(info.flag_bits & ENCRYPTED for info in infos):
            raise Unreadable("its zip is encrypted")
        total = sum(self.sizes.values())
        if total > MOST_GROWTH * size + SLACK:
            raise Unreadable(f"its zip of {size:,} bytes would grow to {total:,}")

    def read(self, name: str) -> bytes:
        """The content of an entry; its checksum is compared."""
        try:
            return self._zip.read(name)
        except KeyError as error:
            raise Unreadable(f"its zip has no entry '{name}'") from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            raise Unreadable(DAMAGED) from error

    def __exit__(self, *_: object) -> None:
        self._zip.close()
