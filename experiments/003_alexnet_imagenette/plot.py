"""Draws the learning curve from curves.csv.

python experiments/003_alexnet_imagenette/plot.py
"""

import csv
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def main() -> None:
    """Training and held-out error by epoch, in curves.png."""
    mpl.use("Agg")
    with (HERE / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for split, marker in (("train", "o-"), ("validation", "s-")):
        points = [(float(r["epoch"]), 100 * float(r["error"])) for r in rows if r["split"] == split]
        label = {"train": "training photos, as distorted", "validation": "held-out photos, centre"}
        axes.plot(*zip(*points, strict=True), marker, label=label[split])
    axes.axhline(90, color="grey", linestyle=":", label="guessing")
    axes.set(xlabel="epoch", ylabel="top-1 error, %", ylim=(0, 100))
    axes.legend()
    figure.savefig(HERE / "curves.png", dpi=150)


if __name__ == "__main__":
    main()
