"""The `sweep` command: plan, run what is missing, report."""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from lenet_alexnet import config as configs
from lenet_alexnet import plots
from lenet_alexnet.config.checks import check_validation
from lenet_alexnet.config.options import setting
from lenet_alexnet.errors import LenetAlexnetError, UsageError
from lenet_alexnet.sinks.libraries import require
from lenet_alexnet.sweep import again, halving, page, plan, results
from lenet_alexnet.sweep import trials as states
from lenet_alexnet.sweep.expand import Trial, expand
from lenet_alexnet.sweep.runner import SweepOptions, make_jobs, make_runner
from lenet_alexnet.sweep.trials import Sweep


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
        if options.stop_trial:
            before = states.stop(sweep, options.stop_trial)
            print(f"trial {options.stop_trial} is stopped; it was {before}")
            return 0
        if options.top and options.search:
            trials = [sweep.trial(name) for name in sweep.stored()]
            return again.run(path, base, sweep, trials, options, stop_requested)
        if options.search:
            from lenet_alexnet.sweep.search import run_search

            run = make_runner(sweep, base, options)
            trials = run_search(path, base, sweep, options, run, stop_requested)
            return _report(sweep, trials, options)
        trials, repeated = expand(configs.load(path), base, path)
        if repeated:
            print(f"{repeated} of the sweep's trials are repetitions and run once", file=sys.stderr)
        if options.top:
            return again.run(path, base, sweep, trials, options, stop_requested)
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
    if bool(options.top) != bool(options.again):
        raise UsageError("--top and --again need each other: --top=3 --again=5, for example")
    if options.top and (options.dry_run or options.report):
        raise UsageError("--top starts runs at once: it has no --dry-run and no --report")
    if options.halving < 0 or options.halving == 1:
        raise UsageError(f"--halving={options.halving} is not 0 (off) or at least 2")


def _prepare(sweep: Sweep, trials: Sequence[Trial], options: SweepOptions) -> None:
    """Writes the list into the folder; a line reports how the list and the folder differ."""
    stored = set(sweep.stored())
    for trial in trials:
        sweep.add(trial)
        if options.retry_failed and sweep.status(trial.id)[0] in states.BROKEN:
            sweep.forget(trial.id)
    sweep.list_trials(trials)
    if stored:
        print(_changes(sweep, trials, stored), file=sys.stderr)


def _changes(sweep: Sweep, trials: Sequence[Trial], stored: set[str]) -> str:
    """What a folder with trials and the list have in common, and what only one of them has."""
    counts = Counter(sweep.status(trial.id)[0] for trial in trials)
    ended = sum(counts[state] for state in states.ENDED)
    line = f"{ended} of {len(trials)} trials have already ended"
    if begun := counts[states.PARTIAL]:
        line += f"; resumed: {begun}"
    if new := sum(trial.id not in stored for trial in trials):
        line += f"; new: {new}"
    if gone := len(stored - {trial.id for trial in trials}):
        line += f"; no longer in the list, kept on disk: {gone}"
    return line


def _report(sweep: Sweep, trials: Sequence[Trial], options: SweepOptions) -> int:
    """Writes results.csv, the page and the figures, prints the table.

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
    files = [sweep.root / "results.csv", page.write(sweep, rows, options.metric)]
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
