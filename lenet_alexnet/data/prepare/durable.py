"""Folders that are prepared under a temporary name and appear whole, even after a power loss."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage
from lenet_alexnet.runtime.storage import open_here, sync

PARTS = "parts"  # its subfolder of files that only preparing needs


@contextlib.contextmanager
def alone(partial: Path) -> Iterator[None]:
    """Creates and locks the folder, and removes temporary files of a killed run.

    Raises:
      DataError: another process prepares it, the disk is full, or the folder cannot be written.
    """
    parts = partial / PARTS
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with open_here(parts / "lock", "a") as lock:
            try:
                storage.lock(lock)
            except BlockingIOError as error:
                raise DataError(f"another process is preparing '{partial}'") from error
            for path in [*partial.glob(".*"), *parts.glob(".*")]:
                path.unlink()
            yield
    except OSError as error:
        raise DataError(f"cannot write to '{partial}': {error.strerror or error}") from error


def finish(partial: Path, folder: Path) -> None:
    """Writes everything in a prepared folder to disk, then renames it."""
    for path in partial.iterdir():
        if path.is_file():
            sync(path)
    sync(partial)
    partial.replace(folder)
    sync(folder.parent)
    shutil.rmtree(folder / PARTS)  # Last, as it records what is finished.
