"""Options that are numbers or flags, as Python has them."""

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ConfigurationError

__all__ = ["is_fraction", "is_number", "is_rate", "real", "set_flag", "set_real", "whole"]


def is_number(value: object) -> bool:
    """Tell whether ``value`` is a real number, NaN included: one of Python or NumPy, or a NumPy array without axes."""
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "fiu"
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def real(value: object) -> float:
    """Return a real number as a Python float, and anything else as NaN, for which no comparison holds.

    A float64 scalar of NumPy would turn the arithmetic of float32 arrays into that of float64.
    """
    if not is_number(value):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]  # a number
    except OverflowError:  # an integer of more than 308 digits
        return math.nan


def whole(value: object) -> int | None:
    """Return a real number without a fraction, as 3 or 3.0, as a Python int, and anything else as None."""
    number = real(value)
    return int(number) if math.isfinite(number) and number == int(number) else None


def is_rate(value: float) -> bool:
    """Tell whether ``value`` is finite and at least 0."""
    return 0 <= value < math.inf


def is_fraction(value: float) -> bool:
    """Tell whether ``value`` is in [0, 1)."""
    return 0 <= value < 1


def set_real(options: Any, name: str, is_valid: Callable[[float], bool], expected: str) -> None:
    """Make the field ``name`` of a frozen dataclass a Python float; ``expected`` ends the sentence of the error."""
    value = real(getattr(options, name))
    if not is_valid(value):
        raise ConfigurationError(f"{type(options).__name__}: {name}={getattr(options, name)!r} is not {expected}.")
    object.__setattr__(options, name, value)


def set_flag(options: Any, name: str) -> None:
    """Make the field ``name`` of a frozen dataclass a Python bool. Raises ConfigurationError for anything else."""
    value = getattr(options, name)
    if not isinstance(value, bool | np.bool_):
        raise ConfigurationError(f"{type(options).__name__}: {name}={value!r} is not True or False.")
    object.__setattr__(options, name, bool(value))
