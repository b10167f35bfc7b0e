"""The command `predict`."""

import json
import sys
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import (
    Command,
    define_checkpoint,
    define_json,
    define_model,
    define_workdir,
    places,
)
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `predict`."""
    define_workdir(values)
    define_model(values)
    define_json(values)
    define_checkpoint(values)
    flags.DEFINE_integer("top", 5, "at most N classes for each image", 1, flag_values=values)
    flags.DEFINE_string("invert", "auto", "dark ink on white: auto, yes or no", flag_values=values)
    flags.DEFINE_string("show", "", "a PNG file of what the network sees", flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    (place,) = places(values)
    if not rest:
        raise UsageError("no images: lenet-alexnet predict --workdir=DIR IMAGE...")
    backend.set_up()
    from lenet_alexnet.inference.predict import predict

    results = predict(
        place,
        rest,
        top=values.top,
        invert=values.invert,
        checkpoint=values.checkpoint,
        show=values.show,
    )
    for result in results:
        for warning in result["warnings"]:
            print(f"warning: {result['file']}: {warning}", file=sys.stderr)
    if values.json:
        print(json.dumps(results))
        return 0
    for result in results:
        classes = (f"{p['class']} {100 * p['probability']:.1f} %" for p in result["predictions"])
        print(f"{result['file']}: {', '.join(classes)}")
    return 0


COMMAND = Command(
    help="classifies image files with a trained network",
    usage="--workdir=DIR | --model=NAME IMAGE...",
    define=define,
    run=run,
)
