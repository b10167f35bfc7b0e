"""Which trials train together: those that differ only in numbers that one program can carry."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

from lenet_alexnet import config as configs
from lenet_alexnet.sweep.expand import Trial

CARRIED = (
    "seed",
    "optimizer.learning_rate",
    "optimizer.momentum",
    "optimizer.weight_decay",
    "optimizer.mu",
    "optimizer.energy",
    "optimizer.schedule.final",
    "optimizer.schedule.factor",
    "optimizer.schedule.values",
    "train.loss.label_smoothing",
    "train.loss.j",
    "model.init_scale",
    "model.init_power",
    "model.dropout",
    "data.distort.shift",
    "data.distort.scale",
    "data.distort.squeeze",
    "data.distort.shear",
    "data.distort.rotation",
)
# For these, zero needs another program: no velocity in the state, no dropout.
SWITCHES = ("optimizer.momentum", "model.dropout")
# Networks for larger images fill a device alone.
LARGEST_IMAGE = 64


def carried(flat: dict[str, Any]) -> dict[str, Any]:
    """The entries of a flat config that a program can carry as numbers."""
    return {key: flat[key] for key in CARRIED if key in flat}


def signature(config: Any) -> str:
    """Equal for configs (or their leaves) that one program can train side by side."""
    flat = configs.flatten(config)
    if flat["train.back_off"] or "optimizer.plateau.drops" in flat:
        return configs.flat_hash(flat)  # Its rate depends on its own errors: it trains alone.
    return program(flat)


def program(flat: dict[str, Any]) -> str:
    """Equal for flat configs whose runs differ only in numbers that a program can carry."""
    rest = {key: value for key, value in flat.items() if configs.in_program(key)}
    for key, value in carried(flat).items():
        rest[key] = len(value) if isinstance(value, list) else "number"
    rest |= {key: bool(flat[key]) for key in SWITCHES if key in flat}
    distort = [value for key, value in flat.items() if key.startswith("data.distort.")]
    rest["data.distort"] = any(distort)
    return json.dumps(rest, sort_keys=True)


def group(
    trials: Sequence[Trial], *, most: int, steps: Callable[[Trial], set[int]]
) -> list[list[Trial]]:
    """Trials that train together, at most `most` in a group, ordered by first trial.

    `steps` gives the steps of a trial's checkpoints. Lanes resume from a step that all have, or
    start again if none has more than its first checkpoint, which after a kill only some may have.
    In separate groups they would train in other programs, to other bits.
    """
    groups: list[_Group] = []
    room: dict[str, list[_Group]] = {}  # by signature, groups that are not full
    for trial in trials:
        here, saved = room.setdefault(signature(trial.flat), []), steps(trial)
        early = len(saved) <= 1
        for one in here:
            if one.common & saved or (one.early and early):
                one.members.append(trial)
                one.common &= saved
                one.early &= early
                break
        else:
            one = _Group(set(saved), early, [trial])
            groups.append(one)
            here.append(one)
        if len(one.members) >= most:
            here.remove(one)
    return [one.members for one in groups]


@dataclasses.dataclass(eq=False)
class _Group:
    """Trials that train together; `common`: steps that all saved; `early`: none has several."""

    common: set[int]
    early: bool
    members: list[Trial]


def may_share(config: Any) -> bool:
    """Whether the network and its data are small enough to share a device with other trials."""
    return config.data.image_size <= LARGEST_IMAGE and not config.data.get("stream")
