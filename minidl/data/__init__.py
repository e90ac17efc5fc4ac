"""Data: batches, iterators over them, and small real data sets."""

from .bundled import DigitsDataSetIterator, IrisDataSetIterator
from .dataset import DataSet, batch_of
from .iterators import ArrayDataSetIterator, DataSetIterator, ListDataSetIterator

__all__ = [
    "ArrayDataSetIterator",
    "DataSet",
    "DataSetIterator",
    "DigitsDataSetIterator",
    "IrisDataSetIterator",
    "ListDataSetIterator",
    "batch_of",
]
