"""What all schedules have in common, and what they may count."""

from __future__ import annotations

import abc
import enum
import math
from dataclasses import dataclass
from typing import ClassVar

from ..errors import ConfigurationError
from ..numeric_options import is_rate, set_real, whole
from ..options import CheckedOptions, enum_option

__all__ = ["CountedSchedule", "Schedule", "ScheduleType", "set_count", "set_number"]


class ScheduleType(enum.Enum):
    """What a schedule counts. Source: ND4J ``ScheduleType``."""

    ITERATION = "iteration"
    EPOCH = "epoch"


@dataclass(frozen=True)
class Schedule(CheckedOptions, abc.ABC):
    """A value for every iteration and epoch. Source: ND4J ``ISchedule``."""

    @abc.abstractmethod
    def value_at(self, iteration: int, epoch: int) -> float:
        """Return the value for an update; iterations and epochs count from 0."""


@dataclass(frozen=True)
class CountedSchedule(Schedule):
    """Base of the schedules that look at one number i only: the iteration or the epoch, as ``schedule_type`` says.

    ``numbers`` names the fields that are at least 0, ``counts`` those that are whole and at least 1.
    """

    numbers: ClassVar[tuple[str, ...]] = ("initial_value",)
    counts: ClassVar[tuple[str, ...]] = ()

    schedule_type: ScheduleType

    def __post_init__(self) -> None:
        kind = enum_option(ScheduleType, self.schedule_type, "schedule_type")
        object.__setattr__(self, "schedule_type", kind)
        for name in self.numbers:
            set_number(self, name)
        for name in self.counts:
            set_count(self, name)

    def value_at(self, iteration: int, epoch: int) -> float:
        """Return the value for i. Raises ConfigurationError where it is too large for a float."""
        try:
            value = self._value(iteration if self.schedule_type is ScheduleType.ITERATION else epoch)
        except OverflowError:
            value = math.inf
        if math.isfinite(value):
            return value
        raise ConfigurationError(
            f"{self} has grown beyond the largest float at iteration {iteration}, epoch {epoch}; a finite number was "
            "expected. Choose options that let it fall, or train for a shorter time."
        )

    @abc.abstractmethod
    def _value(self, i: int) -> float: ...


def set_number(schedule: Schedule, name: str) -> None:
    """Make a field a float, finite and at least 0. Raises ConfigurationError for anything else."""
    set_real(schedule, name, is_rate, "a finite number of at least 0, such as 0.1")


def set_count(schedule: Schedule, name: str, least: int = 1) -> None:
    """Make a field an int, at least ``least``. Raises ConfigurationError for anything else."""
    given = getattr(schedule, name)
    number = whole(given)
    if number is None or number < least:
        raise ConfigurationError(
            f"{type(schedule).__name__}: {name}={given!r} is not a whole number of at least {least}, such as 100."
        )
    object.__setattr__(schedule, name, number)
