"""Small real data that comes with the package; ``files/ORIGIN.md`` says from whom."""

import functools
import importlib.resources

import numpy as np

from ..errors import ConfigurationError
from .iterators import ArrayDataSetIterator

__all__ = ["DigitsDataSetIterator", "IrisDataSetIterator"]

TEST_EVERY = 5


class DigitsDataSetIterator(ArrayDataSetIterator):
    """8 x 8 handwritten digits: 1437 to train with, 360 to test with (Alpaydin and Kaynak, 1998).

    Features are (batch, 64) float32, the ink of each pixel in [0, 1], row by row; labels are (batch, 10)
    float32, one-hot. ``train=None`` gives all 1797. The test set is every fifth example, counted class by
    class, whatever the seed, which drives the order only. Arrays are shared by all iterators, and
    read-only. Otherwise as ArrayDataSetIterator, also in what it raises.
    """

    def __init__(
        self,
        batch_size: int = 64,
        train: bool | None = True,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        features, labels = _digits(_checked_train(train))
        super().__init__(features, labels, batch_size, shuffle, seed)
        self.labels = [str(digit) for digit in range(10)]


class IrisDataSetIterator(ArrayDataSetIterator):
    """Iris flowers of three species: all 150, or 120 to train with, or 30 to test with (Fisher, 1936).

    Features are (batch, 4) float32, sepal length and width, petal length and width, in cm and not
    normalised; labels are (batch, 3) float32, one-hot. ``train`` is True, False, or None for all, and the
    split is made as for the digits. Arrays are shared by all iterators, and read-only. Otherwise as
    ArrayDataSetIterator, also in what it raises.
    """

    def __init__(
        self,
        batch_size: int = 150,
        train: bool | None = None,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        features, labels = _iris(_checked_train(train))
        super().__init__(features, labels, batch_size, shuffle, seed)
        self.labels = ["setosa", "versicolor", "virginica"]


@functools.cache
def _digits(train: bool | None) -> tuple[np.ndarray, np.ndarray]:
    return _loaded("digits.npz", "pixels", unit=16, train=train)


@functools.cache
def _iris(train: bool | None) -> tuple[np.ndarray, np.ndarray]:
    return _loaded("iris.npz", "tenths_of_cm", unit=10, train=train)


def _loaded(file_name: str, key: str, unit: int, train: bool | None) -> tuple[np.ndarray, np.ndarray]:
    """Return read-only features and one-hot labels of the chosen part."""
    path = importlib.resources.files(__package__).joinpath("files", file_name)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        features = np.divide(arrays[key], unit, dtype=np.float32)
        classes = arrays["classes"]
    labels = np.eye(classes.max() + 1, dtype=np.float32)[classes]
    rows = _split(classes, train)
    part = features[rows], labels[rows]
    for array in part:
        array.flags.writeable = False  # all iterators of the process share it
    return part


def _split(classes: np.ndarray, train: bool | None) -> np.ndarray:
    """Return the rows of one part, in the order of the file; each class gives its share, to one example.

    >>> _split(np.array([1, 0, 0, 1, 1, 0, 0, 1, 0, 1]), train=False)
    array([0, 1])
    """
    class_by_class = np.argsort(classes, kind="stable")
    for_testing = np.zeros(len(classes), dtype=bool)
    for_testing[class_by_class[::TEST_EVERY]] = True
    if train is None:
        return np.arange(len(classes))
    return np.flatnonzero(for_testing != train)


def _checked_train(train: bool | None) -> bool | None:
    if train is None or isinstance(train, bool):
        return train
    raise ConfigurationError(f"train={train!r} is not known. Choose True, False, or None for all examples.")
