"""From a config file's `sweep()` to trials: the helpers that it is written with, and `expand`.

An override is a dict of config entries by dotted name, {"optimizer.learning_rate": 0.01}; where
the last part of a name is unique in the config, it is enough: {"learning_rate": 0.01}.
"""

import itertools
import math
import random as randomness
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.parsing import allow_switch

Override = dict[str, Any]
Draw = Callable[[randomness.Random], Any]


def grid(axes: Mapping[str, Sequence[Any]] | None = None, /, **more: Sequence[Any]) -> list:
    """Every combination of the values of each entry; the last entry changes fastest."""
    axes = {**(axes or {}), **more}
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def zip_(axes: Mapping[str, Sequence[Any]] | None = None, /, **more: Sequence[Any]) -> list:
    """The first value of each entry, then the second of each ...; the lengths must be equal."""
    axes = {**(axes or {}), **more}
    if len({len(values) for values in axes.values()}) > 1:
        lengths = ", ".join(f"{key}: {len(values)}" for key, values in axes.items())
        raise UsageError(f"zip_ needs as many values for each entry, not {lengths}")
    return [dict(zip(axes, values, strict=True)) for values in zip(*axes.values(), strict=True)]


def product(*sweeps: Iterable[Override]) -> list[Override]:
    """Every combination of an override of each sweep, merged."""
    merged: list[Override] = []
    for parts in itertools.product(*(list(sweep) for sweep in sweeps)):
        twice = {key for a, b in itertools.combinations(parts, 2) for key in a.keys() & b.keys()}
        if twice:
            raise UsageError(f"product: '{min(twice)}' is in two of its sweeps")
        merged.append({key: value for part in parts for key, value in part.items()})
    return merged


def seeds(n: int, start: int = 0) -> list[Override]:
    """The seeds start, start + 1 ... of n runs."""
    return [{"seed": seed} for seed in range(start, start + n)]


def random(
    n: int, seed: int, axes: Mapping[str, Draw] | None = None, /, **more: Draw
) -> list[Override]:
    """So many overrides drawn with `uniform`, `log_uniform`, `integers`, `choice`; same each time.

    Growing n keeps those that were drawn before.
    """
    axes = {**(axes or {}), **more}
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


class Trial(NamedTuple):
    """One run of a sweep: `id` is the hash of its config, `overrides` have full names."""

    id: str
    overrides: Override
    config: ConfigDict


def expand(module: Any, base: ConfigDict, name: str) -> tuple[list[Trial], int]:
    """The trials of config file `name`, each once, and how many were repetitions.

    Raises:
      UsageError: no sweep(), one that fails or yields nothing, an unknown key or a wrong type.
    """
    if not hasattr(module, "sweep"):
        raise UsageError(f"config file '{name}' has no sweep(): write one beside get_config()")
    try:
        overrides = list(module.sweep())
    except UsageError:
        raise
    except Exception as error:
        line = str(error).strip().replace("\n", " ")
        raise UsageError(f"sweep() of '{name}' fails: {type(error).__name__}: {line}") from error
    if not overrides:
        raise UsageError(f"sweep() of '{name}' yields nothing")
    base = base.copy_and_resolve_references()
    for key in {key for override in overrides if isinstance(override, Mapping) for key in override}:
        allow_switch(base, key)
    names = Names(base)
    trials: dict[str, Trial] = {}
    for override in overrides:
        trial = make_trial(base, override, names)
        trials.setdefault(trial.id, trial)
    return list(trials.values()), len(overrides) - len(trials)


class Names:
    """The full names of a config's entries."""

    def __init__(self, base: ConfigDict) -> None:
        self.known = configs.flatten(base)
        self.by_last: dict[str, list[str]] = {}
        for key in self.known:
            self.by_last.setdefault(key.rpartition(".")[2], []).append(key)

    def full(self, key: str) -> str:
        """The entry meant by a full name or a unique last part.

        Raises:
          UsageError: none or several, with the nearest.
        """
        if key in self.known:
            return key
        meant = self.by_last.get(key, [])
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise UsageError(f"sweep() yields '{key}', which may be {' or '.join(meant)}")
        hint = nearest(key, self.known)
        raise UsageError(f"sweep() yields the unknown config key '{key}': {hint}")


def make_trial(base: ConfigDict, override: Any, names: Names) -> Trial:
    """The base config with one override applied.

    Raises:
      UsageError: no dict, an unknown key, a value of a wrong type.
    """
    if not isinstance(override, Mapping):
        raise UsageError(f"sweep() must yield dicts of overrides, not {override!r}")
    full = {names.full(key): _plain(value) for key, value in override.items()}
    config = base.copy_and_resolve_references()
    for key, value in full.items():
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            old = names.known[key]
            raise UsageError(
                f"sweep() yields {key} = {value!r}, which is no {type(old).__name__}"
            ) from error
    return Trial(configs.config_hash(config), full, config)


def _plain(value: Any) -> Any:
    """Numpy's numbers as Python's, so that they are written and hashed alike."""
    return value.item() if hasattr(value, "item") else value
