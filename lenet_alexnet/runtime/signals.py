"""Signals: the first asks for an orderly stop, the second ends the process at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)

# Process groups that end with this process, such as a running compiler.
DEPENDENT: set[int] = set()


@contextlib.contextmanager
def catch() -> Iterator[Callable[[], bool]]:
    """Inside, signals set a flag; yields the function that tells whether one came.

    A thread handles them: Python runs a handler only between two instructions of the main thread,
    and these may be a minute apart during a compilation.
    """
    asked = threading.Event()
    numbers = [n for n in SIGNALS if not _under_nohup(n)]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in numbers}
    fd_before = signal.set_wakeup_fd(writer)  # Each signal's number arrives there as a byte.
    watcher = threading.Thread(target=_watch, args=(reader, asked), daemon=True)
    watcher.start()
    try:
        yield asked.is_set
    finally:
        signal.set_wakeup_fd(fd_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(writer, b"\0")
        watcher.join()
        os.close(reader)
        os.close(writer)


def _under_nohup(number: int) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


def _watch(reader: int, asked: threading.Event) -> None:
    count = 0
    while number := os.read(reader, 1)[0]:
        if number not in SIGNALS:
            continue
        if number == signal.SIGHUP and count:
            continue  # At the end of a session, shell and terminal both send it.
        count += 1
        if count > 1:
            for group in tuple(DEPENDENT):
                with contextlib.suppress(OSError):
                    os.killpg(group, signal.SIGKILL)
            os._exit(128 + number)
        asked.set()
        name = signal.Signals(number).name
        with contextlib.suppress(OSError):  # The terminal may be gone.
            print(f"\n{name}: saving and stopping (again: at once)", file=sys.stderr, flush=True)
