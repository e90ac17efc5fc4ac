"""Weights of classes and of examples: both end up in the mask of the labels, which multiplies the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import checked_array
from .errors import ConfigurationError, DataError, ShapeError
from .numeric_options import is_rate, real

__all__ = ["checked_class_weights", "checked_sample_weights", "weighted_mask"]

Array = npt.NDArray[Any]


def checked_class_weights(weights: Any, outputs: int, loss: Any, dtype: np.dtype[Any]) -> Array:
    """Return one weight for each class as an array: ``weights`` is a dict {class: weight} or a sequence of all.

    A class that the dict leaves out weighs 1. One output of probabilities has the classes 0 and 1. Raises
    ConfigurationError for negative weights, unknown classes, and losses that are not of classes.
    """
    kind = getattr(loss, "label_kind", "values")
    if kind != "classes" and not (kind == "probabilities" and outputs == 1):
        raise ConfigurationError(
            f"class_weight goes with labels of classes, but the loss {type(loss).__name__} of {outputs} outputs has "
            "none. Use loss='mcxent', or give the outputs weights: loss=XENT(weights=(1, 2))."
        )
    classes = max(outputs, 2)
    if isinstance(weights, Mapping):
        for key in weights:
            if isinstance(key, bool) or not isinstance(key, int | np.integer) or not 0 <= key < classes:
                raise ConfigurationError(
                    f"class_weight has the key {key!r}, but the classes are the whole numbers 0 to {classes - 1}."
                )
        weights = [weights.get(index, 1.0) for index in range(classes)]
    numbers = [real(weight) for weight in np.asarray(weights, object).reshape(-1)]
    if len(numbers) != classes or not all(map(is_rate, numbers)):
        raise ConfigurationError(
            f"class_weight={weights!r} must be {classes} finite numbers of at least 0, one for each class. Give "
            "{class: weight} or a list."
        )
    return np.array(numbers, dtype)


def checked_sample_weights(weights: Any, labels_mask: Any, examples: int) -> Array:
    """Return the mask of the labels for weights of the examples, (batch,), or of time steps, (batch, time).

    Raises ShapeError and DataError for weights that do not fit, are negative or not finite.
    """
    weights = checked_array(weights, "sample_weight")
    if weights.ndim not in (1, 2) or len(weights) != examples:
        raise ShapeError(
            f"sample_weight has shape {weights.shape}, expected ({examples},), or ({examples}, time) for series. Give "
            "one number for each example."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0)).reshape(examples, -1).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"sample_weight: {weights[row]} in row {row} is not a finite number of at least 0. Use 0 to ignore an "
            "example."
        )
    if labels_mask is None:
        return weights
    mask = checked_array(labels_mask, "labels_mask")
    if mask.shape == weights.shape:
        return mask * weights
    if weights.ndim == 1:
        return mask * weights.reshape(-1, *[1] * (mask.ndim - 1))
    return mask.reshape(examples, -1, mask.shape[-1]) * weights[:, np.newaxis]


def weighted_mask(
    labels: Array, mask: Array | None, class_weights: Array | None, empty: Callable[..., Array]
) -> Array | None:
    """Return the mask of labels (batch, n_out, ...) times the weight of the class of every example or time step."""
    if class_weights is None:
        return mask
    batch, outputs, *rest = labels.shape
    weights = empty((batch, *rest), labels.dtype)
    if outputs == 1:
        np.multiply(labels[:, 0], float(class_weights[1] - class_weights[0]), out=weights)
        np.add(weights, float(class_weights[0]), out=weights)
    elif not rest:
        np.matmul(labels, class_weights, out=weights)
    else:
        np.matmul(class_weights, labels.reshape(batch, outputs, -1), out=weights.reshape(batch, -1))
    if mask is None:
        return weights
    if mask.shape == labels.shape and outputs > 1:  # a number for each output
        weights = weights.reshape(batch, 1, *rest)
    elif mask.size == batch:  # for each example
        mask = mask.reshape(batch, *[1] * len(rest))
    else:  # for each time step
        mask = mask.reshape(batch, *rest)
    shape = np.broadcast_shapes(weights.shape, mask.shape)
    product, factor = empty(shape, labels.dtype), empty(shape, labels.dtype)
    np.copyto(product, weights)
    np.copyto(factor, mask)
    return np.multiply(product, factor, out=product)
