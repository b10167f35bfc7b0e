"""What a config must be before anything is built from it: its sections, its ranges."""

import math
from typing import Any

from lenet_alexnet.errors import UsageError

SECTIONS = ("model", "data", "optimizer", "train", "eval", "checkpoint", "seed")
LEAST = {
    "seed": 0,
    "data.image_size": 1,
    "data.pad": 0,
    "data.variants": 1,
    "train.steps_per_dispatch": 1,
    "train.accumulate": 1,
    "train.average": 0,
    "train.back_off": 0,
    "eval.batch_size": 1,
    "checkpoint.keep": 1,
    "checkpoint.minutes": 0,
}
LONGEST = 2**31 - 1  # Steps and seeds are 32-bit numbers on the device.


def check_sections(config: Any, path: str) -> None:
    """Raises UsageError if what a config file returned is no config."""
    from ml_collections import ConfigDict

    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UsageError(f"config file '{path}': get_config() returns {kind}, not a ConfigDict")
    for name in SECTIONS:
        if name not in config:
            raise UsageError(f"config file '{path}': its config has no section '{name}'")


def check_ranges(flat: dict[str, Any]) -> None:
    """Raises UsageError if an entry, by its dotted name, is out of its range."""
    for key, value in flat.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{key} {value} is no finite number")
    for key, least in LEAST.items():
        if key in flat and flat[key] < least:
            raise UsageError(f"{key} {flat[key]} is not at least {least}")
    for key in ("train.back_off", "train.average"):
        if key in flat and flat[key] >= 1:
            raise UsageError(f"{key} {flat[key]} is not less than 1")
    if flat["seed"] > LONGEST:
        raise UsageError(f"seed {flat['seed']} is more than {LONGEST}")
    for key in ("data.std", "data.photo.std"):
        if key in flat and flat[key] <= 0:
            raise UsageError(f"{key} {flat[key]} is not more than 0")


def check_validation(config: Any, what: str) -> None:
    """Raises UsageError if an error would decide something and there is no validation split.

    The test split decides nothing: its error would then be too low.
    """
    if not config["data"]["validation"]:
        raise UsageError(
            f"{what} needs a validation split, for example data.train='train[:90%]' with "
            "data.validation='train[90%:]'"
        )


def check_inputs(wanted: tuple[int, ...], given: tuple[int, ...]) -> None:
    """Raises UsageError if the preprocessed images are not what the network takes (h, w, c)."""
    if wanted != given:
        takes, makes = ("x".join(map(str, shape)) for shape in (wanted, given))
        raise UsageError(
            f"the network takes {takes} inputs, data.image_size, data.pad and data.channels "
            f"make {makes}"
        )
