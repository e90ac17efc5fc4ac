"""ROC and precision-recall curves: one cumulative count, two curves, areas by trapezoid."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

__all__ = [
    "BinaryConfusion",
    "CumulativeCounts",
    "PrecisionRecallCurve",
    "PrecisionRecallPoint",
    "RocCurve",
    "cumulative_counts",
]


class CumulativeCounts(NamedTuple):
    """True and false positives if every example that reaches a threshold is predicted positive.

    Shapes: all (points,) but the totals.
    """

    thresholds: NDArray
    true_positives: NDArray
    false_positives: NDArray
    total_positives: int
    total_negatives: int

    def by_rising_threshold(self) -> "CumulativeCounts":
        """Return the same points, lowest threshold first."""
        if self.thresholds[0] <= self.thresholds[-1]:
            return self
        return self._replace(
            thresholds=self.thresholds[::-1],
            true_positives=self.true_positives[::-1],
            false_positives=self.false_positives[::-1],
        )


def cumulative_counts(scores: NDArray, positive: NDArray) -> CumulativeCounts:
    """Count at every distinct score, from (threshold 1, nothing) down to (threshold 0, everything).

    Tied scores make one point, after all of them, so that the order of the examples does not matter.
    Shapes: scores (n,), positive (n,) bool.
    """
    order = np.argsort(scores)[::-1]
    scores, positive = scores[order].astype(np.float64), positive[order]
    last_of_ties = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    true_positives = np.cumsum(positive)[last_of_ties]
    false_positives = np.flatnonzero(last_of_ties) + 1 - true_positives
    total = int(np.count_nonzero(positive))
    return CumulativeCounts(
        np.concatenate([[1.0], scores[last_of_ties], [0.0]]),
        np.concatenate([[0], true_positives, [total]]),
        np.concatenate([[0], false_positives, [len(scores) - total]]),
        total,
        len(scores) - total,
    )


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Receiver operating characteristic: the true over the false positive rate, all (points,) float64."""

    thresholds: NDArray
    false_positive_rate: NDArray
    true_positive_rate: NDArray

    @classmethod
    def of(cls, counts: CumulativeCounts, *, remove_redundant: bool) -> "RocCurve":
        """Return the curve; a rate of a class that never occurred is NaN."""
        x = _rates(counts.false_positives, counts.total_negatives)
        y = _rates(counts.true_positives, counts.total_positives)
        kept = _corners(x, y) if remove_redundant else slice(None)
        return cls(counts.thresholds[kept], x[kept], y[kept])

    def calculate_auc(self) -> float:
        """Area under the curve by the trapezoid rule, NaN if only one class occurred."""
        return _area(self.false_positive_rate, self.true_positive_rate)


@dataclass(frozen=True)
class PrecisionRecallPoint:
    """One point of a precision-recall curve."""

    index: int
    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True)
class BinaryConfusion:
    """The outcomes at one point of a precision-recall curve."""

    point: PrecisionRecallPoint
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision over recall, all (points,), with rising thresholds (DL4J: PrecisionRecallCurve)."""

    thresholds: NDArray
    precision: NDArray
    recall: NDArray
    true_positives: NDArray
    false_positives: NDArray
    false_negatives: NDArray
    total_count: int

    @classmethod
    def of(
        cls, counts: CumulativeCounts, *, remove_redundant: bool, recall_without_positives: float
    ) -> "PrecisionRecallCurve":
        """Return the curve; precision is 1 where nothing is predicted positive."""
        counts = counts.by_rising_threshold()
        tp, fp = counts.true_positives, counts.false_positives
        precision = np.ones(len(tp))
        np.divide(tp, tp + fp, out=precision, where=tp + fp > 0)
        recall = _rates(tp, counts.total_positives, recall_without_positives)
        kept = _corners(recall, precision) if remove_redundant else slice(None)
        return cls(
            counts.thresholds[kept],
            precision[kept],
            recall[kept],
            true_positives=tp[kept],
            false_positives=fp[kept],
            false_negatives=counts.total_positives - tp[kept],
            total_count=counts.total_positives + counts.total_negatives,
        )

    def calculate_auc(self) -> float:
        """Area under the curve by the trapezoid rule (not the step sum of scikit-learn's average precision)."""
        return _area(self.recall, self.precision)

    def get_point_at_threshold(self, threshold: float) -> PrecisionRecallPoint:
        """Return the point at ``threshold``, or at the next higher one; DataError if there is none."""
        if math.isnan(threshold):
            raise DataError("threshold is NaN. Ask for a probability, 0 to 1.")
        index = int(np.searchsorted(self.thresholds, threshold))
        if index == len(self.thresholds):
            raise DataError(f"threshold {threshold} is above all of the curve. Ask for at most {self.thresholds[-1]}.")
        return self._point(index)

    def get_point_at_precision(self, precision: float) -> PrecisionRecallPoint:
        """Return the point of the lowest threshold with at least this precision; DataError if none has."""
        found = np.flatnonzero(self.precision >= precision)
        if len(found) == 0:
            raise DataError(f"no point has a precision of {precision}. Ask for at most {self.precision.max()}.")
        return self._point(int(found[0]))

    def get_point_at_recall(self, recall: float) -> PrecisionRecallPoint:
        """Return the point of the highest threshold with at least this recall; DataError if none has.

        Of points with equal recall it is the one with the best precision.
        """
        found = np.flatnonzero(self.recall >= recall)
        if np.isnan(self.recall).any():
            raise DataError("the curve has no recall, as no example is positive. Evaluate some that are.")
        if len(found) == 0:
            raise DataError(f"no point has a recall of {recall}. Ask for at most {self.recall.max()}.")
        equal = found[self.recall[found] == self.recall[found[-1]]]
        best = equal[self.precision[equal] == self.precision[equal].max()]
        return self._point(int(best[-1]))

    def get_confusion_matrix_at_threshold(self, threshold: float) -> BinaryConfusion:
        """Return the outcomes at ``threshold``, or at the next higher one; DataError if there is none."""
        return self.get_confusion_matrix_at_point(self.get_point_at_threshold(threshold).index)

    def get_confusion_matrix_at_point(self, index: int) -> BinaryConfusion:
        """Return the outcomes at point ``index``; DataError if it does not exist."""
        point = self._point(index)
        tp, fp, fn = (int(a[index]) for a in (self.true_positives, self.false_positives, self.false_negatives))
        return BinaryConfusion(point, tp, fp, fn, self.total_count - tp - fp - fn)

    def _point(self, index: int) -> PrecisionRecallPoint:
        if not 0 <= index < len(self.thresholds):
            raise DataError(f"point {index} does not exist: the curve has {len(self.thresholds)}, from 0 on.")
        return PrecisionRecallPoint(
            index, float(self.thresholds[index]), float(self.precision[index]), float(self.recall[index])
        )


def _rates(counts: NDArray, total: int, without_total: float = np.nan) -> NDArray:
    return counts / total if total else np.full(len(counts), without_total)


def _corners(x: NDArray, y: NDArray) -> NDArray:
    """Return which points are not between two others of the same x, or of the same y."""
    kept = np.ones(len(x), np.bool_)
    for values in (x, y):
        equal = values[1:] == values[:-1]
        kept[1:-1] &= ~(equal[1:] & equal[:-1])
    return kept


def _area(x: NDArray, y: NDArray) -> float:
    return abs(float(np.trapezoid(y, x)))
