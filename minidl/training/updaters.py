"""Updaters: from a gradient to the step that is subtracted from the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..options import named_option
from .adam import AdaBelief, Adam, AdaMax, AdamW, AMSGrad, Nadam
from .adaptive import AdaDelta, AdaGrad, RmsProp
from .schedule_base import Schedule
from .updater_base import FRACTION, Array, Updater, set_fraction, set_rate, value_now

__all__ = ["Nesterovs", "NoOp", "Sgd", "UPDATERS", "updater"]


@dataclass(frozen=True)
class NoOp(Updater):
    """Leave the gradient as it is: step = g. Source: ND4J ``NoOp``."""

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Sgd(Updater):
    """Stochastic gradient descent: step = lr g. Source: ND4J ``Sgd``."""

    learning_rate: float | Schedule = 1e-3

    def __post_init__(self) -> None:
        set_rate(self)
        super().__post_init__()

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Scale the gradient."""
        gradient *= self.rate(iteration, epoch)


@dataclass(frozen=True)
class Nesterovs(Updater):
    """Nesterov's momentum: v' = mu v - lr g; step = mu v - (1 + mu) v'.

    mu, the ``momentum``, may be a Schedule too, with values in [0, 1); both places take the mu of now, as in DL4J.
    Source: ND4J ``Nesterovs``; Nesterov (1983), in the form of Bengio et al., https://arxiv.org/abs/1212.0901.
    """

    slots = ("v",)
    scratch_arrays = 1

    learning_rate: float | Schedule = 0.1
    momentum: float | Schedule = 0.9

    def __post_init__(self) -> None:
        set_rate(self)
        if not isinstance(self.momentum, Schedule):
            set_fraction(self, "momentum")
        super().__post_init__()

    def check_now(self, iteration: int, epoch: int = 0) -> None:
        """Check the momentum besides the learning rate."""
        super().check_now(iteration, epoch)
        if isinstance(self.momentum, Schedule):
            value_now(self, "momentum", FRACTION, iteration, epoch)

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance v and turn the gradient into the step."""
        (v,), (temporary,) = state, scratch
        momentum = value_now(self, "momentum", FRACTION, iteration, epoch)
        np.multiply(v, momentum, out=temporary)
        np.multiply(gradient, self.rate(iteration, epoch), out=gradient)
        np.subtract(temporary, gradient, out=v)
        np.multiply(v, 1 + momentum, out=gradient)
        np.subtract(temporary, gradient, out=gradient)


UPDATERS: dict[str, type[Updater]] = {
    "adabelief": AdaBelief,
    "adadelta": AdaDelta,
    "adagrad": AdaGrad,
    "adam": Adam,
    "adamax": AdaMax,
    "adamw": AdamW,
    "amsgrad": AMSGrad,
    "nadam": Nadam,
    "nesterovs": Nesterovs,
    "noop": NoOp,
    "rmsprop": RmsProp,
    "sgd": Sgd,
}


def updater(value: object, option: str = "updater") -> Updater:
    """Return the updater that ``value`` is (an object or a class) or names, as in ``updater("adam")``.

    Raises ConfigurationError that names ``option`` and lists what exists.
    """
    return named_option(Updater, UPDATERS, value, option)  # type: ignore[type-abstract]
