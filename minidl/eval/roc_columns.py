"""One ROC curve for each of several outputs: independent ones, or classes one against all others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from .base import BaseEvaluation
from .curves import PrecisionRecallCurve, RocCurve
from .inputs import Accepted, Rows, check_probabilities
from .metrics import checked_class
from .options import class_names, flag
from .plots import plot_precision_recall, plot_roc
from .report import decimal, label_width, table_row
from .roc import RocCurves, ROCMetric, area_function, check_binary, checked_roc_options, threshold_note
from .scores import ScoreStore, score_store
from .scratch import Scratch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ROCBinary", "ROCMultiClass", "one_hot"]


class _ROCOfColumns(BaseEvaluation):
    """What ROCBinary and ROCMultiClass have in common."""

    _column: ClassVar[str]  # what a column is
    _fewest: ClassVar[int]
    _instead: ClassVar[str]  # what to use for fewer columns

    def __init__(
        self,
        threshold_steps: int = 0,
        expected_examples: int | None = None,
        *,
        remove_redundant: bool = True,
        labels: Sequence[str] | None = None,
        axis: int = 1,
    ) -> None:
        super().__init__(axis)
        self.threshold_steps, self.expected_examples = checked_roc_options(threshold_steps, expected_examples)
        self.remove_redundant = flag("remove_redundant", remove_redundant)
        self.labels = class_names(labels)
        self._store: ScoreStore | None = None
        self._has_data = False

    def _check(self, rows: Rows) -> None:
        self._check_columns(rows.predictions.shape[1])
        check_binary(type(self).__name__, rows.labels, self._scratch)
        check_probabilities(type(self).__name__, rows.predictions)

    def _accumulate(self, rows: Rows) -> None:
        store = self._store_of(rows.predictions.shape[1])
        store.add(rows.predictions, one_hot(rows, self._scratch), rows.kept, self._scratch)
        self._has_data = True

    def _check_columns(self, columns: int) -> None:
        name = type(self).__name__
        if columns < self._fewest:
            raise ShapeError(
                f"{name} expects predictions with {self._fewest} columns or more, got {columns}. {self._instead}"
            )
        if self.labels and len(self.labels) != columns:
            raise self._other_width(len(self.labels), self._column, columns, self.labels)
        if self._has_data and self._store is not None and self._store.columns != columns:
            raise self._other_width(self._store.columns, self._column, columns)

    def _store_of(self, columns: int) -> ScoreStore:
        if self._store is None or self._store.columns != columns:
            self._store = score_store(self.threshold_steps, self.expected_examples, columns)
        return self._store

    def reset(self) -> None:
        """Forget all examples; options and label names stay."""
        if self._store is not None:
            self._store.reset()
        self._has_data = False

    def merge(self, other: "_ROCOfColumns") -> None:
        """Add copies of what ``other`` counted, and take its label names if there are none here.

        Raises ConfigurationError for other ``threshold_steps``, ShapeError for another number of columns.
        """
        self._check_same_options(other, "threshold_steps")
        if other.labels and self._columns not in (None, len(other.labels)):
            self._check_columns(len(other.labels))
        if other._has_data and other._store is not None:
            self._check_columns(other._store.columns)
            self._store_of(other._store.columns).merge(other._store)
            self._has_data = True
        self.labels = self.labels or other.labels

    def get_roc_curve(self, index: int) -> RocCurve:
        """Return the ROC curve of one class or output."""
        return self._curves(index).roc()

    def get_precision_recall_curve(self, index: int) -> PrecisionRecallCurve:
        """Return the precision-recall curve of one class or output."""
        return self._curves(index).precision_recall()

    def calculate_auc(self, index: int) -> float:
        """Area under the ROC curve of one class or output, NaN if its labels are all 1 or all 0."""
        return self._curves(index).auc()

    def calculate_auc_pr(self, index: int) -> float:
        """Area under the precision-recall curve of one class or output, by the trapezoid rule."""
        return self._curves(index).auc_pr()

    def calculate_average_auc(self) -> float:
        """Mean of the areas under the ROC curves, NaN if one of them is."""
        return self.score_for_metric(ROCMetric.AUROC)

    def calculate_average_auc_pr(self) -> float:
        """Mean of the areas under the precision-recall curves, NaN if one of them is."""
        return self.score_for_metric(ROCMetric.AUPRC)

    def score_for_metric(self, metric: ROCMetric | str, index: int | None = None) -> float:
        """Return the area that ``metric`` names, AUROC or AUPRC, of one class or output, or the mean over all.

        Raises ConfigurationError for another name.
        """
        area = area_function(metric)
        curves = self._all() if index is None else [self._curves(index)]
        return float(np.mean([area(one) for one in curves]))

    def count_positive(self, index: int) -> int:
        """Return the number of positive examples of one class or output."""
        return self._curves(index).totals()[0]

    def count_negative(self, index: int) -> int:
        """Return the number of negative examples of one class or output."""
        return self._curves(index).totals()[1]

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw all ROC curves, on a new figure unless ``ax`` is given, and return its axes. Needs the extra "plot"."""
        return plot_roc([(name, one.roc()) for name, one in zip(self._names(), self._all(), strict=True)], ax)

    def plot_precision_recall(self, ax: "Axes | None" = None) -> "Axes":
        """Draw all precision-recall curves, on a new figure unless ``ax`` is given, and return its axes."""
        named = zip(self._names(), self._all(), strict=True)
        return plot_precision_recall([(name, one.precision_recall()) for name, one in named], ax)

    @property
    def _columns(self) -> int | None:
        return self._store.columns if self._has_data and self._store is not None else None

    def _names(self) -> tuple[str, ...]:
        return self.labels or tuple(map(str, range(self._columns or 0)))

    def _all(self) -> list[RocCurves]:
        if self._columns is None:
            raise self._no_data()
        return [self._curves(index) for index in range(self._columns)]

    def _curves(self, index: int) -> RocCurves:
        if self._store is None or self._columns is None:
            raise self._no_data()
        index = checked_class(index, self._columns, self._column)
        exact = self.threshold_steps == 0
        return RocCurves(self._store, index, exact=exact, remove_redundant=self.remove_redundant)

    def _options(self) -> dict[str, Any]:
        return {
            "threshold_steps": self.threshold_steps,
            "expected_examples": self.expected_examples,
            "remove_redundant": self.remove_redundant,
            "labels": list(self.labels),
        }

    def _state(self) -> dict[str, Any]:
        return {} if self._columns is None or self._store is None else {"columns": self._columns, **self._store.state()}

    def _counted(self) -> Any:
        return None if self._columns is None or self._store is None else self._store.counted()

    def _set_state(self, state: dict[str, Any]) -> None:
        if state:
            if type(state["columns"]) is not int:
                raise ValueError(f"columns is {state['columns']!r}")
            self._check_columns(state["columns"])
            self._store_of(state["columns"]).set_state(state)
            self._has_data = True


