"""The network's errors: images (LeCun et al. 1998, Fig. 8), classes, rejection."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from lenet_alexnet import plots
from lenet_alexnet.report.page import Section
from lenet_alexnet.report.subject import Answers, Subject
from lenet_alexnet.report.tiles import headline, shorten, show

MOST = 100  # misclassified images shown
NUMBERED = 30  # classes; with more the matrix has no numbers
FIG_10 = 0.005  # LeCun et al. 1998, Fig. 10: the rejected share for this error


def draw_images(subject: Subject, folder: Path) -> Section:
    """errors.png: the first misclassified images, with 'true>answer'."""
    answers, names = subject.answers, subject.classes
    every = np.flatnonzero(answers.wrong)
    title = "Misclassified images"
    if not len(every):
        return Section("errors", title, [f"None: all {len(answers.labels):,} are right."])
    wrong = every[:MOST]
    images, _ = subject.data.read(wrong)
    digits = max(map(len, subject.run.class_names)) <= 2
    columns, inches, line = (10, 1.05, 0.3) if digits else (8, 1.6, 0.5)
    columns = min(columns, len(wrong))
    rows = -(-len(wrong) // columns)
    plt = plots.pyplot()
    figure, grid = plt.subplots(
        rows,
        columns,
        squeeze=False,
        figsize=(max(columns * inches, 6), rows * (inches + line) + 0.4),
    )
    for axes in grid.flat[len(wrong) :]:
        axes.axis("off")
    for axes, image, i in zip(grid.flat, images, wrong, strict=False):
        show(axes, image)
        true, answer = names[answers.labels[i]], names[answers.answers[i]]
        if digits:
            axes.set_xlabel(f"{true}>{answer}", fontsize=15, labelpad=2)
        else:
            axes.set_xlabel(f"{shorten(true, 15)}\n>{shorten(answer, 15)}", fontsize=11, labelpad=2)
    which = "All" if len(wrong) == len(every) else f"The first {len(wrong)} of all"
    seen = f"{which} {len(every):,} errors on {len(answers.labels):,} {subject.split} images"
    headline(figure, f"{seen}: true class > answer")
    text = [f"{seen}, in the order of the data: the true class > the network's answer."]
    return Section("errors", title, text, plots.save(figure, folder / "errors.png"))


def confusion(
    labels: Int[np.ndarray, " n"], answers: Int[np.ndarray, " n"], classes: int
) -> Int[np.ndarray, "k k"]:
    """The number of examples of each class (row) with each answer (column)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts


def draw_confusion(subject: Subject, folder: Path) -> Section:
    """confusion.png, and the most frequent confusions."""
    answers, names = subject.answers, subject.classes
    k = len(names)
    counts = confusion(answers.labels, answers.answers, k)
    off = counts.copy()
    np.fill_diagonal(off, 0)
    plt = plots.pyplot()
    side = 7.5 if k <= 12 else 10.0
    figure, axes = plt.subplots(figsize=(side + 1.2, side))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # The square root makes rare confusions visible.
    shown = axes.imshow(shares, cmap="Blues", norm=_root(), zorder=0)
    if k <= NUMBERED:
        for row, column in np.argwhere(counts):
            dark = shares[row, column] > 0.4
            axes.text(
                column,
                row,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=13 if k <= 12 else 8,
            )
        short = [shorten(name, 16) for name in names]
        turned = {"rotation": 40, "ha": "right"} if max(map(len, short)) > 2 else {}
        axes.set_xticks(range(k), short, fontsize=12, **turned)
        axes.set_yticks(range(k), short, fontsize=12)
    numbers = "" if k <= NUMBERED else ", number"
    axes.set_xlabel(f"the network's answer{numbers}", fontsize=13)
    axes.set_ylabel(f"true class{numbers}", fontsize=13)
    axes.set_title(f"{off.sum():,} errors on {counts.sum():,} {subject.split} images", fontsize=13)
    bar = figure.colorbar(shown, ax=axes, fraction=0.045, pad=0.03, ticks=[0, 0.01, 0.1, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1", "10", "50", "100"])
    bar.set_label("share of the class's images, %", fontsize=12)
    pairs = [(int(off[i, j]), i, j) for i, j in np.argwhere(off)]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    table = [("true class", "answer", "times", "images of the class")]
    table += [(names[i], names[j], f"{n:,}", f"{counts[i].sum():,}") for n, i, j in pairs[:10]]
    text = [
        f"Rows are true classes, columns answers: the {off.sum():,} off the diagonal are the "
        "errors. The most frequent ones are in the table."
    ]
    path = plots.save(figure, folder / "confusion.png")
    return Section("confusion", "Confusion matrix", text, path, table if pairs else ())


def _root() -> object:
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=1)


def reject_curve(
    doubt: Float[np.ndarray, " n"], wrong: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Shares that are rejected, most doubtful first, and the error among the rest.

    Only shares that a threshold gives: examples of equal doubt are rejected together. At least one
    example stays.
    """
    order = np.argsort(-doubt, kind="stable")
    n, ordered = len(order), doubt[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] < ordered[:-1]])
    left = np.cumsum(wrong[order][::-1])[::-1]  # errors among those from here on
    return starts / n, left[starts] / (n - starts)


def share_for(
    rejected: Float[np.ndarray, " m"], error: Float[np.ndarray, " m"], target: float
) -> float | None:
    """The smallest rejected share at which the error is at most `target`, if there is one."""
    enough = np.flatnonzero(error <= target)
    return float(rejected[enough[0]]) if len(enough) else None


def draw_reject(subject: Subject, folder: Path) -> Section:
    """reject.png: the error after the rejection of doubtful images."""
    answers = subject.answers
    rejected, error = reject_curve(answers.doubt, answers.wrong)
    half = error[0] / 2
    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=(7.5, 4.5))
    axes.step(100 * rejected, 100 * error, where="post", color=plots.BLUE, lw=2)
    lines = []
    for target, colour, name in (
        (half, plots.VERMILLION, "half the error"),
        (FIG_10, plots.GREEN, "as in Fig. 10, 1998"),
    ):
        share = share_for(rejected, error, target)
        if share is None or not 0 < target < error[0]:
            continue
        axes.plot(
            100 * share,
            100 * target,
            "o",
            color=colour,
            ms=8,
            label=f"{100 * target:.2g} % ({name}): reject {100 * share:.1f} %",
        )
        lines.append(
            f"{100 * share:.1f} % must be rejected for {100 * target:.2g} % error ({name})"
        )
    axes.set(xlabel="rejected, % of the images", ylabel="errors, % of the images left")
    axes.set_title(f"{subject.split} error against rejected share", fontsize=13)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=-0.5, right=100 * _end(rejected, error))
    axes.grid(alpha=0.3)
    if lines:
        axes.legend(fontsize=12)
    text = [
        "Images are rejected in the order of the highest probability minus the second, lowest "
        "first. The error is that of the images that are left."
    ]
    if lines:
        text.append(f"{'; '.join(lines)}.")
    return Section("reject", "Reject curve", text, plots.save(figure, folder / "reject.png"))


def _end(rejected: Float[np.ndarray, " m"], error: Float[np.ndarray, " m"]) -> float:
    """The end of the x axis: twice the share for an eighth of the error."""
    share = share_for(rejected, error, error[0] / 8)
    return 1.0 if share is None else min(1.0, max(2 * share, 0.05))


def surest_errors(answers: Answers, count: int) -> list[int]:
    """The errors in which the network is surest."""
    every = np.flatnonzero(answers.wrong)
    order = np.argsort(answers.doubt[every], kind="stable")
    return [int(i) for i in every[order[:count]]]
