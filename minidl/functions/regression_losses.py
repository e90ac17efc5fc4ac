"""Losses of numbers: distances between what was wanted and what came. Formulas are DL4J's."""

import math
from dataclasses import dataclass

import numpy as np

from .loss_base import ElementwiseLoss, Loss, sum_per_example
from .scratch import Empty, broadcast_into_scratch, same_layout, scratch_like

__all__ = ["CosineProximity", "L1", "L2", "MAE", "MAPE", "MSE", "MSLE", "Poisson"]

_SMALLEST_LABEL = 1e-7
_SMALLEST_LOGARITHM_ARGUMENT = 1e-7
_SMALLEST_RATE = 1e-10
_SMALLEST_NORM = 1e-5


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
class MAE(ElementwiseLoss):
    """Mean absolute error, |a - y| / n_out. DL4J: LossMAE."""

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        np.absolute(out, out=out)
        return np.divide(out, output.shape[1], out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        np.sign(out, out=out)
        return np.divide(out, output.shape[1], out=out)


@dataclass(frozen=True)
class MAPE(ElementwiseLoss):
    """Mean absolute percentage error, 100 / n_out |(a - y) / y|. DL4J: LossMAPE.

    |y| is at least 1e-7 as divisor, as in Keras, where DL4J would divide by zero.
    """

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        np.absolute(out, out=out)
        return self._divide(out, labels, empty)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        np.subtract(output, labels, out=out)
        np.sign(out, out=out)
        return self._divide(out, labels, empty)

    def _divide(self, values: np.ndarray, labels: np.ndarray, empty: Empty) -> np.ndarray:
        """Turn values into 100 / n_out values / |y|, in place."""
        divisor = np.absolute(labels, out=scratch_like(values, empty))
        np.clip(divisor, _SMALLEST_LABEL, math.inf, out=divisor)
        np.divide(values, divisor, out=values)
        return np.multiply(values, 100.0 / values.shape[1], out=values)


@dataclass(frozen=True)
class MSLE(ElementwiseLoss):
    """Mean squared logarithmic error, log((1 + a) / (1 + y))^2 / n_out. DL4J: LossMSLE.

    1 + a and 1 + y are at least 1e-7.
    """

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        _log1p_of(output, out=out)
        np.subtract(out, _log1p_of(labels, out=scratch_like(output, empty)), out=out)
        np.multiply(out, out, out=out)
        return np.divide(out, output.shape[1], out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        # 2 / n_out log((1 + a) / (1 + y)) / (1 + a)
        _log1p_of(output, out=out)
        scratch = _log1p_of(labels, out=scratch_like(output, empty))
        np.subtract(out, scratch, out=out)
        np.clip(output, _SMALLEST_LOGARITHM_ARGUMENT - 1.0, math.inf, out=scratch)
        np.add(scratch, 1.0, out=scratch)
        np.divide(out, scratch, out=out)
        return np.multiply(out, 2.0 / output.shape[1], out=out)


def _log1p_of(values: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Return log(1 + values)."""
    np.clip(values, _SMALLEST_LOGARITHM_ARGUMENT - 1.0, math.inf, out=out)
    return np.log1p(out, out=out)


@dataclass(frozen=True)
class Poisson(ElementwiseLoss):
    """Negative log likelihood of counts y at rate a, without its constant, a - y log a. DL4J: LossPoisson.

    a is at least 1e-10 in the logarithm and as divisor. DL4J has no weights here.
    """

    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        _rates(output, out=out)
        np.log(out, out=out)
        np.multiply(out, labels, out=out)
        return np.subtract(output, out, out=out)

    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        _rates(output, out=out)  # 1 - y / a
        np.divide(labels, out, out=out)
        return np.subtract(1.0, out, out=out)


def _rates(output: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    return np.clip(output, _SMALLEST_RATE, math.inf, out=out)


@dataclass(frozen=True)
class CosineProximity(Loss):
    """Cosine of the angle between output and labels, negated, -(a . y) / (|a| |y|). DL4J: LossCosineProximity.

    The norms, over the outputs, are at least 1e-5; weights and mask multiply the products a_j y_j, not the norms.
    DL4J has no weights here.
    """

    def scores(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        labels = same_layout(labels, output, empty)
        losses, _ = _unit_vectors(output, empty)
        np.multiply(losses, _unit_vectors(labels, empty)[0], out=losses)
        np.negative(losses, out=losses)
        return sum_per_example(self.weigh(losses, mask=mask, empty=empty), out=out)

    def gradient(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        # (a / |a| (a / |a| . w y / |y|) - w y / |y|) / |a|, where the first term comes from |a|
        labels, output = same_layout(labels, out, empty), same_layout(output, out, empty)
        unit_a, norm = _unit_vectors(output, empty)
        weighted = self.weigh(_unit_vectors(labels, empty)[0], mask=mask, empty=empty)
        np.multiply(unit_a, weighted, out=out)
        cosine = np.add.reduce(out, axis=1, keepdims=True, out=empty(norm.shape, norm.dtype))
        divisor = np.clip(norm, _SMALLEST_NORM, math.inf, out=empty(norm.shape, norm.dtype))
        np.floor(np.divide(norm, divisor, out=norm), out=norm)  # 1 where |a| was not clipped, else 0
        np.multiply(cosine, norm, out=cosine)
        scratch = broadcast_into_scratch(cosine, output, empty)
        np.multiply(unit_a, scratch, out=out)
        np.subtract(out, weighted, out=out)
        np.copyto(scratch, divisor)
        return np.divide(out, scratch, out=out)


def _unit_vectors(x: np.ndarray, empty: Empty) -> tuple[np.ndarray, np.ndarray]:
    """Return x / max(|x|, 1e-5) and |x|, shape (batch, 1, ...), in scratch arrays."""
    unit = np.multiply(x, x, out=scratch_like(x, empty))
    norm = empty((len(x), 1, *x.shape[2:]), x.dtype)
    np.add.reduce(unit, axis=1, keepdims=True, out=norm)
    np.sqrt(norm, out=norm)
    np.copyto(unit, norm)
    np.clip(unit, _SMALLEST_NORM, math.inf, out=unit)
    return np.divide(x, unit, out=unit), norm
