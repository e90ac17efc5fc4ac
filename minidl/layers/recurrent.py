"""What recurrent layers share: their weights, the products over all steps at once, and the state between calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigurationError, ShapeError
from ..functions import Activation, Tanh, WeightInit
from ..functions import weight_init as as_weight_init
from ..inputs import InputType
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, ParamSpec, filled_in
from .feed_forward import WeightLayer, add_bias
from .folding import unfolding_of
from .preprocessors import InputPreProcessor
from .spatial import SeriesLayer
from .time_steps import series_of

__all__ = [
    "PREVIOUS_ACTIVATIONS",
    "RecurrentLayer",
    "backward_weights",
    "first_step_of_backprop",
    "forward_weights",
    "product",
]

FEW_ROWS = 8
"""Rows up to which a product row by row beats BLAS, which would first bring the weights into another order."""
SMALL_PRODUCT = 1_000_000
"""Multiplications up to which OpenBLAS takes a part of a transposed matrix to the heap."""

PREVIOUS_ACTIVATIONS = "prev_act"
"""The name of the state that every recurrent layer has; DL4J says prevAct."""


@dataclass(kw_only=True)
class RecurrentLayer(SeriesLayer, WeightLayer):
    """A layer that goes through series step by step and carries a state; inside, time comes first.

    ``weight_init_recurrent`` is the start of the recurrent weights, by default that of the others.
    """

    independent_examples: ClassVar[bool] = True
    default_activation: ClassVar[Activation] = Tanh()
    blocks: ClassVar[int] = 1
    """Columns of the weights for each output."""
    extra_columns: ClassVar[int] = 0
    """Columns of RW that are no weights of a product."""

    weight_init_recurrent: WeightInit | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight_init_recurrent is not None:
            self.weight_init_recurrent = as_weight_init(self.weight_init_recurrent, "weight_init_recurrent")

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes series again of rows or images that were the steps of series."""
        return unfolding_of(input_type)

    def output_type(self, input_type: InputType) -> InputType:
        """Return series of n_out, as long as the input. Raises ShapeError unless the input is series of n_in."""
        series = self.series_type(input_type)
        if self.n_in is not None and self.n_in != series.size:
            raise ShapeError(
                f"{type(self).__name__}: n_in={self.n_in}, but its input has size {series.size}. Set "
                f"n_in={series.size}, or leave n_in unset to take it from the input type."
            )
        if self.n_out is None:
            raise ConfigurationError(f"{type(self).__name__} needs n_out, the number of its outputs: n_out=10.")
        self._check_activations()
        return InputType.recurrent(self.n_out, series.timesteps, series.format)

    def _check_activations(self) -> None:
        """Raise ConfigurationError for an activation that a step cannot have."""
        self._check_no_draws("activation")

    def _check_no_draws(self, option: str) -> None:
        function = getattr(self, option)
        if isinstance(function, Activation) and function.draws:
            raise ConfigurationError(
                f"{type(self).__name__}: {option}={type(function).__name__} draws random numbers, which a layer that "
                "repeats its steps cannot take back. Use another, such as 'leakyrelu'."
            )

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return W (n_in, blocks n_out) and RW (n_out, blocks n_out), in Fortran order as in DL4J, and b."""
        n_in, n = self.series_type(input_type).size, filled_in(self.n_out, "n_out")
        width, (fan_in, fan_out) = self.blocks * n, self._fans(n_in, n)
        init = filled_in(self.weight_init, "weight_init")
        recurrent = init if self.weight_init_recurrent is None else self.weight_init_recurrent
        recurrent_in, recurrent_out = self._recurrent_fans(n_in, n)
        weights = (
            ParamSpec("W", (n_in, width), init, order="F", fan_in=fan_in, fan_out=fan_out),
            ParamSpec(
                "RW",
                (n, width + self.extra_columns),
                recurrent,
                order="F",
                fan_in=recurrent_in,
                fan_out=recurrent_out,
            ),
        )
        if not self.has_bias:
            return weights
        return (*weights, ParamSpec("b", (width,), self._first_bias(), regularizable=False))

    def _fans(self, n_in: int, n_out: int) -> tuple[int, int]:
        return n_in, n_out

    def _recurrent_fans(self, n_in: int, n_out: int) -> tuple[int, int]:
        return n_out, n_out

    def _first_bias(self) -> Any:
        return filled_in(self.bias_init, "bias_init")

    # The passes

    def recurrent_weights(self) -> Array:
        """Return RW (n_out, blocks n_out), without its other columns."""
        weights = self.params["RW"]
        return weights[:, : weights.shape[1] - self.extra_columns].view(np.ndarray)

    def project(self, steps: Array, array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x W + b for all steps (time, batch, n_in) at once, (time, batch, blocks n_out)."""
        time, batch, n_in = steps.shape
        weights = self.params["W"]
        z = workspace_mgr.create_uninitialized(array_type, (time, batch, weights.shape[1]))
        rows = z.reshape(time * batch, weights.shape[1])
        product(steps.reshape(time * batch, n_in), weights, out=rows)
        if self.has_bias:
            add_bias(rows, self.params["b"], workspace_mgr)
        return z

    def load_state(self, name: str, into: Array, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the state before the first step into ``into`` (batch, n_out); return where the last one belongs.

        None where nothing is carried, and the state is 0.
        """
        pair = workspace_mgr.state_pair(name, into.shape)
        if pair is None:
            into.fill(0)
            return None
        before, after = pair
        np.copyto(into, before)
        return after

    def write_gradients(
        self, steps: Array, h: Array, d_z: Array, first: int, workspace_mgr: LayerWorkspaceMgr
    ) -> Array | None:
        """Write dL/dW, dL/dRW and dL/db and return dL/dx, from d_z (time, batch, blocks n_out) from ``first`` on.

        ``h`` (time + 1, batch, n_out) begins with the state before the first step.
        """
        time, width = len(steps), d_z.shape[2]
        rows = d_z[first:].reshape(-1, width)
        np.matmul(h[first:time].reshape(-1, h.shape[2]).T, rows, out=workspace_mgr.gradient("RW")[:, :width])
        if self.has_bias:
            np.add.reduce(rows, axis=0, out=workspace_mgr.gradient("b"))
        return self.write_input_gradients(steps, d_z, first, workspace_mgr)

    def write_input_gradients(
        self, steps: Array, d_z: Array, first: int, workspace_mgr: LayerWorkspaceMgr
    ) -> Array | None:
        """Write dL/dW and return dL/dx, from the gradient of x W."""
        n_in, rows = steps.shape[2], d_z[first:].reshape(-1, d_z.shape[2])
        np.matmul(steps[first:].reshape(-1, n_in).T, rows, out=workspace_mgr.gradient("W"))
        if not workspace_mgr.wants_input_gradient:
            return None
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, steps.shape)
        d_x[:first].fill(0)
        weights = backward_weights(self.params["W"], len(rows), workspace_mgr)
        np.matmul(rows, weights.T, out=d_x[first:].reshape(-1, n_in))
        return series_of(d_x, self.format)


def product(rows: Array, weights: Array, out: Array) -> Array:
    """Write rows (m, n) times weights (n, k), in Fortran order, into ``out``; some rows are faster one by one."""
    if not 1 < len(rows) <= FEW_ROWS:
        return np.matmul(rows, weights, out=out)
    for position in range(len(rows)):
        np.matmul(rows[position : position + 1], weights, out=out[position : position + 1])
    return out


def forward_weights(weights: Array, time: int, batch: int, workspace_mgr: LayerWorkspaceMgr) -> Array:
    """Return weights in the order in which BLAS multiplies some rows fastest, a copy where many steps pay for it."""
    if time == 1:
        return weights
    copy = workspace_mgr.forward_memory(weights.shape).view(np.ndarray)
    if batch == 1:
        return weights
    np.copyto(copy, weights)
    return copy


def backward_weights(weights: Array, rows: int, workspace_mgr: LayerWorkspaceMgr) -> Array:
    """Return weights (n, k), in Fortran order, so that OpenBLAS takes nothing from the heap for rows times weights^T.

    For small products it copies what is left of the n columns after blocks of 16, unless the weights are in C order.
    """
    if len(weights) % 16 == 0:
        return weights
    copy = workspace_mgr.backward_memory(weights.shape).view(np.ndarray)
    if rows * weights.size > SMALL_PRODUCT:
        return weights
    np.copyto(copy, weights)
    return copy


def first_step_of_backprop(time: int, workspace_mgr: LayerWorkspaceMgr) -> int:
    """Return the step that backpropagation through time ends with."""
    steps = workspace_mgr.backward_steps
    return 0 if steps is None else max(0, time - steps)
