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
    array = np.array(numbers, np.float64)
    if max(numbers) > np.finfo(dtype).max:
        raise ConfigurationError(f"class_weight={weights!r} holds a number that is too large for {dtype}.")
    return array.astype(dtype)


def checked_sample_weights(weights: Any, outputs: tuple[int, ...], labels_mask: Any, classes_are_last: bool) -> Array:
    """Return the mask of labels for weights of the examples, (batch,), or of time steps or pixels, (batch, ...).

    ``outputs`` is the shape of the output, (batch, n, ...) or, if ``classes_are_last``, (batch, ..., n). Raises
    ShapeError and DataError for weights and masks that do not fit, and weights that are negative or not finite.
    """
    weights = checked_array(weights, "sample_weight")
    batch, places = outputs[0], outputs[1:-1] if classes_are_last else outputs[2:]
    if weights.shape == (batch, 1):
        weights = weights.reshape(batch)
    if weights.shape not in ((batch,), (batch, *places)):
        place = ("", ", or for each time step", ", or for each pixel")[len(places)]
        raise ShapeError(
            f"sample_weight has shape {weights.shape}, expected ({batch},)"
            f"{f' or {(batch, *places)}' if places else ''}. Give one number for each example{place}."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0)).reshape(batch, -1).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"sample_weight: {weights[row]} in row {row} is not a finite number of at least 0. Use 0 to ignore an "
            "example."
        )
    if labels_mask is None:
        return weights
    return _product(weights, checked_array(labels_mask, "labels_mask"), outputs, classes_are_last)


def _product(weights: Array, mask: Array, outputs: tuple[int, ...], classes_are_last: bool) -> Array:
    """Return the mask of labels for such outputs times the weights of examples, time steps or pixels."""
    batch, places = outputs[0], outputs[1:-1] if classes_are_last else outputs[2:]
    of_places = weights.reshape(batch, *(places if weights.ndim > 1 else [1] * len(places)))
    if len(places) == 2 and mask.shape in ((batch, 1, *places), (batch, *places, 1)) and mask.shape != outputs:
        mask = mask.reshape(batch, *places)
    if mask.shape == outputs and outputs != (batch, 1):  # a number for each output
        return mask * np.expand_dims(of_places, -1 if classes_are_last else 1)
    if mask.shape in ((batch,), (batch, 1)):
        return mask.reshape(batch, *[1] * (weights.ndim - 1)) * weights
    if places and mask.shape == (batch, *places):
        return mask * of_places
    known = [(batch,), (batch, 1), *([(batch, *places)] if places else []), outputs]
    raise ShapeError(
        f"labels_mask has shape {mask.shape}, expected {' or '.join(str(each) for each in dict.fromkeys(known))}. Give "
        "one number for each example, or for each element."
    )


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
    else:
        beyond_1 = np.subtract(class_weights, 1.0, out=empty(class_weights.shape, labels.dtype))
        if rest:
            np.matmul(beyond_1, labels.reshape(batch, outputs, -1), out=weights.reshape(batch, -1))
        else:
            np.matmul(labels, beyond_1, out=weights)
        np.add(weights, 1.0, out=weights)  # so that a row without a class, or a part of one, weighs what it did
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
