"""What a config stands for, built: the network, the data, the optimizer, the schedule."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from lenet_alexnet.config import flatten
from lenet_alexnet.config.checks import LONGEST, check_inputs, check_ranges, check_validation
from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.data import Dataset, load_split
from lenet_alexnet.data.class_names import check_same
from lenet_alexnet.data.order import Order, epoch_order
from lenet_alexnet.data.preprocess.digits import Preprocess, create_preprocess
from lenet_alexnet.data.preprocess.photos import create_photo_preprocess, create_views
from lenet_alexnet.data.preprocess.statistics import Statistics, load_statistics
from lenet_alexnet.data.streamed import Streamed
from lenet_alexnet.errors import DataError, UsageError, nearest
from lenet_alexnet.losses import Loss, create_loss
from lenet_alexnet.models import Network1998, create_model, defaults
from lenet_alexnet.optimizers import Optimizer, create_optimizer
from lenet_alexnet.runtime.console import say
from lenet_alexnet.runtime.storage import expand
from lenet_alexnet.training.layout import Layout, most_devices
from lenet_alexnet.training.step import Scores, make_scores

SELECTS = "validation"  # The split whose error chooses the best checkpoint and drives a plateau.
FAR = 2**32  # Epochs from here on order other things than training.


class Schedule(NamedTuple):
    """The run in steps: its length and its intervals (0: never)."""

    total: int
    log: int
    evaluate: int
    save: int
    refresh: int
    per_dispatch: int

    def due(self, step: int) -> tuple[bool, bool]:
        """Whether to evaluate and to save after `step` steps; the end has its own."""
        if step == self.total:
            return False, False
        return tuple(bool(n) and step % n == 0 for n in (self.evaluate, self.save))  # type: ignore

    def next_stop(self, step: int) -> int:
        """Where the dispatch that starts at `step` must end."""
        intervals = (self.log, self.evaluate, self.save, self.refresh)
        stops = [self.total, step + self.per_dispatch]
        stops += [step - step % n + n for n in intervals if n]
        return min(stops)


class Experiment(NamedTuple):
    """What a config stands for, built."""

    model: nn.Module
    preprocess: Preprocess
    train_loss: Loss
    eval_loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    order: Order
    scores: Scores
    layout: Layout
    train_data: Dataset
    eval_data: dict[str, Dataset]
    in_steps: Callable[[str], int]  # of a duration
    statistics: Statistics | None  # of the training photos, where the config wants them

    @property
    def blank(self) -> np.ndarray:
        """One image of the data's shape, to initialise with."""
        return blank_image(self.train_data)

    @property
    def curve(self) -> list[str]:
        """The split that is evaluated during training: validation, or test, which chooses nothing.

        [] without either.
        """
        return [name for name in (SELECTS, "test") if name in self.eval_data][:1]

    @property
    def steps_per_epoch(self) -> float:
        """Not whole where the batch size does not divide the data."""
        return len(self.train_data) / self.order.batch_size

    def curvature_index(self, order: Order, step: int) -> np.ndarray:
        """The training examples on which the curvature is estimated before `step`, drawn anew."""
        assert self.optimizer.curvature is not None
        count = self.optimizer.curvature.examples
        return epoch_order(order.seed, FAR + step // self.schedule.refresh, order.size)[:count]

    def rate(self, step: int) -> float:
        """The learning rate of the step after `step` completed ones."""
        with jax.transfer_guard("allow"):
            return float(self.optimizer.rate(step))

    def row(
        self, step: int, split: str, result: dict, images_per_second: float | None,
        share: float = 1.0,
    ) -> dict:  # fmt: skip
        """One line of metrics.jsonl; `share` is what is left of the rate."""
        return {
            "step": step,
            "epoch": round(step / self.steps_per_epoch, 4),
            "split": split,
            **result,
            "images_per_second": images_per_second,
            "learning_rate": share * self.rate(step),
            "time": time.time(),
        }


def build_model(config: Any) -> nn.Module:
    """The network, with the operations that are fast on this machine where `model.conv_form` does
    not name others."""
    fast = {"conv_form": "auto"} if "conv_form" in defaults(config.model.name) else {}
    return create_model(precision=config.train.precision, **{**fast, **config.model})


def build(
    config: Any, *, devices: int = 0, read: Callable[[Any, str], Dataset] | None = None
) -> Experiment:
    """Loads the data and builds the network, the optimizer and the schedule of a config.

    Args:
      config: of the run.
      devices: that share each batch (0: all there are; of a batch that is smaller, as many as
        divide it).
      read: stands in for `load`.

    Raises:
      UsageError: entries that are out of their range, or do not fit each other or the data.
    """
    read = read or load
    check_ranges(flatten(config))
    model = build_model(config)
    train_loss, eval_loss = build_losses(config)
    train_data = read(config, config.data.train)
    eval_data = {
        name: read(config, config.data[name])
        for name in ("validation", "test")
        if config.data[name]
    }
    for name, data in eval_data.items():
        check_same(data.class_names, train_data.class_names, f"data.{name}", "data.train")
    size, batch_size = len(train_data), config.train.batch_size
    if not 1 <= batch_size <= size:
        raise UsageError(f"train.batch_size {batch_size} is not within 1..{size}, the training set")

    alone = config.parallel.mode == "dp" and jax.process_count() == 1
    if alone and not devices and batch_size < jax.device_count():
        devices = most_devices(config)
        say(f"a batch of {batch_size} is on {devices} of {jax.device_count()} devices")
    layout = Layout(**config.parallel, devices=devices, model=model)
    layout.check_batch("train.batch_size", batch_size, config.train.accumulate)
    _check_size(config, model, train_loss, size, len(train_data.class_names))

    in_steps = partial(to_steps, batch_size=batch_size, examples=size)
    statistics = load_photo_statistics(config)
    preprocess = build_preprocess(config, in_steps, statistics)
    inputs = jax.eval_shape(preprocess, blank_image(train_data), None)
    check_inputs(model.input_shape, inputs.shape[1:])
    _check_layers(config, model, inputs.shape)
    optimizer = build_optimizer(config, size, turns=layout.turns)
    if optimizer.curvature and not isinstance(model, Network1998):
        raise UsageError(f"optimizer 'sdlm' trains the networks of 1998, not '{config.model.name}'")
    schedule = _build_schedule(config, optimizer, in_steps)
    order = Order(
        config.seed, size * config.data.variants, batch_size, reshuffle=config.data.reshuffle
    )
    views = build_views(config, statistics=statistics)
    scores = make_scores(model, preprocess, views, layout.forward)
    return Experiment(
        model, preprocess, train_loss, eval_loss, optimizer, schedule, order, scores,
        layout, train_data, eval_data, in_steps, statistics,
    )  # fmt: skip


def _check_size(config: Any, model: Any, loss: Loss, size: int, classes: int) -> None:
    """Raises UsageError if the network, the loss or the variants do not fit so much data."""
    if model.num_classes != classes:
        raise UsageError(f"model.num_classes {model.num_classes} is not the data's {classes}")
    weights = loss.class_weights
    if weights and len(weights) != classes:
        raise UsageError(
            f"train.loss.class_weights has {len(weights)} numbers for {classes} classes"
        )
    if size * config.data.variants > LONGEST:
        raise UsageError(f"data.variants {config.data.variants} of {size:,} images are too many")


def _check_layers(config: Any, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Raises UsageError if the optimizer names a layer that the network does not have."""
    named = {option: config.optimizer.get(option) or () for option in ("layers", "layer_decay")}
    if not any(named.values()):
        return
    rngs = {"params": jax.random.key(0)}
    params = jax.eval_shape(model.init, rngs, jax.ShapeDtypeStruct(shape, np.float32))["params"]
    for option, names in named.items():
        for name in set(names) - set(params):
            hint = nearest(name, params)
            raise UsageError(f"optimizer.{option} names '{name}', no layer of the network: {hint}")


def _build_schedule(config: Any, optimizer: Optimizer, in_steps: Callable[[str], int]) -> Schedule:
    """The intervals of a config in steps; UsageError if they do not fit the optimizer."""
    schedule = Schedule(
        total=in_steps(config.train.duration),
        log=in_steps(config.train.log_every),
        evaluate=in_steps(config.eval.every),
        save=in_steps(config.checkpoint.every),
        refresh=optimizer.curvature.every if optimizer.curvature else 0,
        per_dispatch=config.train.steps_per_dispatch,
    )
    if optimizer.observe:
        check_validation(config, "optimizer.plateau")
        if not schedule.evaluate:
            raise UsageError("optimizer.plateau needs evaluations: eval.every is 0 steps")
    if not schedule.log or not schedule.total:
        raise UsageError("train.log_every and train.duration must be more than 0 steps")
    return schedule


def blank_image(data: Dataset) -> np.ndarray:
    """One image of the data's shape, in a batch."""
    return np.zeros((1, *data.image_shape), np.uint8)


def build_optimizer(config: Any, examples: int, *, turns: int = 1) -> Optimizer:
    """The optimizer of a config, for a training set of so many examples; `turns`: of a layout."""
    in_steps = partial(to_steps, batch_size=config.train.batch_size, examples=examples)
    return create_optimizer(
        total_steps=in_steps(config.train.duration),
        to_steps=in_steps,
        batch_size=config.train.batch_size,
        turns=turns,
        back_off=bool(config.train.back_off),
        **config.optimizer.to_dict(),
    )


def build_losses(config: Any) -> tuple[Loss, Loss]:
    """The loss that is trained, and the same without smoothing or weights to evaluate with."""
    options = config.train.loss.to_dict()
    training = ("label_smoothing", "class_weights")
    plain = {name: value for name, value in options.items() if name not in training}
    return create_loss(**options), create_loss(**plain)


def build_preprocess(
    config: Any, to_steps: Callable[[str], int] | None = None, statistics: Statistics | None = None
) -> Preprocess:
    """The preprocessing of a config's `data` section; `to_steps` is for training alone.

    `statistics` stand in for those of the prepared data.
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
        mean=data.mean, std=data.std, pad=data.pad,
        interpolation=data.interpolation, distort=data.distort.to_dict(),
    )  # fmt: skip


def build_views(
    config: Any, views: int = 0, statistics: Statistics | None = None
) -> Callable[[Any], Any] | None:
    """The `views` (0: the config's own number) of an image that are evaluated; None for one.

    `statistics` stand in for those of the prepared data.
    """
    views = views or config.eval.views
    if views == 1:
        return None
    if views != 10 or "photo" not in config.data:
        raise UsageError(f"eval.views {views}: 1, or 10 for photos")
    photo = config.data.photo
    return create_views(
        image_size=config.data.image_size,
        crop=photo.crop,
        mean=photo.mean,
        std=photo.std,
        statistics=statistics or load_photo_statistics(config),
    )


def load_photo_statistics(config: Any) -> Statistics | None:
    """Mean image and colours of the prepared training images, where the config wants them."""
    if "photo" not in config.data:
        return None
    photo = config.data.photo
    if photo.mean == "none" and not photo.colour_noise:
        return None
    return load_statistics(config.data.name, config.data.data_dir)


def load(config: Any, split: str) -> Dataset:
    """One split of a config's data."""
    data = config.data
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
