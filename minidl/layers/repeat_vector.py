"""From vectors to series."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..errors import ShapeError
from ..inputs import Convolutional, ConvolutionalFlat, FeedForward, InputType, positive_int
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, Layer
from .preprocessors import CnnToFeedForwardPreProcessor, InputPreProcessor
from .time_steps import series_of, steps_of

__all__ = ["RepeatVector"]


@dataclass
class RepeatVector(Layer):
    """Series of equal steps: y[b, :, t] = x[b] for t = 0 ... n - 1.

    ``repetition_factor`` is n. Shapes: x (batch, size), y (batch, size, n), or (batch, n, size) with ``format`` "NWC".
    Raises ShapeError for inputs that are no vectors, ConfigurationError for options that cannot be.
    Source: DL4J ``RepeatVector``.
    """

    independent_examples: ClassVar[bool] = True

    repetition_factor: int = 1
    format: str = field(default="NCW", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.repetition_factor = positive_int(self.repetition_factor, f"{type(self).__name__}: repetition_factor")
        self.format = InputType.recurrent(1, None, self.format).format

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes rows of images."""
        return CnnToFeedForwardPreProcessor() if isinstance(input_type, Convolutional) else None

    def output_type(self, input_type: InputType) -> InputType:
        """Return series of n steps. Raises ShapeError unless the input is vectors."""
        if not isinstance(input_type, FeedForward | ConvolutionalFlat):
            raise ShapeError(
                f"{type(self).__name__} expects vectors, (batch, size), but its input is {input_type}. Put "
                "LastTimeStep or a GlobalPoolingLayer in front, which make vectors of series."
            )
        return InputType.recurrent(input_type.size, self.repetition_factor, self.format)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return n times x; in memory time comes first, as recurrent layers have it."""
        steps = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (self.repetition_factor, *x.shape))
        np.copyto(steps, x)
        return series_of(steps, self.format)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx, the sum of epsilon over time."""
        if not workspace_mgr.wants_input_gradient:
            return None
        steps = steps_of(epsilon, self.format, ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, steps.shape[1:])
        np.add.reduce(steps.reshape(len(steps), -1), axis=0, out=d_x.reshape(-1))
        return d_x

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return a mask of whole examples as it is; one of the elements of x is none of steps."""
        return mask if mask is not None and (mask.ndim == 1 or mask.shape[1] == 1) else None
