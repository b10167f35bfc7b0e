"""Draws Figs. 5 and 6 of LeCun et al. 1998 from curves.csv and results.csv, ours next to theirs.

    python experiments/002_lenet5_1998/plot.py [WORKDIR [DATA_DIR]]

With the folder of a run, Fig. 8 as well: the test digits that it gets wrong.
"""

import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from lenet_alexnet.reproduce.claims import Row, Scale
from lenet_alexnet.reproduce.lecun1998 import MARGIN, training
from lenet_alexnet.reproduce.verdict import row_word

HERE = Path(__file__).parent
OURS, PAPER = "#0072B2", "#D55E00"  # distinct for colour-blind readers too

# Read from the drawings of Fig. 5 (passes 1 to 20, per cent, to within 0.01) and Fig. 6.
TEST = [2.65, 2.24, 1.48, 1.43, 1.43, 1.09, 1.04, 1.07, 0.99, 0.96, 0.96, 0.99] + [0.96] * 8
TRAIN = [4.89, 3.04, 1.77, 1.48, 1.22, 0.91, 0.78, 0.70, 0.57, 0.49]
TRAIN += [0.47, 0.44, 0.42, 0.39, 0.39, 0.39, 0.39, 0.36, 0.36, 0.36]
BY_SIZE = {15: (1.68, 0.05), 30: (1.14, 0.31), 60: (0.95, 0.35)}  # test, training error
DISTORTED = 0.82


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one of this folder's CSV files."""
    with (HERE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def curve(split: str) -> np.ndarray:
    """Errors of the runs on all 60,000 in per cent, [seeds, passes]."""
    by_seed = defaultdict(dict)
    for row in rows("curves.csv"):
        if row["set"] == "full" and row["split"] == split:
            by_seed[row["seed"]][float(row["epoch"])] = 100 * float(row["error"])
    return np.array([[v for _, v in sorted(errors.items())] for errors in by_seed.values()])


def figure_5() -> None:
    """Errors by pass."""
    _, axes = plt.subplots(figsize=(7, 4.5))
    for split, paper, style in (("test", TEST, "-"), ("train", TRAIN, "--")):
        ours = curve(split)
        passes = np.arange(1, ours.shape[1] + 1)
        print_verdicts(split, ours, paper)
        mean, deviation = ours.mean(0), ours.std(0, ddof=1)
        label = f"ours, {split} (mean of {len(ours)} seeds, band: ±1 std)"
        axes.plot(passes, mean, style, color=OURS, label=label)
        axes.fill_between(passes, mean - deviation, mean + deviation, color=OURS, alpha=0.2, lw=0)
        axes.plot(passes, paper, style, color=PAPER, marker=".", label=f"paper, {split} (Fig. 5)")
    axes.set(xlabel="pass over the 60,000 training patterns", ylabel="error, %", ylim=(0, 5))
    axes.set_xticks(range(0, 21, 2))
    axes.grid(alpha=0.3)
    axes.legend()
    save("fig5.png")


def print_verdicts(split: str, ours: np.ndarray, paper: list[float]) -> None:
    """Prints the verdict on each pass, and the count of each verdict."""
    words = []
    for n, (errors, theirs) in enumerate(zip(ours.T, paper, strict=True), 1):
        test = Row("full", theirs, margin=MARGIN)
        row = test if split == "test" else training(theirs, 60_000, n)
        words.append(row_word(errors.tolist(), row, Scale(())))
        print(f"{split} {n:2}: {errors.mean():.3f} for {theirs}: {words[-1]}")
    print(f"{split}: " + ", ".join(f"{count} {word}" for word, count in Counter(words).items()))


def figure_6() -> None:
    """Errors by training-set size."""
    sizes = {"15000": 15, "30000": 30, "full": 60}
    found = defaultdict(list)
    for row in rows("results.csv"):
        found[row["set"]].append((100 * float(row["test_error"]), 100 * float(row["train_error"])))
    _, axes = plt.subplots(figsize=(7, 4.5))
    x = list(BY_SIZE)
    for i, (split, style) in enumerate((("test", "-"), ("training", "--"))):
        means = [np.mean(found[name], 0)[i] for name in sizes]
        bars = [np.std(found[name], 0, ddof=1)[i] for name in sizes]
        axes.errorbar(
            x, means, bars, fmt=style + "o", color=OURS, capsize=4, label=f"ours, {split}"
        )
        paper = [BY_SIZE[size][i] for size in x]
        axes.plot(x, paper, style + "s", color=PAPER, label=f"paper, {split} (Fig. 6)")
    distorted = [test for test, _ in found["distorted"]]
    bar = np.std(distorted, ddof=1)
    label = "ours, test, with distortions"
    axes.errorbar(
        [61], [np.mean(distorted)], [bar], fmt="D", color=OURS, capsize=4, mfc="w", label=label
    )
    axes.plot([61], [DISTORTED], "s", color=PAPER, mfc="w", label="paper, test, with distortions")
    axes.set(xlabel="training patterns, thousands", ylabel="error after 20 passes, %", ylim=(0, 2))
    axes.set_xticks(x)
    axes.grid(alpha=0.3)
    axes.legend(ncols=2, fontsize="small")
    save("fig6.png")


def figure_8(workdir: str, data_dir: str) -> None:
    """The misclassified test digits of one run, true > answer, in the order of the test set."""
    import jax

    from lenet_alexnet.inference.open_run import load_named, open_run
    from lenet_alexnet.training.scoring import make_scores

    run = open_run(Path(workdir))
    test = load_named(run.config, "test", data_dir)
    scores = jax.jit(make_scores(run.model, run.preprocess))
    batches = np.split(test.images, range(500, len(test), 500))
    answers = np.concatenate([scores(run.variables, batch).argmax(-1) for batch in batches])
    wrong = np.flatnonzero(answers != test.labels)
    columns = 15
    lines = -(-len(wrong) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(columns * 0.62, lines * 0.82))
    for axes in grid.flat:
        axes.axis("off")
    for axes, i in zip(grid.flat, wrong, strict=False):
        axes.imshow(test.images[i, ..., 0], cmap="gray_r")
        axes.set_title(f"{test.labels[i]}>{answers[i]}", fontsize=10, pad=2)
    title = f"{len(wrong)} of {len(test):,} test digits misclassified: true > answer"
    figure.suptitle(title, fontsize=12)
    save("fig8.png")


def save(name: str) -> None:
    """Writes a picture into this folder."""
    plt.tight_layout()
    plt.savefig(HERE / name, dpi=110)
    plt.close()


if __name__ == "__main__":
    figure_5()
    figure_6()
    if len(sys.argv) > 1:
        figure_8(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
