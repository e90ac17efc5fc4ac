"""Area under the ROC and the precision-recall curve, of two classes or one class against the rest."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, DataError, NotInitializedError, ShapeError
from .base import BaseEvaluation
from .curves import PrecisionRecallCurve, RocCurve
from .metrics import checked_class
from .report import decimal, table_row
from .scores import AllScores, ScoreStore, ThresholdCounts
from .scratch import Scratch

__all__ = ["ROC", "ROCMultiClass"]


class ROC(BaseEvaluation):
    """ROC of a binary output: one column, or two of which the second is the positive class (DL4J: ROC).

    Labels are 0 or 1. Unlike DL4J, which counts equal scores one after the other, tied scores make one point
    of the curves, so the areas do not depend on the order of the examples (as in scikit-learn); a per-output
    mask raises; ``merge`` copies.

    Parameters
    ----------
    threshold_steps
        0: exact, which keeps every score and label. Else counts at the thresholds i / threshold_steps, in
        constant memory.
    expected_examples
        For how many examples exact mode takes memory at the first batch. With more, or without it, the memory
        doubles when it is full.
    remove_redundant
        Leave points out of exact curves that lie between two others of the same x, or the same y.
    """

    def __init__(
        self,
        threshold_steps: int = 0,
        expected_examples: int | None = None,
        *,
        remove_redundant: bool = True,
    ) -> None:
        super().__init__()
        _check_options(threshold_steps, expected_examples)
        self.threshold_steps = threshold_steps
        self.expected_examples = expected_examples
        self.remove_redundant = remove_redundant
        self._store: ScoreStore = ThresholdCounts(threshold_steps) if threshold_steps else AllScores(expected_examples)

    def _accumulate(self, labels: NDArray, predictions: NDArray) -> None:
        if predictions.shape[1] > 2:
            raise ShapeError(
                f"ROC expects predictions with 1 or 2 columns, got shape {predictions.shape}. "
                f"Use ROCMultiClass for more classes."
            )
        _check_binary(labels, self._scratch)
        positive = _is_class(labels, 1 if labels.ndim == 1 else labels.shape[1] - 1, self._scratch)
        self._store.add(predictions[:, -1], positive, self._scratch)

    def reset(self) -> None:
        """Forget all examples; options stay."""
        self._store.reset()

    def merge(self, other: "ROC") -> None:
        """Add copies of what ``other`` counted; raises ConfigurationError for other ``threshold_steps``."""
        self._check_same_options(other, "threshold_steps")
        self._store.merge(other._store)

    @property
    def count_positive(self) -> int:
        """Number of positive examples."""
        return self._store.totals()[0]

    @property
    def count_negative(self) -> int:
        """Number of negative examples."""
        return self._store.totals()[1]

    def get_roc_curve(self) -> RocCurve:
        """Return the curve: exact from threshold 1 down to 0, thresholded from 0 up to 1."""
        exact = self.threshold_steps == 0
        return RocCurve.of(self._store.cumulative(), remove_redundant=exact and self.remove_redundant)

    def get_precision_recall_curve(self) -> PrecisionRecallCurve:
        """Return the curve from threshold 0 up to 1.

        Without positive examples recall is NaN in exact mode, 1 in thresholded mode.
        """
        exact = self.threshold_steps == 0
        return PrecisionRecallCurve.of(
            self._store.cumulative(),
            remove_redundant=exact and self.remove_redundant,
            recall_without_positives=np.nan if exact else 1.0,
        )

    def calculate_auc(self) -> float:
        """Area under the ROC curve, NaN if no example, or only one class, was seen."""
        return self.get_roc_curve().calculate_auc()

    def calculate_auc_pr(self) -> float:
        """Area under the precision-recall curve, NaN if no example was seen."""
        positives, negatives = self._store.totals()
        return self.get_precision_recall_curve().calculate_auc() if positives + negatives else np.nan

    def stats(self) -> str:
        """Return the areas and the numbers of examples."""
        positives, negatives = self._store.totals()
        if positives + negatives == 0:
            return "-- No Data --"
        lines = [
            f"AUC:    {decimal(self.calculate_auc())}",
            f"AUPRC:  {decimal(self.calculate_auc_pr())}",
            f"# Pos:  {positives}",
            f"# Neg:  {negatives}",
        ]
        return "\n".join(lines + _threshold_note(self.threshold_steps))


class ROCMultiClass(BaseEvaluation):
    """One ROC per class, that class against all others (DL4J: ROCMultiClass).

    Tied scores, masks and merging as in ``ROC``; labels are one-hot or class indices. Memory is that of one
    ``ROC`` per class. The metrics raise NotInitializedError without data, and DataError for a class index out
    of range.

    Parameters
    ----------
    threshold_steps, expected_examples, remove_redundant
        As in ``ROC``.
    labels
        Names of the classes, for the report.
    """

    def __init__(
        self,
        threshold_steps: int = 0,
        expected_examples: int | None = None,
        *,
        remove_redundant: bool = True,
        labels: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        _check_options(threshold_steps, expected_examples)
        self.threshold_steps = threshold_steps
        self.expected_examples = expected_examples
        self.remove_redundant = remove_redundant
        self.labels = tuple(labels or ())
        self._rocs: list[ROC] = []
        self._has_data = False

    def _accumulate(self, labels: NDArray, predictions: NDArray) -> None:
        classes = predictions.shape[1]
        self._check_classes(classes)
        _check_binary(labels, self._scratch)
        self._make_rocs(classes)
        for c, roc in enumerate(self._rocs):
            roc._store.add(predictions[:, c], _is_class(labels, c, self._scratch), self._scratch)

    def _check_classes(self, classes: int) -> None:
        if classes < 2:
            raise ShapeError("ROCMultiClass expects predictions with 2 columns or more, got 1. Use ROC.")
        if self.labels and len(self.labels) != classes:
            raise ShapeError(
                f"ROCMultiClass with {len(self.labels)} labels got predictions with {classes} columns. "
                f"Name every class once."
            )
        if self._has_data and len(self._rocs) != classes:
            raise ShapeError(
                f"ROCMultiClass of {len(self._rocs)} classes got predictions with {classes} columns. "
                f"Use one ROCMultiClass per kind of output, or reset() it."
            )

    def _make_rocs(self, classes: int) -> None:
        if len(self._rocs) != classes:
            self._rocs = [
                ROC(self.threshold_steps, self.expected_examples, remove_redundant=self.remove_redundant)
                for _ in range(classes)
            ]
        self._has_data = True

    def reset(self) -> None:
        """Forget all examples; options and label names stay."""
        for roc in self._rocs:
            roc.reset()
        self._has_data = False

    def merge(self, other: "ROCMultiClass") -> None:
        """Add copies of what ``other`` counted, and take its label names if there are none here.

        Raises ConfigurationError for other ``threshold_steps``, ShapeError for another number of classes.
        """
        self._check_same_options(other, "threshold_steps")
        if other._has_data:
            self._check_classes(len(other._rocs))
            self._make_rocs(len(other._rocs))
            for mine, theirs in zip(self._rocs, other._rocs, strict=True):
                mine.merge(theirs)
            self.labels = self.labels or other.labels

    @property
    def num_classes(self) -> int | None:
        """Number of classes, None before the first batch."""
        return len(self._rocs) if self._has_data else None

    def get_roc_curve(self, class_index: int) -> RocCurve:
        """Return the ROC curve of one class."""
        return self._roc(class_index).get_roc_curve()

    def get_precision_recall_curve(self, class_index: int) -> PrecisionRecallCurve:
        """Return the precision-recall curve of one class."""
        return self._roc(class_index).get_precision_recall_curve()

    def calculate_auc(self, class_index: int) -> float:
        """Area under the ROC curve of one class, NaN if all examples or none are of this class."""
        return self._roc(class_index).calculate_auc()

    def calculate_auc_pr(self, class_index: int) -> float:
        """Area under the precision-recall curve of one class."""
        return self._roc(class_index).calculate_auc_pr()

    def calculate_average_auc(self) -> float:
        """Mean of the areas under the ROC curves of all classes, NaN if one of them is."""
        return float(np.mean([roc.calculate_auc() for roc in self._all()]))

    def calculate_average_auc_pr(self) -> float:
        """Mean of the areas under the precision-recall curves of all classes, NaN if one of them is."""
        return float(np.mean([roc.calculate_auc_pr() for roc in self._all()]))

    def count_positive(self, class_index: int) -> int:
        """Return the number of examples of one class."""
        return self._roc(class_index).count_positive

    def count_negative(self, class_index: int) -> int:
        """Return the number of examples of all other classes."""
        return self._roc(class_index).count_negative

    def stats(self) -> str:
        """Return a table of the classes with their areas under the ROC curve, and the mean of these."""
        names = self.labels or tuple(str(c) for c in range(len(self._rocs)))
        widths = (max([15, *map(len, names)]) + 5, 12, 10, 10)
        lines = [table_row(("Label", "AUC", "# Pos", "# Neg"), widths)]
        if not self._has_data:
            return "\n".join([*lines, "-- No Data --"])
        areas = [roc.calculate_auc() for roc in self._rocs]
        for name, area, roc in zip(names, areas, self._rocs, strict=True):
            lines.append(table_row((name, decimal(area), roc.count_positive, roc.count_negative), widths))
        lines.append(f"Average AUC: {decimal(float(np.mean(areas)))}")
        return "\n".join(lines + _threshold_note(self.threshold_steps))

    def _all(self) -> list[ROC]:
        if not self._has_data:
            raise NotInitializedError(
                "ROCMultiClass: no evaluation has been performed. Call eval(labels, predictions) first."
            )
        return self._rocs

    def _roc(self, class_index: int) -> ROC:
        rocs = self._all()
        return rocs[checked_class(class_index, len(rocs))]


def _check_options(threshold_steps: int, expected_examples: int | None) -> None:
    if threshold_steps < 0:
        raise ConfigurationError(f"threshold_steps={threshold_steps}: expected 0 (exact) or more.")
    if expected_examples is not None and expected_examples < 1:
        raise ConfigurationError(f"expected_examples={expected_examples}: expected at least 1, or None.")


def _check_binary(labels: NDArray, scratch: Scratch) -> None:
    """Check that all labels are 0 or 1; class indices are, as far as each class is concerned."""
    if labels.ndim == 1:
        return
    equal = scratch.get("label equal", labels.shape, np.bool_)
    zeros = np.count_nonzero(np.equal(labels, 0, out=equal))
    ones = np.count_nonzero(np.equal(labels, 1, out=equal))
    if zeros + ones != labels.size:
        raise DataError("ROC labels must be 0 or 1, but others were found. Round them, or mask out what has no label.")


def _is_class(labels: NDArray, c: int, scratch: Scratch) -> NDArray:
    """Return which rows (rows,) are of class ``c``, from one column per class or from class indices."""
    positive = scratch.get("positive", labels.shape[:1], np.bool_)
    if labels.ndim == 1:
        return np.equal(labels, c, out=positive)
    return np.equal(labels[:, c], 1, out=positive)


def _threshold_note(steps: int) -> list[str]:
    return [f"Note: areas from {steps} threshold steps are less accurate than exact ones."] if steps else []
