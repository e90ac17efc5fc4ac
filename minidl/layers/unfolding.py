"""Windows of images as rows of a matrix, and back: what makes matrix products of convolutions, block by block."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..errors import ConfigurationError
from ..functions import Empty
from .base import Array
from .windows import Window, Window2D

__all__ = ["Blocks", "Folding", "Unfolding", "block_size", "column_sums", "run_of_positions"]

CACHE = 768 * 1024
"""Bytes of a window buffer unless told: most of a level 2 cache of 1 MB, as the product needs some too."""

RUN = 2048  # elements that are added to others in one go


class Blocks(NamedTuple):
    """How much of a batch goes through the window buffer at a time: ``images``, or some output rows of one image."""

    images: int
    rows: int


@functools.lru_cache(maxsize=1024)
def block_size(window: Window2D, channels: int, n_out: int, itemsize: int, cap: int | None) -> Blocks:
    """Return what fits into a window buffer of ``cap`` bytes, by default what stays in the cache.

    Weights that are larger than the cache get a buffer of their size, as every block of rows is one pass over them.
    Raises ConfigurationError, which shows the arithmetic, where the windows of one output row are over the cap.
    """
    row = window.columns.positions * window.taps * channels * itemsize
    if cap is not None and row > cap:
        rows, columns = window.rows.kernel, window.columns.kernel
        raise ConfigurationError(
            f"max_window_bytes={cap:,}, but the windows of one output row take {window.columns.positions} positions x "
            f"{rows} x {columns} kernel x {channels} channels x {itemsize} bytes = {row:,}. Use max_window_bytes={row} "
            "or more, or None for what fits the cache."
        )
    budget = max(CACHE, window.taps * channels * n_out * itemsize) if cap is None else cap
    fitting = max(1, budget // row)
    if fitting < window.rows.positions:
        return Blocks(1, fitting)
    return Blocks(fitting // window.rows.positions, window.rows.positions)


class _BlockByBlock:
    """What goes through images (batch, height, width, channels) with a window, in blocks.

    The buffers are as large for one image as for many: what a step asks for is then known for every batch.
    """

    def __init__(self, window: Window2D, channels: int, blocks: Blocks, empty: Empty) -> None:
        self.window = window
        self.blocks = blocks
        self.channels = channels
        self._positions = blocks.images * blocks.rows * window.columns.positions
        rows, columns = window.rows.seen_extent(blocks.rows), window.columns.seen_extent(window.columns.positions)
        self._padded = empty((blocks.images * rows * columns * channels,)) if window.is_padded else None

    def over(self, batch: int) -> Iterator[tuple[slice, slice]]:
        """Yield the blocks of a batch: (images, output rows)."""
        for image in range(0, batch, self.blocks.images):
            images = slice(image, min(image + self.blocks.images, batch))
            for row in range(0, self.window.rows.positions, self.blocks.rows):
                yield images, slice(row, min(row + self.blocks.rows, self.window.rows.positions))

    def _places(self, images: slice, rows: slice) -> tuple[int, int, int]:
        """Return the extents of the positions of a block."""
        return images.stop - images.start, rows.stop - rows.start, self.window.columns.positions

    def _sides(self, rows: slice) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return (inputs, places) of both axes for a run of output rows, as ``Window.seen_by``."""
        columns = self.window.columns
        of_rows, of_columns = self.window.rows.seen_by(rows), columns.seen_by(slice(0, columns.positions))
        return (of_rows[0], of_columns[0]), (of_rows[1], of_columns[1])

    def _with_padding(self, images: slice, rows: slice) -> Array:
        """Return memory (n, rows, columns, channels) for what a block sees, padding included."""
        window = self.window
        extents = window.rows.seen_extent(rows.stop - rows.start), window.columns.seen_extent(window.columns.positions)
        shape = (images.stop - images.start, *extents, self.channels)
        return self._padded[: math.prod(shape)].reshape(shape)  # type: ignore[index]  # of padded windows


