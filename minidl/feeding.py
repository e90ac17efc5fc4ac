"""From what a user hands to ``fit`` or ``evaluate`` to passes over batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .batches import check_finite
from .class_weights import checked_sample_weights
from .data import ArrayDataSetIterator, DataSet, batch_of
from .errors import ConfigurationError, DataError, MinidlError

__all__ = [
    "MAX_SINGLE_BATCH",
    "check_repeatable",
    "checked_count",
    "class_names",
    "is_arrays",
    "noting_batch",
    "one_batch",
    "one_pass",
    "sized",
    "training_source",
    "with_sample_weights",
]

MAX_SINGLE_BATCH = 1024
"""Examples that ``fit(x, y)`` takes as one minibatch without being told so."""


def checked_count(value: Any, option: str) -> int:
    """Return ``value``, a whole number of at least 1. Raises ConfigurationError for anything else."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1:
        return int(value)
    raise ConfigurationError(f"{option}={value!r} is not a whole number of at least 1.")


def is_arrays(data: Any, labels: Any) -> bool:
    """Tell whether ``data`` is one batch (arrays, a DataSet or a tuple of arrays) and no source of batches.

    Raises DataError for labels beside a source of batches.
    """
    if labels is not None and hasattr(data, "__iter__") and not _is_array_like(data):
        hint = f" Name an option: epochs={labels}, or threshold_steps={labels}." if isinstance(labels, int) else ""
        raise DataError(
            f"data is a {type(data).__name__}, which gives batches with their own labels, but labels are given too, a "
            f"{type(labels).__name__}. Leave them out.{hint}"
        )
    return labels is not None or isinstance(data, DataSet | tuple | np.ndarray)


def _is_array_like(data: Any) -> bool:
    return isinstance(data, np.ndarray | list | tuple) or hasattr(data, "__array__")


def one_batch(data: Any, labels: Any = None, features_mask: Any = None, labels_mask: Any = None) -> DataSet:
    """Return one batch as a DataSet. Raises DataError without labels, ShapeError where the parts do not match."""
    if labels is not None:
        return DataSet(data, labels, features_mask, labels_mask)
    if isinstance(data, np.ndarray):
        raise DataError(
            "got an array of features without labels. Pass both, (x, y), or a DataSet, or an iterator over DataSets."
        )
    dataset = batch_of(data)
    if dataset.labels is None:
        raise DataError("got a DataSet without labels. Give it labels: DataSet(features, labels).")
    return dataset


def training_source(data: Any, labels: Any, masks: tuple[Any, Any], batch_size: int | None, seed: int) -> Iterable[Any]:
    """Return what ``fit`` iterates over, anew in every epoch: an iterator, or one batch, or shuffled minibatches.

    Raises DataError for more than MAX_SINGLE_BATCH examples in one batch that nobody asked for, ConfigurationError for
    options that ``data`` leaves no room for.
    """
    if labels is None and any(mask is not None for mask in masks):
        raise ConfigurationError(
            "features_mask and labels_mask go with fit(x, y) only. Put the masks into the DataSets: DataSet(features, "
            "labels, features_mask, labels_mask)."
        )
    if not is_arrays(data, labels):
        if batch_size is not None:
            raise ConfigurationError(
                f"batch_size={batch_size!r} goes with arrays or one DataSet, but data is a {type(data).__name__}, "
                "which makes its own batches. Give the size to the iterator, such as ListDataSetIterator(datasets, "
                "batch_size)."
            )
        return _iterable(data)
    dataset = one_batch(data, labels, *masks)
    if batch_size is None:
        if len(dataset) > MAX_SINGLE_BATCH:
            raise DataError(
                f"{len(dataset)} examples in one minibatch are likely a mistake: pass batch_size=32 for minibatches, "
                f"or batch_size=len(x) for one step."
            )
        return [dataset]
    batch_size = checked_count(batch_size, "batch_size")
    for what, array in (("features", dataset.features), ("labels", dataset.labels)):
        if array is not None:
            check_finite(what, array)  # while its rows have the numbers that the user knows
    return ArrayDataSetIterator(
        dataset.features,
        dataset.labels,
        batch_size,
        shuffle=batch_size < len(dataset),
        seed=seed,
        features_mask=dataset.features_mask,
        labels_mask=dataset.labels_mask,
    )


