"""Learning rates as functions of the completed steps."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array

from lenet_alexnet.errors import UsageError, nearest

SHAPES = ("constant", "steps", "piecewise", "linear", "polynomial", "cosine", "dexp")
WITH_RUN = ("linear", "polynomial", "cosine", "dexp")  # Their rates depend on the run's length.


def create_schedule(
    *,
    name: str,
    learning_rate: float | Array,
    total_steps: int,
    to_steps: Callable[[str], int],
    warmup: str = "0 steps",
    final: float | Array = 0.0,
    boundaries: Sequence[str] = (),
    factor: float | Array = 0.1,
    values: Sequence[float | Array] = (),
    power: float | Array = 2.0,
    parts: int = 4,
) -> optax.Schedule:
    """A schedule of the config's `optimizer.schedule` section.

    Args:
      name: constant | steps | piecewise | linear | polynomial | cosine | dexp; cosine with a
        warm-up is the one-cycle rule, dexp is piecewise constant (lr.cu of the 2012 source).
      learning_rate: the peak.
      total_steps: where linear and cosine end.
      to_steps: turns "3 epochs" into steps.
      warmup: length of the linear rise from 0.
      final: where linear and cosine end, as a share of the peak.
      boundaries: when the rate changes. In steps it is multiplied by `factor`; in piecewise it
        becomes the next of `values` (shares of the peak, one more than boundaries).
      factor: for dexp, the peak divided by the last rate.
      power: of polynomial: (1 - done)^power.
      parts: of dexp: the number of equal parts of the run, each with a constant rate.

    Raises:
      UsageError: an unknown name, or values that do not fit the boundaries.
    """
    _check(name, boundaries, values)
    rise, drops = to_steps(warmup), [to_steps(boundary) for boundary in boundaries]

    def schedule(step: Array | int) -> Array:
        done = jnp.clip((step - rise) / max(total_steps - rise, 1), 0.0, 1.0)
        passed = sum(jnp.where(step >= drop, 1, 0) for drop in drops)
        shapes: dict[str, Callable[[], Any]] = {
            "constant": lambda: 1.0,
            "steps": lambda: jnp.power(factor, passed),
            "piecewise": lambda: jnp.asarray(values, jnp.float32)[passed],
            "linear": lambda: final + (1 - final) * (1 - done),
            "polynomial": lambda: final + (1 - final) * (1 - done) ** power,
            "dexp": lambda: jnp.power(
                factor, -jnp.minimum(jnp.floor(done * parts), parts - 1) / max(parts - 1, 1)
            ),
            "cosine": lambda: final + (1 - final) * (1 + jnp.cos(jnp.pi * done)) / 2,
        }
        # A warm-up starts above 0: a rate of 0 would waste step 0.
        warm = jnp.minimum((step + 1) / (rise + 1), 1.0)
        return learning_rate * warm * shapes[name]()

    return schedule


def _check(name: str, boundaries: Sequence[str], values: Sequence[Any]) -> None:
    if name not in SHAPES:
        raise UsageError(f"unknown optimizer.schedule.name '{name}': {nearest(name, SHAPES)}")
    if name == "piecewise" and len(values) != len(boundaries) + 1:
        raise UsageError(
            f"optimizer.schedule has {len(values)} values, {len(boundaries)} boundaries need "
            f"{len(boundaries) + 1}"
        )
