"""What every iterator of the package keeps to; a class without an entry in EXAMPLES fails."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from minidl.data import (
    ArrayDataSetIterator,
    DataSet,
    DataSetIterator,
    DigitsDataSetIterator,
    IrisDataSetIterator,
    ListDataSetIterator,
    MnistDataSetIterator,
)
from minidl.errors import ConcurrentUseError

FEATURES = np.arange(46, dtype=np.float32).reshape(23, 2)
LABELS = np.eye(23, dtype=np.float32)
MNIST = Path(__file__).parents[1] / "data" / "mnist"
HALVES = [DataSet(FEATURES[:12], LABELS[:12]), DataSet(FEATURES[12:], LABELS[12:])]

EXAMPLES = {
    ArrayDataSetIterator: [
        lambda: ArrayDataSetIterator(FEATURES, LABELS, 4),
        lambda: ArrayDataSetIterator(FEATURES, LABELS, 4, shuffle=True, seed=1),
        lambda: ArrayDataSetIterator(FEATURES, LABELS, 4, shuffle=True, seed=1, drop_last=True),
    ],
    ListDataSetIterator: [lambda: ListDataSetIterator(HALVES), lambda: ListDataSetIterator(HALVES, 5)],
    DigitsDataSetIterator: [lambda: DigitsDataSetIterator(seed=1)],
    IrisDataSetIterator: [lambda: IrisDataSetIterator(40, seed=1)],
    MnistDataSetIterator: [lambda: MnistDataSetIterator(12, seed=1, folder=MNIST)],
}


def iterator_classes(base=DataSetIterator):
    """Return every class derived from ``base`` in minidl that can be made."""
    children = [child for child in base.__subclasses__() if child.__module__.startswith("minidl.")]
    found = {child for child in children if not inspect.isabstract(child)}
    return found.union(*map(iterator_classes, children))


@pytest.fixture(
    params=[make for cls in EXAMPLES for make in EXAMPLES[cls]],
    ids=[f"{cls.__name__}-{i}" for cls in EXAMPLES for i in range(len(EXAMPLES[cls]))],
)
def make(request):
    """Return a function that makes one iterator, the same each time."""
    return request.param


def test_every_class_has_an_example():
    assert iterator_classes() == set(EXAMPLES)


def start_both_ways(iterator):
    return [iter(iterator), iterator.recycled()]


def test_len_and_total_examples_tell_what_comes(make):
    iterator = make()
    for batches in start_both_ways(iterator):
        sizes = [len(batch) for batch in batches]
        assert len(sizes) == len(iterator)
        assert sum(sizes) == iterator.total_examples()
        assert max(sizes) == iterator.batch_size


def test_recycled_batches_equal_fresh_ones_in_every_epoch(make):
    ours, fresh = make(), make()
    for _ in range(2):
        for batch, expected in zip(ours.recycled(), fresh, strict=True):
            np.testing.assert_array_equal(batch.features, expected.features)
            np.testing.assert_array_equal(batch.labels, expected.labels)


def test_batches_of_iter_stay_valid(make):
    iterator = make()
    batches = list(iterator)
    before = [batch.features.copy() for batch in batches]
    for _ in [*iterator, *iterator.recycled(), *iterator.recycled()]:
        pass
    assert all(map(np.array_equal, before, [batch.features for batch in batches]))


def test_reset_lets_the_next_pass_be_whole(make):
    iterator = make()
    next(iter(iterator))
    iterator.reset()
    assert len(list(iterator)) == len(iterator)


def test_close_is_idempotent_and_not_the_end(make):
    with make() as iterator:
        list(iterator.recycled())
        iterator.close()
        iterator.close()
        assert len(list(iterator.recycled())) == len(iterator)


def test_close_gives_the_buffers_back(make):
    iterator = make()
    iterator.pre_processor = lambda batch: None  # so that each copies
    before = next(iterator.recycled()).features
    iterator.close()
    assert not np.shares_memory(before, next(iterator.recycled()).features)


def test_prefetching_is_supported(make):
    assert make().async_supported is True


def test_pre_processor_sees_each_batch_once(make):
    iterator, seen = make(), []
    assert iterator.pre_processor is None
    iterator.pre_processor = seen.append
    for batches in start_both_ways(iterator):
        seen.clear()
        handed_out = list(batches)
        assert len(seen) == len(iterator)
        assert all(batch is other for batch, other in zip(handed_out, seen, strict=True))


def test_class_names_match_the_labels(make):
    iterator = make()
    assert iterator.labels is None or len(iterator.labels) == next(iter(iterator)).labels.shape[1]


def test_a_second_recycled_pass_is_refused_until_the_first_is_closed(make):
    iterator = make()
    running = iterator.recycled()
    next(running)
    expected = (
        f"Another recycled() pass over this {type(iterator).__name__} is not finished, and both would write "
        "into the same buffers. Finish or close() that pass, or use iter() instead, whose batches stay valid."
    )
    with pytest.raises(ConcurrentUseError, match=f"^{re.escape(expected)}$"):
        next(iterator.recycled())
    running.close()
    assert len(list(iterator.recycled())) == len(iterator)


def test_a_recycled_pass_ends_with_its_loop(make):
    iterator = make()
    for _ in iterator.recycled():
        break
    with pytest.raises(KeyError, match="in the loop"):
        fail_in_loop(iterator)
    assert len(list(iterator.recycled())) == len(iterator)


def fail_in_loop(iterator):
    for _ in iterator.recycled():
        raise KeyError("in the loop")


def test_a_failing_pre_processor_leaves_nothing_held(make):
    iterator = make()
    iterator.pre_processor = lambda batch: batch.no_such_field
    running = iterator.recycled()
    with pytest.raises(AttributeError, match="no_such_field"):
        next(running)
    iterator.pre_processor = None
    assert len(list(iterator.recycled())) == len(iterator)
