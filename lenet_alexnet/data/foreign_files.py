"""Files from outside the program: only regular files are opened."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

import numpy as np

from lenet_alexnet.errors import DataError

TOOL_FOLDERS = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}


def open_regular(path: str | Path) -> IO[bytes]:
    """Opens a file for reading.

    Raises:
      OSError: it cannot be opened, or it is a FIFO, socket, device or folder. Opening or reading
        those may never end.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file but a FIFO, socket or device", str(path))
    # Non-blocking: another process may have put a FIFO there meanwhile.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def load_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
      OSError: see `open_regular`. ValueError: it is not JSON, or nested too deeply.
    """
    with open_regular(path) as file:
        try:
            return json.load(file)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name; DataError if it is damaged or cannot be read."""
    try:
        with open_regular(path) as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds.
        raise DataError(f"cannot read '{path}': it is damaged") from error


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden or a tool's (.git, .ipynb_checkpoints, __MACOSX)."""
    return name.startswith(".") or name in TOOL_FOLDERS
