"""The metrics of one class against the rest, and what they are where they would divide by zero."""

import enum
import math
from typing import NamedTuple

import numpy as np

from ..errors import ConfigurationError, DataError

__all__ = ["BinaryCounts", "EvaluationAveraging", "checked_class", "plural", "ratio"]


MAX_BETA = 1e100  # whose square float64 still has


class EvaluationAveraging(enum.Enum):
    """How the metrics of several classes become one."""

    MACRO = "mean of the metric over the classes"
    MICRO = "metric of the counts summed over the classes"


def ratio(numerator: float, denominator: float, undefined: float = math.nan) -> float:
    """Return ``numerator / denominator``, or ``undefined`` at n/0."""
    return undefined if denominator == 0 else numerator / denominator


def checked_class(c: int, count: int, what: str = "class") -> int:
    """Return the index ``c`` of a class, or ``what`` else; raise DataError if it is not one of 0 to ``count`` - 1."""
    if isinstance(c, int | np.integer) and not isinstance(c, bool) and 0 <= c < count:
        return int(c)
    raise DataError(f"{what} index {c!r} is out of range: this evaluation has {plural(count, what)}, from 0 on.")


def plural(count: int, what: str) -> str:
    """Return "1 class", "2 classes", "3 outputs"."""
    return f"{count} {what if count == 1 else what + ('es' if what.endswith('s') else 's')}"


class BinaryCounts(NamedTuple):
    """Outcomes of one class against the rest; an undefined metric (0/0) is NaN unless it says otherwise."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    def accuracy(self) -> float:
        """Accuracy, (tp + tn) / (tp + fp + tn + fn)."""
        return ratio(self.true_positives + self.true_negatives, sum(self))

    def precision(self) -> float:
        """Precision, tp / (tp + fp)."""
        return ratio(self.true_positives, self.true_positives + self.false_positives)

    def recall(self) -> float:
        """Recall, tp / (tp + fn)."""
        return ratio(self.true_positives, self.true_positives + self.false_negatives)

    def false_positive_rate(self) -> float:
        """False positive rate, fp / (fp + tn)."""
        return ratio(self.false_positives, self.false_positives + self.true_negatives)

    def false_negative_rate(self) -> float:
        """False negative rate, fn / (fn + tp)."""
        return ratio(self.false_negatives, self.false_negatives + self.true_positives)

    def f_beta(self, beta: float) -> float:
        """F-measure, (1 + beta^2) P R / (beta^2 P + R), 0 where precision P or recall R is 0.

        Raises ConfigurationError for a ``beta`` that is not finite, or below 0.
        """
        if not 0 <= beta <= MAX_BETA:
            raise ConfigurationError(f"beta={beta!r}: expected a number of at least 0, such as 1 for F1.")
        precision, recall = self.precision(), self.recall()
        if precision == 0 or recall == 0:
            return math.nan if math.isnan(precision + recall) else 0.0
        return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)

    def g_measure(self) -> float:
        """G-measure, sqrt(P R) of precision P and recall R."""
        return math.sqrt(self.precision() * self.recall())

    def false_alarm_rate(self) -> float:
        """False alarm rate, the mean of the false positive and the false negative rate."""
        return (self.false_positive_rate() + self.false_negative_rate()) / 2

    def matthews_correlation(self) -> float:
        """Matthews' correlation: (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn))."""
        tp, fp, tn, fn = self
        return ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
