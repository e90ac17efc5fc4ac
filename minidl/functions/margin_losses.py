"""Losses of labels -1 and 1, which ask for a margin between the two. Formulas are DL4J's."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .activation_base import positive_part
from .loss_base import ElementwiseLoss
from .scratch import Empty

__all__ = ["Hinge", "SquaredHinge", "Wasserstein"]


@dataclass(frozen=True)
class Hinge(ElementwiseLoss):
    """Hinge, max(0, 1 - a y). DL4J: LossHinge, which has no weights.

    Labels are -1 and 1, never 0 and 1: a label of 0 has no gradient.
    """

    label_kind: ClassVar[str] = "signs"

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        return _missing_margin(labels, output, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        _missing_margin(labels, output, out=out)  # -y where 1 - a y > 0
        np.clip(out, 0.0, 1.0, out=out)
        np.ceil(out, out=out)
        np.multiply(out, labels, out=out)
        return np.negative(out, out=out)


@dataclass(frozen=True)
class SquaredHinge(ElementwiseLoss):
    """Squared hinge, max(0, 1 - a y)^2. DL4J: LossSquaredHinge, which has no weights.

    Labels are -1 and 1, never 0 and 1: a label of 0 has no gradient.
    """

    label_kind: ClassVar[str] = "signs"

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        _missing_margin(labels, output, out=out)
        return np.multiply(out, out, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        _missing_margin(labels, output, out=out)  # -2 y max(0, 1 - a y)
        np.multiply(out, labels, out=out)
        return np.multiply(out, -2.0, out=out)


def _missing_margin(labels: np.ndarray, output: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Return max(0, 1 - a y)."""
    np.multiply(output, labels, out=out)
    np.subtract(1.0, out, out=out)
    return positive_part(out, out=out)


@dataclass(frozen=True)
class Wasserstein(ElementwiseLoss):
    """Wasserstein loss of a critic, a y for labels of -1 and 1. DL4J: LossWasserstein, which has no weights.

    It is summed over the outputs, of which DL4J takes the mean.
    Arjovsky et al. (2017), https://arxiv.org/abs/1701.07875.
    """

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        return np.multiply(output, labels, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.copyto(out, labels)
        return out
