"""The command `sweep`."""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import (
    Command,
    define_json,
    define_other_bits,
    define_plan,
    define_stuck_after,
    define_workdir,
    no_more,
    print_plan,
    require,
)
from lenet_alexnet.errors import UsageError


def define(values: flags.FlagValues) -> None:
    """The flags of `sweep`."""
    define_workdir(values)
    define_other_bits(values)
    define_stuck_after(values)
    define_plan(values)
    define_json(values)
    executors = ["auto", "vmap", "local", "slurm"]
    choice = "vmap: one program for many trials; local: processes; auto: what fits"
    flags.DEFINE_enum("executor", "auto", executors, choice, flag_values=values)
    for name, text in (
        ("dry-run", "print the trials, their grouping and their cost; start nothing"),
        ("report", "write the tables and figures of the results so far; start nothing"),
        ("retry-failed", "run diverged, failed and killed trials again"),
        ("fail-fast", "stop everything when the first trial fails"),
    ):
        flags.DEFINE_bool(name, False, text, flag_values=values)
    halving = "successive halving: 1/N of the settings continue at each rung (0: all)"
    flags.DEFINE_integer("halving", 0, halving, 0, flag_values=values)
    metric = "what settings are ranked by"
    flags.DEFINE_enum("metric", "top1_error", ["top1_error", "loss"], metric, flag_values=values)
    jobs = "processes at once (0: one for each GPU or core)"
    flags.DEFINE_integer("jobs", 0, jobs, 0, flag_values=values)
    search = "number of trials from Optuna, by the file's search()"
    flags.DEFINE_integer("search", 0, search, 0, flag_values=values)
    top = "rerun this many of the best settings on all training data, then test them: see --again"
    flags.DEFINE_integer("top", 0, top, 0, flag_values=values)
    again = "with --top: the number of new seeds of each setting"
    flags.DEFINE_integer("again", 0, again, 0, flag_values=values)
    stop = "stop the trial with this ID, also while another command runs it; start nothing"
    flags.DEFINE_string("stop-trial", "", stop, flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the sweep that the flags describe; returns the exit code."""
    no_more(rest)
    require(values, "workdir")
    if values.json and not values.plan:
        raise UsageError("--json is for --plan; results.csv has the results of a sweep")
    if values.plan and (values["dry-run"].value or values.report):
        raise UsageError("--plan, --dry-run and --report: give one of them")
    if values.plan and (values.top or values["stop-trial"].value):
        raise UsageError("--plan is for the whole sweep, not for --top or --stop-trial")
    from lenet_alexnet.runtime import signals
    from lenet_alexnet.sweep.run import run_sweep
    from lenet_alexnet.sweep.runner import SweepOptions

    # Each flag is named like its option, with dashes.
    names = [field.name for field in fields(SweepOptions)]
    options = SweepOptions(**{name: values[name.replace("_", "-")].value for name in names})
    for line in values.config_notes:
        print(line, file=sys.stderr)
    with signals.catch() as stop_requested:
        what = values.config_file, values.config, Path(values.workdir), options, stop_requested
        if not values.plan:
            return run_sweep(*what)
        from lenet_alexnet.plan import runs

        text, planned = runs.of_sweep(*what)
    if not values.json:
        print(text + "\n")
    print_plan(planned, as_json=values.json)
    return 0


COMMAND = Command(
    help="runs the sweep() of a config file; run again, only what is missing",
    usage="--config=FILE --workdir=DIR [--executor=auto|vmap|local|slurm] [--dry-run|--plan]",
    define=define,
    run=run,
    config=True,
)
