"""Each optimizer that a config can name, as a function of its rate and options."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from lenet_alexnet.optimizers.schedules import create_schedule
from lenet_alexnet.optimizers.sdlm import sdlm
from lenet_alexnet.optimizers.sgd2012 import is_bias, lars, sgd2012

Number = float | jax.Array  # traced in a sweep


def _sgd2012(
    rate: optax.Schedule,
    *,
    momentum: Number = 0.9,
    weight_decay: Number = 0.0005,
    bias_rate_factor: Number = 1.0,
    bias_schedule: optax.Schedule | None = None,
    bias_decay: bool = True,
    layers: Mapping[str, Any] | None = None,
    layer_decay: Mapping[str, Any] | None = None,
    to_steps: Callable[[str], int],
) -> optax.GradientTransformation:
    """`sgd2012` with separate rates for biases and layers.

    Args:
      rate: of the weights.
      bias_rate_factor: multiplies the biases' rate (lr_mult 2 of Caffe's biases).
      bias_schedule: the biases' schedule if it differs; in a config it is written as `schedule` is.
        Constant for epsB of layer-params-145.cfg, which stayed the same while epsW fell.
      bias_decay: whether biases decay too, see `sgd2012`.
      layers: by layer, factors of its rates: "values", from each of "boundaries" on.
      layer_decay: by layer, its decay if it differs from `weight_decay`.
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
        rates,
        momentum=momentum,
        weight_decay=weight_decay,
        bias_decay=bias_decay,
        layer_decay=layer_decay,
    )


def _sgd(
    rate: optax.Schedule,
    *,
    momentum: Number = 0.0,
    nesterov: bool = False,
    weight_decay: Number = 0.0,
    bias_decay: bool = False,
) -> optax.GradientTransformation:
    # Without momentum the state has no velocity; a traced momentum counts as not 0.
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
    rate: optax.Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: Number = 1e-4,
) -> optax.GradientTransformation:
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=_kernels)


def _kernels(params: Any) -> Any:
    """Which parameters decay if biases do not."""
    return jax.tree_util.tree_map_with_path(lambda path, _: not is_bias(path), params)


MAKERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": _sgd,
    "sgd2012": _sgd2012,
    "lars": lars,
    "adam": _adam,
    "adamw": _adamw,
    "sdlm": sdlm,
}


def own_options(name: str) -> dict[str, Any]:
    """The options of one optimizer, without the shared ones, with their defaults."""
    given = inspect.signature(MAKERS[name]).parameters
    return {key: given[key].default for key in given.keys() - {"rate", "learning_rate", "to_steps"}}
