"""`create_optimizer`: the optimizer and schedule of a config's `optimizer` section."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import optax

from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.optimizers.layer_rate import scale_layers
from lenet_alexnet.optimizers.makers import MAKERS, Number, own_options
from lenet_alexnet.optimizers.plateau import with_plateau
from lenet_alexnet.optimizers.schedules import create_schedule


@dataclass(frozen=True, kw_only=True)
class CurvatureOptions:
    """How often the curvature is estimated (in steps), on how many examples; mu and E's factor."""

    every: int
    examples: int
    mu: Number
    energy: Number


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer and what the training loop needs to know about it.

    Attributes:
      tx: the optax transformation.
      rate: the learning rate as a function of the completed steps.
      curvature: options of the second derivatives of 1998; None if they are not used.
      observe: (opt_state, validation error) -> opt_state, if the rate depends on that error.
      note: a line to log at the start, "" for none.
      dense_tx: of AlexNet's dense layers, if they are updated after each turn of a batch.
    """

    tx: optax.GradientTransformation
    rate: optax.Schedule
    curvature: CurvatureOptions | None = None
    observe: Callable[[Any, Any], Any] | None = None
    note: str = ""
    dense_tx: optax.GradientTransformation | None = None


def create_optimizer(
    *,
    name: str,
    learning_rate: Number,
    schedule: Mapping[str, Any],
    total_steps: int,
    to_steps: Callable[[str], int],
    curvature: Mapping[str, Any] | None = None,
    plateau: Mapping[str, Any] | None = None,
    back_off: bool = False,
    clip: float = 0.0,
    layer_rate: Mapping[str, Any] | None = None,
    batch_size: int = 1,
    dense_updates: int = 1,
    scale_rule: str = "none",
    base_batch: int = 128,
    **options: Any,
) -> Optimizer:
    """The optimizer of a config.

    Args:
      name: sgd | sgd2012 | lars | adam | adamw | sdlm.
      learning_rate: the schedule's peak.
      schedule: its shape, see `create_schedule`.
      total_steps: the length of the run.
      to_steps: turns "3 epochs" into steps.
      curvature: for sdlm: `every` (an interval), and the number of `examples`.
      plateau: drops of the rate when the validation error stalls, see `plateau.with_plateau`.
      back_off: keep the share of the rate in the state, as for a plateau, but never drop it.
      clip: largest norm of the whole gradient; 0: no limit.
      layer_rate: by layer, a factor of its rates, for weights and biases.
      batch_size: of the run; with `scale_rule` linear or sqrt the rates are multiplied by
        (batch_size / base_batch) to the power 1 or 1/2.
      dense_updates: how often a batch updates the dense layers, see `turn_update.TurnUpdate`; for
        these the rule then uses the size of a part.
      **options: options of the named optimizer.

    Raises:
      UsageError: an unknown name or option, with the nearest valid one.
    """
    known = _check(name, options, curvature, bool(plateau and back_off))
    maker = MAKERS[name]
    if name == "sgd2012":
        maker = partial(maker, to_steps=to_steps)
    create = partial(
        _create_for_batch,
        maker=partial(_chain, maker, options, clip, layer_rate or {}),
        learning_rate=partial(scale_rate, learning_rate, scale_rule, base_batch),
        schedule=partial(create_schedule, total_steps=total_steps, to_steps=to_steps),
        shape=schedule,
        bias_shape=options.get("bias_schedule"),
        plateau=plateau,
        back_off=back_off,
    )
    optimizer = create(batch_size)
    if dense_updates > 1:
        optimizer = _with_dense(optimizer, create(batch_size // dense_updates))
    if curvature is None:
        return optimizer
    return replace(optimizer, curvature=_curvature_options(curvature, known | options, to_steps))


def _chain(
    maker: Callable[..., optax.GradientTransformation],
    options: Mapping[str, Any],
    clip: float,
    layer_rate: Mapping[str, Any],
    rate: optax.Schedule,
    bias_rate: optax.Schedule | None,
    share: Any,
) -> optax.GradientTransformation:
    """A named optimizer at `share` of its rates, between the clip and the layers' factors."""
    # A plateau and back-off lower every rate, including that of the biases.
    biases = {"bias_schedule": lambda step: share * bias_rate(step)} if bias_rate else {}
    tx = maker(lambda step: share * rate(step), **{**options, **biases})
    links = [optax.clip_by_global_norm(clip)] if clip else []
    links += [tx, *([scale_layers(layer_rate)] if layer_rate else [])]
    return optax.chain(*links) if len(links) > 1 else tx