class Unfolding(_BlockByBlock):
    """The windows of images as rows of (positions, kernel height x kernel width x channels)."""

    def __init__(self, window: Window2D, images: Array, blocks: Blocks, empty: Empty) -> None:
        channels = images.shape[3]
        super().__init__(window, channels, blocks, empty)
        self._images = images
        self.width = window.taps * channels
        self._buffer = empty((self._positions * self.width,))
        run = channels * (window.columns.kernel if window.columns.dilation == 1 else 1)
        self.taps_first = run < window.columns.positions  # what lies side by side is copied in one go
        seen = images
        if self._padded is not None:
            self._padded.fill(0.0)
            seen = self._seen = self._room_for_all()
        self._windows = self._all_windows(seen)

    def gather(self, images: slice, rows: slice) -> Array:
        """Return the windows of a block as a matrix (positions, width), valid until the next block."""
        if self._padded is None:
            windows = self._windows[images, rows]
        else:
            self._fill_room(images, rows)
            windows = self._windows[: images.stop - images.start, : rows.stop - rows.start]
        positions = math.prod(windows.shape[:3])
        buffer = self._buffer[: positions * self.width]
        if self.taps_first:
            windows = windows.transpose(3, 4, 5, 0, 1, 2)
            np.copyto(buffer.reshape(windows.shape), windows)
            return buffer.reshape(self.width, positions).T
        np.copyto(buffer.reshape(windows.shape), windows)
        return buffer.reshape(positions, self.width)

    def _all_windows(self, seen: Array) -> Array:
        """Return a view (images, rows, columns, kernel height, kernel width, channels) of what is seen."""
        window, (image, row, column, channel) = self.window, seen.strides
        rows = window.rows.positions if self._padded is None else self.blocks.rows
        shape = (len(seen), rows, window.columns.positions, window.rows.kernel, window.columns.kernel, self.channels)
        steps = (image, row * window.rows.stride, column * window.columns.stride)
        return as_strided(seen, shape, (*steps, row * window.rows.dilation, column * window.columns.dilation, channel))

    def _room_for_all(self) -> Array:
        """Return the memory with padding for the largest block, (images, rows, columns, channels)."""
        seen = self._with_padding(slice(0, self.blocks.images), slice(0, self.blocks.rows))
        if not self.taps_first:
            return seen
        n, height, width, channels = seen.shape  # channel by channel: neighbours in a row are copied in one go
        return seen.reshape(n, channels, height, width).transpose(0, 2, 3, 1)

    def _fill_room(self, images: slice, rows: slice) -> None:
        inputs, places = self._sides(rows)
        if self.blocks.rows < self.window.rows.positions:  # the padding is elsewhere in every block
            self._seen.fill(0.0)
        part = self._images[images, inputs[0], inputs[1]]
        np.copyto(self._seen[: len(part), places[0], places[1]], part)


class Folding(_BlockByBlock):
    """The transpose of Unfolding: adds up what belongs to the elements that a window sees."""

    def __init__(self, window: Window2D, channels: int, blocks: Blocks, empty: Empty) -> None:
        super().__init__(window, channels, blocks, empty)
        self._buffer = empty((self._positions * channels,))

    def add_products(self, left: Array, taps: Array, target: Array, images: slice, rows: slice) -> None:
        """Add, for each tap of the kernel, left (positions, m) taps[tap] (m, channels) to where the tap lies.

        ``target`` are all images, (batch, height, width, channels); the first block of an image zeroes it.
        """
        window, places = self.window, self._places(images, rows)
        if rows.start == 0:
            target[images] = 0.0
        inputs, inside = self._sides(rows)
        where = target[images, inputs[0], inputs[1]]
        seen = where
        if self._padded is not None:
            seen = self._with_padding(images, rows)
            seen.fill(0.0)
        product = self._buffer[: len(left) * self.channels].reshape(len(left), self.channels)
        at_places = product.reshape(*places, self.channels)
        for tap in range(window.taps):
            i, j = divmod(tap, window.columns.kernel)
            np.matmul(left, taps[tap], out=product)
            part = seen[:, _tap(window.rows, i, places[1]), _tap(window.columns, j, places[2])]
            np.add(part, at_places, out=part)
        if self._padded is not None:
            np.add(where, seen[:, inside[0], inside[1]], out=where)


def _tap(window: Window, tap: int, positions: int) -> slice:
    start = tap * window.dilation
    return slice(start, start + (positions - 1) * window.stride + 1, window.stride)


@functools.lru_cache(maxsize=1024)
def run_of_positions(positions: int, channels: int) -> int:
    """Return how many positions of an image make one run: a part of all without a rest, of at most RUN elements."""
    most = max(1, min(positions, RUN // channels))
    return next(run for run in range(most, 0, -1) if positions % run == 0)


def column_sums(images: Array, out: Array, empty: Empty) -> None:
    """Write the sum over batch, height and width of images in C order, (batch, height, width, n), into ``out`` (n,).

    Run upon run first: long runs are added faster, and to fewer others, than the channels of one position.
    """
    _, height, width, channels = images.shape
    run = run_of_positions(height * width, channels)
    row = empty((run * channels,), images.dtype)
    np.add.reduce(images.reshape(-1, run * channels), axis=0, out=row)
    np.add.reduce(row.reshape(run, channels), axis=0, out=out)
