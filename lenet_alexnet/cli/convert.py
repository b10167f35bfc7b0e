"""The command `convert`."""

from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command, require
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `convert`."""
    flags.DEFINE_string(
        "to", None, "a new run's folder, or a .safetensors file", flag_values=values
    )
    help = "of AlexNet, where the file does not show it"
    flags.DEFINE_string("variant", "", f"the variant {help}", flag_values=values)
    flags.DEFINE_integer("image_size", 0, f"the input's side {help}", 0, flag_values=values)
    flags.DEFINE_string("mean", "", "Caffe's mean image, a .binaryproto file", flag_values=values)
    flags.DEFINE_string("classes", "", "a file with a class name in each line", flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    if len(rest) != 1:
        raise UsageError("one file of weights: lenet-alexnet convert FILE --to=RUN_OR_FILE")
    require(values, "to")
    backend.set_up()
    from lenet_alexnet.exchange.convert import convert

    for line in convert(
        rest[0],
        values.to,
        variant=values.variant,
        image_size=values.image_size,
        mean=values.mean,
        classes=values.classes,
    ):
        print(line)
    return 0


COMMAND = Command(
    help="makes a run from a file of weights: torchvision's, Caffe's, ours",
    usage="FILE --to=RUN_OR_FILE [--mean=MEAN.binaryproto] [--classes=NAMES.txt]",
    define=define,
    run=run,
)
