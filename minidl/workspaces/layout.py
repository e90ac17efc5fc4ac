"""The memory order that NumPy gives a result ("K"), and arrays of that order in a workspace.

A result in another order would be equal, but what is summed from it later would differ in its last bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from .array import WorkspaceArray
    from .workspace import Workspace

__all__ = ["Layout", "broadcast_strides", "concatenation_order", "has_layout", "k_order", "memory_order"]

Request = tuple[tuple[int, ...], np.dtype[Any], Literal["C", "F"]]
_transpose = np.ndarray.transpose


class Layout:
    """Shape, type and order of an array without gaps; ``order`` lists its axes from the slowest to the fastest."""

    __slots__ = ("_allocation", "_transposition", "dtype", "nbytes", "order", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Sequence[int] | None = None) -> None:
        axes = tuple(range(len(shape)))
        self.shape = shape
        self.dtype = dtype
        self.nbytes = math.prod(shape) * dtype.itemsize
        self.order = axes if order is None else tuple(order)
        self._transposition: tuple[int, ...] | None = None
        self._allocation: Request
        if self.order == axes:
            self._allocation = (shape, dtype, "C")
        elif self.order == axes[::-1]:
            self._allocation = (shape, dtype, "F")
        else:
            self._allocation = (tuple([shape[axis] for axis in self.order]), dtype, "C")
            self._transposition = tuple([self.order.index(axis) for axis in axes])

    def allocate(self, workspace: Workspace) -> WorkspaceArray:
        """Return an uninitialised array of this layout in ``workspace``."""
        array = workspace.allocate(*self._allocation)
        return array if self._transposition is None else _transpose(array, self._transposition)

    @property
    def request(self) -> Request | None:
        """What to ask a workspace's ``allocate`` for, None if its answer had to be transposed."""
        return self._allocation if self._transposition is None else None


def memory_order(array: np.ndarray) -> list[int]:
    """Return the axes of ``array`` as they lie in memory, slowest first; those of equal stride as they are."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


Strides = Sequence[Sequence[int]]
"""One row for each operand, an entry for each axis: 0 where the operand is broadcast or has extent 1."""


def k_order(strides: Strides) -> list[int]:
    """Return the axes, slowest first, in the order that NumPy's iterator gives them: K for all operands together."""
    fastest_first = list(range(len(strides[0])))[::-1]
    return _inserted(fastest_first, strides, ascending=True)[::-1]


def concatenation_order(strides: Strides) -> list[int]:
    """Return the axes, slowest first, in the order that ``np.concatenate`` gives its result."""
    return _inserted(list(range(len(strides[0]))), strides, ascending=False)


def _inserted(axes: list[int], strides: Strides, ascending: bool) -> list[int]:
    """Sort ``axes`` by size of stride, by insertion, which decides where operands differ or have no opinion."""
    for start in range(1, len(axes)):
        axis = axes[start]
        position = start
        for place in range(start - 1, -1, -1):
            first, second = (axes[place], axis) if ascending else (axis, axes[place])
            passes = _is_greater(first, second, strides)
            if passes is False:
                break
            if passes:
                position = place
        axes.insert(position, axes.pop(start))
    return axes


def _is_greater(first: int, second: int, strides: Strides) -> bool | None:
    """Tell whether axis ``first`` has the greater stride in every operand that has both; None if none has."""
    verdict = None
    for operand in strides:
        if operand[first] and operand[second]:
            if abs(operand[first]) <= abs(operand[second]):
                return False
            verdict = True
    return verdict


def broadcast_strides(array: np.ndarray, ndim: int, core: int = 0) -> tuple[int, ...]:
    """Return the strides of ``array``, but of its last ``core`` axes, as one of ``ndim`` axes."""
    loop = array.ndim - core
    own = [
        0 if extent == 1 else stride for extent, stride in zip(array.shape[:loop], array.strides[:loop], strict=True)
    ]
    return (0,) * (ndim - loop) + tuple(own)


def has_layout(array: np.ndarray, layout: Layout) -> bool:
    """Tell whether ``array`` has the shape, type and order of ``layout``, and no gaps."""
    if array.shape != layout.shape or array.dtype != layout.dtype:
        return False
    expected = array.itemsize
    for axis in reversed(layout.order):
        if array.shape[axis] > 1 and array.strides[axis] != expected:
            return False
        expected *= array.shape[axis]
    return True
