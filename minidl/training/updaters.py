"""Updaters: from a gradient to the step that is subtracted from the parameters."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..options import CheckedOptions, named_option
from .real import real

__all__ = ["Adam", "Nesterovs", "NoOp", "Sgd", "UPDATERS", "Updater", "updater"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Updater(CheckedOptions, abc.ABC):
    """One rule, with its hyperparameters. The state arrays are the network's and come in as arguments.

    ``slots`` names the state arrays, each as long as the parameters; ``scratch_arrays`` says how many temporaries
    of that length ``step`` uses.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    scratch_arrays: ClassVar[int] = 0

    @abc.abstractmethod
    def step(self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int) -> None:
        """Turn ``gradient``, flat, in place into the step to subtract; ``iteration`` counts updates from 0."""

    def rate(self, iteration: int) -> float:
        """Return the learning rate of this iteration; 1 for a rule that has none."""
        return float(getattr(self, "learning_rate", 1.0))


@dataclass(frozen=True)
class NoOp(Updater):
    """Leave the gradient as it is: step = g. Source: ND4J ``NoOp``."""

    def step(self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Sgd(Updater):
    """Stochastic gradient descent: step = lr g. Source: ND4J ``Sgd``."""

    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        _set_rate(self)

    def step(self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int) -> None:
        """Scale the gradient."""
        gradient *= self.learning_rate


@dataclass(frozen=True)
class Nesterovs(Updater):
    """Nesterov's momentum: v' = mu v - lr g; step = mu v - (1 + mu) v'.

    Source: ND4J ``Nesterovs``; Nesterov (1983), in the form of Bengio et al., https://arxiv.org/abs/1212.0901.
    """

    slots = ("v",)
    scratch_arrays = 1

    learning_rate: float = 0.1
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _set_rate(self)
        _set_fraction(self, "momentum")

    def step(self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int) -> None:
        """Advance v and turn the gradient into the step."""
        (v,), (temporary,) = state, scratch
        np.multiply(v, self.momentum, out=temporary)
        np.multiply(gradient, self.learning_rate, out=gradient)
        np.subtract(temporary, gradient, out=v)
        np.multiply(v, 1 + self.momentum, out=gradient)
        np.subtract(temporary, gradient, out=gradient)


@dataclass(frozen=True)
class Adam(Updater):
    """Adam: m' = b1 m + (1-b1) g; v' = b2 v + (1-b2) g^2; step = lr sqrt(1-b2^t)/(1-b1^t) m'/(sqrt v' + eps).

    t = iteration + 1; epsilon is added to the uncorrected root, and an epsilon of 0 is read as 1e-7, as in DL4J.
    Source: ND4J ``Adam``; Kingma & Ba (2015), https://arxiv.org/abs/1412.6980.
    """

    slots = ("m", "v")
    scratch_arrays = 1

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        _set_rate(self)
        _set_fraction(self, "beta1")
        _set_fraction(self, "beta2")
        _set_epsilon(self)

    def step(self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int) -> None:
        """Advance m and v and turn the gradient into the step."""
        (m, v), (temporary,) = state, scratch
        t = iteration + 1
        # math, not NumPy: a float64 scalar of NumPy would make float32 arrays float64
        alpha = self.learning_rate * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t)
        np.multiply(m, self.beta1, out=m)
        np.multiply(gradient, 1 - self.beta1, out=temporary)
        np.add(m, temporary, out=m)
        np.multiply(gradient, gradient, out=gradient)
        np.multiply(gradient, 1 - self.beta2, out=gradient)
        np.multiply(v, self.beta2, out=v)
        np.add(v, gradient, out=v)
        np.sqrt(v, out=temporary)
        np.add(temporary, self.epsilon or 1e-7, out=temporary)
        np.multiply(m, alpha, out=gradient)
        np.divide(gradient, temporary, out=gradient)


UPDATERS: dict[str, type[Updater]] = {
    "adam": Adam,
    "nesterovs": Nesterovs,
    "noop": NoOp,
    "sgd": Sgd,
}


def updater(value: object) -> Updater:
    """Return the updater that ``value`` is (an object or a class) or names, as in ``updater("adam")``.

    Raises ConfigurationError that lists what exists.
    """
    return named_option(Updater, UPDATERS, value, "updater")  # type: ignore[type-abstract]


def _set_rate(rule: Any) -> None:
    rate = real(rule.learning_rate)
    if not 0 <= rate < math.inf:
        raise ConfigurationError(
            f"{type(rule).__name__}: learning_rate={rule.learning_rate!r} is not a finite number of at least 0, such "
            "as 0.001."
        )
    object.__setattr__(rule, "learning_rate", rate)


def _set_fraction(rule: Any, name: str) -> None:
    value = real(getattr(rule, name))
    if not 0 <= value < 1:
        raise ConfigurationError(
            f"{type(rule).__name__}: {name}={getattr(rule, name)!r} is not in [0, 1). Use 0.9, for example."
        )
    object.__setattr__(rule, name, value)


def _set_epsilon(rule: Any) -> None:
    epsilon = real(rule.epsilon)
    if not 0 <= epsilon < math.inf:
        raise ConfigurationError(
            f"{type(rule).__name__}: epsilon={rule.epsilon!r} is not a small number of at least 0, such as 1e-8."
        )
    object.__setattr__(rule, "epsilon", epsilon)
