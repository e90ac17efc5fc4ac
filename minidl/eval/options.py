"""Options of evaluations, checked, and as Python has them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..numeric_options import real

__all__ = ["class_names", "cost_factors", "flag", "probability", "thresholds", "whole_number"]


def whole_number(name: str, value: object, least: int, expected: str) -> int:
    """Return a whole number of at least ``least``; raise ConfigurationError, with what was ``expected``, for others."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or not least <= value:  # type: ignore[operator]  # a number
        raise ConfigurationError(f"{name}={value!r}: expected {expected}.")
    return int(value)  # type: ignore[call-overload]  # a number


def flag(name: str, value: object) -> bool:
    """Return True or False; raise ConfigurationError for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise ConfigurationError(f"{name}={value!r}: expected True or False.")
    return bool(value)


def probability(name: str, value: object) -> float:
    """Return a number of 0 to 1; raise ConfigurationError for anything else."""
    number = real(value)
    if not 0 <= number <= 1:
        raise ConfigurationError(f"{name}={value!r}: expected a probability, 0 to 1.")
    return number


def cost_factors(costs: Sequence[float]) -> tuple[float, ...]:
    """Return the factors of a row vector; raise ConfigurationError unless all are finite and not negative."""
    try:
        values = np.atleast_1d(np.asarray(costs, np.float64))
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.ndim == 2 and len(values) == 1:
        values = values[0]
    if values.ndim != 1 or values.size == 0 or not (np.isfinite(values) & (values >= 0)).all():
        raise ConfigurationError(f"cost_array={costs!r}: expected a row of factors, none of them negative.")
    return tuple(values.tolist())


def thresholds(value: object) -> float | tuple[float, ...]:
    """Return one threshold, or those of a row as a tuple; raise ConfigurationError unless all are in [0, 1]."""
    try:
        values = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.ndim == 2 and len(values) == 1:  # a row vector, as in DL4J
        values = values[0]
    if isinstance(value, str) or values.ndim > 1 or values.size == 0 or not ((values >= 0) & (values <= 1)).all():
        raise ConfigurationError(
            f"threshold={value!r}: expected a probability, 0 to 1, or a list with one for each output."
        )
    return values.item() if values.ndim == 0 else tuple(values.tolist())


def class_names(labels: Sequence[str] | Mapping[int, str] | None) -> tuple[str, ...]:
    """Return names of classes or outputs, in order or by index, as a tuple, empty for None.

    Raises ConfigurationError where an index is missing, and for what is no list of names.
    """
    if labels is None:
        return ()
    names: Any = labels
    if isinstance(labels, Mapping):
        if set(labels) != set(range(len(labels))):
            raise ConfigurationError(
                f"labels have the keys {list(labels)}, expected 0 to {len(labels) - 1}. Name every class once."
            )
        names = [labels[c] for c in range(len(labels))]
    if not hasattr(names, "__iter__"):
        raise ConfigurationError(f"labels={labels!r}: expected a list with one name for each class or output.")
    return tuple(str(name) for name in names)
