"""Draws curves.png from curves.csv: loss and error by epoch, with and without dropout.

python experiments/012_dropout/plot.py
"""

import csv
import statistics
from pathlib import Path

from lenet_alexnet import plots

HERE = Path(__file__).parent
STYLES = {"no dropout": (plots.VERMILLION, "s"), "dropout": (plots.BLUE, "o")}
SPLITS = {"train": ("training (as trained)", "--"), "validation": ("held-out images", "-")}


def main() -> None:
    """Two panels, the mean and range of the seeds."""
    with (HERE / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, panels = plots.pyplot().subplots(1, 2, figsize=(10, 4.8))
    for axes, column, factor in zip(panels, ("loss", "error"), (1, 100), strict=True):
        for name, (colour, marker) in STYLES.items():
            for split, (label, line) in SPLITS.items():
                found: dict[float, list[float]] = {}
                for row in rows:
                    if (row["set"], row["split"]) == (name, split):
                        found.setdefault(float(row["epoch"]), []).append(
                            factor * float(row[column])
                        )
                means = [statistics.fmean(values) for values in found.values()]
                every = 1 if split == "validation" else 2
                axes.plot(
                    list(found),
                    means,
                    color=colour,
                    marker=marker,
                    linestyle=line,
                    markevery=every,
                    markersize=5,
                    label=f"{name}: {label}",
                    markerfacecolor=colour if line == "-" else "none",
                )
                low, high = ([f(values) for values in found.values()] for f in (min, max))
                axes.fill_between(list(found), low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set(xlabel="epoch", ylim=(0, None))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("cross entropy, nats")
    panels[1].set_ylabel("error, %")
    panels[0].legend(loc="lower left", fontsize=10)
    plots.save(figure, HERE / "curves.png")


if __name__ == "__main__":
    main()
