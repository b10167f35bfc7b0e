import numpy as np
import pytest

from lenet_alexnet.data.order import Order, epoch_order


def test_an_epoch_is_a_permutation_that_seed_and_epoch_alone_decide():
    assert sorted(epoch_order(3, 5, 1000)) == list(range(1000))
    assert np.array_equal(epoch_order(3, 5, 1000), epoch_order(3, 5, 1000))
    assert not np.array_equal(epoch_order(3, 5, 1000), epoch_order(3, 6, 1000))
    assert not np.array_equal(epoch_order(3, 5, 1000), epoch_order(4, 5, 1000))


@pytest.mark.parametrize(("size", "batch"), [(10, 4), (12, 4), (5, 5), (7, 3), (4, 4)])
def test_every_example_comes_once_an_epoch_across_batch_borders(size, batch):
    epochs = 6
    order = Order(1, size, batch)
    steps = -(-size * epochs // batch)
    stream = order.batches(0, steps).reshape(-1)[: size * epochs].reshape(epochs, size)
    assert all(sorted(epoch) == list(range(size)) for epoch in stream)


def test_any_cut_gives_the_same_batches():
    whole = Order(1, 11, 4).batches(0, 30)
    order = Order(1, 11, 4)
    parts = [order.batches(s, n) for s, n in ((0, 1), (1, 9), (10, 13), (23, 7))]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.array_equal(Order(1, 11, 4).batches(17, 2), whole[17:19])


def test_a_fixed_order_repeats():
    order = Order(1, 6, 3, reshuffle=False)
    assert np.array_equal(order.batches(0, 2), order.batches(8, 2))
