"""One measurement of `bench`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax

from lenet_alexnet.bench import input, log, machine, measure, scaling, steps, sweep
from lenet_alexnet.bench.options import CLOCKS, SECONDS, VARIANTS, Options
from lenet_alexnet.bench.report import Measurement


def measure_one(name: str, batch: int, precision: str, options: Options) -> dict[str, Any]:
    """Measures one subject with one batch size and precision; returns the result for JSON."""
    with contextlib.ExitStack() as stack:
        largest = batch * (jax.device_count() if name == "scaling" else 1)
        data_dir, photos = stack.enter_context(_photos(name, largest, options))
        of_photos: dict[str, Any] = {
            "variant": options.variant or VARIANTS.get(name, ""),
            "data_dir": data_dir,
            "name": photos,
            "size": options.image_size,
        }
        notes: list[str] = []
        touched = None
        if name == "input":
            trainer, subjects = input.subjects(batch, precision, **of_photos)
        elif name == "sweep":
            trainer, subjects = sweep.subjects(options.runs, batch, precision)
        elif name == "scaling":
            trainers, subjects = scaling.subjects(batch, precision, options.mode, **of_photos)
            trainer = trainers[0]
        elif name == "log":
            trainer, subjects = stack.enter_context(log.subjects(batch, precision))
        else:
            trainer = steps.Trainer(_config(name, batch, precision, of_photos))
            single, touched = trainer.single()
            subjects = [single, trainer.many()]
        ours = len(subjects)
        if options.peer:
            peers, notes = _peers(trainer, batch, precision)
            subjects = [*subjects, *peers]
        load = machine.load()
        measured = measure.interleave(
            [*subjects, *machine.limits(precision)],
            repeats=options.repeats,
            seconds=options.seconds or SECONDS[name],
            clock=CLOCKS[options.clock],
        )
    found = Measurement(
        subject=name,
        batch=batch,
        precision=precision,
        flops=trainer.flops,
        touched=touched,
        measured=measured,
        ours=ours,
    )
    result = found.as_dict()
    if name == "scaling":
        result["scaling"] = scaling.efficiencies(trainers, result["ratios"])
    return result | {
        "notes": notes,
        "clock": options.clock,
        "load": [load, machine.load()],
    }


def _config(name: str, batch: int, precision: str, of_photos: dict[str, Any]) -> Any:
    if name == "lenet5":
        return steps.lenet5_config(batch, precision)
    if name == "alexnet":
        return steps.alexnet_config(batch, precision, **of_photos)
    del of_photos["size"]
    return steps.cifar_config(batch, precision, **of_photos)


def _peers(trainer: Any, batch: int, precision: str) -> tuple[list[Any], list[str]]:
    from lenet_alexnet.bench import peer_torch  # PyTorch is an extra.

    return peer_torch.subjects(
        trainer.e.model,
        batch=batch,
        precision=precision,
        optimizer=steps.OPTIMIZER,
        gpu=jax.default_backend() == "gpu",
    )


@contextlib.contextmanager
def _photos(name: str, batch: int, options: Options) -> Iterator[tuple[str, str]]:
    """Prepared photos (data_dir, name), for the subjects that need them."""
    if name not in ("alexnet", "input", "cifar", "scaling"):
        yield "", ""
    elif options.data_dir:
        yield options.data_dir, options.name
    else:
        size = steps.CIFAR_SIZE if name == "cifar" else options.image_size
        with steps.random_photos(max(options.images, batch), size) as place:
            yield place
