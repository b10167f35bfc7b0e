"""How a sweep's trials run: the command's options, the grouping into jobs, the executor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ml_collections import ConfigDict

from lenet_alexnet.errors import LenetAlexnetError, UsageError
from lenet_alexnet.runtime.heartbeat import STUCK_AFTER
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Trial
from lenet_alexnet.sweep.groups import group, may_share, signature
from lenet_alexnet.sweep.live import Live
from lenet_alexnet.sweep.local import Job, LocalExecutor
from lenet_alexnet.sweep.slurm import SlurmExecutor
from lenet_alexnet.sweep.trials import Sweep


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """The command's flags."""

    executor: str = "auto"
    dry_run: bool = False
    report: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    halving: int = 0
    metric: str = "top1_error"
    jobs: int = 0
    search: int = 0
    allow_other_bits: bool = False
    stuck_after: int = STUCK_AFTER
    top: int = 0
    again: int = 0
    stop_trial: str = ""


class Executor(Protocol):
    """Runs jobs: each is a process that trains the named trials up to a share of the run."""

    def run(
        self,
        jobs: Sequence[Job],
        until: float,
        *,
        stop_requested: Callable[[], bool],
        watch: Callable[[list[str]], None],
    ) -> None:
        """Returns when all jobs have ended."""


def make_jobs(
    sweep: Sweep, trials: Sequence[Trial], base: ConfigDict, options: SweepOptions
) -> list[Job]:
    """The trials still to run, grouped by process.

    Raises:
      UsageError: --executor=vmap, but trials differ in more than numbers, or stream their data.
    """
    left = states.remaining(sweep, trials)
    if options.executor in ("local", "slurm"):
        return [[trial.id] for trial in left]
    if options.executor == "vmap":
        if any(trial.flat.get("data.stream") for trial in trials):
            raise UsageError(
                "--executor=vmap: many lanes cannot read streamed photos (data.stream=True); "
                "use --executor=auto or local"
            )
        kinds = len({signature(trial.flat) for trial in trials})
        if kinds == len(trials) > 1:
            raise UsageError(
                "--executor=vmap: no two trials differ only in numbers that one program carries; "
                "use --executor=auto or local"
            )
    elif not may_share(base):
        return [[trial.id] for trial in left]
    groups = group(left, most=base.launch.lanes, steps=lambda trial: sweep.saved_steps(trial.id))
    return [[trial.id for trial in members] for members in groups]


Runner = Callable[[Sequence[Trial], float, Callable[[], bool]], None]


def make_runner(sweep: Sweep, base: ConfigDict, options: SweepOptions) -> Runner:
    """The function that runs trials up to a share of their length with the chosen executor."""
    executor: Executor
    names = ("fail_fast", "allow_other_bits", "stuck_after")
    how = {name: getattr(options, name) for name in names}
    if options.executor == "slurm":
        executor = SlurmExecutor(sweep, base.launch, **how)
    else:
        executor = LocalExecutor(sweep, jobs=options.jobs, **how)

    def run(trials: Sequence[Trial], until: float, stop_requested: Callable[[], bool]) -> None:
        jobs = make_jobs(sweep, trials, base, options)
        live = Live(sweep, trials, metric=options.metric, until=until)
        try:
            executor.run(jobs, until, stop_requested=stop_requested, watch=live.watch)
        finally:
            live.finish()
        broken = [t.id for t in trials if sweep.status(t.id)[0] in states.BROKEN]
        if options.fail_fast and broken:
            error = sweep.status(broken[0])[1]
            raise LenetAlexnetError(f"--fail-fast: trial {broken[0]} broke: {error}")

    return run
