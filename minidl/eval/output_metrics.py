"""The metrics that follow from the counts of independent binary outputs."""

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from ..options import enum_option
from .metrics import BinaryCounts

__all__ = ["EvaluationBinaryMetric", "OutputMetrics"]


class EvaluationBinaryMetric(enum.Enum):
    """What ``EvaluationBinary.score_for_metric`` gives (DL4J: EvaluationBinary.Metric)."""

    ACCURACY = "accuracy"
    F1 = "f1"
    PRECISION = "precision"
    RECALL = "recall"
    GMEASURE = "g_measure"
    MCC = "matthews_correlation"
    FAR = "false_alarm_rate"
    DR = "detection_rate"


class OutputMetrics(ABC):
    """Metrics of one output, and their averages, which are plain means over the outputs.

    Precision, recall and what follows from them are NaN at 0/0, unlike in Evaluation; the false positive and false
    negative rates are 0. All methods raise NotInitializedError without data, and DataError for an output out of range.
    """

    @abstractmethod
    def counts(self, output: int) -> BinaryCounts:
        """Return tp, fp, tn and fn of one output."""

    @abstractmethod
    def _average(self, metric: Callable[[int], float]) -> float:
        """Return the mean of a metric over the outputs."""

    def total_count(self, output: int) -> int:
        """Return the number of examples of one output, without masked ones."""
        return sum(self.counts(output))

    def true_positives(self, output: int) -> int:
        """Return how many examples of label 1 were predicted 1."""
        return self.counts(output).true_positives

    def false_positives(self, output: int) -> int:
        """Return how many examples of label 0 were predicted 1."""
        return self.counts(output).false_positives

    def true_negatives(self, output: int) -> int:
        """Return how many examples of label 0 were predicted 0."""
        return self.counts(output).true_negatives

    def false_negatives(self, output: int) -> int:
        """Return how many examples of label 1 were predicted 0."""
        return self.counts(output).false_negatives

    def accuracy(self, output: int) -> float:
        """Accuracy of one output, (tp + tn) / total; NaN if a mask left out all its examples."""
        return self.counts(output).accuracy()

    def precision(self, output: int) -> float:
        """Precision of one output, tp / (tp + fp); NaN at 0/0."""
        return self.counts(output).precision()

    def recall(self, output: int) -> float:
        """Recall of one output, tp / (tp + fn); NaN at 0/0."""
        return self.counts(output).recall()

    def f1(self, output: int) -> float:
        """F1 of one output, 2 P R / (P + R) of precision P and recall R; NaN where one is."""
        return self.f_beta(1.0, output)

    def f_beta(self, beta: float, output: int) -> float:
        """F-measure of one output, (1 + beta^2) P R / (beta^2 P + R); NaN where P or R is, 0 where one is 0."""
        return self.counts(output).f_beta(beta)

    def g_measure(self, output: int) -> float:
        """G-measure of one output, sqrt(P R) of precision P and recall R; NaN where one is."""
        return self.counts(output).g_measure()

    def matthews_correlation(self, output: int) -> float:
        """Matthews' correlation of one output; NaN at 0/0."""
        return self.counts(output).matthews_correlation()

    def false_positive_rate(self, output: int) -> float:
        """False positive rate of one output, fp / (fp + tn); 0 at 0/0."""
        return _or_zero(self.counts(output).false_positive_rate())

    def false_negative_rate(self, output: int) -> float:
        """False negative rate of one output, fn / (fn + tp); 0 at 0/0."""
        return _or_zero(self.counts(output).false_negative_rate())

    def false_alarm_rate(self, output: int) -> float:
        """False alarm rate of one output, the mean of its false positive and false negative rates."""
        return (self.false_positive_rate(output) + self.false_negative_rate(output)) / 2

    def detection_rate(self, output: int) -> float:
        """Detection rate of one output, another name for its recall."""
        return self.recall(output)

    def average_accuracy(self) -> float:
        """Mean of the accuracies of the outputs."""
        return self._average(self.accuracy)

    def average_precision(self) -> float:
        """Mean of the precisions of the outputs, NaN if one is."""
        return self._average(self.precision)

    def average_recall(self) -> float:
        """Mean of the recalls of the outputs, NaN if one is."""
        return self._average(self.recall)

    def average_f1(self) -> float:
        """Mean of the F1 of the outputs, NaN if one is."""
        return self._average(self.f1)

    def score_for_metric(self, metric: EvaluationBinaryMetric | str, output: int | None = None) -> float:
        """Return the metric of that name, of one output or the mean over all.

        Raises ConfigurationError for an unknown name, which lists the known ones.
        """
        method = getattr(self, enum_option(EvaluationBinaryMetric, metric, "metric").value)
        return float(self._average(method) if output is None else method(output))


def _or_zero(rate: float) -> float:
    return 0.0 if math.isnan(rate) else rate
