"""What stands between two layers whose arrays have different shapes: reshapes, without parameters."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ShapeError
from ..inputs import Convolutional, ConvolutionalFlat, FeedForward, InputType, positive_int
from ..options import CheckedOptions
from ..workspaces import ArrayType, LayerWorkspaceMgr

__all__ = [
    "CnnToFeedForwardPreProcessor",
    "FeedForwardToCnnPreProcessor",
    "InputPreProcessor",
    "TensorFlowCnnToFeedForwardPreProcessor",
    "images_of_rows",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class InputPreProcessor(CheckedOptions, abc.ABC):
    """A step in front of a layer: it changes the shape of the input, and keeps nothing of a call.

    Its fields are its JSON, as with a layer. The network inserts one where a layer asks for it
    (``Layer.preprocessor_for``); ``list(..., input_preprocessors={1: ...})`` sets it by hand.
    Source: DL4J ``InputPreProcessor``.
    """

    @abc.abstractmethod
    def output_type(self, input_type: InputType) -> InputType:
        """Return what the layer gets. Raises ShapeError for an input that does not fit."""

    @abc.abstractmethod
    def preprocess(self, x: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the input of the layer for the activations x (batch, ...) before it, which stay as they are."""

    @abc.abstractmethod
    def backprop(self, epsilon: Array, *, shape: tuple[int, ...], workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return dL/dx of this ``shape`` from ``epsilon`` = dL/dinput of the layer, which may be overwritten."""

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the layer's input for the mask of x."""
        return mask


@dataclass(frozen=True)
class CnnToFeedForwardPreProcessor(InputPreProcessor):
    """Images to rows: (batch, channels, height, width), or another order of axes, to (batch, their product), C order.

    Source: DL4J ``CnnToFeedForwardPreProcessor``.
    """

    def output_type(self, input_type: InputType) -> InputType:
        """Return vectors of channels height width. Raises ShapeError unless the input is images."""
        if not isinstance(input_type, Convolutional):
            raise ShapeError(
                f"{type(self).__name__} expects images, but its input is {input_type}. Leave it out, or use "
                "InputType.convolutional(height, width, channels)."
            )
        return InputType.feed_forward(math.prod(extent or 1 for extent in input_type.example_shape()))

    def preprocess(self, x: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x as rows: a view where x is contiguous, else a copy."""
        return _reshaped(x, (len(x), math.prod(x.shape[1:])), ArrayType.ACTIVATIONS, workspace_mgr)

    def backprop(self, epsilon: Array, *, shape: tuple[int, ...], workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return epsilon as images."""
        return _reshaped(epsilon, shape, ArrayType.ACTIVATION_GRAD, workspace_mgr)


@dataclass(frozen=True)
class TensorFlowCnnToFeedForwardPreProcessor(CnnToFeedForwardPreProcessor):
    """Images to rows in Keras's order: to (batch, height x width x channels), whatever the order of their axes.

    The weights of a dense layer that Keras trained behind images with the channels last fit such rows.
    Source: DL4J ``TensorFlowCnnToFeedForwardPreProcessor``.
    """

    format: str = "NCHW"

    def __post_init__(self) -> None:
        object.__setattr__(self, "format", InputType.convolutional(1, 1, 1, self.format).format)

    def output_type(self, input_type: InputType) -> InputType:
        """Return vectors of height width channels. Raises ShapeError unless the input is images of this format."""
        if isinstance(input_type, Convolutional) and input_type.format != self.format:
            raise ShapeError(
                f"{type(self).__name__}(format={self.format!r}), but its input is {input_type}. Give it the format of "
                "the input."
            )
        return super().output_type(input_type)

    def preprocess(self, x: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x as rows: a view where the channels of a pixel lie side by side, else a copy."""
        return super().preprocess(x.transpose(0, 2, 3, 1) if self.format == "NCHW" else x, workspace_mgr=workspace_mgr)

    def backprop(self, epsilon: Array, *, shape: tuple[int, ...], workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return epsilon as images."""
        if self.format != "NCHW":
            return super().backprop(epsilon, shape=shape, workspace_mgr=workspace_mgr)
        batch, channels, height, width = shape
        images = super().backprop(epsilon, shape=(batch, height, width, channels), workspace_mgr=workspace_mgr)
        return images.transpose(0, 3, 1, 2)


@dataclass(frozen=True)
class FeedForwardToCnnPreProcessor(InputPreProcessor):
    """Rows to images: (batch, channels height width) to (batch, channels, height, width), in C order.

    Source: DL4J ``FeedForwardToCnnPreProcessor``.
    """

    height: int
    width: int
    channels: int = 1

    def __post_init__(self) -> None:
        for name in ("height", "width", "channels"):
            value = positive_int(getattr(self, name), f"{type(self).__name__}: {name}")
            object.__setattr__(self, name, value)

    def output_type(self, input_type: InputType) -> InputType:
        """Return images. Raises ShapeError unless the input is rows of their size."""
        size = self.channels * self.height * self.width
        if not isinstance(input_type, FeedForward | ConvolutionalFlat) or input_type.size != size:
            raise ShapeError(
                f"{type(self).__name__} expects rows of channels x height x width = {self.channels} x {self.height} x "
                f"{self.width} = {size} numbers, but its input is {input_type}. Make the two equal."
            )
        return InputType.convolutional(self.height, self.width, self.channels)

    def preprocess(self, x: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x as images: a view where x is contiguous, else a copy."""
        shape = (len(x), self.channels, self.height, self.width)
        return _reshaped(x, shape, ArrayType.ACTIVATIONS, workspace_mgr)

    def backprop(self, epsilon: Array, *, shape: tuple[int, ...], workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return epsilon as rows."""
        return _reshaped(epsilon, shape, ArrayType.ACTIVATION_GRAD, workspace_mgr)


def images_of_rows(input_type: InputType) -> InputPreProcessor | None:
    """Return what makes images of rows of pixels, None where the input is none."""
    if isinstance(input_type, ConvolutionalFlat):
        return FeedForwardToCnnPreProcessor(input_type.height, input_type.width, input_type.channels)
    return None


def _reshaped(array: Array, shape: tuple[int, ...], array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Array:
    """Return ``array`` in another shape, in the logical order of its elements; NumPy would copy on the heap."""
    if not array.flags.c_contiguous:
        copy = workspace_mgr.create_uninitialized(array_type, array.shape, array.dtype)
        np.copyto(copy, array)
        array = copy
    return array.reshape(shape)
