"""A watched process without JAX, for tests.

python -m tests.helpers.watched_program FOLDER INDEX COUNT WHAT beats ten times a second until a
byte comes on stdin; then it does WHAT. The processes of one folder find each other through files.
"""

import ctypes
import json
import os
import select
import sys
import time
from pathlib import Path

from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import heartbeat, processes, watch

STUCK_AFTER = 2


def main(folder: str, index: str, count: str, what: str) -> None:
    """Beats, then does what its last argument says."""
    found = Path(folder)
    processes.index, processes.count = lambda: int(index), lambda: int(count)
    processes.host_of_first = lambda: "127.0.0.1"
    processes.tell_others = lambda _, value: (found / "new").write_text(json.dumps(value))
    processes.told = lambda _: told(found)
    with watch.watching(STUCK_AFTER, found) as watched:
        watched.connect()
        with watched.ending_together():
            train(found, what)


def train(folder: Path, what: str) -> None:
    """Phases as of a run; a step needs all processes. After the first one it is ready."""
    for step in range(10**6):
        with heartbeat.during("waiting for data"):
            if select.select([0], [], [], 0)[0] and os.read(0, 1):
                act(what)
        (folder / f"{processes.index()}.step").write_text(str(step))
        with heartbeat.during("training"):
            while not all(done(folder, other) >= step for other in range(processes.count())):
                time.sleep(0.01)
        heartbeat.beat(step)
        if step == 0:
            print("ready", flush=True)
        time.sleep(0.1)


def act(what: str) -> None:
    """What the last argument says."""
    if what == "sleep":
        time.sleep(1000)
    elif what == "hold":
        ctypes.PyDLL(None).sleep(1000)  # with Python's lock
    elif what == "save":
        with heartbeat.during("saving"):
            time.sleep(3 * STUCK_AFTER)
    elif what == "fail":
        raise DataError("no such file")
    elif what == "lose":
        raise ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")
    print("did it", flush=True)


def done(folder: Path, index: int) -> int:
    """The last step that a process has begun."""
    try:
        return int((folder / f"{index}.step").read_text() or -1)
    except FileNotFoundError:
        return -1


def told(folder: Path) -> dict:
    """What process 0 has written."""
    while True:
        try:
            return json.loads((folder / "new").read_text())
        except (FileNotFoundError, ValueError):
            time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
