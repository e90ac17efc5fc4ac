"""Which examples were predicted as what: what a user said about each, by actual and predicted class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Prediction", "RecordedPredictions"]


@dataclass(frozen=True)
class Prediction:
    """One example with metadata: its actual class, the predicted one, and what the user knows it by."""

    actual_class: int
    predicted_class: int
    metadata: Any


class RecordedPredictions:
    """Predictions with metadata, in the order in which they came. Every query gives None if there never was any."""

    def __init__(self) -> None:
        self._predictions: list[Prediction] | None = None

    def add(self, actual: Iterable[int], predicted: Iterable[int], metadata: Sequence[Any]) -> None:
        """Add examples."""
        found = [Prediction(int(a), int(p), m) for a, p, m in zip(actual, predicted, metadata, strict=True)]
        self._predictions = self._predictions or []
        self._predictions.extend(found)

    def merge(self, other: "RecordedPredictions") -> None:
        """Add those of ``other``."""
        if other._predictions is not None:
            found = list(other._predictions)
            self._predictions = self._predictions or []
            self._predictions.extend(found)

    def where(self, actual: int | None = None, predicted: int | None = None) -> list[Prediction] | None:
        """Return those of an actual and a predicted class, None for any."""
        if self._predictions is None:
            return None
        return [
            one
            for one in self._predictions
            if actual in (None, one.actual_class) and predicted in (None, one.predicted_class)
        ]

    def errors(self) -> list[Prediction] | None:
        """Return those of another class than the predicted one."""
        if self._predictions is None:
            return None
        return [one for one in self._predictions if one.actual_class != one.predicted_class]
