"""Stopping well: the first signal asks for an orderly end, the second ends at once."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@contextmanager
def catch() -> Iterator[Callable[[], bool]]:
    """Inside, signals set a flag; yields the function that tells whether one came."""
    came: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)
        name = signal.Signals(number).name
        print(f"\n{name}: saving and stopping (again: at once)", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
