"""A run's batches, read from a data set before the steps that need them.

The step is the only position: `order.Order` gives the examples of batch s.
"""

import threading
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int32, UInt8

from lenet_alexnet.data.dataset import Dataset
from lenet_alexnet.data.order import Order
from lenet_alexnet.errors import UsageError


def read_ahead(
    data: Dataset,
    order: Order,
    start_step: int,
    count: int,
    *,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 0,
    prefetch: int = 4,
) -> Iterator[tuple[UInt8[np.ndarray, "b h w c"], Int32[np.ndarray, " b"]]]:
    """Images and labels of `count` steps from `start_step` on, read by Grain in threads.

    Args:
      data: what to read.
      order: of the examples of `data`.
      start_step: the first step; any step costs the same.
      count: the number of steps.
      process_index: the index of this process, which reads one contiguous part of each batch.
      process_count: the number of processes that read a part.
      threads: how many batches are read at once, one per thread; 0: `data.read_threads`.
      prefetch: how many finished batches may wait.

    Raises:
      UsageError: a batch cannot be divided evenly. DataError: damaged records.
    """
    import grain

    if order.size != len(data):
        raise UsageError(f"an order of {order.size} examples for {len(data)} photos")
    part, rest = divmod(order.batch_size, process_count)
    if rest:
        raise UsageError(
            f"a batch of {order.batch_size} is not shared by {process_count} processes"
        )
    mine = slice(process_index * part, (process_index + 1) * part)
    lock = threading.Lock()

    def read(step: int) -> tuple[np.ndarray, np.ndarray]:
        with lock:  # An order caches its last epochs: one thread at a time.
            index = order.batches(int(step), 1)[0, mine]
        return data.read(index)

    steps = grain.MapDataset.range(start_step, start_step + count).map(read)
    threads = threads or data.read_threads
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, prefetch))
    return iter(steps.to_iter_dataset(options))
