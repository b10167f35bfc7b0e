"""Reading ahead: the order of dispatches, what is read before it is needed, memory used again."""

import contextlib
import threading

import jax
import numpy as np
import pytest

from lenet_alexnet.data.buffers import Buffers
from lenet_alexnet.data.dataset import InMemory
from lenet_alexnet.data.order import Order
from lenet_alexnet.data.read_ahead import BUFFERS, ReadAhead
from lenet_alexnet.errors import DataError
from tests.helpers.processes import wait_for

BATCH, ROWS, TOTAL = 4, 3, 20


class OnDisk:
    """Examples as if they were read from disk; `opened` must be set before they are read."""

    arrays, read_threads = None, 2

    def __init__(self, size=10):
        images = np.arange(size, dtype=np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
        self._data = InMemory(images, np.arange(size, dtype=np.int32), tuple("0123456789"))
        self.image_shape, self.class_names = self._data.image_shape, self._data.class_names
        self.calls = 0
        self.opened, self.damaged = threading.Event(), set()
        self.opened.set()
        self._lock = threading.Lock()

    def __len__(self):
        return len(self._data)

    def fingerprint(self):
        return self._data.fingerprint()

    def with_class_names(self, class_names):
        raise NotImplementedError

    def read(self, index):
        with self._lock:
            self.calls += 1
        self.opened.wait()
        if self.damaged & set(map(int, index)):
            raise DataError("damaged")
        return self._data.read(index)


@contextlib.contextmanager
def reading(data, **options):
    order = Order(0, len(data), BATCH)
    ahead = ReadAhead(data, order, ROWS, lambda step: min(step + ROWS, TOTAL), **options)
    with contextlib.closing(ahead):
        yield ahead, order


def take(ahead, step, count):
    batches = ahead.take(step, count)
    for read in batches.reads:
        read.result(timeout=60)
    return batches.arrays


def check(arrays, order, step, count):
    images, labels = map(np.asarray, arrays)
    expected = order.batches(step, count)
    np.testing.assert_array_equal(labels[:count], expected)
    np.testing.assert_array_equal(images[:count, :, 5, 5, 1], expected)


def test_dispatches_in_order_and_from_any_step_and_count():
    with reading(OnDisk()) as (ahead, order):
        for step, count in ((0, 3), (3, 3), (6, 2), (8, 3), (11, 3), (2, 1), (17, 3), (17, 3)):
            check(take(ahead, step, count), order, step, count)


def test_the_next_dispatches_are_read_before_they_are_asked_for():
    data = OnDisk()
    with reading(data) as (ahead, order):
        assert data.calls == 0
        first = take(ahead, 0, ROWS)
        wait_for(lambda: data.calls == BUFFERS * ROWS, 60)  # and no more: `first` is in use
        check(first, order, 0, ROWS)
        ahead.settle()
        assert data.calls == BUFFERS * ROWS
        del first
        check(take(ahead, 3, ROWS), order, 3, ROWS)
        ahead.settle()
        assert data.calls == (BUFFERS + 1) * ROWS


def test_reading_stops_at_the_end_of_the_run():
    data = OnDisk()
    with reading(data) as (ahead, order):
        check(take(ahead, 18, 2), order, 18, 2)
        ahead.settle()
        assert data.calls == 2


def test_arrays_in_use_keep_their_memory():
    """JAX's arrays too: on a CPU they are the buffer, as it begins at a page."""
    where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with reading(OnDisk(), put=lambda arrays: jax.device_put(arrays, where)) as (ahead, order):
        kept = [(step, take(ahead, step, ROWS)) for step in (0, 3, 6)]
        started = []
        blocked = threading.Thread(target=lambda: started.append(take(ahead, 9, ROWS)))
        blocked.start()
        blocked.join(0.3)
        assert blocked.is_alive()
        for step, arrays in kept:
            check(arrays, order, step, ROWS)
        del arrays
        kept.clear()
        blocked.join(60)
        check(started[0], order, 9, ROWS)


def test_the_same_memory_is_used_again():
    seen = set()
    with reading(OnDisk(), put=lambda arrays: arrays) as (ahead, _):
        for step in range(0, 18, 3):
            images, _ = take(ahead, step, ROWS)
            seen.add(images.ctypes.data)
            del images
    assert len(seen) <= BUFFERS


def test_arrays_are_put_in_the_thread_that_read_last():
    threads = []

    def put(arrays):
        threads.append(threading.current_thread())
        return arrays

    with reading(OnDisk(), put=put) as (ahead, _):
        take(ahead, 0, ROWS)
        ahead.settle()
        assert len(threads) == BUFFERS
        assert threading.main_thread() not in threads


def test_an_error_comes_with_its_own_dispatch():
    data = OnDisk(size=40)
    with reading(data) as (ahead, order):
        data.damaged = set(map(int, order.batches(4, 1)[0, :1]))
        check(take(ahead, 0, ROWS), order, 0, ROWS)
        with pytest.raises(DataError, match="damaged"):
            take(ahead, 3, ROWS)


def test_closing_ends_the_threads_and_forgets_the_rest():
    data = OnDisk()
    data.opened.clear()
    with reading(data) as (ahead, _):
        ahead.take(0, ROWS)
        wait_for(lambda: data.calls == data.read_threads, 60)
    data.opened.set()
    wait_for(lambda: not [t for t in threading.enumerate() if "read ahead" in t.name], 60)
    assert data.calls == data.read_threads


def test_a_buffer_is_free_when_its_last_view_is_gone():
    buffers = Buffers(1, (4, 5))
    buffer = buffers.take(wait=True)
    assert buffer.ctypes.data % 64 == 0
    view = buffer[1:, 2]
    del buffer
    assert buffers.take(wait=False) is None
    view[:] = 7
    del view
    buffer = buffers.take(wait=False)
    assert buffer.shape == (4, 5)
    assert (buffer[1:, 2] == 7).all()
