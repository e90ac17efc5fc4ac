"""Data: batches, iterators over them, real data sets, and the scaling of features."""

from .bundled import DigitsDataSetIterator, IrisDataSetIterator
from .dataset import DataSet, batch_of
from .iterators import ArrayDataSetIterator, DataSetIterator, ListDataSetIterator
from .mnist import MnistDataSetIterator
from .normalizers import ImagePreProcessingScaler

__all__ = [
    "ArrayDataSetIterator",
    "DataSet",
    "DataSetIterator",
    "DigitsDataSetIterator",
    "ImagePreProcessingScaler",
    "IrisDataSetIterator",
    "ListDataSetIterator",
    "MnistDataSetIterator",
    "batch_of",
]
