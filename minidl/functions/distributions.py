"""Probability distributions, for first weights and for noise on weights. Names are DL4J's."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigurationError
from ..numeric_options import real, set_real
from ..options import CheckedOptions, named_option
from .scratch import Empty

__all__ = [
    "BinomialDistribution",
    "ConstantDistribution",
    "DISTRIBUTIONS",
    "Distribution",
    "LogNormalDistribution",
    "NormalDistribution",
    "OrthogonalDistribution",
    "TruncatedNormalDistribution",
    "UniformDistribution",
    "distribution",
    "draw_bernoulli",
    "set_positive",
]


@dataclass(frozen=True)
class Distribution(CheckedOptions, ABC):
    """What random numbers are drawn from.

    ``is_elementwise`` is False where the elements of a sample depend on each other, as in an orthogonal matrix.
    """

    is_elementwise: ClassVar[bool] = True

    @abstractmethod
    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out``, a C-contiguous array of float32 or float64, and return it.

        Built-in classes draw in the type of ``out``, and take every temporary from ``empty(shape, dtype)``.
        """


@dataclass(frozen=True)
class NormalDistribution(Distribution):
    """N(mean, variance std^2). Source: DL4J ``NormalDistribution``, ``GaussianDistribution``."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        _set_finite(self, "mean")
        set_positive(self, "std")

    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out`` with mean + std z, z standard normal."""
        rng.standard_normal(out=out, dtype=out.dtype)
        return _scale_and_shift(out, self.std, self.mean)


