"""One batch of examples, and what may stand for one."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError, DtypeError, ShapeError

__all__ = ["DataSet", "FIELDS", "batch_of"]

FIELDS = ("features", "labels", "features_mask", "labels_mask")


class DataSet:
    """Features and labels of some examples, with masks where their lengths differ (DL4J's ``DataSet``).

    Arrays are kept, not copied; lists and other sequences become arrays. ``len`` counts the examples, and
    ``features, labels, features_mask, labels_mask = dataset`` unpacks the four fields, absent ones as None.

    Parameters
    ----------
    features : real, integer or bool array
    labels : the same, or None where there are none, as in data to predict
    features_mask, labels_mask : array of 1 (use) and 0 (ignore), or None

    Shapes
    ------
    All four are (examples, ...), such as features (examples, n_in) and labels (examples, n_out).

    Raises
    ------
    ShapeError : the fields differ in their number of examples, or rows in their length
    DataError : there are no examples, or a mask without labels
    DtypeError : complex numbers, objects or text
    """

    __slots__ = ("features", "features_mask", "labels", "labels_mask")

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike | None,
        features_mask: ArrayLike | None = None,
        labels_mask: ArrayLike | None = None,
    ) -> None:
        if features is None:
            raise DataError("features=None: a DataSet needs features. Only labels and masks may be None.")
        if labels is None and labels_mask is not None:
            raise DataError("labels_mask is given, but labels=None. Give the labels too, or leave the mask out.")
        self.features = _as_array("features", features)
        self.labels = _with_as_many_examples("labels", labels, self.features)
        self.features_mask = _with_as_many_examples("features_mask", features_mask, self.features)
        self.labels_mask = _with_as_many_examples("labels_mask", labels_mask, self.features)

    def num_examples(self) -> int:
        """Return the number of examples, the length of the first axis."""
        return len(self.features)

    def __len__(self) -> int:
        return self.num_examples()

    def __iter__(self) -> Iterator[np.ndarray | None]:
        yield self.features
        yield self.labels
        yield self.features_mask
        yield self.labels_mask

    def __repr__(self) -> str:
        present = [
            f"{name}={array.shape} {array.dtype}" for name, array in zip(FIELDS, self, strict=True) if array is not None
        ]
        return f"DataSet({', '.join(present)})"


def batch_of(item: object) -> DataSet:
    """Return the DataSet that ``item`` is, or holds: (features, labels[, features_mask, labels_mask]).

    A list of arrays, as PyTorch's DataLoader makes them, counts as such a tuple.
    Raises DataError for anything else, and what DataSet raises.
    """
    if isinstance(item, DataSet):
        return item
    if isinstance(item, list) and all(hasattr(part, "shape") for part in item):
        item = tuple(item)
    if isinstance(item, tuple) and 2 <= len(item) <= 4:
        return DataSet(*item)
    raise DataError(
        f"A batch is a DataSet or a tuple (features, labels[, features_mask, labels_mask]), got {_described(item)}."
    )


def _as_array(name: str, values: ArrayLike) -> np.ndarray:
    """Return ``values`` as an array whose first axis counts examples, the same object if it is one."""
    array = values if isinstance(values, np.ndarray) else _array_from_sequence(name, values)
    if array.dtype.kind not in "biuf":
        raise DtypeError(
            f"{name} have dtype {array.dtype}. Expected real numbers, integers or bool: convert them first."
        )
    if array.ndim == 0:
        raise ShapeError(f"{name} is a single number. Expected an array whose first axis counts examples.")
    if len(array) == 0:
        raise DataError(f"{name} of shape {array.shape} are empty. Expected at least one example.")
    return array


def _array_from_sequence(name: str, values: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ShapeError(f"{name} do not form an array: give every row the same length.") from error


def _with_as_many_examples(name: str, values: ArrayLike | None, features: np.ndarray) -> np.ndarray | None:
    if values is None:
        return None
    array = _as_array(name, values)
    if len(array) != len(features):
        raise ShapeError(
            f"features have {len(features)} examples, but {name} have {len(array)} "
            f"(shapes {features.shape} and {array.shape}). The first axis of both counts the same examples."
        )
    return array


def _described(item: object) -> str:
    if isinstance(item, np.ndarray):
        return f"an array of shape {item.shape}"
    if isinstance(item, tuple):
        return f"a tuple of {len(item)}"
    if isinstance(item, list):
        return f"a list of {len(item)}: write tuple(batch) if it holds features and labels"
    return f"{type(item).__name__}"
