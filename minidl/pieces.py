"""The pieces that truncated backpropagation through time cuts a batch of series into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import Batch, check_finite, check_values, is_native
from .errors import DataError, ShapeError
from .inputs import InputType, time_axis
from .labels import LabelForm
from .layers import Layer
from .layers.wrapper import innermost

__all__ = ["check_ranges", "check_trainable_in_pieces", "has_output_at_every_step", "pieces"]

Array = npt.NDArray[Any]


def pieces(batch: Batch, input_type: InputType, length: int, dtype: np.dtype[Any]) -> Iterator[Batch]:
    """Yield a batch of series piece by piece, as views of ``length`` steps each; the last may be shorter."""
    axis = time_axis(input_type)
    for start in range(0, batch.features.shape[axis], length):
        yield _piece(batch, slice(start, start + length), axis, dtype)


def _piece(batch: Batch, steps: slice, features_time: int, dtype: np.dtype[Any]) -> Batch:
    """Return some steps of a batch of series, as views; ``features_time`` is the axis of time in the features."""
    before = (slice(None),) * features_time
    labels = batch.labels[..., steps]
    form = batch.label_form
    if form is LabelForm.AS_THEY_ARE and not is_native(labels, dtype):
        form = LabelForm.CONVERTED
    if form is LabelForm.CLASS_INDICES and not labels.flags.c_contiguous:
        form = LabelForm.CLASS_INDICES_WITH_GAPS
    return batch._replace(
        features=batch.features[(*before, steps)],
        labels=labels,
        label_form=form,
        output_shape=(*batch.output_shape[:2], labels.shape[-1]),
        features_mask=_cut(batch.features_mask, batch, steps),
        labels_mask=_cut(batch.labels_mask, batch, steps),
    )


def _cut(mask: Array | None, batch: Batch, steps: slice) -> Array | None:
    """Return the part of a mask, the mask itself where it is one of whole examples."""
    return mask if mask is None or mask.shape[-1] != batch.output_shape[2] or mask.ndim < 2 else mask[..., steps]


def has_output_at_every_step(batch: Batch, input_type: InputType) -> bool:
    """Tell whether the output for a batch of series has a step for each step of the features."""
    return len(batch.output_shape) == 3 and batch.output_shape[2] == batch.features.shape[time_axis(input_type)]


def check_trainable_in_pieces(
    batch: Batch, input_type: InputType, dtype: np.dtype[Any], layers: Sequence[Layer]
) -> None:
    """Raise DataError and ShapeError for a batch that ``layers`` cannot be trained on piece by piece."""
    if not has_output_at_every_step(batch, input_type):
        steps = batch.features.shape[time_axis(input_type)]
        raise ShapeError(
            f"the features have {steps} time steps, but the output of the network has shape {batch.output_shape}. "
            "Truncated backpropagation needs an output at every step: use RnnOutputLayer and layers that keep the "
            "length, or backprop_type='standard'."
        )
    check_finite("labels", batch.labels)
    label_kind: str = getattr(getattr(layers[-1], "loss", None), "label_kind", "values")
    check_values(batch, batch.features, batch.labels, batch.labels_mask, label_kind, np.empty)
    check_ranges(batch, layers)
    for what, array in (("features", batch.features), ("labels", batch.labels)):
        _check_magnitude(what, array, dtype)


def check_ranges(batch: Batch, layers: Sequence[Layer]) -> None:
    """Raise DataError for labels or features that are indices, but not of a class or of an embedding."""
    if batch.label_form.of_classes:
        _check_range("labels", batch.labels, batch.output_shape[1], "classes")
    inner: Any = innermost(layers[0])
    if inner.takes_indices:
        _check_range("features", batch.features, inner.n_in, "indices")


def _check_magnitude(what: str, numbers: Array, dtype: np.dtype[Any]) -> None:
    """Raise DataError for numbers of a wider type that ``dtype`` has not."""
    if numbers.dtype.kind != "f" or numbers.dtype.itemsize <= dtype.itemsize:
        return
    most = np.finfo(dtype).max
    largest = max(-np.minimum.reduce(numbers, axis=None), np.maximum.reduce(numbers, axis=None))
    if largest > most:
        raise DataError(
            f"{what}: there is a number of the size {largest:.3g}, but {dtype} ends at {most:.3g}. Scale the {what}, "
            "or use dtype='float64'. The parameters were not changed by this batch."
        )


def _check_range(what: str, numbers: Array, size: int, things: str) -> None:
    """Raise DataError for a number that is not at least 0 and below ``size``."""
    least, largest = np.minimum.reduce(numbers, axis=None), np.maximum.reduce(numbers, axis=None)
    if not (least >= 0 and largest < size):
        wrong = (numbers < 0) | (numbers >= size)
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise DataError(
            f"{what}: {numbers[place]} at {place} is no number of {size} {things}, which are counted from 0. The "
            "parameters were not changed by this batch."
        )
