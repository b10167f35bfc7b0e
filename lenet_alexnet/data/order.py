"""The order of the examples, a pure function of (seed, epoch): the step is the only position."""

import numpy as np
from jaxtyping import Int32


def epoch_order(seed: int, epoch: int, size: int) -> Int32[np.ndarray, " size"]:
    """The permutation of 0..size-1 used in `epoch`."""
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(size).astype(np.int32)


class Order:
    """The endless sequence of examples, cut into batches, which may cross epochs.

    Example p of the sequence is example p % size of epoch p // size. So nothing is dropped or
    padded at an epoch's end, and step s takes examples s*batch_size .. (s+1)*batch_size - 1.
    """

    def __init__(self, seed: int, size: int, batch_size: int, *, reshuffle: bool = True) -> None:
        self.seed, self.size, self.batch_size = seed, size, batch_size
        self.reshuffle = reshuffle  # False: one fixed random order in every epoch (LeNet-5, 1998)
        self._kept: dict[int, np.ndarray] = {}

    def with_seed(self, seed: int) -> "Order":
        """The order for another seed."""
        return Order(seed, self.size, self.batch_size, reshuffle=self.reshuffle)

    def batches(self, step: int, count: int) -> Int32[np.ndarray, "count batch"]:
        """The examples of the `count` steps from `step` on."""
        start, stop = step * self.batch_size, (step + count) * self.batch_size
        parts = []
        for epoch in range(start // self.size, (stop - 1) // self.size + 1):
            first = epoch * self.size
            parts.append(self._epoch(epoch)[max(start - first, 0) : stop - first])
        return np.concatenate(parts).reshape(count, self.batch_size)

    def _epoch(self, epoch: int) -> np.ndarray:
        epoch = epoch if self.reshuffle else 0
        if epoch not in self._kept:
            order = epoch_order(self.seed, epoch, self.size)
            # Two epochs are enough for a batch that crosses from one to the next.
            self._kept = {k: v for k, v in self._kept.items() if k == epoch - 1} | {epoch: order}
        return self._kept[epoch]
