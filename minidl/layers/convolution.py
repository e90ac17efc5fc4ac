"""Convolutions of images and of series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..functions import Activation, Identity
from ..functions.scratch import with_small_buffers
from ..inputs import InputType, Recurrent
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, ParamSpec, filled_in
from .feed_forward import WeightLayer
from .kernels import (
    BiasRows,
    KernelGradient,
    activate_positions,
    backprop_positions,
    bias_spec,
    kernel_spec,
    tap_matrices,
    weight_matrix,
)
from .spatial import empty_of, in_c_order, mask_as_images
from .unfolding import Blocks, Folding, Unfolding, block_size, column_sums
from .window_layer import BufferedWindowLayer, ImageWindowLayer, SeriesWindowLayer, check_channels_in
from .window_reductions import leave_out, mask_of_windows
from .windows import Window2D

__all__ = ["Convolution1DLayer", "ConvolutionLayer"]


@dataclass(kw_only=True)
class _Convolution(BufferedWindowLayer, WeightLayer):
    """What convolutions of images and of series share: products of the weights with all windows, block by block."""

    independent_examples: ClassVar[bool] = True
    default_activation: ClassVar[Activation] = Identity()

    def output_type(self, input_type: InputType) -> InputType:
        """Return images or series of n_out channels. Raises ShapeError where the window or the channels do not fit."""
        channels = self.image_type(input_type).channels
        n_out = check_channels_in(self, channels)
        return self.windowed_type(input_type, n_out)

    def check_buffer(self, input_type: InputType, itemsize: int) -> None:
        """Raise ConfigurationError where the windows of one output row are over the cap."""
        images = self.image_type(input_type)
        window = self.window(images.height, images.width)
        block_size(window, images.channels, filled_in(self.n_out, "n_out"), itemsize, self.max_window_bytes)

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return b (n_out,) and W (n_out, n_in, kernel height, kernel width), in C order, as DL4J lays them out."""
        n_in, n_out = self.image_type(input_type).channels, filled_in(self.n_out, "n_out")
        kernel, _ = self.kernel_and_stride()
        return (*bias_spec(self, n_out), kernel_spec(self, (n_out, n_in, *kernel), n_in, n_out))

    @with_small_buffers
    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x * W + b)."""
        images, empty = self.images(x), empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        window, blocks = self._geometry(images)
        n_out, places = self.params["W"].shape[0], (window.rows.positions, window.columns.positions)
        z = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (len(x), *places, n_out))
        weights = weight_matrix(self.params["W"], empty)
        bias = BiasRows(self.params["b"], empty) if self.has_bias else None
        unfolding = Unfolding(window, images, blocks, empty)
        for part, rows in unfolding.over(len(x)):
            block = z[part, rows].reshape(-1, n_out)
            np.matmul(unfolding.gather(part, rows), weights.T, out=block)
            if bias is not None:
                bias.add_to(block)
        kept, out = activate_positions(self.activation, z, workspace_mgr, training)
        seen = self._seen_steps(workspace_mgr)
        leave_out(out, seen, empty)
        workspace_mgr.save_for_backprop(x, kept, seen)
        return self.from_images(out)

    @with_small_buffers
    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW = d_z^T windows and dL/db, and return dL/dx: d_z W of each tap, added up where it lies."""
        x, kept, seen = workspace_mgr.saved()
        images, empty = self.images(x), empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        epsilon = in_c_order(self.images(epsilon), ArrayType.BP_WORKING_MEM, workspace_mgr)
        leave_out(epsilon, seen, empty)
        d_z = backprop_positions(self.activation, kept, epsilon, workspace_mgr)
        if self.has_bias:
            column_sums(d_z, workspace_mgr.gradient("b"), empty)
        window, blocks = self._geometry(images)
        unfolding = Unfolding(window, images, blocks, empty)
        gradient = KernelGradient(workspace_mgr.gradient("W"), empty, turns=unfolding.taps_first)
        d_x = None
        if workspace_mgr.wants_input_gradient:
            d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, images.shape)
            folding, taps = Folding(window, images.shape[3], blocks, empty), tap_matrices(self.params["W"], empty)
        for part, rows in unfolding.over(len(x)):
            block = d_z[part, rows].reshape(-1, d_z.shape[3])
            gradient.add(block, unfolding.gather(part, rows))
            if d_x is not None:
                folding.add_products(block, taps, d_x, part, rows)
        gradient.write()
        return None if d_x is None else self.from_images(d_x)

    def _seen_steps(self, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the steps out of a series with a mask, None for images, which DL4J does not mask here."""
        mask = workspace_mgr.mask
        if len(self.axes) == 2 or mask_as_images(mask, self.format, workspace_mgr) is None:
            return None
        return self.propagate_mask(mask, workspace_mgr=workspace_mgr)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the output: a position is there where its window sees one that is."""
        return mask_of_windows(mask, self, workspace_mgr)

    def _geometry(self, images: Array) -> tuple[Window2D, Blocks]:
        _, height, width, channels = images.shape
        n_out = self.params["W"].shape[0]
        window = self.window(height, width)
        return window, block_size(window, channels, n_out, images.itemsize, self.max_window_bytes)


@dataclass(kw_only=True)
class ConvolutionLayer(ImageWindowLayer, _Convolution):
    """Convolution of images: a = f(x * W + b), a[n, o, i, j] = f(b[o] + sum x[n, c, i s + u d - p, ...] W[o, c, u, v]).

    Shapes: x (batch, n_in, height, width), W (n_out, n_in, kernel height, kernel width), b (n_out,), a (batch, n_out,
    height out, width out), or with the channels last where the input type says "NHWC"; W stays as it is. With reach =
    dilation (kernel - 1) + 1, an extent becomes floor((size + 2 padding - reach) / stride) + 1, or ceil(size / stride)
    with ``convolution_mode="same"``. Pairs are (height, width); one number stands for both. The activation is that of
    the network if it was given one, else identity. ``max_window_bytes`` caps the buffer of the windows, which all
    layers share; by default it is what stays in the cache.
    Raises ShapeError where the window or the channels do not fit, ConfigurationError for options that cannot be.
    Source: DL4J ``ConvolutionLayer``.
    """

    kernel_size: Any = (5, 5)


@dataclass(kw_only=True)
class Convolution1DLayer(SeriesWindowLayer, _Convolution):
    """Convolution of series: a[n, o, t] = f(b[o] + sum x[n, c, t s + u d - p] W[o, c, u, 0]).

    Shapes: x (batch, n_in, time), W (n_out, n_in, kernel, 1), b (n_out,), a (batch, n_out, time out), or with the
    channels last where the input type says "NWC". Options as for ConvolutionLayer, but numbers in place of pairs;
    ``convolution_mode="causal"`` pads the start alone. A mask of time steps becomes one of the steps out: a step is
    there where its window sees one that is, and all other steps are 0. Raises as ConvolutionLayer.
    Source: DL4J ``Convolution1DLayer``.
    """

    kernel_size: Any = 5

    def check_buffer(self, input_type: InputType, itemsize: int) -> None:
        """Raise ConfigurationError where the windows of one step are over the cap, however long the series are."""
        series = self.series_type(input_type)
        if series.timesteps is None:  # one step takes the same in the shortest series that fits
            reach = self.dilation * (self.kernel_size - 1) + 1
            input_type = Recurrent(series.size, reach + -2 * self.padding % self.stride, series.format)
        super().check_buffer(input_type, itemsize)
