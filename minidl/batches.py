"""Features, labels, masks and buffers as users give them: checked, and turned into what the network works with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .data import DataSet
from .errors import DataError, DtypeError, ShapeError
from .functions import whole_mask
from .inputs import ConvolutionalFlat, InputType, Recurrent, channels_last, time_axis
from .labels import LabelForm, checked_labels, classes_first, placed_labels
from .workspaces import WorkspaceArray
from .workspaces.attachment import check_usable

__all__ = [
    "Batch",
    "check_finite",
    "check_mask_values",
    "check_out",
    "check_values",
    "checked_array",
    "checked_batch",
    "checked_features",
    "checked_features_mask",
    "checked_vector",
    "is_native",
    "mask_of_loss",
    "placed",
    "placed_mask",
    "write_classes",
]

CAST_BLOCK = 1024
"""Elements at a time where NumPy casts through a buffer, which it takes from the heap."""

Array = npt.NDArray[Any]
Empty = Callable[[tuple[int, ...], npt.DTypeLike], Array]


class Batch(NamedTuple):
    """One checked batch: features (batch, ...), labels as ``label_form`` says, for outputs of ``output_shape``."""

    features: Array
    labels: Array
    label_form: LabelForm
    output_shape: tuple[int, ...]
    features_mask: Array | None
    labels_mask: Array | None
    class_weights: Array | None


def is_native(array: Array, dtype: np.dtype[Any]) -> bool:
    """Tell whether the network takes an array as it is: its type, in an order that BLAS takes without a copy."""
    return array.dtype == dtype and array.flags.c_contiguous


def checked_array(value: Any, what: str) -> Array:
    """Return ``value`` as an array of real numbers. Raises DtypeError for complex numbers, objects and text."""
    if isinstance(value, np.ma.MaskedArray):
        raise DtypeError(f"{what}: got a masked array, whose masked values would be used. Fill it first: .filled(0).")
    try:
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
    except ValueError as error:
        raise ShapeError(
            f"{what}: this is not an array, as its rows differ in length. Give all the same length."
        ) from error
    if isinstance(array, WorkspaceArray):
        check_usable(array, "network", what)
        array = array.view(np.ndarray)
    if array.dtype.kind in "fiub":
        return array
    if array.ndim == 0:
        raise DtypeError(
            f"{what}: got an object of type {type(value).__name__}, expected an array with one batch of numbers."
        )
    raise DtypeError(
        f"{what}: got dtype {array.dtype}, expected real numbers, integers or booleans. Convert first, for example "
        "with .astype(np.float32)."
    )


def checked_vector(values: Any, size: int) -> Array:
    """Return parameters as a vector (size,). Raises ShapeError and DtypeError."""
    vector = checked_array(values, "parameters")
    if vector.shape != (size,):
        raise ShapeError(
            f"parameters of shape {vector.shape}, expected {(size,)}. Pass one flat vector in the order of "
            "network.params."
        )
    return vector


def checked_features(x: Any, input_type: InputType) -> Array:
    """Return features (batch, ...) that fit the input type. Raises ShapeError, DtypeError, and DataError if empty."""
    x = checked_array(x, "features")
    shape = input_type.example_shape()
    if x.shape[1:] != shape and not _fits(x.shape[1:], shape):
        expected = ", ".join("time" if extent is None else str(extent) for extent in shape)
        if isinstance(input_type, ConvolutionalFlat):
            expected = f"{input_type.height} x {input_type.width} x {input_type.channels} = {expected}"
        raise ShapeError(f"features have shape {x.shape}, expected (batch, {expected}). {_shape_remedy(x, shape)}")
    if 0 in x.shape[1:]:
        raise DataError(f"features of shape {x.shape} hold series of no time steps. Leave them out.")
    if x.ndim == 0 or len(x) == 0:
        raise DataError(f"features of shape {x.shape} hold no examples. Give at least one.")
    return x


_ORDERS = {3: ((0, 2, 1),), 4: ((0, 3, 1, 2), (0, 2, 3, 1))}  # from channels last to first, and back, by rank


def _fits(shape: Sequence[int], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(e in (None, n) for n, e in zip(shape, expected, strict=True))


def _shape_remedy(x: Array, shape: tuple[int | None, ...]) -> str:
    if _fits(x.shape, shape):
        return "For one example, add the batch axis: x[np.newaxis]."
    order = next(
        (order for order in _ORDERS.get(x.ndim, ()) if _fits([x.shape[axis] for axis in order[1:]], shape)), None
    )
    if order is not None:
        return f"Its axes are in another order: x.transpose{order}, or give the input type the format of the data."
    for axis, extent in enumerate(shape, 1):
        if extent == 1 and _fits((*x.shape[1:axis], 1, *x.shape[axis:]), shape):
            return f"Add the axis of the channels: np.expand_dims(x, {axis})."
    if x.ndim == 2 and len(shape) == 2:
        return "Series have three axes: for one step each, add that of time with np.expand_dims(x, 1) or (x, 2)."
    if x.ndim > 1 and len(shape) == 1 and int(np.prod(x.shape[1:])) == shape[0]:
        return "Flatten the examples: x.reshape(len(x), -1)."
    return "Reshape the features, or change the input_type of the configuration."


def checked_batch(
    dataset: DataSet,
    types: tuple[InputType, InputType],
    output_shape: Callable[[Array], tuple[int, ...]],
    dtype: np.dtype[Any],
    loss: Any,
    class_weights: Array | None = None,
) -> Batch:
    """Return a DataSet with labels that fits a network with these ``types`` of input and output.

    ``output_shape`` gives the shape of the output for features. Labels whose classes lie along the last axis become a
    view that has them along axis 1. Raises ShapeError, DtypeError and DataError.
    """
    features = checked_features(dataset.features, types[0])
    expected, are_last = output_shape(features), channels_last(types[1])
    labels = checked_array(dataset.labels, "labels")
    labels, are_indices = checked_labels(labels, expected, loss, are_last)
    form = LabelForm.AS_THEY_ARE if is_native(labels, dtype) else LabelForm.CONVERTED
    masks = dataset.features_mask, dataset.labels_mask
    features_mask = checked_features_mask(masks[0], features, types[0])
    labels_mask = None if masks[1] is None else _checked_mask(masks[1], expected, "labels_mask", types[1])
    if labels_mask is not None and isinstance(types[0], Recurrent):
        _check_leaves_steps(labels_mask, "labels_mask")
    if are_last:
        labels = labels if are_indices else classes_first(labels)
        if labels_mask is not None and labels_mask.shape == expected:
            labels_mask = classes_first(labels_mask)
        expected = (expected[0], expected[-1], *expected[1:-1])
    form = LabelForm.CLASS_INDICES if are_indices else form
    return Batch(features, labels, form, expected, features_mask, labels_mask, class_weights)


def checked_features_mask(mask: Any, features: Array, kind: InputType) -> Array | None:
    """Return the mask of features of such a ``kind``, None for none; that of series has a number for each step.

    One of whole series is repeated for their steps, as a view. Raises ShapeError, DtypeError and DataError.
    """
    if mask is None:
        return None
    mask = _checked_mask(mask, features.shape, "features_mask", kind)
    if not isinstance(kind, Recurrent):
        return mask
    _check_leaves_steps(mask, "features_mask")
    steps = features.shape[time_axis(kind)]
    return mask if mask.shape == (len(mask), steps) else np.broadcast_to(mask.reshape(-1, 1), (len(mask), steps))


def _checked_mask(mask: Any, expected: tuple[int, ...], what: str, kind: InputType) -> Array:
    """Return a mask for each example, time step, pixel or element of ``expected``, (batch, ...), of such a ``kind``.

    Raises ShapeError and DtypeError.
    """
    mask = checked_array(mask, what)
    batch, places = expected[0], expected[1:-1] if channels_last(kind) else expected[2:]
    known = [(batch,), (batch, 1), *([(batch, *places)] if places else [])]
    beside = [(batch, 1, *places), (batch, *places, 1)] if len(places) == 2 else []  # as DL4J has masks of images
    elements = [] if what == "features_mask" and places else [expected]  # layers know steps and pixels, not elements
    if mask.shape not in (*known, *beside, *elements):
        shapes = ", ".join(str(shape) for shape in dict.fromkeys(known))
        if not elements:
            raise ShapeError(
                f"{what} has shape {mask.shape}, expected one of {shapes}. Give one number for each example, or for "
                f"each {'time step' if len(places) == 1 else 'pixel'}."
            )
        place = ("", "each time step, ", "each pixel, ")[len(places)]
        raise ShapeError(
            f"{what} has shape {mask.shape}, expected {shapes} or {expected}. Give one number for each example, "
            f"{place}or for each element."
        )
    return mask.reshape(batch, *places) if mask.shape in beside else mask


def _check_leaves_steps(mask: Array, what: str) -> None:
    """Raise DataError for a mask of series that leaves out everything."""
    if not np.maximum.reduce(mask, axis=None):
        raise DataError(
            f"{what} of shape {mask.shape} is all 0: it leaves out every time step of every series. Leave the batch "
            "out, or put 1 where there are steps."
        )


def placed_mask(mask: Array | None, dtype: np.dtype[Any], empty: Empty) -> Array | None:
    """Return a checked mask as ``dtype`` in C order, in memory from ``empty`` unless it is that; None for none."""
    if mask is None or is_native(mask, dtype):
        return mask
    copy = empty(mask.shape, dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # check_values looks at what came out of it
        np.copyto(copy, mask, casting="unsafe")
    return copy


def placed(batch: Batch, dtype: np.dtype[Any], empty: Empty) -> tuple[Array, Array | None]:
    """Return the labels of a batch and their mask as ``dtype``, converted ones in memory from ``empty``."""
    labels = placed_labels(batch.labels, batch.label_form, batch.output_shape, dtype, empty)
    return labels, placed_mask(batch.labels_mask, dtype, empty)


def mask_of_loss(mask: Array | None, seen: Array | None, labels: Array) -> Array | None:
    """Return the mask of the labels, or where there is none the steps or pixels that are ``seen`` in the output.

    Source: DL4J ``MultiLayerNetwork.setLayerMaskArrays``.
    """
    if mask is not None or seen is None or seen.ndim < 2 or seen.shape != (len(labels), *labels.shape[2:]):
        return mask
    return seen.view(np.ndarray)


def check_values(
    batch: Batch, features: Array, labels: Array, mask: Array | None, label_kind: str, empty: Empty
) -> None:
    """Raise DataError, naming the first row, for placed features, labels or masks that cannot be.

    Features and labels must be finite, masks at least 0. Labels of probabilities must lie in [0, 1], and signs must be
    -1 and 1, but where the mask is 0. Looks at sums and extremes only, unless those show that something is wrong.
    """
    check_finite("features", features)
    for what, given in (("features_mask", batch.features_mask), ("labels_mask", mask)):
        if given is not None:
            check_mask_values(what, given)
    if batch.label_form.of_classes or label_kind == "values":
        return
    smallest = np.minimum.reduce(labels, axis=None)
    if label_kind == "signs":
        if smallest == 0 and mask is None:
            _raise_at(
                "labels",
                labels,
                labels == 0,
                "is neither -1 nor 1, which the loss expects. Use 2 y - 1 for y of 0 and 1",
            )
    elif not (smallest >= 0 and np.maximum.reduce(labels, axis=None) <= 1):
        _check_probabilities(labels, mask, empty)


def check_mask_values(what: str, mask: Array) -> None:
    """Raise DataError, naming the first row, for a mask that is not finite or below 0."""
    check_finite(what, mask)
    if mask.dtype.kind != "b" and np.minimum.reduce(mask, axis=None) < 0:
        _raise_at(what, mask, mask < 0, "is negative. Use 0 to leave an example out")


def _check_probabilities(labels: Array, mask: Array | None, empty: Empty) -> None:
    if mask is not None:
        counted = whole_mask(mask, labels, empty)
        factors = np.sign(counted, out=empty(labels.shape, labels.dtype))
        labels = np.multiply(factors, labels, out=factors)
        if np.minimum.reduce(labels, axis=None) >= 0 and np.maximum.reduce(labels, axis=None) <= 1:
            return
    check_finite("labels", labels)
    outside = (labels < 0) | (labels > 1)
    remedy = (
        "is not in [0, 1], but the loss is one of probabilities. Scale the labels, or use another loss, such as 'mse'"
    )
    _raise_at("labels", labels, outside, remedy)


def check_finite(what: str, array: Array) -> None:
    """Raise DataError, naming the first row, if there is NaN or infinity in the array."""
    if array.dtype.kind != "f" or math.isfinite(np.add.reduce(array, axis=None)):
        return  # without a new array, as a rule
    finite = np.isfinite(array)
    if not finite.all():
        remedy = "Remove such examples" + (
            "" if what == "features" else ", or mask them with a labels_mask of 0 and put a number in their place"
        )
        _raise_at(what, array, ~finite, f"is not a finite number of type {array.dtype}. {remedy}")


def _raise_at(what: str, array: Array, wrong: Array, problem: str) -> None:
    row = int(wrong.reshape(len(array), -1).any(axis=1).argmax())
    value = array[row][wrong[row]].reshape(-1)[0]
    raise DataError(
        f"{what}: {value} in row {row} of {len(array)} {problem}. The parameters were not changed by this batch."
    )


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], x: Array) -> None:
    """Raise ShapeError, DtypeError or DataError unless ``out`` can take a result of this shape and type."""
    if not isinstance(out, np.ndarray):
        raise DtypeError(
            f"out is a {type(out).__name__}, expected an array. Make it with np.empty({shape}, {dtype.name!r})."
        )
    if out.shape != shape:
        raise ShapeError(
            f"out has shape {out.shape}, expected {shape}. Make it with np.empty({shape}, {dtype.name!r})."
        )
    if out.dtype != dtype:
        raise DtypeError(
            f"out has dtype {out.dtype}, expected {dtype}. Make it with np.empty({shape}, {dtype.name!r})."
        )
    if not out.flags.writeable:
        raise DataError("out is read-only. Pass an array that can be written to.")
    if np.may_share_memory(out, x) and np.shares_memory(out, x):  # the first looks at bounds only, and is fast
        raise DataError("out shares memory with the input, which would be overwritten. Pass another array.")


def write_classes(outputs: Array, out: Array) -> None:
    """Write the class of every row of ``outputs`` (batch, n) into ``out``: the largest, or output > 0.5 if n is 1."""
    if outputs.ndim != 2:
        raise ShapeError(
            f"predict() takes the class from outputs (batch, n), but they have shape {outputs.shape}. Take the classes "
            "of every position from output(x).argmax(axis=1), or of the last axis for NHWC and NWC."
        )
    if outputs.shape[1] > 1:
        np.argmax(outputs, axis=1, out=out)
        return
    for start in range(0, len(out), CAST_BLOCK):
        rows = slice(start, start + CAST_BLOCK)
        np.greater(outputs[rows, 0], 0.5, out=out[rows], casting="unsafe")
