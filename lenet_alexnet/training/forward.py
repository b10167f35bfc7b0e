"""The network's forward pass on one device, in testing and in training."""

from typing import Any, cast

import flax.linen as nn
from jaxtyping import Array, Float, Key


def forward(model: nn.Module, variables: Any, x: Array) -> Float[Array, "b k"]:
    """The network's outputs, as in testing."""
    return cast(Array, model.apply(variables, x))


def forward_train(
    model: nn.Module, variables: Any, x: Array, key: Key[Array, ""], **options: Any
) -> tuple[Float[Array, "b k"], Any]:
    """Outputs as in training, and new batch statistics.

    A "dropout" stream puts the network into training mode. `options` are those of the network,
    such as AlexNet's `part`.
    """
    out, changed = model.apply(
        variables, x, rngs={"dropout": key}, mutable=["batch_stats"], **options
    )
    return out, changed.get("batch_stats", {})