def with_sample_weights(
    data: Any,
    labels: Any,
    labels_mask: Any,
    weights: Any,
    output_shape: Callable[[Any], tuple[int, ...]],
    classes_are_last: bool,
) -> tuple[Any, Any, Any]:
    """Return (data, labels, labels_mask) of one batch with weights of its examples in the mask of the labels.

    ``output_shape`` gives the shape of the output for features.

    Raises ConfigurationError for a source of batches, whose DataSets have masks of their own.
    """
    if not is_arrays(data, labels):
        raise ConfigurationError(
            f"sample_weight goes with arrays or one DataSet, but data is a {type(data).__name__}. Put the weights into "
            "the DataSets: DataSet(features, labels, labels_mask=weights)."
        )
    dataset = one_batch(data, labels)
    given = labels_mask if labels is not None else dataset.labels_mask
    mask = checked_sample_weights(weights, output_shape(dataset.features), given, classes_are_last)
    if labels is not None:
        return data, labels, mask
    return DataSet(dataset.features, dataset.labels, dataset.features_mask, mask), None, labels_mask


def _iterable(source: Any) -> Iterable[Any]:
    if hasattr(source, "__iter__") and not isinstance(source, type):
        return source
    raise DataError(
        f"data is of type {type(source).__name__}, which gives no batches. Pass (x, y), a DataSet, or an iterator over "
        "DataSets."
    )


def check_repeatable(source: Iterable[Any], epochs: int) -> None:
    """Raise DataError if ``source`` is a generator, or another iterator of Python's own, but ``epochs`` are many."""
    if epochs > 1 and isinstance(source, Iterator) and type(source).__module__ in ("builtins", "itertools"):
        raise DataError(
            f"{type(source).__name__} can be passed over only once, but epochs={epochs}. Pass an object whose iter() "
            "starts anew, such as a list of DataSets or an ArrayDataSetIterator."
        )


def class_names(data: Any, labels: Any) -> list[str] | None:
    """Return the names of the classes that an iterator knows as its ``labels``, as in DL4J; None for other data."""
    names = None if is_arrays(data, labels) else getattr(data, "labels", None)
    return None if names is None else [str(name) for name in names]


def sized(source: Iterable[Any]) -> int | None:
    """Return the number of batches in a pass, None where it is not known."""
    try:
        return len(source)  # type: ignore[arg-type]  # a TypeError is the answer for a source without length
    except TypeError:
        return None


@contextlib.contextmanager
def one_pass(source: Iterable[Any]) -> Iterator[Iterator[DataSet]]:
    """Give the batches of one pass, in recycled buffers where the source has them, and close the pass in the end.

    Raises DataError for a pass without any batch and for items that are no batches.
    """
    recycled = getattr(source, "recycled", None)
    batches = iter(_iterable(source)) if recycled is None else recycled()
    try:
        yield _checked(batches, source)
    finally:
        close = getattr(batches, "close", None)
        if close is not None and batches is not source:
            close()


class noting_batch:  # noqa: N801  # a context manager; contextlib's would cost a microsecond in every step
    """Note on an error of minidl's that is raised inside in which batch of a pass it was."""

    __slots__ = ("_epoch", "_many", "_number")

    def __init__(self, number: int, epoch: int, *, many: bool) -> None:
        self._number, self._epoch, self._many = number, epoch, many

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._many and isinstance(error, MinidlError):
            error.add_note(f"in batch {self._number} of epoch {self._epoch}; the batches before it were trained on")


def _checked(batches: Iterator[Any], source: Any) -> Iterator[DataSet]:
    position = -1
    for position, item in enumerate(batches):
        try:
            yield one_batch(item)
        except DataError as error:
            error.add_note(f"in batch {position} of {type(source).__name__}")
            raise
    if position < 0:
        raise DataError(
            f"{type(source).__name__} gave no batches in this pass. Give it data; a generator can be passed over only "
            "once."
        )
