"""Builds the sections of a config: the network, the data, the optimizer, the losses."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import numpy as np

from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.config.options import setting
from lenet_alexnet.data import Dataset, load_split
from lenet_alexnet.data.preprocess.digits import Preprocess, create_preprocess
from lenet_alexnet.data.preprocess.photos import (
    WITHOUT_STATISTICS,
    create_photo_preprocess,
    create_views,
)
from lenet_alexnet.data.preprocess.statistics import Statistics, load_statistics
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.losses import Loss, create_loss
from lenet_alexnet.models import create_model, defaults
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.ops import ConvForm
from lenet_alexnet.optimizers import Optimizer, create_optimizer
from lenet_alexnet.runtime.storage import expand
from lenet_alexnet.training import passed


def build_model(config: Any, form: ConvForm = "auto") -> nn.Module:
    """The network, with the fastest operations for this machine unless `model.conv_form` is set.

    Args:
      config: of the run.
      form: which operations are the fastest.

    Raises:
      UsageError: the config describes none: the run was given one as an object.
    """
    passed.refuse(config.model.name, "model")
    options = {**config.model}
    if "conv_form" in defaults(config.model.name) and options.get("conv_form", "auto") == "auto":
        options["conv_form"] = form
    model = create_model(precision=config.train.precision, **options)
    frozen = tuple(setting(config, "train.freeze"))
    return model.clone(frozen=frozen) if frozen and isinstance(model, AlexNet) else model


def build_optimizer(config: Any, examples: int, *, dense_updates: int = 1) -> Optimizer:
    """The optimizer of a config for `examples` training examples; `dense_updates`: see `Layout`."""
    in_steps = partial(to_steps, batch_size=config.train.batch_size, examples=examples)
    return create_optimizer(
        total_steps=in_steps(config.train.duration),
        to_steps=in_steps,
        batch_size=config.train.batch_size,
        dense_updates=dense_updates,
        back_off=bool(config.train.back_off),
        **config.optimizer.to_dict(),
    )


def build_losses(config: Any) -> tuple[Loss, Loss]:
    """The training loss, and the evaluation loss: the same without smoothing or class weights."""
    options = config.train.loss.to_dict()
    training = ("label_smoothing", "class_weights")
    plain = {name: value for name, value in options.items() if name not in training}
    return create_loss(**options), create_loss(**plain)


def build_preprocess(
    config: Any, to_steps: Callable[[str], int] | None = None, statistics: Statistics | None = None
) -> Preprocess:
    """The preprocessing of a config's `data` section; `to_steps` is for training only.

    `statistics` replace those of the prepared data.
    """
    data = config.data
    if "photo" in data:
        photo = data.photo.to_dict()
        until = photo.pop("colour_until")
        return create_photo_preprocess(
            image_size=data.image_size,
            statistics=statistics or load_photo_statistics(config),
            colour_until=to_steps(until) if to_steps else 0,
            **photo,
        )
    return create_preprocess(
        mean=data.mean,
        std=data.std,
        pad=data.pad,
        interpolation=data.interpolation,
        distort=data.distort.to_dict(),
    )


def build_views(
    config: Any, views: int = 0, statistics: Statistics | None = None
) -> Callable[[Any], Any] | None:
    """Makes the `views` (0: eval.views) of an image that are evaluated; None for one view.

    `statistics` replace those of the prepared data.
    """
    views = views or config.eval.views
    if views == 1:
        return None
    if views != 10 or "photo" not in config.data:
        raise UsageError(f"eval.views {views}: 1, or 10 for photos")
    views_too = ("crop", "mean", "std", "colour_mean", "colour_std")
    photo = {key: value for key, value in config.data.photo.items() if key in views_too}
    return create_views(
        image_size=config.data.image_size,
        **photo,
        statistics=statistics or load_photo_statistics(config),
    )


def load_photo_statistics(config: Any) -> Statistics | None:
    """Mean image and colours of the prepared training images, or None if the config uses none.

    Raises:
      UsageError: the data are not prepared ones: the run was given them as objects.
    """
    if "photo" not in config.data:
        return None
    photo = config.data.photo
    if photo.mean in WITHOUT_STATISTICS and not photo.colour_noise:
        return None
    if passed.is_object(config.data.source):
        raise UsageError(
            "data.photo needs statistics of prepared photos, which passed data do not have: set "
            "data.photo.mean=given (with colour_mean) or none, and data.photo.colour_noise=0.0"
        )
    return load_statistics(config.data.name, config.data.data_dir)


def load(config: Any, split: str) -> Dataset:
    """One split of a config's data.

    Raises:
      UsageError: the config describes none: the run was given them as objects.
    """
    data = config.data
    passed.refuse(data.source, "data")
    data_dir = str(expand(data.data_dir)) if data.data_dir else ""
    if "stream" in data and data.stream:
        stored = Streamed(data.name, data_dir, split)
        expected = (data.image_size, data.image_size, data.channels)
        if stored.image_shape != expected:
            raise DataError(
                f"split '{split}' is stored as {stored.image_shape}, but data.image_size and "
                f"data.channels say {expected}"
            )
        return stored
    return load_split(
        source=data.source,
        name=data.name,
        data_dir=data_dir,
        split=split,
        image_size=data.image_size,
        channels=data.channels,
    )


def blank_image(data: Dataset) -> np.ndarray:
    """A batch of one zero image of the data's shape."""
    return np.zeros((1, *data.image_shape), np.uint8)
