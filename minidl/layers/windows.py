"""Where a window that slides along an axis stands: the arithmetic of convolution and pooling, without any array."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ShapeError

__all__ = ["ConvolutionMode", "Window", "Window2D", "slide"]


class ConvolutionMode(enum.Enum):
    """What happens at the edges of an image.

    TRUNCATE pads as told, and drops what the last window does not reach. STRICT raises for what would be dropped. SAME
    pads so that the output has ceil(input / stride) positions, an odd element at the end. CAUSAL, for series, pads the
    start alone, so that no output looks ahead. Source: DL4J ``ConvolutionMode``.
    """

    TRUNCATE = "truncate"
    STRICT = "strict"
    SAME = "same"
    CAUSAL = "causal"


@dataclass(frozen=True)
class Window:
    """A window along one axis: ``size`` elements in, ``before`` and ``after`` of padding, ``positions`` out."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    positions: int

    @property
    def reach(self) -> int:
        """Elements from the first to the last that one window looks at."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def is_padded(self) -> bool:
        """Whether a window looks at padding."""
        return self.before > 0 or self.after > 0

    @property
    def sees_nothing(self) -> bool:
        """Whether there is a position that looks at padding alone."""
        seen: set[int] = set()
        for positions, _ in self.taps():
            seen.update(range(positions.start, positions.stop))
        return len(seen) < self.positions

    @property
    def is_partition(self) -> bool:
        """Whether kernels lie side by side, so that every element is seen by exactly one position."""
        fits = self.dilation == 1 and self.size == self.positions * self.kernel
        return fits and self.kernel == self.stride and self.before == 0

    def seen_by(self, positions: slice) -> tuple[slice, slice]:
        """Return (inputs, places) for a run of positions: the input they look at, and where it lies in what they see.

        What they see is ``seen_extent`` long, padding included.
        """
        start = positions.start * self.stride - self.before
        stop = start + self.seen_extent(positions.stop - positions.start)
        first = min(max(start, 0), self.size)
        last = max(first, min(stop, self.size))
        if first == last:  # padding alone
            return slice(first, last), slice(0, 0)
        return slice(first, last), slice(first - start, last - start)

    def seen_extent(self, positions: int) -> int:
        """Return how many elements, padding included, so many neighbouring positions see."""
        return (positions - 1) * self.stride + self.reach

    def taps(self) -> Iterator[tuple[slice, slice]]:
        """Yield, for each element of the kernel, the (positions, inputs) where it falls on the input."""
        for tap in range(self.kernel):
            offset = tap * self.dilation - self.before
            first = max(0, -(offset // self.stride))
            last = min(self.positions, (self.size - 1 - offset) // self.stride + 1)
            if first < last:
                start = first * self.stride + offset
                yield slice(first, last), slice(start, start + (last - first - 1) * self.stride + 1, self.stride)


@dataclass(frozen=True)
class Window2D:
    """A window over images: along the height, and along the width."""

    rows: Window
    columns: Window

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return self.rows.kernel * self.columns.kernel

    @property
    def positions(self) -> int:
        """Positions in one image."""
        return self.rows.positions * self.columns.positions

    @property
    def is_padded(self) -> bool:
        """Whether a window looks at padding."""
        return self.rows.is_padded or self.columns.is_padded

    @property
    def is_partition(self) -> bool:
        """Whether kernels lie side by side, so that every element is seen by exactly one position."""
        return self.rows.is_partition and self.columns.is_partition


@functools.lru_cache(maxsize=4096)
def slide(
    size: int, kernel: int, stride: int, padding: int, dilation: int, mode: ConvolutionMode, axis: str = "size"
) -> Window:
    """Return the window of these options along an axis of ``size`` elements; ``axis`` names it in errors.

    With reach = dilation (kernel - 1) + 1, positions = floor((size + 2 padding - reach) / stride) + 1 in TRUNCATE and
    STRICT, ceil(size / stride) in SAME and CAUSAL, which pad by themselves. Raises ShapeError, which shows the
    arithmetic, where the window does not fit, and in STRICT where it does not end at the edge.
    Source: DL4J ``ConvolutionUtils.getOutputSize``.
    """
    reach = dilation * (kernel - 1) + 1
    if mode in (ConvolutionMode.SAME, ConvolutionMode.CAUSAL):
        positions = -(-size // stride)
        missing = max(0, (positions - 1) * stride + reach - size)
        before = missing // 2 if mode is ConvolutionMode.SAME else reach - 1
        after = missing - before if mode is ConvolutionMode.SAME else 0
        return Window(size, kernel, stride, dilation, before, after, positions)
    told = _told(size, kernel, stride, padding, dilation, axis)
    space = size + 2 * padding - reach
    if space < 0:
        raise ShapeError(
            f"{told}: the window of {dilation} x ({kernel} - 1) + 1 = {reach} is larger than the padded {axis}, {size} "
            f"+ 2 x {padding} = {size + 2 * padding}. Use a smaller kernel or dilation, more padding, or "
            'convolution_mode="same".'
        )
    if mode is ConvolutionMode.STRICT and space % stride:
        raise ShapeError(
            f'{told}: convolution_mode="strict", but ({size} + 2 x {padding} - {reach}) / {stride} + 1 = '
            f"{space / stride + 1:.4g} is no whole number. Change the {axis}, kernel, stride or padding, or use "
            f'convolution_mode="truncate" ({space // stride + 1} positions, the rest is dropped) or "same".'
        )
    positions = space // stride + 1
    after = max(0, (positions - 1) * stride + reach - padding - size)
    return Window(size, kernel, stride, dilation, padding, after, positions)


def _told(size: int, kernel: int, stride: int, padding: int, dilation: int, axis: str) -> str:
    return f"{axis}={size}, kernel={kernel}, stride={stride}, padding={padding}, dilation={dilation}"
