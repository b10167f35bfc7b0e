"""The rule "divide by 10 when the validation error stalls" (Krizhevsky et al. 2012, sec. 5)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class PlateauState(NamedTuple):
    """The share of the rate that is left, and the history of the error."""

    share: jax.Array
    best: jax.Array
    stalled: jax.Array  # evaluations since the best one
    drops: jax.Array


class WithPlateau(NamedTuple):
    """An optimizer's state and the plateau's state."""

    inner: Any
    plateau: PlateauState


def with_plateau(
    make: Any,
    *,
    patience: int = 3,
    min_improvement: float = 0.001,
    factor: float = 0.1,
    drops: int = 3,
) -> tuple[optax.GradientTransformation, Any]:
    """An optimizer whose rate drops when the error stalls, and a function that takes the error.

    Args:
      make: (share of the rate) -> the optimizer.
      patience: evaluations without a new best before a drop.
      min_improvement: by how much an error must fall to count as better.
      factor: a drop multiplies the rate by this; 0.1 in the paper.
      drops: the largest number of drops; 3 in the paper.

    Returns the optimizer and `observe(opt_state, error) -> opt_state`, both pure.
    """

    def init(params: Any) -> WithPlateau:
        zero = jnp.zeros((), jnp.int32)
        plateau = PlateauState(jnp.ones(()), jnp.full((), jnp.inf), zero, zero)
        return WithPlateau(make(1.0).init(params), plateau)

    def update(gradients: Any, state: WithPlateau, params: Any = None) -> tuple[Any, WithPlateau]:
        updates, inner = make(state.plateau.share).update(gradients, state.inner, params)
        return updates, WithPlateau(inner, state.plateau)

    def observe(state: WithPlateau, error: Any) -> WithPlateau:
        old = state.plateau
        better = error < old.best - min_improvement
        stalled = jnp.where(better, 0, old.stalled + 1)
        drop = (stalled >= patience) & (old.drops < drops)
        plateau = PlateauState(
            jnp.where(drop, old.share * factor, old.share),
            jnp.where(better, error, old.best),
            jnp.where(drop, 0, stalled),
            old.drops + drop,
        )
        return WithPlateau(state.inner, plateau)

    return optax.GradientTransformation(init, update), observe
