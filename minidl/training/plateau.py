"""A learning rate that falls when a score no longer improves."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError
from ..numeric_options import is_fraction, is_number, is_rate, real, set_real, whole
from ..options import CheckedOptions, enum_option
from .schedule_base import Schedule

__all__ = ["PlateauMode", "PlateauState", "PlateauThreshold", "ReduceLROnPlateau"]

SMALLEST_CHANGE = 1e-8
"""PyTorch's ``eps``: a rate that would fall by no more is left as it is."""


class PlateauMode(enum.Enum):
    """Whether small values are good, as of a loss, or large ones, as of an accuracy."""

    MIN = "min"
    MAX = "max"


class PlateauThreshold(enum.Enum):
    """Whether the least improvement that counts is relative to the best value, or a number of its own."""

    REL = "rel"
    ABS = "abs"


@dataclass(frozen=True)
class PlateauState:
    """The best value so far, the values in a row that were no better, and how long such do not count any more."""

    best: float
    bad: int = 0
    cooldown: int = 0


@dataclass
class ReduceLROnPlateau(CheckedOptions):
    """Multiply all learning rates by ``factor`` when ``patience`` + 1 values in a row were no better than the best.

    ``network.fit`` does not know of it: call ``step(network, value)`` where a value is there, as after every epoch.
    The same as PyTorch's ``torch.optim.lr_scheduler.ReduceLROnPlateau``, whose ``min_lr`` is ``min_learning_rate`` and
    whose ``eps`` is always 1e-8. Keras's callback of this name calls the threshold ``min_delta`` (always absolute), has
    ``min_lr`` and a mode "auto", and reduces one value earlier: its patience of 1 is 0 here.

    A value is better than the best where it is below best (1 - threshold), with the ``threshold_mode`` "rel", which is
    meant for values above 0, or below best - threshold, with "abs"; in mode "max" where it is above best
    (1 + threshold) or best + threshold. NaN is never better. For ``cooldown`` values after a reduction none counts as
    no better.
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: PlateauThreshold = PlateauThreshold.REL
    cooldown: int = 0
    min_learning_rate: float = 0.0
    mode: PlateauMode = PlateauMode.MIN
    state: PlateauState = field(init=False)

    def __post_init__(self) -> None:
        set_real(self, "factor", is_fraction, "in [0, 1). Use 0.1, for example")
        set_real(self, "threshold", is_rate, "a finite number of at least 0, such as 1e-4")
        set_real(self, "min_learning_rate", is_rate, "a finite number of at least 0, such as 1e-6")
        self.patience = self._count("patience")
        self.cooldown = self._count("cooldown")
        self.threshold_mode = enum_option(PlateauThreshold, self.threshold_mode, "threshold_mode")
        self.mode = enum_option(PlateauMode, self.mode, "mode")
        is_relative = self.mode is PlateauMode.MIN and self.threshold_mode is PlateauThreshold.REL
        if is_relative and self.threshold >= 1:
            raise ConfigurationError(
                f"ReduceLROnPlateau: threshold={self.threshold!r} is not below 1, as a relative one must be in mode "
                "'min'. Use 1e-4, for example, or threshold_mode='abs'."
            )
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self.state = PlateauState(math.inf if self.mode is PlateauMode.MIN else -math.inf)

    def step(self, network: Any, value: float) -> bool:
        """Take the next value, reduce the rates of ``network`` if it is time, and tell whether any was reduced.

        Raises ConfigurationError, before anything changes, for a value that is no number, for a network with a rate
        that is a Schedule, and for one without any rate.
        """
        if not is_number(value):
            raise ConfigurationError(
                f"value={value!r} is not a number. Pass one score, such as network.score(data_set), at every step."
            )
        rates = list(_rates(network))
        if not rates:
            raise ConfigurationError(
                "ReduceLROnPlateau: the network has no learning rate that could be reduced. Give it an updater that "
                "has one, such as Sgd(0.1)."
            )
        self.state, is_due = next_state(self, self.state, real(value))
        if not is_due:
            return False
        changed = False
        for layer, bias, rate in rates:
            reduced = max(rate * self.factor, self.min_learning_rate)
            if rate - reduced > SMALLEST_CHANGE:
                network.set_learning_rate(reduced, layer, bias=bias)
                changed = True
        return changed

    def _count(self, name: str) -> int:
        count = whole(getattr(self, name))
        if count is None or count < 0:
            raise ConfigurationError(
                f"ReduceLROnPlateau: {name}={getattr(self, name)!r} is not a whole number of at least 0, such as 10."
            )
        return count


def next_state(options: ReduceLROnPlateau, state: PlateauState, value: float) -> tuple[PlateauState, bool]:
    """Return the state after one more value, and whether the rates are to be reduced now."""
    is_better = _is_better(options, value, state.best)
    best = value if is_better else state.best
    if state.cooldown > 0:
        return PlateauState(best, 0, state.cooldown - 1), False
    bad = 0 if is_better else state.bad + 1
    if bad > options.patience:
        return PlateauState(best, 0, options.cooldown), True
    return PlateauState(best, bad, 0), False


def _is_better(options: ReduceLROnPlateau, value: float, best: float) -> bool:
    sign = -1 if options.mode is PlateauMode.MIN else 1
    if options.threshold_mode is PlateauThreshold.REL:
        bound = best * (1 + sign * options.threshold)
    else:
        bound = best + sign * options.threshold
    return sign * value > sign * bound


def _rates(network: Any) -> Iterator[tuple[int, bool, float]]:
    """Yield (layer, bias, rate) for every rate of a network. Raises ConfigurationError for one that is a Schedule."""
    for i in range(len(network.layers)):
        for bias in (False, True):
            rate = network.get_learning_rate(i, bias=bias)
            if rate is None:
                continue
            updater = getattr(network.layers[i], "bias_updater" if bias else "updater", None)
            given = getattr(updater, "learning_rate", None)
            if isinstance(given, Schedule):
                raise ConfigurationError(
                    f"ReduceLROnPlateau: the learning rate of layer {i}{' (bias)' if bias else ''} is {given!r}, but "
                    "only a number can be reduced. Give its updater a number, or train without ReduceLROnPlateau."
                )
            yield i, bias, rate
