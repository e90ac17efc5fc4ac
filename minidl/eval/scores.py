"""What ROC curves keep of the examples: all scores, or counts per threshold; for one output or several."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .counting import Bins, count_cells
from .curves import CumulativeCounts, cumulative_counts
from .scratch import Scratch
from .states import counts_of, packed, unpacked

__all__ = ["AllScores", "ScoreStore", "ThresholdCounts", "score_store"]

FIRST_BLOCK = 2048  # examples
LEFT_OUT = 2


class ScoreStore(ABC):
    """Scores with their binary labels, in a form that gives cumulative counts, for each of ``columns`` outputs."""

    def __init__(self, columns: int) -> None:
        self.columns = columns

    @abstractmethod
    def add(self, scores: NDArray, positive: NDArray, kept: NDArray | None, scratch: Scratch) -> None:
        """Add examples: scores (n, columns) of 0 to 1, positive and kept (n, columns) bool; none of them is kept."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Add copies of the examples of ``other``."""

    @abstractmethod
    def reset(self) -> None:
        """Forget all examples; the memory stays for the next."""

    @abstractmethod
    def cumulative(self, column: int) -> CumulativeCounts:
        """Return the counts at every threshold."""

    @abstractmethod
    def totals(self, column: int) -> tuple[int, int]:
        """Return how many examples are positive and negative."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what was counted, as JSON knows it."""

    def counted(self) -> Any:
        """Return what was counted, the same for the same examples in any order."""
        return self.state()

    @abstractmethod
    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; raise ValueError for anything else."""


def score_store(threshold_steps: int, expected_examples: int | None, columns: int) -> ScoreStore:
    """Return an empty store: an exact one for no ``threshold_steps``."""
    return ThresholdCounts(threshold_steps, columns) if threshold_steps else AllScores(expected_examples, columns)


class _Block:
    """Room for some examples: a score and a byte for its label, for each of some columns."""

    def __init__(self, columns: int, capacity: int, dtype: DTypeLike) -> None:
        # filled, so that the system gives all pages now, and not in the middle of a later batch
        self.scores = np.full((columns, capacity), np.nan, dtype)
        self.outcomes = np.full((columns, capacity), LEFT_OUT, np.int8)  # or 0 or 1
        self.count = 0

    @property
    def room(self) -> int:
        return self.scores.shape[1] - self.count


class AllScores(ScoreStore):
    """Every example, in blocks; a new one, as large as all others together, is made when they are full."""

    def __init__(self, expected_examples: int | None, columns: int) -> None:
        super().__init__(columns)
        self._first_block = FIRST_BLOCK if expected_examples is None else expected_examples
        self._blocks: list[_Block] = []

    def add(self, scores: NDArray, positive: NDArray, kept: NDArray | None, scratch: Scratch) -> None:
        """Append the examples; a block keeps scores of its own dtype or a narrower one."""
        outcomes = scratch.get("outcomes", scores.shape, np.int8)
        np.copyto(outcomes, positive)
        if kept is not None:
            left_out = np.logical_not(kept, out=scratch.get("left out", kept.shape, np.bool_))
            np.copyto(outcomes, LEFT_OUT, where=left_out)
        inside = np.minimum(scores, 1, out=scratch.get_like("scores inside", scores))
        np.maximum(inside, 0, out=inside)  # rounding may have left [0, 1], where curves begin and end
        start = 0
        for block in self._blocks_for(len(scores), scores.dtype):
            end = min(len(scores), start + block.room)
            into = slice(block.count, block.count + end - start)
            np.copyto(block.scores[:, into], inside[start:end].T)
            np.copyto(block.outcomes[:, into], outcomes[start:end].T)
            block.count += end - start
            start = end

    def _blocks_for(self, examples: int, dtype: np.dtype) -> list[_Block]:
        """Return blocks with room for that many examples, made before anything is written."""
        found, room = [], 0
        for block in self._blocks:
            if room < examples and block.room and np.can_cast(dtype, block.scores.dtype, "safe"):
                found.append(block)
                room += block.room
        if room < examples:
            present = sum(block.scores.shape[1] for block in self._blocks)
            found.append(_Block(self.columns, max(examples - room, present, self._first_block), dtype))
            self._blocks.append(found[-1])
        return found

    def merge(self, other: Self) -> None:
        """Append copies of the examples of ``other``."""
        for scores, outcomes in [(block.scores[:, : block.count], block.outcomes) for block in other._blocks]:
            outcomes = outcomes[:, : scores.shape[1]]
            self.add(scores.T.copy(), (outcomes == 1).T, (outcomes != LEFT_OUT).T, Scratch())

    def reset(self) -> None:
        """Forget all examples; the memory stays for the next."""
        for block in self._blocks:
            block.count = 0

    def cumulative(self, column: int) -> CumulativeCounts:
        """Return one point per distinct score."""
        scores, outcomes = self._of(column)
        kept = outcomes != LEFT_OUT
        return cumulative_counts(scores[kept], outcomes[kept] == 1)

    def totals(self, column: int) -> tuple[int, int]:
        """Return how many examples are positive and negative."""
        outcomes = [block.outcomes[column, : block.count] for block in self._blocks]
        positives, negatives = (sum(int(np.count_nonzero(part == kind)) for part in outcomes) for kind in (1, 0))
        return positives, negatives

    def _of(self, column: int) -> tuple[NDArray, NDArray]:
        """Return scores (examples,), in the widest dtype seen, and outcomes."""
        filled = [block for block in self._blocks if block.count]
        scores = [block.scores[column, : block.count] for block in filled] or [np.empty(0, np.float32)]
        outcomes = [block.outcomes[column, : block.count] for block in filled] or [np.empty(0, np.int8)]
        return np.concatenate(scores), np.concatenate(outcomes)

    def counted(self) -> Any:
        """Return the sorted scores of negative and positive examples, by column."""
        columns = [self._of(column) for column in range(self.columns)]
        return [[np.sort(s[o == kind].astype(np.float64)).tolist() for kind in (0, 1)] for s, o in columns]

    def state(self) -> dict[str, Any]:
        """Return scores and outcomes (columns, examples): 0 and 1, and 2 for an output that a mask left out."""
        columns = [self._of(column) for column in range(self.columns)]
        scores, outcomes = (np.stack(arrays) for arrays in zip(*columns, strict=True))
        return {"scores": packed(scores), "outcomes": packed(outcomes)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; raise ValueError for anything else."""
        scores, outcomes = unpacked(state, "scores"), unpacked(state, "outcomes")
        if scores.ndim != 2 or scores.dtype.kind != "f" or len(scores) != self.columns:
            raise ValueError(f"scores are no {self.columns} rows of numbers")
        if outcomes.shape != scores.shape or outcomes.dtype != np.int8 or not np.isin(outcomes, (0, 1, LEFT_OUT)).all():
            raise ValueError("outcomes are not 0, 1 or 2 for each score")
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("scores are not between 0 and 1")
        if scores.size:
            self.add(scores.T, (outcomes == 1).T, (outcomes != LEFT_OUT).T, Scratch())


