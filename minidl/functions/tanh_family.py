"""Tanh, and what is put in its place."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .activation_base import Activation, chain_rule, positive_part, step
from .scratch import Empty, same_layout, scratch_like

__all__ = ["HardTanh", "RationalTanh", "RectifiedTanh", "Tanh"]


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent, a = tanh(z). DL4J: ActivationTanH."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return np.tanh(z, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = np.multiply(kept, kept, out=scratch_like(kept, empty))  # 1 - a^2
        np.subtract(1.0, slope, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class HardTanh(Activation):
    """Piecewise linear tanh, a = clip(z, -1, 1). DL4J: ActivationHardTanH."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return np.clip(z, -1.0, 1.0, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = np.absolute(kept, out=scratch_like(kept, empty))  # 1 - floor(|a|) is 1 strictly between -1 and 1
        np.floor(slope, out=slope)
        np.subtract(1.0, slope, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class RectifiedTanh(Activation):
    """Tanh above zero only, a = max(0, tanh(z)). DL4J: ActivationRectifiedTanh."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        np.tanh(z, out=out)
        return positive_part(out, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = np.multiply(kept, kept, out=scratch_like(kept, empty))  # 1 - a^2 above zero
        np.subtract(1.0, slope, out=slope)
        np.multiply(slope, step(kept, empty=empty), out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class RationalTanh(Activation):
    """Rational approximation of 1.7159 tanh(2 z / 3). DL4J: ActivationRationalTanh.

    a = 1.7159 sgn(u) (1 - 1 / (1 + |u| + u^2 + 1.41645 u^4)) with u = 2 z / 3, which is 1.7159 s / (1 + |s|) with
    s = u (1 + |u| + 1.41645 |u|^3).
    """

    output_range: ClassVar[tuple[float, float] | None] = (-1.7159, 1.7159)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        u, size = _scaled(z, empty)
        _rational(u, size, out=u, scratch=out)
        np.absolute(u, out=size)
        np.add(size, 1.0, out=size)
        np.divide(u, size, out=out)
        return np.multiply(out, _SCALE, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        # 1.7159 * 2/3 * ds/du / (1 + |s|)^2 with ds/du = 1 + 2 |u| + 4 * 1.41645 |u|^3
        u, size = _scaled(kept, empty)
        slope = np.multiply(size, size, out=scratch_like(kept, empty))
        np.multiply(slope, 4 * _QUARTIC, out=slope)
        np.add(slope, 2.0, out=slope)
        np.multiply(slope, size, out=slope)
        np.add(slope, 1.0, out=slope)
        divisor = _rational(size, size, out=size, scratch=u)
        np.add(divisor, 1.0, out=divisor)
        np.divide(slope, divisor, out=slope)  # twice, as the square would overflow
        np.divide(slope, divisor, out=slope)
        np.multiply(slope, _SCALE * 2 / 3, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


_SCALE, _QUARTIC = 1.7159, 1.41645
_LARGEST_U = {np.dtype(np.float32): 1e9, np.dtype(np.float64): 1e75}  # u^4 is finite, and a at its bound long before


def _scaled(z: np.ndarray, empty: Empty) -> tuple[np.ndarray, np.ndarray]:
    """Return u = 2 z / 3, clipped, and |u|, in scratch arrays."""
    limit = _LARGEST_U[z.dtype]
    u = np.clip(z, -limit, limit, out=scratch_like(z, empty))
    np.multiply(u, 2 / 3, out=u)
    return u, np.absolute(u, out=scratch_like(z, empty))


def _rational(u: np.ndarray, size: np.ndarray, *, out: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """Return s = u (1 + |u| + 1.41645 |u|^3) from u and ``size`` = |u|, any of which ``out`` may be."""
    np.multiply(size, size, out=scratch)
    np.multiply(scratch, _QUARTIC, out=scratch)
    np.add(scratch, 1.0, out=scratch)
    np.multiply(scratch, size, out=scratch)
    np.add(scratch, 1.0, out=scratch)
    return np.multiply(scratch, u, out=out)
