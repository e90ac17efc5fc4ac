"""What the passes over a network need to know of it: its layers, what each takes in, and how they are treated."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .configuration import MultiLayerConfiguration
from .inputs import channels_last, timesteps_of
from .layers import Layer, is_user_code
from .workspaces import LayerCall

__all__ = ["Model"]

Array = npt.NDArray[Any]


class Model:
    """The layers of one network and what is fixed about them.

    ``input_types`` are what the network takes in and what each layer gives out; ``layer_inputs`` what each layer gets,
    behind its preprocessor. ``channel_axes`` tell where in the latter the channels lie.
    """

    def __init__(self, layers: Sequence[Layer], configuration: MultiLayerConfiguration) -> None:
        self.layers = tuple(layers)
        self.input_types = configuration.input_types()
        self.layer_inputs = configuration.layer_input_types()
        self.preprocessors = configuration.input_preprocessors
        self.preprocessors_of_users = tuple(
            step is not None and is_user_code(type(step)) for step in self.preprocessors
        )
        self.channel_axes = tuple(-1 if channels_last(input_type) else 1 for input_type in self.layer_inputs)
        self.classes_are_last = channels_last(self.input_types[-1])
        self.dtype = np.dtype(configuration.dtype)
        self.user_code = tuple(is_user_code(type(layer)) for layer in layers)
        self._configuration = configuration
        self._output_extents: dict[int | None, tuple[int, ...]] = {}  # by the timesteps of the input

    def label(self, index: int) -> str:
        """Return how messages name a layer."""
        layer = self.layers[index]
        return f"layer {index} ({layer.name or type(layer).__name__})"

    def output_shape(self, x: Array) -> tuple[int, ...]:
        """Return the shape of the output for checked features x. Raises ShapeError for series that are too short."""
        return (len(x), *self._extents(timesteps_of(x, self.input_types[0])))

    def labels_shape(self, output_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the labels for an output, classes along axis 1."""
        if not self.classes_are_last:
            return output_shape
        return (output_shape[0], output_shape[-1], *output_shape[1:-1])

    def _extents(self, timesteps: int | None) -> tuple[int, ...]:
        found = self._output_extents.get(timesteps)
        if found is None:
            configuration = self._configuration
            if timesteps is not None:
                series = dataclasses.replace(self.input_types[0], timesteps=timesteps)  # type: ignore[type-var]
                configuration = dataclasses.replace(configuration, input_type=series)
            extents = configuration.input_types()[-1].example_shape()
            found = self._output_extents[timesteps] = tuple(extent or 1 for extent in extents)
        return found

    def call(self, index: int, gradients: dict[str, Array]) -> LayerCall:
        """Return what a layer owns in one thread."""
        return LayerCall(
            index=index,
            label=self.label(index),
            user_code=self.user_code[index],
            strict=self._configuration.strict,
            seed=self._configuration.seed,
            gradients=gradients,
        )
