"""Activation functions and their derivatives, in place, without allocating.

Finite input gives finite output, without overflow. What is too small for its type may underflow to 0
(softmax of values far apart, products with a saturated derivative): NumPy ignores that by default, and to
avoid it would cost a pass.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..numeric_options import set_flag
from ..options import named_option
from .activation_base import Activation, chain_rule, exponent_limit
from .rectifiers import ELU, SELU, LeakyReLU, ReLU, ReLU6, RReLU, ThresholdedReLU
from .scratch import Empty, broadcast_into_scratch, same_layout, scratch_like
from .smooth_rectifiers import Mish, SoftPlus
from .tanh_family import HardTanh, RationalTanh, RectifiedTanh, Tanh

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Cube",
    "ELU",
    "GELU",
    "HardSigmoid",
    "HardTanh",
    "Identity",
    "LeakyReLU",
    "Mish",
    "RReLU",
    "RationalTanh",
    "ReLU",
    "ReLU6",
    "RectifiedTanh",
    "SELU",
    "Sigmoid",
    "SoftPlus",
    "SoftSign",
    "Softmax",
    "Swish",
    "Tanh",
    "ThresholdedReLU",
    "activation",
]


@dataclass(frozen=True)
class Identity(Activation):
    """No activation, a = z. DL4J: ActivationIdentity."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (-math.inf, math.inf)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        np.copyto(out, z)
        return out

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        np.copyto(out, epsilon)
        return out


