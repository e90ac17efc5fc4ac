"""Reductions over sliding windows, and their transposes: along the columns first, then along the rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..functions import Empty
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .spatial import mask_as_images
from .window_layer import WindowLayer
from .windows import ConvolutionMode, Window, Window2D

__all__ = ["Parts", "Reduction", "inverse_counts", "leave_out", "mask_of_windows", "spread_over_windows"]

CACHE = 512 * 1024
"""Bytes of images at a time: half of a level 2 cache of 1 MB."""


class Parts:
    """A batch of images part by part, each small enough for the cache, as channels-last arrays in C order."""

    def __init__(self, images: Array, empty: Empty) -> None:
        _, height, width, channels = images.shape
        self._images = images
        self.most = max(1, CACHE // (height * width * channels * images.itemsize))
        self._copy = None if images.flags.c_contiguous else empty((self.most, height, width, channels), images.dtype)

    def examples(self) -> Iterator[slice]:
        """Yield the examples of each part."""
        for start in range(0, len(self._images), self.most):
            yield slice(start, min(start + self.most, len(self._images)))

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        """Yield (examples, their images)."""
        for examples in self.examples():
            part = self._images[examples]
            if self._copy is not None:  # ufuncs over two layouts take hidden buffers, and long
                copy = self._copy[: len(part)]
                np.copyto(copy, part)
                part = copy
            yield examples, part


class Reduction:
    """``operation`` over every window of images (n, height, width, channels); padding counts as ``start``."""

    def __init__(self, operation: np.ufunc, start: float, window: Window2D, images: Array, most: int, empty: Empty):
        self._operation, self._start, self._window = operation, start, window
        _, height, _, channels = images.shape
        columns = window.columns.positions
        self._middle = empty((most, height, columns, channels), images.dtype)
        longest = max(height, window.rows.positions)  # padding may give more positions than there are rows
        self._parts = empty((most * longest * columns * channels,), images.dtype)

    def write(self, images: Array, out: Array) -> None:
        """Write the result for at most ``most`` images into ``out``: along the columns first, then along the rows."""
        middle = self._middle[: len(images)]
        self._along(images, self._window.columns, 2, middle)
        self._along(middle, self._window.rows, 1, out)

    def _along(self, source: Array, window: Window, axis: int, out: Array) -> None:
        before = (slice(None),) * axis
        part = self._parts[: out.size].reshape(out.shape)
        if window.is_padded:
            out.fill(self._start)
        for tap, (positions, inputs) in enumerate(window.taps()):
            seen = source[(*before, inputs)]
            if tap == 0 and not window.is_padded:
                np.copyto(out, seen)
                continue
            if positions.stop - positions.start < window.positions:
                part.fill(self._start)
            np.copyto(part[(*before, positions)], seen)  # without gaps, NumPy takes no buffers
            self._operation(out, part, out=out)


def spread_over_windows(values: Array, window: Window2D, *, middle: Array, out: Array) -> None:
    """Write into ``out`` (n, height, width, channels), for every element, the sum of the values of its windows.

    ``middle`` (n, height, columns out, channels) is scratch.
    """
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


def mask_of_windows(mask: Array | None, layer: WindowLayer, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
    """Return the mask of the positions of a window: the largest that it sees. A mask of examples stays as it is.

    Where every position has an element of its own, in modes SAME and CAUSAL with a stride of 1, the mask stays as well.
    Shapes: mask (batch,), (batch, 1), (batch, time) or (batch, height, width). Source: DL4J ``ConvolutionUtils``.
    """
    images = mask_as_images(mask, layer.format, workspace_mgr)
    if mask is None or images is None:
        return mask
    batch, height, width, _ = images.shape
    window = layer.window(height, width)
    pads_itself = layer.convolution_mode in (ConvolutionMode.SAME, ConvolutionMode.CAUSAL)
    if pads_itself and window.rows.stride == window.columns.stride == 1:
        return mask
    rows, columns = window.rows.positions, window.columns.positions
    reduction = Reduction(np.maximum, 0.0, window, images, batch, workspace_mgr.forward_memory)
    out = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (batch, rows, columns, 1), mask.dtype)
    reduction.write(images, out)
    return out.reshape(batch, rows) if mask.ndim == 2 else out[..., 0]


def leave_out(images: Array, mask: Array | None, empty: Empty) -> None:
    """Put 0 into images (batch, time, 1, channels) where a mask (batch, time) is 0."""
    if mask is None:
        return
    _, time, _, channels = images.shape
    factors = empty((time, channels), images.dtype)
    for image, steps in zip(images, mask, strict=True):
        np.copyto(factors, steps[:, np.newaxis])
        np.sign(factors, out=factors)  # a step is there or not: the derivative is taken from what remains
        np.multiply(image[:, 0], factors, out=image[:, 0])
