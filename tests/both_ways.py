"""One NumPy call on plain arrays and on attached ones: the same bits, types, memory order, errors; and no leak."""

import numpy as np
import pytest

from minidl.workspaces import WorkspaceArray

__all__ = ["assert_same", "assert_same_both_ways", "in_memory_order"]


def in_memory_order(array):
    """Return the strides that matter."""
    return [stride for stride, extent in zip(array.strides, array.shape, strict=True) if extent > 1 and array.size]


def assert_same(result, expected):
    """Check that two results are equal to the bit, wherever they live."""
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    assert in_memory_order(np.asarray(result)) == in_memory_order(np.asarray(expected))
    if expected.dtype.hasobject:
        np.testing.assert_array_equal(result, expected)
    else:
        assert result.tobytes() == expected.tobytes()


def assert_same_both_ways(call, plain, attached, workspace, where=None):
    """Check that ``call(attached)`` is ``call(plain)`` with every array of numbers in ``workspace``, or its error.

    ``where`` selects the elements that are defined. Return the plain result, or the error.
    """
    try:
        expected = call(plain)
    except Exception as error:
        _assert_fails_alike(call, attached, workspace, error)
        return error
    before = workspace.offset
    result = call(attached)
    pairs = zip(result, expected, strict=True) if isinstance(expected, tuple) else [(result, expected)]
    for mine, theirs in pairs:
        if isinstance(theirs, np.ndarray) and theirs.dtype.kind in "?bBhHiIlLuUfc":
            assert type(mine) is WorkspaceArray
            assert mine.is_attached
            assert workspace.offset > before or not mine.size
        else:
            assert type(mine) is type(theirs)
        if theirs is not None:
            assert_same(mine if where is None else mine[where], theirs if where is None else theirs[where])
    return expected


def _assert_fails_alike(call, attached, workspace, expected):
    before = workspace.offset
    with pytest.raises(type(expected)) as caught:
        call(attached)
    assert str(caught.value) == str(expected)
    assert type(caught.value) is type(expected)
    assert workspace.offset == before
