"""JAX's cache of compiled programs: those that were cut off are removed.

JAX writes a program in place and replaces none. If the process is killed meanwhile, or the disk is
full, the beginning stays: every later start would warn of it and compile again.
"""

import contextlib
import os
import time
from pathlib import Path

STAMP = ".lenet_alexnet_checked"  # its time is that of the last check


def remove_damaged(folder: Path) -> list[str]:
    """Removes the damaged programs in a cache; returns their names.

    Only programs that were written since the last call are read, so it takes milliseconds.
    """
    removed: list[str] = []
    now, stamp = time.time_ns(), folder / STAMP
    if not folder.is_dir():
        return removed
    with contextlib.suppress(OSError):  # The cache may be shared and read-only.
        checked = stamp.stat().st_mtime_ns if stamp.exists() else 0
        for path in folder.glob("*-cache"):
            if path.stat().st_mtime_ns >= checked and not _whole(path):
                path.unlink()
                removed.append(path.name)
        stamp.touch()
        os.utime(stamp, ns=(now, now))
    return removed


def _whole(path: Path) -> bool:
    """Whether the compressed program, which has a checksum, can be read to its end."""
    from jax._src.compilation_cache import decompress_executable

    try:
        decompress_executable(path.read_bytes())
    except OSError:
        raise
    except Exception:  # zlib.error, or what zstandard raises where that is installed.
        return False
    return True
