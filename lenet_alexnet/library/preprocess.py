"""`preprocess`: images as a network's inputs, without a config."""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lenet_alexnet import config as configs
from lenet_alexnet.data.preprocess.digits import create_preprocess
from lenet_alexnet.data.preprocess.photos import create_photo_preprocess
from lenet_alexnet.errors import UsageError, nearest

ONLY_TRAINING = {"distort", "interpolation", "flip", "share", "place", "image_size"}


def preprocess(images: Any, **options: Any) -> Float[Array, "n h2 w2 c"]:
    """Images [n, h, w, c], 0..255, as a network's inputs, as in evaluation.

    Args:
      images: of one size, grey (c = 1) or RGB (c = 3).
      options: with `crop`, those of photos: `mean`, `colour_mean`, `std`, `colour_std`,
        `statistics` (see `create_photo_preprocess`); else `pad`, `mean`, `std` (see
        `create_preprocess`), by default those of MNIST and LeNet-5.

    Raises:
      UsageError: an unknown option, or one that does not fit.
    """
    images = jnp.asarray(images)
    if images.ndim != 4:
        raise UsageError(f"images are {list(images.shape)}, not [n, h, w, c]")
    if "crop" in options:
        given = {"statistics": None, "colour_noise": 0.0, **options}
        return _made(create_photo_preprocess, given, image_size=images.shape[1])(images)
    data = configs.base().data
    given = {key: data[key] for key in ("pad", "mean", "std")} | options
    return _made(create_preprocess, given, distort={})(images)


def _made(create: Callable[..., Any], options: dict[str, Any], **fixed: Any) -> Any:
    known = inspect.signature(create).parameters.keys() - ONLY_TRAINING
    for name in options.keys() - known:
        raise UsageError(f"preprocess has no option '{name}': {nearest(name, known)}")
    return create(**options, **fixed)
