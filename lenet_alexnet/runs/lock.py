"""One writer: a run's folder belongs to one process at a time."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.runtime import storage
from lenet_alexnet.runtime.console import say

NAME = ".lock"


class _OpenFolder:
    """A folder's file descriptor; closing it twice is safe."""

    def __init__(self, folder: Path) -> None:
        self._number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)


class Held:
    """A folder that this process holds."""

    def __init__(self, folder: Path, file: IO[str], *, folder_locked: bool) -> None:
        self._folder, self._file, self._folder_locked = folder, file, folder_locked
        self._was = storage.inode(folder)

    def check(self) -> None:
        """Raises DataError if the folder was removed or replaced, or its lock file was removed."""
        folder = self._folder
        if storage.inode(folder) != self._was:
            raise DataError(f"workdir '{folder}' was removed or moved while the run wrote to it")
        mine = os.fstat(self._file.fileno())
        if not self._folder_locked and storage.inode(folder / NAME) != (mine.st_dev, mine.st_ino):
            raise DataError(f"'{folder / NAME}' was removed while the run held it: start it again")


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[Held]:
    """Locks `folder` against other runs; the system releases it when the process ends in any way.

    It uses flock, on the folder and on a file in it; the file's content only names the owner. On
    NFS, folders cannot be locked; the file's lock is valid on all hosts if the server locks (on one
    host only with `nolock`). If the file system cannot lock at all, a warning is printed.

    Raises:
      UsageError: another process has the lock (it is named), or the folder is not writable.
    """
    path = folder / NAME
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            opened = stack.enter_context(contextlib.closing(_OpenFolder(folder)))
            file = stack.enter_context(storage.open_here(path, "a+"))
        except OSError as error:
            where = f" ({NAME})" if error.filename == str(path) else ""
            raise UsageError(
                f"workdir '{folder}' is not writable{where}: {error.strerror}"
            ) from error
        try:
            folder_locked = _lock(opened) is None
            unlocked = _lock(file)
        except BlockingIOError as error:
            raise UsageError(
                f"workdir '{folder}' is in use by {_owner(path)}: wait, or name another workdir"
            ) from error
        if unlocked:
            say(f"warning: '{folder}' cannot be locked ({unlocked}): start one run in it")
        for one in (opened, file):
            os.register_at_fork(after_in_child=one.close)  # A worker left over must not keep it.
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        file.truncate(0)
        file.write(json.dumps(owner) + "\n")
        file.flush()
        yield Held(folder, file, folder_locked=folder_locked or bool(unlocked))


def _lock(file: IO[str] | _OpenFolder) -> str | None:
    """Locks it; returns the reason if the file system cannot. BlockingIOError: already locked."""
    try:
        storage.lock(file)
    except BlockingIOError:
        raise
    except OSError as error:
        return error.strerror or str(error)
    return None


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(owner["since"]))
        return f"process {owner['pid']} on host {owner['host']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):  # Its name is not written yet.
        return "another process"
