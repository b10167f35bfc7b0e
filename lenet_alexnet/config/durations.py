"""Lengths and intervals in a config: "500 steps", "12 epochs" or "1000000 examples"."""

import re

from lenet_alexnet.config.checks import LONGEST
from lenet_alexnet.errors import UsageError, nearest

UNITS = ("steps", "epochs", "examples")


def to_steps(text: str, *, batch_size: int, examples: int) -> int:
    """The number of steps, rounded to the nearest, at least 1 unless the length is 0.

    Raises:
      UsageError: not a number with a unit.
    """
    match = re.fullmatch(r"\s*([0-9][0-9_.]*(?:e[0-9]+)?)\s*([a-z]+)\s*", str(text))
    if match is None:
        raise UsageError(f"'{text}' is no duration: write a number and steps, epochs or examples")
    number, unit = match.groups()
    unit = unit if unit.endswith("s") else unit + "s"
    if unit not in UNITS:
        raise UsageError(f"'{text}' is no duration: unknown unit '{unit}', {nearest(unit, UNITS)}")
    try:
        value = float(number)
    except ValueError as error:
        raise UsageError(f"'{text}' is no duration: '{number}' is no number") from error
    per_unit = {"steps": 1.0, "epochs": examples / batch_size, "examples": 1 / batch_size}[unit]
    if value * per_unit > LONGEST:
        raise UsageError(f"'{text}' is more than {LONGEST} steps")
    return max(1, round(value * per_unit)) if value else 0
