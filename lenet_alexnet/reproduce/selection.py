"""Settings that are chosen for each arm of a claim by the error of held-out training images.

Each arm is trained once with each setting of a grid: the sweep of a file of configs/sweeps. The
outcome is the record experiments/NAME/selection.csv, from which the claim takes its settings.
"""

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lenet_alexnet.config import shipped
from lenet_alexnet.errors import DataError
from lenet_alexnet.reproduce import records
from lenet_alexnet.runs.directory import read_json
from lenet_alexnet.runtime import storage
from lenet_alexnet.sweep import results, trials
from lenet_alexnet.sweep.expand import Override

SEED = 100  # not the seed of any reported run
RECORD = "selection.csv"
ENDED = (trials.COMPLETED, trials.DIVERGED)


class Selection(NamedTuple):
    """What is tried.

    Attributes:
      experiment: the folder below experiments/ with the record.
      arms: the overrides of each arm.
      grid: the settings, with the same entries each.
    """

    experiment: str
    arms: Mapping[str, Override]
    grid: Sequence[Override]

    def overrides(self) -> list[Override]:
        """The trials, for a config file's `sweep()`: every arm with every setting."""
        return [self._trial(*one) for one in itertools.product(self.arms, self.grid)]

    def _trial(self, arm: str, setting: Override) -> Override:
        return {**self.arms[arm], **setting, "seed": SEED}

    def gather(self, workdir: Path) -> list[dict[str, Any]]:
        """The rows of the record from the folder of the sweep, of the trials that ended.

        Raises:
          DataError: a trial ran from a changed checkout.
          UsageError: the files of a trial are damaged.
        """
        sweep = trials.Sweep(workdir)
        found = results.collect(sweep, [sweep.trial(name) for name in sweep.stored()])
        ended = {frozenset(row.setting): row for row in found if row.status in ENDED}
        rows = []
        for arm, setting in itertools.product(self.arms, self.grid):
            trial = frozenset(results.setting(self._trial(arm, setting)))
            if trial in ended:
                rows.append(
                    self._row(arm, setting, ended[trial], sweep.folder(ended[trial].trial.id))
                )
        return rows

    def _row(self, arm: str, setting: Override, row: results.Row, folder: Path) -> dict[str, Any]:
        run = read_json(folder / "run.json", "git_dirty", git_dirty=bool)
        if run["git_dirty"]:
            raise DataError(f"{folder}: run from a changed checkout, so it proves nothing")
        return {
            "arm": arm,
            **setting,
            "seed": SEED,
            "epochs": row.trial.flat["train.duration"],
            "status": row.status,
            "error": row.values["top1_error"],
            "commit": run["git_commit"],
        }

    def chosen(self, rows: Sequence[Mapping[str, str]]) -> dict[str, Override]:
        """The setting of each arm with the lowest error, the first of equal ones.

        An arm is left out until all of its settings are in the record, and if all diverge.
        """
        found = {}
        for arm in self.arms:
            tried = [self._error(arm, setting, rows) for setting in self.grid]
            errors = [error for error in tried if error is not None]
            if len(errors) == len(self.grid) and math.isfinite(least := min(errors)):
                found[arm] = dict(self.grid[errors.index(least)])
        return found

    def _error(
        self, arm: str, setting: Override, rows: Sequence[Mapping[str, str]]
    ) -> float | None:
        """On the held-out images, infinite if it diverged; None: not tried."""
        for row in rows:
            same = all(row[key] == str(value) for key, value in setting.items())
            if row["arm"] == arm and same:
                return float(row["error"] or math.inf)
        return None

    def recorded(self) -> dict[str, Override]:
        """`chosen` from the committed record."""
        return self.chosen(records.read(shipped.ROOT / "experiments" / self.experiment / RECORD))


def save(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Writes the record."""
    with storage.written_whole(folder / RECORD, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
