"""Activations that are linear above zero: ReLU and its family."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .activation_base import Activation, chain_rule, check_alpha, negative_part, positive_part, step
from .scratch import Empty, same_layout, scratch_like

__all__ = ["ELU", "LeakyReLU", "ReLU", "SELU"]


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectified linear unit, a = max(z, 0). DL4J: ActivationReLU."""

    keeps: ClassVar[str] = "output"

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return positive_part(z, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        return chain_rule(epsilon, step(kept, empty=empty), out=out, empty=empty)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """Leaky rectified linear unit, a = max(z, 0) + alpha min(z, 0). DL4J: ActivationLReLU.

    Raises ConfigurationError if alpha is negative or not finite.
    """

    alpha: float = 0.01
    keeps: ClassVar[str] = "output"

    def __post_init__(self) -> None:
        check_alpha(self, self.alpha)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        leak = negative_part(z, out=scratch_like(z, empty))
        np.multiply(leak, self.alpha, out=leak)
        positive_part(z, out=out)
        return np.add(out, leak, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = step(kept, empty=empty)
        np.multiply(slope, 1 - self.alpha, out=slope)
        np.add(slope, self.alpha, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class ELU(Activation):
    """Exponential linear unit, a = max(z, 0) + alpha (exp(min(z, 0)) - 1).

    Raises ConfigurationError if alpha is negative or not finite.
    Clevert et al. (2015), https://arxiv.org/abs/1511.07289. DL4J: ActivationELU.
    """

    alpha: float = 1.0
    keeps: ClassVar[str] = "output"

    def __post_init__(self) -> None:
        check_alpha(self, self.alpha)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return _exponential_unit(z, 1.0, self.alpha, out=out, empty=empty)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        return _exponential_unit_backward(kept, epsilon, 1.0, self.alpha, out=out, empty=empty)


@dataclass(frozen=True)
class SELU(Activation):
    """Scaled exponential linear unit, a = scale (max(z, 0) + alpha (exp(min(z, 0)) - 1)).

    The constants keep mean 0 and variance 1 from layer to layer.
    Klambauer et al. (2017), https://arxiv.org/abs/1706.02515. DL4J: ActivationSELU.
    """

    keeps: ClassVar[str] = "output"
    scale: ClassVar[float] = 1.0507009873554804934193349852946
    alpha: ClassVar[float] = 1.6732632423543772848170429916717

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return _exponential_unit(z, self.scale, self.alpha, out=out, empty=empty)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        return _exponential_unit_backward(kept, epsilon, self.scale, self.alpha, out=out, empty=empty)


def _exponential_unit(z: np.ndarray, scale: float, alpha: float, *, out: np.ndarray, empty: Empty) -> np.ndarray:
    curve = negative_part(z, out=scratch_like(z, empty))
    np.expm1(curve, out=curve)
    np.multiply(curve, scale * alpha, out=curve)
    positive_part(z, out=out)
    np.multiply(out, scale, out=out)
    return np.add(out, curve, out=out)


def _exponential_unit_backward(
    a: np.ndarray, epsilon: np.ndarray, scale: float, alpha: float, *, out: np.ndarray, empty: Empty
) -> np.ndarray:
    slope = step(a, empty=empty)  # above zero: scale
    np.multiply(slope, scale - scale * alpha, out=slope)
    np.add(slope, scale * alpha, out=slope)
    curve = negative_part(a, out=scratch_like(a, empty))  # below: scale alpha exp(z) = a + scale alpha
    np.add(slope, curve, out=slope)
    return chain_rule(epsilon, slope, out=out, empty=empty)