def _create_for_batch(
    batch_size: int,
    *,
    maker: Callable[..., optax.GradientTransformation],
    learning_rate: Callable[[int], tuple[Number, str]],
    schedule: Callable[..., optax.Schedule],
    shape: Mapping[str, Any],
    bias_shape: Mapping[str, Any] | None,
    plateau: Mapping[str, Any] | None,
    back_off: bool,
) -> Optimizer:
    """The optimizer, with its rate scaled for a batch size.

    Args:
      batch_size: what the rate is scaled for.
      maker: (rate, the biases' rate or None, share of the rates) -> optax transformation.
      learning_rate: (batch size) -> rate and note, see `scale_rate`.
      schedule: (peak, shape) -> `create_schedule` for this run.
      shape, bias_shape: of the schedule, and of the biases' schedule if it differs.
      plateau, back_off: see `create_optimizer`.
    """
    scaled, note = learning_rate(batch_size)
    rate = schedule(learning_rate=scaled, **shape)
    bias_rate = schedule(learning_rate=scaled, **bias_shape) if bias_shape else None
    make = partial(maker, rate, bias_rate)
    if plateau:
        tx, observe = with_plateau(make, **plateau)
        return Optimizer(tx=tx, rate=rate, observe=observe, note=note)
    tx = _with_share(make) if back_off else make(1)
    return Optimizer(tx=tx, rate=rate, note=note)


def _with_dense(optimizer: Optimizer, dense: Optimizer) -> Optimizer:
    note = f"{optimizer.note}; fc6 to fc8: {dense.note}" if optimizer.note else ""
    return replace(optimizer, dense_tx=dense.tx, note=note)


def _curvature_options(
    curvature: Mapping[str, Any], options: Mapping[str, Any], to_steps: Callable[[str], int]
) -> CurvatureOptions:
    return CurvatureOptions(
        every=to_steps(curvature["every"]),
        examples=curvature["examples"],
        mu=options["mu"],
        energy=options["energy"],
    )


def _check(name: str, options: Mapping[str, Any], curvature: Any, both: bool) -> dict[str, Any]:
    """The named optimizer's options with their defaults; UsageError if the arguments do not fit."""
    if name not in MAKERS:
        raise UsageError(f"unknown optimizer.name '{name}': {nearest(name, MAKERS)}")
    known = own_options(name)
    for option in options.keys() - known:
        raise UsageError(f"optimizer '{name}' has no option '{option}': {nearest(option, known)}")
    if (name == "sdlm") != (curvature is not None):
        needs = "needs" if name == "sdlm" else "has no"
        raise UsageError(f"optimizer '{name}' {needs} optimizer.curvature (every, examples)")
    if both:
        raise UsageError("optimizer.plateau and train.back_off both lower the rate: choose one")
    return known


def _with_share(make: Callable[[Any], optax.GradientTransformation]) -> Any:
    return with_plateau(make, patience=1, min_improvement=0.0, factor=1.0, drops=0)[0]


def scale_rate(
    learning_rate: Number, rule: str, base_batch: int, batch_size: int
) -> tuple[Number, str]:
    """The rate for a batch size, by the linear or the square-root rule, and a line to log."""
    powers = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}
    if rule not in powers:
        raise UsageError(f"unknown optimizer.scale_rule '{rule}': {nearest(rule, powers)}")
    if rule == "none":
        return learning_rate, ""
    scaled = learning_rate * (batch_size / base_batch) ** powers[rule]
    note = f"learning rate {scaled:.6g}: {learning_rate:g} at {base_batch}, {rule} rule"
    return scaled, note


CURVATURE = {"every": "1 epoch", "examples": 500}  # LeCun et al. 1998, pp. 10 and 42


def defaults(name: str) -> dict[str, Any]:
    """Every option of a named optimizer that has a default; {} for an unknown name."""
    if name not in MAKERS:
        return {}
    common = inspect.signature(create_optimizer).parameters
    options = ("clip", "layer_rate", "scale_rule", "base_batch")
    shared = {option: common[option].default for option in options}
    return shared | own_options(name) | ({"curvature": dict(CURVATURE)} if name == "sdlm" else {})
