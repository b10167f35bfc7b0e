"""The data of a dispatch of training steps: resident arrays, or batches read from disk."""

import time
from concurrent.futures import Future, wait
from typing import Any

import jax
import numpy as np
from jaxtyping import Int32

from lenet_alexnet.data import Dataset
from lenet_alexnet.data.order import Order
from lenet_alexnet.data.read_ahead import ReadAhead
from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.schedule import Schedule
from lenet_alexnet.training.step import resident_steps, streamed_steps

POLL = 0.01  # seconds between two looks at whether the device is idle


class Resident:
    """A data set on the device; a dispatch sends only the indices of its examples."""

    run_steps = staticmethod(resident_steps)
    waited = 0.0

    def __init__(self, arrays: Any, order: Order, per_dispatch: int, layout: Layout) -> None:
        self._layout, self._arrays = layout, layout.put(arrays)
        self._order, self._per_dispatch = order, per_dispatch

    def __call__(self, step: int, count: int, running: Any = None) -> tuple[Any, Any, Any]:
        """(images, labels, order) for `count` steps from `step` on; 0 gives only the shapes."""
        rows = self._order.batches(step, count) if count else None
        order = _padded(rows, self._per_dispatch, self._order.batch_size)
        return (*self._arrays, self._layout.put(order, self._layout.batches))

    def settle(self) -> None:
        """Nothing is read ahead."""

    def close(self) -> None:
        """Nothing is open."""


class FromDisk:
    """Batches of stored photos: read, and sent to the devices, before the step that needs them."""

    run_steps = staticmethod(streamed_steps)

    def __init__(self, data: Dataset, order: Order, schedule: Schedule, layout: Layout) -> None:
        self._layout = layout
        self._shape = (schedule.per_dispatch, order.batch_size)
        self._image_shape = data.image_shape
        self._ahead = ReadAhead(
            data,
            order,
            schedule.per_dispatch,
            schedule.next_stop,
            put=layout.put_share,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        self.waited = 0.0  # seconds in which the device was idle, waiting for data

    def __call__(self, step: int, count: int, running: Any = None) -> tuple[Any, Any, Any]:
        """(images, labels, order) for `count` steps; 0 gives only the shapes of the first two.

        `running` is a result that may not be ready yet.
        """
        if not count:
            where = self._layout.batches
            images = jax.ShapeDtypeStruct(
                (*self._shape, *self._image_shape), np.uint8, sharding=where
            )
            labels = jax.ShapeDtypeStruct(self._shape, np.int32, sharding=where)
            return images, labels, self._layout.put(_padded(None, *self._shape), where)
        with heartbeat.during("waiting for data"):
            batches = self._ahead.take(step, count)
            for read in batches.reads:
                self._wait(read, running)
                heartbeat.beat()
        order = _padded(batches.order, *self._shape)
        return (*batches.arrays, self._layout.put(order, self._layout.batches))

    def settle(self) -> None:
        """Waits until all is read, and sent, that was begun."""
        self._ahead.settle()

    def close(self) -> None:
        """Ends the reading."""
        self._ahead.close()

    def _wait(self, read: Future[None], running: Any) -> None:
        while not read.done():
            start = time.monotonic()
            wait([read], POLL)
            if running is None or running.is_ready():
                self.waited += time.monotonic() - start
        read.result()


def create_feed(
    data: Dataset, order: Order, schedule: Schedule, layout: Layout
) -> Resident | FromDisk:
    """The feed for data in memory or on disk."""
    if data.arrays is not None:
        return Resident(data.arrays, order, schedule.per_dispatch, layout)
    return FromDisk(data, order, schedule, layout)


def _padded(
    order: Int32[np.ndarray, "count batch"] | None, rows: int, batch: int
) -> Int32[np.ndarray, "rows batch"]:
    """The examples of a dispatch's steps, with zeros for the steps that it does not have."""
    padded = np.zeros((rows, batch), np.int32)
    if order is not None:
        padded[: len(order)] = order
    return padded
