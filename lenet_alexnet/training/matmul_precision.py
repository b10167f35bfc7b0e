"""How exactly devices multiply float32 matrices: `train.matmul_precision`."""

import contextlib
from typing import Any

import jax

from lenet_alexnet.config.options import setting
from lenet_alexnet.runtime import target

SWITCH = "jax_default_matmul_precision"


def matmul_precision(config: Any) -> contextlib.AbstractContextManager[Any]:
    """Inside, programs are traced with a config's `train.matmul_precision`.

    "default" leaves JAX's own setting, which JAX_DEFAULT_MATMUL_PRECISION changes.
    """
    value = setting(config, "train.matmul_precision")
    return contextlib.nullcontext() if value == "default" else jax.default_matmul_precision(value)


def float32_products() -> str:
    """What a product of float32 matrices is here and now: "float32" or, on most GPUs, "TF32"."""
    exact = getattr(jax.config, SWITCH) in ("highest", "float32")
    return "TF32" if target.platform() == "gpu" and not exact else "float32"
