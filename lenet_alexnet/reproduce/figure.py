"""The figure of a claim: the paper's numbers and ours, one line per row."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from lenet_alexnet import plots
from lenet_alexnet.reproduce.claims import Claim, Scale
from lenet_alexnet.reproduce.measured import Measured


def draw(claim: Claim, scale: Scale, found: Sequence[Measured], path: Path) -> None:
    """Writes a PNG; ModuleNotFoundError if matplotlib is not installed."""
    plt = plots.pyplot()
    height = 1.6 + 0.45 * len(found)
    figure, axes = plt.subplots(figsize=(8, height), layout="constrained")
    for y, (row, values, _) in enumerate(found):
        if row.paper is not None:
            margin = (row.margin or scale.margin).size
            axes.errorbar(
                row.paper, y - 0.12, xerr=margin, fmt="s", color=plots.VERMILLION, capsize=4
            )
        if values:
            never = sum(map(math.isinf, values))  # if any, the median is drawn, if it is finite
            spread = statistics.stdev(values) if len(values) > 1 and not never else 0
            middle = statistics.median(values) if never else statistics.fmean(values)
            if math.isfinite(middle):
                axes.errorbar(middle, y + 0.12, xerr=spread, fmt="o", color=plots.BLUE, capsize=4)
            if never:
                text = f"  {never} of {len(values)} never"
                axes.text(middle if math.isfinite(middle) else 0, y + 0.12, text, va="center")
    axes.set_yticks(range(len(found)), [m.row.text or m.row.label for m in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"error, {scale.unit}" if scale.unit == "%" else scale.unit)
    axes.set_title(claim.title, loc="left", fontsize=12)
    axes.grid(axis="x", alpha=0.3)
    if any(m.row.paper is not None for m in found):
        axes.plot([], [], "s", color=plots.VERMILLION, label="paper, with the margin")
    axes.plot([], [], "o", color=plots.BLUE, label="ours, mean ± std over seeds")
    axes.legend(loc="best", fontsize=10)
    figure.savefig(path, dpi=120)
    plt.close(figure)
