"""What is shown while a run trains: speed, time left, warnings of a flat loss or slow data."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from lenet_alexnet.runtime.console import duration, first_process, say

STARVED = 0.2  # A warning is due from this share of time spent waiting for data.


class Stopwatch:
    """Measures training time: laps at log lines, pauses for evaluation and saving."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._mark, self._step = 0.0, 0

    def start(self, step: int) -> None:
        """Training begins at `step`."""
        self._mark, self._step, self._lap = time.monotonic(), step, 0.0

    def lap(self, step: int) -> float:
        """Steps per second since the last lap."""
        self._tick()
        speed = (step - self._step) / max(self._lap, 1e-9)
        self._step, self._lap = step, 0.0
        return speed

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside is not counted as training."""
        self._tick()
        yield
        self._mark = time.monotonic()

    def _tick(self) -> None:
        now = time.monotonic()
        self._lap += now - self._mark
        self.seconds += now - self._mark
        self._mark = now


class FlatLoss:
    """Warns once if nothing is learnt."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self._guessing = 1 - 1 / len(class_names)
        self._warned = False

    def check(self, row: dict[str, Any]) -> None:
        """After one epoch, an error above 97 % of that of guessing means a flat loss."""
        if not self._warned and row["epoch"] >= 1 and row["top1_error"] > 0.97 * self._guessing:
            self._warned = True
            say(
                f"warning: the loss is flat at {row['loss']:.3f}: after epoch {row['epoch']:.1f} "
                f"the error is {100 * row['top1_error']:.0f} %, as by guessing; "
                "check the learning rate and the initialisation"
            )


class DataWait:
    """The share of time that the device waits for data from disk; warns once if it is large."""

    def __init__(self, from_disk: bool) -> None:
        self._from_disk, self._warned = from_disk, False
        self._waited, self._seconds = 0.0, 0.0

    def share(self, waited: float, seconds: float) -> dict[str, float]:
        """{"data_wait": share since the last call}, or {} if the data are in memory."""
        if not self._from_disk:
            return {}
        share = (waited - self._waited) / max(seconds - self._seconds, 1e-9)
        self._waited, self._seconds = waited, seconds
        if share > STARVED and not self._warned:
            self._warned = True
            say(
                f"warning: the device waits for data {100 * share:.0f} % of the time: a faster "
                "disk, more cores, --store=raw, or data.stream=False if they fit in memory"
            )
        return {"data_wait": round(min(share, 1.0), 4)}


class Progress(contextlib.AbstractContextManager):
    """A progress bar on a terminal; elsewhere one plain line for each row of the log."""

    def __init__(self, total_steps: int, step: int, steps_per_epoch: float) -> None:
        from tqdm import tqdm

        self._steps_per_epoch = steps_per_epoch
        self._total, self._first, self._start = total_steps, step, time.monotonic()
        self._bar = tqdm(
            total=total_steps,
            initial=step,
            disable=not (sys.stderr.isatty() and first_process()),
            file=sys.stderr,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% |{bar:10}| {desc} [{elapsed}<{remaining}]",
        )

    def advance(self, step: int) -> None:
        """Moves the bar to `step` completed steps."""
        if not self._bar.disable:
            self._bar.update(step - self._bar.n)

    def show(self, row: dict[str, Any]) -> None:
        """Shows a new row: training in the bar, an evaluation as a separate line."""
        text = f"loss {row['loss']:.4f}  error {100 * row['top1_error']:5.2f} %"
        self._write(row, text, row["images_per_second"])

    def show_runs(self, rows: Sequence[dict[str, Any]]) -> None:
        """Shows the new rows of runs side by side as one: the range of their errors."""
        errors = [100 * row["top1_error"] for row in rows]
        runs = f"{len(rows)} run{'s' if len(rows) > 1 else ''}"
        text = f"error {min(errors):5.2f} .. {max(errors):5.2f} % of {runs}"
        speed = rows[0]["images_per_second"]  # Of each: they train in step.
        self._write(rows[0], text, speed and speed * len(rows))

    def _write(self, row: dict[str, Any], result: str, images_per_second: float | None) -> None:
        text = f"epoch {row['epoch']:6.2f}  {row['split']:<10}  {result}"
        if images_per_second is not None:
            text += f"  {images_per_second:,.0f} img/s"
        if self._bar.disable:
            say(f"{text}{self._time_left(row['step'])}")
        elif row["split"] == "train":
            self._bar.set_description_str(text, refresh=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def _time_left(self, step: int) -> str:
        if step <= self._first or step >= self._total:
            return ""
        rate = (time.monotonic() - self._start) / (step - self._first)
        return f"  {duration(rate * (self._total - step))} left"

    def __exit__(self, *_: object) -> None:
        self._bar.close()
