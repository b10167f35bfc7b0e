"""A run's preprocessing as one crop or pad, one factor and one shift."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lenet_alexnet.data.preprocess.digits import Preprocess


class Preparation(NamedTuple):
    """From bytes [b, h, w, c] to a network's inputs: cut or padded, times a factor, plus a shift.

    Attributes:
      stored: h, w, c of the bytes.
      start: the first row and column of the square that is cut out.
      size: its side.
      pad: rows and columns of zeros added on each side; 0 where something is cut.
      factor: one number per colour [c].
      shift: [h, w, c] of the inputs, or one number per colour [c].
    """

    stored: tuple[int, int, int]
    start: int
    size: int
    pad: int
    factor: np.ndarray
    shift: np.ndarray


def measure(preprocess: Preprocess, data: Any, inputs: tuple[int, int, int]) -> Preparation:
    """What a preprocessing does to an image in testing: that is an affine function.

    Args:
      preprocess: of the run.
      data: the config's section, for the size of the stored images.
      inputs: h, w, c of the network's inputs.
    """
    stored = (data.image_size, data.image_size, data.channels)
    dark, light = (
        np.asarray(preprocess(jnp.full((1, *stored), value, jnp.uint8)))[0] for value in (0, 255)
    )
    middle = inputs[0] // 2
    factor = (light - dark)[middle, middle] / 255
    shift = dark[0, 0] if (dark == dark[0, 0]).all() else dark
    change = inputs[0] - stored[0]
    return Preparation(stored, max(0, -change) // 2, inputs[0], max(0, change) // 2, factor, shift)
