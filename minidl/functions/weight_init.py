"""Rules for the first weights of a layer. Names and formulas are DL4J's."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigurationError
from ..options import named_option

__all__ = [
    "IdentityInit",
    "LecunNormalInit",
    "OnesInit",
    "ReluInit",
    "ReluUniformInit",
    "UniformInit",
    "WEIGHT_INITS",
    "WeightInit",
    "XavierInit",
    "XavierUniformInit",
    "ZeroInit",
    "weight_init",
]


@dataclass(frozen=True)
class WeightInit(ABC):
    """A rule that fills a weight array.

    Random rules draw in float64, in the logical order of the axes, so that one seed gives the same weights in
    float64 and (rounded) in float32, whatever the memory order of ``out``.
    """

    @abstractmethod
    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        """Write the first weights into ``out``, of any shape and strides."""


@dataclass(frozen=True)
class ZeroInit(WeightInit):
    """All 0."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        out.fill(0)


@dataclass(frozen=True)
class OnesInit(WeightInit):
    """All 1."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        out.fill(1)


@dataclass(frozen=True)
class IdentityInit(WeightInit):
    """The identity matrix. Raises ConfigurationError where the weights are no square matrix."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        if out.ndim != 2 or out.shape[0] != out.shape[1]:
            raise ConfigurationError(
                f"weight_init='identity' needs a square weight matrix, got shape {out.shape}. "
                f"Make n_in and n_out equal, or choose another weight_init, such as 'xavier'."
            )
        np.copyto(out, np.eye(len(out)), casting="same_kind")


@dataclass(frozen=True)
class LecunNormalInit(WeightInit):
    """N(0, variance 1 / fan_in). DL4J: LECUN_NORMAL, NORMAL."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_normal(out, 1 / fan_in, rng)


@dataclass(frozen=True)
class UniformInit(WeightInit):
    """U(-b, b) with b = 1 / sqrt(fan_in)."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, 1 / math.sqrt(fan_in), rng)


@dataclass(frozen=True)
class XavierInit(WeightInit):
    """N(0, variance 2 / (fan_in + fan_out)). Glorot & Bengio (2010)."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_normal(out, 2 / (fan_in + fan_out), rng)


@dataclass(frozen=True)
class XavierUniformInit(WeightInit):
    """U(-b, b) with b = sqrt(6 / (fan_in + fan_out)). Glorot & Bengio (2010)."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, math.sqrt(6 / (fan_in + fan_out)), rng)


@dataclass(frozen=True)
class ReluInit(WeightInit):
    """N(0, variance 2 / fan_in). He et al. (2015), https://arxiv.org/abs/1502.01852."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_normal(out, 2 / fan_in, rng)


@dataclass(frozen=True)
class ReluUniformInit(WeightInit):
    """U(-b, b) with b = sqrt(6 / fan_in). He et al. (2015), https://arxiv.org/abs/1502.01852."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, math.sqrt(6 / fan_in), rng)


def _fill_normal(out: np.ndarray, variance: float, rng: np.random.Generator) -> None:
    np.copyto(out, rng.normal(0.0, math.sqrt(variance), out.shape), casting="same_kind")


def _fill_uniform(out: np.ndarray, bound: float, rng: np.random.Generator) -> None:
    np.copyto(out, rng.uniform(-bound, bound, out.shape), casting="same_kind")


WEIGHT_INITS: dict[str, type[WeightInit]] = {
    "identity": IdentityInit,
    "lecun_normal": LecunNormalInit,
    "normal": LecunNormalInit,
    "ones": OnesInit,
    "relu": ReluInit,
    "relu_uniform": ReluUniformInit,
    "uniform": UniformInit,
    "xavier": XavierInit,
    "xavier_uniform": XavierUniformInit,
    "zero": ZeroInit,
}


def weight_init(value: object) -> WeightInit:
    """Return the rule that ``value`` is (an object or a class) or names, as in ``weight_init("xavier")``.

    Raises ConfigurationError that lists what exists.
    """
    return named_option(WeightInit, WEIGHT_INITS, value, "weight_init")  # type: ignore[type-abstract]
