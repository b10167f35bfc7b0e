"""The command `bench`: its flags, its table and its JSON."""

import json
import os
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from absl import flags

from lenet_alexnet.bench.options import CLOCKS, Options
from lenet_alexnet.cli.command import OPTIONAL, Command, define_json, require
from lenet_alexnet.errors import UsageError, nearest
from lenet_alexnet.runtime import backend

MEASURED = ("lenet5", "alexnet", "cifar", "input", "sweep", "log")
SUBJECTS = (*MEASURED, "scaling", "cost")
PEERS = ("lenet5", "alexnet", "cifar")
BATCHES = {
    "lenet5": "32,128,512",
    "alexnet": "32",
    "cifar": "128",
    "input": "32",
    "sweep": "128",
    "log": "128",
    "scaling": "32",
}
NOTE = "FLOP/s: 3 passes x 2 x the multiply-adds of `info`, however they are computed"


def define(values: flags.FlagValues) -> None:
    """The flags of `bench`."""
    define_json(values)
    flags.DEFINE_string("batch", "", "batch sizes, separated by commas", flag_values=values)
    kinds = "of the activations, separated by commas: float32, bfloat16"
    flags.DEFINE_string("precision", "float32", kinds, flag_values=values)
    flags.DEFINE_enum("peer", None, ["torch"], "also time PyTorch, in turns", flag_values=values)
    flags.DEFINE_integer("repeats", 7, "turns of each subject", 1, flag_values=values)
    length = "length of a turn, about (default: 0.5, cifar 2, alexnet 3.5, others up to 8)"
    flags.DEFINE_float("seconds", None, length, 1e-3, flag_values=values)
    cpu = "wall, or cpu: processor seconds, for one core of a shared machine"
    flags.DEFINE_enum("clock", "wall", list(CLOCKS), cpu, flag_values=values)
    variant = "of AlexNet (default: paper) or of the CIFAR-10 networks (19pct)"
    flags.DEFINE_string("variant", "", variant, flag_values=values)
    modes = "scaling: how the devices share the work: dp, tower, owt"
    flags.DEFINE_string("mode", "dp", modes, flag_values=values)
    flags.DEFINE_integer("runs", 16, "sweep: number of runs in parallel", 1, flag_values=values)
    flags.DEFINE_integer("image_size", 256, "of stored photos; crop: 7/8", 73, flag_values=values)
    flags.DEFINE_integer("images", 1024, "random photos to store", 1, flag_values=values)
    flags.DEFINE_string("data_dir", "", "prepared photos, not random ones", flag_values=values)
    flags.DEFINE_string("name", "imagenette", "the data set in --data_dir", flag_values=values)
    absent = "cost: the GPU, which need not be there, that the step is compiled for: h100"
    flags.DEFINE_string("for", None, absent, flag_values=values)
    many = "cost: how many of them share each batch"
    flags.DEFINE_integer("devices", 1, many, 1, flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Measures the named subject, or all; returns the exit code."""
    if len(rest) > 1:
        raise UsageError(f"'{rest[1]}' is not expected here: bench takes one subject")
    for name in rest:
        if name not in SUBJECTS:
            raise UsageError(f"unknown subject '{name}': {nearest(name, SUBJECTS)}")
    if (rest == ["cost"]) != ("config" in values):
        needs = (
            "bench cost needs --config=FILE" if rest == ["cost"] else "--config is for bench cost"
        )
        raise UsageError(needs)
    if rest == ["cost"]:
        return _cost(values)
    wanted = tuple(rest) or MEASURED
    options = Options(**{field.name: values[field.name].value for field in fields(Options)})
    if options.peer and (others := [n for n in wanted if n not in PEERS]):
        raise UsageError(f"--peer={options.peer} is for {', '.join(PEERS)}, not {others[0]}")
    sizes = {name: _batches(values.batch or BATCHES[name]) for name in wanted}
    _set_up(wanted, options.peer)

    from lenet_alexnet.bench import machine, report
    from lenet_alexnet.bench.run import measure_one
    from lenet_alexnet.models import DTYPES

    precisions = values.precision.split(",")
    for precision in precisions:
        if precision not in DTYPES:
            raise UsageError(f"unknown precision '{precision}': {nearest(precision, DTYPES)}")

    everything = machine.describe() | {"flops": NOTE, "results": []}
    if not values.json:
        print(report.heading(everything))
    for name in wanted:
        for precision in precisions:
            for batch in sizes[name]:
                found = measure_one(name, batch, precision, options)
                everything["results"].append(found)
                if not values.json:
                    print("\n" + report.as_table(found), flush=True)
    if values.json:
        print(json.dumps(everything))
    return 0


def _cost(values: Any) -> int:
    """What XLA compiles for a GPU that is not there."""
    from lenet_alexnet.info import absent

    require(values, "for")
    absent.require(values["for"].value)
    backend.set_up()
    from lenet_alexnet.bench import cost

    found = cost.analyse(values.config, values["for"].value, values.devices)
    print(json.dumps(found) if values.json else cost.as_table(found))
    return 0


def _set_up(wanted: Sequence[str], peer: str | None) -> None:
    """Before JAX starts: quiet libraries; for many devices, each core is one, as in `sweep`."""
    if peer:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            hint = "pip install 'lenet-alexnet[torch]'"
            raise UsageError(f"--peer=torch needs PyTorch: {hint}") from error
        # JAX would take three quarters of a GPU's memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
    backend.set_up()
    if {"sweep", "scaling"} & {*wanted}:
        backend.each_core_a_device()


def _batches(text: str) -> list[int]:
    sizes = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(sizes):
        raise UsageError(f"--batch={text}: write whole numbers from 1 on, separated by commas")
    return sizes


COMMAND = Command(
    help="measures speed: training steps, reading, sweeps; PyTorch beside them if asked",
    usage="[lenet5|alexnet|cifar|input|sweep|scaling] [--batch=32,128] [--peer=torch]\n"
    "       lenet-alexnet bench cost --for=h100 --config=FILE [--devices=N]",
    define=define,
    run=run,
    config=OPTIONAL,
)
