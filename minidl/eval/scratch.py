"""Buffers that stay from batch to batch."""

import math

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Scratch"]


class Scratch:
    """Named buffers that only grow, so that a warm batch allocates nothing."""

    def __init__(self) -> None:
        self.rows = 0  # room for that many rows is made at once, however few a mask leaves
        self._buffers: dict[tuple[str, np.dtype], NDArray] = {}
        self._filled: dict[tuple[str, np.dtype], NDArray] = {}
        self._counting_up = np.empty(0, np.intp)

    def get(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
        """Return a C-contiguous array (rows, ...) over the buffer ``name``; what it held is lost."""
        size, key = math.prod(shape), (name, np.dtype(dtype))
        buffer = self._buffers.get(key)
        if buffer is None or buffer.size < size:
            buffer = np.empty(max(self.rows, shape[0]) * math.prod(shape[1:]), dtype)
            self._buffers[key] = buffer
        return buffer[:size].reshape(shape)

    def get_like(self, name: str, other: NDArray) -> NDArray:
        """Return an array of the shape and dtype of ``other``; what it held is lost."""
        return self.get(name, other.shape, other.dtype)

    def repeated(self, name: str, row: NDArray, rows: int, dtype: DTypeLike = np.intp) -> NDArray:
        """Return (rows, n) with ``row`` (n,), always the same under this name, in every row; to be read only.

        Broadcasting it would cost a hidden buffer in every operation.
        """
        key = (name, np.dtype(dtype))
        filled = self._filled.get(key)
        if filled is None or len(filled) < rows or filled.shape[1] != len(row):
            filled = self._filled[key] = np.tile(row.astype(dtype), (max(self.rows, rows), 1))
        return filled[:rows]

    def counting_up(self, count: int) -> NDArray:
        """Return 0, 1, ..., ``count`` - 1, to be read only."""
        if self._counting_up.size < count:
            self._counting_up = np.arange(count)
        return self._counting_up[:count]
