"""Convolution of each channel by itself: long runs are multiplied and added, tap by tap, block by block."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..functions import Empty
from .base import Array
from .unfolding import Blocks
from .windows import Window, Window2D

__all__ = ["Channelwise", "ChannelwiseGradient"]

BLOCK = 256 * 1024
"""Bytes of the input of a block unless told: with its output and a product it stays in a level 2 cache of 1 MB."""
RUN, REPEATED = 128 * 1024, 2048 * 1024
"""Most bytes that one call of NumPy multiplies, and of the weights of all taps repeated to that length: as measured."""
LANES = 1024
"""Elements that sums over positions are kept apart in, at least: to add long rows is fast."""


class _Axis(NamedTuple):
    """An axis whose inputs are sorted by where they lie within a stride, as lines: a tap is then a shift of a line.

    With stride 2, the even and the odd inputs. ``lines`` are (cells of the line, inputs that lie there), ``taps``
    (line, shift). All other cells are zero. After ``pitch`` cells the next line begins, whose zeros at the start serve
    this one at its end.
    """

    positions: int
    pitch: int
    reach: int
    lines: tuple[tuple[slice, slice], ...]
    taps: tuple[tuple[int, int], ...]


@functools.lru_cache(maxsize=4096)
def _axis(window: Window, start: int, stop: int) -> _Axis:
    """Return the axis for a run of the positions of a window."""
    stride, positions = window.stride, stop - start
    origin = start * stride - window.before
    end = min(origin + window.seen_extent(positions), window.size)
    offsets = [tap * window.dilation for tap in range(window.kernel)]
    phases = sorted({offset % stride for offset in offsets})
    reach = offsets[-1] // stride
    lines = []
    for phase in phases:
        first, last = (max(0, -(-(edge - origin - phase) // stride)) for edge in (0, end))
        lines.append((slice(first, max(first, last)), slice(origin + first * stride + phase, max(0, end), stride)))
    filled = [cells for cells, _ in lines if cells.start < cells.stop]
    lead = min((cells.start for cells in filled), default=reach)
    pitch = max(positions, positions + reach - lead, *(cells.stop for cells in filled))
    taps = tuple((phases.index(offset % stride), offset // stride) for offset in offsets)
    return _Axis(positions, pitch, reach, tuple(lines), taps)


class Channelwise:
    """z[n, i, j, c m' + m] = sum x[n, ...] weights[u, v, c, m] over the window at (i, j), m' being the multiplier.

    A block is laid out so that every tap sees one run of memory: its products are one long multiplication by weights
    that are repeated to its length. Between the rows that leaves some positions that mean nothing.
    Shapes: images (batch, height, width, channels), weights (kernel height, kernel width, channels, multiplier), of
    any strides. The buffers are as large for one image as for many.
    """

    def __init__(self, window: Window2D, weights: Array, cap: int | None, empty: Empty) -> None:
        self.window = window
        self._weights = weights
        self._channels = weights.shape[2:]
        self._width = math.prod(self._channels)
        self._columns = _axis(window.columns, 0, window.columns.positions)
        self._rows = _axis(window.rows, 0, window.rows.positions)
        self.blocks, height = self._block_size(BLOCK if cap is None else cap)
        lane = self._width * max(1, LANES // self._width)
        self._whole = _round_up(self.blocks.images * height * self._columns.pitch * self._width, lane)
        fitting = min(RUN, REPEATED // window.taps) // weights.itemsize
        self._run = min(self._whole, lane * max(1, fitting // lane))
        self._lane = lane
        shift = (self._rows.reach * self._columns.pitch + self._columns.reach) * self._width
        self._planes = (len(self._rows.lines) * len(self._columns.lines), self._whole + shift)
        self._inputs = empty(self._planes, weights.dtype)
        self._results = empty((self._whole,), weights.dtype)
        self._product = empty((self._run,), weights.dtype)
        self._repeated = empty((window.taps, self._run), weights.dtype)
        self._once = empty((window.taps, self._width), weights.dtype)
        self._row_of_taps = empty((window.taps, lane), weights.dtype)
        self._is_first = True
        self._images = self._length = 0

    def _block_size(self, budget: int) -> tuple[Blocks, int]:
        """Return the blocks, and how many rows the cells of an image have at most."""
        rows, columns = self._rows, self._columns
        row = len(rows.lines) * len(columns.lines) * columns.pitch * self._width * self._weights.itemsize
        if rows.pitch * row <= budget:
            return Blocks(budget // (rows.pitch * row), rows.positions), rows.pitch
        fitting = min(rows.positions, max(1, budget // row - rows.reach))
        return Blocks(1, fitting), fitting + rows.reach

    def over(self, x: Array) -> Iterator[tuple[slice, slice]]:
        """Yield the blocks of images, (images, output rows), each one laid out for the methods below."""
        for image in range(0, len(x), self.blocks.images):
            images = slice(image, min(image + self.blocks.images, len(x)))
            for row in range(0, self.window.rows.positions, self.blocks.rows):
                rows = slice(row, min(row + self.blocks.rows, self.window.rows.positions))
                self._lay_out(x, images, rows)
                yield images, rows

    def _lay_out(self, x: Array, images: slice, rows: slice) -> None:
        self._images = images.stop - images.start
        self._rows = _axis(self.window.rows, rows.start, rows.stop)
        pitch = self._columns.pitch * self._width
        length = ((self._images - 1) * self._rows.pitch + self._rows.positions) * pitch
        self._length = _round_up(length, self._lane)
        if self._is_first or self.blocks.rows < self.window.rows.positions:  # the zeros are elsewhere in every block
            self._inputs.fill(0.0)
        if self._is_first:  # and the longest
            self._repeat_weights()
            self._is_first = False
        for cells, inputs in self._cells(self._inputs):
            np.copyto(cells, x[(images, *inputs)][..., np.newaxis])

    def _repeat_weights(self) -> None:
        """Repeat the weights of every tap to the length of a lane, and those to what a run needs."""
        taps, lane, lanes = self.window.taps, self._lane, min(self._run, self._length) // self._lane
        once, to_lane = self._once.reshape(taps, 1, self._width), self._row_of_taps.reshape(taps, -1, self._width)
        np.copyto(self._once.reshape(self._weights.shape), self._weights)
        np.copyto(to_lane, once)
        np.copyto(self._repeated.reshape(taps, -1, lane)[:, :lanes], self._row_of_taps[:, np.newaxis])

    def _cells(self, planes: Array) -> Iterator[tuple[Array, tuple[slice, slice]]]:
        """Yield (cells, inputs): parts (n, rows, columns, channels, multiplier) of planes, and what of x lies there."""
        rows, columns = self._rows, self._columns
        shape = (self._images, rows.pitch, columns.pitch, *self._channels)
        plane = 0
        for of_rows, input_rows in rows.lines:
            for of_columns, input_columns in columns.lines:
                cells = planes[plane, : math.prod(shape)].reshape(shape)
                yield cells[:, of_rows, of_columns], (input_rows, input_columns)
                plane += 1

    def _positions(self) -> Array:
        """Return the results at the positions of the window, (n, rows out, columns out, channels x multiplier)."""
        rows, columns = self._rows, self._columns
        shape = (self._images, rows.pitch, columns.pitch, self._width)
        return self._results[: math.prod(shape)].reshape(shape)[:, : rows.positions, : columns.positions]

    def _taps(self) -> Sequence[tuple[int, int]]:
        """Return (plane, shift) of every tap."""
        rows, columns = self._rows, self._columns
        return [
            (line * len(columns.lines) + beside, (shift * columns.pitch + over) * self._width)
            for line, shift in rows.taps
            for beside, over in columns.taps
        ]

    def _runs(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self._length, self._run):
            yield start, min(start + self._run, self._length)

    def convolve(self, out: Array) -> None:
        """Write the convolution of this block into ``out`` (n, rows out, columns out, channels x multiplier)."""
        taps = self._taps()
        for start, stop in self._runs():
            result, product = self._results[start:stop], self._product[: stop - start]
            for tap, (plane, shift) in enumerate(taps):
                seen, weights = self._inputs[plane, start + shift : stop + shift], self._repeated[tap, : stop - start]
                if tap == 0:
                    np.multiply(seen, weights, out=result)
                    continue
                np.multiply(seen, weights, out=product)
                np.add(result, product, out=result)
        np.copyto(out, self._positions())


class ChannelwiseGradient(Channelwise):
    """The gradients of Channelwise by its weights and, where ``d_x`` is given, by its images, summed over blocks."""

    def __init__(self, window: Window2D, weights: Array, cap: int | None, d_x: Array | None, empty: Empty) -> None:
        super().__init__(window, weights, cap, empty)
        self._d_x = d_x
        self._d_inputs = None if d_x is None else empty(self._planes, weights.dtype)
        self._sums = empty((window.taps, self._lane), weights.dtype)
        self._sums.fill(0.0)
        self._row = empty((self._lane,), weights.dtype)
        self._totals = empty((window.taps, self._width), weights.dtype)

    def add(self, d_z: Array, images: slice, rows: slice) -> None:
        """Add what d_z (n, rows out, columns out, channels x multiplier) of this block gives."""
        self._results[: self._length].fill(0.0)  # the positions that mean nothing give nothing
        np.copyto(self._positions(), d_z)
        if self._d_inputs is not None:
            self._begin_inputs(self._d_inputs, images, rows)
        taps = self._taps()
        for start, stop in self._runs():
            epsilon, product = self._results[start:stop], self._product[: stop - start]
            for tap, (plane, shift) in enumerate(taps):
                np.multiply(self._inputs[plane, start + shift : stop + shift], epsilon, out=product)
                np.add.reduce(product.reshape(-1, self._lane), axis=0, out=self._row)
                np.add(self._sums[tap], self._row, out=self._sums[tap])
                if self._d_inputs is not None:
                    np.multiply(epsilon, self._repeated[tap, : stop - start], out=product)
                    part = self._d_inputs[plane, start + shift : stop + shift]
                    np.add(part, product, out=part)
        if self._d_inputs is not None:
            self._end_inputs(self._d_inputs, images)

    def _begin_inputs(self, planes: Array, images: slice, rows: slice) -> None:
        planes.fill(0.0)
        if rows.start == 0:
            self._d_x[images] = 0.0  # type: ignore[index]  # where there are planes
            return
        for cells, inputs in self._cells(planes):  # what the rows before have given
            np.copyto(cells[..., 0], self._d_x[(images, *inputs)])  # type: ignore[index]

    def _end_inputs(self, planes: Array, images: slice) -> None:
        each = planes.reshape(-1, self._channels[1])
        for other in range(1, self._channels[1]):
            np.add(each[:, 0], each[:, other], out=each[:, 0])
        for cells, inputs in self._cells(planes):
            np.copyto(self._d_x[(images, *inputs)], cells[..., 0])  # type: ignore[index]

    def write(self, gradient: Array) -> None:
        """Write the sum where the gradient (kernel height, kernel width, channels, multiplier) belongs."""
        by_channel = self._sums.reshape(len(self._sums), -1, self._width)
        np.add.reduce(by_channel, axis=1, out=self._totals)
        np.copyto(gradient, self._totals.reshape(gradient.shape))


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
