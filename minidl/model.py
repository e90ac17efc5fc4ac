"""What the passes over a network need to know of it: its layers, what each takes in, and how they are treated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import output_shape
from .configuration import MultiLayerConfiguration
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
        self.channel_axes = tuple(
            -1 if getattr(input_type, "format", "") in ("NHWC", "NWC") else 1 for input_type in self.layer_inputs
        )
        self.dtype = np.dtype(configuration.dtype)
        self.user_code = tuple(is_user_code(type(layer)) for layer in layers)
        self._configuration = configuration
        extents = tuple(extent for extent in self.input_types[-1].example_shape() if extent is not None)
        self._output_extents = extents if len(extents) == len(self.input_types[-1].example_shape()) else None

    def label(self, index: int) -> str:
        """Return how messages name a layer."""
        layer = self.layers[index]
        return f"layer {index} ({layer.name or type(layer).__name__})"

    def output_shape(self, x: Array) -> tuple[int, ...]:
        """Return the shape of the output for the features x; an extent that varies is that of x."""
        if self._output_extents is not None:
            return (len(x), *self._output_extents)
        return output_shape(x, self.input_types[0], self.input_types[-1])

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
