"""The command `eval`."""

import json
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import (
    Command,
    define_checkpoint,
    define_json,
    define_model,
    define_split,
    define_workdir,
    no_more,
    of_classes,
    places,
)
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `eval`."""
    define_workdir(values)
    define_model(values)
    define_json(values)
    define_checkpoint(values)
    flags.DEFINE_integer("views", 0, "1 or 10 views (default: the config's)", 0, flag_values=values)
    define_split(values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    no_more(rest)
    found = places(values, several=True)
    backend.set_up()
    from lenet_alexnet.inference.evaluate import evaluate_workdirs

    result = evaluate_workdirs(
        found,
        split=values.split,
        checkpoint=values.checkpoint,
        data_dir=values.data_dir,
        views=values.views,
    )
    if values.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['split']} error {100 * result['top1_error']:.2f} % "
            f"(top-5 {100 * result['top5_error']:.2f} %), loss {result['loss']:.4f}, "
            f"{result['examples']:,} examples, {result['checkpoint']} checkpoint, "
            + (f"step {result['step']:,}" if "step" in result else f"{len(result['steps'])} runs")
        )
        print("\n".join(of_classes(result)))
    return 0


COMMAND = Command(
    help="evaluates a trained network exactly",
    usage="--workdir=DIR[,DIR...] | --model=NAME[,NAME...] [--split=test] [--views=1|10]",
    define=define,
    run=run,
)
