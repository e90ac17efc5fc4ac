"""Class indices to one-hot rows."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import DataError
from minidl.functions import expand_class_indices


@given(st.lists(st.integers(0, 6), max_size=20), st.sampled_from(["int8", "uint64", "int32", "float32"]))
def test_rows_of_the_identity(classes, dtype):
    out = np.full((len(classes), 7), np.nan, np.float32)
    assert expand_class_indices(np.array(classes, dtype), out) is out
    np.testing.assert_array_equal(out, np.eye(7)[np.array(classes, int)])


@pytest.mark.parametrize("out", [np.empty((3, 4)), np.empty((4, 3)).T, np.empty((6, 8))[::2, ::2]])
def test_column_of_indices_into_any_layout(out):
    expand_class_indices(np.array([[2], [0], [3]]), out)
    np.testing.assert_array_equal(out, np.eye(4)[[2, 0, 3]])


def test_truth_values_are_classes_0_and_1():
    out = expand_class_indices(np.array([True, False]), np.empty((2, 2)))
    np.testing.assert_array_equal(out, [[0, 1], [1, 0]])


def test_strided_indices_and_memory_from_the_caller():
    requests = []

    def empty(shape, dtype):
        requests.append(shape)
        return np.full(shape, 99, dtype)

    out = expand_class_indices(np.array([1, 9, 0, 9, 1, 9])[::2], np.empty((3, 2)), empty)
    np.testing.assert_array_equal(out, [[0, 1], [1, 0], [0, 1]])
    assert set(requests) == {(3,)}


@pytest.mark.parametrize(
    ("indices", "came", "row"),
    [
        (np.array([0, 5, 1]), "5", 1),
        (np.array([0, 1, -1]), "-1", 2),
        (np.array([0.5, 1, 2]), "0.5", 0),
        (np.array([0, np.nan, 2]), "nan", 1),
        (np.array([0, 1, np.inf]), "inf", 2),
        (np.array([[0], [1], [2**63]], np.uint64), "9223372036854775808", 2),
    ],
)
def test_index_that_is_no_class(indices, came, row):
    message = (
        f"class index {came} in row {row} is not a whole number from 0 to 4. "
        f"Number the classes from 0, or set n_out to the number of classes."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        expand_class_indices(indices, np.empty((3, 5)))


@pytest.mark.parametrize("indices", [np.array(["cat", "dog"]), np.array([1j, 0]), np.array([0, 1], object)])
def test_type_that_is_no_number(indices):
    came = f"class indices are of type {indices.dtype}"
    message = f"{came}, expected whole numbers from 0 to 2. Number the classes from 0."
    with pytest.raises(DataError, match=re.escape(message)):
        expand_class_indices(indices, np.empty((2, 3)))


@pytest.mark.parametrize("shape", [(2,), (3, 2), (1, 3), ()])
def test_shape_that_does_not_fit(shape):
    message = f"class indices have shape {shape}, expected (3,) or (3, 1). Give one class index for each example."
    with pytest.raises(DataError, match=re.escape(message)):
        expand_class_indices(np.zeros(shape, int), np.empty((3, 4)))
