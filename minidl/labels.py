"""Labels as users give them: one-hot, or class indices, for vectors, series and images."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ShapeError
from .functions import SparseMCXENT, expand_class_indices

__all__ = ["LabelForm", "checked_labels", "classes_first", "placed_labels"]

Array = npt.NDArray[Any]
Empty = Callable[[tuple[int, ...], npt.DTypeLike], Array]


class LabelForm(enum.IntEnum):
    """What must be done to labels before the loss sees them."""

    AS_THEY_ARE = 0
    CONVERTED = 1
    CLASS_INDICES = 2
    CLASS_INDICES_WITH_GAPS = 3  # steps of a part of each series, which are brought together first

    @property
    def of_classes(self) -> bool:
        """Whether the labels are the numbers of classes."""
        return self >= LabelForm.CLASS_INDICES


def classes_first(array: Array) -> Array:
    """Return (batch, ..., n) as a view (batch, n, ...)."""
    return array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))


def checked_labels(labels: Array, expected: tuple[int, ...], loss: Any, classes_are_last: bool) -> tuple[Array, bool]:
    """Return labels that fit outputs of shape ``expected``, and whether they are class indices.

    Class indices, (batch,) or (batch, 1), or (batch, time) or (batch, height, width) for outputs at every step or
    pixel, are taken where the loss is one of classes; numbers of that shape where there is one output. Raises
    ShapeError.
    """
    batch = expected[0]
    if labels.ndim == 0 or len(labels) != batch:
        raise ShapeError(
            f"labels have shape {labels.shape}, but the features have {batch} examples. Give one row of labels for "
            "each example."
        )
    places = expected[1:-1] if classes_are_last else expected[2:]
    outputs = expected[-1] if classes_are_last else expected[1]
    without_classes = ((batch, *places),) if places else ((batch,), (batch, 1))
    if labels.shape in without_classes and labels.shape != expected:
        if _takes_indices(loss, labels):
            return labels, True
        if outputs == 1:
            return labels.reshape(expected), False
    if labels.shape == expected:
        return labels, False
    hint = f" or integer class indices of shape {_described(places)}" if _is_of_classes(loss) else ""
    raise ShapeError(
        f"labels have shape {labels.shape} and dtype {labels.dtype}, expected {expected} for the network's "
        f"outputs{hint}. {_remedy(places)}"
    )


def _described(places: tuple[int, ...]) -> str:
    return "(batch,)" if not places else f"(batch, {', '.join(map(str, places))})"


def _remedy(places: tuple[int, ...]) -> str:
    if not places:
        return "Give one column for each output of the last layer, or change its n_out."
    return "Give one number for each output of the last layer, at every step or pixel, or change the layers."


def _is_of_classes(loss: Any) -> bool:
    return getattr(loss, "label_kind", "values") == "classes"


def _takes_indices(loss: Any, labels: Array) -> bool:
    return _is_of_classes(loss) and (labels.dtype.kind in "iu" or isinstance(loss, SparseMCXENT))


def placed_labels(
    labels: Array, form: LabelForm, expected: tuple[int, ...], dtype: np.dtype[Any], empty: Empty
) -> Array:
    """Return checked labels as ``dtype``, (batch, n, ...), in memory from ``empty`` unless they are that already."""
    if form is LabelForm.AS_THEY_ARE:
        return labels
    if form.of_classes and len(expected) > 2:
        batch, outputs, *places = expected
        block = empty((batch, *places, outputs), dtype)
        has_gaps = form is LabelForm.CLASS_INDICES_WITH_GAPS or not labels.flags.c_contiguous
        if has_gaps:  # NumPy would copy it on the heap
            copy = empty(labels.shape, labels.dtype)
            np.copyto(copy, labels)
            labels = copy
        expand_class_indices(labels.reshape(-1), block.reshape(-1, outputs), empty)
        return classes_first(block)
    rows = empty(expected, dtype)
    if form.of_classes:
        return expand_class_indices(labels, rows, empty)
    with np.errstate(over="ignore", invalid="ignore"):  # check_values looks at what came out of it
        np.copyto(rows, labels, casting="unsafe")
    return rows
