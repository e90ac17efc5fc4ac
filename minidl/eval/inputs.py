"""From what a user hands to ``eval`` to dense, checked rows."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError, DtypeError, ShapeError
from .scratch import Scratch

__all__ = ["BatchReader", "Rows"]


class Rows(NamedTuple):
    """The rows of a batch that count: labels (rows, n_out) or indices (rows,), predictions (rows, n_out)."""

    labels: NDArray
    predictions: NDArray


class BatchReader:
    """Reads batches for one evaluation, copying only what is strided, masked or of another dtype."""

    def __init__(self, owner: str, scratch: Scratch) -> None:
        self._owner = owner
        self._scratch = scratch

    def read(self, labels: ArrayLike, predictions: ArrayLike, mask: ArrayLike | None) -> Rows | None:
        """Return the unmasked rows, or None if the mask leaves none.

        Labels are cast to the dtype of the predictions, class indices to intp. Raises ShapeError, DataError
        (empty, NaN, class index out of range) or DtypeError.
        """
        y, p = self._real_array("labels", labels), self._real_array("predictions", predictions)
        self._check_shapes(y, p)
        self._scratch.rows = max(self._scratch.rows, p.size // p.shape[1])
        kept = None if mask is None else self._kept_rows(self._real_array("mask", mask), p)
        if kept is not None and len(kept) == 0:
            return None
        dtype, n_out = np.result_type(p.dtype, np.float32), p.shape[1]
        p_rows = self._rows("predictions", p, kept, dtype, (n_out,))
        self._check_no_nan("predictions", p_rows)
        if y.ndim == p.ndim:
            y_rows = self._rows("labels", y, kept, dtype, (n_out,))
            self._check_no_nan("labels", y_rows)
        else:
            y_rows = self._rows("labels", y, kept, np.dtype(np.intp), ())
            self._check_class_indices(y_rows, n_out)
        return Rows(y_rows, p_rows)

    def _real_array(self, name: str, value: ArrayLike) -> NDArray:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ShapeError(f"{self._owner}: {name} are not a rectangular array ({error}).") from error
        if array.dtype.kind not in "fiub":
            raise DtypeError(
                f"{self._owner}: {name} have dtype {array.dtype}, expected real numbers. "
                f"Convert them, for example with astype('float32')."
            )
        return array

    def _check_shapes(self, y: NDArray, p: NDArray) -> None:
        if p.ndim not in (2, 3):
            raise ShapeError(
                f"{self._owner}: predictions of shape {p.shape} are not supported yet; expected "
                f"(batch, n_out) or (batch, n_out, time). Reshape them, one column with predictions[:, None]."
            )
        if p.size == 0:
            raise DataError(f"{self._owner}: predictions of shape {p.shape} are empty. Leave empty batches out.")
        if y.shape == p.shape:
            return
        index_shape = p.shape[:1] + p.shape[2:]
        if y.shape != index_shape:
            raise ShapeError(
                f"{self._owner}: labels of shape {y.shape} do not fit predictions of shape {p.shape}. "
                f"Give labels of shape {p.shape}, or integer class indices of shape {index_shape}."
            )
        if y.dtype.kind == "f":
            raise DtypeError(
                f"{self._owner}: labels of shape {y.shape} are class indices, but have dtype {y.dtype}. "
                f"Convert them with labels.astype(int)."
            )

    def _kept_rows(self, mask: NDArray, p: NDArray) -> NDArray | None:
        """Return the sorted numbers of the rows that count, or None for all of them."""
        self._check_mask_shape(mask, p)
        batch, rows = len(p), p.size // p.shape[1]
        keep = self._scratch.get("keep", (rows,), np.bool_)
        if p.ndim == 2 or mask.dtype == np.bool_:
            np.copyto(keep.reshape(mask.shape), mask, casting="unsafe")  # all but zero
        else:
            np.equal(mask, 1, out=keep.reshape(batch, -1))
        count = np.count_nonzero(keep)
        if count == rows:
            return None
        # np.flatnonzero without its allocation: rows left out are numbered past the end, and sorted there
        numbers = self._scratch.get("row numbers", (rows,), np.intp)
        numbers.fill(rows)
        np.copyto(numbers, self._scratch.counting_up(rows), where=keep)
        numbers.sort()
        return numbers[:count]

    def _check_mask_shape(self, mask: NDArray, p: NDArray) -> None:
        batch = len(p)
        allowed = [(batch,), (batch, 1)] if p.ndim == 2 else [(batch, p.shape[2])]
        if mask.shape not in allowed:
            problem = f"{self._owner}: the mask does not fit"
            if mask.shape == p.shape:
                problem = f"Per-output masking for {self._owner} is not supported"
            shapes = " or ".join(str(shape) for shape in allowed)
            raise ShapeError(
                f"{problem}: got a mask of shape {mask.shape} for predictions of shape {p.shape}. "
                f"Give one value per row, in shape {shapes}."
            )
        if mask.dtype.kind == "f" and math.isnan(mask.min()):
            raise DataError(f"{self._owner}: the mask contains NaN. Use 1 for rows that count, 0 for the others.")

    def _rows(
        self, name: str, a: NDArray, kept: NDArray | None, dtype: np.dtype, row_shape: tuple[int, ...]
    ) -> NDArray:
        """Return the rows of ``a`` that count, in C order: (batch, n, time) -> (rows, n), for example."""
        if row_shape and a.ndim == 3:
            a = a.transpose(0, 2, 1)  # (batch, time, n)
        if a.dtype != dtype or not a.flags.c_contiguous:
            copy = self._scratch.get(name, (a.size // math.prod(row_shape), *row_shape), dtype).reshape(a.shape)
            np.copyto(copy, a, casting="unsafe")
            a = copy
        rows = a.reshape(-1, *row_shape)
        if kept is None:
            return rows
        out = self._scratch.get(f"kept {name}", (len(kept), *row_shape), dtype)
        return np.take(rows, kept, axis=0, out=out, mode="clip")  # other modes allocate

    def _check_no_nan(self, name: str, rows: NDArray) -> None:
        if math.isnan(rows.min()):
            raise DataError(f"{self._owner}: {name} contain NaN. Find where it comes from, or mask these rows out.")

    def _check_class_indices(self, indices: NDArray, width: int) -> None:
        classes = max(width, 2)  # one column tells two classes apart
        lowest, highest = indices.min(), indices.max()
        if lowest < 0 or highest >= classes:
            raise DataError(
                f"{self._owner}: class indices from {lowest} to {highest} do not fit predictions with "
                f"{classes} classes. Use 0 to {classes - 1}, and mask out rows without a class."
            )
