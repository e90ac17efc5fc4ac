"""DataSet, and what may stand for one."""

import re

import numpy as np
import pytest

from minidl.data import DataSet, batch_of
from minidl.errors import DataError, DtypeError, ShapeError


def test_arrays_are_kept_and_lists_become_arrays():
    features = np.ones((2, 3))
    dataset = DataSet(features, [[0, 1], [1, 0]], labels_mask=(1.0, 0.0))
    assert dataset.features is features
    np.testing.assert_array_equal(dataset.labels, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(dataset.labels_mask, [1.0, 0.0])
    assert dataset.features_mask is None


def test_subclasses_of_ndarray_are_kept(tmp_path):
    mapped = np.memmap(tmp_path / "features", np.float32, "w+", shape=(2, 3))
    assert DataSet(mapped, None).features is mapped


def test_len_counts_the_examples():
    dataset = DataSet(np.ones((5, 2)), np.ones(5))
    assert len(dataset) == dataset.num_examples() == 5


def test_unpacks_into_its_four_fields():
    fields = np.ones((2, 3)), np.zeros((2, 1)), np.ones((2, 4)), np.ones(2)
    assert all(ours is given for ours, given in zip(DataSet(*fields), fields, strict=True))


def test_repr_is_short():
    dataset = DataSet(np.ones((5, 2)), np.ones(5, np.int8), labels_mask=np.ones((5, 1), np.float32))
    assert repr(dataset) == "DataSet(features=(5, 2) float64, labels=(5,) int8, labels_mask=(5, 1) float32)"


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float16, np.float32, np.longdouble])
def test_real_numbers_of_any_size_are_taken(dtype):
    assert DataSet(np.ones((2, 2), dtype), None).features.dtype == dtype


BROKEN = {
    "fewer labels": (
        dict(features=np.ones((3, 2)), labels=np.ones((2, 5))),
        ShapeError,
        "features have 3 examples, but labels have 2 (shapes (3, 2) and (2, 5)). "
        "The first axis of both counts the same examples.",
    ),
    "longer features mask": (
        dict(features=np.ones((3, 2)), labels=None, features_mask=np.ones(4)),
        ShapeError,
        "features have 3 examples, but features_mask have 4 (shapes (3, 2) and (4,)). "
        "The first axis of both counts the same examples.",
    ),
    "shorter labels mask": (
        dict(features=np.ones((3, 2)), labels=np.ones(3), labels_mask=np.ones(1)),
        ShapeError,
        "features have 3 examples, but labels_mask have 1 (shapes (3, 2) and (1,)). "
        "The first axis of both counts the same examples.",
    ),
    "ragged": (
        dict(features=[[1, 2], [3]], labels=[1, 2]),
        ShapeError,
        "features do not form an array: give every row the same length.",
    ),
    "a number": (
        dict(features=3.0, labels=None),
        ShapeError,
        "features is a single number. Expected an array whose first axis counts examples.",
    ),
    "no features": (
        dict(features=None, labels=[1]),
        DataError,
        "features=None: a DataSet needs features. Only labels and masks may be None.",
    ),
    "mask of nothing": (
        dict(features=[1], labels=None, labels_mask=[1]),
        DataError,
        "labels_mask is given, but labels=None. Give the labels too, or leave the mask out.",
    ),
    "empty": (
        dict(features=np.ones((0, 4)), labels=np.ones((0, 2))),
        DataError,
        "features of shape (0, 4) are empty. Expected at least one example.",
    ),
    "text": (
        dict(features=np.ones(2), labels=["cat", "dog"]),
        DtypeError,
        "labels have dtype <U3. Expected real numbers, integers or bool: convert them first.",
    ),
    "objects": (
        dict(features=(n for n in range(3)), labels=None),
        DtypeError,
        "features have dtype object. Expected real numbers, integers or bool: convert them first.",
    ),
    "complex": (
        dict(features=[1j], labels=None),
        DtypeError,
        "features have dtype complex128. Expected real numbers, integers or bool: convert them first.",
    ),
}


@pytest.mark.parametrize(("arguments", "error", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_data_is_refused(arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        DataSet(**arguments)


def test_batch_of_passes_a_dataset_through():
    dataset = DataSet([1], [2])
    assert batch_of(dataset) is dataset


@pytest.mark.parametrize("length", [2, 3, 4])
def test_batch_of_takes_tuples(length):
    fields = tuple(np.full(2, i) for i in range(length))
    expected = (*fields, None, None)[:4]
    assert all(ours is given for ours, given in zip(batch_of(fields), expected, strict=True))


@pytest.mark.parametrize(
    ("item", "came"),
    [
        (np.ones((2, 3)), "an array of shape (2, 3)"),
        ((np.ones(1),), "a tuple of 1"),
        ((1, 2, 3, 4, 5), "a tuple of 5"),
        ([[1], [2]], "a list of 2: write tuple(batch) if it holds features and labels"),
        ({"features": 1}, "dict"),
        (None, "NoneType"),
    ],
)
def test_batch_of_refuses_anything_else(item, came):
    expected = "A batch is a DataSet or a tuple (features, labels[, features_mask, labels_mask]), got "
    with pytest.raises(DataError, match=f"^{re.escape(expected + came)}\\.$"):
        batch_of(item)
