"""Rules for the first weights of a layer. Names and formulas are DL4J's."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigurationError
from ..options import CheckedOptions, named_option
from .distributions import Distribution, TruncatedNormalDistribution, set_positive
from .distributions import distribution as as_distribution

__all__ = [
    "DistributionInit",
    "IdentityInit",
    "LecunNormalInit",
    "LecunUniformInit",
    "OnesInit",
    "ReluInit",
    "ReluUniformInit",
    "SigmoidUniformInit",
    "UniformInit",
    "VarScalingNormalFanAvgInit",
    "VarScalingNormalFanInInit",
    "VarScalingNormalFanOutInit",
    "VarScalingUniformFanAvgInit",
    "VarScalingUniformFanInInit",
    "VarScalingUniformFanOutInit",
    "WEIGHT_INITS",
    "WeightInit",
    "XavierInit",
    "XavierLegacyInit",
    "XavierUniformInit",
    "ZeroInit",
    "weight_init",
]


@dataclass(frozen=True)
class WeightInit(CheckedOptions, ABC):
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
class DistributionInit(WeightInit):
    """Draws from ``distribution``, an object or a name. DL4J: DISTRIBUTION."""

    distribution: Distribution | str

    def __post_init__(self) -> None:
        object.__setattr__(self, "distribution", as_distribution(self.distribution))

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_drawn(out, as_distribution(self.distribution), rng)


@dataclass(frozen=True)
class LecunNormalInit(WeightInit):
    """N(0, variance 1 / fan_in). DL4J: LECUN_NORMAL, NORMAL, XAVIER_FAN_IN."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_normal(out, 1 / fan_in, rng)


@dataclass(frozen=True)
class LecunUniformInit(WeightInit):
    """U(-b, b) with b = 3 / sqrt(fan_in), as in DL4J; the rule of LeCun et al. (1998) is sqrt(3 / fan_in)."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, 3 / math.sqrt(fan_in), rng)


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
class XavierLegacyInit(WeightInit):
    """N(0, variance 1 / (shape[0] + shape[1])), as in early versions of DL4J. A vector counts as (1, n)."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        rows, columns = out.shape[:2] if out.ndim > 1 else (1, out.size)
        _fill_normal(out, 1 / (rows + columns), rng)


@dataclass(frozen=True)
class XavierUniformInit(WeightInit):
    """U(-b, b) with b = sqrt(6 / (fan_in + fan_out)). Glorot & Bengio (2010)."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, math.sqrt(6 / (fan_in + fan_out)), rng)


@dataclass(frozen=True)
class SigmoidUniformInit(WeightInit):
    """U(-b, b) with b = 4 sqrt(6 / (fan_in + fan_out)). Glorot & Bengio (2010), for the logistic sigmoid."""

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, 4 * math.sqrt(6 / (fan_in + fan_out)), rng)


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


@dataclass(frozen=True)
class VarScalingNormalFanInInit(WeightInit):
    """N(0, variance scale / fan_in), cut at two standard deviations: the variance is then 0.774 of that."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "scale")

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_truncated_normal(out, self.scale / fan_in, rng)


@dataclass(frozen=True)
class VarScalingNormalFanOutInit(WeightInit):
    """N(0, variance scale / fan_out), cut at two standard deviations: the variance is then 0.774 of that."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "scale")

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_truncated_normal(out, self.scale / fan_out, rng)


@dataclass(frozen=True)
class VarScalingNormalFanAvgInit(WeightInit):
    """N(0, variance 2 scale / (fan_in + fan_out)), cut at two standard deviations: then 0.774 of that."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "scale")

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_truncated_normal(out, 2 * self.scale / (fan_in + fan_out), rng)


@dataclass(frozen=True)
class VarScalingUniformFanInInit(WeightInit):
    """U(-b, b) with b = 3 scale / sqrt(fan_in), as DL4J's source has it.

    The usual rule of variance scaling is sqrt(3 scale / fan_in).
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "scale")

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, 3 * self.scale / math.sqrt(fan_in), rng)


@dataclass(frozen=True)
class VarScalingUniformFanOutInit(WeightInit):
    """U(-b, b) with b = 3 scale / sqrt(fan_out), as DL4J's source has it.

    The usual rule of variance scaling is sqrt(3 scale / fan_out).
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "scale")

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, 3 * self.scale / math.sqrt(fan_out), rng)


@dataclass(frozen=True)
class VarScalingUniformFanAvgInit(WeightInit):
    """U(-b, b) with b = 3 scale / sqrt((fan_in + fan_out) / 2), as DL4J's source has it.

    The usual rule of variance scaling is sqrt(6 scale / (fan_in + fan_out)).
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        set_positive(self, "scale")

    def fill(self, out: np.ndarray, *, fan_in: int, fan_out: int, rng: np.random.Generator) -> None:
        _fill_uniform(out, 3 * self.scale / math.sqrt((fan_in + fan_out) / 2), rng)


def _fill_normal(out: np.ndarray, variance: float, rng: np.random.Generator) -> None:
    np.copyto(out, rng.normal(0.0, math.sqrt(variance), out.shape), casting="same_kind")


def _fill_uniform(out: np.ndarray, bound: float, rng: np.random.Generator) -> None:
    np.copyto(out, rng.uniform(-bound, bound, out.shape), casting="same_kind")


def _fill_truncated_normal(out: np.ndarray, variance: float, rng: np.random.Generator) -> None:
    """Draw from a normal distribution of that variance, cut at two standard deviations."""
    _fill_drawn(out, TruncatedNormalDistribution(0.0, math.sqrt(variance)), rng)


def _fill_drawn(out: np.ndarray, source: Distribution, rng: np.random.Generator) -> None:
    np.copyto(out, source.sample(np.empty(out.shape), rng=rng), casting="same_kind")


WEIGHT_INITS: dict[str, type[WeightInit]] = {
    "identity": IdentityInit,
    "lecun_normal": LecunNormalInit,
    "lecun_uniform": LecunUniformInit,
    "normal": LecunNormalInit,
    "ones": OnesInit,
    "relu": ReluInit,
    "relu_uniform": ReluUniformInit,
    "sigmoid_uniform": SigmoidUniformInit,
    "uniform": UniformInit,
    "var_scaling_normal_fan_avg": VarScalingNormalFanAvgInit,
    "var_scaling_normal_fan_in": VarScalingNormalFanInInit,
    "var_scaling_normal_fan_out": VarScalingNormalFanOutInit,
    "var_scaling_uniform_fan_avg": VarScalingUniformFanAvgInit,
    "var_scaling_uniform_fan_in": VarScalingUniformFanInInit,
    "var_scaling_uniform_fan_out": VarScalingUniformFanOutInit,
    "xavier": XavierInit,
    "xavier_fan_in": LecunNormalInit,
    "xavier_legacy": XavierLegacyInit,
    "xavier_uniform": XavierUniformInit,
    "zero": ZeroInit,
}


def weight_init(value: object, option: str = "weight_init") -> WeightInit:
    """Return the rule that ``value`` is (an object or a class) or names, as in ``weight_init("xavier")``.

    A Distribution makes a ``DistributionInit``. Raises ConfigurationError that lists what exists, for this ``option``.
    """
    if isinstance(value, Distribution):
        return DistributionInit(value)
    if isinstance(value, str) and value.lower() == "distribution":
        raise ConfigurationError(
            f"{option}={value!r} does not say which. Pass a distribution, such as NormalDistribution(0, 0.01)."
        )
    return named_option(WeightInit, WEIGHT_INITS, value, option)  # type: ignore[type-abstract]
