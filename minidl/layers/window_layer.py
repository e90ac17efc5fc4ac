"""What layers with a sliding window share: its options, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ConfigurationError, ShapeError
from ..inputs import InputType, positive_int
from .base import filled_in
from .spatial import ImageLayer, SeriesLayer, SpatialLayer, check_mode, check_whole
from .windows import ConvolutionMode, Window2D, slide

__all__ = [
    "BufferedWindowLayer",
    "ImageWindowLayer",
    "SeriesWindowLayer",
    "WindowLayer",
    "check_channels_in",
    "check_n_in",
]


@dataclass(kw_only=True)
class WindowLayer(SpatialLayer):
    """Options of a window; None means: as set for the whole network."""

    allowed_modes: ClassVar[Sequence[ConvolutionMode]] = ()
    axes: ClassVar[tuple[str, ...]] = ()

    kernel_size: Any = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    convolution_mode: ConvolutionMode | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            check_whole(self, name, len(self.axes), least)
        check_mode(self, self.allowed_modes)

    def window(self, height: int, width: int) -> Window2D:
        """Return where the window stands on images of this size. Raises ShapeError where it does not fit."""
        raise NotImplementedError

    def per_axis(self, option: str) -> tuple[int, ...]:
        """Return an option with a number for each axis."""
        value: Any = getattr(self, option)
        return (value,) if len(self.axes) == 1 else value

    def kernel_and_stride(self) -> tuple[Sequence[int], Sequence[int]]:
        """Return the kernel and the stride as pairs; a series has one tap and one step beside its own."""
        if len(self.axes) == 1:
            return (self.kernel_size, 1), (self.stride, 1)
        return self.kernel_size, self.stride

    def check_buffer(self, input_type: InputType, itemsize: int) -> None:
        """Raise ConfigurationError where the windows of one output row are over the cap; here there are no buffers."""

    def windowed_type(self, input_type: InputType, n_out: int) -> InputType:
        """Return the type with ``n_out`` channels at every position of the window. Raises ShapeError."""
        check_mode(self, self.allowed_modes)  # the network's, which was filled in after the layer was made
        images = self.image_type(input_type)
        if None in input_type.example_shape():
            return self.type_like(input_type, 1, 1, n_out)
        window = self.window(images.height, images.width)
        return self.type_like(input_type, window.rows.positions, window.columns.positions, n_out)


@dataclass(kw_only=True)
class BufferedWindowLayer(WindowLayer):
    """A layer that lays windows out in a buffer, which ``max_window_bytes`` caps (None: what stays in the cache)."""

    max_window_bytes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_window_bytes is not None:
            option = f"{type(self).__name__}: max_window_bytes"
            self.max_window_bytes = positive_int(self.max_window_bytes, option)


@dataclass(kw_only=True)
class ImageWindowLayer(ImageLayer, WindowLayer):
    """A window over the height and the width of images: options are pairs, or one number for both."""

    allowed_modes: ClassVar[Sequence[ConvolutionMode]] = (
        ConvolutionMode.TRUNCATE,
        ConvolutionMode.STRICT,
        ConvolutionMode.SAME,
    )
    axes: ClassVar[tuple[str, ...]] = ("height", "width")

    def window(self, height: int, width: int) -> Window2D:
        """Return where the window stands on images of this size. Raises ShapeError where it does not fit."""
        mode: ConvolutionMode = filled_in(self.convolution_mode, "convolution_mode")
        kernel, stride, padding, dilation = self.kernel_size, self.stride, self.padding, self.dilation
        return Window2D(
            slide(height, kernel[0], stride[0], padding[0], dilation[0], mode, "height"),
            slide(width, kernel[1], stride[1], padding[1], dilation[1], mode, "width"),
        )


@dataclass(kw_only=True)
class SeriesWindowLayer(SeriesLayer, WindowLayer):
    """A window over the time of series: options are numbers."""

    allowed_modes: ClassVar[Sequence[ConvolutionMode]] = tuple(ConvolutionMode)
    axes: ClassVar[tuple[str, ...]] = ("timesteps",)

    @property
    def sees_whole_series(self) -> bool:  # type: ignore[override]  # it depends on the window
        """Whether a step out depends on other steps: pieces of series have other ends than the whole."""
        return self.kernel_size > 1 or self.stride > 1

    def window(self, height: int, width: int) -> Window2D:
        """Return where the window stands on series of length ``height``. Raises ShapeError where it does not fit."""
        mode: ConvolutionMode = filled_in(self.convolution_mode, "convolution_mode")
        along = slide(height, self.kernel_size, self.stride, self.padding, self.dilation, mode, "timesteps")
        return Window2D(along, slide(1, 1, 1, 0, 1, ConvolutionMode.TRUNCATE))


def check_n_in(layer: Any, channels: int) -> None:
    """Raise ShapeError unless ``n_in``, where it is given, is the number of channels of the input."""
    if layer.n_in is not None and layer.n_in != channels:
        raise ShapeError(
            f"{type(layer).__name__}: n_in={layer.n_in}, but its input has {channels} channels. Set n_in={channels}, "
            "or leave n_in unset to take it from the input type."
        )


def check_channels_in(layer: Any, channels: int) -> int:
    """Return n_out. Raises ShapeError unless ``n_in`` is the number of channels, ConfigurationError without n_out."""
    check_n_in(layer, channels)
    if layer.n_out is None:
        raise ConfigurationError(f"{type(layer).__name__} needs n_out, the number of channels it gives: n_out=20.")
    return int(layer.n_out)
