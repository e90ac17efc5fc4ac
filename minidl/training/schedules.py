"""Schedules: a learning rate, a momentum or another hyperparameter as a function of iteration and epoch."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from ..numeric_options import is_rate, real, set_real, whole
from .schedule_base import CountedSchedule, Schedule, set_count, set_number

__all__ = [
    "CosineWarmupSchedule",
    "CycleSchedule",
    "ExponentialSchedule",
    "FixedSchedule",
    "InverseSchedule",
    "MapSchedule",
    "PolySchedule",
    "RampSchedule",
    "SCHEDULES",
    "SigmoidSchedule",
    "StepSchedule",
]


@dataclass(frozen=True)
class FixedSchedule(Schedule):
    """Always ``value``. Source: ND4J ``FixedSchedule``."""

    value: float

    def __post_init__(self) -> None:
        set_number(self, "value")

    def value_at(self, iteration: int, epoch: int) -> float:
        """Return the value."""
        return self.value


@dataclass(frozen=True)
class RampSchedule(Schedule):
    """A slow start: base (iteration + 1) / n while iteration < n - 1, then the base schedule as it is.

    n is ``num_iterations``; the ramp always goes by iteration, whatever the base schedule counts, and so does upstream.
    Source: ND4J ``RampSchedule``.
    """

    base_schedule: Schedule
    num_iterations: int

    def __post_init__(self) -> None:
        if not isinstance(self.base_schedule, Schedule):
            raise ConfigurationError(
                f"RampSchedule: base_schedule={self.base_schedule!r} is not a Schedule. Use FixedSchedule(0.1), for "
                "example."
            )
        set_count(self, "num_iterations")

    def value_at(self, iteration: int, epoch: int) -> float:
        """Return the value of the base schedule, or a part of it."""
        base = self.base_schedule.value_at(iteration, epoch)
        return base * ((iteration + 1) / self.num_iterations) if iteration < self.num_iterations - 1 else base


@dataclass(frozen=True)
class MapSchedule(CountedSchedule):
    """A table: the value of the largest key <= i, as in ``MapSchedule("iteration", {0: 0.05, 4: 0.04})``.

    ``values`` is a dictionary, or pairs of a key and a value; it is kept as pairs in the order of their keys, of which
    one must be 0. Source: ND4J ``MapSchedule``.
    """

    numbers = ()

    values: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", _table(self.values))

    def _value(self, i: int) -> float:
        return self.values[bisect.bisect_right(self.values, (i, math.inf)) - 1][1]


@dataclass(frozen=True)
class StepSchedule(CountedSchedule):
    """Stairs: v d^floor(i / step), with d = ``decay_rate``. Source: ND4J ``StepSchedule``."""

    numbers = ("initial_value", "decay_rate")
    counts = ("step",)

    initial_value: float
    decay_rate: float
    step: int

    def _value(self, i: int) -> float:
        return self.initial_value * self.decay_rate ** (i // self.step)


@dataclass(frozen=True)
class ExponentialSchedule(CountedSchedule):
    """Exponential decay: v gamma^i. Source: ND4J ``ExponentialSchedule``."""

    numbers = ("initial_value", "gamma")

    initial_value: float
    gamma: float

    def _value(self, i: int) -> float:
        return self.initial_value * self.gamma**i


@dataclass(frozen=True)
class InverseSchedule(CountedSchedule):
    """Decay by a power of i: v / (1 + gamma i)^power. Source: ND4J ``InverseSchedule``."""

    numbers = ("initial_value", "gamma", "power")

    initial_value: float
    gamma: float
    power: float

    def _value(self, i: int) -> float:
        return self.initial_value * (1 + self.gamma * i) ** -self.power  # falls to 0 where a quotient would overflow


@dataclass(frozen=True)
class PolySchedule(CountedSchedule):
    """Polynomial decay: v (1 - i / max)^power, and 0 from max = ``max_iterations`` on.

    Unlike ND4J ``PolySchedule``, which has the sign wrong: its v (1 + i / max)^power grows until max, where it
    falls to 0. ``max_iterations`` counts epochs where the schedule goes by epoch.
    """

    numbers = ("initial_value", "power")
    counts = ("max_iterations",)

    initial_value: float
    power: float
    max_iterations: int

    def _value(self, i: int) -> float:
        return self.initial_value * (1 - i / self.max_iterations) ** self.power if i < self.max_iterations else 0.0


@dataclass(frozen=True)
class SigmoidSchedule(CountedSchedule):
    """An S-curve with its middle at ``step_size``: v / (1 + exp(-gamma (i - step_size))).

    It rises to v; with a negative gamma it falls from v to 0. Source: ND4J ``SigmoidSchedule``.
    """

    counts = ("step_size",)

    initial_value: float
    gamma: float
    step_size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        set_real(self, "gamma", math.isfinite, "a finite number, such as 0.01 to rise or -0.01 to fall")

    def _value(self, i: int) -> float:
        x = self.gamma * (i - self.step_size)
        if x >= 0:
            return self.initial_value / (1 + math.exp(-x))
        return self.initial_value * math.exp(x) / (1 + math.exp(x))  # the same; exp(-x) could overflow


@dataclass(frozen=True)
class CycleSchedule(CountedSchedule):
    """The 1cycle policy, again and again: up, down the same way, then a fall by powers of ``annealing_decay``.

    With p = i mod cycle_length, s = (cycle_length - annealing_length) // 2, inc = (max_value - initial_value) / s::

        initial_value + inc p                                                 p < s
        max_value - inc (p - s)                                          s <= p < 2 s
        initial_value annealing_decay^(annealing_length - (cycle_length - p))  2 s <= p

    As upstream, where cycle_length - annealing_length is odd, the first power of the fall is -1: one value above
    ``initial_value``. Source: ND4J ``CycleSchedule``; Smith (2018), https://arxiv.org/abs/1803.09820.
    """

    counts = ("cycle_length",)

    initial_value: float
    max_value: float
    cycle_length: int
    annealing_length: int
    annealing_decay: float

    def __post_init__(self) -> None:
        super().__post_init__()
        set_real(
            self,
            "max_value",
            lambda value: self.initial_value <= value < math.inf,
            f"a finite number of at least initial_value={self.initial_value!r}",
        )
        set_count(self, "annealing_length", least=0)
        set_real(self, "annealing_decay", lambda value: 0 < value < math.inf, "a finite number above 0, such as 0.1")
        rest = self.cycle_length - self.annealing_length
        if rest < 2:
            raise ConfigurationError(
                f"CycleSchedule: annealing_length={self.annealing_length} leaves {max(0, rest)} of "
                f"cycle_length={self.cycle_length}, at least 2 are needed to go up and down. Make the annealing "
                "shorter or the cycle longer."
            )

    def _value(self, i: int) -> float:
        p, s = i % self.cycle_length, (self.cycle_length - self.annealing_length) // 2
        increment = (self.max_value - self.initial_value) / s
        if p < s:
            return self.initial_value + increment * p
        if p < 2 * s:
            return self.max_value - increment * (p - s)
        return self.initial_value * self.annealing_decay ** (self.annealing_length - (self.cycle_length - p))


@dataclass(frozen=True)
class CosineWarmupSchedule(CountedSchedule):
    """A linear rise, then half a cosine down from v = ``initial_value`` to f = ``final_value``.

    v (i + 1) / warmup while i < warmup; f + (v - f) (1 + cos(pi (i - warmup) / (total - warmup))) / 2 while i < total;
    f from total on. Not in the source of DL4J that the other schedules are from, so the form is minidl's own.
    Source: Loshchilov & Hutter (2017), https://arxiv.org/abs/1608.03983, without restarts.
    """

    numbers = ("initial_value", "final_value")
    counts = ("total",)

    initial_value: float
    warmup: int
    total: int
    final_value: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        set_count(self, "warmup", least=0)
        if self.warmup > self.total:
            raise ConfigurationError(
                f"CosineWarmupSchedule: warmup={self.warmup} is more than total={self.total}. total counts the warmup "
                "too: make it longer, or the warmup shorter."
            )

    def _value(self, i: int) -> float:
        if i < self.warmup:
            return self.initial_value * ((i + 1) / self.warmup)
        if i >= self.total:
            return self.final_value
        angle = math.pi * (i - self.warmup) / (self.total - self.warmup)
        return self.final_value + (self.initial_value - self.final_value) * (1 + math.cos(angle)) / 2


SCHEDULES: dict[str, type[Schedule]] = {
    "cosinewarmup": CosineWarmupSchedule,
    "cycle": CycleSchedule,
    "exponential": ExponentialSchedule,
    "fixed": FixedSchedule,
    "inverse": InverseSchedule,
    "map": MapSchedule,
    "poly": PolySchedule,
    "ramp": RampSchedule,
    "sigmoid": SigmoidSchedule,
    "step": StepSchedule,
}
"""The schedules by DL4J's names without "Schedule"; unlike an updater, a schedule has no options to be made without."""


def _table(values: Any) -> tuple[tuple[int, float], ...]:
    given = values.items() if isinstance(values, Mapping) else values
    try:
        pairs = [(whole(key), real(value)) for key, value in given]
    except (TypeError, ValueError):  # not pairs
        pairs = []
    table = {key: value for key, value in pairs if key is not None and key >= 0 and is_rate(value)}
    if 0 not in table or len(table) < len(pairs):
        raise ConfigurationError(
            f"MapSchedule: values={values!r} is not a table of finite numbers of at least 0, with different whole "
            "numbers as keys and 0 among them. Use {0: 0.05, 1000: 0.01}, for example."
        )
    return tuple(sorted(table.items()))
