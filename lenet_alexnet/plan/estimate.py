"""From the timings of programs to the time, memory and disk of runs."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from lenet_alexnet.plan.found import Probe
from lenet_alexnet.runs.wall_time import COMPILE, EVALUATION, SAVING, START_UP, STEPS


class Estimate(NamedTuple):
    """Seconds: by part as in `wall_time.LABELS`, and the lowest and highest sum.

    The range is that of the timed chunks of steps, and of compiling with and without JAX's cache.
    """

    parts: dict[str, float]
    lowest: float
    highest: float

    @property
    def seconds(self) -> float:
        """The sum of the parts."""
        return sum(self.parts.values())


def estimate(probe: Probe, done: int = 0) -> Estimate:
    """The time of a start of a program that resumes after `done` steps, to its end."""
    timings, left = probe.timings, probe.total - done
    curvature = timings.refresh * refreshes(probe, done)
    steps, lowest, highest = (
        left * each + curvature
        for each in (fmean(timings.steps), min(timings.steps), max(timings.steps))
    )
    evaluations = multiples(probe, done, probe.evaluate)
    examples = evaluations * probe.curve + probe.everything
    parts = {
        START_UP: timings.start_up,
        COMPILE: timings.compile[0],
        STEPS: (1 - timings.data_wait) * steps,
        "data_wait": timings.data_wait * steps,
        EVALUATION: timings.example * examples,
        SAVING: timings.save * saves(probe, done) + timings.first_save + timings.last,
    }
    rest = sum(parts.values()) - steps
    return Estimate(parts, rest + lowest, rest + timings.compile[1] - timings.compile[0] + highest)


def multiples(probe: Probe, done: int, interval: int) -> int:
    """How often an interval ends after step `done` and before the end of the run."""
    return (probe.total - 1) // interval - done // interval if interval else 0


def refreshes(probe: Probe, done: int = 0) -> int:
    """How often the curvature is estimated: before step `done` or a later one of the run."""
    return -(-probe.total // probe.refresh) + -done // probe.refresh if probe.refresh else 0


def saves(probe: Probe, done: int = 0) -> int:
    """How many checkpoints are saved after step `done` and before the end: also at evaluations."""
    both = math.lcm(probe.evaluate, probe.save)  # 0 if one of them is 0
    once = (multiples(probe, done, interval) for interval in (probe.evaluate, probe.save))
    return sum(once) - multiples(probe, done, both)


def disk_bytes(probe: Probe) -> int:
    """What the runs of a program leave on the disk."""
    checkpoints = min(probe.kept, saves(probe) + 1) * probe.checkpoint_bytes
    evaluations = multiples(probe, 0, probe.evaluate) + (2 if probe.everything > probe.curve else 1)
    lines = -(-probe.total // probe.log) + evaluations
    return probe.runs * (checkpoints + round(lines * probe.line_bytes) + probe.other_bytes)


def makespan(seconds: Sequence[float], places: int) -> float:
    """How long jobs take, started in this order, each at the first place that is free."""
    free = [0.0] * max(places, 1)
    for each in seconds:
        first = min(range(len(free)), key=free.__getitem__)
        free[first] += each
    return max(free)


def as_dict(probe: Probe, done: int = 0) -> dict[str, Any]:
    """For JSON: a program's network, steps, memory, disk and time."""
    found = estimate(probe, done)
    memory = {key: probe.memory[key] for key in ("param_bytes", "optimizer_bytes", "peak_bytes")}
    return {
        "runs": probe.runs,
        "devices": probe.devices,
        "device": probe.device,
        "params": probe.params,
        "batch_size": probe.batch_size,
        "steps": probe.total - done,
        **memory,
        "sent_bytes": probe.memory["sent_bytes"],
        "disk_bytes": disk_bytes(probe),
        "checkpoint_bytes": probe.checkpoint_bytes,
        "seconds": found.seconds,
        "lowest": found.lowest,
        "highest": found.highest,
        "parts": found.parts,
        "step_seconds": fmean(probe.timings.steps),
    }
