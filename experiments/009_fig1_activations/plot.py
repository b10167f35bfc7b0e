"""Draws fig1.png from curves.csv and gradients.png from gradients.csv.

python experiments/009_fig1_activations/plot.py
"""

import csv
import statistics
from pathlib import Path

from lenet_alexnet import plots

HERE = Path(__file__).parent
STYLES = plots.ACTIVATIONS
SMALL = {
    f"{name}, small output weights": (f"{STYLES[name][0]}, small output weights", *STYLES[name][1:])
    for name in ("relu", "tanh")
}


def read(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file in this folder."""
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def fig1() -> None:
    """Training error by epoch: the mean of the seeds, and their range as a band."""
    rows = [row for row in read("curves.csv") if row["split"] == "train"]
    figure, axes = plots.pyplot().subplots(figsize=(7, 4.6))
    for name, (label, colour, marker) in (STYLES | SMALL).items():
        by_epoch: dict[float, list[float]] = {}
        for row in rows:
            if row["set"] == name:
                by_epoch.setdefault(float(row["epoch"]), []).append(100 * float(row["error"]))
        errors = list(by_epoch.values())
        means = [statistics.fmean(values) for values in errors]
        line = "--" if name in SMALL else "-"
        axes.plot(
            list(by_epoch),
            means,
            color=colour,
            marker=marker,
            markevery=3,
            label=label,
            linestyle=line,
            markerfacecolor="none" if name in SMALL else colour,
        )
        low, high = ([f(values) for values in errors] for f in (min, max))
        axes.fill_between(list(by_epoch), low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(25, color="black", linestyle="--", linewidth=1)
    axes.text(0.3, 26, "25 %", va="bottom")
    axes.set(xlabel="epoch", ylabel="training error, %", xlim=(0, None), ylim=(0, 100))
    axes.set_title("Fig. 1 of 2012 in small: mean and range of 3 seeds", loc="left", fontsize=12)
    axes.legend(loc="upper right", fontsize=10)
    axes.grid(alpha=0.3)
    plots.save(figure, HERE / "fig1.png")


def gradients() -> None:
    """The gradient's norm by layer, for the shallow and the deep net."""
    rows = read("gradients.csv")
    figure, panels = plots.pyplot().subplots(1, 2, figsize=(10, 4.6), sharey=True)
    for axes, layers in zip(panels, ("4", "9"), strict=True):
        for name, (label, colour, marker) in STYLES.items():
            by_layer: dict[str, list[float]] = {}
            for row in rows:
                if (row["layers"], row["activation"]) == (layers, name):
                    by_layer.setdefault(row["layer"], []).append(float(row["gradient_norm"]))
            norms = list(by_layer.values())
            ends = [statistics.geometric_mean(values) for values in norms]
            places = range(1, len(norms) + 1)
            axes.plot(places, ends, color=colour, marker=marker, label=label)
            low, high = ([f(values) for values in norms] for f in (min, max))
            axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.set_xticks(places)
        axes.set_yscale("log")
        axes.set_xlabel("layer of weights (1: sees the image)")
        axes.set_title(f"{layers} layers", loc="left", fontsize=12)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("norm of the gradient (no unit)")
    panels[1].legend(loc="lower right")
    plots.save(figure, HERE / "gradients.png")


if __name__ == "__main__":
    fig1()
    gradients()
