"""Convolution of each channel by itself, then of all channels of a position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..inputs import InputType
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, ParamSpec, filled_in
from .channelwise import Channelwise, ChannelwiseGradient
from .depthwise import ChannelwiseLayer
from .kernels import (
    BiasRows,
    KernelGradient,
    activate_positions,
    bias_spec,
    kernel_spec,
    tap_matrices,
)
from .spatial import empty_of
from .window_layer import check_channels_in

__all__ = ["SeparableConvolution2D"]


@dataclass(kw_only=True)
class SeparableConvolution2D(ChannelwiseLayer):
    """Convolution in two steps: h[n, c m' + m] = x[n, c] * W[m, c], then a[n, o] = f(b[o] + sum_k h[n, k] pW[o, k]).

    Shapes: x (batch, n_in, height, width), W (m', n_in, kernel height, kernel width), h (batch, n_in m', height out,
    width out), pW (n_out, n_in m', 1, 1), b (n_out,), a (batch, n_out, height out, width out), with m' =
    ``depth_multiplier``, or with the channels last where the input type says "NHWC". h is computed again in the
    backward pass rather than kept. Other options, and extents, as for DepthwiseConvolution2D.
    Raises ShapeError where the window or the channels do not fit, ConfigurationError for options that cannot be.
    Source: DL4J ``SeparableConvolution2D``.
    """

    def output_type(self, input_type: InputType) -> InputType:
        """Return images of n_out channels. Raises ShapeError where the window or the channels do not fit."""
        channels = self.image_type(input_type).channels
        return self.windowed_type(input_type, check_channels_in(self, channels))

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return b (n_out,), W (depth_multiplier, n_in, kernel...) and pW (n_out, n_in depth_multiplier, 1, 1)."""
        n_in, n_out = self.image_type(input_type).channels, filled_in(self.n_out, "n_out")
        between, init = n_in * self.depth_multiplier, filled_in(self.weight_init, "weight_init")
        weights = kernel_spec(self, (self.depth_multiplier, n_in, *self.kernel_size), n_in, self.depth_multiplier)
        pointwise = ParamSpec("pW", (n_out, between, 1, 1), init, fan_in=between, fan_out=between)
        return (*bias_spec(self, n_out), weights, pointwise)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x * W * pW + b)."""
        images, empty = self.images(x), empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        window = self.window(*images.shape[1:3])
        pointwise = self.params["pW"][:, :, 0, 0]
        places, (n_out, between) = (window.rows.positions, window.columns.positions), pointwise.shape
        z = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (len(x), *places, n_out))
        bias = BiasRows(self.params["b"], empty) if self.has_bias else None
        convolution = Channelwise(window, _taps(self.params["W"]), self.max_window_bytes, empty)
        hidden = empty((convolution.blocks.images, convolution.blocks.rows, places[1], between))
        for part, rows in convolution.over(images):
            target = z[part, rows]
            h, block = _matrices(hidden, target)
            convolution.convolve(h.reshape(*target.shape[:3], between))
            np.matmul(h, pointwise.T, out=block)
            if bias is not None:
                bias.add_to(block)
        kept, out = activate_positions(self.activation, z, workspace_mgr, training)
        workspace_mgr.save_for_backprop(x, kept)
        return self.from_images(out)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dpW = d_z^T h, dL/dW and dL/db, and return dL/dx, the last two from d_h = d_z pW."""
        images, d_z, d_x = self.begin_backprop(epsilon, workspace_mgr)
        empty = empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        window = self.window(*images.shape[1:3])
        convolution = ChannelwiseGradient(window, _taps(self.params["W"]), self.max_window_bytes, d_x, empty)
        pointwise = tap_matrices(self.params["pW"], empty)[0]
        gradient = KernelGradient(workspace_mgr.gradient("pW"), empty)
        hidden = empty((convolution.blocks.images, convolution.blocks.rows, d_z.shape[2], pointwise.shape[1]))
        for part, rows in convolution.over(images):
            h, block = _matrices(hidden, d_z[part, rows])
            h_images = h.reshape(*d_z[part, rows].shape[:3], -1)
            convolution.convolve(h_images)
            gradient.add(block, h)
            np.matmul(block, pointwise, out=h)
            convolution.add(h_images, part, rows)
        gradient.write()
        convolution.write(_taps(workspace_mgr.gradient("W")))
        return None if d_x is None else self.from_images(d_x)


def _taps(weights: Array) -> Array:
    """Return W (depth_multiplier, n_in, kernel...) as a view (kernel..., n_in, depth_multiplier)."""
    return weights.transpose(2, 3, 1, 0)


def _matrices(hidden: Array, block: Array) -> tuple[Array, Array]:
    """Return (positions, n) of as much of ``hidden`` as belongs to the positions of a block, and of the block."""
    positions = block.shape[0] * block.shape[1] * block.shape[2]
    return hidden.reshape(-1, hidden.shape[3])[:positions], block.reshape(positions, block.shape[3])
