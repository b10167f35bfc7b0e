"""Preprocessing inside the jitted step: scaling, distortion, padding, normalisation."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lenet_alexnet.errors import UsageError, nearest

# (images, a key for each or None, the step) -> the network's inputs
Preprocess = Callable[..., Float[Array, "b h2 w2 c"]]
Number = float | Float[Array, ""]
RANGES = ("shift", "scale", "squeeze", "shear", "rotation")


def create_preprocess(
    *,
    mean: float,
    std: float,
    pad: int,
    distort: Mapping[str, Number],
    interpolation: str = "linear",
) -> Preprocess:
    """From bytes to the network's inputs: /255, distorted (given keys), zero-padded, normalised.

    Args:
      mean, std: of the pixels on the scale 0..1; the inputs are (x - mean) / std.
      pad: pixels of background (0) added on each side, before normalising.
      distort: ranges of `affine`; all zero: none.
      interpolation: linear, or cubic, which keeps strokes sharp.
    """
    if interpolation not in WEIGHTS:
        hint = nearest(interpolation, WEIGHTS)
        raise UsageError(f"unknown data.interpolation '{interpolation}': {hint}")
    for name in distort.keys() - set(RANGES):
        raise UsageError(f"unknown data.distort.{name}: {nearest(name, RANGES)}")
    # In a sweep ranges may be traced numbers, which count as not zero.
    active = any(isinstance(value, jax.Array) or value for value in distort.values())

    def preprocess(images: Array, keys: Array | None = None, step: Array | None = None) -> Array:
        x = images.astype(jnp.float32) / 255
        if active and keys is not None:
            x = affine(keys, x, **distort, weights=WEIGHTS[interpolation])
            if interpolation == "cubic":
                x = jnp.clip(x, 0, 1)  # The cubic overshoots at edges.
        x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        return (x - mean) / std

    return preprocess


def _linear(distance: Array) -> Array:
    return jnp.maximum(0.0, 1.0 - jnp.abs(distance))


def _cubic(distance: Array) -> Array:
    """Cubic convolution with a = -1/2 (Keys 1981): exact for parabolas."""
    d = jnp.abs(distance)
    near, far = (1.5 * d - 2.5) * d**2 + 1, ((2.5 - 0.5 * d) * d - 4) * d + 2
    return jnp.where(d < 1, near, jnp.where(d < 2, far, 0.0))


WEIGHTS = {"linear": _linear, "cubic": _cubic}


def affine(
    keys: Key[Array, " b"],
    images: Float[Array, "b h w c"],
    *,
    shift: Number = 0.0,
    scale: Number = 0.0,
    squeeze: Number = 0.0,
    shear: Number = 0.0,
    rotation: Number = 0.0,
    weights: Callable[[Array], Array] = _linear,
) -> Float[Array, "b h w c"]:
    """Planar affine distortions, each drawn uniformly for each image; outside is 0.

    The list of LeCun et al. 1998, sec. III.A (rotation added); they give no ranges.

    Args:
      keys: one for each image, so that its draw does not depend on its batch.
      images: any values; 0 is the background.
      shift: largest translation along each axis, in pixels.
      scale: largest relative change of size.
      squeeze: one axis times 1+q, the other divided by it, |q| <= squeeze.
      shear: largest horizontal shear, in columns per row.
      rotation: largest angle, in degrees.
      weights: of a pixel by its distance, see `WEIGHTS`.
    """
    matrix, offset = _draw(keys, shift, scale, squeeze, shear, jnp.deg2rad(rotation))
    _, height, width, _ = images.shape
    y, x = jnp.arange(height) - (height - 1) / 2, jnp.arange(width) - (width - 1) / 2
    yy, yx, xy, xx = (matrix[:, i, j, None, None] for i in (0, 1) for j in (0, 1))
    to_y, to_x = offset[:, 0, None, None], offset[:, 1, None, None]

    # Any affine map is a pass along the rows and a pass along the columns (Catmull and Smith
    # 1980): each interpolates in one direction, as a sum over the line weighted by distance.
    # Without gathers it is fast on every backend.
    slope = xy / yy
    source_x = slope * y[:, None] + (xx - slope * yx) * x + to_x - slope * to_y  # [b, source y, x]
    weight = weights(source_x[:, :, None, :] - x[:, None])  # [b, source y, source x, x]
    rows = jnp.sum(images[:, :, :, None] * weight[..., None], axis=2)  # [b, source y, x, c]
    source_y = yy * y[:, None] + yx * x + to_y  # [b, y, x]
    weight = weights(source_y[:, :, None, :] - y[:, None])  # [b, y, source y, x]
    return jnp.sum(rows[:, None] * weight[..., None], axis=2)


def _draw(
    keys: Key[Array, " b"],
    shift: Number,
    scale: Number,
    squeeze: Number,
    shear: Number,
    angle: Array,
) -> tuple[Float[Array, "b 2 2"], Float[Array, "b 2"]]:
    """Maps from (y, x) of the result to (y, x) of the source, around the centre."""
    u = jax.vmap(lambda key: jax.random.uniform(key, (6,), minval=-1.0, maxval=1.0))(keys).T
    size, ratio = 1 + scale * u[2], 1 + squeeze * u[3]
    cos, sin = jnp.cos(angle * u[5]), jnp.sin(angle * u[5])
    height, width, lean = 1 / (size * ratio), ratio / size, shear * u[4]
    rows = [
        [cos * height, -sin * width],
        [sin * height + lean * cos * height, cos * width - lean * sin * width],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2), (shift * u[:2]).T
