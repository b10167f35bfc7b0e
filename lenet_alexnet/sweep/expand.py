"""From a config file's `sweep()` to trials: the helpers for `sweep()`, and `expand`.

An override is a dict of config entries by dotted name, {"optimizer.learning_rate": 0.01}. If the
last part of a name is unique in the config, it is enough: {"learning_rate": 0.01}.
"""

import itertools
import math
import random as randomness
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.config import checks, options
from lenet_alexnet.config.checks import check_ranges
from lenet_alexnet.config.files import at_most, check_count
from lenet_alexnet.errors import UsageError

Override = dict[str, Any]
Draw = Callable[[randomness.Random], Any]


def grid(axes: Mapping[str, Sequence[Any]] | None = None, /, **more: Sequence[Any]) -> list:
    """Every combination of the values of each entry; the last entry changes fastest."""
    axes = {**(axes or {}), **more}
    check_count(math.prod(len(values) for values in axes.values()), "grid")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def zip_(axes: Mapping[str, Sequence[Any]] | None = None, /, **more: Sequence[Any]) -> list:
    """The first value of each entry, then the second of each ...; the lengths must be equal."""
    axes = {**(axes or {}), **more}
    if len({len(values) for values in axes.values()}) > 1:
        lengths = ", ".join(f"{key}: {len(values)}" for key, values in axes.items())
        raise UsageError(f"zip_ needs the same number of values for each entry, not {lengths}")
    return [dict(zip(axes, values, strict=True)) for values in zip(*axes.values(), strict=True)]


def product(*sweeps: Iterable[Override]) -> list[Override]:
    """Every combination of one override from each sweep, merged."""
    merged: list[Override] = []
    lists = [at_most(sweep, "product") for sweep in sweeps]
    check_count(math.prod(map(len, lists)), "product")
    for parts in itertools.product(*lists):
        twice = {key for a, b in itertools.combinations(parts, 2) for key in a.keys() & b.keys()}
        if twice:
            raise UsageError(f"product: '{min(twice)}' is in two of its sweeps")
        merged.append({key: value for part in parts for key, value in part.items()})
    return merged


def seeds(n: int, start: int = 0) -> list[Override]:
    """The seeds start, start + 1 ... of n runs."""
    check_count(n, "seeds")
    return [{"seed": seed} for seed in range(start, start + n)]


def random(
    n: int, seed: int, axes: Mapping[str, Draw] | None = None, /, **more: Draw
) -> list[Override]:
    """N overrides drawn with `uniform`, `log_uniform`, `integers`, `choice`; the same each time.

    A larger n keeps the earlier draws.
    """
    axes = {**(axes or {}), **more}
    check_count(n, "random")
    generator = randomness.Random(seed)
    return [{key: draw(generator) for key, draw in axes.items()} for _ in range(n)]


def uniform(low: float, high: float) -> Draw:
    """A number between low and high, to 4 digits."""
    return lambda generator: _short(generator.uniform(low, high))


def log_uniform(low: float, high: float) -> Draw:
    """A number between low and high (both above 0), uniform in its logarithm, to 4 digits."""
    if not 0 < low < high:
        raise UsageError(f"log_uniform needs 0 < low < high, not {low}, {high}")
    return lambda generator: _short(math.exp(generator.uniform(math.log(low), math.log(high))))


def integers(low: int, high: int) -> Draw:
    """A whole number from low to high, both included."""
    return lambda generator: generator.randint(low, high)


def choice(values: Sequence[Any]) -> Draw:
    """One of the values."""
    return lambda generator: generator.choice(list(values))


def _short(x: float) -> float:
    return float(f"{x:.4g}")


class Trial:
    """One run of a sweep.

    Attributes:
      id: the hash of its config.
      overrides: by full name.
      flat: the config's leaves by full name.
    """

    def __init__(self, overrides: Override, flat: dict[str, Any], base: ConfigDict) -> None:
        self.overrides, self.flat, self._base = overrides, flat, base
        self.id = configs.flat_hash(flat)

    @cached_property
    def config(self) -> ConfigDict:
        """The base with the overrides applied; made when first used, as a sweep may be long."""
        config = self._base.copy_and_resolve_references()
        config.update_from_flattened_dict(self.overrides)
        return config


