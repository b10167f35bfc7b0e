"""A run's log: one JSON object per line."""

import contextlib
import errno
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from lenet_alexnet.errors import DataError
from lenet_alexnet.runtime import storage

Row = dict[str, Any]
Callback = Callable[[Row], None]  # it gets a line of the log


class Follower(Protocol):
    """What gets a copy of the log."""

    def begin(self, rows: Iterable[Row]) -> None:
        """The lines so far: at first, and again if the last ones were removed."""

    def write(self, row: Row) -> None:
        """One more line."""


MEASURED = ("train", "validation", "test")
REQUIRED = {"epoch": (int, float), "loss": (int, float, type(None)), "top1_error": (int, float)}


def read_rows(path: Path) -> list[Row]:
    """The complete lines of a run's log; the last one may still be in writing.

    Raises:
      DataError: a line is broken.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Row], int]:
    """The complete lines, and their length in bytes."""
    if not path.exists() and not path.is_symlink():
        return [], 0
    with storage.open_here(path) as file:
        content = file.read()
    whole, rows = content[: content.rfind(b"\n") + 1], []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            if not isinstance(row["step"], int) or not isinstance(row["split"], str):
                raise TypeError
            if row["split"] in MEASURED and not all(
                isinstance(row[key], kind) for key, kind in REQUIRED.items()
            ):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"'{path}' is broken in line {number}") from error
        rows.append(row)
    return rows, len(whole)


class MetricsLog(contextlib.AbstractContextManager):
    """A file of one JSON object per line: only appended to, each step and split once.

    A run that resumes from an earlier step than its last line computes the lines in between again,
    to the same bits (except times): the old lines stay.

    Args:
      path: of the file.
      writes: whether this process writes; of several, one does.
      callbacks: called with each line that is written, after that.
      followers: get the lines so far, and then each line after the callbacks.

    Raises:
      DataError: a line is broken, other than a truncated last line.
    """

    def __init__(
        self,
        path: Path,
        *,
        writes: bool = True,
        callbacks: Sequence[Callback] = (),
        followers: Sequence[Follower] = (),
    ) -> None:
        self.rows: dict[tuple[int, str], Row] = {}
        self._path, self._callbacks, self._followers = path, callbacks, followers
        rows, length = _read(path)
        for row in rows:
            self.rows[row["step"], row["split"]] = row
        self._file = storage.open_here(path, "ab", buffering=0) if writes else None
        if self._file:  # A line truncated by a crash.
            self._file.truncate(length)
        self._begin()

    def _begin(self) -> None:
        for follower in self._followers:
            follower.begin([_finite(row) for row in self.rows.values()])

    def write(self, row: Row) -> None:
        """Appends one line; NaN is written as null."""
        key = (row["step"], row["split"])
        if key in self.rows:
            return
        self.rows[key] = row
        clean = _finite(row)
        line = json.dumps(clean).encode() + b"\n"
        if not self._file:
            return
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
        for callback in (*self._callbacks, *(follower.write for follower in self._followers)):
            callback(dict(clean))

    def result(self, step: int | None, split: str) -> dict[str, Any] | None:
        """The summary's entry for the evaluation at `step`; None if there was none."""
        row = self.rows.get((step, split)) if step else None
        fields = ("step", "loss", "top1_error", "top5_error", "examples")
        if row and (absent := [field for field in fields if field not in row]):
            where = f"'{self._path}': the line of step {step}, {split}"
            raise DataError(f"{where}, has no '{absent[0]}'")
        return row and {"selected_on": split} | {field: row[field] for field in fields}

    def cut(self, step: int) -> None:
        """Removes the lines after `step`: the run continues differently from there."""
        self.rows = {key: row for key, row in self.rows.items() if key[0] <= step}
        if self._file:
            lines = self._path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self._file.truncate(sum(len(line) for line in kept))
        self._begin()

    def sync(self) -> None:
        """Forces the lines to disk: a checkpoint's lines must survive a power failure."""
        if self._file:
            os.fsync(self._file.fileno())

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def _finite(value: Any) -> Any:
    """A value of JSON, with None for each number in it that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
