"""Memory for large arrays that is used again: new memory costs more than the reading."""

import gc
import math
import mmap
import queue
import weakref
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8


class Buffers:
    """A few buffers of bytes, all of one shape.

    One that was taken is free again when no array uses its memory: neither a view of it nor an
    array of JAX, which on a CPU is the same memory, and on a GPU a copy that may not be complete.
    """

    def __init__(self, count: int, shape: Sequence[int]) -> None:
        """`count` buffers of `shape`; the operating system gives the memory at the first use."""
        self._shape = tuple(shape)
        self._free: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        for _ in range(count):
            # It begins at a page: JAX takes arrays that begin at a multiple of 64 bytes as they
            # are.
            self._free.put(mmap.mmap(-1, max(math.prod(shape), 1)))

    def take(self, *, wait: bool) -> UInt8[np.ndarray, "..."] | None:
        """A buffer, its content undefined; if none is free: the next one, or None."""
        while True:
            try:
                memory = self._free.get_nowait()
                break
            except queue.Empty:
                pass
            # JAX lets go of arrays that it has used at Python's next collection.
            gc.collect(0)
            if self._free.empty() and not wait:
                return None
            try:
                memory = self._free.get(timeout=0.01)
                break
            except queue.Empty:
                continue
        # All views of an array that does not own its memory have this array as their base.
        array = np.frombuffer(memory, np.uint8, math.prod(self._shape))
        weakref.finalize(array, self._free.put, memory).atexit = False
        return array.reshape(self._shape)
