"""Checks of a config: what needs no data, and what has to fit the data."""

from typing import Any

import flax.linen as nn

from lenet_alexnet.config import flatten
from lenet_alexnet.config.checks import LONGEST, check_ranges
from lenet_alexnet.config.durations import to_steps
from lenet_alexnet.config.options import setting
from lenet_alexnet.errors import Problems, UsageError, nearest
from lenet_alexnet.losses import Loss
from lenet_alexnet.models import Network1998, layer_names
from lenet_alexnet.optimizers import Optimizer
from lenet_alexnet.training.builders import build_losses, build_model, build_optimizer

LENGTHS = ("train.duration", "train.log_every", "eval.every", "checkpoint.every")


def check_alone(
    config: Any, model: nn.Module | None = None, problems: Problems | None = None
) -> Problems:
    """What is wrong with a config without a look at its data; it is not raised.

    Args:
      config: of a run.
      model: replaces the network that the config describes.
      problems: what is known to be wrong already.
    """
    problems, flat = problems or Problems(), flatten(config)
    with problems.noting():
        check_ranges(flat)
    if model is None:
        with problems.noting():
            build_model(config)
    with problems.noting():
        build_losses(config)
    batch_size = config.train.batch_size
    if batch_size >= 1:  # An epoch has at least one step; `check_size` reports other sizes.
        for key in LENGTHS:
            with problems.noting():
                to_steps(flat[key], batch_size=batch_size, examples=batch_size)
        with problems.noting():
            _by_layer(config)
            build_optimizer(config, batch_size, total_steps=1)
    return problems


def check_curvature(config: Any, optimizer: Optimizer, model: nn.Module) -> None:
    """Raises UsageError if an optimizer needs a curvature that the network does not have."""
    if optimizer.curvature and not isinstance(model, Network1998):
        raise UsageError(f"optimizer 'sdlm' trains the networks of 1998, not '{config.model.name}'")


def check_size(config: Any, model: nn.Module | None, loss: Loss, size: int, classes: int) -> None:
    """Raises UsageError if the batch, the network, the loss or the variants do not fit the data.

    `model` is None if the network could not be built.
    """
    problems, weights = Problems(), loss.class_weights
    batch_size = config.train.batch_size
    if not 1 <= batch_size <= size:
        problems.lines += [
            f"train.batch_size {batch_size} is not within 1..{size}, the training set"
        ]
    outputs = model.num_classes if model else config.model.get("num_classes", classes)
    if outputs != classes:
        problems.lines += [f"model.num_classes {outputs} is not the data's {classes}"]
    if weights and len(weights) != classes:
        problems.lines += [
            f"train.loss.class_weights has {len(weights)} numbers for {classes} classes"
        ]
    if size * config.data.variants > LONGEST:
        problems.lines += [f"data.variants {config.data.variants} of {size:,} images are too many"]
    problems.report()


def _by_layer(config: Any) -> dict[str, Any]:
    """The entries of the optimizer that are dicts by layer; UsageError if one is no dict."""
    options = ("layers", "layer_decay", "layer_rate")
    named = {f"optimizer.{option}": config.optimizer.get(option) or {} for option in options}
    for key, names in named.items():
        if not hasattr(names, "items"):
            raise UsageError(f"{key} {names!r} is no dict by layer")
    return named


def check_layers(config: Any, model: nn.Module) -> None:
    """Raises UsageError if an entry names an unknown layer, or `train.freeze` all layers."""
    named = _by_layer(config)
    frozen = setting(config, "train.freeze")
    if not frozen and not any(named.values()):
        return
    layers = layer_names(model)
    for key, names in (*named.items(), ("train.freeze", frozen)):
        for name in names:
            if name not in layers:
                hint = nearest(str(name), layers)
                raise UsageError(f"{key} names '{name}', no layer of the network: {hint}")
    if set(layers) <= set(frozen):
        raise UsageError("train.freeze names every layer: nothing is left to train")
