"""Preprocessing of photos inside the jitted step: crop, reflection, mean, colour noise.

Krizhevsky et al. 2012, secs. 2 and 4.1, and the variants in the source of 2012 (convdata_jpeg.py).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt8

from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.data.preprocess.statistics import Statistics
from lenet_alexnet.errors import UsageError, nearest

COLOUR_FORMS = ("paper", "source")
MEANS = ("image", "centre", "channel", "given", "none")
WITHOUT_STATISTICS = ("given", "none")  # means
PLACES = ("random", "centre")
Number = float | Float[Array, ""]


def create_photo_preprocess(
    *,
    image_size: int,
    crop: int,
    statistics: Statistics | None,
    mean: str = "image",
    std: float = 1.0,
    colour_mean: Sequence[float] = (),
    colour_std: Sequence[float] = (),
    flip: bool = True,
    share: int = 1,
    place: str = "random",
    colour_noise: Number = 0.1,
    colour_form: str = "paper",
    colour_until: int = 0,
) -> Preprocess:
    """From bytes to the network's inputs: 0..255 minus the mean, divided by `std`.

    Args:
      image_size: side of the stored images.
      crop: side of the network's input; given keys it is cut at any of the
        (image_size - crop + 1)^2 places (33x33 for 224 of 256), else at the centre.
      statistics: of the training images; None if neither a mean nor colour noise is used.
      mean: what is subtracted: `image`, the mean image at the crop's place (the paper; Caffe);
        `centre`, its centre (source); `channel`, its mean colour; `given`, `colour_mean`; `none`.
      std: 1 in 2012.
      colour_mean: for mean `given`: one number per colour, on the scale 0..255.
      colour_std: divides each colour, in place of `std`; (): `std` divides all.
      flip: horizontal reflection, with probability 1/2.
      place: `random`, or `centre` for the same crop in training as in testing.
      share: how many neighbours in the batch share a place and a reflection (the source: 32).
      colour_noise: standard deviation of the three a_i (sec. 4.1: 0.1); 0: no noise.
      colour_form: `source` divides the image by 1 + colour_noise while there is noise.
      colour_until: the step from which there is no noise; 0: always noise.

    Raises:
      UsageError: sizes that do not fit each other, or given numbers that are not three.
    """
    _check_choice("colour_form", colour_form, COLOUR_FORMS)
    _check_choice("place", place, PLACES)
    _check(image_size, crop, statistics, mean, noise=bool_or_traced(colour_noise))
    means, divisor = _mean(statistics, mean, crop, colour_mean), _divisor(std, colour_std)
    add_noise = _create_noise(statistics, colour_noise, colour_form, colour_until)

    def preprocess(images: Array, keys: Array | None = None, step: Array | None = None) -> Array:
        free = images.shape[1] - crop
        places = jnp.full((images.shape[0], 2), free // 2)
        if keys is None:
            return (_cut(images, places, crop).astype(jnp.float32) - means(places)) / divisor
        place_key, flip_key, noise_key = _split3(keys)
        if place == "random":
            places = _draw_places(_first(place_key, share), free)
        x = _cut(images, places, crop).astype(jnp.float32) - means(places)
        if flip:
            turned = jax.vmap(jax.random.bernoulli)(_first(flip_key, share))
            x = jnp.where(turned[:, None, None, None], x[:, :, ::-1], x)
        return add_noise(x, noise_key, step) / divisor

    return preprocess


def _create_noise(
    statistics: Statistics | None, amount: Number, form: str, until: int
) -> Callable[[Array, Array, Array | None], Array]:
    """(images, keys, step) -> the images with colour noise, see `create_photo_preprocess`.

    The text adds a_i times the eigenvalue lambda_i of the colours' covariance: on the scale 0..255
    this is a noise of hundreds of grey levels. The source multiplies a_i by the standard deviation
    sqrt(lambda_i), about ten grey levels; both forms here do so, too.
    """
    if statistics is None or not bool_or_traced(amount):
        return lambda x, keys, step: x

    def add_noise(x: Array, keys: Array, step: Array | None) -> Array:
        on = 1.0 if not until or step is None else (step < until).astype(x.dtype)
        x = x + (colour_shift(keys, statistics) * amount * on)[:, None, None]
        return x / (1 + amount * on) if form == "source" else x

    return add_noise


def bool_or_traced(number: Number) -> bool:
    """Whether a number is not 0; a traced one counts as not 0."""
    return bool(number) if isinstance(number, int | float) else True


def colour_shift(keys: Key[Array, " b"], statistics: Statistics) -> Float[Array, "b 3"]:
    """[p1 p2 p3] [a1 s1, a2 s2, a3 s3]^T with a ~ N(0, 1), one draw for each image (sec. 4.1)."""
    scales = np.sqrt(statistics.eigenvalues) * statistics.eigenvectors  # column i: s_i p_i
    draws = jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
    return draws @ jnp.asarray(scales.T, jnp.float32)


def create_views(
    *,
    image_size: int,
    crop: int,
    statistics: Statistics | None,
    mean: str = "image",
    std: float = 1.0,
    colour_mean: Sequence[float] = (),
    colour_std: Sequence[float] = (),
) -> Callable[[UInt8[Array, "b h w c"]], Float[Array, "v b crop crop c"]]:
    """The paper's ten views: the corners and the centre, and their reflections (sec. 4.1).

    In the source's order: top left, top right, centre, bottom left, bottom right. For the
    arguments see `create_photo_preprocess`.

    Raises:
      UsageError: the images are no larger than the crop.
    """
    if image_size <= crop:
        raise UsageError(
            f"10 views need images larger than the crop: stored at {image_size}, crop {crop}"
        )
    _check(image_size, crop, statistics, mean, noise=False)
    means, far = _mean(statistics, mean, crop, colour_mean), image_size - crop
    divisor = _divisor(std, colour_std)
    corners = ((0, 0), (0, far), (far // 2, far // 2), (far, 0), (far, far))

    def views(images: Array) -> Array:
        upright = []
        for corner in corners:
            places = jnp.tile(jnp.asarray(corner), (len(images), 1))
            x = _cut(images, places, crop).astype(jnp.float32)
            upright.append((x - means(places)) / divisor)
        return jnp.stack([*upright, *(x[:, :, ::-1] for x in upright)])

    return views


def _split3(keys: Key[Array, " b"]) -> Key[Array, "3 b"]:
    return jax.vmap(partial(jax.random.split, num=3), out_axes=1)(keys)


def _first(keys: Key[Array, " b"], share: int) -> Key[Array, " b"]:
    """Replaces each key by that of the first of its `share` neighbours."""
    return keys if share == 1 else keys[jnp.arange(len(keys)) // share * share]


def _draw_places(keys: Key[Array, " b"], free: int) -> Int[Array, "b 2"]:
    """Random top left corners of crops, from 0 to `free`."""
    draw = partial(jax.random.randint, shape=(2,), minval=0, maxval=free + 1)
    # Else XLA on GPUs draws an image's place again for each of its pixels.
    return jax.lax.optimization_barrier(jax.vmap(draw)(keys))


def _cut(images: Array, places: Int[Array, "b 2"], crop: int) -> Array:
    """The crops whose top left corners are at `places`."""

    def one(image: Array, place: Array) -> Array:
        return jax.lax.dynamic_slice(image, (place[0], place[1], 0), (crop, crop, image.shape[-1]))

    return jax.vmap(one)(images, places)


def _divisor(std: float, colour_std: Sequence[float]) -> Any:
    """What the images are divided by: a number, or one number per colour."""
    if not len(colour_std):
        return std
    _check_colours("colour_std", colour_std)
    if min(colour_std) <= 0:
        raise UsageError(f"data.photo.colour_std {tuple(colour_std)} is not more than 0")
    return jnp.asarray(colour_std, jnp.float32)


def _mean(
    statistics: Statistics | None, mean: str, crop: int, colour_mean: Sequence[float]
) -> Callable[[Int[Array, "b 2"]], Array]:
    """What to subtract from crops at the given places."""
    if mean == "given":
        _check_colours("colour_mean", colour_mean)
        return lambda places: jnp.asarray(colour_mean, jnp.float32)
    if statistics is None or mean == "none":
        return lambda places: jnp.zeros(())
    if mean == "channel":
        return lambda places: jnp.asarray(statistics.colour_mean, jnp.float32)
    image = jnp.asarray(statistics.mean_image)
    start = (image.shape[0] - crop) // 2
    if mean == "centre":
        return lambda places: image[start : start + crop, start : start + crop]

    def own(places: Array) -> Array:
        return _cut(jnp.broadcast_to(image, (places.shape[0], *image.shape)), places, crop)

    return own


def _check_colours(name: str, values: Sequence[float]) -> None:
    if len(values) != 3 or not all(type(value) in (int, float) for value in values):
        raise UsageError(f"data.photo.{name} {tuple(values)!r:.60} is not three numbers")


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"unknown data.photo.{name} '{value}': {nearest(value, known)}")


def _check(
    image_size: int, crop: int, statistics: Statistics | None, mean: str, *, noise: bool
) -> None:
    _check_choice("mean", mean, MEANS)
    if crop > image_size:
        raise UsageError(f"a crop of {crop} pixels does not fit images stored at {image_size}")
    if (noise or mean not in WITHOUT_STATISTICS) and statistics is None:
        raise UsageError("a mean image or colour noise needs the statistics of the training images")
    if statistics is not None and len(statistics.mean_image) != image_size:
        raise UsageError(
            f"the statistics are of images of {len(statistics.mean_image)} pixels, "
            f"data.image_size says {image_size}"
        )
