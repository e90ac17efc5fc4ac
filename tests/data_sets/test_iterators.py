"""Iterators over data in memory: what their batches hold, and what they refuse."""

import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import ArrayDataSetIterator, DataSet, ListDataSetIterator
from minidl.errors import ConcurrentUseError, ConfigurationError, DataError, ShapeError


def numbered(n, start=0, width=3):
    """Return a data set whose fields all tell the number of the example."""
    column = np.arange(start, start + n, dtype=np.float32)[:, None]
    return DataSet(column + np.zeros(width, np.float32), -column, 2 * column, 3 * column[:, 0])


def concatenation(batches):
    return [np.concatenate(fields) for fields in zip(*batches, strict=True)]


def assert_equal_batches(ours, expected):
    """Compare batch by batch, in step, since a recycled batch does not outlive the next."""
    for batch, other in zip(ours, expected, strict=True):
        for array, reference in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, reference)


def shuffled(n=100, batch_size=8, seed=3):
    return array_iterator(n, batch_size, shuffle=True, drop_last=False, seed=seed)


def array_iterator(n, batch_size, shuffle, drop_last, seed=0):
    features, labels, features_mask, labels_mask = numbered(n)
    return ArrayDataSetIterator(features, labels, batch_size, shuffle, seed, features_mask, labels_mask, drop_last)


sizes = st.integers(1, 40)


@given(n=sizes, batch_size=sizes, shuffle=st.booleans())
def test_a_pass_has_every_example_once_and_its_fields_together(n, batch_size, shuffle):
    batches = list(array_iterator(n, batch_size, shuffle, drop_last=False))
    features, labels, features_mask, labels_mask = concatenation(batches)
    np.testing.assert_array_equal(np.sort(labels_mask), 3 * np.arange(n))
    np.testing.assert_array_equal(features, -labels + np.zeros(3))
    np.testing.assert_array_equal(features_mask, -2 * labels)
    np.testing.assert_array_equal(labels_mask, -3 * labels[:, 0])
    assert all(len(batch) == batch_size for batch in batches[:-1])