@dataclass(frozen=True)
class Cube(Activation):
    """Third power, a = z^3. DL4J: ActivationCube.

    Clips z to +-6.98e12 (float32) or +-5.64e102 (float64), so that the output stays finite.
    """

    output_range: ClassVar[tuple[float, float] | None] = (-math.inf, math.inf)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        limit = _CUBE_LIMITS[z.dtype]
        np.clip(z, -limit, limit, out=out)
        square = np.multiply(out, out, out=scratch_like(z, empty))
        return np.multiply(out, square, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        limit = _CUBE_LIMITS[kept.dtype]
        slope = np.clip(kept, -limit, limit, out=scratch_like(kept, empty))  # 3 z^2
        np.multiply(slope, slope, out=slope)
        np.multiply(slope, 3.0, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function, a = 1 / (1 + exp(-z)), exact to rounding in both tails. DL4J: ActivationSigmoid."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        limit = exponent_limit(z.dtype)
        power = np.clip(z, -limit, limit, out=scratch_like(z, empty))
        return _sigmoid(power, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = np.subtract(1.0, kept, out=scratch_like(kept, empty))  # a (1 - a)
        np.multiply(slope, kept, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class Softmax(Activation):
    """Class probabilities, a_i = exp(z_i) / sum over classes j of exp(z_j). DL4J: ActivationSoftmax.

    Shapes: (batch, n_out) or (batch, n_out, time); the classes lie along axis 1.
    """

    keeps: ClassVar[str] = "output"
    elementwise: ClassVar[bool] = False
    output_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        per_example = empty((z.shape[0], 1, *z.shape[2:]), z.dtype)
        np.maximum.reduce(z, axis=1, keepdims=True, out=per_example)
        one_number = per_example.size == 1  # which a ufunc repeats without a buffer
        scratch = per_example if one_number else broadcast_into_scratch(per_example, z, empty)
        np.subtract(z, scratch, out=out)
        np.exp(out, out=out)
        np.add.reduce(out, axis=1, keepdims=True, out=per_example)
        if not one_number:
            np.copyto(scratch, per_example)
        return np.divide(out, scratch, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        # a (epsilon - sum over j of epsilon_j a_j)
        kept, epsilon = same_layout(kept, out, empty), same_layout(epsilon, out, empty)
        scratch = np.multiply(epsilon, kept, out=scratch_like(kept, empty))
        per_example = empty((kept.shape[0], 1, *kept.shape[2:]), kept.dtype)
        np.add.reduce(scratch, axis=1, keepdims=True, out=per_example)
        np.copyto(scratch, per_example)
        np.subtract(epsilon, scratch, out=out)
        return np.multiply(out, kept, out=out)


@dataclass(frozen=True)
class SoftSign(Activation):
    """a = z / (1 + |z|). DL4J: ActivationSoftSign."""

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        divisor = np.absolute(z, out=scratch_like(z, empty))
        np.add(divisor, 1.0, out=divisor)
        return np.divide(z, divisor, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = np.absolute(kept, out=scratch_like(kept, empty))  # 1 / (1 + |z|)^2 = (1 - |a|)^2
        np.subtract(1.0, slope, out=slope)
        np.multiply(slope, slope, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class HardSigmoid(Activation):
    """Piecewise linear sigmoid, a = clip(0.2 z + 0.5, 0, 1). DL4J: ActivationHardSigmoid.

    The slope is that of DL4J; PyTorch has z / 6 + 0.5.
    """

    keeps: ClassVar[str] = "output"
    output_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        np.multiply(z, 0.2, out=out)
        np.add(out, 0.5, out=out)
        return np.clip(out, 0.0, 1.0, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        slope = np.ceil(kept, out=scratch_like(kept, empty))  # ceil(a) - floor(a) is 1 strictly between 0 and 1
        np.subtract(slope, np.floor(kept, out=scratch_like(kept, empty)), out=slope)
        np.multiply(slope, 0.2, out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


@dataclass(frozen=True)
class Swish(Activation):
    """a = z sigmoid(z), also known as SiLU. DL4J: ActivationSwish."""

    output_range: ClassVar[tuple[float, float] | None] = (-0.2784645427610738, math.inf)

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        return _gated(z, 1.0, out=out, empty=empty)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        return _gated_backward(kept, epsilon, 1.0, out=out, empty=empty)


@dataclass(frozen=True)
class GELU(Activation):
    """Gaussian error linear unit, a = z Phi(z), with Phi(z) close to sigmoid(1.702 z). DL4J: ActivationGELU.

    ``precise``, True or False, takes the normal distribution function itself, Phi(z) = (1 + erf(z / sqrt 2)) / 2,
    which is much slower. PyTorch's GELU is the precise one by default, which this is not.
    Raises ConfigurationError if ``precise`` is neither True nor False.
    Hendrycks & Gimpel (2016), https://arxiv.org/abs/1606.08415.
    """

    precise: bool = False
    output_range: ClassVar[tuple[float, float] | None] = (-0.1636101896363537, math.inf)

    def __post_init__(self) -> None:
        set_flag(self, "precise")
        if self.precise:
            object.__setattr__(self, "output_range", (-0.1699712074799037, math.inf))

    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        z = same_layout(z, out, empty)
        if not self.precise:
            return _gated(z, _GELU_FACTOR, out=out, empty=empty)
        return np.multiply(_normal_distribution(z, out=out), z, out=out)

    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        if not self.precise:
            return _gated_backward(kept, epsilon, _GELU_FACTOR, out=out, empty=empty)
        limit = math.sqrt(2 * exponent_limit(kept.dtype))
        z = np.clip(kept, -limit, limit, out=scratch_like(kept, empty))  # Phi(z) + z phi(z)
        slope = np.multiply(z, z, out=scratch_like(z, empty))
        np.multiply(slope, -0.5, out=slope)
        np.exp(slope, out=slope)
        np.multiply(slope, 1 / math.sqrt(2 * math.pi), out=slope)
        np.multiply(slope, z, out=slope)
        np.add(slope, _normal_distribution(z, out=z), out=slope)
        return chain_rule(epsilon, slope, out=out, empty=empty)


_CUBE_LIMITS = {np.dtype(np.float32): 6.98e12, np.dtype(np.float64): 5.64e102}
_GELU_FACTOR = 1.702


def _sigmoid(power: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-power)) for a ``power`` within the exponent's limits; overwrites ``power``."""
    np.exp(power, out=power)
    np.add(power, 1.0, out=out)
    return np.divide(power, out, out=out)


def _gated(z: np.ndarray, factor: float, *, out: np.ndarray, empty: Empty) -> np.ndarray:
    """Return z sigmoid(factor z), 0 where the sigmoid is."""
    limit = exponent_limit(z.dtype) / factor
    power = np.clip(z, -limit, limit, out=scratch_like(z, empty))
    np.multiply(power, factor, out=power)
    gate = _sigmoid(power, out=scratch_like(z, empty))
    np.clip(z, -limit, math.inf, out=out)
    return np.multiply(out, gate, out=out)


def _gated_backward(z: np.ndarray, epsilon: np.ndarray, factor: float, *, out: np.ndarray, empty: Empty) -> np.ndarray:
    limit = exponent_limit(z.dtype) / factor
    scaled = np.clip(z, -limit, limit, out=scratch_like(z, empty))
    np.multiply(scaled, factor, out=scaled)
    power = scratch_like(z, empty)
    np.copyto(power, scaled)
    gate = _sigmoid(power, out=scratch_like(z, empty))
    slope = np.subtract(1.0, gate, out=power)  # gate (1 + factor z (1 - gate))
    np.multiply(slope, scaled, out=slope)
    np.add(slope, 1.0, out=slope)
    np.multiply(slope, gate, out=slope)
    return chain_rule(epsilon, slope, out=out, empty=empty)


def _normal_distribution(z: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Return the standard normal distribution function Phi(z); ``out`` may be ``z``."""
    from scipy.special import ndtr  # SciPy is slow to import, and nothing else here needs it

    return ndtr(z, out=out)


ACTIVATIONS: dict[str, type[Activation]] = {
    "cube": Cube,
    "elu": ELU,
    "gelu": GELU,
    "hardsigmoid": HardSigmoid,
    "hardtanh": HardTanh,
    "identity": Identity,
    "leakyrelu": LeakyReLU,
    "mish": Mish,
    "rationaltanh": RationalTanh,
    "rectifiedtanh": RectifiedTanh,
    "relu": ReLU,
    "relu6": ReLU6,
    "rrelu": RReLU,
    "selu": SELU,
    "sigmoid": Sigmoid,
    "softmax": Softmax,
    "softplus": SoftPlus,
    "softsign": SoftSign,
    "swish": Swish,
    "tanh": Tanh,
    "thresholdedrelu": ThresholdedReLU,
}


def activation(value: object, option: str = "activation") -> Activation:
    """Return the activation that ``value`` is (an object or a class) or names, as in ``activation("relu")``.

    Raises ConfigurationError that lists what exists, for this ``option``.
    """
    return named_option(Activation, ACTIVATIONS, value, option)  # type: ignore[type-abstract]
