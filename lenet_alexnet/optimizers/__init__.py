"""Optimizers and schedules by config: the one factory of a config's `optimizer` section."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.optimizers.schedules import create_schedule
from lenet_alexnet.optimizers.sdlm import sdlm as make_sdlm

Number = float | jax.Array  # a sweep carries numbers as traced ones


class CurvatureOptions(NamedTuple):
    """When the curvature is estimated anew (in steps), on how many examples, and its mu."""

    every: int
    examples: int
    mu: Number


class Optimizer(NamedTuple):
    """An optimizer, its rate as a function of the completed steps, and its curvature, if any."""

    tx: optax.GradientTransformation
    rate: optax.Schedule
    curvature: CurvatureOptions | None = None


def create_optimizer(
    *, name: str, learning_rate: Number, schedule: Mapping[str, Any], total_steps: int,
    to_steps: Callable[[str], int], curvature: Mapping[str, Any] | None = None, **options: Any,
) -> Optimizer:  # fmt: skip
    """The optimizer of a config.

    Args:
      name: sgd | adam | adamw | sdlm.
      learning_rate: the schedule's peak.
      schedule: its shape, see `create_schedule`.
      total_steps: the length of the run.
      to_steps: turns "3 epochs" into steps.
      curvature: for sdlm: `every` (an interval), on so many `examples`.
      **options: the named optimizer's own numbers.

    Raises:
      UsageError: an unknown name or option, with the nearest valid one.
    """
    makers: dict[str, Callable[..., optax.GradientTransformation]] = {
        "sgd": _sgd,
        "adam": _adam,
        "adamw": _adamw,
        "sdlm": make_sdlm,
    }
    if name not in makers:
        raise UsageError(f"unknown optimizer.name '{name}': {nearest(name, makers)}")
    known = set(inspect.signature(makers[name]).parameters) - {"rate", "learning_rate"}
    for option in options.keys() - known:
        raise UsageError(f"optimizer '{name}' has no option '{option}': {nearest(option, known)}")
    rate = create_schedule(
        learning_rate=learning_rate, total_steps=total_steps, to_steps=to_steps, **schedule
    )
    if (name == "sdlm") != (curvature is not None):
        needs = "needs" if name == "sdlm" else "has no"
        raise UsageError(f"optimizer '{name}' {needs} optimizer.curvature (every, examples)")
    tx = makers[name](rate, **options)
    if curvature is None:
        return Optimizer(tx, rate)
    every = to_steps(curvature["every"])
    return Optimizer(tx, rate, CurvatureOptions(every, curvature["examples"], options["mu"]))


def _sgd(
    rate: optax.Schedule, *, momentum: Number = 0.0, nesterov: bool = False,
    weight_decay: Number = 0.0,
) -> optax.GradientTransformation:  # fmt: skip
    # Without momentum there is no velocity in the state; a traced momentum is not 0.
    velocity = momentum if isinstance(momentum, jax.Array) or momentum else None
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=_kernels),
        optax.sgd(rate, momentum=velocity, nesterov=nesterov),
    )


def _adam(
    rate: optax.Schedule, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
    return optax.adam(rate, b1, b2, eps)


def _adamw(
    rate: optax.Schedule, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8,
    weight_decay: Number = 1e-4,
) -> optax.GradientTransformation:  # fmt: skip
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=_kernels)


def _kernels(params: Any) -> Any:
    """Weight decay is for kernels; biases are left alone."""
    return jax.tree.map(lambda p: p.ndim > 1, params)
