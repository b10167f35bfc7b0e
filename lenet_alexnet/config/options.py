"""The options of a config's sections that its file does not list, with their defaults.

A section with a `name` (the network, the optimizer, the loss) has the options of the class or
function with that name, and `data.photo` those of its function: only their signatures hold the
defaults. An override adds an option that the file leaves out. Other options stay out of the config,
so that its hash does not change.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lenet_alexnet.config import entries, sections
from lenet_alexnet.errors import nearest

# These decide which options exist, so their overrides are applied first.
DECIDING = ("model.name", "model.variant", "optimizer.name", "train.loss.name")
OF_ALL = {"optimizer": ("learning_rate", "schedule", "plateau")}  # without a default
# Sections that an override of one of their options adds.
OPTIONAL = ("optimizer.plateau", "log")


def defaults(section: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a section with their default values.

    Args:
      section: its dotted name.
      given: the section's entries in the config; `name` and `variant` decide.

    Returns {} for a section without options or an unknown name.
    """
    name = str(given.get("name", ""))
    if section == "model":
        from lenet_alexnet import models

        found = models.defaults(name, str(given.get("variant", "")))
        # Configs are for training: their networks use fast forms (`builders.build_model`).
        return found | ({"conv_form": "auto"} if "conv_form" in found else {})
    if section in sections.optional():
        return dict(sections.optional()[section])
    if section == "train.loss":
        from lenet_alexnet import losses

        return losses.defaults(name)
    if section == "data.photo":
        from lenet_alexnet.data.preprocess.photos import create_photo_preprocess

        return _signature(create_photo_preprocess) | {"colour_until": "0 steps"}
    if section.partition(".")[0] == "optimizer":
        return _of_optimizer(section, name)
    return {}


def _of_optimizer(section: str, name: str) -> dict[str, Any]:
    from lenet_alexnet import optimizers

    if section == "optimizer.schedule":
        return _signature(optimizers.create_schedule)
    if section == "optimizer.plateau":
        return _signature(optimizers.with_plateau)
    if section == "optimizer.curvature":
        return dict(optimizers.CURVATURE)
    return optimizers.defaults(name) if section == "optimizer" else {}


def _signature(function: Callable[..., Any]) -> dict[str, Any]:
    given = inspect.signature(function).parameters.items()
    return {key: value.default for key, value in given if value.default is not inspect._empty}


def decide(config: Any, changes: Mapping[str, Any]) -> None:
    """Applies the overrides among `changes` that decide which options exist.

    After a change of name, options of both names keep their values, options of only the old name
    are removed, and the rest have the new name's defaults. Its factory refuses an unknown name.
    """
    with config.unlocked():
        for key in DECIDING:
            section, _, last = key.rpartition(".")
            part = entries.part(config, section)
            if key not in changes or part is None or part.get(last) == changes[key]:
                continue
            options = defaults(section, {last: changes[key]} if last == "name" else part)
            if not options or not isinstance(changes[key], str):
                continue
            for option in list(part) if last == "name" else ():
                if option not in options and option not in (last, *OF_ALL.get(section, ())):
                    del part[option]
            part[last] = changes[key]
            for option, value in options.items():
                if isinstance(value, dict) and option not in part:
                    part[option] = value  # a section that it needs: sdlm's curvature


def admit(config: Any, keys: Iterable[str]) -> None:
    """Adds the options among `keys` that a config leaves out, with their defaults."""
    for key in keys:
        section, _, option = key.rpartition(".")
        outer, _, inner = section.rpartition(".")
        part, around = entries.part(config, section), entries.part(config, outer)
        if part is None and section in OPTIONAL:
            values = defaults(section, {})
            if option in values and around is not None:
                with config.unlocked():
                    around[inner] = values
        elif part is not None and option not in part:
            values = defaults(section, part)
            if option in values:
                with config.unlocked():
                    part[option] = values[option]


def every(config: Any) -> dict[str, Any]:
    """All entries of a config by dotted name, with the options that it leaves out."""
    flat = entries.flatten(config)
    named = {key.rpartition(".")[0] for key in flat}
    for section in sorted(named | set(sections.optional())):
        given = entries.part(config, section) or {}
        for option, value in defaults(section, given).items():
            if not isinstance(value, dict):
                value = list(value) if isinstance(value, tuple) else value
                flat.setdefault(f"{section}.{option}", value)
    return flat


def setting(config: Any, key: str) -> Any:
    """The value of an entry; its default if the config leaves it out."""
    section, _, last = key.rpartition(".")
    part = entries.part(config, section) or {}
    return part[last] if last in part else defaults(section, part)[last]


def untyped(config: Any, key: str) -> bool:
    """Whether an entry takes values of several types: it is None, or a text in place of None."""
    section, _, last = key.rpartition(".")
    part = entries.part(config, section)
    value = part[last]
    return value is None or (
        isinstance(value, str) and defaults(section, part).get(last, value) is None
    )


def unknown(config: Any, key: str) -> str:
    """The message for an unknown key: who else has it, or the nearest known key."""
    section, _, option = key.rpartition(".")
    part = entries.part(config, section) or {}
    owners = [name for name in _names(section) if option in defaults(section, {"name": name})]
    if owners and "name" in part:
        kind = {"model": "network", "train.loss": "loss"}.get(section, section)
        return (
            f"unknown config key '{key}': {kind} '{part['name']}' has no option '{option}' "
            f"({', '.join(owners)}: yes)"
        )
    return f"unknown config key '{key}': {nearest(key, every(config))}"


def _names(section: str) -> list[str]:
    if section == "model":
        from lenet_alexnet.models import MODELS

        return list(MODELS)
    if section == "optimizer":
        from lenet_alexnet.optimizers import MAKERS

        return list(MAKERS)
    if section == "train.loss":
        from lenet_alexnet.losses import LOSSES

        return list(LOSSES)
    return []
