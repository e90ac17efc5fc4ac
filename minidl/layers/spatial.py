"""What layers of images and series share: one layout inside, whatever the format of the network outside."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigurationError, ShapeError
from ..functions import Empty
from ..inputs import Convolutional, InputType, Recurrent
from ..numeric_options import whole
from ..options import enum_option
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, Layer
from .preprocessors import InputPreProcessor, images_of_rows
from .windows import ConvolutionMode

__all__ = [
    "ImageLayer",
    "SeriesLayer",
    "SpatialLayer",
    "check_format",
    "check_mode",
    "check_whole",
    "empty_of",
    "images_of",
    "in_c_order",
    "logical_of",
    "mask_as_images",
    "plain",
]


@dataclass(kw_only=True)
class SpatialLayer(Layer):
    """A layer that computes on (batch, height, width, channels) in C order, the channels of a position side by side.

    Between layers an array has the axes of the network's ``format``, which is that of the input type unless the layer
    says it, and the memory of this layout: such a layer takes the array of another one as it is.
    """

    example_of_input: ClassVar[str] = ""

    format: str | None = None

    def image_type(self, input_type: InputType) -> Convolutional:
        """Return the input as images, (height, width, channels). Raises ShapeError for an input of another kind."""
        raise NotImplementedError

    def type_like(self, input_type: InputType, height: int, width: int, channels: int) -> InputType:
        """Return the type of an output with these extents, of the kind of ``input_type``."""
        raise NotImplementedError

    def images(self, x: Array) -> Array:
        """Return ``x`` as a view (batch, height, width, channels); of series, (batch, time, 1, size)."""
        return images_of(x, self.format)

    def from_images(self, y: Array) -> Array:
        """Return images (batch, height, width, channels) as a view with the axes of the network."""
        raise NotImplementedError

    def channels_last(self, x: Array, array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return ``x`` as images in C order: a view where its memory is that, else a copy."""
        return in_c_order(self.images(x), array_type, workspace_mgr)


