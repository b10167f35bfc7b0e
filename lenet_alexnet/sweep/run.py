"""The `sweep` command: plan, run what is missing, report."""

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet import plots
from lenet_alexnet.config.checks import check_validation
from lenet_alexnet.config.options import setting
from lenet_alexnet.errors import LenetAlexnetError, UsageError
from lenet_alexnet.sinks.libraries import require
from lenet_alexnet.sweep import halving, plan, results
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Trial, expand
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


def run_sweep(
    path: str,
    base: ConfigDict,
    workdir: Path,
    options: SweepOptions,
    stop_requested: Callable[[], bool] = lambda: False,
) -> int:
    """Runs the sweep of config file `path` over `base`; returns the exit code.

    Raises:
      UsageError: see `expand`; an unknown executor; another sweep's workdir; --halving or --search
        without a validation split.
    """
    _check(options)
    require(setting(base, "log.to"))
    with contextlib.closing(Sweep(workdir)) as sweep:
        if options.search:
            from lenet_alexnet.sweep.search import run_search

            run = make_runner(sweep, base, options)
            trials = run_search(path, base, sweep, options, run, stop_requested)
            return _report(sweep, trials, options)
        trials, repeated = expand(configs.load(path), base, path)
        if repeated:
            print(f"{repeated} of the sweep's trials are repetitions and run once", file=sys.stderr)
        for trial in trials if options.halving else ():
            check_validation(trial.config, "--halving")
        if options.dry_run:
            sweep.check(base)
            jobs = make_jobs(sweep, trials, base, options)
            plan.check(trials)
            print(plan.describe(sweep, trials, jobs, options.executor))
            return 0
        if not options.report:
            _run(sweep, path, trials, base, options, stop_requested)
        return _report(sweep, trials, options)


def _run(
    sweep: Sweep,
    path: str,
    trials: Sequence[Trial],
    base: ConfigDict,
    options: SweepOptions,
    stop_requested: Callable[[], bool],
) -> None:
    """Runs the trials that are left; results.csv is written however they end."""
    run = make_runner(sweep, base, options)
    make_jobs(sweep, trials, base, options)  # It may raise: before anything is written.
    sweep.open(base, path)
    _prepare(sweep, trials, options)
    try:
        if options.halving:
            halving.run(sweep, trials, options.halving, options.metric, run, stop_requested)
        else:
            run(trials, 1.0, stop_requested)
    finally:
        results.write_csv(results.collect(sweep, trials), sweep.root / "results.csv")


def _check(options: SweepOptions) -> None:
    if options.search and options.dry_run:
        raise UsageError("--search has no --dry-run: trials depend on the results before them")
    if options.halving < 0 or options.halving == 1:
        raise UsageError(f"--halving={options.halving} is not 0 (off) or at least 2")


def _prepare(sweep: Sweep, trials: Sequence[Trial], options: SweepOptions) -> None:
    for trial in trials:
        sweep.add(trial)
        if options.retry_failed and sweep.status(trial.id)[0] in states.BROKEN:
            sweep.forget(trial.id)
    left = states.remaining(sweep, trials)
    done = len(trials) - len(left)
    if done:
        print(f"{done} of {len(trials)} trials have already ended", file=sys.stderr)


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
    how = {"fail_fast": options.fail_fast, "allow_other_bits": options.allow_other_bits}
    if options.executor == "slurm":
        executor = SlurmExecutor(sweep, base.launch, **how)
    else:
        executor = LocalExecutor(sweep, jobs=options.jobs, **how)

    def run(trials: Sequence[Trial], until: float, stop_requested: Callable[[], bool]) -> None:
        jobs = make_jobs(sweep, trials, base, options)
        live = Live(sweep, trials)
        try:
            executor.run(jobs, until, stop_requested=stop_requested, watch=live.watch)
        finally:
            live.finish()
        broken = [t.id for t in trials if sweep.status(t.id)[0] in states.BROKEN]
        if options.fail_fast and broken:
            error = sweep.status(broken[0])[1]
            raise LenetAlexnetError(f"--fail-fast: trial {broken[0]} broke: {error}")

    return run


def _report(sweep: Sweep, trials: Sequence[Trial], options: SweepOptions) -> int:
    """Writes results.csv and the figures, prints the table.

    Raises:
      LenetAlexnetError: a trial broke or is still to run.
    """
    if not (sweep.root / "trials").is_dir():
        raise UsageError(f"'{sweep.root}' holds no sweep yet")
    rows = results.collect(sweep, trials)
    results.write_csv(rows, sweep.root / "results.csv")
    print(results.table(rows, options.metric))
    for row in rows:
        if row.status in states.BROKEN:
            print(f"{row.trial.id} {row.status}: {row.values['error']}", file=sys.stderr)
    files = [sweep.root / "results.csv"]
    try:
        from lenet_alexnet.sweep import figures

        files += figures.draw(sweep, rows, options.metric)
    except ModuleNotFoundError:
        print(plots.MISSING, file=sys.stderr)
    print("written: " + ", ".join(str(file) for file in files))
    ended = (states.COMPLETED, states.STOPPED, states.DIVERGED)
    if left := sum(row.status not in ended for row in rows):
        raise LenetAlexnetError(f"{left} of {len(rows)} trials broke or are still to run")
    return 0