@given(n=sizes, batch_size=sizes, shuffle=st.booleans())
def test_drop_last_gives_full_batches_of_different_examples(n, batch_size, shuffle):
    batch_size = min(n, batch_size)
    iterator = array_iterator(n, batch_size, shuffle, drop_last=True)
    batches = list(iterator)
    assert [len(batch) for batch in batches] == [batch_size] * (n // batch_size)
    assert len(np.unique(concatenation(batches)[1])) == iterator.total_examples() == n // batch_size * batch_size


@given(n=sizes, batch_size=sizes, drop_last=st.booleans(), pre_processed=st.booleans(), shuffle=st.booleans())
def test_recycled_passes_equal_fresh_ones(n, batch_size, drop_last, pre_processed, shuffle):
    ours, fresh = (array_iterator(n, min(n, batch_size), shuffle, drop_last) for _ in range(2))
    ours.pre_processor = fresh.pre_processor = negate_features if pre_processed else None
    for _ in range(3):
        assert_equal_batches(ours.recycled(), fresh)


@given(lengths=st.lists(sizes, min_size=1, max_size=8), batch_size=sizes, pre_processed=st.booleans())
def test_rebatching_equals_concatenation(lengths, batch_size, pre_processed):
    starts = np.cumsum([0, *lengths])
    datasets = [numbered(n, start) for n, start in zip(lengths, starts, strict=False)]
    iterator = ListDataSetIterator(datasets, batch_size)
    iterator.pre_processor = (lambda batch: None) if pre_processed else None
    batches = list(iterator)
    assert_equal_batches([concatenation(batches)], [concatenation(datasets)])
    assert_equal_batches(iterator.recycled(), batches)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == len(iterator)


def test_list_without_batch_size_gives_each_data_set():
    datasets = [numbered(3, width=2), numbered(5, width=4)]
    iterator = ListDataSetIterator(datasets)
    assert_equal_batches(iterator, datasets)
    assert (len(iterator), iterator.batch_size, iterator.total_examples()) == (2, 5, 8)


def test_list_takes_tuples():
    (batch,) = ListDataSetIterator([([1, 2], [3, 4])])
    np.testing.assert_array_equal(batch.labels, [3, 4])


def test_joined_data_sets_of_two_dtypes_keep_every_digit():
    datasets = [DataSet(np.float32([0.1]), None), DataSet(np.float64([0.1]), None)]
    (batch,) = ListDataSetIterator(datasets, 2)
    np.testing.assert_array_equal(batch.features, [np.float64(np.float32(0.1)), 0.1])


def test_equal_seeds_give_equal_epochs():
    ours, other = shuffled(), shuffled()
    for _ in range(3):
        assert_equal_batches(ours, other)


def test_other_seeds_and_epochs_give_other_orders():
    one, two, unseeded, unseeded_too = (shuffled(seed=seed) for seed in (3, 4, None, None))
    passes = [one, one, two, unseeded, unseeded, unseeded_too]
    orders = [concatenation(iterator)[3] for iterator in passes]
    assert len(np.unique(orders, axis=0)) == len(passes)


def test_both_kinds_of_pass_count_as_an_epoch():
    ours, fresh = shuffled(), shuffled()
    for start_pass in (ours.recycled, ours.__iter__, ours.recycled):
        assert_equal_batches(start_pass(), fresh)


def test_a_refused_pass_is_no_epoch():
    ours, fresh = shuffled(), shuffled()
    running = ours.recycled()
    first = next(running).labels.copy()
    with pytest.raises(ConcurrentUseError, match=r"^Another recycled\(\) pass over this Array.* is not finished,"):
        next(ours.recycled())
    running.close()
    np.testing.assert_array_equal(first, next(iter(fresh)).labels)
    assert_equal_batches(ours, fresh)


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    list(shuffled(seed=None))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_passes_that_overlap_do_not_disturb_each_other():
    ours, fresh = shuffled(), shuffled()
    both = list(zip(iter(ours), iter(ours), strict=True))
    for number in (0, 1):
        assert_equal_batches([pair[number] for pair in both], fresh)


def test_batches_in_order_are_views():
    features = np.zeros((10, 2))
    batches = list(ArrayDataSetIterator(features, None, 4))
    assert all(np.shares_memory(batch.features, features) for batch in batches)


def test_a_short_recycled_batch_lies_in_front_of_the_buffer():
    addresses = [batch.features.ctypes.data for batch in shuffled(10, 4).recycled()]
    assert len(addresses) == 3
    assert len(set(addresses)) == 1


@pytest.mark.parametrize("order", ["F", "every second", "reversed"])
def test_features_of_any_layout_are_shuffled(order, rng):
    base = rng.random((40, 6))
    features = {"F": np.asfortranarray(base), "every second": base[::2], "reversed": base[::-1]}[order]
    ours, fresh = (ArrayDataSetIterator(x, x, 7, True, 5) for x in (features, features.copy("C")))
    assert_equal_batches(ours.recycled(), fresh)


def negate_features(batch):
    np.negative(batch.features, out=batch.features)


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pre_processor_never_reaches_the_data(shuffle):
    iterator = array_iterator(10, 3, shuffle, drop_last=False)
    iterator.pre_processor = negate_features
    for _ in range(2):
        features, labels, *_ = concatenation(iterator)
        np.testing.assert_array_equal(features, labels + np.zeros(3))


def test_a_pre_processor_never_reaches_a_list_of_data_sets():
    datasets = [numbered(3), numbered(3)]
    iterator = ListDataSetIterator(datasets)
    iterator.pre_processor = negate_features
    assert_equal_batches(iterator, [DataSet(-d.features, d.labels, *list(d)[2:]) for d in datasets])
    np.testing.assert_array_equal(datasets[0].features, numbered(3).features)


def test_a_pre_processor_may_return_another_batch():
    iterator = ArrayDataSetIterator(np.ones((4, 2)), np.ones(4), 2)
    iterator.pre_processor = lambda batch: DataSet(batch.features[:, :1], batch.labels)
    assert [batch.features.shape for batch in iterator] == [(2, 1), (2, 1)]


def test_a_pre_processor_may_not_return_nonsense():
    iterator = ArrayDataSetIterator(np.ones((4, 2)), np.ones(4), 2)
    iterator.pre_processor = lambda batch: "done"
    expected = "A batch is a DataSet or a tuple (features, labels[, features_mask, labels_mask]), got str."
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        list(iterator)


def measure_recycled_pass(kind):
    features = np.ones((5000, 256), np.float32)
    labels = np.ones((5000, 16), np.float32)
    halves = [DataSet(features[:2300], labels[:2300]), DataSet(features[2300:], labels[2300:])]
    iterator = {
        "shuffled": lambda: ArrayDataSetIterator(features, labels, 512, shuffle=True, seed=1),
        "F order": lambda: ArrayDataSetIterator(np.asfortranarray(features), labels, 512, shuffle=True),
        "in order": lambda: ArrayDataSetIterator(features, labels, 512),
        "list": lambda: ListDataSetIterator(halves, 512),
    }[kind]()
    iterator.pre_processor = negate_features if kind == "in order" else None

    def one_pass():
        for _ in iterator.recycled():
            pass

    return gauges(one_pass)


@pytest.mark.parametrize("kind", ["shuffled", "F order", "in order", "list"])
def test_a_warm_recycled_pass_allocates_nothing(kind, run_under_counter):
    assert_no_allocation(run_under_counter(measure_recycled_pass, kind), arrays_alive=10)


def bad_array_iterator(**options):
    return lambda: ArrayDataSetIterator(np.ones((5, 2)), np.ones(5), **options)


def mixed_list(*datasets):
    return lambda: ListDataSetIterator([*datasets], batch_size=2)


REFUSED = {
    "batch_size 0": (
        bad_array_iterator(batch_size=0),
        ConfigurationError,
        "batch_size=0 is not possible. Give a whole number of at least 1.",
    ),
    "batch_size 2.0": (
        bad_array_iterator(batch_size=2.0),
        ConfigurationError,
        "batch_size=2.0 is not possible. Give a whole number of at least 1.",
    ),
    "batch_size True": (
        bad_array_iterator(batch_size=True),
        ConfigurationError,
        "batch_size=True is not possible. Give a whole number of at least 1.",
    ),
    "batch_size of a list": (
        lambda: ListDataSetIterator([numbered(2)], batch_size=-1),
        ConfigurationError,
        "batch_size=-1 is not possible. Give a whole number of at least 1.",
    ),
    "seed": (
        bad_array_iterator(seed=-1, shuffle=True),
        ConfigurationError,
        "seed=-1 is not possible. Give a whole number of at least 0.",
    ),
    "nothing left": (
        bad_array_iterator(batch_size=6, drop_last=True),
        ConfigurationError,
        "drop_last=True leaves no batch: there are 5 examples, and batch_size=6. "
        "Choose a smaller batch_size, or drop_last=False.",
    ),
    "lengths": (
        lambda: ArrayDataSetIterator(np.ones((5, 2)), np.ones((4, 2))),
        ShapeError,
        "features have 5 examples, but labels have 4 (shapes (5, 2) and (4, 2)). "
        "The first axis of both counts the same examples.",
    ),
    "empty list": (
        lambda: ListDataSetIterator([]),
        DataError,
        "The list of DataSet is empty. Give at least one.",
    ),
    "no list": (
        lambda: ListDataSetIterator(DataSet([1.0], [2.0])),
        DataError,
        "Expected a list of DataSet, got DataSet(features=(1,) float64, labels=(1,) float64). "
        "Write [dataset] for a single one.",
    ),
    "None": (
        lambda: ListDataSetIterator(None),
        DataError,
        "Expected a list of DataSet, got None. Write [dataset] for a single one.",
    ),
    "widths": (
        mixed_list(numbered(3, width=2), numbered(3, width=4)),
        ShapeError,
        "features of DataSet 0 have shape (3, 2), those of DataSet 1 (3, 4). "
        "All but the first axis must agree to join them into batches; or leave batch_size out.",
    ),
    "mask in one": (
        mixed_list(DataSet([1], [2], [3]), DataSet([1], [2])),
        DataError,
        "DataSet 0 has features_mask, DataSet 1 has none, so they cannot be joined. "
        "Give them to all or to none, or leave batch_size out.",
    ),
    "labels in one": (
        mixed_list(DataSet([1], None), DataSet([1], None), DataSet([1], [2])),
        DataError,
        "DataSet 2 has labels, DataSet 0 has none, so they cannot be joined. "
        "Give them to all or to none, or leave batch_size out.",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


def test_numpy_integers_are_whole_numbers():
    iterator = ArrayDataSetIterator(np.ones(5), None, batch_size=np.int32(2), shuffle=True, seed=np.uint8(3))
    assert len(iterator) == 3


def test_a_seed_in_the_place_of_shuffle_is_refused():
    with pytest.raises(ConfigurationError, match=r"^shuffle=123 is not True or False\.$"):
        ArrayDataSetIterator(np.zeros((3, 2)), np.zeros((3, 2)), 2, 123)
