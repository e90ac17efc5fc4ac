"""Adam and its relatives: a moving average of the gradient over a measure of its size."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..numeric_options import is_rate, set_real
from .schedule_base import Schedule
from .updater_base import ZERO_EPSILON, Array, Updater, add_average, set_epsilon, set_fraction, set_rate

__all__ = ["AMSGrad", "AdaBelief", "AdaMax", "Adam", "AdamW", "Nadam"]


@dataclass(frozen=True)
class AdamRule(Updater, abc.ABC):
    """What the family has in common: its options, and m' = b1 m + (1-b1) g; t = iteration + 1.

    epsilon is added to the uncorrected root and not, as in the papers and in PyTorch, to the corrected one: theirs is
    epsilon / sqrt(1-b2^t). One of 0 is read as 1e-7. Both as in DL4J.
    """

    scratch_arrays = 1

    learning_rate: float | Schedule = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        set_rate(self)
        set_fraction(self, "beta1")
        set_fraction(self, "beta2")
        set_epsilon(self)
        super().__post_init__()

    # math, not NumPy, below: a float64 scalar of NumPy would make float32 arrays float64

    def _rate_over_m(self, iteration: int, epoch: int) -> float:
        """Return lr / (1-b1^t), which corrects m for its start at 0."""
        return self.rate(iteration, epoch) / (1 - self.beta1 ** (iteration + 1))

    def _rate_over_both(self, iteration: int, epoch: int) -> float:
        """Return lr sqrt(1-b2^t) / (1-b1^t), which corrects v besides."""
        t = iteration + 1
        return self.rate(iteration, epoch) * math.sqrt(1 - self.beta2**t) / (1 - self.beta1**t)

    def _divide_by_root(self, gradient: Array, v: Array, temporary: Array) -> None:
        """Divide the gradient by sqrt v + eps."""
        np.sqrt(v, out=temporary)
        np.add(temporary, self.epsilon or ZERO_EPSILON, out=temporary)
        np.divide(gradient, temporary, out=gradient)


@dataclass(frozen=True)
class Adam(AdamRule):
    """Adam: m' = b1 m + (1-b1) g; v' = b2 v + (1-b2) g^2; step = lr sqrt(1-b2^t)/(1-b1^t) m'/(sqrt v' + eps).

    t = iteration + 1; epsilon is added to the uncorrected root, and an epsilon of 0 is read as 1e-7, as in DL4J;
    PyTorch and the paper add it to sqrt(v' / (1-b2^t)).
    Source: ND4J ``Adam``; Kingma & Ba (2015), https://arxiv.org/abs/1412.6980.
    """

    slots = ("m", "v")

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance m and v and turn the gradient into the step."""
        (m, v), (temporary,) = state, scratch
        _advance_moments(self, m, v, gradient, temporary)
        np.multiply(m, self._rate_over_both(iteration, epoch), out=gradient)
        self._divide_by_root(gradient, v, temporary)


@dataclass(frozen=True)
class AdamW(AdamRule):
    """Adam with decoupled weight decay: Adam's step, and the network adds weight_decay lr w to it, for weights only.

    A ``weight_decay`` or an ``l2`` of the layer does not replace this decay but comes on top of it.

    Not in DL4J, whose form is ``Adam`` and a ``weight_decay`` of the layer: that is the same step, but its score counts
    the decay. The paper takes the decay times its schedule without lr, PyTorch and minidl times the lr of now; PyTorch
    decays all parameters it is given, biases too. epsilon stands as in ``Adam``.
    Source: Loshchilov & Hutter (2019), https://arxiv.org/abs/1711.05101.
    """

    slots = ("m", "v")

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        set_real(self, "weight_decay", is_rate, "a finite number of at least 0, such as 0.01")

    @property
    def decoupled_weight_decay(self) -> float:
        """The ``weight_decay``."""
        return self.weight_decay

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance m and v and turn the gradient into the step, without the decay."""
        (m, v), (temporary,) = state, scratch
        _advance_moments(self, m, v, gradient, temporary)
        np.multiply(m, self._rate_over_both(iteration, epoch), out=gradient)
        self._divide_by_root(gradient, v, temporary)


@dataclass(frozen=True)
class AMSGrad(AdamRule):
    """AMSGrad: m' and v' as in Adam; h' = max(h, v'); step = lr sqrt(1-b2^t)/(1-b1^t) m'/(sqrt h' + eps).

    As in DL4J and PyTorch, and unlike the paper, m and v are corrected for their start at 0; epsilon as in ``Adam``.
    Source: ND4J ``AMSGrad``; Reddi et al. (2018), https://arxiv.org/abs/1904.09237.
    """

    slots = ("m", "v", "h")

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance m, v and h and turn the gradient into the step."""
        (m, v, h), (temporary,) = state, scratch
        _advance_moments(self, m, v, gradient, temporary)
        np.maximum(h, v, out=h)
        np.multiply(m, self._rate_over_both(iteration, epoch), out=gradient)
        self._divide_by_root(gradient, h, temporary)


