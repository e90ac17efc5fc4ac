"""The metrics of one class against the rest, and what they are where they would divide by zero."""

import enum
import math
import operator
from typing import NamedTuple

from ..errors import DataError

__all__ = ["BinaryCounts", "EvaluationAveraging", "checked_class", "ratio"]


class EvaluationAveraging(enum.Enum):
    """How the metrics of several classes become one."""

    MACRO = "mean of the metric over the classes"
    MICRO = "metric of the counts summed over the classes"


def ratio(numerator: float, denominator: float, undefined: float = math.nan) -> float:
    """Return ``numerator / denominator``, or ``undefined`` at n/0."""
    return undefined if denominator == 0 else numerator / denominator


def checked_class(c: int, classes: int) -> int:
    """Return the class index ``c``; raise DataError if it is not one of 0 to ``classes`` - 1."""
    if not 0 <= c < classes:
        raise DataError(f"class index {c} is out of range: this evaluation has {classes} classes, from 0 on.")
    return operator.index(c)


class BinaryCounts(NamedTuple):
    """Outcomes of one class against the rest; an undefined metric (0/0) is NaN unless it says otherwise."""

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

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
        """F-measure, (1 + beta^2) P R / (beta^2 P + R), 0 where precision P or recall R is 0."""
        precision, recall = self.precision(), self.recall()
        if precision == 0 or recall == 0:
            return math.nan if math.isnan(precision + recall) else 0.0
        return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)

    def g_measure(self) -> float:
        """G-measure, sqrt(P R), 0 where precision P or recall R is undefined."""
        product = self.precision() * self.recall()
        return 0.0 if math.isnan(product) else math.sqrt(product)

    def matthews_correlation(self) -> float:
        """Matthews' correlation: (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn))."""
        tp, fp, tn, fn = self
        return ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
