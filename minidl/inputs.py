"""What one example looks like on its way through the network."""

from __future__ import annotations

import abc
import numbers
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .errors import ConfigurationError

__all__ = [
    "Convolutional",
    "ConvolutionalFlat",
    "FeedForward",
    "InputType",
    "Recurrent",
    "channels_last",
    "channels_of",
    "positive_int",
    "time_axis",
    "timesteps_of",
]


class InputType(abc.ABC):
    """The kind and extents of one example; made by the functions of this class, compared by value.

    Source: DL4J ``InputType``.
    """

    @staticmethod
    def feed_forward(size: int) -> FeedForward:
        """Vectors: arrays (batch, size)."""
        return FeedForward(size)

    @staticmethod
    def recurrent(size: int, timesteps: int | None = None, format: str = "NCW") -> Recurrent:
        """Series: arrays (batch, size, time), or (batch, time, size) with format "NWC"."""
        return Recurrent(size, timesteps, format)

    @staticmethod
    def convolutional(height: int, width: int, channels: int, format: str = "NCHW") -> Convolutional:
        """Images: arrays (batch, channels, height, width), or (batch, height, width, channels) with "NHWC"."""
        return Convolutional(height, width, channels, format)

    @staticmethod
    def convolutional_flat(height: int, width: int, channels: int) -> ConvolutionalFlat:
        """Images in rows: arrays (batch, channels height width), flattened in C order."""
        return ConvolutionalFlat(height, width, channels)

    @abc.abstractmethod
    def example_shape(self) -> tuple[int | None, ...]:
        """Return the shape of one example, None where the extent may vary."""


@dataclass(frozen=True)
class FeedForward(InputType):
    """Vectors of ``size`` numbers."""

    size: int

    def __post_init__(self) -> None:
        _set_extents(self, "size")

    def example_shape(self) -> tuple[int | None, ...]:
        """Return (size,)."""
        return (self.size,)


@dataclass(frozen=True)
class Recurrent(InputType):
    """Series of vectors of ``size`` numbers; ``timesteps`` None where the length varies."""

    size: int
    timesteps: int | None = None
    format: str = "NCW"

    def __post_init__(self) -> None:
        _set_extents(self, "size")
        if self.timesteps is not None:
            _set_extents(self, "timesteps")
        _set_format(self, ("NCW", "NWC"))

    def example_shape(self) -> tuple[int | None, ...]:
        """Return (size, time) or (time, size), by format."""
        return (self.size, self.timesteps) if self.format == "NCW" else (self.timesteps, self.size)


@dataclass(frozen=True)
class Convolutional(InputType):
    """Images."""

    height: int
    width: int
    channels: int
    format: str = "NCHW"

    def __post_init__(self) -> None:
        _set_extents(self, "height", "width", "channels")
        _set_format(self, ("NCHW", "NHWC"))

    def example_shape(self) -> tuple[int | None, ...]:
        """Return (channels, height, width) or (height, width, channels), by format."""
        if self.format == "NCHW":
            return (self.channels, self.height, self.width)
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class ConvolutionalFlat(InputType):
    """Images, each a row."""

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        _set_extents(self, "height", "width", "channels")

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return self.height * self.width * self.channels

    def example_shape(self) -> tuple[int | None, ...]:
        """Return (size,)."""
        return (self.size,)


def channels_last(input_type: InputType) -> bool:
    """Tell whether the channels of images, or the sizes of series, lie along the last axis."""
    return getattr(input_type, "format", "") in ("NHWC", "NWC")


def channels_of(input_type: InputType) -> int:
    """Return the channels of images, the size of series or vectors."""
    return input_type.channels if isinstance(input_type, Convolutional) else input_type.size  # type: ignore[attr-defined]


def time_axis(input_type: InputType) -> int:
    """Return the axis of time in series (batch, ...)."""
    return 1 if channels_last(input_type) else 2


def timesteps_of(x: npt.NDArray[Any], input_type: InputType) -> int | None:
    """Return the length of series x (batch, ...) where the type does not say it: it may vary, or x is a piece.

    None for types without time, and for series of the length that the type says.
    """
    if not isinstance(input_type, Recurrent):
        return None
    timesteps = int(x.shape[time_axis(input_type)])
    return None if timesteps == input_type.timesteps else timesteps


def positive_int(value: object, option: str) -> int:
    """Return ``value``, a whole number of at least 1, as an int. Raises ConfigurationError, which names ``option``."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or int(value) < 1:
        raise ConfigurationError(f"{option}={value!r} is not a whole number of at least 1.")
    return int(value)


def _set_extents(input_type: InputType, *names: str) -> None:
    for name in names:
        value = positive_int(getattr(input_type, name), f"{type(input_type).__name__}: {name}")
        object.__setattr__(input_type, name, value)


def _set_format(input_type: Recurrent | Convolutional, known: tuple[str, str]) -> None:
    value = input_type.format
    text = str(value).upper()
    if text not in known:
        raise ConfigurationError(
            f"{type(input_type).__name__}: format={value!r} is not known. Choose {' or '.join(known)}."
        )
    object.__setattr__(input_type, "format", text)
