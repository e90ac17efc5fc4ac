"""How far probabilities are what they say: reliability diagrams and histograms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .base import BaseEvaluation
from .counting import Bins, count_cells
from .inputs import Rows, check_probabilities
from .metrics import checked_class
from .options import class_names, flag, whole_number
from .plots import plot_histogram, plot_reliability
from .roc import check_binary
from .roc_columns import one_hot
from .states import counts_of, numbers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EvaluationCalibration", "Histogram", "ReliabilityDiagram"]


@dataclass(frozen=True, eq=False)
class ReliabilityDiagram:
    """Share of positives over the mean probability, one point for each bin (DL4J: ReliabilityDiagram)."""

    title: str
    mean_predicted_value: NDArray[np.float64]
    fraction_of_positives: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts in equal bins of [lower, upper] (DL4J: Histogram)."""

    title: str
    lower: float
    upper: float
    bin_counts: NDArray[np.int64]


class EvaluationCalibration(BaseEvaluation):
    """Reliability diagrams, and histograms of residuals and probabilities (DL4J: EvaluationCalibration).

    For each class: how many examples have a probability in each bin, how many of those are of the class, and the sum of
    their probabilities. Bin j of n holds [j / n, (j + 1) / n), and the last one 1 as well. A residual is |y - p| of one
    output. Labels are 0 or 1, predictions probabilities; a per-output mask raises. A single column is that of class 1,
    predicted above 0.5. Unlike in DL4J, ``merge`` and ``reset`` are complete.

    All results raise NotInitializedError without data, and DataError for a class out of range.

    Parameters
    ----------
    reliability_bins, histogram_bins
        Number of bins of the diagrams and of the histograms.
    exclude_empty_bins
        Leave bins without examples out of the diagrams; otherwise they are NaN.
    labels
        Names of the classes.
    axis
        The axis of the classes in labels and predictions.
    """

    def __init__(
        self,
        reliability_bins: int = 10,
        histogram_bins: int = 50,
        exclude_empty_bins: bool = True,
        *,
        labels: Sequence[str] | None = None,
        axis: int = 1,
    ) -> None:
        super().__init__(axis)
        self.reliability_bins = whole_number("reliability_bins", reliability_bins, 1, "at least 1")
        self.histogram_bins = whole_number("histogram_bins", histogram_bins, 1, "at least 1")
        self.exclude_empty_bins = flag("exclude_empty_bins", exclude_empty_bins)
        self.labels = class_names(labels)
        self._bins, self._fine_bins = Bins(self.reliability_bins), Bins(self.histogram_bins)
        self.reset()

    def reset(self) -> None:
        """Forget all batches; options and label names stay."""
        self._classes = 0
        self._make_counts(0)

    def _make_counts(self, classes: int) -> None:
        """Make counts by [(class * 2 + label) * bins + bin], predictions by class, and sums of probabilities."""
        self._reliability = np.zeros(2 * classes * self.reliability_bins, np.int64)
        self._residuals = np.zeros(2 * classes * self.histogram_bins, np.int64)
        self._probabilities = np.zeros(2 * classes * self.histogram_bins, np.int64)
        self._predicted = np.zeros(classes + (classes == 1), np.int64)  # of a single column: class 0 and class 1
        self._sums = np.zeros((self.reliability_bins, classes))
        self._starts = {bins: np.arange(classes) * (2 * bins.count) for bins in (self._bins, self._fine_bins)}

    def _check(self, rows: Rows) -> None:
        self._check_classes(rows.predictions.shape[1])
        check_binary("EvaluationCalibration", rows.labels, self._scratch)
        check_probabilities("EvaluationCalibration", rows.predictions)

    def _accumulate(self, rows: Rows) -> None:
        predictions, scratch = rows.predictions, self._scratch
        classes = predictions.shape[1]
        if self._classes == 0:
            self._classes = classes
            self._make_counts(classes)
        positive = one_hot(rows, scratch)
        residuals = scratch.get_like("residuals", predictions)
        np.copyto(residuals, positive)
        np.subtract(residuals, predictions, out=residuals)
        np.abs(residuals, out=residuals)
        self._count(self._residuals, self._fine_bins, residuals, positive)
        self._count(self._probabilities, self._fine_bins, predictions, positive)
        self._sum_probabilities(self._count(self._reliability, self._bins, predictions, positive), predictions)
        self._count_predicted(predictions)

    def _check_classes(self, classes: int) -> None:
        if self.labels and len(self.labels) != classes:
            raise self._other_width(len(self.labels), "class", classes, self.labels)
        if self._classes not in (0, classes):
            raise self._other_width(self._classes, "class", classes)

    def _count(self, counts: NDArray, bins: Bins, values: NDArray, positive: NDArray) -> NDArray:
        """Count values (rows, classes) by class, label and bin, and return the bins, which the next call overwrites."""
        found = bins.cells(values, self._scratch)
        cells = self._scratch.get_like("calibration cells", found)
        starts = self._scratch.repeated(f"starts of {bins.count}", self._starts[bins], len(values))
        np.add(found, starts, out=cells)
        np.add(cells, bins.count, out=cells, where=positive)
        count_cells(counts, cells.reshape(-1))
        return found

    def _sum_probabilities(self, bins: NDArray, predictions: NDArray) -> None:
        inside = self._scratch.get("in this bin", bins.shape, np.bool_)
        values = self._scratch.get("probabilities in this bin", bins.shape, np.float64)
        batch = self._scratch.get("sums of probabilities", bins.shape[1:], np.float64)
        for number, sums in enumerate(self._sums):
            np.equal(bins, number, out=inside)
            values.fill(0)
            np.copyto(values, predictions, where=inside)
            np.add(sums, np.add.reduce(values, axis=0, out=batch), out=sums)

    def _count_predicted(self, predictions: NDArray) -> None:
        predicted = self._scratch.get("predicted", predictions.shape[:1], np.intp)
        if predictions.shape[1] == 1:
            above = self._scratch.get("above", predictions.shape, np.bool_)
            np.copyto(predicted, np.greater(predictions, 0.5, out=above)[:, 0])
        else:
            predictions.argmax(axis=1, out=predicted)
        count_cells(self._predicted, predicted)

    def merge(self, other: "EvaluationCalibration") -> None:
        """Add copies of all that ``other`` counted, and take its label names if there are none here.

        Raises ConfigurationError for other numbers of bins, ShapeError for another number of classes.
        """
        self._check_same_options(other, "reliability_bins", "histogram_bins")
        if other.labels and self._classes not in (0, len(other.labels)):
            self._check_classes(len(other.labels))
        if other._classes:
            self._check_classes(other._classes)
            if self._classes == 0:
                self._classes = other._classes
                self._make_counts(other._classes)
            for name in ("_reliability", "_residuals", "_probabilities", "_predicted"):
                mine = getattr(self, name)
                np.add(mine, getattr(other, name), out=mine)
            self._sums += other._sums
        self.labels = self.labels or other.labels

    @property
    def num_classes(self) -> int | None:
        """Number of classes, or columns, None before the first batch."""
        return self._classes or None

    @property
    def label_counts_each_class(self) -> NDArray[np.int64]:
        """Number of labels of each class (classes,)."""
        return self._counts(self._reliability, self.reliability_bins)[:, 1].sum(axis=1)

    @property
    def prediction_counts_each_class(self) -> NDArray[np.int64]:
        """Number of examples that were predicted as each class (classes,)."""
        self._check_has_data()
        return self._predicted[-self._classes :].copy()

    def get_reliability_diagram(self, class_index: int) -> ReliabilityDiagram:
        """Return the share of examples of a class over the mean probability of the class, bin by bin."""
        c = self._checked(class_index)
        counts = self._counts(self._reliability, self.reliability_bins)[c]
        total = counts.sum(axis=0)
        kept = total > 0 if self.exclude_empty_bins else np.full(len(total), True)
        means, shares = np.full(len(total), np.nan), np.full(len(total), np.nan)
        np.divide(self._sums[:, c], total, out=means, where=total > 0)
        np.divide(counts[1], total, out=shares, where=total > 0)
        return ReliabilityDiagram(f"Reliability diagram: {self._name(c)}", means[kept], shares[kept])

    def get_residual_plot_all_classes(self) -> Histogram:
        """Return the histogram of |y - p| over all examples and classes."""
        counts = self._counts(self._residuals, self.histogram_bins)
        return Histogram("Residuals, all classes", 0.0, 1.0, counts.sum(axis=(0, 1)))

    def get_residual_plot(self, label_class: int) -> Histogram:
        """Return the histogram of 1 - p, the residual of the class of the label, for the examples of one class."""
        c = self._checked(label_class)
        counts = self._counts(self._residuals, self.histogram_bins)
        return Histogram(f"Residuals: {self._name(c)}", 0.0, 1.0, counts[c, 1])

    def get_probability_histogram_all_classes(self) -> Histogram:
        """Return the histogram of the probabilities of all examples and classes."""
        counts = self._counts(self._probabilities, self.histogram_bins)
        return Histogram("Probabilities, all classes", 0.0, 1.0, counts.sum(axis=(0, 1)))

    def get_probability_histogram(self, label_class: int) -> Histogram:
        """Return the histogram of the probability of one class for the examples of that class."""
        c = self._checked(label_class)
        counts = self._counts(self._probabilities, self.histogram_bins)
        return Histogram(f"Probabilities: {self._name(c)}", 0.0, 1.0, counts[c, 1])

    def expected_calibration_error(self, class_index: int) -> float:
        """Mean over the examples of |share of positives - mean probability| of their bin, for one class.

        Source: Naeini, Cooper and Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning".
        """
        c = self._checked(class_index)
        counts = self._counts(self._reliability, self.reliability_bins)[c]
        return float(np.abs(counts[1] - self._sums[:, c]).sum() / counts.sum())

    def stats(self) -> str:
        """Return what was made, and nothing of the counts, as DL4J: the diagrams say more than a text."""
        return f"EvaluationCalibration(nBins={self.reliability_bins})"

    def plot_reliability_diagram(self, class_index: int | None = None, ax: "Axes | None" = None) -> "Axes":
        """Draw the reliability diagram of one class or of all, and return its axes. Needs the extra "plot"."""
        self._check_has_data()
        classes = range(self._classes) if class_index is None else [class_index]
        names = self.labels or [str(c + (self._classes == 1)) for c in range(self._classes)]
        return plot_reliability([(names[self._checked(c)], self.get_reliability_diagram(c)) for c in classes], ax)

    def plot_residuals(self, label_class: int | None = None, ax: "Axes | None" = None) -> "Axes":
        """Draw the histogram of residuals of the examples of one class, or of all, and return its axes."""
        all_classes = label_class is None
        histogram = self.get_residual_plot_all_classes() if all_classes else self.get_residual_plot(label_class or 0)
        return plot_histogram(histogram, "residual |y - p|", ax)

    def plot_probabilities(self, label_class: int | None = None, ax: "Axes | None" = None) -> "Axes":
        """Draw the histogram of probabilities of the examples of one class, or of all, and return its axes."""
        if label_class is None:
            return plot_histogram(self.get_probability_histogram_all_classes(), "probability", ax)
        return plot_histogram(self.get_probability_histogram(label_class), "probability", ax)

    def _check_has_data(self) -> None:
        if not self._classes:
            raise self._no_data()

    def _checked(self, class_index: int) -> int:
        self._check_has_data()
        return checked_class(class_index, self._classes)

    def _name(self, c: int) -> str:
        return self.labels[c] if self.labels else f"class {c + (self._classes == 1)}"

    def _counts(self, counts: NDArray, bins: int) -> NDArray[np.int64]:
        """Return counts as an array (classes, 2, bins): label 0 and label 1."""
        self._check_has_data()
        return counts.reshape(self._classes, 2, bins).copy()

    def _options(self) -> dict[str, Any]:
        names = ("reliability_bins", "histogram_bins", "exclude_empty_bins")
        return {name: getattr(self, name) for name in names} | {"labels": list(self.labels)}

    def _state(self) -> dict[str, Any]:
        lists = ("reliability", "residuals", "probabilities", "predicted")
        counts = {name: getattr(self, f"_{name}").tolist() for name in lists}
        return {"classes": self._classes, **counts, "sums": self._sums.ravel().tolist()}

    def _set_state(self, state: dict[str, Any]) -> None:
        classes = state["classes"]
        if type(classes) is not int or classes < 0:
            raise ValueError(f"classes is {classes!r}")
        self._check_classes(classes or len(self.labels))
        self._classes = classes
        self._make_counts(classes)
        for name in ("reliability", "residuals", "probabilities", "predicted"):
            setattr(self, f"_{name}", counts_of(state, name, len(getattr(self, f"_{name}"))))
        self._sums = numbers_of(state, "sums", self._sums.size).reshape(self._sums.shape)
