"""Top answers, and the nearest images in the last hidden layer (Krizhevsky et al. 2012, Fig. 4)."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lenet_alexnet import plots
from lenet_alexnet.errors import DataError
from lenet_alexnet.models import Network1998
from lenet_alexnet.report.errors import surest_errors
from lenet_alexnet.report.page import Section
from lenet_alexnet.report.subject import Subject, first_of_each_class
from lenet_alexnet.report.tiles import bare, headline, shorten, show

PANELS, TOP = 4, 5  # panels per row, answers per panel
QUERIES, NEAREST = 5, 6  # as in the paper
MOST = 2000  # training images that are searched


def draw_top(subject: Subject, folder: Path) -> Section:
    """top5.png: images with the probabilities of the first five answers."""
    answers = subject.answers
    typical = first_of_each_class(answers.labels, PANELS)
    sure = surest_errors(answers, PANELS)
    rows = [row for row in (typical, sure) if row]
    plt = plots.pyplot()
    figure = plt.figure(figsize=(11.5, 0.9 + 4.2 * len(rows)))
    headline(
        figure, f"{subject.split} images and the first {min(TOP, len(subject.classes))} answers"
    )
    parts = figure.add_gridspec(2 * len(rows), PANELS, height_ratios=[1.5, 1] * len(rows))
    for r, row in enumerate(rows):
        images, _ = subject.data.read(row)
        for c, (i, image) in enumerate(zip(row, images, strict=True)):
            picture = figure.add_subplot(parts[2 * r, c])
            show(picture, image)
            true = subject.classes[answers.labels[i]]
            picture.set_title(f"is: {shorten(true, 20)}", fontsize=14)
            bars = figure.add_subplot(parts[2 * r + 1, c])
            _bars(bars, subject, i)
            if r == len(rows) - 1:
                bars.set_xlabel("probability, %", fontsize=12)
            else:
                bars.tick_params(labelbottom=False)
    lower = f"Lower row: the {len(sure)} errors in which the network is surest. " if sure else ""
    text = [
        f"Upper row: the first image of {len(typical)} classes. {lower}Bars: the "
        "probabilities; the right class, if shown, is orange and marked."
    ]
    if isinstance(subject.run.model, Network1998):
        text.append("The probabilities are the softmax of minus the penalties (1998, eq. 9).")
    title = f"Top-{min(TOP, len(subject.classes))} answers"
    return Section("top5", title, text, plots.save(figure, folder / "top5.png"))


def _bars(axes: Any, subject: Subject, i: int) -> None:
    probabilities, label = subject.answers.probabilities[i], subject.answers.labels[i]
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    colours = [plots.ORANGE if k == label else plots.SKY for k in best]
    axes.barh(range(len(best)), 100 * probabilities[best], color=colours, height=0.8)
    for row, k in enumerate(best):
        mark = " ✓" if k == label else ""
        name = f"{shorten(subject.classes[k], 18)}{mark}  {100 * probabilities[k]:.1f}"
        axes.text(2, row, name, va="center", fontsize=12)
    axes.set(xlim=(0, 100), ylim=(TOP - 0.5, -0.5), yticks=[], xticks=[0, 50, 100])
    axes.spines[["top", "right"]].set_visible(False)


def draw_nearest(subject: Subject, folder: Path) -> Section:
    """neighbours.png: images, and the training images nearest in the last hidden layer.

    Raises:
      DataError: the network has no hidden layer, or the training data is missing.
    """
    layer = subject.hidden
    if layer is None:
        raise DataError("the network has no hidden layer")
    queries = np.array(first_of_each_class(subject.answers.labels, QUERIES))
    train = subject.load("train")
    # Spread over the whole set, which may be ordered by class.
    searched = np.unique(np.linspace(0, len(train) - 1, MOST).astype(int))
    if subject.split == "train":
        searched = np.setdiff1d(searched, queries)
    what = f"{layer} of {len(searched):,} training images"
    theirs = subject.features(train, searched, [layer], what)[layer]
    ours = subject.features(subject.data, queries, [layer], f"{layer} of {len(queries)} images")
    near = nearest(_flat(ours[layer]), _flat(theirs), NEAREST)

    plt = plots.pyplot()
    columns = 1 + near.shape[1]
    figure, grid = plt.subplots(
        len(queries), columns, squeeze=False, figsize=(1.6 * columns, 1.85 * len(queries) + 0.5)
    )
    headline(figure, f"{subject.split} images (left) and the nearest training images in {layer}")
    own, labels = subject.data.read(queries)
    same = 0
    for row, image, label, found in zip(grid, own, labels, near, strict=True):
        show(row[0], image)
        row[0].set_title(shorten(subject.classes[label], 14), fontsize=12, fontweight="bold")
        images, classes = train.read(searched[found])
        for axes, other, k in zip(row[1:], images, classes, strict=True):
            show(axes, other)
            agrees = k == label
            same += int(agrees)
            bare(axes, plots.BLUE if agrees else plots.VERMILLION, 3.0)
            axes.set_title(
                f"{'' if agrees else '≠ '}{shorten(subject.classes[k], 14)}", fontsize=12
            )
    text = [
        f"First column: the first {subject.split} image of {len(queries)} classes. Then the "
        f"{near.shape[1]} nearest of {len(searched):,} training images by Euclidean distance in "
        f"{layer} ({_flat(theirs).shape[1]:,} units), nearest first. Blue frame: of the same class "
        f"({same} of {near.size}); red frame and ≠: of another.",
    ]
    path = plots.save(figure, folder / "neighbours.png")
    return Section("neighbours", f"Nearest neighbours in {layer}", text, path)


def nearest(
    queries: Float[np.ndarray, "q d"], others: Float[np.ndarray, "n d"], count: int
) -> Int[np.ndarray, "q m"]:
    """The indices of the `count` (or all) others at the smallest Euclidean distances."""
    squares = [((others - query) ** 2).sum(1) for query in queries]
    return np.stack([np.argsort(distance, kind="stable")[:count] for distance in squares])


def _flat(features: np.ndarray) -> np.ndarray:
    return features.reshape(len(features), -1)
