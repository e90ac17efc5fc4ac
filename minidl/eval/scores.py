"""What a ROC curve keeps of the examples: all scores, or counts per threshold."""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .counting import count_cells
from .curves import CumulativeCounts, cumulative_counts
from .scratch import Scratch

__all__ = ["AllScores", "ScoreStore", "ThresholdCounts"]

FIRST_BLOCK = 2048  # examples


class ScoreStore(ABC):
    """Scores with their binary labels, in a form that gives cumulative counts."""

    @abstractmethod
    def add(self, scores: NDArray, positive: NDArray, scratch: Scratch) -> None:
        """Add examples: scores (n,), positive (n,) bool; neither is kept."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add copies of the examples of ``other``."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all examples."""

    @abstractmethod
    def cumulative(self) -> CumulativeCounts:
        """Return the counts at every threshold."""

    @abstractmethod
    def totals(self) -> tuple[int, int]:
        """Return how many examples are positive and negative."""


class AllScores(ScoreStore):
    """Every example, in arrays that double when they are full."""

    def __init__(self, expected_examples: int | None) -> None:
        self._expected = FIRST_BLOCK if expected_examples is None else expected_examples
        self._count = 0
        self._scores = np.empty(0, np.float32)
        self._positive = np.empty(0, np.bool_)

    def add(self, scores: NDArray, positive: NDArray, scratch: Scratch) -> None:
        """Append the examples; scores are kept in the widest dtype seen."""
        start, end = self._count, self._count + len(scores)
        self._reserve(end, scores.dtype)
        self._scores[start:end] = scores
        self._positive[start:end] = positive
        self._count = end

    def merge(self, other: Self) -> None:
        """Append copies of the examples of ``other``."""
        self.add(other._scores[: other._count], other._positive[: other._count], Scratch())

    def reset(self) -> None:
        """Forget all examples; the memory stays for the next."""
        self._count = 0

    def cumulative(self) -> CumulativeCounts:
        """Return one point per distinct score."""
        return cumulative_counts(self._scores[: self._count], self._positive[: self._count])

    def totals(self) -> tuple[int, int]:
        """Return how many examples are positive and negative."""
        positives = int(np.count_nonzero(self._positive[: self._count]))
        return positives, self._count - positives

    def _reserve(self, count: int, dtype: DTypeLike) -> None:
        dtype = np.result_type(self._scores.dtype, dtype)
        capacity = len(self._scores)
        if count > capacity:
            capacity = max(count, 2 * capacity, self._expected)
        elif dtype == self._scores.dtype:
            return
        scores, positive = np.empty(capacity, dtype), np.empty(capacity, np.bool_)
        scores[: self._count] = self._scores[: self._count]
        positive[: self._count] = self._positive[: self._count]
        self._scores, self._positive = scores, positive


class ThresholdCounts(ScoreStore):
    """Counts per threshold i / steps, i = 0 to steps, whatever the number of examples.

    A score counts as positive where it reaches the threshold, but at threshold 1 nothing does (as in DL4J).
    Scores and thresholds are compared in the dtype of the scores.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        # [positive * (steps + 1) + number of thresholds below 1 that the score reaches]
        self._counts = [0] * (2 * (steps + 1))
        self._make_thresholds(np.float32)

    def _make_thresholds(self, dtype: DTypeLike) -> None:
        """Make -inf, 0, 1 / steps, ... (steps - 1) / steps, NaN: item i is what a score in cell i reaches."""
        inner = np.arange(self._steps) / self._steps
        self._thresholds = np.concatenate([[-np.inf], inner, [np.nan]]).astype(dtype)  # NaN: none reaches it

    def add(self, scores: NDArray, positive: NDArray, scratch: Scratch) -> None:
        """Count the examples by the thresholds that they reach."""
        if self._thresholds.dtype != scores.dtype:
            self._make_thresholds(scores.dtype)
        work = scratch.get("score work", scores.shape, scores.dtype)
        cells = scratch.get("score cells", scores.shape, np.intp)
        wrong = scratch.get("score wrong", scores.shape, np.bool_)
        np.maximum(scores, 0.0, out=work)
        np.minimum(work, 1.0, out=work)
        np.multiply(work, self._steps, out=work)
        np.copyto(cells, work, casting="unsafe")
        np.minimum(cells, self._steps - 1, out=cells)
        np.add(cells, 1, out=cells)  # right but for rounding, which the next lines undo, and scores below 0
        np.take(self._thresholds, cells, out=work, mode="clip")
        np.less(scores, work, out=wrong)
        np.subtract(cells, 1, out=cells, where=wrong)
        np.take(self._thresholds[1:], cells, out=work, mode="clip")
        np.greater_equal(scores, work, out=wrong)
        np.add(cells, 1, out=cells, where=wrong)
        np.add(cells, self._steps + 1, out=cells, where=positive)
        count_cells(self._counts, cells)

    def merge(self, other: Self) -> None:
        """Add the counts of ``other``."""
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]

    def reset(self) -> None:
        """Set all counts to 0."""
        self._counts = [0] * len(self._counts)

    def cumulative(self) -> CumulativeCounts:
        """Return one point per threshold, by rising threshold."""
        reached = np.array(self._counts).reshape(2, -1)  # negatives, positives
        at_least = np.cumsum(reached[:, ::-1], axis=1)[:, ::-1]
        false_positives, true_positives = np.append(at_least[:, 1:], [[0], [0]], axis=1)
        positives, negatives = self.totals()
        thresholds = np.arange(self._steps + 1) / self._steps
        return CumulativeCounts(thresholds, true_positives, false_positives, positives, negatives)

    def totals(self) -> tuple[int, int]:
        """Return how many examples are positive and negative."""
        half = len(self._counts) // 2
        return sum(self._counts[half:]), sum(self._counts[:half])