@dataclass(frozen=True)
class AdaMax(AdamRule):
    """AdaMax: m' as in Adam; u' = max(b2 u, abs g) + 1e-32; step = lr/(1-b1^t) m'/u'.

    ``epsilon`` is not used: it is here because DL4J's configuration has it. The paper has no 1e-32; PyTorch has
    max(b2 u, abs g + eps) in place of u'.
    Source: ND4J ``AdaMax``; Kingma & Ba (2015), https://arxiv.org/abs/1412.6980, section 7.1.
    """

    slots = ("m", "u")

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance m and u and turn the gradient into the step."""
        (m, u), (temporary,) = state, scratch
        add_average(m, self.beta1, gradient, temporary)
        np.abs(gradient, out=gradient)
        np.multiply(u, self.beta2, out=u)
        np.maximum(u, gradient, out=u)
        np.add(u, 1e-32, out=u)
        np.multiply(m, self._rate_over_m(iteration, epoch), out=gradient)
        np.divide(gradient, u, out=gradient)


@dataclass(frozen=True)
class Nadam(AdamRule):
    """Nadam: m' and v' as in Adam; step = lr/(1-b1^t) (b1 m' + (1-b1) g)/(sqrt v' + eps).

    As in DL4J, v' is not corrected for its start at 0, so the first steps are large, up to (1+b1) / sqrt(1-b2) lr, or
    60 lr. The paper and PyTorch correct it, and PyTorch's b1 grows with t besides.
    Source: ND4J ``Nadam``; Dozat (2016), https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ.
    """

    slots = ("m", "v")

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance m and v and turn the gradient into the step."""
        (m, v), (temporary,) = state, scratch
        np.multiply(gradient, gradient, out=temporary)
        add_average(v, self.beta2, temporary, temporary)
        add_average(m, self.beta1, gradient, gradient)  # leaves (1-b1) g
        np.multiply(m, self.beta1, out=temporary)
        np.add(gradient, temporary, out=gradient)
        np.multiply(gradient, self._rate_over_m(iteration, epoch), out=gradient)
        self._divide_by_root(gradient, v, temporary)


@dataclass(frozen=True)
class AdaBelief(AdamRule):
    """AdaBelief: m' as in Adam; u' = b2 u + (1-b2) (g - m')^2 + eps; step as in Adam, with u' for v'.

    epsilon is added twice, to u' and to its uncorrected root, as in DL4J; the paper's root is corrected.
    Source: ND4J ``AdaBelief``; Zhuang et al. (2020), https://arxiv.org/abs/2010.07468.
    """

    slots = ("m", "u")

    epsilon: float = 1e-14

    def step(
        self, gradient: Array, state: Sequence[Array], scratch: Sequence[Array], iteration: int, epoch: int = 0
    ) -> None:
        """Advance m and u and turn the gradient into the step."""
        (m, u), (temporary,) = state, scratch
        add_average(m, self.beta1, gradient, temporary)
        np.subtract(gradient, m, out=gradient)
        np.multiply(gradient, gradient, out=gradient)
        add_average(u, self.beta2, gradient, gradient)
        np.add(u, self.epsilon or ZERO_EPSILON, out=u)
        np.multiply(m, self._rate_over_both(iteration, epoch), out=gradient)
        self._divide_by_root(gradient, u, temporary)


def _advance_moments(rule: AdamRule, m: Array, v: Array, gradient: Array, temporary: Array) -> None:
    """Advance m by g and v by g^2; the gradient is used up."""
    add_average(m, rule.beta1, gradient, temporary)
    np.multiply(gradient, gradient, out=gradient)
    add_average(v, rule.beta2, gradient, gradient)
