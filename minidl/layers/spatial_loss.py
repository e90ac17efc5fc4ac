"""The losses of images and of series, without weights."""

from __future__ import annotations

from dataclasses import dataclass

from ..inputs import InputType
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .activating import backprop_activation, backprop_loss, run_activation
from .base import Array
from .folding import unfolding_of
from .output import LossLayer
from .preprocessors import InputPreProcessor
from .spatial import ImageLayer, SeriesLayer, SpatialLayer

__all__ = ["CnnLossLayer", "RnnLossLayer"]


@dataclass(kw_only=True)
class _SpatialLossLayer(SpatialLayer, LossLayer):
    """A loss at every position: activations and losses see the channels along axis 1."""

    def output_type(self, input_type: InputType) -> InputType:
        """Return the input type. Raises ShapeError for one of another kind."""
        self.image_type(input_type)
        return input_type

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x)."""
        seen = self._channels_first(x)
        kept, out = run_activation(self.activation, seen, workspace_mgr, overwrite=False, training=training)
        workspace_mgr.save_for_backprop(kept, out)
        return self._in_format(out)

    def backprop_labels(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx."""
        kept, out = workspace_mgr.saved()
        place = ArrayType.ACTIVATION_GRAD
        d_x = backprop_loss(self.loss, self.activation, labels, kept, out, mask, workspace_mgr, place)
        return self._in_format(d_x)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx for an error that comes from elsewhere than the labels, ``epsilon`` = dL/da."""
        kept, _ = workspace_mgr.saved()
        d_x = workspace_mgr.create_like(ArrayType.ACTIVATION_GRAD, kept)
        epsilon = self._channels_first(epsilon)
        return self._in_format(backprop_activation(self.activation, kept, epsilon, workspace_mgr, out=d_x))

    def _channels_first(self, array: Array) -> Array:
        if self.format not in ("NHWC", "NWC"):
            return array
        return array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))

    def _in_format(self, array: Array) -> Array:
        if self.format not in ("NHWC", "NWC"):
            return array
        return array.transpose(0, *range(2, array.ndim), 1)


@dataclass(kw_only=True)
class CnnLossLayer(ImageLayer, _SpatialLossLayer):
    """A loss at every position of images, without weights: a = f(x), L = sum of loss(labels, a) over the positions.

    Shapes: x, a and labels (batch, n, height, width), or with the channels last where the input type says "NHWC"; a
    mask (batch, height, width) or (batch, 1, height, width) leaves positions out. Softmax is over the channels. The
    loss is summed over the positions, not averaged. The activation is identity unless one is given.
    Raises ShapeError for inputs that are not images. Source: DL4J ``CnnLossLayer``.
    """


@dataclass(kw_only=True)
class RnnLossLayer(SeriesLayer, _SpatialLossLayer):
    """A loss at every time step, without weights: a = f(x), L = sum of loss(labels, a) over the steps.

    Shapes: x, a and labels (batch, n, time), or with the sizes last where the input type says "NWC"; a mask
    (batch, time) leaves steps out. Otherwise as CnnLossLayer. Source: DL4J ``RnnLossLayer``.
    """

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes series again of rows or images that were the steps of series."""
        return unfolding_of(input_type)
