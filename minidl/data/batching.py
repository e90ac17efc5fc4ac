"""Which examples form a batch, as pure functions, and the copying of these examples into their memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from .dataset import FIELDS, DataSet

__all__ = [
    "BatchMemory",
    "FreshMemory",
    "RecycledMemory",
    "batch_bounds",
    "joined",
    "number_of_batches",
    "rebatched_pieces",
    "rows_of",
    "taken_rows",
    "write_epoch_order",
]


def number_of_batches(examples: int, batch_size: int, drop_last: bool) -> int:
    """Return how many batches ``batch_bounds`` gives."""
    return examples // batch_size if drop_last else -(-examples // batch_size)


def batch_bounds(examples: int, batch_size: int, drop_last: bool) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each batch; a last one that is not full is short, or dropped."""
    for batch in range(number_of_batches(examples, batch_size, drop_last)):
        start = batch * batch_size
        yield start, min(start + batch_size, examples)


def rebatched_pieces(sizes: Sequence[int], batch_size: int | None) -> Iterator[list[tuple[int, int, int]]]:
    """Yield the pieces (data set, start, stop) of each batch, in order, across data sets of these ``sizes``.

    Without a batch size each data set is a batch.
    """
    pieces: list[tuple[int, int, int]] = []
    missing = batch_size
    for index, size in enumerate(sizes):
        start = 0
        while start < size:
            stop = size if missing is None else min(size, start + missing)
            pieces.append((index, start, stop))
            missing = missing and missing - (stop - start)
            start = stop
            if not missing:
                yield pieces
                pieces, missing = [], batch_size
    if pieces:
        yield pieces


def write_epoch_order(order: np.ndarray, seed: int, epoch: int) -> None:
    """Write into ``order`` the permutation of its indices that belongs to (seed, epoch), without any copy."""
    order.fill(1)
    order[0] = 0
    np.cumsum(order, out=order)  # 0, 1, 2, ...: np.arange has no out=
    sequence = np.random.SeedSequence(seed, spawn_key=(epoch,))
    np.random.default_rng(sequence).shuffle(order)


class BatchMemory(Protocol):
    """Where the arrays of a pass are made."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialised array for the purpose ``name``."""


class FreshMemory:
    """Arrays that belong to whoever gets them."""

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a new array."""
        return np.empty(shape, dtype)


class RecycledMemory:
    """One buffer for each purpose, as large as needed so far; a new array takes the last one's place."""

    def __init__(self) -> None:
        self._buffers: dict[str, np.ndarray] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a view of the front of the buffer ``name``."""
        size = math.prod(shape) * dtype.itemsize
        buffer = self._buffers.get(name)
        if buffer is None or buffer.nbytes < size:
            buffer = self._buffers[name] = np.empty(size, np.uint8)
        return np.ndarray(shape, dtype, buffer)

    def release(self) -> None:
        """Give the buffers back; the next array makes a new one."""
        self._buffers.clear()


def rows_of(dataset: DataSet, start: int, stop: int) -> DataSet:
    """Return the examples from ``start`` to ``stop`` as views."""
    return _field_by_field(dataset, lambda name, array: array[start:stop])


def taken_rows(dataset: DataSet, rows: np.ndarray, memory: BatchMemory) -> DataSet:
    """Return a copy of the examples ``rows``, in that order, in arrays of ``memory``."""

    def taken(name: str, array: np.ndarray) -> np.ndarray:
        out = memory.empty(name, (len(rows), *array.shape[1:]), array.dtype)
        if array.flags.c_contiguous and array.flags.aligned:
            return np.take(array, rows, axis=0, out=out, mode="clip")
        for i, row in enumerate(rows):  # here np.take would first copy the whole array, for every batch
            out[i] = array[row]
        return out

    return _field_by_field(dataset, taken)


def joined(pieces: Sequence[DataSet], memory: BatchMemory) -> DataSet:
    """Return a copy of ``pieces``, one after the other, in arrays of ``memory``; all have the same fields."""

    def concatenated(name: str, first: np.ndarray) -> np.ndarray:
        arrays = [getattr(piece, name) for piece in pieces]
        dtype = np.result_type(*[array.dtype for array in arrays])
        out = memory.empty(name, (sum(map(len, arrays)), *first.shape[1:]), dtype)
        start = 0
        for array in arrays:
            np.copyto(out[start : start + len(array)], array)
            start += len(array)
        return out

    return _field_by_field(pieces[0], concatenated)


def _field_by_field(dataset: DataSet, made: Callable[[str, np.ndarray], np.ndarray]) -> DataSet:
    """Return the DataSet of ``made(name, array)`` for each field that ``dataset`` has."""
    _, *optional = dataset
    others = [None if array is None else made(name, array) for name, array in zip(FIELDS[1:], optional, strict=True)]
    return DataSet(made("features", dataset.features), *others)