def expand(module: Any, base: ConfigDict, name: str) -> tuple[list[Trial], int]:
    """The trials of config file `name`, each once, and how many were repetitions.

    Raises:
      UsageError: no sweep(), one that fails, yields nothing or too much, an unknown key, or a value
        of the wrong type or out of range.
    """
    if not hasattr(module, "sweep"):
        raise UsageError(f"config file '{name}' has no sweep(): write one beside get_config()")
    what = f"sweep() of '{name}'"
    try:
        overrides = at_most(module.sweep(), what)
    except TypeError as error:
        raise UsageError(f"{what} returns no list of overrides: {error}") from error
    if not overrides:
        raise UsageError(f"{what} yields nothing")
    trials: dict[str, Trial] = {}
    for trial in Bases(base).trials(overrides):
        trials.setdefault(trial.id, trial)
    return list(trials.values()), len(overrides) - len(trials)


class Bases:
    """The configs that overrides are applied to: one for each network, optimizer and loss."""

    def __init__(self, base: ConfigDict) -> None:
        self._base = base.copy_and_resolve_references()
        self._by_names: dict[tuple, Base] = {}

    def trials(self, overrides: Sequence[Any]) -> list[Trial]:
        """The trial of each override.

        Raises:
          UsageError: not a dict, an unknown key, a value of the wrong type or out of range.
        """
        for override in overrides:
            if not isinstance(override, Mapping):
                raise UsageError(f"sweep() must yield dicts of overrides, not {override!r}")
            for key in override:
                if not isinstance(key, str):
                    raise UsageError(f"sweep() yields the key {key!r}, which is not a string")
        bases = [self._of(override) for override in overrides]
        keys: dict[int, tuple[Base, dict[str, None]]] = {}
        for base, override in zip(bases, overrides, strict=True):
            keys.setdefault(id(base), (base, {}))[1].update(dict.fromkeys(override))
        for base, wanted in keys.values():  # They share a config: one's key is a key of all.
            base.admit(wanted)
        return [base.trial(override) for base, override in zip(bases, overrides, strict=True)]

    def _of(self, override: Mapping[str, Any]) -> "Base":
        names = tuple((key, str(override[key])) for key in options.DECIDING if key in override)
        if names not in self._by_names:
            config = self._base.copy_and_resolve_references()
            options.decide(config, dict(names))
            self._by_names[names] = Base(config)
        return self._by_names[names]


class Base:
    """A config that overrides are applied to, and the full names of its entries."""

    def __init__(self, config: ConfigDict) -> None:
        self.config = config
        self._names: dict[str, str] = {}
        self._scratch = ConfigDict()
        self.flat: dict[str, Any] = {}

    def admit(self, keys: Iterable[str]) -> None:
        """Adds the options among `keys` that the config leaves at their defaults.

        Raises:
          UsageError: an unknown key, with the nearest one, or an ambiguous part of a name.
        """
        known = configs.flatten(self.config)
        every = known if known.keys() >= set(keys) else options.every(self.config)
        self._names |= {key: _full(key, known, every, self.config) for key in keys}
        options.admit(self.config, [key for key in self._names.values() if key not in known])
        self.flat = configs.flatten(self.config)
        self._scratch = self.config.copy_and_resolve_references()

    def trial(self, override: Mapping[str, Any]) -> Trial:
        """The config with one override applied; UsageError if a value does not fit."""
        full = {self._names[key]: _plain(key, value) for key, value in override.items()}
        changed = {key: self._converted(key, value) for key, value in full.items()}
        try:
            check_ranges(self.flat | changed)
        except UsageError as error:
            raise UsageError(f"sweep() yields {full}: {error}") from error
        return Trial(full, self.flat | changed, self.config)

    def _converted(self, key: str, value: Any) -> Any:
        """A value converted to the type of its entry, as the config does it."""
        section, _, last = key.rpartition(".")
        part = configs.part(self._scratch, section)
        before = part[last]
        try:
            part[last] = value
            after = part[last]
        except (TypeError, ValueError) as error:
            kind = type(before).__name__
            raise UsageError(f"sweep() yields {key} = {value!r}, not of type {kind}") from error
        part[last] = before
        return list(after) if isinstance(after, tuple) else after


def _full(key: str, known: Mapping[str, Any], every: Mapping[str, Any], config: Any) -> str:
    """The entry with this full name or unique last part: in `known`, else in `every`."""
    section, _, last = key.rpartition(".")
    if key in every or (section in options.OPTIONAL and last in options.defaults(section, {})):
        return key
    for entries in (known, every):
        meant = [name for name in entries if name.rpartition(".")[2] == key]
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise UsageError(f"sweep() yields '{key}', which may be {' or '.join(meant)}")
    raise UsageError(f"sweep() yields the {options.unknown(config, key)}")


def _plain(key: str, value: Any) -> Any:
    """NumPy's numbers as Python's, so that both are written and hashed alike."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if not checks.plain(value):
        raise UsageError(f"sweep() yields {key} = {value!r}, not a number, string or list")
    return value
