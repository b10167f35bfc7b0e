"""How far a sweep's trials are, read from their logs: steps, errors, and the time left."""

import math
import time
from collections.abc import Sequence
from typing import Any

from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Trial
from lenet_alexnet.sweep.trials import Sweep, selecting_split


class TrialProgress:
    """One trial: its log, read again only when the file has changed.

    Args:
      sweep: whose trial it is.
      trial: the trial.
      metric: what trials are ranked by.
      since: when this launch began, in seconds since 1970.
    """

    def __init__(self, sweep: Sweep, trial: Trial, metric: str, since: float) -> None:
        self._path, self._since = sweep.metrics_file(trial.id), since
        self._sweep, self.trial, self._metric = sweep, trial, metric
        self.split = selecting_split(trial.flat)
        self.status, self.error = states.PENDING, ""
        self._stamp: tuple[int, int] | None = None
        self.rows: list[dict[str, Any]] = []
        self.read()
        self.first_share = self.share()

    def read(self) -> None:
        """Brings the status and the rows up to date."""
        self.status, self.error = self._sweep.status(self.trial.id)
        try:
            found = self._path.stat()
        except OSError:
            return
        if (found.st_mtime_ns, found.st_size) != self._stamp:
            self._stamp = found.st_mtime_ns, found.st_size
            self.rows = self._sweep.rows(self.trial.id)

    @property
    def ended(self) -> bool:
        """Whether the trial will not run again by itself."""
        return self.status in states.ENDED

    def curve(self) -> list[float]:
        """The metric at each evaluation on the split that selects, where it is finite."""
        values = (row[self._metric] for row in self.rows if row["split"] == self.split)
        return [value for value in values if value is not None and math.isfinite(value)]

    def examples(self) -> int | None:
        """The size of the training set, by the last row; None before it."""
        if not self.rows or not self.rows[-1]["epoch"]:
            return None
        row = self.rows[-1]
        return round(row["step"] * self.trial.flat["train.batch_size"] / row["epoch"])

    def images(self, examples: int) -> int:
        """How many images the whole run trains on, over all passes."""
        batch, duration = (self.trial.flat[f"train.{key}"] for key in ("batch_size", "duration"))
        return batch * to_steps(duration, batch_size=batch, examples=examples)

    def share(self) -> float:
        """The share of the run that is done, from 0 to 1."""
        if self.status == states.COMPLETED:
            return 1.0
        examples = self.examples()
        if examples is None:
            return 0.0
        step, batch = self.rows[-1]["step"], self.trial.flat["train.batch_size"]
        return min(1.0, step * batch / self.images(examples))

    def seconds_left(self) -> float | None:
        """The time until the run's end, by its speed in this launch; None: not known yet."""
        timed = [row for row in self.rows if row.get("time", 0.0) >= self._since]
        examples = self.examples()
        if examples is None or len(timed) < 2 or timed[-1]["step"] == timed[0]["step"]:
            return None
        pace = (timed[-1]["time"] - timed[0]["time"]) / (timed[-1]["step"] - timed[0]["step"])
        steps = self.images(examples) / self.trial.flat["train.batch_size"] - timed[-1]["step"]
        return max(0.0, pace * steps - (time.time() - timed[-1]["time"]))


def seconds_left(trials: Sequence[TrialProgress], seconds: float, until: float) -> float | None:
    """The time until every trial is done up to the share `until`; None: not known yet.

    It assumes that training images pass as fast as in the `seconds` of this launch so far, all its
    compilations and processes included, and that images cost the same in every trial.
    """
    known = [examples for one in trials if (examples := one.examples()) is not None]
    if not known:
        return None
    done = left = 0.0
    for one in trials:
        images, share = one.images(one.examples() or known[0]), one.share()
        done += images * max(0.0, share - one.first_share)
        left += 0.0 if one.ended else images * max(0.0, until - share)
    return left * seconds / done if done else None


def best_first(trials: Sequence[TrialProgress]) -> list[TrialProgress]:
    """The trials that have a value and are not broken, the smallest last value first."""
    known = [one for one in trials if one.status not in states.BROKEN and one.curve()]
    return sorted(known, key=lambda one: one.curve()[-1])
