"""Config files: loading them, their sections, entries and options, checks, durations.

A config file begins with `from lenet_alexnet import config as configs` and changes what
`configs.base()` or `configs.photos()` returns.
"""

from lenet_alexnet.config.comparing import differences
from lenet_alexnet.config.entries import (
    config_hash,
    counts,
    flat_hash,
    flatten,
    in_program,
    part,
    with_seed,
)
from lenet_alexnet.config.files import load
from lenet_alexnet.config.sections import base, photos

__all__ = [
    "base",
    "config_hash",
    "counts",
    "differences",
    "flat_hash",
    "flatten",
    "in_program",
    "load",
    "part",
    "photos",
    "with_seed",
]
