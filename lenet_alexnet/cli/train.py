"""The command `train`."""

import json
import shlex
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
    of_classes,
    print_plan,
    require,
)
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import backend
from lenet_alexnet.runtime.console import duration


def define(values: flags.FlagValues) -> None:
    """The flags of `train`."""
    define_workdir(values)
    help = "in place of --config: a folder of photos in class folders, from which all is inferred"
    flags.DEFINE_string("photos", None, help, flag_values=values)
    define_json(values)
    many = "many processes without a launcher:"
    flags.DEFINE_string("coordinator", None, f"{many} host:port of the first", flag_values=values)
    flags.DEFINE_integer("process_id", None, f"{many} its number, from 0", 0, flag_values=values)
    flags.DEFINE_integer("num_processes", None, f"{many} how many", 1, flag_values=values)
    help = "the same bits on every run on a GPU; some operations are slower"
    flags.DEFINE_bool("deterministic", False, help, flag_values=values)
    help = "START:STOP: writes a trace of the steps from START to STOP, for TensorBoard or Perfetto"
    flags.DEFINE_string("profile", "", help, flag_values=values)
    define_other_bits(values)
    define_stuck_after(values)
    define_plan(values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    no_more(rest)
    if values.photos and values.workdir is None:
        values.workdir = str(Path("runs") / Path(values.photos).resolve().name)
    if values.plan:
        return _plan(values)
    require(values, "workdir")
    from lenet_alexnet.runtime import age, console, processes, signals, watch

    workdir = Path(values.workdir)
    with (
        signals.catch() as stop_requested,
        watch.watching(values["stuck-after"].value, workdir) as watched,
    ):
        backend.set_up(deterministic=values.deterministic)
        from lenet_alexnet.training import profile

        span = profile.parse(values.profile)
        processes.join(values.coordinator, values.process_id, values.num_processes)
        watched.connect()
        from lenet_alexnet.training.loop import train_and_evaluate

        for line in values.config_notes:
            console.say(line)
        if values.photos:
            console.say(f"workdir: {values.workdir}; the same command resumes it")
        with watched.ending_together():
            summary = train_and_evaluate(
                values.config,
                workdir,
                stop_requested=stop_requested,
                allow_other_bits=values["allow-other-bits"].value,
                span=span,
                began=age.process_began(),
            )
    if values.json:
        print(json.dumps(summary))
        return 0
    if not console.first_process():
        return 0
    results = ", ".join(
        f"{split} error {100 * result['top1_error']:.2f} % of {result['examples']:,}"
        for split, result in summary["eval"].items()
    )
    results = results or "no split to evaluate,"
    print(
        f"{results} after {summary['epoch']:.4g} epochs, {duration(summary['train_seconds'])} of "
        f"training; in {values.workdir}"
    )
    if values.photos:
        for result in summary["eval"].values():
            print("\n".join(of_classes(result)))
        print(f"next: lenet-alexnet predict --workdir={shlex.quote(values.workdir)} PHOTO")
    return 0


def _plan(values: Any) -> int:
    from lenet_alexnet.plan import runs
    from lenet_alexnet.runtime import signals

    if values.num_processes or values.coordinator:
        raise UsageError("--plan times a run of one process")
    if values.deterministic:
        raise UsageError("--plan does not time --deterministic")
    workdir = None if values.workdir is None else Path(values.workdir)
    for line in values.config_notes:
        runs.tell(line)
    with signals.catch() as stop_requested:
        planned = runs.of_run(values.config, workdir, stop_requested)
    print_plan(planned, as_json=values.json)
    return 0


COMMAND = Command(
    help="trains a network; run again on the same folder, it resumes",
    usage="--config=FILE --workdir=DIR [--config.section.key=value ...] [--plan] | --photos=DIR",
    define=define,
    run=run,
    config=True,
)
