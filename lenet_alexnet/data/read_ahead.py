"""A run's batches, read from a data set before the steps that need them.

The step is the only position: `order.Order` gives the examples of batch s.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from lenet_alexnet.data.buffers import Buffers
from lenet_alexnet.data.dataset import Dataset, read_into
from lenet_alexnet.data.order import Order
from lenet_alexnet.errors import UsageError

# The running steps may use one, those that wait for the device another; the third is filled.
BUFFERS = 3

Put = Callable[[tuple[np.ndarray, np.ndarray]], Any]


class Batches:
    """The batches of a dispatch, as threads read them.

    Attributes:
      step: the first one.
      order: the examples of each step, of all processes.
      reads: one for each step.
      arrays: images and labels as `put` gave them back, when all reads are done.
    """

    def __init__(self, step: int, order: Int32[np.ndarray, "count batch"]) -> None:
        self.step, self.order = step, order
        self.reads: list[Future[None]] = []
        self.arrays: Any = None
        self._left, self._lock = len(order), threading.Lock()

    def read_last(self) -> bool:
        """Notes that one more batch is read; whether it was the last one."""
        with self._lock:
            self._left -= 1
            return not self._left


class ReadAhead:
    """Reads the batches of a run, in threads, a few dispatches ahead."""

    def __init__(
        self,
        data: Dataset,
        order: Order,
        rows: int,
        next_stop: Callable[[int], int],
        *,
        put: Put = lambda arrays: arrays,
        process_index: int = 0,
        process_count: int = 1,
        threads: int = 0,
    ) -> None:
        """Nothing is read before the first `take`.

        Args:
          data: what to read.
          order: of the examples of `data`.
          rows: the most steps of a dispatch.
          next_stop: the step at which the dispatch that starts at a step ends; at the end of the
            run, the same step.
          put: called with the images [rows, b, h, w, c] and labels [rows, b] of a dispatch, in the
            thread that read the last of them. The memory of the images is used again when no array
            uses it any more.
          process_index: the index of this process, which reads one contiguous part of each batch.
          process_count: the number of processes that read a part.
          threads: how many batches are read at once, one per thread; 0: `data.read_threads`.

        Raises:
          UsageError: a batch cannot be divided evenly.
        """
        if order.size != len(data):
            raise UsageError(f"an order of {order.size} examples for {len(data)} photos")
        part, rest = divmod(order.batch_size, process_count)
        if rest:
            raise UsageError(
                f"a batch of {order.batch_size} is not shared by {process_count} processes"
            )
        self._data, self._order, self._next_stop, self._put = data, order, next_stop, put
        self._mine = slice(process_index * part, (process_index + 1) * part)
        self._shape = (rows, part)
        self._buffers = Buffers(BUFFERS, (*self._shape, *data.image_shape))
        self._pool = ThreadPoolExecutor(threads or data.read_threads, "read ahead")
        self._ahead: deque[Batches] = deque()

    def take(self, step: int, count: int) -> Batches:
        """The batches of `count` steps from `step` on, which may not be read yet.

        Those of the next dispatches are read from now on.
        """
        first = self._ahead[0] if self._ahead else None
        if first is None or (first.step, len(first.order)) != (step, count):
            self._drop()
            self._begin(step, step + count, wait=True)
        taken = self._ahead.popleft()
        end = self._ahead[-1] if self._ahead else taken
        start = end.step + len(end.order)
        while (stop := self._next_stop(start)) > start and self._begin(start, stop, wait=False):
            start = stop
        return taken

    def settle(self) -> None:
        """Waits until all is read that was begun."""
        wait([read for batches in self._ahead for read in batches.reads])

    def close(self) -> None:
        """Ends the threads, after the batches that are being read."""
        self._ahead.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, step: int, stop: int, *, wait: bool) -> bool:
        """Begins to read the batches of a dispatch; False if there is no memory yet."""
        images = self._buffers.take(wait=wait)
        if images is None:
            return False
        batches = Batches(step, self._order.batches(step, stop - step))
        labels = np.zeros(self._shape, np.int32)
        for row in range(stop - step):
            read = self._pool.submit(self._read, batches, row, images, labels)
            batches.reads.append(read)
        self._ahead.append(batches)
        return True

    def _read(
        self,
        batches: Batches,
        row: int,
        images: UInt8[np.ndarray, "rows b h w c"],
        labels: Int32[np.ndarray, "rows b"],
    ) -> None:
        read_into(self._data, batches.order[row, self._mine], images[row], labels[row])
        if batches.read_last():
            batches.arrays = self._put((images, labels))

    def _drop(self) -> None:
        """Forgets what is ahead: the reads that run end first."""
        reads = [read for batches in self._ahead for read in batches.reads]
        self._ahead.clear()
        wait([read for read in reads if not read.cancel()])
