"""What all evaluations have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigurationError
from .inputs import BatchReader
from .scratch import Scratch

__all__ = ["BaseEvaluation", "check_evaluations"]


class BaseEvaluation(ABC):
    """Counts that grow batch by batch and give metrics at any time (DL4J: IEvaluation).

    A subclass implements ``_accumulate``, ``reset``, ``merge`` and ``stats``. It keeps counts, never an array
    it was handed: labels and predictions may be views into recycled memory.
    """

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._reader = BatchReader(type(self).__name__, self._scratch)

    def eval(self, labels: ArrayLike, predictions: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Add one batch.

        Shapes: predictions (batch, n_out) or (batch, n_out, time); labels the same, or integer class indices
        (batch,) or (batch, time); mask (batch,) or (batch, 1), with time (batch, time). Masked rows are left
        out; a fully masked batch changes nothing. After the first batch of its size it allocates no arrays
        (exact ROC: as long as ``expected_examples`` is not exceeded).

        Raises ShapeError, DataError or DtypeError, and then leaves the counts as they were.
        """
        rows = self._reader.read(labels, predictions, mask)
        if rows is not None:
            self._accumulate(rows.labels, rows.predictions)

    @abstractmethod
    def _accumulate(self, labels: NDArray, predictions: NDArray) -> None:
        """Add dense rows: labels (rows, n_out) or class indices (rows,), predictions (rows, n_out).

        Both are C-contiguous, without NaN, and belong to this call only. Check before a count changes.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget all batches; options and label names stay."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add the counts of ``other``, as if its batches had come here too; ``other`` stays as it is."""

    @abstractmethod
    def stats(self) -> str:
        """Return the report as text."""

    def _check_same_options(self, other: "BaseEvaluation", *options: str) -> None:
        if type(other) is not type(self):
            raise ConfigurationError(
                f"cannot merge {type(other).__name__} into {type(self).__name__}. Merge evaluations of one class only."
            )
        for option in options:
            mine, theirs = getattr(self, option), getattr(other, option)
            if mine != theirs:
                raise ConfigurationError(
                    f"cannot merge {type(self).__name__} with {option}={theirs} into one with "
                    f"{option}={mine}: the counts differ in meaning. Create both with the same {option}."
                )


def check_evaluations(evaluations: Sequence[object]) -> None:
    """Raise ConfigurationError unless there is at least one, and each is an evaluation."""
    for evaluation in evaluations:
        if not isinstance(evaluation, BaseEvaluation):
            raise ConfigurationError(f"{evaluation!r} is not an evaluation. Pass objects such as Evaluation(), ROC().")
    if not evaluations:
        raise ConfigurationError("do_evaluation() got no evaluations. Pass some: do_evaluation(data, Evaluation()).")
