"""Area under the ROC and the precision-recall curve of a binary output."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ShapeError
from ..options import enum_option
from .base import BaseEvaluation
from .curves import PrecisionRecallCurve, RocCurve
from .inputs import Rows, check_probabilities
from .options import flag, whole_number
from .plots import plot_precision_recall, plot_roc
from .report import decimal
from .scores import ScoreStore, score_store
from .scratch import Scratch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ROC",
    "ROCMetric",
    "RocCurves",
    "check_binary",
    "checked_roc_options",
    "of_class",
    "threshold_note",
]


class ROCMetric(enum.Enum):
    """What ``score_for_metric`` of the ROC classes gives (DL4J: ROC.Metric)."""

    AUROC = "area under the ROC curve"
    AUPRC = "area under the precision-recall curve"


class RocCurves:
    """The curves of one column of a store of scores, and the areas under them."""

    def __init__(self, store: ScoreStore, column: int, *, exact: bool, remove_redundant: bool) -> None:
        self._store = store
        self._column = column
        self._exact = exact
        self._remove_redundant = exact and remove_redundant

    def totals(self) -> tuple[int, int]:
        """Return how many examples are positive and negative."""
        return self._store.totals(self._column)

    def roc(self) -> RocCurve:
        """Return the ROC curve: exact from threshold 1 down to 0, thresholded from 0 up to 1."""
        return RocCurve.of(self._store.cumulative(self._column), remove_redundant=self._remove_redundant)

    def precision_recall(self) -> PrecisionRecallCurve:
        """Return the precision-recall curve, from threshold 0 up to 1."""
        return PrecisionRecallCurve.of(
            self._store.cumulative(self._column),
            remove_redundant=self._remove_redundant,
            recall_without_positives=np.nan if self._exact else 1.0,
        )

    def auc(self) -> float:
        """Area under the ROC curve, NaN if no example, or only one class, was seen."""
        return self.roc().calculate_auc()

    def auc_pr(self) -> float:
        """Area under the precision-recall curve, NaN if no example was seen."""
        return self.precision_recall().calculate_auc() if sum(self.totals()) else np.nan


class ROC(BaseEvaluation):
    """ROC of a binary output: one column, or two of which the second is the positive class (DL4J: ROC).

    Labels are 0 or 1, predictions probabilities. Unlike DL4J, which counts equal scores one after the other, tied
    scores make one point of the curves, so the areas do not depend on the order of the examples (as in scikit-learn); a
    per-output mask raises; ``merge`` copies.

    Parameters
    ----------
    threshold_steps
        0: exact, which keeps every score, 4 bytes (float64: 8), and label, 1 byte. Else counts at the thresholds
        i / threshold_steps, in constant memory.
    expected_examples
        For how many examples exact mode takes memory at the first batch, 2048 by default. When it is full, it is
        doubled, without copying what is there.
    remove_redundant
        Leave points out of exact curves that lie between two others of the same x, or the same y.
    axis
        The axis of the columns in labels and predictions.
    """

    def __init__(
        self,
        threshold_steps: int = 0,
        expected_examples: int | None = None,
        *,
        remove_redundant: bool = True,
        axis: int = 1,
    ) -> None:
        super().__init__(axis)
        self.threshold_steps, self.expected_examples = checked_roc_options(threshold_steps, expected_examples)
        self.remove_redundant = flag("remove_redundant", remove_redundant)
        self._store = score_store(self.threshold_steps, self.expected_examples, 1)

    def _check(self, rows: Rows) -> None:
        predictions = rows.predictions
        if predictions.shape[1] > 2:
            raise ShapeError(
                f"ROC expects predictions with 1 or 2 columns, got {predictions.shape[1]}. "
                f"Use ROCMultiClass for classes, ROCBinary for independent outputs."
            )
        check_binary("ROC", rows.labels, self._scratch)
        check_probabilities("ROC", predictions)

    def _accumulate(self, rows: Rows) -> None:
        labels, predictions = rows.labels, rows.predictions
        positive = of_class(labels, 1 if labels.ndim == 1 else labels.shape[1] - 1, self._scratch)
        self._store.add(predictions[:, -1:], positive[:, None], None, self._scratch)

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
        return self._curves.totals()[0]

    @property
    def count_negative(self) -> int:
        """Number of negative examples."""
        return self._curves.totals()[1]

    def get_roc_curve(self) -> RocCurve:
        """Return the curve: exact from threshold 1 down to 0, thresholded from 0 up to 1."""
        return self._curves.roc()

    def get_precision_recall_curve(self) -> PrecisionRecallCurve:
        """Return the curve from threshold 0 up to 1.

        Without positive examples recall is NaN in exact mode, 1 in thresholded mode.
        """
        return self._curves.precision_recall()

    def calculate_auc(self) -> float:
        """Area under the ROC curve, NaN if no example, or only one class, was seen."""
        return self._curves.auc()

    def calculate_auc_pr(self) -> float:
        """Area under the precision-recall curve by the trapezoid rule.

        NaN if no example was seen, and without positive ones in exact mode.
        """
        return self._curves.auc_pr()

    def score_for_metric(self, metric: ROCMetric | str) -> float:
        """Return the area that ``metric`` names, AUROC or AUPRC; raise ConfigurationError for another name."""
        return area_function(metric)(self._curves)

    def stats(self) -> str:
        """Return the areas and the numbers of examples."""
        positives, negatives = self._curves.totals()
        if positives + negatives == 0:
            return "-- No Data --"
        lines = [
            f"AUC:    {decimal(self.calculate_auc())}",
            f"AUPRC:  {decimal(self.calculate_auc_pr())}",
            f"# Pos:  {positives}",
            f"# Neg:  {negatives}",
        ]
        return "\n".join(lines + threshold_note(self.threshold_steps))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the ROC curve, on a new figure unless ``ax`` is given, and return its axes. Needs the extra "plot"."""
        self._check_has_data()
        return plot_roc([("", self.get_roc_curve())], ax)

    def plot_precision_recall(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the precision-recall curve, on a new figure unless ``ax`` is given, and return its axes."""
        self._check_has_data()
        return plot_precision_recall([("", self.get_precision_recall_curve())], ax)

    def _check_has_data(self) -> None:
        if not sum(self._curves.totals()):
            raise self._no_data()

    @property
    def _curves(self) -> RocCurves:
        return RocCurves(self._store, 0, exact=self.threshold_steps == 0, remove_redundant=self.remove_redundant)

    def _options(self) -> dict[str, Any]:
        return {
            "threshold_steps": self.threshold_steps,
            "expected_examples": self.expected_examples,
            "remove_redundant": self.remove_redundant,
        }

    def _state(self) -> dict[str, Any]:
        return self._store.state()

    def _counted(self) -> Any:
        return self._store.counted()

    def _set_state(self, state: dict[str, Any]) -> None:
        self._store.set_state(state)


def area_function(metric: ROCMetric | str) -> Callable[[RocCurves], float]:
    """Return the method of the area that ``metric`` names; raise ConfigurationError for another name."""
    return RocCurves.auc if enum_option(ROCMetric, metric, "metric") is ROCMetric.AUROC else RocCurves.auc_pr


def checked_roc_options(threshold_steps: int, expected_examples: int | None) -> tuple[int, int | None]:
    """Return the options of ROC classes as Python has them; raise ConfigurationError for those that cannot work."""
    steps = whole_number("threshold_steps", threshold_steps, 0, "0 (exact) or more")
    if expected_examples is not None:
        expected_examples = whole_number("expected_examples", expected_examples, 1, "at least 1, or None")
    return steps, expected_examples


def check_binary(owner: str, labels: NDArray, scratch: Scratch) -> None:
    """Raise DataError unless all labels are 0 or 1; class indices are, as far as each class is concerned."""
    if labels.ndim == 1:
        return
    ones = np.equal(labels, 1, out=scratch.get("label is one", labels.shape, np.bool_))
    if np.count_nonzero(ones) != np.count_nonzero(labels):
        raise DataError(
            f"{owner}: labels must be 0 or 1, but others were found. Round them, or mask out what has no label."
        )


def of_class(labels: NDArray, c: int, scratch: Scratch) -> NDArray:
    """Return which rows (rows,) are of class ``c``, from one column per class or from class indices."""
    positive = scratch.get("positive", labels.shape[:1], np.bool_)
    if labels.ndim == 1:
        return np.equal(labels, c, out=positive)
    return np.equal(labels[:, c], 1, out=positive)


def threshold_note(steps: int) -> list[str]:
    """Return what the reports say of areas from thresholds."""
    return [f"Note: areas from {steps} threshold steps are less accurate than exact ones."] if steps else []
