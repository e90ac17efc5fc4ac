"""Convolution of each channel of an image by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ShapeError
from ..functions import Activation, Identity
from ..inputs import InputType, positive_int
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, ParamSpec
from .channelwise import Channelwise, ChannelwiseGradient
from .feed_forward import WeightLayer
from .kernels import BiasRows, activate_positions, backprop_positions, bias_spec, kernel_spec
from .spatial import empty_of
from .unfolding import column_sums
from .window_layer import BufferedWindowLayer, ImageWindowLayer, check_n_in
from .window_reductions import mask_of_windows

__all__ = ["ChannelwiseLayer", "DepthwiseConvolution2D"]


@dataclass(kw_only=True)
class ChannelwiseLayer(ImageWindowLayer, BufferedWindowLayer, WeightLayer):
    """What convolutions share that give each channel ``depth_multiplier`` others."""

    independent_examples: ClassVar[bool] = True
    default_activation: ClassVar[Activation] = Identity()

    kernel_size: Any = (5, 5)
    depth_multiplier: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.depth_multiplier = positive_int(self.depth_multiplier, f"{type(self).__name__}: depth_multiplier")

    def begin_backprop(self, epsilon: Array, workspace_mgr: LayerWorkspaceMgr) -> tuple[Array, Array, Array | None]:
        """Write dL/db and return (x as images, dL/dz, memory for dL/dx), None for the last where it is not wanted."""
        x, kept = workspace_mgr.saved()
        images, empty = self.images(x), empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_z = backprop_positions(self.activation, kept, self.images(epsilon), workspace_mgr)
        if self.has_bias:
            column_sums(d_z, workspace_mgr.gradient("b"), empty)
        if not workspace_mgr.wants_input_gradient:
            return images, d_z, None
        return images, d_z, workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, images.shape)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the output: the largest that a window sees."""
        return mask_of_windows(mask, self, workspace_mgr)


@dataclass(kw_only=True)
class DepthwiseConvolution2D(ChannelwiseLayer):
    """Convolution of each channel: a[n, c m' + m, i, j] = f(b[c m' + m] + sum x[n, c, i s + u d - p, ...] W[u, ...]).

    Shapes: x (batch, n_in, height, width), W (kernel height, kernel width, n_in, m'), b (n_in m',), a (batch, n_in m',
    height out, width out), with m' = ``depth_multiplier``, or with the channels last where the input type says "NHWC".
    ``n_out`` may be left out: it is n_in m'. ``max_window_bytes`` caps the input of a block, down to what one output
    row sees; by default it is what stays in the cache. Other options, and extents, as for ConvolutionLayer.
    Raises ShapeError where the window or the channels do not fit, ConfigurationError for options that cannot be.
    Source: DL4J ``DepthwiseConvolution2D``.
    """

    def output_type(self, input_type: InputType) -> InputType:
        """Return images of n_in depth_multiplier channels. Raises ShapeError where window or channels do not fit."""
        channels = self.image_type(input_type).channels
        check_n_in(self, channels)
        n_out = channels * self.depth_multiplier
        if self.n_out is not None and self.n_out != n_out:
            raise ShapeError(
                f"{type(self).__name__}: n_out={self.n_out}, but {channels} channels x depth_multiplier="
                f"{self.depth_multiplier} = {n_out}, as every channel gives so many. Set n_out={n_out}, or leave it "
                "unset."
            )
        return self.windowed_type(input_type, n_out)

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return b (n_out,) and W (kernel height, kernel width, n_in, depth_multiplier), in C order, as in DL4J."""
        n_in = self.image_type(input_type).channels
        shape = (*self.kernel_size, n_in, self.depth_multiplier)
        return (*bias_spec(self, n_in * self.depth_multiplier), kernel_spec(self, shape, n_in, self.depth_multiplier))

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x * W + b)."""
        images, empty = self.images(x), empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        weights, window = self.params["W"], self.window(*images.shape[1:3])
        n_out, places = images.shape[3] * self.depth_multiplier, (window.rows.positions, window.columns.positions)
        z = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (len(x), *places, n_out))
        bias = BiasRows(self.params["b"], empty) if self.has_bias else None
        convolution = Channelwise(window, weights, self.max_window_bytes, empty)
        for part, rows in convolution.over(images):
            block = z[part, rows]
            convolution.convolve(block)
            if bias is not None:
                bias.add_to(block.reshape(-1, n_out))
        kept, out = activate_positions(self.activation, z, workspace_mgr, training)
        workspace_mgr.save_for_backprop(x, kept)
        return self.from_images(out)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW = sum x d_z of each tap and dL/db, and return dL/dx: d_z W of each tap where it lies."""
        images, d_z, d_x = self.begin_backprop(epsilon, workspace_mgr)
        empty = empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        window = self.window(*images.shape[1:3])
        convolution = ChannelwiseGradient(window, self.params["W"], self.max_window_bytes, d_x, empty)
        for part, rows in convolution.over(images):
            convolution.add(d_z[part, rows], part, rows)
        convolution.write(workspace_mgr.gradient("W"))
        return None if d_x is None else self.from_images(d_x)
