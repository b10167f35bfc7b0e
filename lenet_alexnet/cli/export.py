"""The command `export`."""

from pathlib import Path
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command, define_checkpoint
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `export`."""
    define_checkpoint(values)
    formats = "safetensors, torch, caffe-npy, onnx or stablehlo"
    flags.DEFINE_string("format", "safetensors", formats, flag_values=values)
    flags.DEFINE_string("to", "", "the file (default: the run's name)", flag_values=values)
    help = "onnx, stablehlo: the file takes bytes 0..255 in place of normalised images"
    flags.DEFINE_bool("with-preprocessing", False, help, flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    if len(rest) != 1:
        raise UsageError("one run: lenet-alexnet export RUN --format=FORMAT")
    backend.set_up()
    from lenet_alexnet.exchange.export import export

    for line in export(
        Path(rest[0]),
        values.format,
        values.to,
        with_preprocessing=values["with-preprocessing"].value,
        checkpoint=values.checkpoint,
    ):
        print(line)
    return 0


COMMAND = Command(
    help="writes a run's network to a file for other programs",
    usage="RUN --format=safetensors|torch|caffe-npy|onnx|stablehlo [--to=FILE]",
    define=define,
    run=run,
)
