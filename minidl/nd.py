"""Arrays in the current workspace, and what may be done with an array wherever it lives.

The creating functions put an array into the calling thread's current workspace, or on the heap if there is none. The
moving ones (``detach``, ``leverage`` ...) take any array, so that a script works in every workspace mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .workspaces.attachment import (
    check_usable,
    detach,
    in_scope,
    is_attached,
    leverage,
    leverage_or_detach,
    leverage_to,
    migrate,
)
from .workspaces.thread_state import state

__all__ = [
    "arange",
    "array",
    "detach",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "in_scope",
    "is_attached",
    "leverage",
    "leverage_or_detach",
    "leverage_to",
    "migrate",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]

Shape = int | Sequence[int]


def empty(shape: Shape, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return an array of ``shape`` that holds whatever was there before.

    Raises WorkspaceFullError (E5), DtypeError for Python objects in a workspace.
    """
    workspace = state.current
    return np.empty(shape, dtype) if workspace is None else workspace.create_uninitialized(shape, dtype)


def full(shape: Shape, value: Any, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return an array of ``shape`` in which every element is ``value``. Raises as ``empty`` does."""
    workspace = state.current
    offset = 0 if workspace is None else workspace.offset
    result = empty(shape, dtype)
    try:
        result[...] = value
    except BaseException:
        if workspace is not None:
            workspace.roll_back(offset)
        raise
    return result


def zeros(shape: Shape, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return an array of zeros. Raises as ``empty`` does."""
    workspace = state.current
    return np.zeros(shape, dtype) if workspace is None else workspace.create(shape, dtype)


def ones(shape: Shape, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """Return an array of ones. Raises as ``empty`` does."""
    return full(shape, 1, dtype)


def array(values: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return a copy of ``values``, an array or nested sequences of numbers; float32, or an array's own dtype.

    Raises as ``empty`` does, and StaleArrayError (E1, E2).
    """
    if isinstance(values, np.ndarray):
        check_usable(values, "array")
    if dtype is None:
        dtype = values.dtype if isinstance(values, (np.ndarray, np.generic)) else np.float32
    source = np.asarray(values, dtype)
    result = empty(source.shape, dtype)
    result[...] = source
    return result


def arange(
    start: float, stop: float | None = None, step: float = 1, dtype: npt.DTypeLike = np.float32
) -> npt.NDArray[Any]:
    """Return the numbers from ``start`` to before ``stop``, from 0 to before ``start`` if that is the only one.

    Raises as ``empty`` does.
    """
    if stop is None:
        start, stop = 0, start
    return array(np.arange(start, stop, step), dtype)


def empty_like(prototype: npt.NDArray[Any], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return ``empty`` of the shape of ``prototype``, and of its dtype if none is given."""
    return empty(prototype.shape, prototype.dtype if dtype is None else dtype)


def full_like(prototype: npt.NDArray[Any], value: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return ``full`` of the shape of ``prototype``, and of its dtype if none is given."""
    return full(prototype.shape, value, prototype.dtype if dtype is None else dtype)


def zeros_like(prototype: npt.NDArray[Any], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return ``zeros`` of the shape of ``prototype``, and of its dtype if none is given."""
    return zeros(prototype.shape, prototype.dtype if dtype is None else dtype)


def ones_like(prototype: npt.NDArray[Any], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Return ``ones`` of the shape of ``prototype``, and of its dtype if none is given."""
    return ones(prototype.shape, prototype.dtype if dtype is None else dtype)
