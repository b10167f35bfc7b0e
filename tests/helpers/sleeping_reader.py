"""`lenet-alexnet` whose reader of training photos sleeps for ever after `SLEEP`, for tests."""

import signal
import threading
import time

from lenet_alexnet.cli import run
from lenet_alexnet.data.streamed import Streamed

SLEEP = signal.SIGRTMIN + 1
TRAINING = 30  # photos; an evaluation has fewer


def main() -> None:
    """As the console script."""
    asleep, read = threading.Event(), Streamed.read

    def sleep_or_read(data, index):
        if asleep.is_set() and len(data) > TRAINING:
            time.sleep(10_000)
        return read(data, index)

    signal.signal(SLEEP, lambda *_: asleep.set())
    Streamed.read = sleep_or_read
    run()


if __name__ == "__main__":
    main()
