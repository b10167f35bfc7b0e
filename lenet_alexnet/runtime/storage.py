"""Files of a run: written completely or not at all, forced to disk, never through a link."""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lenet_alexnet.errors import UsageError


def open_here(path: Path, mode: str = "rb", **options: Any) -> IO[Any]:
    """`open` for a regular file at this path itself.

    A run's folder may come from someone else: a link in it may lead to another file of the user,
    and a named pipe blocks forever.

    Raises:
      OSError: a link or not a regular file; or as `open`.
    """

    def opener(name: str, flags: int) -> int:
        try:
            number = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(errno.ELOOP, "it is a link", name) from error
            raise
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise OSError(errno.EINVAL, "it is no ordinary file", name)
        return number

    return open(path, mode, opener=opener, **options)


@contextlib.contextmanager
def written_whole(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Yields a file that replaces `path` at the end; after an error, `path` is unchanged.

    One writer at a time: an unfinished file of an earlier one is overwritten.
    """
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    try:
        with open_here(aside, mode.replace("w", "x"), **options) as file:
            yield file
        settle(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def sync(path: Path) -> None:
    """Waits until a file, or a folder's entries, are on disk, if the file system supports it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # Folders on some network disks.
            raise
    finally:
        os.close(descriptor)


def settle(aside: Path, path: Path) -> None:
    """Moves a written file into place: after a power loss, it is complete or absent."""
    sync(aside)
    aside.replace(path)
    sync(path.parent)


def lock(file: Any, *, wait: bool = False) -> None:
    """Locks an open file against other processes; the system releases it when the process ends.

    Raises:
      BlockingIOError: another process has it, and `wait` is false.
      OSError: the file system cannot lock.
    """
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        digest: Any = hashlib.file_digest(file, "sha256")
    return digest.hexdigest()


def inode(path: Path) -> tuple[int, int] | None:
    """The identity of the file or folder at a path; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def problem_of_owner(path: Path) -> str | None:
    """Why another user may have changed a file or folder; None: no one else can."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return f"'{path}' is a link"
    if found.st_uid != os.geteuid():
        return f"'{path}' is another user's"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to '{path}'"
    return None


def expand(path: str) -> Path:
    """A path in which ~ is the home directory.

    Raises:
      UsageError: there is a ~, but no home directory is known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"'{path}': no home directory is known for ~ (set HOME)") from error
