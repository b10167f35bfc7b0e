"""Optimizers and schedules by config: the one factory of a config's `optimizer` section."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import optax

from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.optimizers.plateau import with_plateau
from lenet_alexnet.optimizers.schedules import create_schedule
from lenet_alexnet.optimizers.sdlm import sdlm as make_sdlm
from lenet_alexnet.optimizers.sgd2012 import is_bias, lars, sgd2012

Number = float | jax.Array  # a sweep carries numbers as traced ones


@dataclass(frozen=True, kw_only=True)
class CurvatureOptions:
    """How often the curvature is estimated (in steps), on how many examples; mu, E's factor."""

    every: int
    examples: int
    mu: Number
    energy: Number


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimizer and what the training loop must know of it.

    Attributes:
      tx: the optax transformation.
      rate: the learning rate as a function of the completed steps.
      curvature: when the second derivatives of 1998 are estimated, if they are.
      observe: (opt_state, validation error) -> opt_state, where the rate falls as that stalls.
      note: what to say at the start, "" for nothing.
      dense_tx: of AlexNet's dense layers, where they move after each turn of a batch.
    """

    tx: optax.GradientTransformation
    rate: optax.Schedule
    curvature: CurvatureOptions | None = None
    observe: Callable[[Any, Any], Any] | None = None
    note: str = ""
    dense_tx: optax.GradientTransformation | None = None


def create_optimizer(
    *, name: str, learning_rate: Number, schedule: Mapping[str, Any], total_steps: int,
    to_steps: Callable[[str], int], curvature: Mapping[str, Any] | None = None,
    plateau: Mapping[str, Any] | None = None, back_off: bool = False, clip: float = 0.0,
    batch_size: int = 1, dense_updates: int = 1, scale_rule: str = "none", base_batch: int = 128,
    **options: Any,
) -> Optimizer:  # fmt: skip
    """The optimizer of a config.

    Args:
      name: sgd | sgd2012 | lars | adam | adamw | sdlm.
      learning_rate: the schedule's peak.
      schedule: its shape, see `create_schedule`.
      total_steps: the length of the run.
      to_steps: turns "3 epochs" into steps.
      curvature: for sdlm: `every` (an interval), on so many `examples`.
      plateau: drops as the validation error stalls, see `plateau.with_plateau`.
      back_off: keep the share of the rate in the state, as for a plateau, but leave it alone.
      clip: largest norm of the whole gradient; 0 is none.
      batch_size: of the run; with `scale_rule` linear or sqrt the rates are multiplied by
        (batch_size / base_batch) to the power 1 or 1/2.
      dense_updates: how often a batch moves the dense layers, see `turn_update.TurnUpdate`; the
        rule then uses the size of a part for these.
      **options: the named optimizer's own numbers.

    Raises:
      UsageError: an unknown name or option, with the nearest valid one.
    """
    makers = MAKERS | {"sgd2012": partial(_sgd2012, to_steps=to_steps)}
    known = _check(name, options, curvature)
    if plateau and back_off:
        raise UsageError("optimizer.plateau and train.back_off both lower the rate: choose one")

    def create(batch_size: int) -> Optimizer:
        scaled, note = scale_rate(learning_rate, scale_rule, batch_size, base_batch)

        def of(shape: Mapping[str, Any]) -> optax.Schedule:
            return create_schedule(
                learning_rate=scaled, total_steps=total_steps, to_steps=to_steps, **shape
            )

        rate, own = of(schedule), options.get("bias_schedule")
        bias_rate = of(own) if own else None

        def make(share: Any) -> optax.GradientTransformation:
            # A plateau and back-off lower every rate, the biases' too.
            biases = {"bias_schedule": lambda step: share * bias_rate(step)} if bias_rate else {}
            tx = makers[name](lambda step: share * rate(step), **{**options, **biases})
            return optax.chain(optax.clip_by_global_norm(clip), tx) if clip else tx

        if plateau:
            tx, observe = with_plateau(make, **plateau)
            return Optimizer(tx=tx, rate=rate, observe=observe, note=note)
        tx = _with_share(make) if back_off else make(1)
        return Optimizer(tx=tx, rate=rate, note=note)

    optimizer = create(batch_size)
    if dense_updates > 1:
        optimizer = _with_dense(optimizer, create(batch_size // dense_updates))
    if curvature is None:
        return optimizer
    return replace(optimizer, curvature=_curvature_options(curvature, known | options, to_steps))


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


def _check(name: str, options: Mapping[str, Any], curvature: Any) -> dict[str, Any]:
    """The named optimizer's own options with their defaults, if all that is given fits it."""
    if name not in MAKERS:
        raise UsageError(f"unknown optimizer.name '{name}': {nearest(name, MAKERS)}")
    known = _own(name)
    for option in options.keys() - known:
        raise UsageError(f"optimizer '{name}' has no option '{option}': {nearest(option, known)}")
    if (name == "sdlm") != (curvature is not None):
        needs = "needs" if name == "sdlm" else "has no"
        raise UsageError(f"optimizer '{name}' {needs} optimizer.curvature (every, examples)")
    return known


