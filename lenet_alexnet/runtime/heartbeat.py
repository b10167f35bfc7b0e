"""What the training process is at work on, in a page of memory that its watcher reads.

The main thread stores a few numbers at the begin and the end of each phase, and nothing else. All
processes of a run go through the same phases, so the one with the smallest count is behind.
"""

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

PAGE = struct.Struct("=Qqd32s")  # phases so far, completed steps, its allowance, the phase

STUCK_AFTER = 600  # seconds; the default
# How many times `stuck_after` a phase may last until the next one, or the next beat in it.
ALLOWANCES = {
    "start-up": 6,
    "compilation": 6,
    "restoring": 6,
    "training": 3,  # A dispatch has many steps.
    "waiting for data": 1,
    "exchange": 1,  # Processes that are ahead may wait in it for longer.
    "evaluation": 6,
    "saving": 6,
}


class _Heartbeat:
    def __init__(self) -> None:
        self.page: Any = bytearray(PAGE.size)
        self.count, self.step, self.phase = 0, 0, "start-up"

    def store(self) -> None:
        self.count += 1
        allowance = ALLOWANCES[self.phase]
        PAGE.pack_into(self.page, 0, self.count, self.step, allowance, self.phase.encode())


_HEARTBEAT = _Heartbeat()


def show_in(page: Any) -> None:
    """From here on, the phases are stored in `page`, a writable buffer of `PAGE.size` bytes."""
    _HEARTBEAT.page = page
    _HEARTBEAT.store()


def beat(step: int | None = None) -> None:
    """Stores that the phase makes progress; `step` is the number of completed steps."""
    if step is not None:
        _HEARTBEAT.step = step
    _HEARTBEAT.store()


@contextlib.contextmanager
def during(phase: str) -> Iterator[None]:
    """Inside, the process is in `phase`, one of `ALLOWANCES`; usable as a decorator."""
    before, _HEARTBEAT.phase = _HEARTBEAT.phase, phase
    _HEARTBEAT.store()
    try:
        yield
    finally:
        _HEARTBEAT.phase = before
        _HEARTBEAT.store()
