"""Standard output and error of the command line: a closed reader must not end the program."""

import contextlib
import errno
import fcntl
import io
import os
import sys
from typing import Any

GONE = (errno.EPIPE, errno.EIO)  # a closed pipe; a terminal that hung up


def prepare() -> None:
    """Makes both streams accept output even if they are closed or have no reader.

    Characters outside their encoding are written as escapes, for ASCII terminals. A full disk is
    still an error.
    """
    for number in (0, 1, 2):  # Else the next opened file becomes standard error.
        if not _usable(number):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            if null > 2:
                os.close(null)
    sys.stdout, sys.stderr = _forgiving(1, sys.stdout), _forgiving(2, sys.stderr)


def finish() -> None:
    """Drops output that cannot be written: `main` has reported it; the exit would try again."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _usable(number: int) -> bool:
    """Whether a descriptor is open and, except for standard input, writable."""
    try:
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False
    return number == 0 or mode != os.O_RDONLY  # A shell may have its script open there.


class _Forgiving(io.FileIO):
    """A file descriptor whose reader may close it."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return memoryview(content).nbytes


def _forgiving(number: int, stream: Any) -> io.TextIOWrapper:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    writer = io.BufferedWriter(_Forgiving(number, "w", closefd=False))
    return io.TextIOWrapper(
        writer,
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or os.isatty(number),
        write_through=number == 2,
    )
