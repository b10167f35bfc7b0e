"""Where a run's wall time went: a line of wall_time.jsonl for each start of the run.

While a process trains, a thread overwrites its line in place, twenty times a second. So the line is
at most 0.05 s old when the process is killed. The training loop itself only sets two attributes a
dispatch. Lines have one length that divides a page of memory, so that a kill tears none.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

NAME = "wall_time.jsonl"
LINE = 512  # bytes
EVERY = 0.05  # seconds between two updates of the line

# What a process can be at work on. Start-up has the imports, the data and the restoring, and the
# end after the last save. Steps have the waiting for data, until they are reported.
START_UP, COMPILE, STEPS, EVALUATION, SAVING = PARTS = (
    "start_up",
    "compile",
    "steps",
    "evaluation",
    "saving",
)

# The parts that are reported, see `split`, in words.
LABELS = {
    START_UP: "start-up, restoring and the end",
    COMPILE: "compiling",
    STEPS: "training steps",
    "data_wait": "waiting for data",
    EVALUATION: "evaluation",
    SAVING: "saving",
    "lost": "steps trained again",
}


class Line(NamedTuple):
    """The seconds of each part of one start of a run, and the steps from `first_step` to `step`."""

    begun: float  # seconds since 1970
    first_step: int
    step: int
    start: bool  # of a process; False: it went back and trains on
    waited: float  # seconds of `steps` in which the devices waited for data
    parts: dict[str, float]

    @property
    def seconds(self) -> float:
        """How long the process was at work."""
        return sum(self.parts.values())

    def encode(self) -> bytes:
        """The line as JSON, filled up with spaces."""
        seconds = {"begun": self.begun, "waited": self.waited, **self.parts}
        row = {key: round(value, 3) for key, value in seconds.items()}
        row |= {"first_step": self.first_step, "step": self.step, "start": int(self.start)}
        return json.dumps(row).encode().ljust(LINE - 1) + b"\n"


class WallTime(contextlib.AbstractContextManager):
    """The line of this process, in the record of each of its runs.

    Args:
      folders: of the runs that this process trains side by side, if it writes.
      began: `time.monotonic()` when the process began to work for the runs.

    Attributes:
      step: completed steps, set by the trainee.
      waited: seconds in which the devices waited for data, set by the trainee.

    Raises:
      DataError: a record is broken.
    """

    def __init__(self, folders: Sequence[Path], began: float) -> None:
        self.step, self.waited = 0, 0.0
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._files = [_open(folder / NAME) for folder in folders]
        self._begin(began, start=True)
        self._thread = threading.Thread(target=self._keep_up, name=NAME, daemon=True)
        if self._files:
            self._thread.start()

    def _begin(self, began: float, *, start: bool) -> None:
        """Begins a new line with the step as it is."""
        self._start = start
        self._began_at = time.time() - (time.monotonic() - began)
        self._seconds, self._part, self._since = dict.fromkeys(PARTS, 0.0), START_UP, began
        self._first_step, self._waited_before = self.step, self.waited
        self._places = [os.fstat(file.fileno()).st_size for file in self._files]
        self.write()  # Later updates need no more space on the disk.

    def go_to(self, step: int) -> None:
        """The run resumes at `step`; if it has trained before, from here on in a new line."""
        if self.step == self._first_step:
            self.step = self._first_step = step
            return
        self.write()
        with self._lock:
            part, self.step = self._part, step
            self._begin(time.monotonic(), start=False)
            self._part = part

    @contextlib.contextmanager
    def spent_on(self, part: str) -> Iterator[None]:
        """Time inside is counted as that of `part`."""
        before = self._switch(part)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, part: str) -> str:
        with self._lock:
            now = time.monotonic()
            self._seconds[self._part] += now - self._since
            before, self._part, self._since = self._part, part, now
        return before

    def parts(self) -> dict[str, float]:
        """The seconds of each part in this line so far."""
        with self._lock:
            passed = time.monotonic() - self._since
            return self._seconds | {self._part: self._seconds[self._part] + passed}

    def write(self) -> None:
        """Brings the line up to date."""
        with self._lock:
            parts = self.parts()
            waited = self.waited - self._waited_before
            steps, places = (self._first_step, self.step), self._places
            line = Line(self._began_at, *steps, self._start, waited, parts).encode()
        for file, place in zip(self._files, places, strict=True):
            os.pwrite(file.fileno(), line, place)

    def sync(self) -> None:
        """Forces the line to disk."""
        self.write()
        for file in self._files:
            os.fsync(file.fileno())

    def so_far(self, folder: Path) -> dict[str, Any]:
        """The summary's entry of one of the runs, see `split`; {} if this process writes none."""
        if not self._files:
            return {}
        self.write()
        return {"wall_time": split(folder / NAME)}

    def _keep_up(self) -> None:
        while not self._ended.wait(EVERY):
            with contextlib.suppress(OSError):  # `sync` reports what lasts.
                self.write()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._files:
            self._thread.join(10 * EVERY)  # A file system may hang.
            with contextlib.suppress(OSError):
                self.write()
        for file in self._files:
            file.close()


