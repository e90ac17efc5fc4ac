"""The output layer of series."""

from __future__ import annotations

from dataclasses import dataclass

from ..inputs import InputType
from ..workspaces import ArrayType, CarriedState, LayerWorkspaceMgr
from .activating import backprop_activation, backprop_loss
from .base import Array, ParamSpec, filled_in
from .feed_forward import FeedForwardLayer
from .folding import unfolding_of
from .output import OutputLayer
from .preprocessors import InputPreProcessor
from .row_steps import AffineRow
from .spatial import SeriesLayer, in_c_order

__all__ = ["RnnOutputLayer"]

TIME_FIRST, EXAMPLES_FIRST = (2, 0, 1), (0, 2, 1)
"""Orders of the axes of (batch, size, time) with the sizes last."""
BACK = {TIME_FIRST: (1, 2, 0), EXAMPLES_FIRST: (0, 2, 1)}


@dataclass(kw_only=True)
class RnnOutputLayer(SeriesLayer, OutputLayer):
    """OutputLayer at every time step: a = f(W^T x + b), L = sum of loss(labels, a) over the steps.

    Shapes: x (batch, n_in, time), W (n_in, n_out), b (n_out,), a and labels (batch, n_out, time), or with the sizes
    last where the input type says "NWC"; a mask (batch, time) leaves steps out. The loss is summed over time, not
    averaged. The activation is softmax unless one is given. Raises ShapeError for inputs that are not series of n_in.
    Source: DL4J ``RnnOutputLayer``.
    """

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes series again of rows or images that were the steps of series."""
        return unfolding_of(input_type)

    def output_type(self, input_type: InputType) -> InputType:
        """Return series of n_out, as long as the input. Raises ShapeError unless the input is series of n_in."""
        series = self.series_type(input_type)
        vectors = FeedForwardLayer.output_type(self, InputType.feed_forward(series.size))
        return InputType.recurrent(vectors.size, series.timesteps, series.format)  # type: ignore[attr-defined]

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return W (n_in, n_out), in Fortran order as in DL4J, and b (n_out,)."""
        return FeedForwardLayer.param_specs(self, InputType.feed_forward(self.series_type(input_type).size))

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(W^T x + b) of every step, its axes in the order in memory of those of x."""
        x = self._sizes_along_axis_1(x)
        order = _order_of_rows(x)
        steps = in_c_order(x.transpose(order), ArrayType.ACTIVATIONS, workspace_mgr)
        rows, kept, out = self.affine_activate(steps.reshape(-1, steps.shape[2]), workspace_mgr, training)
        kept, out = (array.reshape(*steps.shape[:2], -1).transpose(BACK[order]) for array in (kept, out))
        workspace_mgr.save_for_backprop(rows, kept, out)
        return self._in_format(out)

    def row_step(self, index: int, states: CarriedState) -> AffineRow:
        """Return what takes a step of one example."""
        return AffineRow(self, (1, filled_in(self.n_out, "n_out"), 1))

    def backprop_labels(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW and dL/db and return dL/dx."""
        _, kept, out = workspace_mgr.saved()
        d_z = backprop_loss(self.loss, self.activation, labels, kept, out, mask, workspace_mgr)
        return self._backprop_steps(d_z, workspace_mgr)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx for an error that comes from elsewhere than the labels, ``epsilon`` = dL/da."""
        _, kept, out = workspace_mgr.saved()
        epsilon, order = self._sizes_along_axis_1(epsilon), _order_of_rows(out)
        steps = in_c_order(epsilon.transpose(order), ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_z = backprop_activation(self.activation, kept, steps.transpose(BACK[order]), workspace_mgr)
        return self._backprop_steps(d_z, workspace_mgr)

    def _backprop_steps(self, d_z: Array, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        rows, _, out = workspace_mgr.saved()
        order = _order_of_rows(out)
        steps = in_c_order(d_z.transpose(order), ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_x = self.affine_backprop(rows, steps.reshape(-1, steps.shape[2]), workspace_mgr)
        if d_x is None:
            return None
        return self._in_format(d_x.reshape(*steps.shape[:2], -1).transpose(BACK[order]))

    def _sizes_along_axis_1(self, array: Array) -> Array:
        return array.transpose(0, 2, 1) if self.format == "NWC" else array

    _in_format = _sizes_along_axis_1  # of three axes the last two are exchanged, there and back


def _order_of_rows(series: Array) -> tuple[int, int, int]:
    """Return the order of the axes of (batch, size, time) in which its memory is rows, with time first if it can be."""
    return TIME_FIRST if series.transpose(TIME_FIRST).flags.c_contiguous else EXAMPLES_FIRST
