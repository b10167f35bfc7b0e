"""Builds the sections of a config: the network, the data, the optimizer, the losses."""

from collections.abc import Callable, Sequence
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
from lenet_alexnet.data.preprocess.statistics import Statistics, compute, load_statistics
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.errors import DataError, UsageError
from lenet_alexnet.losses import Loss, balanced_weights, create_loss
from lenet_alexnet.models import create_model, defaults
from lenet_alexnet.models.alexnet.network import AlexNet
from lenet_alexnet.ops import ConvForm
from lenet_alexnet.optimizers import Optimizer, create_optimizer
from lenet_alexnet.runtime.storage import expand
from lenet_alexnet.training import passed
from lenet_alexnet.training.observed import Observe

AUTO = "auto"  # class weights


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


def build_optimizer(
    config: Any, examples: int, *, dense_updates: int = 1, total_steps: int = 0
) -> Optimizer:
    """The optimizer of a config.

    Args:
      config: of a run.
      examples: the number of training examples.
      dense_updates: see `Layout`.
      total_steps: the length of the run; 0: train.duration.
    """
    in_steps = partial(to_steps, batch_size=config.train.batch_size, examples=examples)
    return create_optimizer(
        total_steps=total_steps or in_steps(config.train.duration),
        to_steps=in_steps,
        batch_size=config.train.batch_size,
        dense_updates=dense_updates,
        back_off=bool(config.train.back_off),
        **config.optimizer.to_dict(),
    )


def build_losses(config: Any, auto: Sequence[float] = ()) -> tuple[Loss, Loss]:
    """The training loss, and the evaluation loss: the same without smoothing or class weights.

    `auto` are the class weights if the config says "auto"; without them all are equal.
    """
    options = config.train.loss.to_dict()
    training = ("label_smoothing", "class_weights")
    plain = {name: value for name, value in options.items() if name not in training}
    if options.get("class_weights") == AUTO:
        options["class_weights"] = tuple(auto) or None
    return create_loss(**options), create_loss(**plain)


def auto_weights(config: Any, train_data: Dataset) -> tuple[float, ...]:
    """The class weights of `train.loss.class_weights=auto`; () for other ones.

    Raises:
      UsageError: the labels are not in memory.
    """
    if config.train.loss.get("class_weights") != AUTO:
        return ()
    if train_data.arrays is None:
        raise UsageError(
            "train.loss.class_weights=auto counts the labels in memory: set data.stream=False, or "
            "a weight for each class"
        )
    return balanced_weights(train_data.arrays[1], len(train_data.class_names))


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


def build_observe(config: Any, *, every: int, total: int) -> Observe | None:
    """What a config logs of each layer, `every` so many of the `total` steps; None if nothing.

    Raises:
      UsageError: layers have several gradients in a step.
    """
    norms, histograms = setting(config, "log.norms"), setting(config, "log.histograms")
    if not norms and not histograms:
        return None
    if config.parallel.update_each_turn:
        raise UsageError(
            "log.norms and log.histograms show the gradient of a step; with "
            "parallel.update_each_turn the dense layers have several"
        )
    return Observe(every=every, total=total, norms=norms, histograms=histograms)


def load_photo_statistics(config: Any, train_data: Dataset | None = None) -> Statistics | None:
    """Mean image and colours of the training images, or None if the config uses none.

    Those of prepared images were prepared, too. Those of image folders are computed, from
    `train_data` if these are read already.

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
    if config.data.source == "folder":
        arrays = (train_data or load(config, config.data.train)).arrays
        assert arrays is not None
        return compute(arrays[0])
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
        if data.source == "folder":
            raise UsageError("data.stream=True reads prepared photos: data.source=tfds")
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
