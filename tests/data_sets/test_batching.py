"""The pure functions that say which examples form a batch, and the memory of batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data.batching import (
    FreshMemory,
    RecycledMemory,
    batch_bounds,
    number_of_batches,
    rebatched_pieces,
    write_epoch_order,
)

FLOAT32 = np.dtype(np.float32)


@pytest.mark.parametrize(
    ("examples", "batch_size", "drop_last", "bounds"),
    [
        (1, 1, False, [(0, 1)]),
        (5, 2, False, [(0, 2), (2, 4), (4, 5)]),
        (5, 2, True, [(0, 2), (2, 4)]),
        (4, 2, True, [(0, 2), (2, 4)]),
        (3, 9, False, [(0, 3)]),
        (3, 9, True, []),
    ],
)
def test_batch_bounds(examples, batch_size, drop_last, bounds):
    assert list(batch_bounds(examples, batch_size, drop_last)) == bounds
    assert number_of_batches(examples, batch_size, drop_last) == len(bounds)


@pytest.mark.parametrize(
    ("sizes", "batch_size", "batches"),
    [
        ([3, 1], None, [[(0, 0, 3)], [(1, 0, 1)]]),
        ([4], 2, [[(0, 0, 2)], [(0, 2, 4)]]),
        ([3, 1, 2], 4, [[(0, 0, 3), (1, 0, 1)], [(2, 0, 2)]]),
        ([3, 3], 2, [[(0, 0, 2)], [(0, 2, 3), (1, 0, 1)], [(1, 1, 3)]]),
        ([1, 1, 1], 9, [[(0, 0, 1), (1, 0, 1), (2, 0, 1)]]),
    ],
)
def test_rebatched_pieces(sizes, batch_size, batches):
    assert list(rebatched_pieces(sizes, batch_size)) == batches


@given(n=st.integers(1, 200), seed=st.integers(0, 2**130), epoch=st.integers(0, 1000))
def test_order_is_a_permutation_whatever_was_there(n, seed, epoch):
    order, again = np.full(n, -7), np.full(n, 9)
    write_epoch_order(order, seed, epoch)
    write_epoch_order(again, seed, epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, again)


def test_order_depends_on_seed_and_epoch():
    orders = np.empty((20, 50), np.intp)
    for row, (seed, epoch) in enumerate((seed, epoch) for seed in range(4) for epoch in range(5)):
        write_epoch_order(orders[row], seed, epoch)
    assert len(np.unique(orders, axis=0)) == 20


def test_every_position_gets_every_example_about_as_often():
    orders = np.empty((3000, 5), np.intp)
    for epoch, order in enumerate(orders):
        write_epoch_order(order, 11, epoch)
    counts = [np.bincount(column, minlength=5) for column in orders.T]
    np.testing.assert_allclose(counts, 600, atol=6 * np.sqrt(3000 * 0.2 * 0.8))


def test_fresh_memory_gives_separate_arrays():
    first, second = (FreshMemory().empty("features", (2, 3), FLOAT32) for _ in range(2))
    assert (first.shape, first.dtype) == ((2, 3), FLOAT32)
    assert not np.shares_memory(first, second)


def test_recycled_memory_shares_a_buffer_for_each_name():
    memory = RecycledMemory()
    large = memory.empty("features", (4, 3), FLOAT32)
    small = memory.empty("features", (2, 5), FLOAT32)
    other = memory.empty("labels", (2, 5), FLOAT32)
    assert (small.shape, small.dtype) == ((2, 5), FLOAT32)
    assert small.ctypes.data == large.ctypes.data
    assert not np.shares_memory(small, other)


def test_recycled_memory_grows_and_leaves_what_it_gave():
    memory = RecycledMemory()
    small = memory.empty("features", (2,), FLOAT32)
    small[:] = 1
    memory.empty("features", (2000,), FLOAT32)[:] = 2
    np.testing.assert_array_equal(small, 1)


def test_released_memory_is_not_used_again():
    memory = RecycledMemory()
    before = memory.empty("features", (2,), FLOAT32)
    memory.release()
    assert not np.shares_memory(before, memory.empty("features", (2,), FLOAT32))
