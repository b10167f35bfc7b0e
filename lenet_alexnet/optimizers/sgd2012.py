"""Gradient descent as AlexNet used it (Krizhevsky et al. 2012, sec. 5), and LARS for large batches.

Layers are the first level of the parameters: {"conv1": {"kernel": ..., "bias": ...}, ...}.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Rates = Callable[[jax.Array], Any]  # completed steps -> a rate for each parameter


class SgdState(NamedTuple):
    """Completed steps, and the velocity of every parameter."""

    steps: jax.Array
    velocity: Any


def is_bias(path: tuple[Any, ...]) -> bool:
    """Biases (and the scale of batch normalisation) by name: towers give them two axes."""
    return path[-1].key != "kernel"


def sgd2012(
    rates: Rates,
    *,
    momentum: Any = 0.9,
    weight_decay: Any = 0.0005,
    bias_decay: bool = True,
    layer_decay: Mapping[str, Any] | None = None,
) -> optax.GradientTransformation:
    """The update of 2012: v <- 0.9 v - 0.0005 rate w - rate g; w <- w + v.

    The rate is inside the velocity: unlike in optax.sgd, a drop does not shrink the old velocity.
    The decay uses the weight before the step.

    Args:
      rates: (completed steps) -> a tree like the parameters', or a prefix of it.
      momentum: 0.9.
      weight_decay: 0.0005.
      bias_decay: whether biases decay too. The paper does not mention them; in the source their
        decay is 0 (layers-145.cfg, wc only for weights).
      layer_decay: the decay of each layer whose decay differs from `weight_decay`.
    """
    decays = layer_decay or {}

    def init(params: Any) -> SgdState:
        return SgdState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(gradients: Any, state: SgdState, params: Any) -> tuple[Any, SgdState]:
        rate = rates(state.steps)

        def move(path: Any, v: Any, w: Any, g: Any) -> Any:
            own = _at(rate, path)
            decay = decays.get(path[0].key, weight_decay)
            if is_bias(path) and not bias_decay:
                decay = 0.0
            return momentum * v - decay * own * w - own * g

        velocity = jax.tree_util.tree_map_with_path(move, state.velocity, params, gradients)
        return velocity, SgdState(state.steps + 1, velocity)

    return optax.GradientTransformation(init, update)


def _at(rate: Any, path: tuple[Any, ...]) -> Any:
    """The rate of one parameter: `rate` itself, or its entry by layer and "bias" or "kernel"."""
    if isinstance(rate, dict):
        layer = path[0].key if path[0].key in rate else ""
        return rate[layer]["bias" if is_bias(path) else "kernel"]
    return rate


def lars(
    rate: optax.Schedule,
    *,
    eta: Any = 0.001,
    momentum: Any = 0.9,
    weight_decay: Any = 0.0005,
) -> optax.GradientTransformation:
    """LARS by Algorithm 1 of You, Gitman, Ginsburg (2017): v <- m v + rate local (g + beta w);
    w <- w - v, with local = eta |w| / (|g| + beta |w|) for each layer's weights.

    A layer's kernel is a single one, over both towers. Departure: biases and the parameters of
    batch normalisation have local = 1 and no decay; the algorithm covers only layers' weights.
    """

    def init(params: Any) -> SgdState:
        return SgdState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(gradients: Any, state: SgdState, params: Any = None) -> tuple[Any, SgdState]:
        now = rate(state.steps)

        def move(path: Any, v: Any, w: Any, g: Any) -> Any:
            if is_bias(path):
                return momentum * v + now * g
            size, slope = jnp.linalg.norm(w.ravel()), jnp.linalg.norm(g.ravel())
            below = slope + weight_decay * size
            local = jnp.where(below > 0, eta * size / jnp.where(below > 0, below, 1.0), 1.0)
            return momentum * v + now * local * (g + weight_decay * w)

        velocity = jax.tree_util.tree_map_with_path(move, state.velocity, params, gradients)
        return jax.tree.map(jnp.negative, velocity), SgdState(state.steps + 1, velocity)

    return optax.GradientTransformation(init, update)
