"""The entries of a config by dotted name, and the hash of those that say what is trained."""

import hashlib
import json
from typing import Any

# Where things are: may differ when a run is resumed or compared.
PLACES = ("data.data_dir",)
# And so may how a sweep's jobs are launched, and what is logged where.
LAUNCH, LOG = "launch.", "log."


def part(config: Any, section: str) -> Any:
    """The section with a dotted name ("": the whole config); None if there is none."""
    for name in section.split(".") if section else ():
        config = config.get(name)
        if not hasattr(config, "items"):
            return None
    return config


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if hasattr(value, "items"):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def with_seed(config: Any, seed: int) -> Any:
    """A copy of a config with another seed."""
    copy = config.copy_and_resolve_references()
    with copy.unlocked():
        copy.seed = seed
    return copy


def counts(key: str) -> bool:
    """Whether a leaf says what is trained, not where, how it is launched or what is logged."""
    return key not in PLACES and not key.startswith((LAUNCH, LOG))


def in_program(key: str) -> bool:
    """Whether a leaf may change the program that is compiled."""
    return counts(key) or key.startswith(LOG)


def config_hash(config: Any) -> str:
    """Twelve digits that name what is trained; places do not count."""
    return flat_hash(flatten(config))


def flat_hash(flat: dict[str, Any]) -> str:
    """The hash of a config by its leaves."""
    counted = {key: value for key, value in flat.items() if counts(key)}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]
