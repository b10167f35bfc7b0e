"""The output of every layer for one image (LeCun et al. 1998, Fig. 2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lenet_alexnet import plots
from lenet_alexnet.models.lenet_1998.network import LeNet5_1998
from lenet_alexnet.report.page import Section
from lenet_alexnet.report.subject import Subject
from lenet_alexnet.report.tiles import bare, mosaic, shorten, show

ACROSS, DOWN = 16, 2  # at most this many maps of a layer are shown
FINE = 20  # least width of a map in dots, with the gap of one
FLAT_ACROSS = 256  # units of a dense layer in a row
BRIGHTEST = 99.5  # per cent of a layer's values; those above are white
GAPS = "#a9d3f0"  # colour of the gaps: the maps' borders may be black or white
NAMED = 20  # with at most this many outputs, they are named


class Panel(NamedTuple):
    """One layer's output as a picture."""

    label: str
    picture: Float[np.ndarray, "h w"]


def draw(subject: Subject, folder: Path, index: int = 0) -> Section:
    """maps.png: the image and its maps, layer below layer."""
    found = subject.features(subject.data, [index], subject.layers, "feature maps of one image")
    towers = getattr(subject.run.model, "towers", 1)
    panels = [panel(name, found[name][0], towers) for name in subject.layers if _shown(name)]
    images, labels = subject.data.read([index])
    plt = plots.pyplot()
    width = 11.0
    # Heights in inches, so that pixels are square; single rows are higher.
    heights = [0.55 if p.picture.shape[0] == 1 else _height(p.picture, width) for p in panels]
    figure, grid = plt.subplots(
        len(panels) + 1,
        1,
        figsize=(width, 2.2 + sum(heights) + 0.38 * len(panels)),
        height_ratios=[1.8, *heights],
    )
    show(grid[0], images[0])
    name = subject.classes[labels[0]]
    answer = subject.classes[subject.answers.answers[index]]
    grid[0].set_title(
        f"input: {shorten(name, 30)}; answer: {shorten(answer, 30)}", loc="center", fontsize=13
    )
    for axes, (label, picture) in zip(grid[1:], panels, strict=True):
        flat = picture.shape[0] == 1
        top = np.nanmax(picture) if flat else np.nanpercentile(picture, BRIGHTEST)
        axes.imshow(picture, cmap="gray", aspect="auto" if flat else "equal", vmax=top)
        axes.set_title(label, loc="left", fontsize=12)
        axes.set_facecolor(GAPS)
        bare(axes)
    if len(subject.classes) <= NAMED:
        names = [shorten(name, 9) for name in subject.classes]
        grid[-1].set_xticks(range(len(names)), names, fontsize=12)
        grid[-1].tick_params(length=0)
    text = [
        f"The {subject.split} split's image {index} in each layer, from the input to the "
        f"output; black is a layer's lowest value, white its highest {100 - BRIGHTEST:.2g} %.",
    ]
    if isinstance(subject.run.model, LeNet5_1998):
        text.append("The outputs are penalties (1998, eq. 7): the darkest is the answer.")
    if towers > 1:
        text.append("The upper row of a layer is the first tower's, the lower row the second's.")
    return Section("maps", "Feature maps", text, plots.save(figure, folder / "maps.png"))


def panel(name: str, output: Float[np.ndarray, "..."], towers: int) -> Panel:
    """A layer's output [h, w, c] as a mosaic of maps, or [c] as one row of units."""
    low, high = float(output.min()), float(output.max())
    values = f"values {low:.3g} to {high:.3g}"
    if output.ndim == 1 or output.shape[:2] == (1, 1):
        flat = output.reshape(-1)
        across = min(len(flat), FLAT_ACROSS)
        return Panel(
            f"{name}: {len(flat):,} units, {values}", mosaic(flat[:, None, None], across, gap=0)
        )
    height, width, count = output.shape
    maps = chosen(count, towers)
    size = f"{name}: {count} maps of {width}x{height}"
    part = f", {len(maps)} of them shown" if len(maps) < count else ""
    across = min(len(maps), ACROSS)
    finer = -(-FINE // width)  # small maps in more dots, so that the gaps are narrow
    tiles = np.moveaxis(output[..., maps], -1, 0).repeat(finer, 1).repeat(finer, 2)
    return Panel(f"{size}{part}, {values}", mosaic(tiles, across, gap=finer * width // FINE))


def chosen(count: int, towers: int) -> Sequence[int]:
    """Which of a layer's maps are shown: all, or the first of each tower."""
    most = ACROSS * DOWN
    if count <= most:
        return range(count)
    each = most // towers
    return [t * count // towers + i for t in range(towers) for i in range(each)]


def _shown(name: str) -> bool:
    """Not normalisation and dropout: they change little to the eye."""
    return not name.startswith(("norm", "cnorm", "bn", "drop"))


def _height(picture: np.ndarray, width: float) -> float:
    return min(2.6, (width - 0.4) * picture.shape[0] / picture.shape[1])
