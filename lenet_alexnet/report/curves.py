"""Loss and error over the epochs of training."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from lenet_alexnet import plots
from lenet_alexnet.errors import DataError
from lenet_alexnet.report.page import Section
from lenet_alexnet.runs.metrics import MetricsLog

# By split: colour, line, marker; distinguishable without colour, too.
LOOKS = {
    "train": (plots.BLUE, "-", "."),
    "validation": (plots.ORANGE, "--", "s"),
    "test": (plots.VERMILLION, "--", "o"),
}
Curves = dict[str, list[dict[str, Any]]]


def draw(workdir: Path, unit: str, folder: Path) -> Section:
    """curves.png from metrics.jsonl; `unit` is the loss's.

    Raises:
      DataError: no metrics yet.
    """
    curves = read(workdir / "metrics.jsonl")
    plt = plots.pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    for axes, metric, scale in ((left, "loss", 1.0), (right, "top1_error", 100.0)):
        seen = []
        for split, rows in curves.items():
            points = [(r["epoch"], scale * r[metric]) for r in rows if _finite(r[metric])]
            colour, line, marker = LOOKS.get(split, (plots.GREEN, ":", "^"))
            axes.plot(
                *zip(*points, strict=True) if points else ((), ()),
                line,
                marker=marker,
                ms=4,
                color=colour,
                lw=2,
                label=split,
            )
            seen += [y for _, y in points]
        if seen and plots.is_log(seen):
            plots.log_axis(axes)
        elif seen:
            axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    left.set(title="loss in training", ylabel=unit)
    right.set(title="errors in training", ylabel="errors, % of the images")
    ends = [
        f"{split} {100 * rows[-1]['top1_error']:.2f} % at epoch {rows[-1]['epoch']:.4g}"
        for split, rows in curves.items()
        if _finite(rows[-1]["top1_error"])
    ]
    text = [
        f"Last errors: {'; '.join(ends)}.",
        "Training points are means over the images of an interval, with distortions and dropout, "
        "while the network changed; the others are exact evaluations.",
    ]
    return Section("curves", "Learning curves", text, plots.save(figure, folder / "curves.png"))


def read(path: Path) -> Curves:
    """The rows of each split in the order of their steps; train first, test last."""
    with MetricsLog(path, writes=False) as log:
        rows = sorted(log.rows.values(), key=lambda row: row["step"])
    curves: Curves = defaultdict(list)
    for row in rows:
        curves[row["split"]].append(row)
    if not curves:
        raise DataError(f"'{path}' has no lines yet")
    order = [*LOOKS, *curves]
    return dict(sorted(curves.items(), key=lambda item: order.index(item[0])))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
