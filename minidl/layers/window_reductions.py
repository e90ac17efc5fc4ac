"""Reductions over sliding windows, and their transposes: along the columns first, then along the rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..functions import Empty
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .windows import Window, Window2D

__all__ = ["Parts", "inverse_counts", "mask_of_windows", "reduce_windows", "spread_over_windows"]

CACHE = 512 * 1024
"""Bytes of images at a time: half of a level 2 cache of 1 MB."""


class Parts:
    """A batch of images part by part, each small enough for the cache, as channels-last arrays in C order."""

    def __init__(self, images: Array, empty: Empty) -> None:
        _, height, width, channels = images.shape
        self._images = images
        self.most = max(1, CACHE // (height * width * channels * images.itemsize))
        self._copy = None if images.flags.c_contiguous else empty((self.most, height, width, channels), images.dtype)

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        """Yield (examples, their images)."""
        for start in range(0, len(self._images), self.most):
            examples = slice(start, min(start + self.most, len(self._images)))
            part = self._images[examples]
            if self._copy is not None:  # ufuncs over two layouts take hidden buffers, and long
                copy = self._copy[: len(part)]
                np.copyto(copy, part)
                part = copy
            yield examples, part


def reduce_windows(
    operation: np.ufunc, start: float, images: Array, window: Window2D, *, middle: Array, out: Array
) -> None:
    """Write ``operation`` over every window of images (n, height, width, channels) into ``out``.

    ``middle`` (n, height, columns out, channels) is scratch. Padding counts as ``start``.
    """
    _reduce_axis(operation, start, images, window.columns, 2, middle)
    _reduce_axis(operation, start, middle, window.rows, 1, out)


def _reduce_axis(operation: np.ufunc, start: float, source: Array, window: Window, axis: int, out: Array) -> None:
    before = (slice(None),) * axis
    taps = [(out[(*before, positions)], source[(*before, inputs)]) for positions, inputs in window.taps()]
    if window.is_padded:
        out.fill(start)
    elif len(taps) == 1:
        np.copyto(out, taps[0][1])
        return
    else:
        operation(taps[0][1], taps[1][1], out=out)
        taps = taps[2:]
    for part, seen in taps:
        operation(part, seen, out=part)


def spread_over_windows(values: Array, window: Window2D, *, middle: Array, out: Array) -> None:
    """Write into ``out`` (n, height, width, channels), for every element, the sum of the values of its windows."""
    _spread_axis(values, window.rows, 1, middle)
    _spread_axis(middle, window.columns, 2, out)


def _spread_axis(values: Array, window: Window, axis: int, out: Array) -> None:
    before = (slice(None),) * axis
    out.fill(0.0)
    for positions, inputs in window.taps():
        part = out[(*before, inputs)]
        np.add(part, values[(*before, positions)], out=part)


@functools.lru_cache(maxsize=64)
def inverse_counts(window: Window2D, dtype: np.dtype[Any]) -> Array:
    """Return 1 / (elements of the image that a window sees), (rows out, columns out, 1), read-only."""
    counts = np.ones((1, 1))
    for along in (window.rows, window.columns):
        seen = np.zeros(along.positions)
        for positions, _ in along.taps():
            seen[positions] += 1
        counts = counts * seen[:, np.newaxis] if along is window.rows else counts * seen
    inverse = (1.0 / np.maximum(counts, 1.0)).astype(dtype)[:, :, np.newaxis]
    inverse.flags.writeable = False
    return inverse


def mask_of_windows(
    mask: Array | None, window_of: Callable[[int, int], Window2D], workspace_mgr: LayerWorkspaceMgr
) -> Array | None:
    """Return the mask of the positions of a window: the largest that it sees. A mask of examples stays as it is.

    Shapes: mask (batch,), (batch, 1), (batch, time) or (batch, height, width). Source: DL4J ``ConvolutionUtils``.
    """
    if mask is None or mask.ndim == 1 or mask.shape[1:] == (1,):
        return mask
    mask = mask.view(np.ndarray)
    images = mask.reshape(len(mask), 1, -1, 1) if mask.ndim == 2 else mask[..., np.newaxis]
    _, height, width, _ = images.shape
    window = window_of(height, width)
    rows, columns = window.rows.positions, window.columns.positions
    middle = workspace_mgr.forward_memory((len(mask), height, columns, 1), mask.dtype)
    out = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (len(mask), rows, columns, 1), mask.dtype)
    reduce_windows(np.maximum, 0.0, images, window, middle=middle, out=out)
    return out.reshape(len(mask), columns) if mask.ndim == 2 else out[..., 0]
