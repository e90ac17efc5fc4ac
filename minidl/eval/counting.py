"""Counting without allocation."""

import numpy as np
from numpy.typing import NDArray

from .scratch import Scratch

__all__ = ["Bins", "column_sums", "count_cells"]


def count_cells(counts: NDArray[np.int64], cells: NDArray) -> None:
    """Add one to ``counts[cell]`` for each of the integers ``cells`` (n,), C-contiguous.

    A plain loop on purpose: in every call ``np.add.at`` takes 5 KB for its iterators and ``np.bincount``
    makes an array. This takes 0.05 us a row and no memory.
    """
    view = memoryview(counts.data)
    for cell in memoryview(cells.data):
        view[cell] += 1


def column_sums(name: str, flags: NDArray, scratch: Scratch) -> NDArray[np.float64]:
    """Return how many of the ``flags`` (rows, n), bool, are set in each column, in the buffer ``name``."""
    numbers = scratch.get("flags as numbers", flags.shape, np.float64)  # which hold counts below 2^53 exactly
    np.copyto(numbers, flags)
    return np.add.reduce(numbers, axis=0, out=scratch.get(name, flags.shape[1:], np.float64))


class Bins:
    """Equal bins of [0, 1]: bin j of ``count`` holds [j / count, (j + 1) / count), and the last one 1 as well.

    Values and bounds are compared in the dtype of the values, so a float32 0.3 lies on the bound 0.3.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._bounds: dict[np.dtype, NDArray] = {}

    def _bounds_as(self, dtype: np.dtype) -> NDArray:
        """Return 0, 1 / count, ... (count - 1) / count, NaN: item j is what a value in bin j reaches at least."""
        bounds = self._bounds.get(dtype)
        if bounds is None:
            exact = np.append(np.arange(self.count) / self.count, np.nan)  # NaN: nothing reaches it
            bounds = self._bounds[dtype] = exact.astype(dtype)
        return bounds

    def cells(self, values: NDArray, scratch: Scratch) -> NDArray:
        """Return the number of the bin of each of ``values`` (rows, n), those outside [0, 1] in the nearest one."""
        bounds = self._bounds_as(values.dtype)
        work = scratch.get("bin work", values.shape, values.dtype)
        cells = scratch.get("bin cells", values.shape, np.intp)
        wrong = scratch.get("bin wrong", values.shape, np.bool_)
        inside = scratch.get("bin inside", values.shape, values.dtype)
        np.minimum(values, 1, out=inside)
        np.maximum(inside, 0, out=inside)
        np.multiply(inside, self.count, out=work)
        np.copyto(cells, work, casting="unsafe")
        np.minimum(cells, self.count - 1, out=cells)  # right but for rounding, which the next lines undo
        np.take(bounds, cells, out=work, mode="clip")  # other modes allocate
        np.less(inside, work, out=wrong)
        np.subtract(cells, 1, out=cells, where=wrong)
        np.take(bounds[1:], cells, out=work, mode="clip")
        np.greater_equal(inside, work, out=wrong)
        return np.add(cells, 1, out=cells, where=wrong)
