"""Losses per example, and how a network's outputs rank the classes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lenet_alexnet.errors import UsageError, nearest

Loss = Callable[[Float[Array, "b k"], Int[Array, "b"]], Float[Array, "b"]]


def create_loss(*, name: str, label_smoothing: float = 0.0) -> Loss:
    """The loss of a config's `train.loss` section.

    Raises:
      UsageError: an unknown name, with the nearest valid one.
    """
    losses: dict[str, Loss] = {
        "softmax": lambda logits, labels: softmax_cross_entropy(
            logits, labels, label_smoothing=label_smoothing
        ),
    }
    if name not in losses:
        raise UsageError(f"unknown train.loss.name '{name}': {nearest(name, losses)}")
    return losses[name]


def softmax_cross_entropy(
    logits: Float[Array, "b k"], labels: Int[Array, "b"], *, label_smoothing: float = 0.0
) -> Float[Array, "b"]:
    """-log p(label) in nats; smoothing spreads that share of the target over all classes."""
    log_probs = jax.nn.log_softmax(logits)
    hit = jnp.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0]
    return -(1 - label_smoothing) * hit - label_smoothing * log_probs.mean(-1)
