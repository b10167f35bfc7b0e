"""A drawn or photographed digit as MNIST has them: found on its paper, its pen made MNIST's."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy import ndimage

SIDE, GLYPH = 28, 20  # a 20x20 glyph centred by its mass in 28x28 (LeCun et al. 1998, III.A)
FINER = 8  # Strokes are measured and mended this many times larger than in the glyph.
COARSE = 64  # longest side, in pixels, at which the paper's surface is found
WORK = 320  # longest side, in pixels, at which ink is told from paper
WIDTHS = (2.0, 3.2)  # of strokes, in pixels of the glyph: the middle of MNIST's
FAINT = 0.04  # contrast, of 1, below which there is no ink
NO_INK = "it shows no ink"
# What digits do not exceed: of MNIST's, in the glyph's longest side, at most 0.5 % do.
UNEVEN = 0.1  # spread of the paper's level, as a share of the ink's contrast
THICK, LONG, HOLES, PART, WIDE = 0.28, 3.7, 3, 0.2, 1.6


class Glyph(NamedTuple):
    """What a digit's network sees, and why it may be no digit."""

    pixels: UInt8[np.ndarray, "28 28"]
    doubts: list[str]


class Ink(NamedTuple):
    """What differs from the paper around it, enough to be ink."""

    contrast: Float[np.ndarray, "h w"]
    threshold: float
    mask: Bool[np.ndarray, "h w"]  # above the threshold, without specks
    spread: float  # of the paper, as a share of the ink's contrast


def prepare(pixels: UInt8[np.ndarray, "h w"], dark: bool | None = None) -> Glyph:
    """The digit in an image, light on black, as MNIST's were prepared from larger images.

    The ink is told from the paper around it, strokes much thinner or thicker than MNIST's are
    brought to its width, the glyph is scaled to fit 20x20 and centred by its mass in 28x28. An
    image of just 28x28 is taken as it is, but for the polarity.

    Args:
      pixels: grey levels; any size.
      dark: whether the ink is darker than the paper; None: as it looks.
    """
    if pixels.shape == (SIDE, SIDE):
        return as_it_is(pixels, dark)
    grey = pixels.astype(np.float32) / 255
    if dark is None:
        dark = bool(above_paper(_at_most(grey, COARSE)).sum() <= 0)
    ink = find_ink(grey, dark)
    if ink is not None:  # Again without most of the paper, and so in more detail.
        grey = grey[_around(ink.mask, grey.shape)]
        ink = find_ink(grey, dark)
    doubts = []
    if has_area(above_paper(_at_most(grey, COARSE)) * (-1 if dark else 1)):
        doubts.append(f"it has a {'dark' if dark else 'light'} area wider than any stroke")
    if ink is None:
        return Glyph(np.zeros((SIDE, SIDE), np.uint8), doubts or [NO_INK])
    if ink.spread > UNEVEN:
        doubts.append("its paper is uneven, as in a photograph")
    fine = enlarge(ink)
    return Glyph(frame(with_width(fine)), doubts + examine(fine))


def as_it_is(pixels: UInt8[np.ndarray, "28 28"], dark: bool | None) -> Glyph:
    """An image in MNIST's own form, whose polarity is judged by its border."""
    pixels = light_on_dark(pixels, dark)
    size = (FINER * SIDE, FINER * SIDE)
    return Glyph(pixels, examine(_resize(pixels, size, Image.Resampling.BICUBIC) > 127))


def light_on_dark(
    pixels: UInt8[np.ndarray, "h w *c"], dark: bool | None
) -> UInt8[np.ndarray, "h w *c"]:
    """Inverts an image whose content is dark, or (None) whose border is light."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return 255 - pixels if dark or (dark is None and np.median(border) > 127) else pixels


def find_ink(grey: Float[np.ndarray, "h w"], dark: bool) -> Ink | None:
    """Ink by its contrast with the paper around it, or None on an empty page.

    The paper's level at a place is the brightest within a window wider than any stroke, then the
    darkest of these (a closing; an opening for light ink): light that falls off, or a shadow's
    edge, is in the level and not in the contrast.
    """
    grey = _at_most(grey, WORK)
    smooth = ndimage.gaussian_filter(grey, max(grey.shape) / WORK)
    window = max(grey.shape) // 3
    if dark:
        contrast = 1 - smooth / np.maximum(closing(smooth, window), 1 / 255)  # of the light there
    else:
        contrast = smooth - 1 + closing(1 - smooth, window)
    threshold = otsu(contrast)
    ink = contrast > threshold
    if not ink.any() or ink.all():
        return None
    level, ground = np.median(contrast[ink]), np.median(contrast[~ink])
    if level - ground < FAINT:
        return None
    spread = 1.48 * np.median(np.abs(contrast[~ink] - ground))
    threshold = float(level + ground) / 2
    mask = without_specks(contrast > threshold)
    return Ink(contrast, threshold, mask, float(spread / (level - ground)))


def closing(values: Float[np.ndarray, "h w"], window: int) -> Float[np.ndarray, "h w"]:
    """The least, over a window, of the largest value; windows end where the image does."""
    largest = ndimage.maximum_filter(values, window, mode="constant", cval=0)
    return ndimage.minimum_filter(largest, window, mode="constant", cval=1)


def otsu(values: np.ndarray) -> float:
    """The threshold that separates two classes best (Otsu 1979)."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = counts.cumsum()[:-1]
    above = counts.sum() - below
    sums = (counts * centres).cumsum()
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * (means[0] - means[1]) ** 2)])