def _open(path: Path) -> IO[bytes]:
    """The record, without a line that a crash left unfinished."""
    whole = len(read(path)) * LINE
    storage.open_here(path, "ab").close()
    file = storage.open_here(path, "r+b", buffering=0)
    file.truncate(whole)
    return file


def read(path: Path) -> list[Line]:
    """The complete lines of a record; none if there is no record.

    Raises:
      DataError: a line is broken.
    """
    if not path.exists() and not path.is_symlink():
        return []
    with storage.open_here(path) as file:
        content = file.read()
    found = []
    for start in range(0, len(content) // LINE * LINE, LINE):
        try:
            found.append(_decode(content[start : start + LINE]))
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            number = start // LINE + 1
            raise DataError(
                f"'{path}' is broken in line {number}: without this file, time is counted again"
            ) from error
    return found


def _decode(content: bytes) -> Line:
    """The line of `Line.encode`; one of many errors if it is none."""
    row = json.loads(content)
    seconds = {key: float(row[key]) for key in ("waited", *PARTS)}
    begun, steps = float(row["begun"]), (int(row["first_step"]), int(row["step"]))
    if not all(0 <= number < 2**53 for number in (begun, *steps, *seconds.values())):
        raise ValueError
    return Line(begun, *steps, bool(row["start"]), seconds.pop("waited"), seconds)


def split(path: Path) -> dict[str, Any] | None:
    """Where the time of a run went, over all its starts; None without a record.

    Returns `seconds`, and the parts that add up to them, see `LABELS`. Steps are trained again
    after a kill or a divergence: `steps_again` is their number. `down` are the seconds between the
    end of a process and the next of the `starts`.

    Raises:
      DataError: the record is broken.
    """
    lines = read(path)
    if not lines:
        return None
    parts = dict.fromkeys(LABELS, 0.0)
    down, again, furthest = 0.0, 0, 0
    for i, line in enumerate(lines):
        for part, seconds in line.parts.items():
            parts[part] += seconds
        repeated = max(0, min(line.step, furthest) - line.first_step)
        share = repeated / max(line.step - line.first_step, 1)
        waited = min(line.waited, line.parts[STEPS])
        parts[STEPS] -= waited + share * (line.parts[STEPS] - waited)
        parts["data_wait"] += (1 - share) * waited
        parts["lost"] += share * line.parts[STEPS]
        again, furthest = again + repeated, max(furthest, line.step)
        if i:
            down += max(0.0, line.begun - lines[i - 1].begun - lines[i - 1].seconds)
    return {
        "seconds": round(sum(parts.values()), 3),
        **{part: round(seconds, 3) for part, seconds in parts.items()},
        "down": round(down, 3),
        "starts": sum(line.start for line in lines),
        "steps_again": again,
    }
