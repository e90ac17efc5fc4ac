"""Noise on the weights of a layer in training; inference uses the weights as they are."""

import abc
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..functions.distributions import Distribution, draw_bernoulli
from ..functions.distributions import distribution as as_distribution
from ..functions.scratch import Empty
from ..numeric_options import set_flag, set_real
from ..options import CheckedOptions
from .dropout import is_probability

__all__ = ["BaseWeightNoise", "DropConnect", "WeightNoise"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BaseWeightNoise(CheckedOptions, abc.ABC):
    """What training does to the weights of a layer, afresh in every iteration. Source: DL4J ``IWeightNoise``.

    ``apply_to_bias``: biases get noise too, not only weights.
    """

    apply_to_bias: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        set_flag(self, "apply_to_bias")

    @property
    def keeps_noise(self) -> bool:
        """Whether ``backprop`` reads the noise of ``apply``."""
        return True

    @abc.abstractmethod
    def apply(
        self, weights: Array, *, out: Array, noise: Array, rng: np.random.Generator, empty: Empty = np.empty
    ) -> None:
        """Write the noisy weights into ``out``, and what ``backprop`` needs into ``noise``.

        ``weights`` and ``out`` are alike, both in C or both in Fortran order. ``noise`` is flat, of weights.size
        elements, in the order that the weights have in memory. Temporaries come from ``empty(shape, dtype)``.
        """

    def backprop(self, gradient: Array, *, noise: Array) -> None:
        """Turn dL/d(noisy weights), laid out like the weights, into dL/dweights, in place."""
        flat = _in_memory_order(gradient)
        np.multiply(flat, noise, out=flat)  # out = w noise


@dataclass(frozen=True)
class DropConnect(BaseWeightNoise):
    """Keep every weight with ``weight_retain_probability``, else make it 0.

    Weights that stay are not scaled up, nor weights scaled down at inference, as in DL4J: the layer's inputs to its
    activation are larger by 1 / probability at inference. The gradient of a weight that is dropped is 0; DL4J leaves
    that factor out.
    Source: Wan et al. (2013), http://proceedings.mlr.press/v28/wan13.html; DL4J ``DropConnect``.
    """

    weight_retain_probability: float

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = "in (0, 1]. It is the probability to keep a weight; 1 means no noise"
        set_real(self, "weight_retain_probability", is_probability, expected)

    def apply(
        self, weights: Array, *, out: Array, noise: Array, rng: np.random.Generator, empty: Empty = np.empty
    ) -> None:
        """w d, with d = 1 with the probability to keep a weight, else 0."""
        draw_bernoulli(self.weight_retain_probability, rng, out=noise)
        np.multiply(_in_memory_order(weights), noise, out=_in_memory_order(out))


@dataclass(frozen=True)
class WeightNoise(BaseWeightNoise):
    """Add noise of a distribution to every weight, or multiply by it. Source: DL4J ``WeightNoise``.

    ``distribution`` is an object or a name. Raises ConfigurationError for one whose elements depend on each other.
    """

    distribution: Distribution | str
    additive: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        set_flag(self, "additive")
        source = as_distribution(self.distribution)
        if not source.is_elementwise:
            raise ConfigurationError(
                f"WeightNoise: the elements of a sample of {source} depend on each other. Choose a distribution that "
                "draws every element for itself, such as NormalDistribution(0, 0.01)."
            )
        object.__setattr__(self, "distribution", source)

    @property
    def keeps_noise(self) -> bool:
        """Whether ``backprop`` reads the noise: not for a sum."""
        return not self.additive

    def apply(
        self, weights: Array, *, out: Array, noise: Array, rng: np.random.Generator, empty: Empty = np.empty
    ) -> None:
        """w + n, or w n, with n drawn from the distribution."""
        as_distribution(self.distribution).sample(noise, rng=rng, empty=empty)
        combine = np.add if self.additive else np.multiply
        combine(_in_memory_order(weights), noise, out=_in_memory_order(out))

    def backprop(self, gradient: Array, *, noise: Array) -> None:
        """Leave the gradient of w + n as it is; multiply that of w n by n."""
        if not self.additive:
            super().backprop(gradient, noise=noise)


def _in_memory_order(array: Array) -> Array:
    """Return an array in C or Fortran order as a flat view."""
    return (array if array.flags.c_contiguous else array.T).reshape(-1)
