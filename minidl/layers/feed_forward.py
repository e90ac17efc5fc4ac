"""What the layers with a weight matrix share: their fields, and the affine map with its gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import ConfigurationError, ShapeError
from ..functions import Activation, WeightInit
from ..functions import activation as as_activation
from ..functions import weight_init as as_weight_init
from ..inputs import Convolutional, ConvolutionalFlat, FeedForward, InputType, Recurrent, positive_int
from ..numeric_options import set_flag
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .activating import run_activation
from .base import Array, Layer, ParamSpec, filled_in
from .folding import RnnToFeedForwardPreProcessor
from .preprocessors import CnnToFeedForwardPreProcessor, InputPreProcessor

__all__ = ["FeedForwardLayer", "WeightLayer", "vector_size"]

BIAS_BLOCK, BIAS_ROWS = 16384, 128  # elements and rows of the repeated bias: what stays in the cache, and is little


@dataclass(kw_only=True)
class WeightLayer(Layer):
    """Fields of layers with weights from n_in to n_out channels; None means: as set for the whole network."""

    n_in: int | None = None
    n_out: int | None = None
    activation: Activation | str | None = None
    weight_init: WeightInit | str | None = None
    bias_init: float | None = None
    has_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_in", "n_out"):
            if getattr(self, name) is not None:
                setattr(self, name, positive_int(getattr(self, name), f"{type(self).__name__}: {name}"))
        set_flag(self, "has_bias")
        if self.activation is not None:
            self.activation = as_activation(self.activation)
        if self.weight_init is not None:
            self.weight_init = as_weight_init(self.weight_init)


@dataclass(kw_only=True)
class FeedForwardLayer(WeightLayer):
    """What layers that map (batch, n_in) to (batch, n_out) share."""

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes rows of images, or of the steps of series."""
        if isinstance(input_type, Recurrent) and not self.is_output_layer:
            return RnnToFeedForwardPreProcessor(format=input_type.format)
        return CnnToFeedForwardPreProcessor() if isinstance(input_type, Convolutional) else None

    def output_type(self, input_type: InputType) -> InputType:
        """Return vectors of n_out. Raises ShapeError unless the input is vectors of n_in."""
        size = vector_size(self, input_type)
        if self.n_in is not None and self.n_in != size:
            raise ShapeError(
                f"{type(self).__name__}: n_in={self.n_in}, but its input has size {size}. Set n_in={size}, or leave "
                "n_in unset to take it from the input type."
            )
        if self.n_out is None:
            raise ConfigurationError(f"{type(self).__name__} needs n_out, the number of its outputs: n_out=10.")
        return InputType.feed_forward(self.n_out)

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return W (n_in, n_out), in Fortran order as in DL4J, and b (n_out,)."""
        n_in, n_out = vector_size(self, input_type), filled_in(self.n_out, "n_out")
        weights = ParamSpec("W", (n_in, n_out), filled_in(self.weight_init, "weight_init"), order="F")
        if not self.has_bias:
            return (weights,)
        return (weights, ParamSpec("b", (n_out,), filled_in(self.bias_init, "bias_init"), regularizable=False))

    def affine_activate(self, x: Array, workspace_mgr: LayerWorkspaceMgr, training: bool) -> tuple[Array, Array, Array]:
        """Return (x, what the activation's derivative needs, f(x W + b)), to be kept for the backward pass."""
        x = blas_ready(x, ArrayType.ACTIVATIONS, workspace_mgr)
        z = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (len(x), self.params["W"].shape[1]))
        np.matmul(x, self.params["W"], out=z)
        if self.has_bias:
            add_bias(z, self.params["b"], workspace_mgr)
        return (x, *run_activation(self.activation, z, workspace_mgr, overwrite=True, training=training))

    def affine_backprop(self, x: Array, d_z: Array, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the gradients of W and b and return dL/dx, (batch, n_in), from d_z, (batch, n_out)."""
        d_z = blas_ready(d_z, ArrayType.BP_WORKING_MEM, workspace_mgr)
        np.matmul(x.T, d_z, out=workspace_mgr.gradient("W"))
        if self.has_bias:
            np.add.reduce(d_z, axis=0, out=workspace_mgr.gradient("b"))
        if not workspace_mgr.wants_input_gradient:
            return None
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, x.shape)
        return np.matmul(d_z, self.params["W"].T, out=d_x)


def vector_size(layer: Layer, input_type: InputType) -> int:
    """Return the size of the vectors that come in. Raises ShapeError for another kind of input."""
    if isinstance(input_type, FeedForward | ConvolutionalFlat):
        return input_type.size
    if isinstance(input_type, Recurrent) and layer.is_output_layer:
        raise ShapeError(
            f"{type(layer).__name__} expects vectors, (batch, n_in), but its input is {input_type}. Use RnnOutputLayer "
            "for an output at every step, or put LastTimeStep or a GlobalPoolingLayer in front for one of each series."
        )
    raise ShapeError(
        f"{type(layer).__name__} expects vectors, (batch, n_in), but its input is {input_type}. Use "
        "InputType.feed_forward(size), or put a layer before it that makes vectors."
    )


def blas_ready(matrix: Array, array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Array:
    """Return a matrix that BLAS takes as it is: NumPy would copy any other one on the heap, in every product."""
    if matrix.flags.c_contiguous:
        return matrix
    (rows, columns), (row_step, column_step), step = matrix.shape, matrix.strides, matrix.itemsize
    if (column_step == step and row_step >= columns * step) or (row_step == step and column_step >= rows * step):
        return matrix
    order: Literal["C", "F"] = "C" if abs(row_step) >= abs(column_step) else "F"
    copy = workspace_mgr.create_uninitialized(array_type, matrix.shape, order=order)
    np.copyto(copy, matrix)
    return copy


def add_bias(z: Array, bias: Array, workspace_mgr: LayerWorkspaceMgr) -> None:
    """Add ``bias`` to every row of ``z``, in place.

    NumPy would take a hidden buffer for the broadcast, so the row is repeated in working memory, as often as the
    cache holds it, and added block by block.
    """
    batch, n_out = z.shape
    if batch == 1:
        np.add(z, bias.reshape(1, n_out), out=z)
        return
    rows = max(1, min(BIAS_ROWS, BIAS_BLOCK // n_out))
    repeated = workspace_mgr.forward_memory((rows, n_out))
    np.copyto(repeated[:batch], bias)
    for start in range(0, batch, rows):
        block = z[start : start + rows]
        np.add(block, repeated[: len(block)], out=block)
