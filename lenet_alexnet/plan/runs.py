"""What a run, a sweep, or the runs of a claim will take: each distinct program is timed once."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lenet_alexnet import config as configs
from lenet_alexnet.errors import UsageError
from lenet_alexnet.plan.outline import Planned
from lenet_alexnet.plan.program import WHOLE, Program, started, time_it
from lenet_alexnet.runs import integrity
from lenet_alexnet.runs.directory import compare
from lenet_alexnet.sweep import plan
from lenet_alexnet.sweep.expand import Trial, expand
from lenet_alexnet.sweep.groups import program
from lenet_alexnet.sweep.local import Job, places
from lenet_alexnet.sweep.runner import SweepOptions, make_jobs
from lenet_alexnet.sweep.trials import Sweep

Stop = Callable[[], bool]
RESERVE = "XLA_PYTHON_CLIENT_PREALLOCATE"


def of_run(config: Any, workdir: Path | None, stop_requested: Stop) -> list[Planned]:
    """The plan of a run, from its newest checkpoint in `workdir` on.

    Raises:
      UsageError: the config is wrong, or `workdir` holds another run or is complete.
    """
    done = 0
    if workdir is not None:
        compare(workdir, config, may_grow=True)
        done = _done(workdir)
    tell("timing a few steps")
    probe = time_it(Program([config]), stop_requested)
    if done >= probe.total:
        raise UsageError(f"{workdir} is complete already: nothing to train")
    return [Planned(config.model.name, probe, [done])]


def _done(workdir: Path) -> int:
    """The steps of a run's newest checkpoint."""
    return max((one.step for one in integrity.saved(workdir / "checkpoints")), default=0)


def of_sweep(
    path: str, base: Any, workdir: Path, options: SweepOptions, stop_requested: Stop
) -> tuple[str, list[Planned]]:
    """The trials as `--dry-run` describes them, and the plan of those that are left.

    Raises:
      UsageError: as the sweep would.
    """
    if options.search:
        raise UsageError("--search has no --plan: trials depend on the results before them")
    sweep, start = Sweep(workdir), time.monotonic()
    trials, _ = expand(configs.load(path), base, path)
    sweep.check(base)
    jobs = make_jobs(sweep, trials, base, options)
    by_id = {trial.id: trial for trial in trials}
    groups = _alike(jobs, by_id)
    tasks = [_task([by_id[name] for name in alike[0]], options) for alike in groups]
    at_once = {"slurm": base.launch.parallel}.get(options.executor, len(places(options.jobs)))
    planned = []
    with contextlib.ExitStack() as stack:
        # While the trials are checked, the first process starts.
        results = [stack.enter_context(started(task)) for task in tasks[:1]]
        results += [partial(time_it, task) for task in tasks[1:]]
        with _without_reserve():
            plan.check(trials)
        tell(f"{len(trials):,} trials checked in {time.monotonic() - start:.1f} s")
        if options.halving:
            tell("with --halving fewer trials reach their end: this is the most")
        for alike, task, result in zip(groups, tasks, results, strict=True):
            count = len(alike) * len(alike[0])
            tell(f"timing a program for {count} trial{'s' if count > 1 else ''}")
            done = [max(_common(sweep, job), default=0) for job in alike]
            name = task.configs[0].model.name
            found = result(stop_requested)
            planned.append(Planned(name, found, done, 1 if task.side_by_side else at_once))
    return plan.describe(sweep, trials, jobs, options.executor), planned


def _task(trials: Sequence[Trial], options: SweepOptions) -> Program:
    """The program of a job."""
    side_by_side = len(trials) > 1
    return Program(
        [trial.config for trial in trials],
        side_by_side=side_by_side,
        each_core_a_device=side_by_side,
        place=WHOLE if side_by_side else places(options.jobs)[0],
    )


def _alike(jobs: Sequence[Job], trials: Mapping[str, Trial]) -> list[list[Job]]:
    """The jobs, grouped by program: those of one size whose trials differ only in numbers."""
    groups: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        groups.setdefault((program(trials[job[0]].flat), len(job)), []).append(job)
    return list(groups.values())


def _common(sweep: Sweep, job: Job) -> set[int]:
    """The steps that all trials of a job have saved."""
    return set.intersection(*(sweep.saved_steps(name) for name in job))


def of_seeds(
    label: str, config: Any, folders: Mapping[int, Path], stop_requested: Stop, *, share: bool
) -> Planned:
    """The plan of runs that differ only in their seeds, as `reproduce` trains them.

    Args:
      label: of the set.
      config: of the set.
      folders: of the runs, by seed.
      stop_requested: called often.
      share: whether they are one program.
    """
    tell(f"timing {label}: {len(folders)} runs")
    seeds = list(folders) if share else list(folders)[:1]
    task = Program(
        [configs.with_seed(config, seed) for seed in seeds],
        side_by_side=share,
        each_core_a_device=True,
        most=not share,
    )
    done = [_done(folder) for folder in folders.values()]
    return Planned(label, time_it(task, stop_requested), [0] if share else done)


@contextlib.contextmanager
def _without_reserve() -> Iterator[None]:
    """Inside, JAX starts without reserving the memory of a GPU, which the timed process needs."""
    before = os.environ.get(RESERVE)
    os.environ[RESERVE] = "false"
    try:
        yield
    finally:
        os.environ.pop(RESERVE)
        if before is not None:
            os.environ[RESERVE] = before


def tell(text: str) -> None:
    """Prints a line for the user; `console.say` would start JAX in this process."""
    print(text, file=sys.stderr, flush=True)