class ROCBinary(_ROCOfColumns):
    """One ROC for each independent binary output (DL4J: ROCBinary).

    Parameters as for ROC; ``labels`` name the outputs. Labels are 0 or 1; masks may be per output, and what they leave
    out may be NaN. Tied scores make one point of the curves, unlike in DL4J.
    """

    _accepted = Accepted(class_indices=False, output_masks=True)
    _column = "output"
    _fewest = 1
    _instead = ""

    @property
    def num_labels(self) -> int | None:
        """Number of outputs, None before the first batch."""
        return self._columns

    def stats(self) -> str:
        """Return a table of the outputs with the areas under their curves."""
        widths = (label_width(self._names()), 12, 12, 10, 10)
        lines = [table_row(("Label", "AUC", "AUPRC", "# Pos", "# Neg"), widths)]
        if self._columns is None:
            return "\n".join([*lines, "-- No Data --"])
        for name, one in zip(self._names(), self._all(), strict=True):
            lines.append(table_row((name, decimal(one.auc()), decimal(one.auc_pr()), *one.totals()), widths))
        return "\n".join(lines + threshold_note(self.threshold_steps))


class ROCMultiClass(_ROCOfColumns):
    """One ROC for each class against all others (DL4J: ROCMultiClass).

    Parameters as for ROC; ``labels`` name the classes. A per-output mask raises. Tied scores make one point of the
    curves, unlike in DL4J.
    """

    _column = "class"
    _fewest = 2
    _instead = "Use ROC."

    @property
    def num_classes(self) -> int | None:
        """Number of classes, None before the first batch."""
        return self._columns

    def stats(self) -> str:
        """Return a table of the classes with their areas under the ROC curve, and the mean of these."""
        widths = (label_width(self._names()), 12, 10, 10)
        lines = [table_row(("Label", "AUC", "# Pos", "# Neg"), widths)]
        if self._columns is None:
            return "\n".join([*lines, "-- No Data --"])
        areas = [one.auc() for one in self._all()]
        for name, area, one in zip(self._names(), areas, self._all(), strict=True):
            lines.append(table_row((name, decimal(area), *one.totals()), widths))
        lines.append(f"Average AUC: {decimal(float(np.mean(areas)))}")
        return "\n".join(lines + threshold_note(self.threshold_steps))


def one_hot(rows: Rows, scratch: Scratch) -> NDArray:
    """Return which outputs (rows, n_out) the labels of ``rows`` set, bool, from numbers or from class indices."""
    shape = rows.predictions.shape
    positive = scratch.get("one-hot", shape, np.bool_)
    if rows.labels.ndim == 2:
        return np.equal(rows.labels, 1, out=positive)
    indices = scratch.get("indices of all columns", shape, np.intp)
    np.copyto(indices, rows.labels[:, None])
    first = 1 if shape[1] == 1 else 0  # one column is that of class 1
    classes = scratch.repeated("classes", scratch.counting_up(first + shape[1])[first:], shape[0])
    return np.equal(indices, classes, out=positive)
