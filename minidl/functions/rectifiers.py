"""Activations that are linear above zero: ReLU and its family."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import ConfigurationError
from ..numeric_options import real
from .activation_base import Activation, chain_rule, check_not_negative, negative_part, positive_part, step
from .scratch import Empty, same_layout, scratch_like

__all__ = ["ELU", "LeakyReLU", "RReLU", "ReLU", "ReLU6", "SELU", "ThresholdedReLU"]


@dataclass(frozen=True)
class ReLU(Activation):
    """Rectified linear unit, a = max(z, 0). DL4J: ActivationReLU."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (0.0, math.inf)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return positive_part(z, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        return chain_rule(epsilon, step(kept, empty=empty), out=out, empty=empty)


@dataclass(frozen=True)
class ReLU6(Activation):
    """Rectified linear unit with a ceiling, a = min(max(z, 0), 6). DL4J: ActivationReLU6."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (0.0, 6.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return np.clip(z, 0.0, 6.0, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = step(kept, empty=empty)
        ceiling = np.divide(kept, 6.0, out=scratch_like(kept, empty))
        np.subtract(slope, np.floor(ceiling, out=ceiling), out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class ThresholdedReLU(Activation):
    """Rectified linear unit with a jump, a = z where z > theta, else 0. DL4J: ActivationThresholdedReLU.

    Raises ConfigurationError if theta is negative or not finite.
    Konda et al. (2014), https://arxiv.org/abs/1402.3337.
    """

    theta: float = 1.0
    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (0.0, math.inf)

    def __post_init__(self) -> None:
        check_not_negative(self, "theta")

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        below = np.less_equal(z, self.theta, out=_flags_like(z, empty))
        if out is not z:
            np.copyto(out, z)
        np.copyto(out, 0.0, where=below)
        return out

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
    output_range: ClassVar[tuple[float, float] | None] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        check_not_negative(self, "alpha")

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return _leaky(z, self.alpha, out=out, empty=empty)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = step(kept, empty=empty)
        np.multiply(slope, 1 - self.alpha, out=slope)
        np.add(slope, self.alpha, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class RReLU(Activation):
    """Randomised leaky rectified linear unit, a = max(z, 0) + slope min(z, 0). DL4J: ActivationRReLU.

    Training draws a slope from U(lower, upper) for every element; inference takes the mean of the two.
    Raises ConfigurationError unless 0 <= lower <= upper < inf.
    Xu et al. (2015), https://arxiv.org/abs/1505.00853.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3
    keeps: ClassVar[str] = "slope"
    draws: ClassVar[bool] = True
    output_range: ClassVar[tuple[float, float] | None] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        given = self.lower, self.upper
        for option in ("lower", "upper"):
            object.__setattr__(self, option, real(getattr(self, option)))
        if not 0 <= self.lower <= self.upper < math.inf:
            raise ConfigurationError(
                f"RReLU(lower={given[0]!r}, upper={given[1]!r}) has no range of slopes. "
                f"Choose finite bounds with 0 <= lower <= upper."
            )

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return _leaky(z, (self.lower + self.upper) / 2, out=out, empty=empty)

    def training_forward(
        self,
        z: np.ndarray,
        *,
        kept: np.ndarray,
        out: np.ndarray,
        rng: np.random.Generator,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        slope = kept if kept.flags.c_contiguous else empty(kept.shape, kept.dtype)
        rng.random(out=slope, dtype=slope.dtype)
        np.multiply(slope, self.upper - self.lower, out=slope)
        np.add(slope, self.lower, out=slope)
        z, slope = same_layout(z, out, empty), same_layout(slope, out, empty)
        np.copyto(slope, 1.0, where=np.greater(z, 0.0, out=_flags_like(z, empty)))
        if slope is not kept:
            np.copyto(kept, slope)
        return np.multiply(z, slope, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        return chain_rule(epsilon, kept, out=out, empty=empty)


@dataclass(frozen=True)
class ELU(Activation):
    """Exponential linear unit, a = max(z, 0) + alpha (exp(min(z, 0)) - 1).

    Raises ConfigurationError if alpha is negative or not finite.
    Clevert et al. (2015), https://arxiv.org/abs/1511.07289. DL4J: ActivationELU.
    """

    alpha: float = 1.0
    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (-1.0, math.inf)

    def __post_init__(self) -> None:
        check_not_negative(self, "alpha")
        object.__setattr__(self, "output_range", (-self.alpha, math.inf))

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
    output_range: ClassVar[tuple[float, float] | None] = (-scale * alpha, math.inf)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return _exponential_unit(z, self.scale, self.alpha, out=out, empty=empty)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        return _exponential_unit_backward(kept, epsilon, self.scale, self.alpha, out=out, empty=empty)


def _flags_like(array: np.ndarray, empty: Empty) -> np.ndarray:
    """Return uninitialised truth values, one for each element, in the same order in memory."""
    return scratch_like(array, lambda shape, _: empty(shape, np.bool_))


def _leaky(z: np.ndarray, slope: float, *, out: np.ndarray, empty: Empty) -> np.ndarray:
    leak = negative_part(z, out=scratch_like(z, empty))
    np.multiply(leak, slope, out=leak)
    positive_part(z, out=out)
    return np.add(out, leak, out=out)


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
