"""Transposed convolution of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..functions import Activation, Identity
from ..functions.scratch import with_small_buffers
from ..inputs import InputType
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
from .spatial import check_mode, empty_of
from .unfolding import Blocks, Folding, Unfolding, block_size, column_sums
from .window_layer import BufferedWindowLayer, ImageWindowLayer, check_channels_in
from .window_reductions import spread_over_windows
from .windows import ConvolutionMode, Window, Window2D, slide

__all__ = ["Deconvolution2D"]


@dataclass(kw_only=True)
class Deconvolution2D(ImageWindowLayer, BufferedWindowLayer, WeightLayer):
    """Transposed convolution: z[n, o, i s + u d - p, j s + v d - p] += x[n, c, i, j] W[c, o, u, v], a = f(z + b).

    It is to a convolution with these options what that one's gradient by its input is: a window slides over the
    output, one position for each element of the input. Shapes: x (batch, n_in, height, width), W (n_in, n_out, kernel
    height, kernel width), b (n_out,), a (batch, n_out, height out, width out), or with the channels last where the
    input type says "NHWC". An extent becomes stride (size - 1) + dilation (kernel - 1) + 1 - 2 padding, or size stride
    with ``convolution_mode="same"``. Other options as for ConvolutionLayer.
    Raises ShapeError where nothing is left or the channels do not fit, ConfigurationError for options that cannot be.
    Source: DL4J ``Deconvolution2D``.
    """

    independent_examples: ClassVar[bool] = True
    default_activation: ClassVar[Activation] = Identity()

    kernel_size: Any = (5, 5)

    def window(self, height: int, width: int) -> Window2D:
        """Return the window over the output for an input of this size. Raises ShapeError where nothing is left."""
        return Window2D(self._along(0, height), self._along(1, width))

    def _along(self, axis: int, size: int) -> Window:
        mode: ConvolutionMode = filled_in(self.convolution_mode, "convolution_mode")
        options = (self.kernel_size, self.stride, self.padding, self.dilation)
        kernel, stride, padding, dilation = (pair[axis] for pair in options)
        name = self.axes[axis]
        if mode is ConvolutionMode.SAME:
            return slide(size * stride, kernel, stride, padding, dilation, mode, name)
        out = stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 * padding
        if out < 1:
            raise ShapeError(
                f"{type(self).__name__}: {name}={size}, kernel={kernel}, stride={stride}, padding={padding}, dilation="
                f"{dilation}: of the {name}, {stride} x ({size} - 1) + {dilation} x ({kernel} - 1) + 1 - 2 x {padding} "
                f'= {out} is left. Use less padding, a larger kernel, stride or dilation, or convolution_mode="same".'
            )
        return slide(out, kernel, stride, padding, dilation, mode, name)

    def output_type(self, input_type: InputType) -> InputType:
        """Return images of n_out channels. Raises ShapeError where nothing is left or the channels do not fit."""
        check_mode(self, self.allowed_modes)  # the network's, which was filled in after the layer was made
        images = self.image_type(input_type)
        n_out = check_channels_in(self, images.channels)
        window = self.window(images.height, images.width)
        return self.type_like(input_type, window.rows.size, window.columns.size, n_out)

    def check_buffer(self, input_type: InputType, itemsize: int) -> None:
        """Raise ConfigurationError where the windows of one row are over the cap."""
        images = self.image_type(input_type)
        window = self.window(images.height, images.width)
        block_size(window, filled_in(self.n_out, "n_out"), images.channels, itemsize, self.max_window_bytes)

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return b (n_out,) and W (n_in, n_out, kernel height, kernel width), in C order, as DL4J lays them out."""
        n_in, n_out = self.image_type(input_type).channels, filled_in(self.n_out, "n_out")
        return (*bias_spec(self, n_out), kernel_spec(self, (n_in, n_out, *self.kernel_size), n_in, n_out))

    @with_small_buffers
    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(z + b): x W of each tap, added up where it lies."""
        images = self.channels_last(x, ArrayType.FF_WORKING_MEM, workspace_mgr)
        empty = empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        window, blocks = self._geometry(images)
        n_in, n_out = self.params["W"].shape[:2]
        z = workspace_mgr.create_uninitialized(
            ArrayType.ACTIVATIONS, (len(x), window.rows.size, window.columns.size, n_out)
        )
        folding, taps = Folding(window, n_out, blocks, empty), tap_matrices(self.params["W"], empty)
        for part, rows in folding.over(len(x)):
            folding.add_products(images[part, rows].reshape(-1, n_in), taps, z, part, rows)
        if self.has_bias:
            BiasRows(self.params["b"], empty).add_to(z.reshape(-1, n_out))
        kept, out = activate_positions(self.activation, z, workspace_mgr, training)
        workspace_mgr.save_for_backprop(x, kept)
        return self.from_images(out)

    @with_small_buffers
    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW = x^T windows and dL/db, and return dL/dx = windows W^T, with the windows of d_z."""
        x, kept = workspace_mgr.saved()
        images = self.channels_last(x, ArrayType.BP_WORKING_MEM, workspace_mgr)
        empty = empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_z = backprop_positions(self.activation, kept, self.images(epsilon), workspace_mgr)
        if self.has_bias:
            column_sums(d_z, workspace_mgr.gradient("b"), empty)
        window, blocks = self._geometry(images)
        unfolding = Unfolding(window, d_z, blocks, empty)
        gradient = KernelGradient(workspace_mgr.gradient("W"), empty, turns=unfolding.taps_first)
        d_x = None
        if workspace_mgr.wants_input_gradient:
            weights = weight_matrix(self.params["W"], empty)
            d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, images.shape)
        for part, rows in unfolding.over(len(x)):
            windows = unfolding.gather(part, rows)
            gradient.add(images[part, rows].reshape(-1, images.shape[3]), windows)
            if d_x is not None:
                np.matmul(windows, weights.T, out=d_x[part, rows].reshape(-1, images.shape[3]))
        gradient.write()
        return None if d_x is None else self.from_images(d_x)

    def _geometry(self, images: Array) -> tuple[Window2D, Blocks]:
        n_in, n_out = self.params["W"].shape[:2]
        window = self.window(*images.shape[1:3])
        return window, block_size(window, n_out, n_in, images.itemsize, self.max_window_bytes)

    @with_small_buffers
    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the output: 1 where an element of the input that is there reaches."""
        if mask is None or mask.ndim < 3:
            return mask
        window = self.window(*mask.shape[1:])
        batch, rows, columns = len(mask), window.rows, window.columns
        middle = workspace_mgr.forward_memory((batch, rows.size, columns.positions, 1), mask.dtype)
        shape = (batch, rows.size, columns.size, 1)
        out = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, shape, mask.dtype)
        spread_over_windows(mask.view(np.ndarray)[..., np.newaxis], window, middle=middle, out=out)
        return np.minimum(out, out.dtype.type(1), out=out)[..., 0]
