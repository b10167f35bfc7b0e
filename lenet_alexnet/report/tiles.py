"""Many small pictures in one: mosaics, and images in figures."""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8


def mosaic(
    tiles: Shaped[np.ndarray, "n h w *c"], columns: int, gap: int = 1, fill: float = np.nan
) -> Float[np.ndarray, "height width *c"]:
    """Pictures row by row, `gap` pixels of `fill` between them."""
    count, height, width = tiles.shape[:3]
    rows = -(-count // columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *tiles.shape[3:])
    out = np.full(shape, fill, np.float64)
    for i, tile in enumerate(tiles):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        out[y : y + height, x : x + width] = tile
    return out


def show(axes: Any, image: UInt8[np.ndarray, "h w c"]) -> None:
    """An image of the data: in colour, or as dark ink on white."""
    if image.shape[-1] == 1:
        axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=255)
    else:
        axes.imshow(image)
    bare(axes)


def bare(axes: Any, colour: str = "0.6", width: float = 0.8) -> None:
    """Removes the ticks and draws a frame."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=width)


def headline(figure: Any, text: str) -> None:
    """A title over all panels, at the top of a figure of any height."""
    figure.suptitle(text, fontsize=15, va="top", y=1 - 0.1 / figure.get_figheight())


def shorten(name: str, most: int) -> str:
    """The name, cut to at most `most` characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
