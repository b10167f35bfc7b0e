"""Stored photos: reading alone, and training steps with and without reading."""

from typing import Any

import jax

from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.bench.steps import Trainer, alexnet_config
from lenet_alexnet.data.read_ahead import ReadAhead


def subjects(
    batch: int, precision: str, *, variant: str, data_dir: str, name: str, size: int
) -> tuple[Trainer, list[Subject]]:
    """Reading; reading and transfer; AlexNet's step on resident data; the same on read records."""

    def config(stream: bool) -> Any:
        return alexnet_config(
            batch,
            precision,
            variant=variant,
            data_dir=data_dir,
            name=name,
            size=size,
            stream=stream,
        )

    resident, streaming = Trainer(config(False)), Trainer(config(True))
    return resident, [
        _reading("records read", streaming),
        _sending("records on the device", Trainer(config(True))),
        resident.many("steps, resident data", whole=True),
        streaming.many("steps, streamed data", whole=True),
    ]


def _reading(name: str, trainer: Trainer) -> Subject:
    """Reads dispatches into memory; it begins and ends with the same ones ahead."""
    e, done = trainer.e, 0
    rows = e.schedule.per_dispatch
    ahead = ReadAhead(e.train_data, e.order, rows, e.schedule.next_stop)

    def run(count: int) -> None:
        nonlocal done
        for _ in range(count):
            for read in ahead.take(done, rows).reads:
                read.result()
            done += rows
        ahead.settle()

    return Subject(name, run, rows * trainer.batch, "records")


def _sending(name: str, trainer: Trainer) -> Subject:
    """Reads dispatches and sends them to the device."""
    feed, rows, done = trainer.feed, trainer.e.schedule.per_dispatch, 0

    def run(count: int) -> None:
        nonlocal done
        for _ in range(count):
            jax.block_until_ready(feed(done, rows))
            done += rows
        feed.settle()

    return Subject(name, run, rows * trainer.batch, "records")
