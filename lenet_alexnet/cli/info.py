"""The command `info`."""

import json
from typing import Any

from absl import flags

from lenet_alexnet.cli.command import Command, define_json, no_more
from lenet_alexnet.runtime import backend, console


def define(values: flags.FlagValues) -> None:
    """The flags of `info`."""
    define_json(values)
    many = "compile the step for N devices: what each holds and exchanges"
    flags.DEFINE_integer("devices", 0, many, 0, flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Runs the command; returns the exit code."""
    no_more(rest)
    if values.devices:
        backend.simulate_devices(values.devices)
    backend.set_up()
    from lenet_alexnet.info import network, step_cost
    from lenet_alexnet.models import create_model

    for line in values.config_notes:
        console.say(line)
    model = create_model(precision=values.config.train.precision, **values.config.model)
    description = network.describe(model, model.input_shape)
    lines = [network.as_table(description)]
    if values.devices:
        description["parallel"] = step_cost.analyse(values.config, values.devices)
        lines.append(step_cost.as_table(description["parallel"]))
    print(json.dumps(description) if values.json else "\n".join(lines))
    return 0


COMMAND = Command(
    help="a network layer by layer: shapes, parameters, connections, multiply-adds",
    usage="--config=FILE [--devices=N --config.parallel.mode=dp|tower|owt]",
    define=define,
    run=run,
    config=True,
)
