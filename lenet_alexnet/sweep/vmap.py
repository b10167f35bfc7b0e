"""The vmap executor: runs that differ only in numbers, trained as one program."""

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax

from lenet_alexnet.runtime.console import say
from lenet_alexnet.sweep.lane_functions import LaneDevices
from lenet_alexnet.sweep.lane_group import Lane, LaneGroup
from lenet_alexnet.training import fingerprint, warm_start
from lenet_alexnet.training.experiment import build
from lenet_alexnet.training.matmul_precision import matmul_precision
from lenet_alexnet.training.schedule import follow
from lenet_alexnet.training.warm_start import WarmStart


def train_lanes(
    lane_configs: Sequence[Any],
    folders: Sequence[Path],
    *,
    until: float = 1.0,
    stop_requested: Callable[[], bool] = lambda: False,
    at_once: bool | None = None,
    allow_other_bits: bool = False,
) -> list[dict[str, Any]]:
    """Trains one run for each config, side by side, each in its folder as if it were alone.

    Args:
      lane_configs: with one `groups.signature`.
      folders: the run directories; all resume from the newest step that all have saved.
      until: stop after the first evaluation at or after this share of the run.
      stop_requested: called before every dispatch.
      at_once: whether a device runs its lanes by vmap or in turn; None: depends on the device.
      allow_other_bits: see `loop.train_and_evaluate`.

    Returns the summaries, which are also written; a lane that diverged has one too, and does not
    affect the others.

    Raises:
      Interrupted: `stop_requested` became true; everything is saved.
    """
    experiment = build(lane_configs[0], devices=1)  # A lane is on one device.
    data = fingerprint.of_data(experiment)
    start = cache(partial(warm_start.read, lane_configs[0], experiment))
    weights = {} if warm_start.resume(folders) else warm_start.fact(start())
    with contextlib.ExitStack() as stack:
        stack.enter_context(matmul_precision(lane_configs[0]))
        lanes = [
            Lane(config, folder, experiment, data, stack, allow_other_bits, weights)
            for config, folder in zip(lane_configs, folders, strict=True)
        ]
        loops_used = stack.enter_context(fingerprint.as_begun(*(lane.begun for lane in lanes)))
        devices = LaneDevices(len(lanes), at_once=at_once)
        group = LaneGroup(experiment, lanes, devices, stop_requested)
        return _run(group, until, loops_used, start)


def train_seeds(
    config: Any,
    seeds: Sequence[int],
    workdir: Path,
    stop_requested: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Trains one run for each seed, in workdir/seed_N; returns their summaries."""
    lane_configs = []
    for seed in seeds:
        lane_configs.append(config.copy_and_resolve_references())
        with lane_configs[-1].unlocked():
            lane_configs[-1].seed = seed
    folders = [workdir / f"seed_{seed}" for seed in seeds]
    return train_lanes(lane_configs, folders, stop_requested=stop_requested)


def _run(
    group: LaneGroup,
    until: float,
    loops_used: Callable[[], bool | None],
    start: Callable[[], WarmStart | None],
) -> list[dict[str, Any]]:
    """Compiles, restores or starts, trains, evaluates, writes the summaries."""
    schedule = group.schedule
    say(
        f"{len(group.lanes)} runs of {group.config.model.name} as one program on "
        f"{group.devices.mesh.size} {jax.devices()[0].device_kind} device(s), "
        f"{schedule.total:,} steps each; compiling"
    )
    group.start(start)
    for lane in group.lanes:
        lane.out.note_loops(loops_used())
    status = "interrupted"
    try:
        group.start_clock()
        if follow(schedule, group, math.ceil(min(until, 1.0) * schedule.total)):
            group.finish()
            status = "completed"
    finally:
        summaries = group.summaries(status)
    return summaries
