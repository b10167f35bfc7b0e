"""The process that a watcher watches: what it does, and how it is ended."""

import contextlib
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet_alexnet.runtime.heartbeat import PAGE

DUMP = 3.0  # seconds to write the stacks
LAST = 10.0  # seconds after which a process that was told to end is killed


class Watched:
    """The parent of this process.

    Args:
      stuck_after: seconds, see `heartbeat.ALLOWANCES`; 0: never.
      page: the descriptor of its heartbeat.
      ask: a descriptor; after a byte in it, a thread writes all stacks. SIGUSR2 does it without
        Python's lock, but that may crash the process if it runs.
      stacks: the descriptor of the memory to which they are written.
      exits: descriptors by exit code, see `exits.on_byte`.
      folder: for the file with the stacks.
    """

    def __init__(
        self,
        *,
        stuck_after: float,
        page: int,
        ask: int,
        stacks: int,
        exits: dict[str, int],
        folder: str,
    ) -> None:
        self._stuck_after, self._folder = stuck_after or float("inf"), Path(folder)
        self._page, self._exits = mmap.mmap(page, PAGE.size), exits
        self._ask, self._stacks = ask, stacks
        self.pid, self.host = os.getppid(), socket.gethostname()
        self._last, self._quiet = b"", 0.0

    def alive(self) -> bool:
        """Whether it has not ended."""
        return os.getppid() == self.pid

    def look(self, seconds: float) -> None:
        """Compares its heartbeat with that of `seconds` before."""
        page = self._page[: PAGE.size]
        self._quiet = self._quiet + seconds if page == self._last else 0.0
        self._last = page

    def state(self) -> dict[str, Any]:
        """What is known of it."""
        count, step, allowance, phase = PAGE.unpack(self._page[: PAGE.size])
        letter = _letter(self.pid)
        stopped = letter in ("T", "t")
        return {
            "host": self.host,
            "pid": self.pid,
            "count": count,
            "step": step,
            "phase": phase.rstrip(b"\0").decode(errors="replace"),
            "allowed": self._stuck_after * (1 if stopped else allowance),
            "quiet": self._quiet,
            "stopped": stopped,
            "on disk": letter == "D",
        }

    def end(self, line: str, code: int, stacks: str) -> None:
        """Ends it with an exit code, and a line on stderr.

        `stacks`: the file for the stacks of all its threads; "": none.
        """
        within(2, lambda: _tell(line))  # The disk below stderr may hang.
        os.kill(self.pid, signal.SIGCONT)
        if stacks:
            os.write(self._ask, b"x")
            if not self._stacks_written():
                os.kill(self.pid, signal.SIGUSR2)
                self._stacks_written()
            if content := os.pread(self._stacks, 1 << 24, 0):
                within(DUMP, lambda: (self._folder / stacks).write_bytes(content))
        os.write(self._exits[str(code)], b"x")
        deadline = time.monotonic() + LAST
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        sys.exit()

    def _stacks_written(self) -> bool:
        """Waits until all stacks are written, at most `DUMP` seconds; whether there are any."""
        deadline, size = time.monotonic() + DUMP, 0
        while time.monotonic() < deadline:
            before, size = size, os.fstat(self._stacks).st_size
            if 0 < before == size:
                break
            time.sleep(0.1)
        return size > 0


def _letter(pid: int) -> str:
    """A process's state as in `ps`: T is stopped by a signal, D waits for a disk."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):  # Not Linux.
        return ""


def _tell(line: str) -> None:
    """Writes a line to stderr, below a progress bar if there is one."""
    os.write(2, f"{chr(10) if os.isatty(2) else ''}{line}\n".encode(errors="backslashreplace"))


def within(seconds: float, action: Callable[[], object]) -> None:
    """Does what may hang, such as writing a file, and waits at most `seconds` for it."""

    def attempt() -> None:
        with contextlib.suppress(OSError):
            action()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
