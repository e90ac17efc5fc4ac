"""What all updaters have in common."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..numeric_options import is_fraction, is_rate, real, set_real
from ..options import CheckedOptions
from .schedule_base import Schedule

__all__ = [
    "Array",
    "FRACTION",
    "Updater",
    "ZERO_EPSILON",
    "add_average",
    "set_epsilon",
    "set_fraction",
    "set_rate",
    "value_now",
]

Array = npt.NDArray[Any]
Range = tuple[Callable[[float], bool], str]

RATE: Range = (is_rate, "a finite number of at least 0, such as 0.001")
FRACTION: Range = (is_fraction, "in [0, 1). Use 0.9, for example")
EPSILON: Range = (is_rate, "a small number of at least 0, such as 1e-8")

ZERO_EPSILON = 1e-7
"""What most rules read an epsilon of 0 as. Source: ND4J, ``epsilon == 0 ? 1e-7 : epsilon`` in its operations."""


@dataclass(frozen=True)
class Updater(CheckedOptions, abc.ABC):
    """One rule, with its hyperparameters. The state arrays are the network's and come in as arguments.

    ``slots`` names the state arrays, each as long as the parameters; ``scratch_arrays`` says how many temporaries
    of that length ``step`` uses. A ``learning_rate`` is a number or a Schedule.

    ``step`` is called for pieces of the parameter vector: at most 16384 elements, which may be a part of one parameter
    or several parameters at once. So a rule must treat every element by itself: a norm, for example, would be that of
    the piece.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    scratch_arrays: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self.check_now(0)

    @abc.abstractmethod
    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Turn ``gradient``, flat, in place into the step to subtract; ``iteration`` counts updates from 0."""

    def rate(self, iteration: int, epoch: int = 0) -> float:
        """Return the learning rate of this iteration; 1 for a rule that has none.

        Raises ConfigurationError where a schedule gives no finite number of at least 0.
        """
        return value_now(self, "learning_rate", RATE, iteration, epoch) if self.has_learning_rate else 1.0

    def check_now(self, iteration: int, epoch: int = 0) -> None:
        """Raise ConfigurationError where a schedule gives an impossible value now.

        It is called when the rule is made, for iteration and epoch 0, and before every update, which it keeps from
        stopping halfway. A rule with a schedule other than its ``learning_rate`` checks that one too.
        """
        if isinstance(getattr(self, "learning_rate", None), Schedule):
            self.rate(iteration, epoch)

    def start(self, slot: str) -> float:
        """Return what every element of a state array starts at."""
        return 0.0

    @property
    def has_learning_rate(self) -> bool:
        """Whether the rule has a learning rate of its own."""
        return hasattr(self, "learning_rate")

    def with_learning_rate(self, rate: float | Schedule) -> Self:
        """Return the same rule with another learning rate. Raises ConfigurationError for a rule that has none."""
        if not self.has_learning_rate:
            raise ConfigurationError(
                f"{type(self).__name__} has no learning rate, so it cannot be {rate!r}. Use an updater that has one, "
                "such as Sgd."
            )
        return dataclasses.replace(self, learning_rate=rate)  # type: ignore[call-arg]

    @property
    def decoupled_weight_decay(self) -> float:
        """The c of a step += c rate w that the network adds for weights, not for biases, after the rule."""
        return 0.0


def value_now(rule: Updater, name: str, valid: Range, iteration: int, epoch: int) -> float:
    """Return a field, or what the schedule in it gives now. Raises ConfigurationError for a value out of range."""
    value = getattr(rule, name)
    if not isinstance(value, Schedule):
        return float(value)
    is_valid, expected = valid
    given = value.value_at(iteration, epoch)
    number = real(given)  # a schedule of the user's may return a float64 scalar of NumPy
    if not is_valid(number):
        raise ConfigurationError(
            f"{type(rule).__name__}: the schedule {name}={value!r} gives {given!r} at iteration {iteration}, epoch "
            f"{epoch}, which is not {expected}."
        )
    return number


def add_average(average: Array, beta: float, value: Array, temporary: Array) -> None:
    """Advance a moving average: average = beta average + (1 - beta) value. ``temporary`` may be ``value`` itself."""
    np.multiply(average, beta, out=average)
    np.multiply(value, 1 - beta, out=temporary)
    np.add(average, temporary, out=average)


def set_rate(rule: Any) -> None:
    """Make ``learning_rate`` a float, or leave it the Schedule that it is."""
    if not isinstance(rule.learning_rate, Schedule):
        is_valid, expected = RATE
        set_real(rule, "learning_rate", is_valid, f"{expected}, or a Schedule")


def set_fraction(rule: Any, name: str) -> None:
    """Make a field a float in [0, 1)."""
    set_real(rule, name, *FRACTION)


def set_epsilon(rule: Any) -> None:
    """Make ``epsilon`` a float of at least 0."""
    set_real(rule, "epsilon", *EPSILON)
