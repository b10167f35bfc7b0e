"""The figures of a sweep: the metric against each swept number, and curves over training."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.plots import BLUE, VERMILLION, is_log, pyplot, save
from lenet_alexnet.sweep import results
from lenet_alexnet.sweep.results import Row
from lenet_alexnet.sweep.trials import COMPLETED, Sweep

MOST_CURVES = 8


def draw(sweep: Sweep, rows: Sequence[Row], metric: str) -> list[Path]:
    """Writes metric.png (if a number was swept) and curves.png into the sweep's folder."""
    done = [row for row in rows if row.status == COMPLETED]
    files = []
    numbers = [key for key in results.swept(rows) if _is_number(rows, key) and key != "seed"]
    if done and numbers:
        files.append(_metric(sweep.root / "metric.png", done, numbers, metric))
    if done:
        files.append(_curves(sweep, done, metric))
    return files


def _is_number(rows: Sequence[Row], key: str) -> bool:
    values = {str(row.trial.overrides.get(key)) for row in rows}
    kinds = {type(row.trial.overrides.get(key)) for row in rows}
    return len(values) > 1 and kinds <= {int, float}


def _label(rows: Sequence[Row], metric: str) -> tuple[str, float]:
    split = rows[0].values["selected_on"]
    return (f"{split} error, %", 100.0) if metric == "top1_error" else (f"{split} {metric}", 1.0)


def _metric(path: Path, rows: Sequence[Row], keys: Sequence[str], metric: str) -> Path:
    plt = pyplot()
    label, scale = _label(rows, metric)
    figure, grid = plt.subplots(
        1, len(keys), figsize=(1 + 4.5 * len(keys), 4), squeeze=False, sharey=True
    )
    for axes, key in zip(grid[0], keys, strict=True):
        x = np.array([row.trial.overrides[key] for row in rows], float)
        y = scale * np.array([row.values[metric] for row in rows])
        axes.plot(x, y, "o", color=BLUE, alpha=0.4, mew=0, label="a trial")
        places = np.unique(x)
        if len(places) < len(x):
            means = [y[x == place].mean() for place in places]
            bars = [y[x == place].std(ddof=1) if (x == place).sum() > 1 else 0 for place in places]
            what = "mean, ±1 std" if len(keys) == 1 else "mean, ±1 std over all else"
            axes.errorbar(places, means, bars, fmt="-", color=VERMILLION, capsize=3, label=what)
        if is_log(list(places)):
            axes.set_xscale("log")
        axes.set_xlabel(key)
        axes.grid(alpha=0.3)
    if is_log([row.values[metric] for row in rows]):
        grid[0][0].set_yscale("log")
    grid[0][0].set_ylabel(label)
    grid[0][0].legend()
    return save(figure, path)


def _curves(sweep: Sweep, rows: Sequence[Row], metric: str) -> Path:
    """Mean and one standard deviation over the seeds of the best settings."""
    plt = pyplot()
    label, scale = _label(rows, metric)
    best = [setting.overrides for setting in results.ranked(rows, metric)]
    figure, axes = plt.subplots(figsize=(8, 5))
    for overrides in best[:MOST_CURVES]:
        found: dict[float, list[float]] = defaultdict(list)
        for row in (row for row in rows if row.setting == overrides):
            for point in sweep.rows(row.trial.id):
                if point["split"] == row.values["selected_on"] and point[metric] is not None:
                    found[point["epoch"]].append(scale * point[metric])
        if not found:
            continue
        epochs = sorted(found)
        mean = np.array([np.mean(found[epoch]) for epoch in epochs])
        std = np.array([np.std(found[e], ddof=1) if len(found[e]) > 1 else 0.0 for e in epochs])
        n = max(len(values) for values in found.values())
        (line,) = axes.plot(epochs, mean, ".-", label=f"{_name(overrides)} (n={n})")
        axes.fill_between(epochs, mean - std, mean + std, color=line.get_color(), alpha=0.2, lw=0)
    shown = min(len(best), MOST_CURVES)
    axes.set_title(f"the best {shown} of {len(best)} settings; bands: ±1 std over seeds")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), high)
    axes.set(xlabel="epoch", ylabel=label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return save(figure, sweep.root / "curves.png")


def _name(overrides: Sequence[tuple[str, Any]]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in overrides) or "all"
