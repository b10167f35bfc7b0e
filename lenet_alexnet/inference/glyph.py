"""Makes a drawn or photographed digit like MNIST's: finds it and adjusts its stroke width."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

from lenet_alexnet.inference.ink import (
    Ink,
    above_paper,
    at_most,
    find_ink,
    has_area,
    resize,
)

SIDE, GLYPH = 28, 20  # a 20x20 glyph centred by its mass in 28x28 (LeCun et al. 1998, III.A)
FINER = 8  # Strokes are measured and adjusted at this multiple of the glyph's size.
COARSE = 64  # longest side, in pixels, at which the paper's surface is found
WIDTHS = (2.0, 3.2)  # of strokes, in pixels of the glyph: the middle range of MNIST's
NO_INK = "it shows no ink"
# Limits of digits, in the glyph's longest side: at most 0.5 % of MNIST's exceed them.
UNEVEN = 0.1  # spread of the paper's level, as a share of the ink's contrast
THICK, LONG, HOLES, PART, WIDE = 0.28, 3.7, 3, 0.2, 1.6


class Glyph(NamedTuple):
    """The network's input, and reasons to doubt that it is a digit."""

    pixels: UInt8[np.ndarray, "28 28"]
    doubts: list[str]


def prepare(pixels: UInt8[np.ndarray, "h w"], dark: bool | None = None) -> Glyph:
    """The digit in an image, light on black, prepared as MNIST's were from larger images.

    The ink is separated from the paper, strokes much thinner or thicker than MNIST's get its
    width, the glyph is scaled to fit 20x20 and centred by its mass in 28x28. A 28x28 image is used
    as it is, except for the polarity.

    Args:
      pixels: grey levels; any size.
      dark: whether the ink is darker than the paper; None: by its looks.
    """
    if pixels.shape == (SIDE, SIDE):
        return as_it_is(pixels, dark)
    grey = pixels.astype(np.float32) / 255
    if dark is None:
        dark = bool(above_paper(at_most(grey, COARSE)).sum() <= 0)
    ink = find_ink(grey, dark)
    if ink is not None:  # Again without most of the paper, for more detail.
        grey = grey[_around(ink.mask, grey.shape)]
        ink = find_ink(grey, dark)
    doubts = []
    if has_area(above_paper(at_most(grey, COARSE)) * (-1 if dark else 1)):
        doubts.append(f"it has a {'dark' if dark else 'light'} area wider than any stroke")
    if ink is None:
        return Glyph(np.zeros((SIDE, SIDE), np.uint8), doubts or [NO_INK])
    if ink.spread > UNEVEN:
        doubts.append("its paper is uneven, as in a photograph")
    fine = enlarge(ink)
    return Glyph(frame(with_width(fine)), doubts + examine(fine))


def from_ink(ink: UInt8[np.ndarray, "h w"]) -> Glyph:
    """The digit in a drawing without paper, prepared as in `prepare`.

    Args:
      ink: 255 where there is ink, 0 elsewhere; any size.
    """
    mask = ink > 127
    if not mask.any():
        return Glyph(np.zeros((SIDE, SIDE), np.uint8), [NO_INK])
    (top, bottom, left, right), margin = _box(mask), 2
    near = (
        slice(max(0, top - margin), bottom + margin),
        slice(max(0, left - margin), right + margin),
    )
    contrast = ink[near].astype(np.float32) / 255
    fine = enlarge(Ink(contrast, 0.5, mask[near], 0.0))
    return Glyph(frame(with_width(fine)), examine(fine))


def as_it_is(pixels: UInt8[np.ndarray, "28 28"], dark: bool | None) -> Glyph:
    """An image in MNIST's form; the border decides its polarity."""
    pixels = light_on_dark(pixels, dark)
    size = (FINER * SIDE, FINER * SIDE)
    return Glyph(pixels, examine(resize(pixels, size, Image.Resampling.BICUBIC) > 127))


