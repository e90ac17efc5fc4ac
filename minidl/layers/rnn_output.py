"""The output layer of series."""

from __future__ import annotations

from dataclasses import dataclass

from ..inputs import InputType
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .activating import backprop_activation, backprop_loss
from .base import Array, ParamSpec
from .feed_forward import FeedForwardLayer
from .output import OutputLayer
from .preprocessors import InputPreProcessor
from .spatial import SeriesLayer, in_c_order

__all__ = ["RnnOutputLayer"]


@dataclass(kw_only=True)
class RnnOutputLayer(SeriesLayer, OutputLayer):
    """OutputLayer at every time step: a = f(W^T x + b), L = sum of loss(labels, a) over the steps.

    Shapes: x (batch, n_in, time), W (n_in, n_out), b (n_out,), a and labels (batch, n_out, time), or with the sizes
    last where the input type says "NWC"; a mask (batch, time) leaves steps out. The loss is summed over time, not
    averaged. The activation is softmax unless one is given. Raises ShapeError for inputs that are not series of n_in.
    Source: DL4J ``RnnOutputLayer``.
    """

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return None: series come as they are."""
        return None

    def output_type(self, input_type: InputType) -> InputType:
        """Return series of n_out, as long as the input. Raises ShapeError unless the input is series of n_in."""
        series = self.series_type(input_type)
        vectors = FeedForwardLayer.output_type(self, InputType.feed_forward(series.size))
        return InputType.recurrent(vectors.size, series.timesteps, series.format)  # type: ignore[attr-defined]

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return W (n_in, n_out), in Fortran order as in DL4J, and b (n_out,)."""
        return FeedForwardLayer.param_specs(self, InputType.feed_forward(self.series_type(input_type).size))

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(W^T x + b) of every step."""
        steps = in_c_order(self.images(x), ArrayType.ACTIVATIONS, workspace_mgr)
        rows, kept, out = self.affine_activate(steps.reshape(-1, steps.shape[3]), workspace_mgr, training)
        shape = (len(x), steps.shape[1], out.shape[1])
        kept, out = (array.reshape(shape).transpose(0, 2, 1) for array in (kept, out))
        workspace_mgr.save_for_backprop(rows, kept, out)
        return out.transpose(0, 2, 1) if self.format == "NWC" else out

    def backprop_labels(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW and dL/db and return dL/dx."""
        _, kept, out = workspace_mgr.saved()
        d_z = backprop_loss(self.loss, self.activation, labels, kept, out, mask, workspace_mgr)
        return self._backprop_steps(d_z, workspace_mgr)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx for an error that comes from elsewhere than the labels, ``epsilon`` = dL/da."""
        _, kept, _ = workspace_mgr.saved()
        steps = in_c_order(self.images(epsilon), ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_z = backprop_activation(self.activation, kept, steps[:, :, 0].transpose(0, 2, 1), workspace_mgr)
        return self._backprop_steps(d_z, workspace_mgr)

    def _backprop_steps(self, d_z: Array, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        rows, _, out = workspace_mgr.saved()
        batch, n_out, time = out.shape
        steps = in_c_order(d_z.transpose(0, 2, 1), ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_x = self.affine_backprop(rows, steps.reshape(-1, n_out), workspace_mgr)
        return None if d_x is None else self.from_images(d_x.reshape(batch, time, 1, d_x.shape[1]))
