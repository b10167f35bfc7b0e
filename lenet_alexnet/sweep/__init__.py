"""Sweeps: the helpers for a config file's `sweep()`, and `load`, its results for pandas."""

from lenet_alexnet.sweep.expand import (
    choice,
    grid,
    integers,
    log_uniform,
    product,
    random,
    seeds,
    uniform,
    zip_,
)
from lenet_alexnet.sweep.frame import load

__all__ = [
    "choice",
    "grid",
    "integers",
    "load",
    "log_uniform",
    "product",
    "random",
    "seeds",
    "uniform",
    "zip_",
]
