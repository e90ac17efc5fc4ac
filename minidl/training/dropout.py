"""Dropout of a layer's input, and its relatives: noise that training adds or multiplies, and inference leaves out."""

import abc
import inspect
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, ShapeError
from ..functions.distributions import draw_bernoulli
from ..functions.scratch import Empty
from ..numeric_options import is_fraction, is_number, is_rate, real, set_real
from ..options import CheckedOptions

__all__ = [
    "AlphaDropout",
    "BaseDropout",
    "DROPOUTS",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout",
    "drop_mask",
    "dropout",
    "is_probability",
]

Array = npt.NDArray[Any]
KEEP = "in (0, 1]. It is the probability to keep {}; 1 means no dropout"
SELU_FLOOR = -1.7580993408473766  # alpha': -scale alpha of SELU, what it tends to for large negative inputs


def is_probability(value: float) -> bool:
    """Tell whether ``value`` is in (0, 1]."""
    return 0 < value <= 1


def drop_mask(keep: float, rng: np.random.Generator, *, out: Array) -> Array:
    """Fill ``out`` with 1 / keep with probability ``keep``, else 0, and return it.

    Source: inverted dropout, Srivastava et al. (2014); DL4J ``Dropout``, whose p is the probability to keep.
    """
    draw_bernoulli(keep, rng, out=out)
    out *= 1 / keep
    return out


@dataclass(frozen=True)
class BaseDropout(CheckedOptions, abc.ABC):
    """What training does to the input of a layer, at random; inference leaves it out.

    ``keeps_noise``: ``backward`` reads the noise of ``forward``. ``needs_channels``: the input has channels, so its
    rank is at least 3.
    """

    keeps_noise: ClassVar[bool] = True
    needs_channels: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def is_active(self) -> bool:
        """Whether it changes anything."""

    @abc.abstractmethod
    def forward(
        self,
        x: Array,
        *,
        out: Array,
        noise: Array,
        rng: np.random.Generator,
        channel_axis: int = 1,
        empty: Empty = np.empty,
    ) -> None:
        """Write what the layer gets in place of ``x`` into ``out``, and what ``backward`` needs into ``noise``.

        ``out`` and ``noise`` are C-contiguous and like ``x``, which may have any strides and stays as it is.
        Built-in classes take every temporary from ``empty(shape, dtype)``.
        """

    def backward(self, epsilon: Array, *, noise: Array) -> None:
        """Turn dL/dout into dL/dx, in place: both are epsilon noise where out is a multiple of x."""
        np.multiply(epsilon, noise, out=epsilon)


@dataclass(frozen=True)
class Dropout(BaseDropout):
    """Keep every element with ``probability`` and divide it by that, else make it 0.

    Source: inverted dropout, Srivastava et al. (2014), https://jmlr.org/papers/v15/srivastava14a.html; DL4J
    ``Dropout``.
    """

    probability: float

    def __post_init__(self) -> None:
        set_real(self, "probability", is_probability, KEEP.format("an element"))

    @property
    def is_active(self) -> bool:
        """Whether any element can be dropped."""
        return self.probability < 1

    def forward(
        self,
        x: Array,
        *,
        out: Array,
        noise: Array,
        rng: np.random.Generator,
        channel_axis: int = 1,
        empty: Empty = np.empty,
    ) -> None:
        """x d / p, with d = 1 with probability p, else 0."""
        drop_mask(self.probability, rng, out=noise)
        np.multiply(_contiguous(x, out), noise, out=out)


@dataclass(frozen=True)
class AlphaDropout(BaseDropout):
    """Keep every element with ``probability``, else make it SELU's floor; then restore mean 0 and variance 1.

    Source: Klambauer et al. (2017), https://arxiv.org/abs/1706.02515, section "New dropout technique"; DL4J
    ``AlphaDropout``.
    """

    probability: float

    def __post_init__(self) -> None:
        set_real(self, "probability", is_probability, KEEP.format("an element"))

    @property
    def is_active(self) -> bool:
        """Whether any element can be dropped."""
        return self.probability < 1

    def forward(
        self,
        x: Array,
        *,
        out: Array,
        noise: Array,
        rng: np.random.Generator,
        channel_axis: int = 1,
        empty: Empty = np.empty,
    ) -> None:
        """a (x d + alpha' (1 - d)) + b, with d = 1 with probability p, else 0.

        a = 1 / sqrt(p + alpha'^2 p (1 - p)) and b = -a (1 - p) alpha'. The noise is a d.
        """
        p, floor = self.probability, SELU_FLOOR
        a = 1 / math.sqrt(p + floor**2 * p * (1 - p))
        b = -a * (1 - p) * floor
        draw_bernoulli(p, rng, out=noise)
        np.multiply(noise, a, out=noise)
        np.subtract(_contiguous(x, out), floor, out=out)
        np.multiply(out, noise, out=out)
        np.add(out, a * floor + b, out=out)  # a d (x - alpha') + a alpha' + b


