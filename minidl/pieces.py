"""The pieces that truncated backpropagation through time cuts a batch of series into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import Batch, check_finite, is_native
from .errors import ShapeError
from .inputs import InputType, time_axis
from .labels import LabelForm

__all__ = ["pieces"]

Array = npt.NDArray[Any]


def pieces(batch: Batch, input_type: InputType, length: int, dtype: np.dtype[Any]) -> Iterator[Batch]:
    """Yield a batch of series piece by piece, as views of ``length`` steps each; the last may be shorter.

    Raises DataError and ShapeError, before the first piece, for a batch that cannot be trained on so.
    """
    axis = time_axis(input_type)
    _check(batch, batch.features.shape[axis])
    for start in range(0, batch.features.shape[axis], length):
        yield _piece(batch, slice(start, start + length), axis, dtype)


def _piece(batch: Batch, steps: slice, features_time: int, dtype: np.dtype[Any]) -> Batch:
    """Return some steps of a batch of series, as views; ``features_time`` is the axis of time in the features."""
    before = (slice(None),) * features_time
    labels = batch.labels[..., steps]
    form = batch.label_form
    if form is LabelForm.AS_THEY_ARE and not is_native(labels, dtype):
        form = LabelForm.CONVERTED
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


def _check(batch: Batch, steps: int) -> None:
    if len(batch.output_shape) != 3 or batch.output_shape[2] != steps:
        raise ShapeError(
            f"the features have {steps} time steps, but the output of the network has shape {batch.output_shape}. "
            "Truncated backpropagation needs an output at every step: use RnnOutputLayer and layers that keep the "
            "length, or backprop_type='standard'."
        )
    check_finite("features", batch.features)
    check_finite("labels", batch.labels)
