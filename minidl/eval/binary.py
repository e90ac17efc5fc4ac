"""Classification metrics of independent binary outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError, ShapeError
from .base import BaseEvaluation
from .counting import column_sums
from .inputs import Accepted, Rows, check_probabilities
from .metrics import BinaryCounts, checked_class, plural
from .options import class_names, thresholds, whole_number
from .output_metrics import OutputMetrics
from .predictions import Prediction, RecordedPredictions
from .report import decimal, label_width, table_row
from .roc import check_binary, checked_roc_options
from .roc_columns import ROCBinary, one_hot
from .states import counts_of

__all__ = ["EvaluationBinary"]


class EvaluationBinary(OutputMetrics, BaseEvaluation):
    """Accuracy, precision, recall, F1 and others of each of several binary outputs (DL4J: EvaluationBinary).

    Labels are 0 or 1, predictions probabilities; output i is predicted 1 where its probability exceeds its threshold.
    Masks may be per output, and what they leave out may be NaN. Unlike in DL4J, ``reset`` clears everything, and
    ``merge`` copies.

    Parameters
    ----------
    num_outputs
        Taken from the first batch if not given.
    roc_binary_steps
        Also keep a ROCBinary of so many threshold steps, 0 for an exact one, as ``roc_binary``.
    threshold
        One for all outputs, or one for each; 0.5 if not given.
    labels
        Names of the outputs.
    axis
        The axis of the outputs in labels and predictions.
    """

    _accepted = Accepted(class_indices=False, output_masks=True)

    def __init__(
        self,
        num_outputs: int | None = None,
        roc_binary_steps: int | None = None,
        *,
        threshold: float | Sequence[float] | None = None,
        labels: Sequence[str] | None = None,
        axis: int = 1,
    ) -> None:
        super().__init__(axis)
        if roc_binary_steps is not None:
            roc_binary_steps, _ = checked_roc_options(roc_binary_steps, None)
        self.roc_binary_steps = roc_binary_steps
        self.labels = class_names(labels)
        self.threshold = None if threshold is None else thresholds(threshold)
        self._threshold_row = np.array(self.threshold if isinstance(self.threshold, tuple) else ())
        self._fixed_outputs = self._agreed_outputs(num_outputs)
        self.reset()

    def _agreed_outputs(self, num_outputs: int | None) -> int | None:
        """Return the number of outputs that the options tell, None where they do not."""
        if num_outputs is not None:
            num_outputs = whole_number("num_outputs", num_outputs, 1, "at least 1, or None")
        told = {
            "num_outputs": num_outputs,
            "labels": len(self.labels) or None,
            "threshold": len(self._threshold_row) or None,
        }
        given = {name: count for name, count in told.items() if count is not None}
        if len(set(given.values())) > 1:
            what = ", ".join(f"{name} for {count}" for name, count in given.items())
            raise ConfigurationError(f"the options are for different numbers of outputs: {what}. Make them agree.")
        return next(iter(given.values()), None)

    def eval(
        self,
        labels: ArrayLike,
        predictions: ArrayLike,
        mask: ArrayLike | None = None,
        metadata: Sequence[Any] | None = None,
    ) -> None:
        """Add one batch, as ``BaseEvaluation.eval``; with ``metadata``, one item for each example, which is kept.

        ``get_prediction_errors`` gives the items back; JSON and ``==`` leave them out.
        """
        self._add(labels, predictions, mask, metadata)

    def reset(self) -> None:
        """Forget all batches; options and label names stay."""
        self._num_outputs = self._fixed_outputs
        self._make_counts()
        self._roc = None
        if self.roc_binary_steps is not None:
            self._roc = ROCBinary(self.roc_binary_steps, labels=self.labels)
            self._roc._scratch = self._scratch
        self._recorded: list[RecordedPredictions] = []

    def _make_counts(self) -> None:
        """Make the counts (4, outputs) of tp, fp, tn and fn: float64, which holds those below 2^53 exactly."""
        self._counts = np.zeros((len(BinaryCounts._fields), self._num_outputs or 0))

    def _check(self, rows: Rows) -> None:
        self._check_width(rows.predictions.shape[1])
        check_binary("EvaluationBinary", rows.labels, self._scratch)
        check_probabilities("EvaluationBinary", rows.predictions)

    def _accumulate(self, rows: Rows) -> None:
        predictions, scratch = rows.predictions, self._scratch
        positive = one_hot(rows, scratch)
        predicted = np.greater(predictions, self._thresholds(predictions), out=scratch.get_like("predicted", positive))
        if rows.kept is not None:
            np.logical_and(predicted, rows.kept, out=predicted)
        hit = np.logical_and(positive, predicted, out=scratch.get_like("hit", positive))
        self._start(predictions.shape[1])
        self._count(hit, predicted, positive, rows.kept)
        if self._roc is not None:
            self._roc._accumulate(rows)
        if rows.metadata is not None:
            self._record(rows, positive, predicted)

    def _check_width(self, width: int) -> None:
        if self._num_outputs not in (None, width):
            raise self._other_width(self._num_outputs or 0, "output", width, self.labels)

    def _thresholds(self, predictions: NDArray) -> float | NDArray:
        if not isinstance(self.threshold, tuple):
            return 0.5 if self.threshold is None else self.threshold
        return self._scratch.repeated("thresholds", self._threshold_row, len(predictions), predictions.dtype)

    def _start(self, outputs: int) -> None:
        if self._num_outputs is None:
            self._num_outputs = outputs
            self._make_counts()

    def _count(self, hit: NDArray, predicted: NDArray, positive: NDArray, kept: NDArray | None) -> None:
        """Add flags (rows, outputs): label and prediction are 1, the prediction is, the label is, it is not masked."""
        hits = column_sums("hits", hit, self._scratch)
        false = column_sums("predicted as 1", predicted, self._scratch)
        missed = column_sums("labels of 1", positive, self._scratch)
        others = self._scratch.get_like("others", hits)
        if kept is None:
            others.fill(len(hit))
        else:
            np.copyto(others, column_sums("kept", kept, self._scratch))
        np.subtract(false, hits, out=false)
        np.subtract(missed, hits, out=missed)
        for part in hits, false, missed:
            np.subtract(others, part, out=others)
        for counts, batch in zip(self._counts, (hits, false, others, missed), strict=True):
            np.add(counts, batch, out=counts)

    def _record(self, rows: Rows, positive: NDArray, predicted: NDArray) -> None:
        if not self._recorded:
            self._recorded = [RecordedPredictions() for _ in range(positive.shape[1])]
        metadata = rows.metadata or ()
        for i, recorded in enumerate(self._recorded):
            kept = np.arange(len(metadata)) if rows.kept is None else np.flatnonzero(rows.kept[:, i])
            recorded.add(positive[kept, i], predicted[kept, i], [metadata[row] for row in kept.tolist()])

    def merge(self, other: "EvaluationBinary") -> None:
        """Add copies of the counts of ``other``, and take its label names if there are none here.

        Raises ConfigurationError for another ``threshold`` or ``roc_binary_steps``, ShapeError for another number of
        outputs.
        """
        self._check_same_options(other, "threshold", "roc_binary_steps")
        if None not in (self._num_outputs, other._num_outputs) and self._num_outputs != other._num_outputs:
            raise ShapeError(
                f"cannot merge an EvaluationBinary of {plural(other._num_outputs or 0, 'output')} into one of "
                f"{self._num_outputs}. Merge evaluations of the same outputs only."
            )
        if other._num_outputs is not None:
            self._start(other._num_outputs)
            self._counts += other._counts
        if self._roc is not None and other._roc is not None:
            self._roc.merge(other._roc)
        if other._recorded:
            self._recorded = self._recorded or [RecordedPredictions() for _ in other._recorded]
            for mine, theirs in zip(self._recorded, other._recorded, strict=True):
                mine.merge(theirs)
        if not self.labels:
            self.labels = other.labels
            self._fixed_outputs = self._fixed_outputs or len(self.labels) or None
            if self._roc is not None:
                self._roc.labels = self.labels

    @property
    def num_outputs(self) -> int | None:
        """Number of outputs, None while it is unknown."""
        return self._num_outputs

    @property
    def roc_binary(self) -> ROCBinary | None:
        """The ROC curves of the outputs, None without ``roc_binary_steps``."""
        return self._roc

    def counts(self, output: int) -> BinaryCounts:
        """Return tp, fp, tn and fn of one output."""
        if not self._counts.any():
            raise self._no_data()
        column = self._counts[:, checked_class(output, self._counts.shape[1], "output")]
        return BinaryCounts(*map(int, column.tolist()))

    def _average(self, metric: Callable[[int], float]) -> float:
        if not self._counts.any():
            raise self._no_data()
        return float(np.mean([metric(i) for i in range(self._num_outputs or 0)]))

    def get_prediction_errors(self, output: int) -> list[Prediction] | None:
        """Return the examples with metadata for which an output was wrong; None if there never was metadata."""
        if self._num_outputs is not None:
            output = checked_class(output, self._num_outputs, "output")
        return self._recorded[output].errors() if self._recorded else None

    def stats(self) -> str:
        """Return a table of the outputs."""
        names = self.labels or tuple(map(str, range(self._num_outputs or 0)))
        columns: tuple[str, ...] = ("Label", "Accuracy", "F1", "Precision", "Recall", "Total", "TP", "TN", "FP", "FN")
        widths: tuple[int, ...] = (label_width(names), 12, 12, 12, 12, 8, 7, 7, 7, 7)
        if self._roc is not None:
            columns, widths = (*columns, "AUC"), (*widths, 12)
        lines = [table_row(columns, widths)]
        if not self._counts.any():
            return "\n".join([*lines, "-- No Data --"])
        for i, name in enumerate(names):
            tp, fp, tn, fn = self.counts(i)
            values = [decimal(metric(i)) for metric in (self.accuracy, self.f1, self.precision, self.recall)]
            area = [] if self._roc is None else [decimal(self._roc.calculate_auc(i))]
            lines.append(table_row((name, *values, self.total_count(i), tp, tn, fp, fn, *area), widths))
        if isinstance(self.threshold, tuple):
            lines.append(f"Per-output decision thresholds: {list(self.threshold)}")
        return "\n".join(lines)

    def _options(self) -> dict[str, Any]:
        return {
            "num_outputs": self._fixed_outputs,
            "roc_binary_steps": self.roc_binary_steps,
            "threshold": list(self.threshold) if isinstance(self.threshold, tuple) else self.threshold,
            "labels": list(self.labels),
        }

    def _state(self) -> dict[str, Any]:
        counts = dict(zip(BinaryCounts._fields, self._counts.astype(int).tolist(), strict=True))
        return {"outputs": self._num_outputs, **counts, "roc": None if self._roc is None else self._roc._state()}

    def _counted(self) -> Any:
        return self._num_outputs, self._counts.tolist(), None if self._roc is None else self._roc._counted()

    def _set_state(self, state: dict[str, Any]) -> None:
        if type(state["outputs"]) not in (int, type(None)):
            raise ValueError(f"outputs is {state['outputs']!r}")
        self._check_width(state["outputs"] or self._fixed_outputs or 0)
        self._num_outputs = state["outputs"]
        counts = [counts_of(state, name, self._num_outputs or 0) for name in BinaryCounts._fields]
        self._counts = np.array(counts, np.float64).reshape(len(counts), -1)
        if self._roc is not None:
            self._roc._set_state(state["roc"])
