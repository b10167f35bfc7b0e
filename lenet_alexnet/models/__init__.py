"""The networks, and the one factory that a config's `model` section goes through."""

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.models.lenet import ACTIVATIONS, LeNet5
from lenet_alexnet.models.lenet_1998 import LeNet1, LeNet5_1998, Network1998

__all__ = ["MODELS", "Network1998", "create_model", "features"]

MODELS: dict[str, type[nn.Module]] = {
    "lenet5": LeNet5,
    "lenet5_1998": LeNet5_1998,
    "lenet1": LeNet1,
}
BIAS_INITS = ("weights", "zero")
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def create_model(*, name: str, precision: str = "float32", **options: Any) -> nn.Module:
    """Builds a network from its name and options (`activation`, `num_classes`, ...).

    `precision` is the type of the activations; parameters and outputs stay float32.

    Raises:
      UsageError: an unknown name, option or value, with the nearest valid one.
    """
    if name not in MODELS:
        raise UsageError(f"unknown model.name '{name}': {nearest(name, MODELS)}")
    if precision not in DTYPES:
        raise UsageError(f"unknown precision '{precision}': {nearest(precision, DTYPES)}")
    known = set(inspect.signature(MODELS[name]).parameters) - {"name", "parent", "dtype"}
    for option in options.keys() - known:
        raise UsageError(f"model '{name}' has no option '{option}': {nearest(option, known)}")
    for option, values in (("activation", ACTIVATIONS), ("bias_init", BIAS_INITS)):
        if option in options and options[option] not in values:
            wrong = options[option]
            raise UsageError(f"unknown model.{option} '{wrong}': {nearest(wrong, values)}")
    return MODELS[name](dtype=DTYPES[precision], **options)


def features(model: nn.Module, params: Any, images: jax.Array) -> dict[str, jax.Array]:
    """The output of every layer for normalised images, by the layer's name in the paper."""
    _, state = model.apply({"params": params}, images, capture_intermediates=True)
    captured = state["intermediates"]
    return {name: value["__call__"][0] for name, value in captured.items() if name != "__call__"}
