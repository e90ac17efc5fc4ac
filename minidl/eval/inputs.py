"""From what a user hands to ``eval`` to dense, checked rows."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError, DataError, DtypeError, ShapeError
from .scratch import Scratch

__all__ = ["Accepted", "BatchReader", "Rows", "check_probabilities", "checked_axis"]

MAX_AXES = 5
MAX_NUMBER = 1e140
"""Above it, sums of squares could leave the range of float64."""
ROUNDING = 1e-6
"""How far a probability may lie outside of [0, 1]: sums of a few float32 numbers do."""


class Accepted(NamedTuple):
    """What one class of evaluations takes beside labels of the shape of the predictions."""

    class_indices: bool = True
    output_masks: bool = False
    float64: bool = False  # the rows are wanted in double precision, whatever comes


class Rows(NamedTuple):
    """The rows of a batch that count.

    Shapes: labels (rows, n_out) or indices (rows,), predictions (rows, n_out), kept (rows, n_out) or None where all
    outputs count; what is not kept is 0 in labels and predictions.
    """

    labels: NDArray
    predictions: NDArray
    kept: NDArray | None
    numbers: NDArray | None  # which rows of the batch these are, None for all
    examples: int  # in the batch, before masking
    rows_per_example: int
    metadata: Sequence[Any] | None = None  # one for each row

    def with_metadata(self, owner: str, metadata: Sequence[Any]) -> "Rows":
        """Return the rows with the item of ``metadata`` that is about their example; ShapeError for another length."""
        try:
            metadata = list(metadata)
        except TypeError as error:
            raise DtypeError(f"{owner}: metadata={metadata!r} is no list. Give one item for each example.") from error
        if len(metadata) != self.examples:
            raise ShapeError(
                f"{owner}: metadata has {len(metadata)} items for {self.examples} examples. Give one for each example, "
                "masked ones included."
            )
        numbers = range(self.examples * self.rows_per_example) if self.numbers is None else self.numbers.tolist()
        return self._replace(metadata=[metadata[row // self.rows_per_example] for row in numbers])


class BatchReader:
    """Reads batches for one evaluation, copying only what is strided, masked or of another dtype."""

    def __init__(self, owner: str, scratch: Scratch, accepted: Accepted) -> None:
        self._owner = owner
        self._scratch = scratch
        self._accepted = accepted

    def read(self, labels: ArrayLike, predictions: ArrayLike, mask: ArrayLike | None, axis: int) -> Rows | None:
        """Return the unmasked rows, or None if the mask leaves none; ``axis`` is the one of the classes.

        Labels are cast to the dtype of the predictions, class indices to intp. Raises ShapeError, DataError
        (empty, NaN, class index out of range) or DtypeError.
        """
        y, p = self._real_array("labels", labels), self._real_array("predictions", predictions)
        axis = self._checked_axis(p, axis)
        indices = self._are_indices(y, p, axis)
        shape, p = p.shape, _with_axis_last(p, axis)
        y = y if indices else _with_axis_last(y, axis)
        places, n_out = p.shape[:-1], p.shape[-1]
        self._scratch.rows = max(self._scratch.rows, math.prod(places))
        numbers, outputs = self._read_mask(mask, shape, axis)
        if numbers is not None and len(numbers) == 0:
            return None
        wide = self._accepted.float64 or np.result_type(p.dtype, np.float32) != np.float32
        dtype = np.dtype(np.float64 if wide else np.float32)
        p_rows = self._rows("predictions", p, numbers, dtype, (n_out,))
        if indices:
            y_rows = self._rows("labels", y, numbers, np.dtype(np.intp), ())
            self._check_class_indices(y_rows, n_out)
        else:
            y_rows = self._rows("labels", y, numbers, dtype, (n_out,))
        if outputs is not None:
            p_rows, y_rows = self._zeroed("predictions", p_rows, outputs), self._zeroed("labels", y_rows, outputs)
        if not indices:
            self._check_no_nan("labels", y_rows)
        self._check_no_nan("predictions", p_rows)
        return Rows(y_rows, p_rows, outputs, numbers, places[0], math.prod(places[1:]))

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

    def _checked_axis(self, p: NDArray, axis: int) -> int:
        """Return ``axis`` counted from 0, for predictions that are not empty."""
        if not 2 <= p.ndim <= MAX_AXES:
            raise ShapeError(
                f"{self._owner}: predictions have shape {p.shape}, expected (batch, n_out), (batch, n_out, time), or "
                f"up to {MAX_AXES} axes. Reshape them, one column with predictions[:, None]."
            )
        if p.size == 0:
            raise DataError(f"{self._owner}: predictions of shape {p.shape} are empty. Leave empty batches out.")
        counted = axis + p.ndim if axis < 0 else axis
        if not 0 <= counted < p.ndim or (p.ndim == 2 and counted == 0):
            fitting = "1" if p.ndim == 2 else f"0 to {p.ndim - 1}"
            raise ShapeError(
                f"{self._owner}: axis={axis} cannot be the axis of the classes in predictions of shape {p.shape}, "
                f"expected {fitting}. Create it with the axis of your data: {self._owner}(axis=1), for example."
            )
        return counted

    def _are_indices(self, y: NDArray, p: NDArray, axis: int) -> bool:
        """Tell whether the labels are class indices, for all places of the predictions."""
        if y.shape == p.shape:
            return False
        places = p.shape[:axis] + p.shape[axis + 1 :]
        if not self._accepted.class_indices:
            raise ShapeError(
                f"{self._owner}: labels of shape {y.shape} do not fit predictions of shape {p.shape}. "
                f"Give one label for each output, in shape {p.shape}."
            )
        if y.shape != places:
            raise ShapeError(
                f"{self._owner}: labels of shape {y.shape} do not fit predictions of shape {p.shape}. "
                f"Give labels of shape {p.shape}, or integer class indices of shape {places}."
            )
        if y.dtype.kind == "f":
            raise DtypeError(
                f"{self._owner}: labels of shape {y.shape} are class indices, but have dtype {y.dtype}. "
                f"Convert them with labels.astype(int)."
            )
        return True

    def _read_mask(
        self, mask: ArrayLike | None, shape: tuple[int, ...], axis: int
    ) -> tuple[NDArray | None, NDArray | None]:
        """Return the numbers of the rows that count, and of a mask of outputs which of them; None for all."""
        if mask is None:
            return None, None
        array = self._real_array("mask", mask)
        places = shape[:axis] + shape[axis + 1 :]
        per_place = self._mask_shapes(places)
        if array.shape in per_place:
            self._check_mask_is_no_nan(array)
            return self._kept_rows(array, places), None
        if array.shape == shape and (self._accepted.output_masks or shape[axis] == 1):
            self._check_mask_is_no_nan(array)
            array = _with_axis_last(array, axis)
            if not self._accepted.output_masks:
                return self._kept_rows(array.reshape(places), places), None
            kept = self._scratch.get("kept outputs", array.shape, np.bool_)
            np.copyto(kept, array, casting="unsafe")
            kept = kept.reshape(-1, array.shape[-1])
            count = np.count_nonzero(kept)
            nothing = self._scratch.counting_up(0)
            return (nothing, None) if count == 0 else (None, None if count == kept.size else kept)
        problem, shapes = f"{self._owner}: the mask does not fit", list(dict.fromkeys(per_place))
        if array.shape == shape:
            problem = f"Per-output masking for {self._owner} is not supported"
        if self._accepted.output_masks:
            shapes.append(shape)
        raise ShapeError(
            f"{problem}: got a mask of shape {array.shape} for predictions of shape {shape}. "
            f"Give a mask of shape {' or '.join(map(str, shapes))}."
        )

    def _mask_shapes(self, places: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shapes of masks of examples and of places, such as time steps and pixels."""
        shapes = [places[:1], (places[0], 1), places]
        if len(places) == 3:  # as DL4J has masks of images
            shapes += [(places[0], 1, *places[1:]), (*places, 1)]
        return shapes

    def _check_mask_is_no_nan(self, mask: NDArray) -> None:
        if mask.dtype.kind == "f" and math.isnan(mask.min()):
            raise DataError(f"{self._owner}: the mask contains NaN. Use 1 for rows that count, 0 for the others.")

    def _kept_rows(self, mask: NDArray, places: tuple[int, ...]) -> NDArray | None:
        """Return the sorted numbers of the rows that count, or None for all of them.

        Those of an example count where its number is not 0, those of a time step or a pixel where it is 1 (DL4J).
        """
        rows = math.prod(places)
        keep = self._scratch.get("keep", (rows,), np.bool_)
        if mask.size == rows and len(places) > 1 and mask.dtype != np.bool_:
            np.equal(mask, 1, out=keep.reshape(mask.shape))
        elif mask.size == rows:
            np.copyto(keep.reshape(mask.shape), mask, casting="unsafe")  # all but zero
        else:
            examples = self._scratch.get("kept examples", mask.shape[:1], np.bool_)
            np.copyto(examples.reshape(mask.shape), mask, casting="unsafe")
            np.copyto(keep.reshape(len(mask), -1), examples[:, None])
        count = np.count_nonzero(keep)
        if count == rows:
            return None
        # np.flatnonzero without its allocation: rows left out are numbered past the end, and sorted there
        numbers = self._scratch.get("row numbers", (rows,), np.intp)
        numbers.fill(rows)
        np.copyto(numbers, self._scratch.counting_up(rows), where=keep)
        numbers.sort()
        return numbers[:count]

    def _rows(
        self, name: str, a: NDArray, numbers: NDArray | None, dtype: np.dtype, row_shape: tuple[int, ...]
    ) -> NDArray:
        """Return the rows of ``a`` that count, in C order: (batch, time, n) -> (rows, n), for example."""
        if a.dtype != dtype or not a.flags.c_contiguous:
            copy = self._scratch.get(name, (a.size // math.prod(row_shape), *row_shape), dtype).reshape(a.shape)
            np.copyto(copy, a, casting="unsafe")
            a = copy
        rows = a.reshape(-1, *row_shape)
        if numbers is None:
            return rows
        out = self._scratch.get(f"kept {name}", (len(numbers), *row_shape), dtype)
        return np.take(rows, numbers, axis=0, out=out, mode="clip")  # other modes allocate

    def _zeroed(self, name: str, rows: NDArray, kept: NDArray) -> NDArray:
        """Return ``rows`` with 0 for the outputs that are not ``kept``."""
        out = self._scratch.get(f"{name} of kept outputs", rows.shape, rows.dtype)
        out.fill(0)
        np.copyto(out, rows, where=kept)
        return out

    def _check_no_nan(self, name: str, rows: NDArray) -> None:
        lowest = rows.min()
        found = "NaN" if math.isnan(lowest) else ""
        if self._accepted.float64 and not found:
            largest = max(-lowest, rows.max())
            if math.isinf(largest):
                found = "infinity"  # no sum would be left of it
            elif largest > MAX_NUMBER:
                found = f"a number of the size {largest:.3g}, too large for sums of squares"
        if found:
            raise DataError(f"{self._owner}: {name} contain {found}. Find where it comes from, or mask these rows out.")

    def _check_class_indices(self, indices: NDArray, width: int) -> None:
        classes = max(width, 2)  # one column tells two classes apart
        lowest, highest = indices.min(), indices.max()
        if lowest < 0 or highest >= classes:
            raise DataError(
                f"{self._owner}: class indices from {lowest} to {highest} do not fit predictions with "
                f"{classes} classes. Use 0 to {classes - 1}, and mask out rows without a class."
            )


def _with_axis_last(a: NDArray, axis: int) -> NDArray:
    """Return ``a`` with an axis, counted from 0, moved behind the others."""
    return a if axis == a.ndim - 1 else a.transpose(*range(axis), *range(axis + 1, a.ndim), axis)


def check_probabilities(owner: str, predictions: NDArray) -> None:
    """Raise DataError for predictions outside of [0, 1], but for rounding."""
    lowest, highest = float(predictions.min()), float(predictions.max())
    if lowest < -ROUNDING or highest > 1 + ROUNDING:
        raise DataError(
            f"{owner}: predictions from {lowest:.6g} to {highest:.6g} are no probabilities. Apply a sigmoid or a "
            "softmax to them first, or give the network an output layer with one."
        )


def checked_axis(axis: object) -> int:
    """Return the option ``axis``; raise ConfigurationError for what is no axis of an array of up to 5 axes."""
    if isinstance(axis, int | np.integer) and not isinstance(axis, bool) and -MAX_AXES < axis < MAX_AXES:
        return int(axis)
    raise ConfigurationError(
        f"axis={axis!r} is no axis of the classes. Use 1 for (batch, classes, ...), or -1 where the classes are last."
    )
