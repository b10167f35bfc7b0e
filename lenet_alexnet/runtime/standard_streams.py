"""Standard output and error of the command line: what a reader that went away may not end."""

import contextlib
import errno
import fcntl
import io
import os
import sys
from typing import Any

GONE = (errno.EPIPE, errno.EIO)  # a closed pipe; a terminal that hung up


def prepare() -> None:
    """Makes both streams forgiving: closed or without a reader, they take what is written.

    What their encoding lacks is written as an escape, so that an ASCII terminal shows it too. A
    file on a full disk is still an error.
    """
    for number in (0, 1, 2):  # Else the next file that is opened becomes standard error.
        if not _usable(number):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            if null > 2:
                os.close(null)
    sys.stdout, sys.stderr = _forgiving(1, sys.stdout), _forgiving(2, sys.stderr)


def finish() -> None:
    """Drops what still cannot be written, of which `main` has told: the exit would try again."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _usable(number: int) -> bool:
    """Whether a descriptor is open, and can be written to but for standard input."""
    try:
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False
    return number == 0 or mode != os.O_RDONLY  # A shell may have its script there.


class _Forgiving(io.FileIO):
    """A file descriptor whose reader may go away."""

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
