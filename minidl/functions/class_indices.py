"""From integer class indices to one-hot rows."""

import numpy as np

from ..errors import DataError
from .scratch import Empty

__all__ = ["expand_class_indices"]


def expand_class_indices(indices: np.ndarray, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
    """Write one-hot rows into ``out`` and return it: out[i, indices[i]] = 1, all else 0.

    Shapes: indices (batch,) or (batch, 1), of any real type if the values are whole; out (batch, n).
    Raises DataError for another shape, and for an index that is no whole number or outside [0, n).
    """
    n_examples, n_classes = out.shape
    if indices.shape not in ((n_examples,), (n_examples, 1)):
        raise DataError(
            f"class indices have shape {indices.shape}, expected ({n_examples},) or ({n_examples}, 1). "
            f"Give one class index for each example."
        )
    out.fill(0)
    if n_examples == 0:
        return out
    column = indices.reshape(-1)
    if not column.flags.carray or not column.dtype.isnative:  # reductions would copy it to the heap
        column = empty(column.shape, column.dtype.newbyteorder("="))
        np.copyto(column, indices.reshape(-1))
    _check_whole(column, n_classes, empty)
    _check_range(column, n_classes)
    np.put(out, _flat_positions(column, n_classes, empty), 1)
    return out


def _flat_positions(column: np.ndarray, n_classes: int, empty: Empty) -> np.ndarray:
    """Return row * n_classes + index for every row, without the arrays that ``np.arange`` would make."""
    steps, positions = empty(column.shape, np.intp), empty(column.shape, np.intp)
    steps.fill(n_classes)
    steps[0] = 0
    np.add.accumulate(steps, out=positions)
    np.copyto(steps, column, casting="unsafe")
    return np.add(positions, steps, out=positions)


def _check_whole(column: np.ndarray, n_classes: int, empty: Empty) -> None:
    if column.dtype.kind in "biu":
        return
    if column.dtype.kind != "f":
        raise DataError(
            f"class indices are of type {column.dtype}, expected whole numbers from 0 to {n_classes - 1}. "
            f"Number the classes from 0."
        )
    whole = np.trunc(column, out=empty(column.shape, column.dtype))
    differs = np.not_equal(column, whole, out=empty(column.shape, np.bool_))
    if np.logical_or.reduce(differs):
        _raise_at(column, int(differs.argmax()), n_classes)


def _check_range(column: np.ndarray, n_classes: int) -> None:
    if np.minimum.reduce(column) < 0:
        _raise_at(column, int(column.argmin()), n_classes)
    if not np.maximum.reduce(column) < n_classes:  # NaN too
        _raise_at(column, int(column.argmax()), n_classes)


def _raise_at(column: np.ndarray, row: int, n_classes: int) -> None:
    raise DataError(
        f"class index {column[row]} in row {row} is not a whole number from 0 to {n_classes - 1}. "
        f"Number the classes from 0, or set n_out to the number of classes."
    )
