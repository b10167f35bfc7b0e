"""One line for an exception that is not one of ours."""

import contextlib
import errno
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory", "bad_alloc")
PLATFORM = "Unable to initialize backend"
FILE = "traceback.txt"
HINT = "this is a fault of lenet_alexnet: please report it"


def tell(error: Exception, workdir: str | None, *, debug: bool = False) -> tuple[str, int]:
    """A line about `error`, and the exit code.

    The traceback of an unexplained error is written to the run's folder or, without one, to a
    temporary file; the line names it. With `debug`, every traceback goes to stderr.
    """
    if debug:
        traceback.print_exception(error)
    if known := explain(error):
        return known
    line = f"{type(error).__name__}: {_first_line(error)}; {HINT}"
    if not debug:
        path = _keep(error, workdir)
        line += f" with {path}" if path else " with the output of --debug"
    return line, 1


def quiet_callbacks() -> None:
    """Hides tracebacks of callbacks that come too late.

    After a failed save, which was reported, tensorstore's other writes still call asyncio's loop.
    It is closed by then: a page of tracebacks.
    """
    shown = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            shown(unraisable)

    sys.unraisablehook = hook


def explain(error: Exception) -> tuple[str, int] | None:
    """The line and the exit code for a lack of the machine; None for any other error."""
    text = str(error)
    if isinstance(error, MemoryError) or any(word in text for word in MEMORY):
        return (
            f"out of memory: lower train.batch_size or eval.batch_size, raise train.accumulate, "
            f"or take a smaller network or fewer data at once (data.stream): {_first_line(error)}",
            1,
        )
    if PLATFORM in text or _raised_in(error, "xla_bridge.py"):
        wanted = os.environ.get("JAX_PLATFORMS", "")
        return (
            f"JAX_PLATFORMS={wanted}: JAX cannot start it here (unset it, or install that jaxlib): "
            f"{_first_line(error)}",
            2,
        )
    if not isinstance(error, OSError):
        return None
    hints = {
        errno.ENOSPC: "; free some space and run the same command again",
        errno.EDQUOT: "; free some space and run the same command again",
        errno.EMFILE: "; allow more open files (ulimit -n)",
        errno.ENFILE: "; the system has too many open files",
    }
    return f"{_first_line(error)}{hints.get(error.errno or 0, '')}", 1


def _raised_in(error: Exception, file: str) -> bool:
    """Whether a file raised the error: JAX has an assertion for a missing platform."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).name == file


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _keep(error: Exception, workdir: str | None) -> str:
    """Writes the traceback; returns the file, or "" if none can be written."""
    head = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n"
    content = head + "".join(traceback.format_exception(error))
    if workdir and Path(workdir).is_dir():
        with contextlib.suppress(OSError):
            path = Path(workdir) / FILE
            path.write_text(content, errors="backslashreplace")
            return str(path)
    with contextlib.suppress(OSError):
        number, name = tempfile.mkstemp(prefix="lenet_alexnet_", suffix=".txt")
        with open(number, "w", errors="backslashreplace") as file:
            file.write(content)
        return name
    return ""