@dataclass(frozen=True)
class GaussianDropout(BaseDropout):
    """Multiply every element by noise of mean 1 and variance rate / (1 - rate).

    ``rate`` counts the other way than the probability to keep of ``Dropout``: 0 means no noise, and a larger rate more
    of it. The noise of ``Dropout(1 - rate)`` has the same mean and variance.

    Source: Srivastava et al. (2014), section 10; DL4J ``GaussianDropout``.
    """

    rate: float

    def __post_init__(self) -> None:
        set_real(self, "rate", is_fraction, "in [0, 1). The noise has variance rate / (1 - rate); 0 means no noise")

    @property
    def is_active(self) -> bool:
        """Whether there is any noise."""
        return self.rate > 0

    def forward(
        self,
        x: Array,
        *,
        out: Array,
        noise: Array,
        rng: np.random.Generator,
        channel_axis: int = 1,
        empty: Empty = np.empty,
    ) -> None:
        """x n, with n of N(1, variance rate / (1 - rate))."""
        rng.standard_normal(out=noise, dtype=noise.dtype)
        np.multiply(noise, math.sqrt(self.rate / (1 - self.rate)), out=noise)
        np.add(noise, 1.0, out=noise)
        np.multiply(_contiguous(x, out), noise, out=out)


@dataclass(frozen=True)
class GaussianNoise(BaseDropout):
    """Add noise of mean 0 and standard deviation ``stddev``. Source: DL4J ``GaussianNoise``."""

    keeps_noise: ClassVar[bool] = False

    stddev: float

    def __post_init__(self) -> None:
        set_real(self, "stddev", is_rate, "a finite number of at least 0. 0 means no noise")

    @property
    def is_active(self) -> bool:
        """Whether there is any noise."""
        return self.stddev > 0

    def forward(
        self,
        x: Array,
        *,
        out: Array,
        noise: Array,
        rng: np.random.Generator,
        channel_axis: int = 1,
        empty: Empty = np.empty,
    ) -> None:
        """x + n, with n of N(0, variance stddev^2)."""
        rng.standard_normal(out=noise, dtype=noise.dtype)
        np.multiply(noise, self.stddev, out=noise)
        np.add(_contiguous(x, out), noise, out=out)

    def backward(self, epsilon: Array, *, noise: Array) -> None:
        """Leave dL/dout as it is: the derivative of x + n is 1."""


@dataclass(frozen=True)
class SpatialDropout(BaseDropout):
    """Keep every channel of every example with ``probability`` and divide it by that, else make all of it 0.

    Source: Tompson et al. (2015), https://arxiv.org/abs/1411.4280; DL4J ``SpatialDropout``.
    """

    needs_channels: ClassVar[bool] = True

    probability: float

    def __post_init__(self) -> None:
        set_real(self, "probability", is_probability, KEEP.format("a channel"))

    @property
    def is_active(self) -> bool:
        """Whether any channel can be dropped."""
        return self.probability < 1

    def forward(
        self,
        x: Array,
        *,
        out: Array,
        noise: Array,
        rng: np.random.Generator,
        channel_axis: int = 1,
        empty: Empty = np.empty,
    ) -> None:
        """x d / p, with d = 1 with probability p, else 0, one for each example and channel.

        Raises ShapeError for an ``x`` of rank below 3.
        """
        if x.ndim < 3:
            raise ShapeError(
                f"SpatialDropout drops whole channels, but its input has shape {x.shape}; rank 3 or more was expected. "
                "Use Dropout for vectors."
            )
        channels = x.shape[channel_axis]
        mask = drop_mask(self.probability, rng, out=empty((len(x), channels), x.dtype))
        np.copyto(np.moveaxis(noise, channel_axis, -1), mask.reshape(len(x), *(1,) * (x.ndim - 2), channels))
        np.multiply(_contiguous(x, out), noise, out=out)


DROPOUTS: dict[str, type[BaseDropout]] = {
    "alpha_dropout": AlphaDropout,
    "dropout": Dropout,
    "gaussian_dropout": GaussianDropout,
    "gaussian_noise": GaussianNoise,
    "spatial_dropout": SpatialDropout,
}


def dropout(value: object) -> BaseDropout:
    """Return the dropout that ``value`` is: an object, or the probability to keep an element of a ``Dropout``."""
    if isinstance(value, BaseDropout):
        return value
    if inspect.isclass(value) and issubclass(value, BaseDropout) and not inspect.isabstract(value):
        raise ConfigurationError(f"dropout={value!r} is a class. Make an object of it, such as {value.__name__}(0.8).")
    if not is_number(value):
        raise ConfigurationError(
            f"dropout={value!r} is no dropout. Give the probability to keep an element, such as 0.8, or an object, "
            "such as Dropout(0.8)."
        )
    if not is_probability(real(value)):
        raise ConfigurationError(f"dropout={value!r} is not {KEEP.format('an element')}.")
    return Dropout(real(value))


def _contiguous(x: Array, out: Array) -> Array:
    """Return ``x``, copied into ``out`` if its strides differ: a ufunc would take hidden buffers for both layouts."""
    if x.strides == out.strides:
        return x
    np.copyto(out, x)
    return out
