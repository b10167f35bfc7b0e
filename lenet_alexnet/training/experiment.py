"""Builds what a config describes: the network, the data, the optimizer, the schedule."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from lenet_alexnet.config.checks import check_inputs, check_validation
from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.data import Dataset
from lenet_alexnet.data.class_names import check_same
from lenet_alexnet.data.order import Order, epoch_order
from lenet_alexnet.data.preprocess.digits import Preprocess
from lenet_alexnet.data.preprocess.statistics import Statistics
from lenet_alexnet.errors import Problems, UsageError
from lenet_alexnet.losses import Loss
from lenet_alexnet.ops import ConvForm
from lenet_alexnet.optimizers import Optimizer
from lenet_alexnet.runtime.console import say
from lenet_alexnet.training.builders import (
    auto_weights,
    blank_image,
    build_losses,
    build_model,
    build_observe,
    build_optimizer,
    build_preprocess,
    build_views,
    load,
    load_photo_statistics,
)
from lenet_alexnet.training.checking import (
    check_alone,
    check_curvature,
    check_layers,
    check_size,
)
from lenet_alexnet.training.layout import Layout, most_devices
from lenet_alexnet.training.observed import Observe
from lenet_alexnet.training.schedule import Schedule
from lenet_alexnet.training.scoring import Scores, make_scores
from lenet_alexnet.training.sharded_forward import sharded_forward

SELECTS = "validation"  # The split whose error chooses the best checkpoint and drives a plateau.
FAR = 2**32  # Training has fewer epochs: orders from here on serve other uses.


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a config describes, built."""

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
    in_steps: Callable[[str], int]  # a duration -> steps
    statistics: Statistics | None  # of the training photos, if the config uses them
    observe: Observe | None  # what is logged of each layer, if the config asks for it

    @property
    def blank(self) -> np.ndarray:
        """A batch of one zero image of the data's shape, for initialisation."""
        return blank_image(self.train_data)

    @property
    def curve(self) -> list[str]:
        """The split that is evaluated during training: validation, else test, else none.

        The test split never selects anything.
        """
        return [name for name in (SELECTS, "test") if name in self.eval_data][:1]

    @property
    def steps_per_epoch(self) -> float:
        """A fraction if the batch size does not divide the data."""
        return len(self.train_data) / self.order.batch_size

    def curvature_index(self, step: int) -> np.ndarray:
        """The training examples on which the curvature is estimated before `step`."""
        assert self.optimizer.curvature is not None
        count = self.optimizer.curvature.examples
        return epoch_order(self.order.seed, FAR + step // self.schedule.refresh, self.order.size)[
            :count
        ]

    def rate(self, step: int) -> float:
        """The learning rate after `step` completed steps."""
        with jax.transfer_guard("allow"):
            return float(self.optimizer.rate(step))


def build(
    config: Any,
    *,
    devices: int = 0,
    read: Callable[[Any, str], Dataset] | None = None,
    model: nn.Module | None = None,
    form: ConvForm = "auto",
) -> Experiment:
    """Loads the data and builds the network, the optimizer and the schedule of a config.

    Args:
      config: of the run.
      devices: how many share each batch (0: all; if the batch is smaller, as many as divide it).
      read: replaces `load`.
      model: replaces the network that the config describes.
      form: of its convolutions, unless the config sets `model.conv_form`.

    Raises:
      UsageError: entries are out of range, or do not fit each other or the data.
    """
    read = read or load
    problems = check_alone(config, model)
    train_data, eval_data = _read_data(config, read, problems)
    size = len(train_data)
    in_steps = partial(to_steps, batch_size=config.train.batch_size, examples=size)
    with problems.noting():
        train_loss, eval_loss = build_losses(config, auto_weights(config, train_data))
    with problems.noting():
        model = model or build_model(config, form)
    with problems.noting():
        check_size(config, model, train_loss, size, len(train_data.class_names))
    with problems.noting():
        layout = _build_layout(config, model, devices)
    with problems.noting():
        statistics = load_photo_statistics(config, train_data)
        preprocess = build_preprocess(config, in_steps, statistics)
        _check_inputs(model, preprocess, train_data)
        views = build_views(config, statistics=statistics)
    with problems.noting():
        check_layers(config, model)
        optimizer = build_optimizer(config, size, dense_updates=layout.dense_updates)
        check_curvature(config, optimizer, model)
        schedule = _build_schedule(config, optimizer, in_steps)
    problems.report()
    return Experiment(
        model=model,
        preprocess=preprocess,
        train_loss=train_loss,
        eval_loss=eval_loss,
        optimizer=optimizer,
        schedule=schedule,
        order=_build_order(config, size),
        scores=make_scores(model, preprocess, views, partial(sharded_forward, layout)),
        layout=layout,
        train_data=train_data,
        eval_data=eval_data,
        in_steps=in_steps,
        statistics=statistics,
        observe=build_observe(config, every=schedule.log, total=schedule.total),
    )


def _check_inputs(model: nn.Module, preprocess: Preprocess, train_data: Dataset) -> None:
    """Raises UsageError if the preprocessed images are not of the network's size."""
    inputs = jax.eval_shape(preprocess, blank_image(train_data), None)
    check_inputs(model.input_shape, inputs.shape[1:])


def _read_data(
    config: Any, read: Callable[[Any, str], Dataset], problems: Problems
) -> tuple[Dataset, dict[str, Dataset]]:
    """The training data, and the data of each evaluated split.

    Raises UsageError, with the `problems` known so far, for a split that is not there.
    """
    if "photo" in config.data:
        problems.report()  # Reading photos takes long.
    splits: dict[str, Dataset] = {}
    with problems.noting():
        splits = {
            name: read(config, config.data[name])
            for name in ("train", "validation", "test")
            if config.data[name] or name == "train"
        }
    if not splits:
        problems.report()
    train_data = splits["train"]
    eval_data = {name: data for name, data in splits.items() if name != "train"}
    for name, data in eval_data.items():
        check_same(data.class_names, train_data.class_names, f"data.{name}", "data.train")
    return train_data, eval_data


def _build_order(config: Any, size: int) -> Order:
    """The order of a training set of `size` images and their variants."""
    examples, reshuffle = size * config.data.variants, config.data.reshuffle
    return Order(config.seed, examples, config.train.batch_size, reshuffle=reshuffle)


def _build_layout(config: Any, model: nn.Module, devices: int) -> Layout:
    """The layout of a config; UsageError if its batch cannot be cut evenly."""
    batch_size = config.train.batch_size
    alone = config.parallel.mode == "dp" and jax.process_count() == 1
    if alone and not devices and 0 < batch_size < jax.device_count():
        devices = most_devices(config)
        say(f"a batch of {batch_size} is on {devices} of {jax.device_count()} devices")
    layout = Layout(**config.parallel, devices=devices, model=model)
    layout.check_batch("train.batch_size", batch_size, config.train.accumulate)
    return layout


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
