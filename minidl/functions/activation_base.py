"""What an activation function is, and the pieces that several of them share."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import ConfigurationError
from ..numeric_options import real
from ..options import CheckedOptions
from .scratch import Empty, same_layout, scratch_like

__all__ = [
    "Activation",
    "chain_rule",
    "check_not_negative",
    "exponent_limit",
    "negative_part",
    "positive_part",
    "step",
]


SMALL = 2048  # elements


@dataclass(frozen=True)
class Activation(CheckedOptions, ABC):
    """An activation function a = f(z) and its derivative.

    ``keeps`` names the one array that the layer keeps for ``backward``: "input" (the pre-activation z),
    "output" (a), or "slope" (da/dz, an array that ``training_forward`` fills). ``elementwise`` is False where
    one output depends on several inputs, as in softmax. ``draws`` is True where training draws random numbers:
    training then calls ``training_forward``, and only inference ``forward``. ``output_range`` holds bounds of
    all outputs, ends included, or None if they are not known.

    A class of your own may ignore ``out`` and ``empty`` and return a new array of the same shape and type;
    the caller copies it. Built-in classes write into ``out``, return it, and take every temporary from
    ``empty(shape, dtype)``. Arrays are float32 or float64, all of one type, with any strides.
    """

    keeps: ClassVar[str] = "input"
    elementwise: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    output_range: ClassVar[tuple[float, float] | None] = None

    @abstractmethod
    def forward(self, z: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty) -> np.ndarray:
        """Return a = f(z), in ``out``.

        With ``keeps == "output"``, ``out`` may be ``z`` itself; with "input" it never is.
        """

    @abstractmethod
    def backward(
        self, kept: np.ndarray, epsilon: np.ndarray, *, out: np.ndarray, empty: Empty = np.empty
    ) -> np.ndarray:
        """Return dL/dz, in ``out``, from the kept array and ``epsilon`` = dL/da.

        ``out`` may be ``epsilon`` itself, and is never ``kept``.
        """

    def training_forward(
        self,
        z: np.ndarray,
        *,
        kept: np.ndarray,
        out: np.ndarray,
        rng: np.random.Generator,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        """Return a, in ``out``, with numbers from ``rng``, and write what ``backward`` needs into ``kept``.

        Only for classes with ``draws``. ``z``, ``kept`` and ``out`` are three arrays.
        """
        raise NotImplementedError(
            f"{type(self).__name__} draws no random numbers. Use forward(), in training too, or set draws = True and "
            f"write training_forward()."
        )


_EXPONENT_LIMITS = {np.dtype(np.float32): 80.0, np.dtype(np.float64): 700.0}


def exponent_limit(dtype: np.dtype) -> float:
    """Return the x up to which exp(x) and exp(-x) neither overflow nor underflow, with room for a product."""
    return _EXPONENT_LIMITS[dtype]


def positive_part(x: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Return max(x, 0): ``clip`` is vectorised over large arrays, ``maximum`` with a scalar starts faster."""
    if x.size <= SMALL:
        return np.maximum(x, 0.0, out=out)
    return np.clip(x, 0.0, math.inf, out=out)


def negative_part(x: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Return min(x, 0)."""
    return np.clip(x, -math.inf, 0.0, out=out)


def step(x: np.ndarray, *, empty: Empty) -> np.ndarray:
    """Return 1 where x > 0 and 0 elsewhere (NaN for NaN), in the type of x."""
    ones = np.clip(x, 0.0, 1.0, out=scratch_like(x, empty))
    return np.ceil(ones, out=ones)


def chain_rule(epsilon: np.ndarray, slope: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
    """Return epsilon * slope: dL/dz from dL/da and the elementwise da/dz."""
    return np.multiply(same_layout(epsilon, out, empty), same_layout(slope, out, empty), out=out)


def check_not_negative(owner: object, option: str) -> None:
    """Make an option a float. Raises ConfigurationError unless the sign of the output tells the sign of the input."""
    value = getattr(owner, option)
    number = real(value)  # a float64 scalar of NumPy would turn float32 arrays into float64 ones
    object.__setattr__(owner, option, number)
    if not 0 <= number < math.inf:
        raise ConfigurationError(
            f"{type(owner).__name__}({option}={value!r}) cannot be differentiated from its output. "
            f"Choose a finite {option} of 0 or more."
        )
