"""The metrics that follow from a confusion matrix."""

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..options import enum_option
from .metrics import BinaryCounts, EvaluationAveraging, checked_class

__all__ = ["ConfusionMetrics", "EvaluationMetric"]

Averaging = EvaluationAveraging | str | None


class EvaluationMetric(enum.Enum):
    """What ``Evaluation.score_for_metric`` gives (DL4J: Evaluation.Metric)."""

    ACCURACY = "accuracy"
    F1 = "f1"
    PRECISION = "precision"
    RECALL = "recall"
    GMEASURE = "g_measure"
    MCC = "matthews_correlation"


class ConfusionMetrics(ABC):
    """Metrics of one class ``c``, or of all of them.

    Without ``c`` and ``averaging`` (MACRO or MICRO), precision, recall and F-measures are those of the
    positive class where there are two classes and one is positive, else the macro mean. That mean leaves out
    the classes where they are 0/0, and is NaN if that is all of them; the other metrics count every class. A
    0/0 of one class, or of the micro average, is given as 0; Matthews' correlation is NaN there.

    All methods raise NotInitializedError without data, and DataError for a class index out of range.
    """

    positive_class: int | None

    @property
    @abstractmethod
    def confusion_matrix(self) -> NDArray[np.int64]:
        """Counts (classes, classes), actual classes down, predicted classes across."""

    def counts(self) -> list[BinaryCounts]:
        """Return, for each class against the rest, tp, fp, tn and fn."""
        matrix = self.confusion_matrix
        hits, actual, predicted = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        missed, false = actual - hits, predicted - hits
        others = matrix.sum() - hits - missed - false
        columns = (hits.tolist(), false.tolist(), others.tolist(), missed.tolist())
        return [BinaryCounts(*outcomes) for outcomes in zip(*columns, strict=True)]

    def true_positives(self) -> dict[int, int]:
        """Return, by class, how many of its examples were predicted as such."""
        return {c: counts.true_positives for c, counts in enumerate(self.counts())}

    def false_positives(self) -> dict[int, int]:
        """Return, by class, how many examples of others were predicted as this class."""
        return {c: counts.false_positives for c, counts in enumerate(self.counts())}

    def true_negatives(self) -> dict[int, int]:
        """Return, by class, how many examples of others were predicted as others."""
        return {c: counts.true_negatives for c, counts in enumerate(self.counts())}

    def false_negatives(self) -> dict[int, int]:
        """Return, by class, how many of its examples were predicted as others."""
        return {c: counts.false_negatives for c, counts in enumerate(self.counts())}

    def positive(self) -> dict[int, int]:
        """Return, by class, its number of examples: tp + fn."""
        return {c: k.true_positives + k.false_negatives for c, k in enumerate(self.counts())}

    def negative(self) -> dict[int, int]:
        """Return, by class, the number of examples of the others: tn + fp."""
        return {c: k.true_negatives + k.false_positives for c, k in enumerate(self.counts())}

    def class_count(self, c: int) -> int:
        """Return the number of examples of class ``c``."""
        return self.positive()[checked_class(c, len(self.counts()))]

    def accuracy(self) -> float:
        """Share of examples whose class was predicted."""
        matrix = self.confusion_matrix
        return float(np.trace(matrix) / matrix.sum())

    def precision(self, c: int | None = None, *, averaging: Averaging = None, undefined: float = 0.0) -> float:
        """Precision, tp / (tp + fp); a single 0/0 is ``undefined``."""
        return self._reported(BinaryCounts.precision, c, averaging, undefined)

    def recall(self, c: int | None = None, *, averaging: Averaging = None, undefined: float = 0.0) -> float:
        """Recall, tp / (tp + fn); a single 0/0 is ``undefined``."""
        return self._reported(BinaryCounts.recall, c, averaging, undefined)

    def f1(self, c: int | None = None, *, averaging: Averaging = None) -> float:
        """F1, 2 P R / (P + R) of precision P and recall R."""
        return self.f_beta(1.0, c, averaging=averaging)

    def f_beta(self, beta: float, c: int | None = None, *, averaging: Averaging = None) -> float:
        """F-measure, (1 + beta^2) P R / (beta^2 P + R) of precision P and recall R, 0 if one is 0."""
        return self._reported(lambda counts: counts.f_beta(beta), c, averaging, 0.0)

    def false_positive_rate(self, c: int | None = None, *, averaging: Averaging = "macro") -> float:
        """False positive rate, fp / (fp + tn)."""
        return self._of_all(BinaryCounts.false_positive_rate, c, averaging, 0.0)

    def false_negative_rate(self, c: int | None = None, *, averaging: Averaging = "macro") -> float:
        """False negative rate, fn / (fn + tp); DL4J's micro average divides by fn + tn."""
        return self._of_all(BinaryCounts.false_negative_rate, c, averaging, 0.0)

    def false_alarm_rate(self) -> float:
        """Mean of the false positive and the false negative rate; of two classes, the same for either."""
        return (self.false_positive_rate() + self.false_negative_rate()) / 2

    def g_measure(self, c: int | None = None, *, averaging: Averaging = "macro") -> float:
        """G-measure, sqrt(P R) of precision P and recall R."""
        return self._of_all(BinaryCounts.g_measure, c, averaging, 0.0)

    def matthews_correlation(self, c: int | None = None, *, averaging: Averaging = "macro") -> float:
        """Matthews' correlation: (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn))."""
        return self._of_all(BinaryCounts.matthews_correlation, c, averaging, math.nan)

    def score_for_metric(self, metric: EvaluationMetric | str) -> float:
        """Return the metric of that name, as its method gives it without arguments.

        Raises ConfigurationError for an unknown name, which lists the known ones.
        """
        method = enum_option(EvaluationMetric, metric, "metric").value
        return float(getattr(self, method)())

    def average_precision_num_classes_excluded(self) -> int:
        """Return how many classes the macro precision leaves out."""
        return len(self.undefined_classes()["precision"])

    def average_recall_num_classes_excluded(self) -> int:
        """Return how many classes the macro recall leaves out."""
        return len(self.undefined_classes()["recall"])

    def average_f1_num_classes_excluded(self) -> int:
        """Return how many classes the macro F1 leaves out."""
        return len(self.undefined_classes()["f1"])

    def average_f_beta_num_classes_excluded(self) -> int:
        """Return how many classes a macro F-measure leaves out, which are those of F1 for every beta."""
        return self.average_f1_num_classes_excluded()

    def reported_class(self) -> int | None:
        """Return the positive class, or None where metrics are means over the classes."""
        return self.positive_class if len(self.confusion_matrix) == 2 else None

    def undefined_classes(self) -> dict[str, list[int]]:
        """Return the classes that the macro means of "precision", "recall" and "f1" leave out."""
        metrics = {
            "precision": BinaryCounts.precision,
            "recall": BinaryCounts.recall,
            "f1": lambda counts: counts.f_beta(1.0),
        }
        counts = self.counts()
        return {name: [c for c, k in enumerate(counts) if math.isnan(metric(k))] for name, metric in metrics.items()}

    def _reported(
        self, metric: Callable[[BinaryCounts], float], c: int | None, averaging: Averaging, undefined: float
    ) -> float:
        if c is None and averaging is None:
            c = self.reported_class()
        if _is_micro(averaging) or c is not None:
            return self._single(metric, c, undefined)
        values = [value for value in map(metric, self.counts()) if not math.isnan(value)]
        return sum(values) / len(values) if values else math.nan

    def _of_all(
        self, metric: Callable[[BinaryCounts], float], c: int | None, averaging: Averaging, undefined: float
    ) -> float:
        if _is_micro(averaging) or c is not None:
            return self._single(metric, c, undefined)
        values = [undefined if math.isnan(value) else value for value in map(metric, self.counts())]
        return sum(values) / len(values)

    def _single(self, metric: Callable[[BinaryCounts], float], c: int | None, undefined: float) -> float:
        """Return the metric of class ``c``, or of the counts summed over the classes."""
        counts = self.counts()
        if c is None:
            value = metric(BinaryCounts(*map(sum, zip(*counts, strict=True))))
        else:
            value = metric(counts[checked_class(c, len(counts))])
        return undefined if math.isnan(value) else value


def _is_micro(averaging: Averaging) -> bool:
    if averaging is None:
        return False
    return enum_option(EvaluationAveraging, averaging, "averaging") is EvaluationAveraging.MICRO
