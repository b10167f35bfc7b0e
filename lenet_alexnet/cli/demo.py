"""The command `demo`."""

from functools import partial
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import (
    Command,
    define_checkpoint,
    define_model,
    define_workdir,
    no_more,
    places,
)
from lenet_alexnet.runtime import backend


def define(values: flags.FlagValues) -> None:
    """The flags of `demo`."""
    define_workdir(values)
    define_model(values)
    define_checkpoint(values)
    flags.DEFINE_integer("port", 0, "the page's port; 0: a free one", 0, 65535, flag_values=values)
    flags.DEFINE_bool("no-browser", False, "do not open the page", flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Serves the page until Ctrl-C; returns the exit code."""
    no_more(rest)
    given = places(values) if (values.workdir, values.model) != (None, None) else []
    backend.set_up()
    from lenet_alexnet.demo.server import serve
    from lenet_alexnet.inference import bundled
    from lenet_alexnet.inference.model_file import open_trained

    networks = {name: partial(open_trained, bundled.find(name)) for name in bundled.names()}
    if given:
        first = values.model or values.workdir
        networks.pop(first, None)
        networks = {first: partial(open_trained, given[0], values.checkpoint), **networks}
    serve(networks, port=values.port, browser=not values["no-browser"].value)
    return 0


COMMAND = Command(
    help="a local page: draw a digit, see the network's maps and answer",
    usage="[--workdir=DIR | --model=NAME] [--port=0] [--no-browser]",
    define=define,
    run=run,
)
