"""Losses and their derivatives, in place, without allocating. Formulas and clipping are DL4J's."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..options import named_option
from .activation_base import Activation
from .activations import Sigmoid, Softmax
from .class_indices import expand_class_indices
from .loss_base import ElementwiseLoss, Loss, whole_mask
from .margin_losses import Hinge, SquaredHinge, Wasserstein
from .regression_losses import L1, L2, MAE, MAPE, MSE, MSLE, CosineProximity, Poisson
from .scratch import Empty, broadcast_into_scratch, same_layout, scratch_like

__all__ = [
    "CosineProximity",
    "ElementwiseLoss",
    "Hinge",
    "KLDivergence",
    "L1",
    "L2",
    "LOSSES",
    "Loss",
    "MAE",
    "MAPE",
    "MCXENT",
    "MSE",
    "MSLE",
    "Poisson",
    "SparseMCXENT",
    "SquaredHinge",
    "Wasserstein",
    "XENT",
    "expand_class_indices",
    "loss",
    "whole_mask",
]

_SMALLEST_PROBABILITY = 1e-10
_SMALLEST_BINARY_PROBABILITY = 1e-5
_SMALLEST_OF_DIVERGENCE = 1e-5


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
        total = empty((len(output), 1, *output.shape[2:]), output.dtype)
        np.add.reduce(weighted, axis=1, keepdims=True, out=total)
        np.multiply(output, broadcast_into_scratch(total, output, empty), out=out)
        return np.subtract(out, weighted, out=out)


@dataclass(frozen=True)
class SparseMCXENT(MCXENT):
    """MCXENT of labels given as class indices, which the network expands. DL4J: LossSparseMCXENT."""


@dataclass(frozen=True)
class KLDivergence(ElementwiseLoss):
    """Kullback-Leibler divergence, y log(y / a). DL4J: LossKLD, RECONSTRUCTION_CROSSENTROPY.

    The score clips both to [1e-5, 1]; the gradient is -y / a with a at least 1e-10. DL4J has no weights here.
    """

    label_kind: ClassVar[str] = "probabilities"

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        y = np.clip(labels, _SMALLEST_OF_DIVERGENCE, 1.0, out=scratch_like(output, empty))
        np.clip(output, _SMALLEST_OF_DIVERGENCE, 1.0, out=out)
        np.divide(y, out, out=out)
        np.log(out, out=out)
        return np.multiply(out, y, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        divisor = np.clip(output, _SMALLEST_PROBABILITY, math.inf, out=scratch_like(output, empty))
        np.divide(labels, divisor, out=out)
        return np.negative(out, out=out)


LOSSES: dict[str, type[Loss]] = {
    "cosine_proximity": CosineProximity,
    "hinge": Hinge,
    "kl_divergence": KLDivergence,
    "l1": L1,
    "l2": L2,
    "mcxent": MCXENT,
    "mean_absolute_error": MAE,
    "mean_absolute_percentage_error": MAPE,
    "mean_squared_logarithmic_error": MSLE,
    "mse": MSE,
    "negativeloglikelihood": MCXENT,
    "poisson": Poisson,
    "reconstruction_crossentropy": KLDivergence,
    "sparse_mcxent": SparseMCXENT,
    "squared_hinge": SquaredHinge,
    "squared_loss": MSE,
    "wasserstein": Wasserstein,
    "xent": XENT,
}


def loss(value: object) -> Loss:
    """Return the loss that ``value`` is (an object or a class) or names, as in ``loss("mcxent")``.

    Raises ConfigurationError that lists what exists.
    """
    return named_option(Loss, LOSSES, value, "loss")  # type: ignore[type-abstract]
