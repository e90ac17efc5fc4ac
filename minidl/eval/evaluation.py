"""Classification metrics from a confusion matrix."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError, NotInitializedError, ShapeError
from .base import BaseEvaluation
from .confusion import ConfusionMetrics
from .counting import count_cells
from .evaluation_text import evaluation_text
from .inputs import Rows, check_probabilities
from .metrics import checked_class, ratio
from .options import class_names, cost_factors, probability, whole_number
from .plots import plot_confusion_matrix
from .predictions import Prediction, RecordedPredictions
from .report import confusion_text
from .states import counts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Evaluation"]


class Evaluation(ConfusionMetrics, BaseEvaluation):
    """Accuracy, precision, recall, F1 and others, for two or more classes (DL4J: Evaluation).

    The class predicted is ``argmax(predictions)``, the actual one ``argmax(labels)``; of a single column,
    class 1 where it exceeds 0.5. Metrics of two classes are those of ``positive_class``; of more classes, or with
    ``positive_class=None``, the macro mean. Unlike DL4J, the micro-averaged false negative rate divides by
    fn + tp, ``averaging`` is honoured with two classes too, and merging with another ``top_n`` raises.

    Parameters
    ----------
    num_classes
        Taken from the first batch if not given.
    labels
        Names of the classes, in order or by index.
    top_n
        ``top_n_accuracy`` counts an example as right if fewer than ``top_n`` classes have a probability
        strictly above that of the actual class.
    threshold
        Probability above which class 1 is predicted; with one or two columns only.
    cost_array
        Factors, one per class, of the probabilities before the argmax.
    positive_class
        0, 1 or None; of no effect with more than two classes.
    axis
        The axis of the classes in labels and predictions.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        labels: Sequence[str] | Mapping[int, str] | None = None,
        top_n: int = 1,
        *,
        threshold: float | None = None,
        cost_array: Sequence[float] | None = None,
        positive_class: int | None = 1,
        axis: int = 1,
    ) -> None:
        super().__init__(axis)
        self.labels = class_names(labels)
        self.top_n = whole_number("top_n", top_n, 1, "at least 1")
        self.threshold = None if threshold is None else probability("threshold", threshold)
        self.cost_array = None if cost_array is None else cost_factors(cost_array)
        self.positive_class = None
        if positive_class is not None:
            self.positive_class = whole_number("positive_class", positive_class, 0, "0, 1 or None")
        self._fixed_classes = _fixed_class_count(num_classes, self.labels)
        self._check_options()
        self.reset()

    def _check_options(self) -> None:
        classes = self._fixed_classes
        if self.positive_class not in (None, 0, 1):
            raise ConfigurationError(f"positive_class={self.positive_class}: expected 0, 1 or None.")
        if self.threshold is not None:
            if self.cost_array is not None:
                raise ConfigurationError("threshold and cost_array exclude each other. Give one of them.")
            if classes is not None and classes != 2:
                raise ConfigurationError(f"threshold needs two classes, but there are {classes}.")
        if self.cost_array is not None and classes not in (None, len(self.cost_array)):
            raise ConfigurationError(f"cost_array has {len(self.cost_array)} factors for {classes} classes.")

    def eval(
        self,
        labels: ArrayLike,
        predictions: ArrayLike,
        mask: ArrayLike | None = None,
        metadata: Sequence[Any] | None = None,
    ) -> None:
        """Add one batch, as ``BaseEvaluation.eval``; with ``metadata``, one item for each example, which is kept.

        ``get_prediction_errors`` and its kin give the items back, those of masked examples left out; JSON and ``==``
        leave them out. A series counts with each of its steps.
        """
        self._add(labels, predictions, mask, metadata)

    def reset(self) -> None:
        """Forget all batches; options and label names stay."""
        self._recorded = RecordedPredictions()
        self._num_classes = self._fixed_classes
        self._counts = np.zeros((self._num_classes or 0) ** 2, np.int64)  # [actual * classes + predicted]
        self._top_n_correct = self._top_n_total = 0

    def _check(self, rows: Rows) -> None:
        width = rows.predictions.shape[1]
        self._check_width(width)
        if width == 1 or self.threshold is not None or self.cost_array is not None:
            check_probabilities("Evaluation", rows.predictions)

    def _accumulate(self, rows: Rows) -> None:
        predictions, width = rows.predictions, rows.predictions.shape[1]
        actual = self._actual_classes(rows.labels)
        predicted = self._predicted_classes(predictions)
        if width > 1 and self.top_n > 1:
            self._count_top_n(actual, predictions)
        classes = max(width, 2)
        self._make_counts(classes)
        cells = self._scratch.get("cells", actual.shape, np.intp)
        np.multiply(actual, classes, out=cells)
        np.add(cells, predicted, out=cells)
        count_cells(self._counts, cells)
        if rows.metadata is not None:
            self._recorded.add(actual, predicted, rows.metadata)

    def _check_width(self, width: int) -> None:
        classes = max(width, 2)
        if self._num_classes not in (None, classes):
            raise self._other_width(self._num_classes or 0, "class", width, self.labels)
        if self.threshold is not None and width > 2:
            raise ShapeError(
                f"Evaluation with threshold={self.threshold} got predictions with {width} columns. "
                f"A threshold tells two classes apart: leave it out."
            )
        if self.cost_array is not None and width != len(self.cost_array):
            raise ShapeError(
                f"Evaluation with {len(self.cost_array)} factors in cost_array got predictions with {width} "
                f"columns. Give one factor per column."
            )

    def _make_counts(self, classes: int) -> None:
        if self._num_classes is None:
            self._num_classes, self._counts = classes, np.zeros(classes**2, np.int64)

    def _actual_classes(self, labels: NDArray) -> NDArray:
        if labels.ndim == 1:
            return labels
        out = self._scratch.get("actual", labels.shape[:1], np.intp)
        if labels.shape[1] == 1:
            return self._above(labels[:, 0], 0.5, out)
        return labels.argmax(axis=1, out=out)

    def _predicted_classes(self, predictions: NDArray) -> NDArray:
        out = self._scratch.get("predicted", predictions.shape[:1], np.intp)
        if predictions.shape[1] == 1 or self.threshold is not None:
            return self._above(predictions[:, -1], 0.5 if self.threshold is None else self.threshold, out)
        if self.cost_array is not None:
            costs = self._scratch.repeated("costs", np.array(self.cost_array), len(predictions), predictions.dtype)
            predictions = np.multiply(predictions, costs, out=self._scratch.get_like("weighted", predictions))
        return predictions.argmax(axis=1, out=out)

    def _above(self, probabilities: NDArray, threshold: float, out: NDArray) -> NDArray:
        above = self._scratch.get("above", probabilities.shape, np.bool_)
        np.greater(probabilities, threshold, out=above)
        np.copyto(out, above)
        return out

    def _count_top_n(self, actual: NDArray, predictions: NDArray) -> None:
        rows, classes = predictions.shape
        flat = self._scratch.get("flat", (rows,), np.intp)
        np.multiply(self._scratch.counting_up(rows), classes, out=flat)
        np.add(flat, actual, out=flat)
        per_row = self._scratch.get("per row", (rows,), predictions.dtype)
        np.take(predictions.reshape(-1), flat, out=per_row, mode="clip")  # probability of the actual class
        full = self._scratch.get("full", (rows, classes), predictions.dtype)
        np.copyto(full, per_row[:, None])  # as a broadcast operand it would cost a hidden buffer
        higher = self._scratch.get("higher", (rows, classes), np.bool_)
        np.greater(predictions, full, out=higher)
        np.copyto(full, higher)
        np.add.reduce(full, axis=1, out=per_row)  # classes above the actual one
        correct = self._scratch.get("correct", (rows,), np.bool_)
        np.less(per_row, self.top_n, out=correct)
        self._top_n_correct += int(np.count_nonzero(correct))
        self._top_n_total += rows

    def eval_index(self, predicted: int, actual: int) -> None:
        """Add one example by its class indices, in DL4J's order; the top-N counts stay as they are.

        Raises DataError for an index out of range, NotInitializedError if the number of classes is unknown.
        """
        if self._num_classes is None:
            raise NotInitializedError("eval_index needs the number of classes. Create Evaluation(num_classes=...).")
        cell = checked_class(actual, self._num_classes) * self._num_classes + checked_class(
            predicted, self._num_classes
        )
        self._counts[cell] += 1

    def merge(self, other: "Evaluation") -> None:
        """Add the counts of ``other``, and take its label names if there are none here; it stays as it is.

        Raises ConfigurationError for another ``top_n``, ``threshold`` or ``cost_array``, ShapeError for
        another number of classes.
        """
        self._check_same_options(other, "top_n", "threshold", "cost_array")
        if None not in (self._num_classes, other._num_classes) and self._num_classes != other._num_classes:
            raise ShapeError(
                f"cannot merge an Evaluation of {other._num_classes} classes into one of "
                f"{self._num_classes}. Merge evaluations of the same output only."
            )
        if other._num_classes is not None:
            self._make_counts(other._num_classes)
            self._counts += other._counts
        self._top_n_correct += other._top_n_correct
        self._top_n_total += other._top_n_total
        self._recorded.merge(other._recorded)
        if not self.labels:
            self.labels = other.labels
            self._fixed_classes = self._fixed_classes or len(self.labels) or None

    @property
    def num_classes(self) -> int | None:
        """Number of classes, None while it is unknown."""
        return self._num_classes

    @property
    def row_count(self) -> int:
        """Number of examples."""
        return int(self._counts.sum())

    @property
    def confusion_matrix(self) -> NDArray[np.int64]:
        """Counts (classes, classes), actual classes down, predicted classes across; a copy, int64."""
        if not self._counts.any():
            raise self._no_data()
        classes = self._num_classes or 0
        return self._counts.reshape(classes, classes).copy()

    def class_label(self, c: int) -> str:
        """Return the name of class ``c``, its number if it has none."""
        if self._num_classes is None:
            raise self._no_data()
        c = checked_class(c, self._num_classes)
        return self.labels[c] if self.labels else str(c)

    def top_n_accuracy(self) -> float:
        """Share of examples with fewer than ``top_n`` classes above the actual one; 0 if none was counted."""
        if self.top_n == 1:
            return self.accuracy()
        return ratio(self._top_n_correct, self._top_n_total, undefined=0.0)

    def confusion_matrix_text(self) -> str:
        """Return the confusion matrix as a table with class names."""
        if not self._counts.any():
            return "Confusion matrix: <no data>"
        matrix = self.confusion_matrix
        return confusion_text(matrix, [self.class_label(c) for c in range(len(matrix))])

    def stats(self, suppress_warnings: bool = False, include_confusion: bool = False) -> str:
        """Return the report; ``include_confusion`` prints the matrix of more than 20 classes too."""
        if not self._counts.any():
            return "Evaluation: No data available (no evaluation has been performed)"
        return evaluation_text(self, warns=not suppress_warnings, include_confusion=include_confusion)

    def plot_confusion_matrix(self, ax: "Axes | None" = None, *, normalize: bool = False) -> "Axes":
        """Draw the confusion matrix, on a new figure unless ``ax`` is given, and return its axes.

        ``normalize`` shows each count as a share of its actual class. Needs the extra "plot".
        """
        matrix = self.confusion_matrix
        return plot_confusion_matrix(matrix, [self.class_label(c) for c in range(len(matrix))], normalize, ax)

    def get_prediction_errors(self) -> list[Prediction] | None:
        """Return the examples with metadata that were predicted wrongly; None if there never was metadata."""
        return self._recorded.errors()

    def get_predictions_by_actual_class(self, c: int) -> list[Prediction] | None:
        """Return the examples with metadata of class ``c``; None if there never was metadata."""
        return self._predictions(c, None)

    def get_prediction_by_predicted_class(self, c: int) -> list[Prediction] | None:
        """Return the examples with metadata that were predicted as class ``c``; None if there never was metadata."""
        return self._predictions(None, c)

    def get_predictions(self, actual: int, predicted: int) -> list[Prediction] | None:
        """Return the examples with metadata of one cell of the matrix; None if there never was metadata."""
        return self._predictions(actual, predicted)

    def _predictions(self, actual: int | None, predicted: int | None) -> list[Prediction] | None:
        for c in (actual, predicted):
            if c is not None and self._num_classes is not None:
                checked_class(c, self._num_classes)
        return self._recorded.where(actual, predicted)

    def _options(self) -> dict[str, Any]:
        return {
            "num_classes": self._fixed_classes,
            "labels": list(self.labels),
            "top_n": self.top_n,
            "threshold": self.threshold,
            "cost_array": None if self.cost_array is None else list(self.cost_array),
            "positive_class": self.positive_class,
        }

    def _state(self) -> dict[str, Any]:
        classes, counts = self._num_classes, self._counts.tolist()
        return {"classes": classes, "counts": counts, "top_n": [self._top_n_correct, self._top_n_total]}

    def _set_state(self, state: dict[str, Any]) -> None:
        classes = state["classes"]
        if classes is not None and (type(classes) is not int or self._fixed_classes not in (None, classes)):
            raise ValueError(f"classes is {classes!r}")
        counts = counts_of(state, "counts", (classes or 0) ** 2)
        self._top_n_correct, self._top_n_total = counts_of(state, "top_n", 2).tolist()
        self._num_classes, self._counts = classes, counts


def _fixed_class_count(num_classes: int | None, names: Sequence[str]) -> int | None:
    if num_classes is None:
        return len(names) or None
    classes = max(whole_number("num_classes", num_classes, 1, "at least 1"), 2)  # one column tells two classes apart
    if names and len(names) != classes:
        raise ConfigurationError(f"{len(names)} labels were given for {classes} classes. Name every class once.")
    return classes
