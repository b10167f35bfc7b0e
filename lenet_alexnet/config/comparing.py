"""In what two configs differ."""

from typing import Any

from lenet_alexnet.config import options
from lenet_alexnet.config.entries import counts, flatten
from lenet_alexnet.config.sections import base, photos


def differences(old: Any, new: Any) -> list[str]:
    """'key: old -> new' for each leaf that differs, places left out.

    What one of them leaves at its default, or did not have when it was written, is no difference.
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
    """What `base` or `photos` have in the sections that no name decides."""
    made = flatten(photos() if "data.photo.crop" in flat else base())
    return {key: value for key, value in made.items() if not key.startswith("train.loss.")}