@dataclass(kw_only=True)
class ImageLayer(SpatialLayer):
    """A layer of images, (batch, channels, height, width), or (batch, height, width, channels) with "NHWC"."""

    example_of_input: ClassVar[str] = "InputType.convolutional(height, width, channels)"

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes images of rows of them."""
        return images_of_rows(input_type)

    def image_type(self, input_type: InputType) -> Convolutional:
        """Return the input type. Raises ShapeError unless it is images."""
        if not isinstance(input_type, Convolutional):
            raise ShapeError(
                f"{type(self).__name__} expects images, but its input is {input_type}. Use InputType.convolutional("
                "height, width, channels), or convolutional_flat for rows of pixels, or put a "
                "FeedForwardToCnnPreProcessor in front."
            )
        check_format(self, input_type.format)
        return input_type

    def type_like(self, input_type: InputType, height: int, width: int, channels: int) -> InputType:
        """Return images of this size, in the format of ``input_type``."""
        return Convolutional(height, width, channels, self.image_type(input_type).format)

    def from_images(self, y: Array) -> Array:
        """Return images (batch, height, width, channels) as a view with the axes of the network."""
        return logical_of(y, 4, self.format)


@dataclass(kw_only=True)
class SeriesLayer(SpatialLayer):
    """A layer of series, (batch, size, time), or (batch, time, size) with "NWC": images of width 1, as high as time.

    Series may differ in length from batch to batch: then the type of the output has no length either.
    """

    example_of_input: ClassVar[str] = "InputType.recurrent(size, timesteps)"

    def image_type(self, input_type: InputType) -> Convolutional:
        """Return the input as images of width 1; of height 1 where the length varies."""
        series = self.series_type(input_type)
        return Convolutional(series.timesteps or 1, 1, series.size)

    def series_type(self, input_type: InputType) -> Recurrent:
        """Return the input type. Raises ShapeError unless it is series."""
        if not isinstance(input_type, Recurrent):
            raise ShapeError(
                f"{type(self).__name__} expects series, but its input is {input_type}. Use InputType.recurrent(size, "
                "timesteps)."
            )
        check_format(self, input_type.format)
        return input_type

    def type_like(self, input_type: InputType, height: int, width: int, channels: int) -> InputType:
        """Return series of this length, if that of the input is known, in the format of ``input_type``."""
        series = self.series_type(input_type)
        return Recurrent(channels, None if series.timesteps is None else height, series.format)

    def from_images(self, y: Array) -> Array:
        """Return images (batch, time, 1, size) as a view with the axes of the network."""
        return logical_of(y, 3, self.format)


def check_format(layer: Any, given: str) -> None:
    """Raise ConfigurationError for a format other than that of the input."""
    if layer.format is not None and str(layer.format).upper() != given:
        raise ConfigurationError(
            f"{type(layer).__name__}: format={layer.format!r}, but its input has the format {given}. Leave it unset, "
            "and give the format to the input type."
        )


def images_of(x: Array, format: str | None) -> Array:
    """Return x as a view (batch, height, width, n); what is not there has extent 1."""
    if x.ndim == 2:
        return x[:, np.newaxis, np.newaxis]
    if x.ndim == 3:
        return (x if format == "NWC" else x.transpose(0, 2, 1))[:, :, np.newaxis]
    return x if format == "NHWC" else x.transpose(0, 2, 3, 1)


def logical_of(images: Array, axes: int, format: str | None) -> Array:
    """Return images (batch, height, width, n) as a view with the axes of the network."""
    if axes == 2:
        return images[:, 0, 0]
    if axes == 3:
        return images[:, :, 0] if format == "NWC" else images[:, :, 0].transpose(0, 2, 1)
    return images if format == "NHWC" else images.transpose(0, 3, 1, 2)


def mask_as_images(mask: Array | None, format: str | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
    """Return a mask of steps or pixels as images (batch, height, width, 1), None for none or one of whole examples.

    (batch, 1) is one of examples, but for the layer's series of one step.
    """
    if mask is None or mask.ndim == 1:
        return None
    mask = mask.view(np.ndarray)
    if mask.ndim == 3:
        return mask[..., np.newaxis]
    x = workspace_mgr.call.input  # None for a layer that is called by hand
    steps = images_of(x, format).shape[1] if x is not None and x.ndim == 3 else 0
    return mask[:, :, np.newaxis, np.newaxis] if mask.shape[1] > 1 or steps == 1 else None


def in_c_order(array: Array, array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Array:
    """Return ``array`` where it is in C order already, else a copy that is."""
    if array.flags.c_contiguous:
        return array
    copy = workspace_mgr.create_uninitialized(array_type, array.shape)
    np.copyto(copy, array)
    return copy


def empty_of(array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Any:
    """Return what makes uninitialised arrays of a type, as kernels take it."""
    return functools.partial(workspace_mgr.create_uninitialized, array_type)


def plain(memory: Empty) -> Empty:
    """Return what makes arrays in this memory as plain ones, also for a user's subclass of a layer of minidl's."""
    return lambda shape, dtype=None: memory(shape, dtype).view(np.ndarray)


def check_whole(layer: Layer, name: str, axes: int, least: int) -> None:
    """Make the option ``name`` a tuple of ``axes`` whole numbers, or one number if ``axes`` is 1; one stands for all.

    Raises ConfigurationError.
    """
    value: Any = getattr(layer, name)
    given = value if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else (value,) * axes
    numbers = tuple(whole(each) for each in given)
    if len(numbers) != axes or any(number is None or number < least for number in numbers):
        kind = f"a whole number of at least {least}"
        expected = kind if axes == 1 else f"{kind}, or {axes} of them, such as {(max(least, 2),) * axes}"
        hint = f" Use convolution_mode={value.lower()!r}." if _is_mode(value) else ""
        raise ConfigurationError(f"{type(layer).__name__}: {name}={value!r} is not {expected}.{hint}")
    setattr(layer, name, numbers if axes > 1 else numbers[0])


def _is_mode(value: object) -> bool:
    return isinstance(value, str) and value.upper() in ConvolutionMode.__members__


def check_mode(layer: Any, allowed: Sequence[ConvolutionMode]) -> None:
    """Make ``convolution_mode`` a ConvolutionMode.

    Raises ConfigurationError for one that the layer cannot have, and for padding with one that pads by itself.
    """
    if layer.convolution_mode is None:
        return
    mode = enum_option(ConvolutionMode, layer.convolution_mode, f"{type(layer).__name__}: convolution_mode")
    if mode not in allowed:
        raise ConfigurationError(
            f"{type(layer).__name__}: convolution_mode={mode.name} is for series. Choose one of: "
            f"{', '.join(each.name for each in allowed)}."
        )
    if mode in (ConvolutionMode.SAME, ConvolutionMode.CAUSAL) and np.any(layer.padding):
        raise ConfigurationError(
            f"{type(layer).__name__}: padding={layer.padding} with convolution_mode={mode.name}, which pads by itself. "
            "Leave the padding unset, or use TRUNCATE."
        )
    layer.convolution_mode = mode
