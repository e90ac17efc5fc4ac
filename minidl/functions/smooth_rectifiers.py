"""Activations close to ReLU far from zero, and smooth everywhere."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .activation_base import Activation, chain_rule, exponent_limit, positive_part
from .scratch import Empty, same_layout, scratch_like

__all__ = ["Mish", "SoftPlus"]


@dataclass(frozen=True)
class SoftPlus(Activation):
    """Smooth rectifier, a = log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)). DL4J: ActivationSoftPlus."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (0.0, math.inf)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        curve = np.absolute(z, out=scratch_like(z, empty))
        np.negative(curve, out=curve)
        np.clip(curve, -exponent_limit(z.dtype), 0.0, out=curve)
        np.exp(curve, out=curve)
        np.log1p(curve, out=curve)
        positive_part(z, out=out)
        return np.add(out, curve, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = np.negative(kept, out=scratch_like(kept, empty))  # sigmoid(z) = 1 - exp(-a)
        np.expm1(slope, out=slope)
        np.negative(slope, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class Mish(Activation):
    """a = z tanh(softplus(z)) = z n / (n + 2) with n = w (w + 2) and w = exp(z). DL4J: ActivationMish.

    Misra (2019), https://arxiv.org/abs/1908.08681.
    """

    output_range: ClassVar[tuple[float, float] | None] = (-0.3088434130172505, math.inf)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        limit = exponent_limit(z.dtype)
        gate, _, divisor = _mish_gate(z, empty)
        np.divide(gate, divisor, out=gate)
        np.clip(z, -limit, math.inf, out=out)
        return np.multiply(out, gate, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        # (n + 4 z w (w + 1) / (n + 2)) / (n + 2)
        slope, w, divisor = _mish_gate(kept, empty)
        z = np.clip(kept, -exponent_limit(kept.dtype), _MISH_IS_LINEAR, out=scratch_like(kept, empty))
        np.multiply(z, w, out=z)
        np.add(w, 1.0, out=w)
        np.multiply(w, 4.0, out=w)
        np.multiply(z, w, out=z)
        np.divide(z, divisor, out=z)
        np.add(slope, z, out=slope)
        np.divide(slope, divisor, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


_MISH_IS_LINEAR = 25.0  # from here on n / (n + 2) is 1 in float64 too


def _mish_gate(z: np.ndarray, empty: Empty) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return n, w and n + 2, in scratch arrays."""
    w = np.clip(z, -exponent_limit(z.dtype), _MISH_IS_LINEAR, out=scratch_like(z, empty))
    np.exp(w, out=w)
    n = np.add(w, 2.0, out=scratch_like(z, empty))
    np.multiply(n, w, out=n)
    return n, w, np.add(n, 2.0, out=scratch_like(z, empty))
