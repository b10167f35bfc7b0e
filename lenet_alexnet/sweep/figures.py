"""The figures of a sweep: the metric against each swept number, and curves over training."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lenet_alexnet.plots import BLUE, GREEN, ORANGE, SKY, VERMILLION, is_log, pyplot, save
from lenet_alexnet.sweep import results
from lenet_alexnet.sweep.results import Row
from lenet_alexnet.sweep.trials import COMPLETED, Sweep

COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, "#CC79A7", "#999999", "black")
MOST_CURVES = len(COLOURS)
LINE_HEIGHT = 0.25  # inches per line of a legend


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


class Line(NamedTuple):
    """A metric against one swept number, all else equal: mean and deviation over seeds."""

    others: tuple[tuple[str, Any], ...]  # the overrides that all its trials share
    places: list[float]
    means: list[float]
    deviations: list[float]


def lines(rows: Sequence[Row], key: str, metric: str) -> list[Line]:
    """A line for each setting of the other overrides with at least two places, best first.

    If each place has one setting (numbers swept together), all of them form one line.
    """
    found: dict[Any, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    together = len({row.setting for row in rows}) == len({row.trial.overrides[key] for row in rows})
    for row in rows:
        others = () if together else tuple(pair for pair in row.setting if pair[0] != key)
        found[others][float(row.trial.overrides[key])].append(row.values[metric])
    drawn = []
    for others, by_place in found.items():
        places = sorted(by_place)
        means = [float(np.mean(by_place[x])) for x in places]
        deviations = [np.std(by_place[x], ddof=1) if len(by_place[x]) > 1 else 0.0 for x in places]
        drawn.append(Line(others, places, means, [float(d) for d in deviations]))
    return sorted(
        (line for line in drawn if len(line.places) > 1), key=lambda line: min(line.means)
    )


def _metric(path: Path, rows: Sequence[Row], keys: Sequence[str], metric: str) -> Path:
    plt = pyplot()
    label, scale = _label(rows, metric)
    of_key = {key: lines(rows, key, metric) for key in keys}
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
                label=_name(line.others, "mean"),
            )
        if is_log(np.unique(x).tolist()):
            axes.set_xscale("log")
        axes.set_xlabel(key)
        axes.grid(alpha=0.3)
        best = f"the best {MOST_CURVES} of {len(found)} settings; " * (len(found) > MOST_CURVES)
        _legend(axes, f"{best}mean, ±1 std over seeds" if found else None)
    if is_log([row.values[metric] for row in rows]):
        grid[0][0].set_yscale("log")
    grid[0][0].set_ylabel(label)
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
    label, scale = _label(rows, metric)
    best = [setting.overrides for setting in results.ranked(rows, metric)]
    shown = min(len(best), MOST_CURVES)
    figure, axes = plt.subplots(figsize=(8, 5 + LINE_HEIGHT * shown))
    for overrides, color in zip(best, COLOURS, strict=False):
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
        axes.plot(epochs, mean, ".-", color=color, label=f"{_name(overrides, 'all')} (n={n})")
        axes.fill_between(epochs, mean - std, mean + std, color=color, alpha=0.2, lw=0)
    axes.set_title(f"the best {shown} of {len(best)} settings; bands: ±1 std over seeds")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), high)
    axes.set(xlabel="epoch", ylabel=label)
    axes.grid(alpha=0.3)
    _legend(axes)
    return save(figure, sweep.root / "curves.png")


def _name(overrides: Sequence[tuple[str, Any]], nothing: str) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in overrides) or nothing
