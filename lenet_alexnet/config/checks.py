"""Checks of a config before anything is built from it: sections, entries, ranges."""

import math
from collections.abc import Mapping
from typing import Any

from lenet_alexnet.config import sections
from lenet_alexnet.config.entries import flatten
from lenet_alexnet.errors import Problems, UsageError, nearest

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
FRACTIONS = ("train.back_off", "train.average")  # less than 1
DIVISORS = ("data.std", "data.photo.std")  # more than 0
# JAX's names. On GPUs with tensor cores, float32 factors are rounded to TF32's 10 bits of mantissa,
# except with "highest"; on CPUs all of them are float32.
MATMUL_PRECISIONS = ("default", "high", "highest")
LONGEST = 2**31 - 1  # Steps and seeds are 32-bit numbers on the device.
OPEN = ("model.", "optimizer.", "train.loss.", "data.photo.")  # Their factories check them.


def check_sections(config: Any, path: str) -> None:
    """Raises UsageError if a config file does not return a config."""
    from ml_collections import ConfigDict

    if not isinstance(config, ConfigDict):
        kind = type(config).__name__
        raise UsageError(f"config file '{path}': get_config() returns {kind}, not a ConfigDict")
    problems = Problems()
    problems.lines += [
        f"config file '{path}': its config has no section '{name}'"
        for name in SECTIONS
        if name not in config
    ]
    problems.report()


def check_entries(config: Any, path: str) -> None:
    """Raises UsageError for all entries that are missing, unknown or of a wrong type."""
    where, problems = f"config file '{path}'", Problems()
    needed = _needed(config)
    misfits, flat = _misfits(config, needed, where), flatten(config)
    known = needed | flatten(sections.base()) | flatten(sections.photos())
    known |= flatten(sections.optional())
    for name in {key.partition(".")[0]: None for key in needed if "." in key}:
        if not any(key.startswith(f"{name}.") for key in flat):  # One line for all its entries.
            first, *rest = (key for key in needed if key.startswith(f"{name}."))
            misfits[first] += f", nor any other of '{name}'"
            misfits = {key: line for key, line in misfits.items() if key not in rest}
            known |= {name: None}
    problems.lines += misfits.values()
    for key, value in flat.items():
        if not plain(value) and key not in misfits:
            problems.lines += [f"{where}: {key} = {value!r} is no number, text or list of these"]
        elif key not in known and not key.startswith(OPEN):
            problems.lines += [
                f"{where}: its config has the unknown entry '{key}': {nearest(key, known)}"
            ]
    problems.report()


def check_needed(config: Mapping[str, Any], where: str, *parts: str) -> dict[str, Any]:
    """Raises UsageError if an entry is missing or of a wrong type.

    The entries of `base` or `photos` are needed, those of `optional` are not; the networks,
    optimizers and losses check their options.

    Args:
      config: a ConfigDict, or the content of its JSON.
      where: names the file in the message.
      parts: the sections to check; none: all.

    Returns the needed entries, each with a value of the right type.
    """
    needed = _needed(config, *parts)
    if misfits := _misfits(config, needed, where):
        raise UsageError(next(iter(misfits.values())))
    return needed


def _needed(config: Mapping[str, Any], *parts: str) -> dict[str, Any]:
    photos = "photo" in config["data"] if hasattr(config["data"], "items") else False
    made = flatten(sections.photos() if photos else sections.base())
    needed = {key: value for key, value in made.items() if not key.startswith("train.loss.")}
    needed |= {"model.name": "", "optimizer.name": "", "optimizer.learning_rate": 0.0}
    needed |= {"optimizer.schedule.name": "", "train.loss.name": ""}
    if parts:
        needed = {key: value for key, value in needed.items() if key.split(".")[0] in parts}
    return needed


def _misfits(config: Mapping[str, Any], needed: Mapping[str, Any], where: str) -> dict[str, str]:
    """By key what is wrong: needed entries that are missing, and entries of a wrong type."""
    flat, found = flatten(config), {}
    for key, value in {**flatten(sections.optional()), **needed}.items():
        if key in needed and key not in flat:
            found[key] = f"{where} has no entry '{key}'"
        if key in flat and not _fits(flat[key], value):
            wanted, given = type(value).__name__, flat[key]
            found[key] = f"{where}: {key} = {given!r:.40} is no {wanted}"
    return found


def _fits(value: Any, default: Any) -> bool:
    """Whether a value has the type of `default`."""
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))


def plain(value: Any) -> bool:
    """Whether a value may be in a config: a number, a text, None or a list of these."""
    if isinstance(value, list | tuple):
        return all(plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def check_ranges(flat: dict[str, Any]) -> None:
    """Raises UsageError for all entries that are out of their ranges; keys are dotted names."""
    problems = Problems()
    for key, value in flat.items():
        with problems.noting():
            check_value(key, value)
    numbers = {key: flat[key] for key in (*LEAST, *FRACTIONS, *DIVISORS) if key in flat}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            problems.lines += [f"{key} = {value!r:.40} is no number"]
        elif key in LEAST and value < LEAST[key]:
            problems.lines += [f"{key} {value} is not at least {LEAST[key]}"]
        elif key in FRACTIONS and value >= 1:
            problems.lines += [f"{key} {value} is not less than 1"]
        elif key in DIVISORS and value <= 0:
            problems.lines += [f"{key} {value} is not more than 0"]
    key = "train.matmul_precision"
    if (value := flat.get(key, "default")) not in MATMUL_PRECISIONS:
        hint = nearest(str(value), MATMUL_PRECISIONS)
        problems.lines += [f"unknown {key} '{value}': {hint}"]
    problems.report()


def check_value(key: str, value: Any) -> None:
    """Raises UsageError if no entry may have this value."""
    kind = type(value)
    if kind is list or kind is tuple:
        for item in value:
            check_value(key, item)
    elif kind is float and not math.isfinite(value):
        raise UsageError(f"{key} {value} is no finite number")
    elif kind is int and abs(value) > LONGEST:
        raise UsageError(f"{key} {value} is more than {LONGEST}")
    elif kind is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{key} {value!a} is no text") from error


def check_validation(config: Any, what: str) -> None:
    """Raises UsageError if `what` decides by an error and there is no validation split.

    The test split must decide nothing: else its error would be too low.
    """
    if not config["data"]["validation"]:
        raise UsageError(
            f"{what} needs a validation split, for example data.train='train[:90%]' with "
            "data.validation='train[90%:]'"
        )


def check_inputs(wanted: tuple[int, ...], given: tuple[int, ...]) -> None:
    """Raises UsageError if the preprocessed images do not fit the network (h, w, c)."""
    if wanted != given:
        takes, makes = ("x".join(map(str, shape)) for shape in (wanted, given))
        raise UsageError(
            f"the network takes {takes} inputs; data.image_size, data.pad and data.channels "
            f"give {makes}"
        )
