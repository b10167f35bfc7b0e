"""The figure of a claim: the paper's numbers and ours, one line per row."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenet_alexnet import plots
from lenet_alexnet.reproduce.claims import Claim, Scale
from lenet_alexnet.reproduce.measured import Measured
from lenet_alexnet.sweep.results import interval


def draw(claim: Claim, scale: Scale, found: Sequence[Measured], path: Path) -> None:
    """Writes a PNG; ModuleNotFoundError if matplotlib is not installed."""
    plt = plots.pyplot()
    height = 1.9 + 0.45 * len(found)
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    for y, (row, values, _) in enumerate(found):
        if row.paper is not None:
            margin = (row.margin or scale.margin).size
            axes.errorbar(
                row.paper, y - 0.12, xerr=margin, fmt="s", color=plots.VERMILLION, capsize=4
            )
        _ours(axes, values, y + 0.12)
    axes.set_yticks(range(len(found)), [m.row.text or m.row.label for m in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel(f"error, {scale.unit}" if scale.unit == "%" else scale.unit)
    axes.set_title(claim.title, loc="left", fontsize=12)
    axes.grid(axis="x", alpha=0.3)
    if any(m.row.paper is not None for m in found):
        axes.plot([], [], "s", color=plots.VERMILLION, label="paper, with the margin")
    axes.plot([], [], "o", color=plots.BLUE, label="ours, mean with its 95 % interval")
    axes.plot([], [], "|", color=plots.BLUE, alpha=0.6, label="each seed")
    figure.legend(loc="outside lower center", ncols=3, fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _ours(axes: Any, values: Sequence[float], y: float) -> None:
    """The mean with the interval that the verdict judges; the median if a run never got there."""
    finite = [value for value in values if math.isfinite(value)]
    axes.plot(finite, [y] * len(finite), "|", color=plots.BLUE, markersize=10, alpha=0.6)
    never = len(values) - len(finite)
    middle = (statistics.median if never else statistics.fmean)(values) if values else math.inf
    if math.isfinite(middle):
        axes.plot(middle, y, "o", color=plots.BLUE)
    if found := interval(values):
        axes.plot(found, (y, y), "-", color=plots.BLUE)
    if never:
        # At the left edge of the axes, if no middle is a place for it.
        place = (
            (middle, axes.transData) if math.isfinite(middle) else (0, axes.get_yaxis_transform())
        )
        text = f"  {never} of {len(values)} never"
        axes.text(place[0], y, text, va="center", transform=place[1])
