"""Sums over pairs of labels and predictions from which errors and correlations follow."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .scratch import Scratch
from .states import numbers_of

__all__ = ["Moments"]

ERRORS = ("absolute_errors", "squared_errors")
SPREADS = ("spread_of_labels", "spread_of_predictions", "joint_spread")
LOWEST, HIGHEST = ("lowest_labels", "lowest_predictions"), ("highest_labels", "highest_predictions")
ORIGINS, MEANS = ("origin_of_labels", "origin_of_predictions"), ("mean_labels", "mean_predictions")
NAMES = ("counts", *ORIGINS, *MEANS, *LOWEST, *HIGHEST, *ERRORS, *SPREADS)


class Moments:
    """Sums of each of some columns, (columns,) float64: counts, errors, extremes, sums of squares around the means.

    Batches are joined by the update of pairs of Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise
    algorithm for computing sample variances", and means are kept as distances from an origin, that of the first batch:
    unlike raw sums they lose no digits where numbers are large beside their spread.
    """

    counts: NDArray[np.float64]
    squared_errors: NDArray[np.float64]
    absolute_errors: NDArray[np.float64]
    spread_of_labels: NDArray[np.float64]
    spread_of_predictions: NDArray[np.float64]
    joint_spread: NDArray[np.float64]

    def __init__(self, columns: int) -> None:
        self.columns = columns
        for name in NAMES:
            setattr(self, name, np.zeros(columns))
        self._forget_extremes()
        self._batch: Moments | None = None
        self._work = [np.zeros(columns) for _ in range(5)]
        self._empty = np.zeros(columns, np.bool_)

    def _forget_extremes(self) -> None:
        """Set the extremes of columns without examples to what every number exceeds."""
        for names, start in ((LOWEST, np.inf), (HIGHEST, -np.inf)):
            for name in names:
                np.copyto(self._of(name), start, where=self.counts == 0)

    def _of(self, name: str) -> NDArray[np.float64]:
        array: NDArray[np.float64] = getattr(self, name)
        return array

    def add(self, labels: NDArray, predictions: NDArray, kept: NDArray | None, scratch: Scratch) -> None:
        """Add rows (rows, columns) float64; where ``kept`` is False, both are 0, and do not count."""
        if self._batch is None:
            self._batch = Moments(self.columns)
        batch, work = self._batch, scratch.get_like("pair work", labels)
        weights = None
        if kept is None:
            batch.counts.fill(len(labels))
        else:
            weights = scratch.get("kept as numbers", labels.shape, np.float64)
            np.copyto(weights, kept)
            np.add.reduce(weights, axis=0, out=batch.counts)
        np.subtract(predictions, labels, out=work)
        np.abs(work, out=work)
        np.add.reduce(work, axis=0, out=batch.absolute_errors)
        np.square(work, out=work)
        np.add.reduce(work, axis=0, out=batch.squared_errors)
        from_mean = [scratch.get_like(name, labels) for name in ("labels from mean", "predictions from mean")]
        for side, values in enumerate((labels, predictions)):
            self._find_extremes(side, values, kept, work)
            self._subtract_mean(side, values, weights, work, from_mean[side])
        for (a, b), name in zip(((0, 0), (1, 1), (0, 1)), SPREADS, strict=True):
            np.multiply(from_mean[a], from_mean[b], out=work)
            np.add.reduce(work, axis=0, out=batch._of(name))
        self.merge(batch)

    def _find_extremes(self, side: int, values: NDArray, kept: NDArray | None, work: NDArray) -> None:
        """Find the extremes of a batch of labels, ``side`` 0, or of predictions, 1."""
        batch = self._batch or self
        for names, reduce, start in ((LOWEST, np.minimum.reduce, np.inf), (HIGHEST, np.maximum.reduce, -np.inf)):
            if kept is not None:
                work.fill(start)
                np.copyto(work, values, where=kept)
            reduce(values if kept is None else work, axis=0, out=batch._of(names[side]))

    def _subtract_mean(self, side: int, values: NDArray, weights: NDArray | None, work: NDArray, out: NDArray) -> None:
        """Write ``values`` around their means, 0 where they do not count, and keep the means beside the origin."""
        batch = self._batch or self
        origin, mean = self._of(ORIGINS[side]), batch._of(MEANS[side])
        divisor = np.maximum(batch.counts, 1, out=self._work[0])
        np.add.reduce(values, axis=0, out=mean)
        np.divide(mean, divisor, out=mean)
        np.copyto(origin, mean, where=np.equal(self.counts, 0, out=self._empty))
        np.copyto(batch._of(ORIGINS[side]), origin)
        np.copyto(work, origin)
        np.subtract(values, work, out=out)
        if weights is not None:
            np.multiply(out, weights, out=out)
        np.add.reduce(out, axis=0, out=mean)
        np.divide(mean, divisor, out=mean)
        np.copyto(work, mean)
        np.subtract(out, work, out=out)
        if weights is not None:
            np.multiply(out, weights, out=out)

    def merge(self, other: Self) -> None:
        """Add the sums of ``other``, without allocation."""
        total, share, labels, predictions, term = self._work
        np.equal(self.counts, 0, out=self._empty)
        for origin, mean, difference in zip(ORIGINS, MEANS, (labels, predictions), strict=True):
            np.copyto(self._of(origin), other._of(origin), where=self._empty)
            np.subtract(other._of(origin), self._of(origin), out=difference)
            np.add(difference, other._of(mean), out=difference)
            np.subtract(difference, self._of(mean), out=difference)
        np.add(self.counts, other.counts, out=total)
        np.maximum(total, 1, out=term)
        np.divide(other.counts, term, out=share)
        for (a, b), name in zip(
            ((labels, labels), (predictions, predictions), (labels, predictions)), SPREADS, strict=True
        ):
            np.multiply(a, b, out=term)
            np.multiply(term, self.counts, out=term)
            np.multiply(term, share, out=term)
            np.add(term, other._of(name), out=term)
            np.add(self._of(name), term, out=self._of(name))
        for mean, difference in zip(MEANS, (labels, predictions), strict=True):
            np.multiply(difference, share, out=difference)
            np.add(self._of(mean), difference, out=self._of(mean))
        for names, ufunc in ((LOWEST, np.minimum), (HIGHEST, np.maximum), (ERRORS, np.add)):
            for name in names:
                ufunc(self._of(name), other._of(name), out=self._of(name))
        np.copyto(self.counts, total)

    def are_equal(self, side: int, column: int) -> bool:
        """Tell whether all labels, ``side`` 0, or all predictions, 1, of a column are the same number."""
        return bool(self._of(LOWEST[side])[column] == self._of(HIGHEST[side])[column])

    def state(self) -> dict[str, Any]:
        """Return the sums, as JSON knows them; extremes of columns without examples as 0."""
        arrays = {name: np.where(self.counts > 0, self._of(name), 0.0).tolist() for name in NAMES}
        return {"columns": self.columns, **arrays}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; raise ValueError for anything else."""
        for name in NAMES:
            setattr(self, name, numbers_of(state, name, self.columns))
        if (self.counts < 0).any() or (self.counts % 1 != 0).any():
            raise ValueError("counts are no counts")
        if any((self._of(name) < 0).any() for name in (*ERRORS, *SPREADS[:2])):
            raise ValueError("a sum of squares is negative")
        self._forget_extremes()
