"""Hyperparameters as Python floats."""

import math
import numbers

__all__ = ["real"]


def real(value: object) -> float:
    """Return a real number as a Python float, and anything else as NaN, for which no comparison holds.

    A float64 scalar of NumPy would turn the arithmetic of float32 arrays into that of float64.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    return math.nan