class ThresholdCounts(ScoreStore):
    """Counts per threshold i / steps, i = 0 to steps, whatever the number of examples.

    A score counts as positive where it reaches the threshold, but at threshold 1 nothing does (as in DL4J).
    Scores and thresholds are compared in the dtype of the scores.
    """

    def __init__(self, steps: int, columns: int) -> None:
        super().__init__(columns)
        self._steps = steps
        self._bins = Bins(steps)  # a score in bin j reaches the thresholds 0 to j
        self._starts = np.arange(columns) * (2 * steps)
        # [(column * 2 + positive) * steps + bin], and last a place for what masks left out
        self._counts = np.zeros(2 * steps * columns + 1, np.int64)

    def add(self, scores: NDArray, positive: NDArray, kept: NDArray | None, scratch: Scratch) -> None:
        """Count the examples by the thresholds that they reach."""
        cells = self._bins.cells(scores, scratch)
        np.add(cells, scratch.repeated("starts of columns", self._starts, len(scores)), out=cells)
        np.add(cells, self._steps, out=cells, where=positive)
        if kept is not None:
            left_out = np.logical_not(kept, out=scratch.get("left out", kept.shape, np.bool_))
            np.copyto(cells, len(self._counts) - 1, where=left_out)
        count_cells(self._counts, cells.reshape(-1))
        self._counts[-1] = 0

    def merge(self, other: Self) -> None:
        """Add the counts of ``other``."""
        self._counts += other._counts

    def reset(self) -> None:
        """Set all counts to 0."""
        self._counts.fill(0)

    def cumulative(self, column: int) -> CumulativeCounts:
        """Return one point per threshold, by rising threshold."""
        at_least = np.cumsum(self._reached(column)[:, ::-1], axis=1)[:, ::-1]
        false_positives, true_positives = np.append(at_least, [[0], [0]], axis=1)
        positives, negatives = self.totals(column)
        thresholds = np.arange(self._steps + 1) / self._steps
        return CumulativeCounts(thresholds, true_positives, false_positives, positives, negatives)

    def _reached(self, column: int) -> NDArray:
        """Return the counts (2, steps) of negative and positive examples by bin."""
        start = 2 * self._steps * column
        return self._counts[start : start + 2 * self._steps].reshape(2, -1)

    def totals(self, column: int) -> tuple[int, int]:
        """Return how many examples are positive and negative."""
        negatives, positives = self._reached(column).sum(axis=1).tolist()
        return positives, negatives

    def state(self) -> dict[str, Any]:
        """Return the counts by column, label and bin."""
        return {"counts": self._counts[:-1].tolist()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` returned; raise ValueError for anything else."""
        self._counts[:-1] = counts_of(state, "counts", len(self._counts) - 1)
