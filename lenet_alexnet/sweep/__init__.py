"""Sweeps: the helpers for a config file's `sweep()`; `run.py` is the command."""

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

__all__ = [
    "choice",
    "grid",
    "integers",
    "log_uniform",
    "product",
    "random",
    "seeds",
    "uniform",
    "zip_",
]