def above_paper(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """By how much each place is lighter than a smooth surface through the paper; 0 on the paper."""
    height, width = grey.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    basis = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)
    border = np.maximum(abs(x), abs(y)) > 0.9

    def from_surface(used: np.ndarray, terms: int = 6) -> np.ndarray:
        there, every = basis[used][:, :terms], basis[..., :terms]
        return grey - every @ np.linalg.lstsq(there.T @ there, there.T @ grey[used])[0]

    rest = from_surface(np.ones_like(border), terms=3)  # A plane does not bend towards the ink.
    light = rest > otsu(rest)
    # The paper has most of the border and of the whole; where ink fills the frame, of their sum.
    used = light if light[border].mean() + light.mean() > 1 else ~light
    for _ in range(8):  # What is far from the surface is no paper; what is near it is.
        rest = from_surface(used)
        spread = 1.48 * np.median(np.abs(rest[used]))
        used = np.abs(rest) < max(3 * spread, 0.02)
    return np.where(used, 0, rest).astype(np.float32)


def has_area(above: Float[np.ndarray, "h w"]) -> bool:
    """Whether there is ink wider than the window of `find_ink`, which takes it for paper."""
    solid = np.pad(above > above.max() / 2, 1)
    deepest = ndimage.distance_transform_edt(solid).max()
    return bool(above.max() > FAINT and 2 * deepest > max(above.shape) / 3)


def without_specks(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The ink without spots far smaller than its largest part."""
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes > 0.03 * sizes.max())[parts]


def enlarge(ink: Ink) -> Bool[np.ndarray, "h w"]:
    """The ink `FINER` times as large as in the glyph, with room to grow around it."""
    top, bottom, left, right = _box(ink.mask)
    scale = FINER * GLYPH / max(bottom - top, right - left)
    size = [max(1, round(side * scale)) for side in ink.mask.shape]
    shades = np.where(ndimage.binary_dilation(ink.mask, iterations=2), ink.contrast, 0)
    shades = _resize(shades.astype(np.float32), size, Image.Resampling.BICUBIC)
    return np.pad(shades > ink.threshold, FINER * GLYPH // 2)


def stroke_width(mask: Bool[np.ndarray, "h w"]) -> float:
    """Mean width of the strokes, in pixels.

    In a band of width w the mean distance to the edge is w/4, and half a pixel more to the nearest
    pixel outside.
    """
    inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask]
    return float(4 * (inside.mean() - 0.5))


def with_width(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Strokes within `WIDTHS` once the glyph is scaled to 20x20; the mask needs room to grow."""
    top, bottom, left, right = _box(mask)
    side, width = max(bottom - top, right - left), stroke_width(mask)
    share = float(np.clip(width / side, WIDTHS[0] / GLYPH, WIDTHS[1] / GLYPH))
    grow = (share * side - width) / (2 * (1 - share))  # (width + 2 grow) / (side + 2 grow) = share
    if grow > 0:
        return ndimage.distance_transform_edt(~mask) <= grow
    thinner = ndimage.distance_transform_edt(mask) > -grow
    return thinner if thinner.any() else mask


def frame(mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "28 28"]:
    """The ink scaled to fit 20x20, centred by its mass in 28x28."""
    top, bottom, left, right = _box(mask)
    cut = mask[top:bottom, left:right].astype(np.float32)
    height, width = (max(1, round(side * GLYPH / max(cut.shape))) for side in cut.shape)
    small = 255 * _resize(cut, (height, width), Image.Resampling.BOX)
    mass = max(float(small.sum()), 1.0)
    centre_y = float((small.sum(1) * np.arange(height)).sum()) / mass
    centre_x = float((small.sum(0) * np.arange(width)).sum()) / mass
    top = int(np.clip(round((SIDE - 1) / 2 - centre_y), 0, SIDE - height))
    left = int(np.clip(round((SIDE - 1) / 2 - centre_x), 0, SIDE - width))
    out = np.zeros((SIDE, SIDE), np.uint8)
    out[top : top + height, left : left + width] = np.rint(small).clip(0, 255).astype(np.uint8)
    return out


def examine(mask: Bool[np.ndarray, "h w"]) -> list[str]:
    """Why this may be no digit, by its strokes; the mask is `FINER` times the glyph."""
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
    joined = ndimage.binary_dilation(mask, iterations=FINER)  # over gaps of two of its pixels
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


def _resize(image: np.ndarray, size, how: Image.Resampling) -> np.ndarray:
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def _at_most(image: np.ndarray, side: int) -> np.ndarray:
    """The image reduced so that its longest side is `side`; a smaller one as it is."""
    scale = side / max(image.shape)
    if scale >= 1:
        return image
    return _resize(image, [max(1, round(n * scale)) for n in image.shape], Image.Resampling.BOX)
