"""The real data in the package."""

import importlib.resources
import re

import numpy as np
import pytest

from minidl.data import DigitsDataSetIterator, IrisDataSetIterator
from minidl.errors import ConfigurationError

BUNDLED = {"digits": (DigitsDataSetIterator, 1797, 1437), "iris": (IrisDataSetIterator, 150, 120)}


def whole(iterator_class, train):
    """Return all of one part, in the order of the file, as a single batch."""
    (batch,) = iterator_class(batch_size=2000, train=train, shuffle=False)
    return batch


def rows(batch):
    return {row.tobytes() for row in np.hstack([batch.features, batch.labels])}


def test_digits_equal_those_of_scikit_learn():
    expected = pytest.importorskip("sklearn.datasets").load_digits()
    digits = whole(DigitsDataSetIterator, train=None)
    np.testing.assert_array_equal(digits.features * 16, expected.data)
    np.testing.assert_array_equal(digits.labels.argmax(axis=1), expected.target)


def test_iris_equals_that_of_scikit_learn():
    expected = pytest.importorskip("sklearn.datasets").load_iris()
    iris = whole(IrisDataSetIterator, train=None)
    np.testing.assert_array_equal(iris.features, expected.data.astype(np.float32))
    np.testing.assert_array_equal(iris.labels.argmax(axis=1), expected.target)
    assert IrisDataSetIterator().labels == list(expected.target_names)


@pytest.mark.parametrize(("iterator_class", "total", "for_training"), BUNDLED.values(), ids=BUNDLED)
def test_the_split_parts_all_examples(iterator_class, total, for_training):
    everything, train, test = (whole(iterator_class, train) for train in (None, True, False))
    assert (len(everything), len(train), len(test)) == (total, for_training, total - for_training)
    assert rows(train) | rows(test) == rows(everything)


@pytest.mark.parametrize(("iterator_class", "total", "for_training"), BUNDLED.values(), ids=BUNDLED)
def test_the_split_takes_a_fifth_of_each_class(iterator_class, total, for_training):
    in_class, for_testing = (whole(iterator_class, train).labels.sum(axis=0) for train in (None, False))
    np.testing.assert_allclose(for_testing, in_class / 5, atol=1)


@pytest.mark.parametrize(("iterator_class", "total", "for_training"), BUNDLED.values(), ids=BUNDLED)
def test_every_fifth_example_counted_class_by_class_is_for_testing(iterator_class, total, for_training):
    everything, test = (whole(iterator_class, train) for train in (None, False))
    classes = everything.labels.argmax(axis=1)
    class_by_class = sorted(range(total), key=lambda row: (classes[row], row))
    np.testing.assert_array_equal(test.features, everything.features[sorted(class_by_class[::5])])


@pytest.mark.parametrize(("iterator_class", "total", "for_training"), BUNDLED.values(), ids=BUNDLED)
def test_features_and_labels_are_float32_and_one_hot(iterator_class, total, for_training):
    batch = whole(iterator_class, train=None)
    assert batch.features.dtype == batch.labels.dtype == np.float32
    np.testing.assert_array_equal(np.sort(batch.labels, axis=1)[:, -2:], np.tile([0, 1], (total, 1)))


def test_digits_lie_between_zero_and_one():
    features = whole(DigitsDataSetIterator, train=True).features
    assert (features.min(), features.max()) == (0, 1)


def test_the_seed_drives_the_order_only():
    one, other = (np.vstack([b.features for b in DigitsDataSetIterator(seed=seed)]) for seed in (1, 2))
    assert not np.array_equal(one, other)
    assert {row.tobytes() for row in one} == {row.tobytes() for row in other}


def test_the_data_is_shared_and_cannot_be_changed():
    first, second = (whole(IrisDataSetIterator, train=True).features for _ in range(2))
    assert np.shares_memory(first, second)
    with pytest.raises(ValueError, match=r"^assignment destination is read-only$"):
        first[0] = 0


def test_a_pre_processor_may_write_into_its_batch():
    iterator = IrisDataSetIterator(shuffle=False)
    iterator.pre_processor = lambda batch: batch.features.fill(0)
    assert not next(iter(iterator)).features.any()
    assert whole(IrisDataSetIterator, train=None).features.all()


@pytest.mark.parametrize("iterator_class", [DigitsDataSetIterator, IrisDataSetIterator])
def test_an_unknown_part_is_refused(iterator_class):
    expected = "train='test' is not known. Choose True, False, or None for all examples."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(expected)}$"):
        iterator_class(train="test")


def test_the_files_are_small_and_say_where_they_come_from():
    files = list(importlib.resources.files("minidl.data").joinpath("files").iterdir())
    assert {file.name for file in files} == {"ORIGIN.md", "digits.npz", "iris.npz"}
    assert sum(len(file.read_bytes()) for file in files) < 100_000
