"""Draws errors.png in experiments' folders from their results.csv: a mark per seed, a bar per mean.

python experiments/plot_sets.py experiments/010_depth experiments/013_pooling ...
"""

import statistics
import sys
from pathlib import Path

from lenet_alexnet import plots
from lenet_alexnet.reproduce import records

SPLITS = {
    "test_error": ("test images", plots.BLUE, "o"),
    "train_error": ("training images, last epoch", plots.ORANGE, "^"),
}


def draw(folder: Path) -> Path:
    """Draws two panels, each with its own scale, as the sets differ little."""
    rows = records.read(folder / "results.csv")
    names = list(dict.fromkeys(row["set"] for row in rows))
    figure, panels = plots.pyplot().subplots(1, 2, figsize=(10, 4.2))
    for axes, (column, (label, colour, marker)) in zip(panels, SPLITS.items(), strict=True):
        for place, name in enumerate(names):
            errors = [100 * float(row[column]) for row in rows if row["set"] == name]
            mean, shifts = statistics.fmean(errors), range(len(errors))
            axes.hlines(mean, place - 0.3, place + 0.3, color="black", linewidth=1.5)
            axes.text(place + 0.33, mean, f"{mean:.1f}", va="center")
            across = [place + 0.12 * (i - (len(errors) - 1) / 2) for i in shifts]
            axes.plot(across, errors, marker, color=colour)
        last = {name.split()[-1] for name in names}
        shared = last.pop() if len(last) == 1 else ""
        axes.set_xticks(range(len(names)), [name.removesuffix(shared).strip() for name in names])
        axes.set(xlim=(-0.5, len(names) - 0.1), xlabel=shared, ylabel="error, %")
        axes.set_title(f"{label}: seeds and mean", loc="left", fontsize=12)
        axes.grid(axis="y", alpha=0.3)
    return plots.save(figure, folder / "errors.png")


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    for folder in sys.argv[1:]:
        print(f"written: {draw(Path(folder))}")
