"""Draws gap.png from curves.csv: training and test error by augmentation.

python experiments/011_augmentation/plot.py
"""

import csv
import statistics
from pathlib import Path

from lenet_alexnet import plots

HERE = Path(__file__).parent
STYLES = {
    "none": ("none", plots.VERMILLION, "s"),
    "crops and reflections": ("crops and reflections", plots.BLUE, "o"),
    "and colour": ("and PCA colour", plots.GREEN, "^"),
}


def main() -> None:
    """Lines for the training images without augmentation, with the test error at the end."""
    with (HERE / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plots.pyplot().subplots(figsize=(8, 4.8))
    for i, (name, (label, colour, marker)) in enumerate(STYLES.items()):
        seen: dict[float, list[float]] = {}
        tested: list[float] = []
        for row in rows:
            if row["set"] == name and row["split"] == "validation":
                seen.setdefault(float(row["epoch"]), []).append(100 * float(row["error"]))
            if row["set"] == name and row["split"] == "test":
                tested.append(100 * float(row["error"]))
        means = [statistics.fmean(values) for values in seen.values()]
        axes.plot(list(seen), means, color=colour, marker=marker, label=f"{label}: training images")
        low, high = ([f(values) for values in seen.values()] for f in (min, max))
        axes.fill_between(list(seen), low, high, color=colour, alpha=0.2, linewidth=0)
        place, test = 20.8 + 0.9 * i, statistics.fmean(tested)
        axes.plot(
            [place] * len(tested),
            tested,
            marker,
            color=colour,
            markerfacecolor="none",
            label=f"{label}: test images",
        )
        axes.plot([place, place], [means[-1], test], color=colour, linewidth=1, linestyle=":")
        axes.text(place + 0.1, (means[-1] + test) / 2, f"{test - means[-1]:.0f}", color=colour)
    axes.set(xlabel="epoch", ylabel="error, %", xlim=(0, 24), ylim=(0, None))
    axes.set_title("The gap (dotted, in points) by augmentation, 3 seeds", loc="left", fontsize=12)
    axes.legend(loc="lower left", fontsize=10)
    axes.grid(alpha=0.3)
    plots.save(figure, HERE / "gap.png")


if __name__ == "__main__":
    main()
