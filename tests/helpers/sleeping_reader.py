"""`lenet-alexnet` for tests: after `SLEEP`, its reader of training photos sleeps for ever; after
`PAUSE`, its next save takes half a minute longer."""

import signal
import threading
import time

from lenet_alexnet.cli import run
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.runs.saver import Saver

SLEEP, PAUSE = signal.SIGRTMIN + 1, signal.SIGRTMIN + 2
PAUSES = 30  # seconds
TRAINING = 30  # photos; an evaluation has fewer


def main() -> None:
    """As the console script."""
    asleep, pausing = threading.Event(), threading.Event()
    read, start = Streamed.read_into, Saver._start

    def sleep_or_read(data, index, images, labels):
        if asleep.is_set() and len(data) > TRAINING:
            time.sleep(10_000)
        read(data, index, images, labels)

    def pause_and_start(saver, *arguments):
        if pausing.is_set():
            pausing.clear()
            time.sleep(PAUSES)
        return start(saver, *arguments)

    signal.signal(SLEEP, lambda *_: asleep.set())
    signal.signal(PAUSE, lambda *_: pausing.set())
    Streamed.read_into, Saver._start = sleep_or_read, pause_and_start
    run()


if __name__ == "__main__":
    main()
