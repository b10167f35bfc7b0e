"""Files of others: opened only where opening them ends."""

import errno
import os
import stat
from pathlib import Path
from typing import IO

TOOL_FOLDERS = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}


def open_regular(path: str | Path) -> IO[bytes]:
    """Opens a file for reading.

    Raises:
      OSError: it cannot be opened, or it is a FIFO, socket, device or folder. Opening those may
        wait for ever, and what they give has no end.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file but a FIFO, socket or device", str(path))
    # Not blocking: another process may have put a FIFO there meanwhile.
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden or a tool's own (.git, .ipynb_checkpoints, __MACOSX)."""
    return name.startswith(".") or name in TOOL_FOLDERS
