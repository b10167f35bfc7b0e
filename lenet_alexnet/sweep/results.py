"""The results of a sweep: results.csv, and a table grouped over seeds and ranked."""

import csv
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lenet_alexnet.runs.directory import read_summary
from lenet_alexnet.runtime import storage
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Override, Trial
from lenet_alexnet.sweep.trials import Sweep, selecting_split


class Row(NamedTuple):
    """A trial's outcome; `values` are the columns of results.csv besides the overrides."""

    trial: Trial
    status: str
    values: dict[str, Any]

    @property
    def setting(self) -> tuple[tuple[str, Any], ...]:
        """The overrides without the seed: what is compared."""
        return setting(self.trial.overrides)


def setting(overrides: Override) -> tuple[tuple[str, Any], ...]:
    """Overrides without the seed, which can be compared and counted."""
    return tuple(
        (key, tuple(value) if isinstance(value, list) else value)
        for key, value in overrides.items()
        if key != "seed"
    )


def collect(sweep: Sweep, trials: Sequence[Trial]) -> list[Row]:
    """One row per trial, in the order of the sweep."""
    return [_row(sweep, trial) for trial in trials]


def _row(sweep: Sweep, trial: Trial) -> Row:
    status, error = sweep.status(trial.id)
    split, path = selecting_split(trial.flat), sweep.folder(trial.id) / "summary.json"
    summary = read_summary(path) if path.exists() else {}
    last = summary.get("eval", {}).get(split, {})
    best, test = summary.get("best") or {}, summary.get("eval", {}).get("test", {})
    if status == states.STOPPED:
        rows = [row for row in sweep.rows(trial.id) if row["split"] == split]
        last = rows[-1] if rows else {}
    seconds = summary.get("train_seconds", 0) + summary.get("compile_seconds", 0)
    values = {
        "selected_on": split,
        "step": summary.get("step", ""),
        "top1_error": last.get("top1_error", ""),
        "loss": last.get("loss", ""),
        "best_top1_error": best.get("top1_error", ""),
        "best_step": best.get("step", ""),
        "test_top1_error": test.get("top1_error", ""),
        # The trials of one program share its time equally.
        "seconds": round(seconds / summary.get("side_by_side", 1), 2) if summary else "",
        "error": error,
    }
    return Row(trial, status, values)


def swept(rows: Sequence[Row]) -> list[str]:
    """The entries that the sweep sets, the seed last."""
    keys = dict.fromkeys(key for row in rows for key in row.trial.overrides)
    return sorted(keys, key=lambda key: key == "seed")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Writes results.csv: one row per trial."""
    keys = swept(rows)
    with storage.written_whole(path, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", *keys, "status", *rows[0].values])
        for row in rows:
            overrides = [row.trial.overrides.get(key, "") for key in keys]
            writer.writerow([row.trial.id, *overrides, row.status, *row.values.values()])


class Setting(NamedTuple):
    """A setting over its seeds: the metric's values for the seeds that completed."""

    overrides: tuple[tuple[str, Any], ...]
    found: list[float]
    tests: list[float]
    ends: Counter[str]

    @property
    def mean(self) -> float:
        """Over the seeds that completed; infinite if none has."""
        return statistics.fmean(self.found) if self.found else float("inf")

    @property
    def std(self) -> float:
        """Over the seeds that completed; 0 for one."""
        return statistics.stdev(self.found) if len(self.found) > 1 else 0.0

    @property
    def broken(self) -> int:
        """How many seeds diverged or failed."""
        return sum(self.ends[state] for state in states.BROKEN)


def ranked(rows: Sequence[Row], metric: str) -> list[Setting]:
    """Settings, the smallest mean first; settings with a broken seed come last."""
    settings: dict[tuple, Setting] = {}
    for row in rows:
        setting = settings.setdefault(row.setting, Setting(row.setting, [], [], Counter()))
        setting.ends[row.status] += 1
        if row.status == states.COMPLETED and row.values[metric] != "":
            setting.found.append(row.values[metric])
            setting.tests.append(row.values["test_top1_error"])
    return sorted(settings.values(), key=lambda setting: (setting.broken > 0, setting.mean))


def cells(rows: Sequence[Row], metric: str) -> list[list[str]]:
    """The ranked settings, below a line of headings."""
    keys = [key for key in swept(rows) if key != "seed"]
    split = rows[0].values["selected_on"]
    scale, unit = (100, ", %") if metric == "top1_error" else (1, "")
    lines = [["rank", *keys, f"{split} {metric}{unit}", "std", "n", "test error, %", "not counted"]]
    for rank, setting in enumerate(ranked(rows, metric), 1):
        overrides = dict(setting.overrides)
        others = {end: n for end, n in setting.ends.items() if end != states.COMPLETED}
        tests = [100 * value for value in setting.tests if value != ""]
        lines.append(
            [
                str(rank),
                *(str(overrides.get(key, "")) for key in keys),
                f"{scale * setting.mean:.4g}" if setting.found else "-",
                f"{scale * setting.std:.2g}" if len(setting.found) > 1 else "-",
                str(len(setting.found)),
                f"{statistics.fmean(tests):.3g}" if tests else "-",
                ", ".join(f"{n} {end}" for end, n in others.items()),
            ]
        )
    return lines


def ranked_on(rows: Sequence[Row]) -> str:
    """A sentence on the split that ranks the settings."""
    if rows[0].values["selected_on"] == "validation":
        return "Ranked on the validation split; the test split was not used."
    return "Ranked on the test split, as data.validation is empty: the best is flattered."


def table(rows: Sequence[Row], metric: str) -> str:
    """The ranked settings as text, and the split that ranks them."""
    return f"{aligned(cells(rows, metric))}\n{ranked_on(rows)}"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text in columns."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(c.rjust(w) for c, w in zip(x, widths, strict=True)).rstrip() for x in lines
    )


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % t interval of the mean; None for fewer than two values or if one is infinite."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    from scipy.special import stdtrit

    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.975)) * error
    mean = statistics.fmean(values)
    return mean - half, mean + half
