"""The command `report`."""

from pathlib import Path
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import (
    Command,
    define_checkpoint,
    define_split,
    define_workdir,
    no_more,
    require,
)
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `report`."""
    define_workdir(values)
    define_checkpoint(values)
    define_split(values)


def run(values: Any, rest: list[str]) -> int:
    """Writes the report of a run; returns the exit code."""
    no_more(rest)
    require(values, "workdir")
    backend.set_up()
    from lenet_alexnet.report.write import write

    workdir = Path(values.workdir)
    figures = write(
        workdir, split=values.split, checkpoint=values.checkpoint, data_dir=values.data_dir
    )
    print(f"written: {workdir / 'report.html'} and {len(figures)} figures in {workdir / 'report'}")
    return 0


COMMAND = Command(
    help="draws a run: curves, kernels, maps, errors, neighbours, on one HTML page",
    usage="--workdir=DIR [--split=test] [--checkpoint=auto|best|last] [--data_dir=DIR]",
    define=define,
    run=run,
)
