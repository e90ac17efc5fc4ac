"""Preprocessors between series and layers that know no time: every step becomes an example of its own, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import ShapeError
from ..inputs import Convolutional, ConvolutionalFlat, FeedForward, InputType, Recurrent, positive_int
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .preprocessors import InputPreProcessor
from .spatial import in_c_order
from .time_steps import series_of, steps_of

__all__ = [
    "CnnToRnnPreProcessor",
    "FeedForwardToRnnPreProcessor",
    "FoldingPreProcessor",
    "RnnToCnnPreProcessor",
    "RnnToFeedForwardPreProcessor",
    "UnfoldingPreProcessor",
    "unfolding_of",
]


@dataclass(frozen=True)
class _OfSeries(InputPreProcessor):
    """A preprocessor on one side of which are series, of this ``format``."""

    format: str = field(default="NCW", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "format", InputType.recurrent(1, None, self.format).format)


@dataclass(frozen=True)
class _OfImages(_OfSeries):
    """A preprocessor on whose other side are images of these extents."""

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("height", "width", "channels"):
            object.__setattr__(self, name, positive_int(getattr(self, name), f"{type(self).__name__}: {name}"))

    @property
    def size(self) -> int:
        """Numbers in an image."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class FoldingPreProcessor(_OfSeries):
    """Series to rows: (batch, size, time) to (time x batch, size), the examples of one step side by side."""

    def series_type(self, input_type: InputType) -> Recurrent:
        """Return the input type. Raises ShapeError unless it is series of this format."""
        if not isinstance(input_type, Recurrent) or input_type.format != self.format:
            raise ShapeError(
                f"{type(self).__name__} expects series of the format {self.format}, but its input is {input_type}. "
                "Leave it out, or give it the format of its input."
            )
        return input_type

    def preprocess(self, x: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the steps as rows: a view where time comes first in memory, else a copy."""
        steps = steps_of(x, self.format, ArrayType.ACTIVATIONS, workspace_mgr)
        return steps.reshape(-1, steps.shape[2])

    def backprop(self, epsilon: Array, *, shape: tuple[int, ...], workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return epsilon as series of this ``shape``."""
        rows = in_c_order(epsilon, ArrayType.ACTIVATION_GRAD, workspace_mgr)
        return series_of(rows.reshape(-1, shape[0], math.prod(rows.shape[1:])), self.format)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return a number for each row, (time x batch,), of a mask (batch, time), or (batch,) of whole examples."""
        if mask is None:
            return None
        shape = workspace_mgr.call.shape_before
        time = shape[1 if self.format == "NWC" else 2]
        rows = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (time, len(mask)))
        np.copyto(rows, mask.reshape(len(mask), -1).T)
        return rows.reshape(-1)


@dataclass(frozen=True)
class UnfoldingPreProcessor(_OfSeries):
    """Rows that were the steps of series to series again: (time x batch, size) to (batch, size, time).

    The length of the series is that which they had before; the network sees to it.
    """

    def preprocess(self, x: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the rows as series."""
        rows = in_c_order(x, ArrayType.ACTIVATIONS, workspace_mgr)
        return series_of(rows.reshape(-1, workspace_mgr.call.examples, math.prod(rows.shape[1:])), self.format)

    def backprop(self, epsilon: Array, *, shape: tuple[int, ...], workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return epsilon as rows, or images, of this ``shape``."""
        return steps_of(epsilon, self.format, ArrayType.ACTIVATION_GRAD, workspace_mgr).reshape(shape)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of rows as one of steps, (batch, time)."""
        return None if mask is None else mask.reshape(-1, workspace_mgr.call.examples).T


@dataclass(frozen=True)
class RnnToFeedForwardPreProcessor(FoldingPreProcessor):
    """Series to vectors, one for every step: (batch, size, time) to (time x batch, size).

    Source: DL4J ``RnnToFeedForwardPreProcessor``.
    """

    def output_type(self, input_type: InputType) -> InputType:
        """Return vectors. Raises ShapeError unless the input is series of this format."""
        return InputType.feed_forward(self.series_type(input_type).size)


@dataclass(frozen=True)
class FeedForwardToRnnPreProcessor(UnfoldingPreProcessor):
    """Vectors to series: (time x batch, size) to (batch, size, time). Source: DL4J ``FeedForwardToRnnPreProcessor``."""

    def output_type(self, input_type: InputType) -> InputType:
        """Return series. Raises ShapeError unless the input is vectors."""
        if not isinstance(input_type, FeedForward | ConvolutionalFlat):
            raise ShapeError(
                f"{type(self).__name__} expects vectors, but its input is {input_type}. Leave it out, or use a "
                "CnnToRnnPreProcessor for images."
            )
        return InputType.recurrent(input_type.size, None, self.format)


@dataclass(frozen=True)
class RnnToCnnPreProcessor(_OfImages, FoldingPreProcessor):
    """Series to images, one for every step: (batch, channels height width, time) to (time x batch, channels, ...).

    Source: DL4J ``RnnToCnnPreProcessor``.
    """

    def output_type(self, input_type: InputType) -> InputType:
        """Return images. Raises ShapeError unless the input is series of their size."""
        images = InputType.convolutional(self.height, self.width, self.channels)
        if self.series_type(input_type).size != self.size:
            raise ShapeError(
                f"{type(self).__name__} expects steps of channels x height x width = {self.channels} x {self.height} x "
                f"{self.width} = {self.size} numbers, but its input is {input_type}. "
                "Make the two equal."
            )
        return images

    def preprocess(self, x: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the steps as images."""
        rows = super().preprocess(x, workspace_mgr=workspace_mgr)
        return rows.reshape(-1, self.channels, self.height, self.width)


@dataclass(frozen=True)
class CnnToRnnPreProcessor(_OfImages, UnfoldingPreProcessor):
    """Images to series: (time x batch, channels, height, width) to (batch, channels height width, time), in C order.

    The layers of images behind a RnnToCnnPreProcessor have the format NCHW. Source: DL4J ``CnnToRnnPreProcessor``.
    """

    def output_type(self, input_type: InputType) -> InputType:
        """Return series. Raises ShapeError unless the input is images of these extents."""
        expected = Convolutional(self.height, self.width, self.channels)
        if input_type != expected:
            raise ShapeError(
                f"{type(self).__name__} expects {expected}, but its input is {input_type}. Give it the extents of its "
                "input."
            )
        return InputType.recurrent(self.size, None, self.format)


def unfolding_of(input_type: InputType) -> InputPreProcessor | None:
    """Return what makes series again of rows or images that were the steps of series, None for series."""
    if isinstance(input_type, FeedForward):
        return FeedForwardToRnnPreProcessor()
    if isinstance(input_type, Convolutional):
        return CnnToRnnPreProcessor(input_type.height, input_type.width, input_type.channels)
    return None
