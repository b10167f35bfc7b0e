"""Finds ink on paper by its contrast, in any light."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from scipy import ndimage

WORK = 320  # longest side, in pixels, at which ink is found
FAINT = 0.04  # contrast, of 1, below which there is no ink


class Ink(NamedTuple):
    """What differs enough from the paper around it to be ink."""

    contrast: Float[np.ndarray, "h w"]
    threshold: float
    mask: Bool[np.ndarray, "h w"]  # above the threshold, without specks
    spread: float  # of the paper's level, as a share of the ink's contrast


def find_ink(grey: Float[np.ndarray, "h w"], dark: bool) -> Ink | None:
    """The ink, by its contrast with the paper around it; None on an empty page.

    The paper's level is a closing (an opening for light ink): the maximum over a window wider than
    any stroke, then the minimum. So uneven light and shadows are in the level, not in the contrast.
    """
    grey = at_most(grey, WORK)
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
    """The minimum over a window of the maximum over a window; windows end at the image's border."""
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
    """How much lighter each pixel is than a smooth surface through the paper; 0 on the paper."""
    height, width = grey.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    basis = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)
    border = np.maximum(abs(x), abs(y)) > 0.9

    def from_surface(used: np.ndarray, terms: int = 6) -> np.ndarray:
        there, every = basis[used][:, :terms], basis[..., :terms]
        return grey - every @ np.linalg.lstsq(there.T @ there, there.T @ grey[used])[0]

    rest = from_surface(np.ones_like(border), terms=3)  # A plane: it cannot bend towards the ink.
    light = rest > otsu(rest)
    # The paper is most of the border and of the image, or, if ink fills the frame, of their sum.
    used = light if light[border].mean() + light.mean() > 1 else ~light
    for _ in range(8):  # Pixels near the surface are paper, others are not.
        rest = from_surface(used)
        spread = 1.48 * np.median(np.abs(rest[used]))
        used = np.abs(rest) < max(3 * spread, 0.02)
    return np.where(used, 0, rest).astype(np.float32)


def has_area(above: Float[np.ndarray, "h w"]) -> bool:
    """Whether there is ink wider than the window of `find_ink`, so that it looks like paper."""
    solid = np.pad(above > above.max() / 2, 1)
    deepest = ndimage.distance_transform_edt(solid).max()
    return bool(above.max() > FAINT and 2 * deepest > max(above.shape) / 3)


def without_specks(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The ink without spots far smaller than its largest part."""
    parts, _ = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes > 0.03 * sizes.max())[parts]


def resize(image: np.ndarray, size: Sequence[int], how: Image.Resampling) -> np.ndarray:
    """The image at another (height, width)."""
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def at_most(image: np.ndarray, side: int) -> np.ndarray:
    """The image reduced to a longest side of `side`; a smaller one is unchanged."""
    scale = side / max(image.shape)
    if scale >= 1:
        return image
    return resize(image, [max(1, round(n * scale)) for n in image.shape], Image.Resampling.BOX)
