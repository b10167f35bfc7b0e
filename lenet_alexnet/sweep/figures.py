"""The figures of a sweep: the metric against each swept number, and curves over training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lenet_alexnet.plots import BLUE, GREEN, ORANGE, SKY, VERMILLION, is_log, pyplot, save
from lenet_alexnet.sweep import series
from lenet_alexnet.sweep.results import Row
from lenet_alexnet.sweep.trials import COMPLETED, Sweep

COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, "#CC79A7", "#999999", "black")
MOST_CURVES = len(COLOURS)
LINE_HEIGHT = 0.25  # inches per line of a legend


def draw(sweep: Sweep, rows: Sequence[Row], metric: str) -> list[Path]:
    """Writes metric.png (if a number was swept) and curves.png into the sweep's folder."""
    done = [row for row in rows if row.status == COMPLETED]
    files = []
    numbers = series.numbers(rows)
    if done and numbers:
        files.append(_metric(sweep.root / "metric.png", done, numbers, metric))
    if done:
        files.append(_curves(sweep, done, metric))
    return files


def _metric(path: Path, rows: Sequence[Row], keys: Sequence[str], metric: str) -> Path:
    plt = pyplot()
    _, scale = series.scaled(metric)
    of_key = {key: series.lines(rows, key, metric) for key in keys}
    entries = max(min(len(found), MOST_CURVES) for found in of_key.values()) + 3
    figure, grid = plt.subplots(
        1,
        len(keys),
        figsize=(1 + 4.5 * len(keys), 4 + LINE_HEIGHT * entries),
        squeeze=False,
        sharey=True,
    )
    for axes, (key, found) in zip(grid[0], of_key.items(), strict=True):
        x = np.array([row.trial.overrides[key] for row in rows], float)
        y = scale * np.array([row.values[metric] for row in rows])
        axes.plot(x, y, "o", color="0.5", alpha=0.4, mew=0, label="a trial")
        for line, color in zip(found, COLOURS, strict=False):
            axes.errorbar(
                line.places,
                scale * np.array(line.means),
                scale * np.array(line.deviations),
                fmt="-",
                color=color,
                capsize=3,
                label=series.name(line.others, "mean"),
            )
        if is_log(np.unique(x).tolist()):
            axes.set_xscale("log")
        axes.set_xlabel(key)
        axes.grid(alpha=0.3)
        best = f"the best {MOST_CURVES} of {len(found)} settings; " * (len(found) > MOST_CURVES)
        _legend(axes, f"{best}mean, ±1 std over seeds" if found else None)
    if is_log([row.values[metric] for row in rows]):
        grid[0][0].set_yscale("log")
    grid[0][0].set_ylabel(series.label(rows, metric))
    return save(figure, path)


def _legend(axes: Any, title: str | None = None) -> None:
    """Puts the legend below the axes, where it covers no line."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.18),
        fontsize="small",
        title=title,
        title_fontsize="small",
    )


def _curves(sweep: Sweep, rows: Sequence[Row], metric: str) -> Path:
    """Draws mean and one standard deviation over the seeds of the best settings."""
    plt = pyplot()
    _, scale = series.scaled(metric)
    found = series.curves(sweep, rows, metric)
    shown = min(len(found), MOST_CURVES)
    figure, axes = plt.subplots(figsize=(8, 5 + LINE_HEIGHT * shown))
    for line, color in zip(found, COLOURS, strict=False):
        mean, std = scale * np.array(line.means), scale * np.array(line.deviations)
        text = f"{series.name(line.others, 'all')} (n={line.seeds})"
        axes.plot(line.places, mean, ".-", color=color, label=text)
        axes.fill_between(line.places, mean - std, mean + std, color=color, alpha=0.2, lw=0)
    axes.set_title(f"the best {shown} of {len(found)} settings; bands: ±1 std over seeds")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), high)
    axes.set(xlabel="epoch", ylabel=series.label(rows, metric))
    axes.grid(alpha=0.3)
    _legend(axes)
    return save(figure, sweep.root / "curves.png")
