"""Series inside a recurrent layer: time first, so that the examples of one step lie side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..functions import Empty
from ..functions.scratch import with_small_buffers
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .spatial import in_c_order

__all__ = ["StepMemory", "absent_steps", "series_of", "steps_of", "time_first"]


def time_first(x: Array, format: str | None) -> Array:
    """Return series as a view (time, batch, size)."""
    return x.transpose(1, 0, 2) if format == "NWC" else x.transpose(2, 0, 1)


def steps_of(x: Array, format: str | None, array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Array:
    """Return series as (time, batch, size) in C order: a view where their memory is that, else a copy."""
    return in_c_order(time_first(x, format), array_type, workspace_mgr)


def series_of(steps: Array, format: str | None) -> Array:
    """Return (time, batch, size) as a view with the axes of the network."""
    return steps.transpose(1, 0, 2) if format == "NWC" else steps.transpose(1, 2, 0)


def absent_steps(workspace_mgr: LayerWorkspaceMgr, shape: tuple[int, int], array_type: ArrayType) -> Array | None:
    """Return where the mask of the input leaves steps out, (time, batch, 1) booleans, for ``shape`` (time, batch).

    None where there is no mask, or one of whole examples.
    """
    mask = workspace_mgr.mask
    if mask is None or mask.shape != shape[::-1]:
        return None
    absent = workspace_mgr.create_uninitialized(array_type, (*shape, 1), np.bool_).view(np.ndarray)
    _write_zeros_of(mask.view(np.ndarray).T, absent[..., 0])
    return absent


@with_small_buffers
def _write_zeros_of(mask: Array, out: Array) -> None:
    np.equal(mask, 0, out=out)


class StepMemory:
    """Working memory for a kernel that runs step after step: every step is given the arrays of the first again."""

    def __init__(self, empty: Empty) -> None:
        self._empty = empty
        self._arrays: dict[tuple[int, tuple[int, ...], Any], Array] = {}
        self._given = 0

    def from_start(self) -> Empty:
        """Return what makes arrays, beginning with the first again."""
        self._given = 0
        return self.go_on

    def go_on(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        """Return the next array."""
        self._given += 1
        key = self._given, shape, dtype
        array = self._arrays.get(key)
        if array is None:
            array = self._arrays[key] = self._empty(shape, dtype)
        return array
