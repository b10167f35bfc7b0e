"""The differences of two configs."""

from typing import Any

from lenet_alexnet.config import options
from lenet_alexnet.config.entries import counts, flatten
from lenet_alexnet.config.sections import base, photos


def differences(old: Any, new: Any) -> list[str]:
    """'key: old -> new' for each leaf that differs, without places.

    A value at its default equals a missing one.
    """
    a, b = flatten(old), flatten(new)
    if a == b:
        return []
    missing = "(absent)"
    a, b = (_defaults(flat) | options.every(config) for flat, config in ((a, old), (b, new)))
    return [
        f"{key}: {a.get(key, missing)} -> {b.get(key, missing)}"
        for key in sorted(a.keys() | b.keys())
        if counts(key) and a.get(key, missing) != b.get(key, missing)
    ]


def _defaults(flat: dict[str, Any]) -> dict[str, Any]:
    """The entries of `base` or `photos` in the sections without a name."""
    made = flatten(photos() if "data.photo.crop" in flat else base())
    return {key: value for key, value in made.items() if not key.startswith("train.loss.")}
