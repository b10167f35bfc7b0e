"""Stored photos: reading alone, and training steps with and without reading."""

from typing import Any

import jax

from lenet_alexnet.bench.measure import Subject
from lenet_alexnet.bench.steps import Trainer, alexnet_config
from lenet_alexnet.data.read_ahead import read_ahead


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
    e = streaming.e

    def read(count: int) -> None:
        # A fresh start, so that nothing is read before the clock starts.
        for _ in read_ahead(e.train_data, e.order, 0, count):
            pass

    feed, done = Trainer(config(True)).feed, 0

    def put(count: int) -> None:
        nonlocal done
        end = done + count
        while done < end:
            n = min(end - done, e.schedule.per_dispatch)
            jax.block_until_ready(feed(done, n))
            done += n

    return resident, [
        Subject("records read", read, batch, "records"),
        Subject("records on the device", put, batch, "records"),
        resident.many("steps, resident data"),
        streaming.many("steps, streamed data"),
    ]
