"""The vmap executor: runs that differ only in numbers, trained as one program."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax

from lenet_alexnet import config as configs
from lenet_alexnet.config.options import setting
from lenet_alexnet.runs.wall_time import STEPS, WallTime
from lenet_alexnet.runtime.console import say
from lenet_alexnet.sinks.libraries import require
from lenet_alexnet.sinks.sink import OfSweep
from lenet_alexnet.sweep.lane import Lane
from lenet_alexnet.sweep.lane_functions import LaneDevices
from lenet_alexnet.sweep.lane_group import LaneGroup
from lenet_alexnet.training import fingerprint, warm_start
from lenet_alexnet.training.experiment import Experiment, build
from lenet_alexnet.training.matmul_precision import matmul_precision
from lenet_alexnet.training.progress import Progress
from lenet_alexnet.training.schedule import follow


def train_lanes(
    lane_configs: Sequence[Any],
    folders: Sequence[Path],
    *,
    until: float = 1.0,
    stop_requested: Callable[[], bool] = lambda: False,
    at_once: bool | None = None,
    allow_other_bits: bool = False,
    began: float | None = None,
    of_sweep: Sequence[OfSweep] | None = None,
) -> list[dict[str, Any]]:
    """Trains one run for each config, side by side, each in its folder as if it were alone.

    Args:
      lane_configs: with one `groups.signature`.
      folders: the run directories; all resume from the newest step that all have saved.
      until: stop after the first evaluation at or after this share of the run.
      stop_requested: called before every dispatch.
      at_once: whether a device runs its lanes by vmap or in turn; None: depends on the device.
      allow_other_bits, began: see `loop.train_and_evaluate`.
      of_sweep: of each run, if they are trials of a sweep.

    Returns the summaries, which are also written; a lane that diverged has one too, and does not
    affect the others.

    Raises:
      Interrupted: `stop_requested` became true; everything is saved.
    """
    began = time.monotonic() if began is None else began
    require(setting(lane_configs[0], "log.to"))
    with opened(
        build(lane_configs[0], devices=1),  # A lane is on one device.
        lane_configs,
        folders,
        stop_requested=stop_requested,
        at_once=at_once,
        allow_other_bits=allow_other_bits,
        began=began,
        of_sweep=of_sweep,
    ) as group:
        return _run(group, until)


@contextlib.contextmanager
def opened(
    experiment: Experiment,
    lane_configs: Sequence[Any],
    folders: Sequence[Path],
    *,
    stop_requested: Callable[[], bool],
    at_once: bool | None = None,
    allow_other_bits: bool = False,
    began: float,
    of_sweep: Sequence[OfSweep] | None = None,
) -> Iterator[LaneGroup]:
    """The lanes with their functions compiled, restored or fresh, and open in their folders.

    For the arguments see `train_lanes`; `experiment` is of the first config, on one device.
    """
    sweeps: Sequence[OfSweep | None] = of_sweep or (None,) * len(lane_configs)
    data = fingerprint.of_data(experiment)
    start = cache(partial(warm_start.read, lane_configs[0], experiment))
    weights = {} if warm_start.resume(folders) else warm_start.fact(start())
    with contextlib.ExitStack() as stack:
        stack.enter_context(matmul_precision(lane_configs[0]))
        lanes = [
            Lane(config, folder, experiment, data, stack, allow_other_bits, weights, sweep)
            for config, folder, sweep in zip(lane_configs, folders, sweeps, strict=True)
        ]
        loops_used = stack.enter_context(fingerprint.as_begun(*(lane.begun for lane in lanes)))
        times = stack.enter_context(WallTime(folders, began))
        devices = LaneDevices(len(lanes), at_once=at_once)
        group = LaneGroup(experiment, lanes, devices, times, stop_requested)
        say(
            f"{len(lanes)} runs of {group.config.model.name} as one program on "
            f"{devices.mesh.size} {jax.devices()[0].device_kind} device(s), "
            f"{group.schedule.total:,} steps each; compiling"
        )
        group.start(start)
        for lane in lanes:
            lane.out.note_loops(loops_used())
        yield group


def train_seeds(
    config: Any,
    seeds: Sequence[int],
    workdir: Path,
    stop_requested: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Trains one run for each seed, in workdir/seed_N; returns their summaries."""
    lane_configs = [configs.with_seed(config, seed) for seed in seeds]
    folders = [workdir / f"seed_{seed}" for seed in seeds]
    return train_lanes(lane_configs, folders, stop_requested=stop_requested)


def _run(group: LaneGroup, until: float) -> list[dict[str, Any]]:
    """Trains, evaluates, writes the summaries."""
    total, status = group.schedule.total, "interrupted"
    with Progress(total, group.step, group.e.steps_per_epoch) as group.progress:
        try:
            group.start_clock()
            with group.times.spent_on(STEPS):
                if follow(group.schedule, group, math.ceil(min(until, 1.0) * total)):
                    group.finish()
                    status = "completed"
        finally:
            summaries = group.summaries(status)
    return summaries
