"""The numbers that say how a layer is trained, for one layer or for a whole network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ConfigurationError
from ..training import real

__all__ = ["check_training_options"]


def _is_penalty(value: float) -> bool:
    return 0 <= value < math.inf


PENALTY = (_is_penalty, "a finite number of at least 0")
RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "l1": PENALTY,
    "l2": PENALTY,
    "l1_bias": PENALTY,
    "l2_bias": PENALTY,
    "weight_decay": PENALTY,
    "weight_decay_bias": PENALTY,
    "bias_init": (math.isfinite, "a finite number"),
    "dropout": (
        lambda value: 0 < value <= 1,
        "in (0, 1]. It is the probability to keep an element; 1 means no dropout",
    ),
    "gradient_normalization_threshold": (lambda value: 0 < value < math.inf, "a finite number above 0"),
}


def check_training_options(options: Any, owner: str) -> None:
    """Make Python floats of those of the numbers above that ``options`` has. Raises ConfigurationError, naming one."""
    for name, (is_valid, expected) in RANGES.items():
        value = getattr(options, name, None)
        if value is None:
            continue
        number = real(value)
        if not is_valid(number):
            raise ConfigurationError(f"{owner}: {name}={value!r} is not {expected}.")
        object.__setattr__(options, name, number)  # the options of a network are frozen