@dataclass(frozen=True)
class UniformDistribution(Distribution):
    """U(lower, upper). Source: DL4J ``UniformDistribution``."""

    lower: float = -1.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        _set_finite(self, "lower")
        _set_finite(self, "upper")
        if not 0 < self.upper - self.lower < math.inf:
            raise ConfigurationError(
                f"UniformDistribution(lower={self.lower!r}, upper={self.upper!r}) has no interval to draw from. "
                "Choose finite bounds with lower below upper."
            )

    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out`` with lower + (upper - lower) u, u uniform in [0, 1)."""
        rng.random(out=out, dtype=out.dtype)
        return _scale_and_shift(out, self.upper - self.lower, self.lower)


@dataclass(frozen=True)
class TruncatedNormalDistribution(Distribution):
    """N(mean, variance std^2) given that it is within two standard deviations of the mean.

    ``std`` is that of the normal distribution before the cut; afterwards it is 0.8796 std.
    Source: DL4J ``TruncatedNormalDistribution``, which draws again instead of inverting the distribution function.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        _set_finite(self, "mean")
        set_positive(self, "std")

    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out`` with mean + std Phi^-1(u), u uniform between Phi(-2) and Phi(2)."""
        rng.random(out=out, dtype=out.dtype)
        _scale_and_shift(out, math.erf(math.sqrt(2)), math.erfc(math.sqrt(2)) / 2)  # Phi(2) - Phi(-2), Phi(-2)
        _normal_quantile(out)
        np.clip(out, -2.0, 2.0, out=out)  # what rounding took over the edge
        return _scale_and_shift(out, self.std, self.mean)


@dataclass(frozen=True)
class LogNormalDistribution(Distribution):
    """exp(z) with z of N(mean, variance std^2). Source: DL4J ``LogNormalDistribution``."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        _set_finite(self, "mean")
        set_positive(self, "std")

    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out`` with exp(mean + std z), z standard normal."""
        rng.standard_normal(out=out, dtype=out.dtype)
        return np.exp(_scale_and_shift(out, self.std, self.mean), out=out)


@dataclass(frozen=True)
class OrthogonalDistribution(Distribution):
    """``gain`` times a random matrix with orthonormal rows or columns, whichever are fewer.

    An array of another rank than 2 is the matrix (shape[0], everything else): its first axis counts the filters of a
    convolution. (DL4J has the last axis as columns and all others as rows.) Allocates, and draws in float64.
    Source: DL4J ``OrthogonalDistribution``; Saxe et al. (2014), https://arxiv.org/abs/1312.6120; the factor Q of a
    Gaussian matrix is uniformly distributed once R has a positive diagonal: Mezzadri (2007),
    https://arxiv.org/abs/math-ph/0609050.
    """

    is_elementwise: ClassVar[bool] = False

    gain: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "gain")

    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out`` with gain Q."""
        rows = out.shape[0] if out.ndim else 1
        gaussian = rng.standard_normal((rows, out.size // max(rows, 1)))
        is_wide = gaussian.shape[0] < gaussian.shape[1]
        q, r = np.linalg.qr(gaussian.T if is_wide else gaussian)
        q *= np.copysign(self.gain, np.diagonal(r))
        np.copyto(out, (q.T if is_wide else q).reshape(out.shape), casting="same_kind")
        return out


@dataclass(frozen=True)
class BinomialDistribution(Distribution):
    """How many of ``number_of_trials`` succeed, each with ``probability``. Source: DL4J ``BinomialDistribution``.

    Every trial is drawn, so that a sample costs that many passes over the array.
    """

    number_of_trials: int = 1
    probability: float = 0.5

    def __post_init__(self) -> None:
        trials = real(self.number_of_trials)
        if not (1 <= trials < math.inf and trials == int(trials)):
            raise ConfigurationError(
                f"BinomialDistribution: number_of_trials={self.number_of_trials!r} is not a whole number of at least "
                "1, such as 10."
            )
        object.__setattr__(self, "number_of_trials", int(trials))
        set_real(self, "probability", lambda value: 0 <= value <= 1, "in [0, 1]. Use 0.5, for example")

    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out`` with the sum of the trials, each 0 or 1."""
        draw_bernoulli(self.probability, rng, out=out)
        if self.number_of_trials > 1:
            trial = empty(out.shape, out.dtype)
            for _ in range(self.number_of_trials - 1):
                np.add(out, draw_bernoulli(self.probability, rng, out=trial), out=out)
        return out


@dataclass(frozen=True)
class ConstantDistribution(Distribution):
    """Always ``value``. Source: DL4J ``ConstantDistribution``."""

    value: float = 0.0

    def __post_init__(self) -> None:
        _set_finite(self, "value")

    def sample(self, out: np.ndarray, *, rng: np.random.Generator, empty: Empty = np.empty) -> np.ndarray:
        """Fill ``out`` with the value."""
        out.fill(self.value)
        return out


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "binomial": BinomialDistribution,
    "constant": ConstantDistribution,
    "gaussian": NormalDistribution,
    "log_normal": LogNormalDistribution,
    "normal": NormalDistribution,
    "orthogonal": OrthogonalDistribution,
    "truncated_normal": TruncatedNormalDistribution,
    "uniform": UniformDistribution,
}


def distribution(value: object) -> Distribution:
    """Return the distribution that ``value`` is (an object or a class) or names, as in ``distribution("uniform")``.

    Raises ConfigurationError that lists what exists.
    """
    return named_option(Distribution, DISTRIBUTIONS, value, "distribution")  # type: ignore[type-abstract]


def draw_bernoulli(probability: float, rng: np.random.Generator, *, out: np.ndarray) -> np.ndarray:
    """Fill ``out`` (C-contiguous) with 1 with that probability, else 0, and return it."""
    rng.random(out=out, dtype=out.dtype)
    out += probability
    np.floor(out, out=out)  # 1 where the draw is at least 1 - probability, without a boolean array
    return np.minimum(out, 1.0, out=out)  # a draw next to 1 plus a probability next to 1 rounds to 2


def _scale_and_shift(out: np.ndarray, factor: float, summand: float) -> np.ndarray:
    np.multiply(out, factor, out=out)
    return np.add(out, summand, out=out)


def _normal_quantile(out: np.ndarray) -> np.ndarray:
    """Replace probabilities by the quantiles of the standard normal distribution, Phi^-1, in place."""
    from scipy.special import ndtri  # SciPy is slow to import, and few networks need it

    return ndtri(out, out=out)


def set_positive(rule: Any, name: str) -> None:
    """Make the field ``name`` of a frozen dataclass a float. Raises ConfigurationError unless finite and above 0."""
    set_real(rule, name, lambda value: 0 < value < math.inf, "a finite number above 0, such as 1.0")


def _set_finite(rule: Any, name: str) -> None:
    set_real(rule, name, math.isfinite, "a finite number, such as 0.0")
