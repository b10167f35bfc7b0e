"""The command `export`."""

from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command, define_checkpoint
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import backend
from lenet_alexnet.runtime.storage import expand


def define(values: flags.FlagValues) -> None:
    """The flags of `export`."""
    define_checkpoint(values)
    help = "where the run's data is now"
    flags.DEFINE_string("data_dir", "", help, flag_values=values)
    formats = "safetensors, torch, caffe-npy, onnx or stablehlo"
    flags.DEFINE_string("format", "safetensors", formats, flag_values=values)
    flags.DEFINE_string("to", "", "the file (default: the run's name)", flag_values=values)
    help = "onnx, stablehlo: the file takes bytes 0..255 in place of normalised images"
    flags.DEFINE_bool("with-preprocessing", False, help, flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    if len(rest) != 1:
        raise UsageError("one run or network: lenet-alexnet export RUN --format=FORMAT")
    backend.set_up()
    from lenet_alexnet.inference import bundled

    place = expand(rest[0])
    from lenet_alexnet.exchange.export import export

    for line in export(
        place if place.is_dir() else bundled.find(str(place)),
        values.format,
        values.to,
        with_preprocessing=values["with-preprocessing"].value,
        checkpoint=values.checkpoint,
        data_dir=values.data_dir,
    ):
        print(line)
    return 0


COMMAND = Command(
    help="writes a trained network to a file for other programs",
    usage="RUN|MODEL --format=safetensors|torch|caffe-npy|onnx|stablehlo [--to=FILE]",
    define=define,
    run=run,
)