def light_on_dark(
    pixels: UInt8[np.ndarray, "h w *c"], dark: bool | None
) -> UInt8[np.ndarray, "h w *c"]:
    """Inverts an image if its content is dark or, for None, its border is light."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return 255 - pixels if dark or (dark is None and np.median(border) > 127) else pixels


def enlarge(ink: Ink) -> Bool[np.ndarray, "h w"]:
    """The ink, `FINER` times as large as in the glyph, with a margin to grow."""
    top, bottom, left, right = _box(ink.mask)
    scale = FINER * GLYPH / max(bottom - top, right - left)
    size = [max(1, round(side * scale)) for side in ink.mask.shape]
    shades = np.where(ndimage.binary_dilation(ink.mask, iterations=2), ink.contrast, 0)
    shades = resize(shades.astype(np.float32), size, Image.Resampling.BICUBIC)
    return np.pad(shades > ink.threshold, FINER * GLYPH // 2)


def stroke_width(mask: Bool[np.ndarray, "h w"]) -> float:
    """Mean width of the strokes, in pixels.

    In a band of width w, the mean distance to the edge is w/4; to the nearest pixel outside it is
    half a pixel more.
    """
    top, bottom, left, right = _box(mask)
    cut = mask[top:bottom, left:right]
    inside = ndimage.distance_transform_edt(np.pad(cut, 1))[1:-1, 1:-1][cut]
    return float(4 * (inside.mean() - 0.5))


def with_width(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Strokes within `WIDTHS` after scaling to 20x20; the mask needs a margin to grow."""
    top, bottom, left, right = _box(mask)
    side, width = max(bottom - top, right - left), stroke_width(mask)
    ratio = float(np.clip(width / side, WIDTHS[0] / GLYPH, WIDTHS[1] / GLYPH))
    grow = (ratio * side - width) / (2 * (1 - ratio))  # (width + 2 grow) / (side + 2 grow) = ratio
    if grow > 0:
        return ndimage.distance_transform_edt(~mask) <= grow
    thinner = ndimage.distance_transform_edt(mask) > -grow
    return thinner if thinner.any() else mask


def frame(mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "28 28"]:
    """The ink scaled to fit 20x20, centred by its mass in 28x28."""
    top, bottom, left, right = _box(mask)
    cut = mask[top:bottom, left:right].astype(np.float32)
    height, width = (max(1, round(side * GLYPH / max(cut.shape))) for side in cut.shape)
    small = 255 * resize(cut, (height, width), Image.Resampling.BOX)
    mass = max(float(small.sum()), 1.0)
    centre_y = float((small.sum(1) * np.arange(height)).sum()) / mass
    centre_x = float((small.sum(0) * np.arange(width)).sum()) / mass
    top = int(np.clip(round((SIDE - 1) / 2 - centre_y), 0, SIDE - height))
    left = int(np.clip(round((SIDE - 1) / 2 - centre_x), 0, SIDE - width))
    out = np.zeros((SIDE, SIDE), np.uint8)
    out[top : top + height, left : left + width] = np.rint(small).clip(0, 255).astype(np.uint8)
    return out


def examine(mask: Bool[np.ndarray, "h w"]) -> list[str]:
    """Reasons to doubt that this is a digit; the mask is `FINER` times the glyph."""
    if not mask.any():
        return [NO_INK]
    top, bottom, left, right = _box(mask)
    height, width = bottom - top, right - left
    side, stroke = max(height, width), stroke_width(mask)
    doubts = []
    if stroke > THICK * side:
        doubts.append("its ink covers too much")
    holes, _ = ndimage.label(~np.pad(mask, 1))
    large = np.bincount(holes.ravel())[2:] > FINER**2 / 2
    if mask.sum() > LONG * stroke * side or large.sum() > HOLES:
        doubts.append("it has too many strokes")
    joined = ndimage.binary_dilation(mask, iterations=FINER)  # over gaps of two glyph pixels
    parts, _ = ndimage.label(joined, np.ones((3, 3)))
    sizes = np.sort(np.bincount(parts[mask]))[::-1] / mask.sum()
    if sizes[1:2].sum() > PART:
        doubts.append("it has separate parts")
    if width > WIDE * height:
        doubts.append("it is wider than a digit")
    return doubts


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _around(mask: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The box of the ink with a margin of a quarter of its side, in an image of another size."""
    top, bottom, left, right = _box(mask)
    margin = max(bottom - top, right - left) // 4
    scale = shape[0] / mask.shape[0]
    first, last = (max(0, top - margin), max(0, left - margin)), (bottom + margin, right + margin)
    (y0, x0), (y1, x1) = ([round(edge * scale) for edge in pair] for pair in (first, last))
    return slice(y0, y1), slice(x0, x1)
