"""Losses and their derivatives, in place, without allocating. Formulas and clipping are DL4J's."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..options import named_option
from .activation_base import Activation
from .activations import Sigmoid, Softmax
from .class_indices import expand_class_indices
from .loss_base import ElementwiseLoss, Loss
from .scratch import Empty, broadcast_into_scratch, same_layout, scratch_like

__all__ = [
    "ElementwiseLoss",
    "L1",
    "L2",
    "LOSSES",
    "Loss",
    "MCXENT",
    "MSE",
    "SparseMCXENT",
    "XENT",
    "expand_class_indices",
    "loss",
]

_SMALLEST_PROBABILITY = 1e-10
_SMALLEST_BINARY_PROBABILITY = 1e-5


@dataclass(frozen=True)
class L2(ElementwiseLoss):
    """Sum of squared errors, (a - y)^2. DL4J: LossL2."""

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        return np.multiply(out, out, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        return np.multiply(out, 2.0, out=out)


@dataclass(frozen=True)
class MSE(ElementwiseLoss):
    """Mean squared error, (a - y)^2 / n_out. DL4J: LossMSE, SQUARED_LOSS."""

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        np.multiply(out, out, out=out)
        return np.divide(out, output.shape[1], out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        return np.multiply(out, 2.0 / output.shape[1], out=out)


@dataclass(frozen=True)
class L1(ElementwiseLoss):
    """Sum of absolute errors, |a - y|. DL4J: LossL1."""

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        return np.absolute(out, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        return np.sign(out, out=out)


@dataclass(frozen=True)
class XENT(ElementwiseLoss):
    """Binary cross entropy of each output, -(y log a + (1 - y) log(1 - a)). DL4J: LossBinaryXENT.

    The score clips a to [1e-5, 1 - 1e-5]. Behind a sigmoid the gradient is a - y, never clipped.
    """

    fused_with: ClassVar[tuple[type[Activation], ...]] = (Sigmoid,)
    label_kind: ClassVar[str] = "probabilities"

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        smallest = _SMALLEST_BINARY_PROBABILITY
        clipped = np.clip(output, smallest, 1 - smallest, out=scratch_like(output, empty))
        np.log(clipped, out=out)
        np.multiply(out, labels, out=out)
        log_complement = np.log1p(np.negative(clipped, out=clipped), out=clipped)
        complement = np.subtract(1.0, labels, out=scratch_like(output, empty))
        np.multiply(log_complement, complement, out=log_complement)
        np.add(out, log_complement, out=out)
        return np.negative(out, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        variance = np.subtract(1.0, output, out=scratch_like(output, empty))  # (a - y) / (a (1 - a))
        np.multiply(variance, output, out=variance)
        np.clip(variance, _SMALLEST_PROBABILITY, 1.0, out=variance)
        np.subtract(output, labels, out=out)
        return np.divide(out, variance, out=out)

    def gradient_at_preactivation(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        labels, output = same_layout(labels, out, empty), same_layout(output, out, empty)
        np.subtract(output, labels, out=out)
        return self.weigh(out, mask=mask, empty=empty)


@dataclass(frozen=True)
class MCXENT(ElementwiseLoss):
    """Multi-class cross entropy, -y log a. DL4J: LossMCXENT, LossNegativeLogLikelihood.

    The score clips a to [1e-10, 1 - 1e-10]. Behind a softmax the gradient is a - y, never clipped, also for a
    row of labels without a class. Where weights, or a mask of every output, make factors w of the elements,
    it is a sum(w y) - w y.
    """

    fused_with: ClassVar[tuple[type[Activation], ...]] = (Softmax,)
    label_kind: ClassVar[str] = "classes"

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.clip(output, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY, out=out)
        np.log(out, out=out)
        np.multiply(out, labels, out=out)
        return np.negative(out, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        divisor = np.clip(output, _SMALLEST_PROBABILITY, 1.0, out=scratch_like(output, empty))
        np.divide(labels, divisor, out=out)
        return np.negative(out, out=out)

    def gradient_at_preactivation(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        labels, output = same_layout(labels, out, empty), same_layout(output, out, empty)
        per_output_mask = mask is not None and mask.shape == output.shape and output.shape[1] > 1
        if self.weights is None and not per_output_mask:
            np.subtract(output, labels, out=out)
            return self.weigh(out, mask=mask, empty=empty)
        weighted = scratch_like(output, empty)
        np.copyto(weighted, labels)
        self.weigh(weighted, mask=mask, empty=empty)
        total = np.add.reduce(weighted, axis=1, keepdims=True, out=empty((len(output), 1), output.dtype))
        np.multiply(output, broadcast_into_scratch(total, output, empty), out=out)
        return np.subtract(out, weighted, out=out)


@dataclass(frozen=True)
class SparseMCXENT(MCXENT):
    """MCXENT of labels given as class indices, which the network expands. DL4J: LossSparseMCXENT."""


LOSSES: dict[str, type[Loss]] = {
    "l1": L1,
    "l2": L2,
    "mcxent": MCXENT,
    "mse": MSE,
    "negativeloglikelihood": MCXENT,
    "sparse_mcxent": SparseMCXENT,
    "squared_loss": MSE,
    "xent": XENT,
}


def loss(value: object) -> Loss:
    """Return the loss that ``value`` is (an object or a class) or names, as in ``loss("mcxent")``.

    Raises ConfigurationError that lists what exists.
    """
    return named_option(Loss, LOSSES, value, "loss")  # type: ignore[type-abstract]
