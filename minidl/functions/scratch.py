"""Working memory for kernels that must not allocate: they get everything from the caller's ``empty``."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from ..workspaces.layout import memory_order

__all__ = ["Empty", "broadcast_into_scratch", "same_layout", "scratch_like", "with_small_buffers"]

Empty = Callable[..., np.ndarray]
"""``empty(shape, dtype)`` returns an uninitialised array."""


Method = TypeVar("Method", bound=Callable[..., Any])
BUFFER = 128  # elements


def with_small_buffers(method: Method) -> Method:
    """Return a method in which ufuncs over arrays with gaps use buffers of 128 elements, not 8192.

    NumPy takes one from the heap for every such array in every call. Where a run without gaps is as long as that, it
    does without, in half the time.
    """

    @functools.wraps(method)
    def buffered(*arguments: Any, **options: Any) -> Any:
        before = np.setbufsize(BUFFER)
        try:
            return method(*arguments, **options)
        finally:
            np.setbufsize(before)

    return cast(Method, buffered)


def scratch_like(array: np.ndarray, empty: Empty) -> np.ndarray:
    """Return an uninitialised array of the shape, type and order of axes in memory of ``array``."""
    if array.flags.c_contiguous:
        return empty(array.shape, array.dtype)
    # A ufunc over a transposed view and a C-ordered scratch would stride through one of them.
    slowest_first = memory_order(array)
    block = empty(tuple(array.shape[axis] for axis in slowest_first), array.dtype)
    return block.transpose([slowest_first.index(axis) for axis in range(array.ndim)])


def broadcast_into_scratch(values: np.ndarray, like: np.ndarray, empty: Empty) -> np.ndarray:
    """Return ``values`` written out to the shape of ``like``.

    A ufunc with a broadcast operand would take a hidden 32 KB buffer from the heap.
    """
    scratch = scratch_like(like, empty)
    np.copyto(scratch, values)
    return scratch


def same_layout(array: np.ndarray, like: np.ndarray, empty: Empty) -> np.ndarray:
    """Return ``array``, copied if need be, with the strides of ``like``.

    A ufunc over arrays of different layouts takes hidden buffers from the heap, and twenty times as long.
    """
    if array.strides == like.strides:
        return array
    return broadcast_into_scratch(array, like, empty)
