"""The updaters that divide by a root of squared gradients and keep no momentum: AdaGrad, RmsProp, AdaDelta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .schedule_base import Schedule
from .updater_base import ZERO_EPSILON, Array, Updater, add_average, set_epsilon, set_fraction, set_rate

__all__ = ["AdaDelta", "AdaGrad", "RmsProp"]


@dataclass(frozen=True)
class AdaGrad(Updater):
    """AdaGrad: h' = h + g^2; step = lr g / (sqrt h' + eps).

    h starts at epsilon, not at 0, and an epsilon of 0 is read as 1e-7, there too, as in DL4J. PyTorch starts at
    ``initial_accumulator_value``, the paper at a small diagonal inside the root in place of the outer epsilon.
    Source: ND4J ``AdaGrad``; Duchi et al. (2011), https://jmlr.org/papers/v12/duchi11a.html.
    """

    slots = ("h",)
    scratch_arrays = 1

    learning_rate: float | Schedule = 0.1
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        set_rate(self)
        set_epsilon(self)
        super().__post_init__()

    def start(self, slot: str) -> float:
        """Return epsilon."""
        return self.epsilon or ZERO_EPSILON

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance h and turn the gradient into the step."""
        (h,), (temporary,) = state, scratch
        np.multiply(gradient, gradient, out=temporary)
        np.add(h, temporary, out=h)
        np.sqrt(h, out=temporary)
        np.add(temporary, self.epsilon or ZERO_EPSILON, out=temporary)
        np.multiply(gradient, self.rate(iteration, epoch), out=gradient)
        np.divide(gradient, temporary, out=gradient)


@dataclass(frozen=True)
class RmsProp(Updater):
    """RMSProp: h' = d h + (1-d) g^2; step = lr g / (sqrt h' + eps), with d = ``decay``, DL4J's rmsDecay.

    h starts at epsilon, as in DL4J; in PyTorch it starts at 0. Here an epsilon of 0 stays 0, again as in DL4J: then a
    gradient that has always been 0 gives 0 / 0, so use 0 only where that cannot be.
    Source: ND4J ``RmsProp``; Tieleman & Hinton (2012), lecture 6.5 of Neural Networks for Machine Learning.
    """

    slots = ("h",)
    scratch_arrays = 1

    learning_rate: float | Schedule = 0.1
    decay: float = 0.95
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        set_rate(self)
        set_fraction(self, "decay")
        set_epsilon(self)
        super().__post_init__()

    def start(self, slot: str) -> float:
        """Return epsilon."""
        return self.epsilon

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance h and turn the gradient into the step."""
        (h,), (temporary,) = state, scratch
        np.multiply(gradient, gradient, out=temporary)
        add_average(h, self.decay, temporary, temporary)
        np.sqrt(h, out=temporary)
        np.add(temporary, self.epsilon, out=temporary)
        np.multiply(gradient, self.rate(iteration, epoch), out=gradient)
        np.divide(gradient, temporary, out=gradient)


@dataclass(frozen=True)
class AdaDelta(Updater):
    """AdaDelta: a' = rho a + (1-rho) g^2; step = g sqrt(x + eps) / sqrt(a' + eps); x' = rho x + (1-rho) step^2.

    It has no learning rate: the steps of the past, x, stand in for one, as in DL4J and the paper. PyTorch multiplies by
    one besides, 1 unless set. An epsilon of 0 is read as 1e-7.
    Source: ND4J ``AdaDelta``; Zeiler (2012), https://arxiv.org/abs/1212.5701.
    """

    slots = ("a", "x")
    scratch_arrays = 1

    rho: float = 0.95
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        set_fraction(self, "rho")
        set_epsilon(self)
        super().__post_init__()

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance a and x and turn the gradient into the step."""
        (a, x), (temporary,) = state, scratch
        epsilon = self.epsilon or ZERO_EPSILON
        np.multiply(gradient, gradient, out=temporary)
        add_average(a, self.rho, temporary, temporary)
        np.add(x, epsilon, out=temporary)
        np.sqrt(temporary, out=temporary)
        np.multiply(gradient, temporary, out=gradient)
        np.add(a, epsilon, out=temporary)
        np.sqrt(temporary, out=temporary)
        np.divide(gradient, temporary, out=gradient)
        np.multiply(gradient, gradient, out=temporary)
        add_average(x, self.rho, temporary, temporary)