def _with_share(make: Callable[[Any], optax.GradientTransformation]) -> Any:
    return with_plateau(make, patience=1, min_improvement=0.0, factor=1.0, drops=0)[0]


def scale_rate(
    learning_rate: Number, rule: str, batch_size: int, base_batch: int
) -> tuple[Number, str]:
    """The rate for a batch, by the linear or the square-root rule, and a line that says so."""
    powers = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}
    if rule not in powers:
        raise UsageError(f"unknown optimizer.scale_rule '{rule}': {nearest(rule, powers)}")
    if rule == "none":
        return learning_rate, ""
    scaled = learning_rate * (batch_size / base_batch) ** powers[rule]
    note = f"learning rate {scaled:.6g}: {learning_rate:g} at {base_batch}, {rule} rule"
    return scaled, note


def _sgd2012(
    rate: optax.Schedule, *, momentum: Number = 0.9, weight_decay: Number = 0.0005,
    bias_rate_factor: Number = 1.0, bias_schedule: optax.Schedule | None = None,
    bias_decay: bool = True, layers: Mapping[str, Any] | None = None,
    layer_decay: Mapping[str, Any] | None = None, to_steps: Callable[[str], int],
) -> optax.GradientTransformation:  # fmt: skip
    """`sgd2012` with rates of their own for biases and layers.

    Args:
      rate: of the weights.
      bias_rate_factor: what multiplies the biases' rate (lr_mult 2 of Caffe's biases).
      bias_schedule: their schedule if it is not the weights', in a config as `schedule` is written:
        constant for epsB of layer-params-145.cfg, which stayed while epsW fell.
      bias_decay: whether biases decay too, see `sgd2012`.
      layers: by layer, what multiplies its rates: "values", from each of "boundaries" on.
      layer_decay: by layer, its decay where it has another than `weight_decay`.
      momentum, weight_decay, to_steps: see `sgd2012` and `create_optimizer`.
    """
    shares = {
        name: create_schedule(
            name="piecewise", learning_rate=1.0, total_steps=1, to_steps=to_steps, **changes
        )
        for name, changes in (layers or {}).items()
    }

    def rates(step: jax.Array) -> dict[str, Any]:
        kernel = rate(step)
        bias = bias_rate_factor * (bias_schedule(step) if bias_schedule else kernel)
        own = {name: share(step) for name, share in shares.items()} | {"": 1.0}
        return {name: {"kernel": x * kernel, "bias": x * bias} for name, x in own.items()}

    return sgd2012(
        rates, momentum=momentum, weight_decay=weight_decay, bias_decay=bias_decay,
        layer_decay=layer_decay,
    )  # fmt: skip


def _sgd(
    rate: optax.Schedule, *, momentum: Number = 0.0, nesterov: bool = False,
    weight_decay: Number = 0.0, bias_decay: bool = False,
) -> optax.GradientTransformation:  # fmt: skip
    # Without momentum there is no velocity in the state; a traced momentum is not 0.
    velocity = momentum if isinstance(momentum, jax.Array) or momentum else None
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=None if bias_decay else _kernels),
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
    """Which parameters decay where biases do not."""
    return jax.tree_util.tree_map_with_path(lambda path, _: not is_bias(path), params)


MAKERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": _sgd,
    "sgd2012": _sgd2012,
    "lars": lars,
    "adam": _adam,
    "adamw": _adamw,
    "sdlm": make_sdlm,
}
CURVATURE = {"every": "1 epoch", "examples": 500}  # LeCun et al. 1998, pp. 10 and 42


def defaults(name: str) -> dict[str, Any]:
    """Every option of a named optimizer that has a default; {} for a name that is none."""
    if name not in MAKERS:
        return {}
    common = inspect.signature(create_optimizer).parameters
    shared = {option: common[option].default for option in ("clip", "scale_rule", "base_batch")}
    return shared | _own(name) | ({"curvature": dict(CURVATURE)} if name == "sdlm" else {})


def _own(name: str) -> dict[str, Any]:
    """The options of one optimizer alone, with their defaults."""
    given = inspect.signature(MAKERS[name]).parameters
    return {key: given[key].default for key in given.keys() - {"rate", "learning_rate", "to_steps"}}
