"""One writer: a run's folder belongs to one process at a time."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from lenet_alexnet.errors import UsageError
from lenet_alexnet.monitor import say

NAME = ".lock"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Holds `folder` against other runs; the system frees it when the process ends, however.

    The lock is the system's (flock) on a file whose content only says who has it. On NFS it holds
    over all hosts if the server locks (mounts with `nolock` do so for one host alone). Where the
    file system cannot lock at all, that is said and nothing is held.

    Raises:
      UsageError: another process has it (named with its host), or the folder is not writable.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise UsageError(f"workdir '{folder}' is not writable: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"workdir '{folder}' is in use by {_owner(path)}: wait, or name another workdir"
            ) from error
        except OSError as error:
            say(f"warning: '{folder}' cannot be locked ({error.strerror}): start one run in it")
        os.register_at_fork(after_in_child=file.close)  # A worker left over must not keep it.
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        file.truncate(0)
        file.write(json.dumps(owner) + "\n")
        file.flush()
        yield


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text())
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(owner["since"]))
        return f"process {owner['pid']} on host {owner['host']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):  # It has it, but has not said so yet.
        return "another process"
