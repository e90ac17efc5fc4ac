"""Sums over pairs of labels and predictions from which errors and correlations follow."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .scratch import Scratch
from .states import numbers_of

__all__ = ["Moments"]

ADDITIVE = ("absolute_errors", "squared_errors")
SPREADS = ("spread_of_labels", "spread_of_predictions", "joint_spread")
NAMES = ("counts", "mean_labels", "mean_predictions", *ADDITIVE, *SPREADS)


class Moments:
    """Sums of each of some columns, (columns,) float64: counts, means, errors, and sums of squares around the means.

    Batches are joined by the update of pairs of Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise
    algorithm for computing sample variances": unlike raw sums it loses no digits where means are large.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        for name in NAMES:
            setattr(self, name, np.zeros(columns))
        self._batch: Moments | None = None
        self._work = [np.zeros(columns) for _ in range(5)]

    counts: NDArray[np.float64]
    mean_labels: NDArray[np.float64]
    mean_predictions: NDArray[np.float64]
    absolute_errors: NDArray[np.float64]
    squared_errors: NDArray[np.float64]
    spread_of_labels: NDArray[np.float64]
    spread_of_predictions: NDArray[np.float64]
    joint_spread: NDArray[np.float64]

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
        for values, means, out in zip(
            (labels, predictions), (batch.mean_labels, batch.mean_predictions), from_mean, strict=True
        ):
            np.add.reduce(values, axis=0, out=means)
            np.maximum(batch.counts, 1, out=batch.joint_spread)
            np.divide(means, batch.joint_spread, out=means)
            np.copyto(out, means)
            np.subtract(values, out, out=out)
            if weights is not None:
                np.multiply(out, weights, out=out)
        pairs = ((0, 0), (1, 1), (0, 1))
        for (a, b), name in zip(pairs, SPREADS, strict=True):
            np.multiply(from_mean[a], from_mean[b], out=work)
            np.add.reduce(work, axis=0, out=getattr(batch, name))
        self.merge(batch)

    def merge(self, other: Self) -> None:
        """Add the sums of ``other``, without allocation."""
        total, share, labels, predictions, term = self._work
        np.add(self.counts, other.counts, out=total)
        np.maximum(total, 1, out=term)
        np.divide(other.counts, term, out=share)
        np.subtract(other.mean_labels, self.mean_labels, out=labels)
        np.subtract(other.mean_predictions, self.mean_predictions, out=predictions)
        for a, b, name in (
            (labels, labels, "spread_of_labels"),
            (predictions, predictions, "spread_of_predictions"),
            (labels, predictions, "joint_spread"),
        ):
            np.multiply(a, b, out=term)
            np.multiply(term, self.counts, out=term)
            np.multiply(term, share, out=term)
            np.add(term, getattr(other, name), out=term)
            np.add(getattr(self, name), term, out=getattr(self, name))
        for mean, difference in (self.mean_labels, labels), (self.mean_predictions, predictions):
            np.multiply(difference, share, out=difference)
            np.add(mean, difference, out=mean)
        for name in ADDITIVE:
            np.add(getattr(self, name), getattr(other, name), out=getattr(self, name))
        np.copyto(self.counts, total)

    def is_constant(self, spread: NDArray, mean: NDArray) -> NDArray[np.bool_]:
        """Tell which columns vary by no more than the rounding of their mean."""
        return np.asarray(spread <= self.counts * np.square(16 * np.finfo(np.float64).eps * mean))

    def state(self) -> dict[str, Any]:
        """Return the sums, as JSON knows them."""
        return {"columns": self.columns, **{name: getattr(self, name).tolist() for name in NAMES}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; raise ValueError for anything else."""
        for name in NAMES:
            setattr(self, name, numbers_of(state, name, self.columns))
        if (self.counts < 0).any() or (self.counts % 1 != 0).any():
            raise ValueError("counts are no counts")
