"""The command `activations`."""

from pathlib import Path
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import (
    Command,
    define_checkpoint,
    define_model,
    define_workdir,
    places,
    require,
)
from lenet_alexnet.errors import UsageError
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `activations`."""
    define_workdir(values)
    define_model(values)
    define_checkpoint(values)
    which = "names with commas: conv1,fc7; for AlexNet's variant owt also torchvision's"
    flags.DEFINE_string("layers", None, which, flag_values=values)
    flags.DEFINE_string("out", None, "a file that ends in .npz or .h5", flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    (place,) = places(values)
    require(values, "layers", "out")
    if not rest:
        raise UsageError("no images: lenet-alexnet activations ... --out=FILE.npz IMAGE...")
    backend.set_up()
    from lenet_alexnet.inference import activations
    from lenet_alexnet.inference.model_file import open_trained

    trained = open_trained(place, values.checkpoint)
    for line in activations.write(trained, rest, values.layers.split(","), Path(values.out)):
        print(line)
    print(f"written: {values.out}")
    return 0


COMMAND = Command(
    help="writes what a network's layers answer to image files",
    usage="--workdir=DIR | --model=NAME --layers=conv1,fc7 --out=FILE.npz|h5 IMAGE...",
    define=define,
    run=run,
)
