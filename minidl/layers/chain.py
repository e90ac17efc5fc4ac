"""A list of layers as users give it, with what it takes in: checked, and the open ends filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigurationError, ShapeError
from ..inputs import InputType, Recurrent, channels_of
from .base import Layer
from .embedding import EmbeddingSequenceLayer
from .folding import FoldingPreProcessor, UnfoldingPreProcessor
from .preprocessors import InputPreProcessor
from .recurrent import RecurrentLayer
from .rnn_output import RnnOutputLayer
from .spatial import SpatialLayer
from .time_wrappers import TimeDistributed
from .wrapper import WrapperLayer, innermost

__all__ = [
    "TypeWalk",
    "check_layers",
    "checked_input_type",
    "checked_preprocessors",
    "inferred_input_type",
    "set_from_input_type",
]


def check_layers(layers: Sequence[object]) -> None:
    """Raise ConfigurationError unless there are layers, and nothing else."""
    if not layers:
        raise ConfigurationError("there are no layers. Give at least one, the last an OutputLayer or a LossLayer.")
    for index, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            hint = ", with its brackets" if isinstance(layer, type) else ""
            if isinstance(layer, list | tuple):
                raise ConfigurationError(f"layer {index} is a {type(layer).__name__} of layers. Write .list(*layers).")
            raise ConfigurationError(
                f"layer {index} is {layer!r}, expected an object of a class derived from Layer, such as "
                f"DenseLayer(n_out=10){hint}."
            )


def checked_input_type(value: object) -> InputType:
    """Return ``value``. Raises ConfigurationError unless it is an InputType."""
    if not isinstance(value, InputType):
        raise ConfigurationError(
            f"input_type={value!r} is no InputType. Use InputType.feed_forward(size), convolutional(height, width, "
            "channels) or recurrent(size)."
        )
    return value


def checked_preprocessors(steps: object, layers: int) -> Mapping[int, InputPreProcessor]:
    """Return preprocessors by the index of their layer, none for None. Raises ConfigurationError."""
    if not isinstance(steps, Mapping):
        if steps is None:
            return {}
        raise ConfigurationError(
            f"input_preprocessors={steps!r} is no dictionary. Give {{index of the layer: preprocessor}}."
        )
    for index, step in steps.items():
        if index not in range(layers):
            raise ConfigurationError(
                f"input_preprocessors has the key {index!r}, but there are layers 0 to {layers - 1}. Use the index of "
                "the layer that the preprocessor stands in front of."
            )
        if not isinstance(step, InputPreProcessor):
            raise ConfigurationError(
                f"the preprocessor of layer {index} is {step!r}, expected an object of a class derived from "
                "InputPreProcessor, such as CnnToFeedForwardPreProcessor()."
            )
    return steps


class TypeWalk:
    """Follows what an example looks like from layer to layer; remembers series while their steps are rows."""

    def __init__(self) -> None:
        self._series: Recurrent | None = None

    def behind(self, step: InputPreProcessor | None, input_type: InputType) -> InputType:
        """Return the type behind a preprocessor.

        Raises ShapeError where it makes series of what was none, and what ``output_type`` raises.
        """
        if step is None:
            return input_type
        found = step.output_type(input_type)
        if isinstance(step, FoldingPreProcessor):
            self._series = step.series_type(input_type)
        elif isinstance(step, UnfoldingPreProcessor):
            series, self._series = self._folded(input_type), None
            if step.format != series.format:
                raise ShapeError(
                    f"{type(step).__name__}(format={step.format!r}) makes series again that had the format "
                    f"{series.format} before. Give it that format."
                )
            found = dataclasses.replace(found, timesteps=series.timesteps)  # type: ignore[type-var]
        return found

    def in_format(self, step: InputPreProcessor | None, input_type: InputType) -> InputPreProcessor | None:
        """Return a preprocessor that a layer asked for, with the format that the series had before."""
        if not isinstance(step, UnfoldingPreProcessor):
            return step
        return dataclasses.replace(step, format=self._folded(input_type).format)

    def check_output(self, output_type: InputType) -> None:
        """Raise ShapeError for series that a layer makes of rows which are the steps of other series."""
        if self._series is not None and isinstance(output_type, Recurrent):
            raise ShapeError(
                f"{output_type} is made of every step of {self._series}, and a series of series has no form. Put "
                "LastTimeStep or a GlobalPoolingLayer in front, for one vector of each series."
            )

    def _folded(self, input_type: InputType) -> Recurrent:
        if self._series is None:
            raise ShapeError(
                f"series, (batch, size, time), are expected here, but the input is {input_type}. Use "
                "InputType.recurrent(size, timesteps), or put a RepeatVector in front, which makes series of vectors."
            )
        return self._series

    def check_end(self) -> None:
        """Raise ShapeError where a network ends between the steps of a series."""
        if self._series is not None:
            raise ShapeError(
                f"the network ends in rows, one for every step of {self._series}. End with RnnOutputLayer or "
                "RnnLossLayer for an output at every step, or put LastTimeStep or a GlobalPoolingLayer in front of the "
                "layers without time."
            )


def set_from_input_type(layer: Layer, input_type: InputType) -> None:
    """Fill in n_in and format where a layer has them and leaves them open."""
    for option, value in (("n_in", channels_of(input_type)), ("format", getattr(input_type, "format", None))):
        if hasattr(layer, option) and getattr(layer, option) is None:
            setattr(layer, option, value)
    layer_format: Any = getattr(layer, "format", None)
    if isinstance(layer_format, str):
        layer.format = layer_format.upper()  # type: ignore[attr-defined]


def inferred_input_type(layer: Layer) -> InputType:
    """Return vectors of the ``n_in`` of the first layer. Raises ConfigurationError where that does not say enough."""
    inner = innermost(layer)
    size = 1 if inner.takes_indices else getattr(inner, "n_in", None)
    if isinstance(inner, RecurrentLayer | RnnOutputLayer | EmbeddingSequenceLayer) and size is not None:
        return InputType.recurrent(size)
    if isinstance(layer, TimeDistributed) and size is not None:
        return InputType.recurrent(size)
    if isinstance(layer, SpatialLayer | WrapperLayer):
        raise ConfigurationError(
            f"the input of the first layer ({type(layer).__name__}) is not known. Give list(..., input_type="
            f"{getattr(layer, 'example_of_input', '') or 'InputType.recurrent(size)'}), with the extents of your data."
        )
    if size is None:
        raise ConfigurationError(
            f"the input of the first layer ({type(layer).__name__}) is not known. Give list(..., "
            "input_type=InputType.feed_forward(size)), or n_in of the first layer."
        )
    return InputType.feed_forward(size)
