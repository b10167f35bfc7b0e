"""The flags of the command `bench`, its table and its JSON."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from absl import flags

from lenet_alexnet.errors import UsageError, nearest

SUBJECTS = ("lenet5", "alexnet", "input", "sweep")
PEERS = ("lenet5", "alexnet")
BATCHES = {"lenet5": "32,128,512", "alexnet": "32", "input": "32", "sweep": "128"}
# Of AlexNet several steps: a call of one pays for fresh memory each time, which training does not.
SECONDS = {"lenet5": 0.5, "alexnet": 3.5, "input": 8.0, "sweep": 0.5}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
NOTE = "FLOP/s: 3 passes x 2 x the multiply-adds of `info`, whatever the machine does for them"


class Options(NamedTuple):
    """The flags, as numbers."""

    repeats: int
    seconds: float | None
    clock: str
    peer: str | None
    variant: str
    runs: int
    image_size: int
    images: int
    data_dir: str
    name: str


def define(values: flags.FlagValues) -> None:
    """The flags of `bench`; --json is the caller's."""
    flags.DEFINE_string("batch", "", "batch sizes, with commas", flag_values=values)
    kinds = "of the activations, with commas: float32, bfloat16"
    flags.DEFINE_string("precision", "float32", kinds, flag_values=values)
    flags.DEFINE_enum("peer", None, ["torch"], "the same in PyTorch, in turns", flag_values=values)
    flags.DEFINE_integer("repeats", 7, "turns of each subject", 1, flag_values=values)
    length = "about so long is a turn (default: 0.5, alexnet 3.5, input 8)"
    flags.DEFINE_float("seconds", None, length, 1e-3, flag_values=values)
    cpu = "wall, or cpu: processor seconds, for one core of a machine that others use"
    flags.DEFINE_enum("clock", "wall", list(CLOCKS), cpu, flag_values=values)
    flags.DEFINE_string("variant", "paper", "of AlexNet", flag_values=values)
    flags.DEFINE_integer("runs", 16, "sweep: runs side by side", 1, flag_values=values)
    flags.DEFINE_integer("image_size", 256, "of stored photos; 7/8 go in", 73, flag_values=values)
    flags.DEFINE_integer("images", 1024, "random photos to store", 1, flag_values=values)
    flags.DEFINE_string("data_dir", "", "prepared photos, not random ones", flag_values=values)
    flags.DEFINE_string("name", "imagenette", "which, in --data_dir", flag_values=values)


def run(values: Any, rest: list[str]) -> int:
    """Measures the named subject, or all; returns the exit code."""
    if len(rest) > 1:
        raise UsageError(f"'{rest[1]}' is not expected here: bench takes one subject")
    for name in rest:
        if name not in SUBJECTS:
            raise UsageError(f"unknown subject '{name}': {nearest(name, SUBJECTS)}")
    wanted = tuple(rest) or SUBJECTS
    options = Options(**{name: values[name].value for name in Options._fields})
    if options.peer and (others := [n for n in wanted if n not in PEERS]):
        raise UsageError(f"--peer={options.peer} is for {' and '.join(PEERS)}, not {others[0]}")
    sizes = {name: _batches(values.batch or BATCHES[name]) for name in wanted}
    _set_up(wanted, options.peer)

    from lenet_alexnet.bench import machine, report
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
                found = _measure(name, batch, precision, options)
                everything["results"].append(found)
                if not values.json:
                    print("\n" + report.as_table(found), flush=True)
    if values.json:
        print(json.dumps(everything))
    return 0


def _set_up(wanted: Sequence[str], peer: str | None) -> None:
    """Before JAX starts: quiet, and for a sweep each core as a device, as `sweep` has them."""
    from lenet_alexnet.runtime import backend

    if peer:
        try:
            import torch  # noqa: F401
        except ImportError as error:
            hint = "pip install 'lenet-alexnet[torch]'"
            raise UsageError(f"--peer=torch needs PyTorch: {hint}") from error
    backend.set_up()
    if "sweep" in wanted:
        backend.each_core_a_device()


def _batches(text: str) -> list[int]:
    sizes = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(sizes):
        raise UsageError(f"--batch={text}: write whole numbers from 1 on, with commas between")
    return sizes


def _measure(name: str, batch: int, precision: str, options: Options) -> dict[str, Any]:
    """One batch size and precision of one subject: all that takes turns, and what follows."""
    from lenet_alexnet.bench import input, machine, measure, steps, sweep
    from lenet_alexnet.bench.report import Group

    with _photos(name, batch, options) as (data_dir, photos):
        of_photos: dict[str, Any] = {
            "variant": options.variant, "data_dir": data_dir, "name": photos,
            "size": options.image_size,
        }  # fmt: skip
        notes: list[str] = []
        touched = None
        if name == "input":
            trainer, subjects = input.subjects(batch, precision, **of_photos)
        elif name == "sweep":
            trainer, subjects = sweep.subjects(options.runs, batch, precision)
        else:
            trainer = steps.Trainer(
                steps.lenet5_config(batch, precision)
                if name == "lenet5"
                else steps.alexnet_config(batch, precision, **of_photos)
            )
            single, touched = trainer.single()
            subjects = [single, trainer.many()]
        ours = len(subjects)
        if options.peer:
            peers, notes = _peers(trainer, batch, precision)
            subjects = [*subjects, *peers]
        load = machine.load()
        measured = measure.interleave(
            [*subjects, *machine.limits(precision)],
            repeats=options.repeats, seconds=options.seconds or SECONDS[name],
            clock=CLOCKS[options.clock],
        )  # fmt: skip
    group = Group(name, batch, precision, trainer.flops, touched, measured, ours)
    return group.as_dict() | {
        "notes": notes,
        "clock": options.clock,
        "load": [load, machine.load()],
    }


def _peers(trainer: Any, batch: int, precision: str) -> tuple[list[Any], list[str]]:
    import jax

    from lenet_alexnet.bench import peer_torch, steps

    return peer_torch.subjects(
        trainer.e.model, batch=batch, precision=precision, optimizer=steps.OPTIMIZER,
        gpu=jax.default_backend() == "gpu",
    )  # fmt: skip


@contextlib.contextmanager
def _photos(name: str, batch: int, options: Options) -> Iterator[tuple[str, str]]:
    """Where prepared photos are (data_dir, name), for the subjects that need some."""
    from lenet_alexnet.bench import steps

    if name not in ("alexnet", "input"):
        yield "", ""
    elif options.data_dir:
        yield options.data_dir, options.name
    else:
        with steps.random_photos(max(options.images, batch), options.image_size) as place:
            yield place
