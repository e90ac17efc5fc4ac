"""Iterators over data in memory: a list of data sets, or arrays cut into batches.

Each ``iter()`` is a pass, and the next epoch. Its batches own their memory or are views of the user's
arrays, so they stay valid. ``recycled()`` is the same pass in buffers that the iterator keeps, for loops
without allocation.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ConcurrentUseError, ConfigurationError, DataError, ShapeError
from .batching import (
    BatchMemory,
    FreshMemory,
    RecycledMemory,
    batch_bounds,
    joined,
    number_of_batches,
    rebatched_pieces,
    rows_of,
    taken_rows,
    write_epoch_order,
)
from .dataset import FIELDS, DataSet, batch_of

__all__ = ["ArrayDataSetIterator", "DataSetIterator", "ListDataSetIterator"]

PreProcessor = Callable[[DataSet], DataSet | None]


class DataSetIterator(ABC):
    """A source of batches that can be passed over many times (DL4J's ``DataSetIterator``).

    A subclass says how many batches and examples a pass has, and makes them in ``_batches``.

    Attributes
    ----------
    pre_processor : called with each DataSet before it is handed out, or None. It changes the DataSet in place
        (a copy then, never the data it came from) or returns another one.
    labels : the names of the classes, or None
    batch_size : the number of examples in a batch, at most
    """

    async_supported: ClassVar[bool] = True

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.labels: list[str] | None = None
        self.pre_processor: PreProcessor | None = None
        self._epoch = 0
        self._idle = [RecycledMemory()]  # a recycled pass takes it out: who holds it may write

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of batches in a pass."""

    @abstractmethod
    def total_examples(self) -> int:
        """Return the number of examples in a pass."""

    @abstractmethod
    def _batches(self, epoch: int, memory: BatchMemory, *, copy: bool) -> Iterator[DataSet]:
        """Yield the batches of a pass; with ``copy`` none shares memory with the source."""

    def __iter__(self) -> Iterator[DataSet]:
        """Return a pass whose batches stay valid; it becomes the next epoch with its first batch."""
        return self._pass(FreshMemory())

    def recycled(self) -> Generator[DataSet, None, None]:
        """Return a pass with the batches of ``iter()``, but written into buffers of this iterator.

        A batch is valid until the next one is asked for. From the second pass on no array memory is
        allocated. Asked for its first batch, a pass raises ConcurrentUseError while another is neither
        finished nor closed.
        """
        try:
            memory = self._idle.pop()
        except IndexError:
            raise ConcurrentUseError(
                f"Another recycled() pass over this {type(self).__name__} is not finished, and both would "
                "write into the same buffers. Finish or close() that pass, or use iter() instead, whose "
                "batches stay valid."
            ) from None
        try:
            yield from self._pass(memory)
        finally:
            self._idle.append(memory)

    def _pass(self, memory: BatchMemory) -> Iterator[DataSet]:
        epoch = self._epoch
        self._epoch += 1
        pre_processor = self.pre_processor
        for batch in self._batches(epoch, memory, copy=pre_processor is not None):
            changed = None if pre_processor is None else pre_processor(batch)
            yield batch if changed is None else batch_of(changed)

    def reset(self) -> None:  # noqa: B027
        """Do nothing: each ``iter()`` starts afresh. Loops written for DL4J call it."""

    def close(self) -> None:
        """Give back the buffers of ``recycled()``; it makes new ones when it is used again."""
        for memory in self._idle:
            memory.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class ListDataSetIterator(DataSetIterator):
    """Pass over a list of DataSet, in order (DL4J's ``ListDataSetIterator``).

    Without ``batch_size`` each is a batch. With it they are cut and joined, across their boundaries, into
    batches of that size; the last may be short. A batch is a view where it lies within one DataSet, else a
    copy.

    Raises
    ------
    DataError : the list is empty, an item is not a batch, or labels or masks are in some items only
    ShapeError : items to be joined differ in a shape after the first axis
    ConfigurationError : ``batch_size`` is not a whole number of at least 1
    """

    def __init__(self, datasets: Iterable[DataSet], batch_size: int | None = None) -> None:
        if isinstance(datasets, DataSet) or not isinstance(datasets, Iterable):
            raise DataError(f"Expected a list of DataSet, got {datasets!r}. Write [dataset] for a single one.")
        self._datasets = [batch_of(item) for item in datasets]
        if not self._datasets:
            raise DataError("The list of DataSet is empty. Give at least one.")
        self._sizes = [len(dataset) for dataset in self._datasets]
        self._rebatched_size = None if batch_size is None else _checked_batch_size(batch_size)
        if self._rebatched_size is not None:
            _check_joinable(self._datasets)
        super().__init__(self._rebatched_size or max(self._sizes))

    def __len__(self) -> int:
        if self._rebatched_size is None:
            return len(self._datasets)
        return number_of_batches(self.total_examples(), self._rebatched_size, drop_last=False)

    def total_examples(self) -> int:
        """Return the number of examples in all data sets."""
        return sum(self._sizes)

    def _batches(self, epoch: int, memory: BatchMemory, *, copy: bool) -> Iterator[DataSet]:
        for pieces in rebatched_pieces(self._sizes, self._rebatched_size):
            views = [rows_of(self._datasets[index], start, stop) for index, start, stop in pieces]
            yield joined(views, memory) if copy or len(views) > 1 else views[0]


class ArrayDataSetIterator(DataSetIterator):
    """Pass over arrays in batches, in order or shuffled anew in every epoch.

    The order of an epoch is a function of (seed, epoch) alone: two iterators of one seed give the same
    epochs. With ``seed=None`` the operating system chooses one. Batches are views of the arrays, or copies
    if shuffled.

    Parameters
    ----------
    features, labels, features_mask, labels_mask : as in DataSet
    batch_size : examples in a batch; the last batch of a pass may be shorter
    shuffle : another order in every pass
    seed : whole number of at least 0, or None
    drop_last : leave out a last batch that is not full

    Raises
    ------
    ConfigurationError : ``batch_size`` or ``seed`` is not such a number, or ``drop_last`` leaves no batch
    ShapeError, DataError, DtypeError : as in DataSet
    """

    def __init__(
        self,
        features: ArrayLike,
        labels: ArrayLike | None,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int | None = None,
        features_mask: ArrayLike | None = None,
        labels_mask: ArrayLike | None = None,
        drop_last: bool = False,
    ) -> None:
        super().__init__(_checked_batch_size(batch_size))
        self._data = DataSet(features, labels, features_mask, labels_mask)
        if not isinstance(shuffle, bool | np.bool_):
            raise ConfigurationError(f"shuffle={shuffle!r} is not True or False.")
        self._shuffle = bool(shuffle)
        self._seed = _checked_seed(seed)
        self._drop_last = drop_last
        if not len(self):
            raise ConfigurationError(
                f"drop_last=True leaves no batch: there are {len(self._data)} examples, and "
                f"batch_size={self.batch_size}. Choose a smaller batch_size, or drop_last=False."
            )

    def __len__(self) -> int:
        return number_of_batches(len(self._data), self.batch_size, self._drop_last)

    def total_examples(self) -> int:
        """Return the number of examples in a pass, without those that ``drop_last`` leaves out."""
        return min(len(self._data), len(self) * self.batch_size)

    def _batches(self, epoch: int, memory: BatchMemory, *, copy: bool) -> Iterator[DataSet]:
        return self._shuffled(epoch, memory) if self._shuffle else self._in_order(memory, copy=copy)

    def _shuffled(self, epoch: int, memory: BatchMemory) -> Iterator[DataSet]:
        order = memory.empty("order", (len(self._data),), np.dtype(np.intp))
        write_epoch_order(order, self._seed, epoch)
        for start, stop in batch_bounds(len(order), self.batch_size, self._drop_last):
            yield taken_rows(self._data, order[start:stop], memory)

    def _in_order(self, memory: BatchMemory, *, copy: bool) -> Iterator[DataSet]:
        for start, stop in batch_bounds(len(self._data), self.batch_size, self._drop_last):
            batch = rows_of(self._data, start, stop)
            yield joined([batch], memory) if copy else batch


def _checked_whole_number(name: str, value: int, lowest: int) -> int:
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= lowest:
        return int(value)
    raise ConfigurationError(f"{name}={value!r} is not possible. Give a whole number of at least {lowest}.")


def _checked_batch_size(batch_size: int) -> int:
    return _checked_whole_number("batch_size", batch_size, 1)


def _checked_seed(seed: int | None) -> int:
    """Return the seed, or one from the operating system, so that an epoch can be a function of it."""
    if seed is None:
        return secrets.randbits(128)
    return _checked_whole_number("seed", seed, 0)


def _check_joinable(datasets: list[DataSet]) -> None:
    for index, dataset in enumerate(datasets):
        for name, first, array in zip(FIELDS, datasets[0], dataset, strict=True):
            if (first is None) != (array is None):
                has, lacks = (0, index) if array is None else (index, 0)
                raise DataError(
                    f"DataSet {has} has {name}, DataSet {lacks} has none, so they cannot be joined. "
                    "Give them to all or to none, or leave batch_size out."
                )
            if first is not None and array is not None and first.shape[1:] != array.shape[1:]:
                raise ShapeError(
                    f"{name} of DataSet 0 have shape {first.shape}, those of DataSet {index} {array.shape}. "
                    "All but the first axis must agree to join them into batches; or leave batch_size out."
                )
