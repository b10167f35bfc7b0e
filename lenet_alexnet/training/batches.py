"""The data of a dispatch of training steps: resident arrays, or batches read from disk."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from lenet_alexnet.data import Dataset
from lenet_alexnet.data.order import Order
from lenet_alexnet.data.read_ahead import read_ahead
from lenet_alexnet.runtime import heartbeat
from lenet_alexnet.training.layout import Layout
from lenet_alexnet.training.step import resident_steps, streamed_steps


class Resident:
    """A data set on the device; a dispatch sends only the indices of its examples."""

    run_steps = staticmethod(resident_steps)
    waited = 0.0

    def __init__(self, arrays: Any, order: Order, per_dispatch: int, layout: Layout) -> None:
        self._layout, self._arrays = layout, layout.put(arrays)
        self._order, self._per_dispatch = order, per_dispatch

    def __call__(self, step: int, count: int, running: Any = None) -> tuple[Any, Any, Any]:
        """(images, labels, order) for `count` steps from `step` on; 0 gives only the shapes."""
        order = np.zeros((self._per_dispatch, self._order.batch_size), np.int32)
        if count:
            order[:count] = self._order.batches(step, count)
        return (*self._arrays, self._layout.put(order, self._layout.batches))


class FromDisk:
    """Batches of stored photos, read before the step that needs them."""

    run_steps = staticmethod(streamed_steps)

    def __init__(
        self, data: Dataset, order: Order, per_dispatch: int, layout: Layout, total: int
    ) -> None:
        self._data, self._order, self._layout = data, order, layout
        self._per_dispatch, self._total = per_dispatch, total
        self._batches: Iterator[tuple[np.ndarray, np.ndarray]] = iter(())
        self._next = -1
        self.waited = 0.0  # seconds in which the device was idle, waiting for data

    def __call__(self, step: int, count: int, running: Any = None) -> tuple[Any, Any, Any]:
        """(images, labels, order) for `count` steps; `running`: a result not yet ready."""
        if count and step != self._next:
            self._batches = read_ahead(
                self._data,
                self._order,
                step,
                self._total - step,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
            )
        order = np.zeros((self._per_dispatch, self._order.batch_size), np.int32)
        if count:
            order[:count] = self._order.batches(step, count)
        shape = (self._per_dispatch, self._order.batch_size // jax.process_count())
        images = np.empty((*shape, *self._data.image_shape), np.uint8)
        labels = np.zeros(shape, np.int32)
        with heartbeat.during("waiting for data"):
            for i in range(count):
                start = time.monotonic()
                images[i], labels[i] = next(self._batches)
                heartbeat.beat()
                if running is None or running.is_ready():
                    self.waited += time.monotonic() - start
        self._next = step + count if count else self._next
        layout = self._layout
        return (*layout.put_share((images, labels)), layout.put(order, layout.batches))


def create_feed(
    data: Dataset, order: Order, per_dispatch: int, layout: Layout, total: int
) -> Resident | FromDisk:
    """The feed for data in memory or on disk; the whole run has `total` steps."""
    if data.arrays is not None:
        return Resident(data.arrays, order, per_dispatch, layout)
    return FromDisk(data, order, per_dispatch, layout, total)
