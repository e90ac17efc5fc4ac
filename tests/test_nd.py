"""Array creation: the same calls make attached arrays in a scope and plain ones outside."""

import re

import numpy as np
import pytest

from minidl import nd
from minidl.errors import DtypeError
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration

PROTOTYPE = np.ones((2, 3), np.float64)
CALLS = [
    (lambda: nd.zeros((2, 3)), np.zeros((2, 3), "f4")),
    (lambda: nd.zeros(4, "i8"), np.zeros(4, "i8")),
    (lambda: nd.ones((2, 3)), np.ones((2, 3), "f4")),
    (lambda: nd.full((), 3), np.full((), 3, "f4")),
    (lambda: nd.full([2], 3, bool), np.full(2, True)),
    (lambda: nd.array([1, 2, 3]), np.array([1, 2, 3], "f4")),
    (lambda: nd.array([[1.5], [2]], "f8"), np.array([[1.5], [2]])),
    (lambda: nd.array(PROTOTYPE), PROTOTYPE),
    (lambda: nd.array(PROTOTYPE, "f4"), np.ones((2, 3), "f4")),
    (lambda: nd.array(np.int16(3)), np.array(3, "i2")),
    (lambda: nd.array(2.5), np.array(2.5, "f4")),
    (lambda: nd.arange(4), np.arange(4, dtype="f4")),
    (lambda: nd.arange(1, 3, 0.5, "f8"), np.arange(1, 3, 0.5)),
    (lambda: nd.zeros_like(PROTOTYPE), np.zeros((2, 3))),
    (lambda: nd.ones_like(PROTOTYPE, "f4"), np.ones((2, 3), "f4")),
    (lambda: nd.full_like(PROTOTYPE, 5, "i4"), np.full((2, 3), 5, "i4")),
]


@pytest.mark.parametrize(("create", "expected"), CALLS)
def test_creation_outside_a_scope_is_plain(create, expected):
    array = create()
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(("create", "expected"), CALLS)
def test_creation_in_a_scope_is_attached(create, expected):
    with Workspace(WorkspaceConfiguration(initial_size=1024)) as workspace:
        array = create()
        assert type(array) is WorkspaceArray
        assert nd.is_attached(array)
        assert workspace.offset == (expected.nbytes + 7) // 8 * 8
        assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("create", "shape", "dtype"),
    [
        (lambda: nd.empty((2, 3)), (2, 3), "f4"),
        (lambda: nd.empty(3, "i2"), (3,), "i2"),
        (lambda: nd.empty_like(PROTOTYPE), (2, 3), "f8"),
        (lambda: nd.empty_like(PROTOTYPE, "f4"), (2, 3), "f4"),
    ],
)
def test_uninitialized_arrays(create, shape, dtype):
    plain = create()
    with Workspace(WorkspaceConfiguration(initial_size=1024)):
        attached = create()
    assert plain.shape == attached.shape == shape
    assert plain.dtype == attached.dtype == dtype
    assert nd.is_attached(attached)
    assert not nd.is_attached(plain)


def test_array_is_a_copy():
    values = np.ones(3)
    nd.array(values)[0] = 5
    assert values[0] == 1


def test_objects_do_not_enter_a_workspace():
    message = (
        "dtype object holds Python objects, which cannot live in recycled memory. Use a numeric type, or a detached"
    )
    assert nd.empty(2, object).dtype == object
    with Workspace(WorkspaceConfiguration(initial_size=1024)), pytest.raises(DtypeError, match=re.escape(message)):
        nd.array([1, None], object)
