"""The plain recurrent layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..functions import Empty
from ..functions.scratch import with_small_buffers
from ..inputs import InputType
from ..numeric_options import set_flag
from ..workspaces import ArrayType, CarriedState, LayerWorkspaceMgr
from .activating import backward_into, forward_into
from .base import Array, ParamSpec, filled_in
from .feed_forward import add_bias
from .layer_normalization import backprop_normalized, normalize
from .recurrent import PREVIOUS_ACTIVATIONS, RecurrentLayer, backward_weights, first_step_of_backprop, forward_weights
from .row_steps import RnnRow
from .spatial import empty_of, plain
from .time_steps import StepMemory, absent_steps, series_of, steps_of

__all__ = ["SimpleRnn"]


@dataclass(kw_only=True)
class SimpleRnn(RecurrentLayer):
    """Plain recurrent layer: h_t = f(x_t W + h_{t-1} RW + b).

    With ``has_layer_norm`` it is f(g_1 norm(x_t W) + g_2 norm(h_{t-1} RW) + b), where norm brings the n_out numbers of
    an example to mean 0 and deviation 1, and the gains g (2 n_out,) begin at 1.
    Shapes: x (batch, n_in, time), W (n_in, n_out), RW (n_out, n_out), b (n_out,), h (batch, n_out, time), or with the
    sizes last where the input type says "NWC". f is tanh, unless the network or the layer was given another activation.
    Where a mask (batch, time) is 0, h is 0. State: "prev_act" (h). Raises ShapeError for inputs that are not series of
    n_in. Source: DL4J ``SimpleRnn``; Elman (1990); Ba et al. (2016).
    """

    has_layer_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        set_flag(self, "has_layer_norm")

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return W, RW, b, and the gains g (2 n_out,) of the layer normalisation."""
        specs = super().param_specs(input_type)
        if not self.has_layer_norm:
            return specs
        return (*specs, ParamSpec("g", (2 * filled_in(self.n_out, "n_out"),), 1.0, regularizable=False))

    def row_step(self, index: int, states: CarriedState) -> RnnRow | None:
        """Return what takes a step of one example, None with layer normalisation."""
        return None if self.has_layer_norm else RnnRow(self, states, (index, PREVIOUS_ACTIVATIONS))

    @with_small_buffers
    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return h."""
        place = ArrayType.ACTIVATIONS if workspace_mgr.call.keeps else ArrayType.FF_WORKING_MEM
        steps = steps_of(x.view(np.ndarray), self.format, place, workspace_mgr)
        norms = self._new_norms(steps, place, workspace_mgr)
        z = self._projected(steps, norms, place, workspace_mgr)
        time, batch, n = z.shape
        h = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (time + 1, batch, n)).view(np.ndarray)
        state = self.load_state(PREVIOUS_ACTIVATIONS, h[0], workspace_mgr)
        absent = absent_steps(workspace_mgr, (time, batch), ArrayType.FF_WORKING_MEM)
        activation = filled_in(self.activation, "activation")
        weights = forward_weights(self.recurrent_weights(), time, batch, workspace_mgr)
        with workspace_mgr.notify_scope_entered(ArrayType.RNN_FF_LOOP_WORKING_MEM):
            memory = StepMemory(plain(empty_of(ArrayType.RNN_FF_LOOP_WORKING_MEM, workspace_mgr)))
            for t in range(time):
                empty = memory.from_start()
                product = np.matmul(h[t], weights, out=empty((batch, n), z.dtype))
                if norms is not None:
                    norms.recurrent(product, t, empty)
                np.add(z[t], product, out=z[t])
                forward_into(activation, z[t], h[t + 1], workspace_mgr, empty)
                if absent is not None:
                    np.copyto(h[t + 1], 0, where=absent[t])
        if state is not None:
            np.copyto(state, h[-1])
        kept = () if norms is None else (norms.inputs, norms.input_scale, norms.products, norms.product_scale)
        workspace_mgr.save_for_backprop(steps, z, h, *kept)
        return series_of(h[1:], self.format)

    @with_small_buffers
    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the gradients of the parameters and return dL/dx, by backpropagation through time."""
        steps, z, h, *kept = workspace_mgr.saved()
        norms = _Norms(*kept, gains=self.params["g"].view(np.ndarray)) if kept else None
        time, batch, n = z.shape
        epsilon = steps_of(epsilon.view(np.ndarray), self.format, ArrayType.BP_WORKING_MEM, workspace_mgr)
        absent = absent_steps(workspace_mgr, (time, batch), ArrayType.BP_WORKING_MEM)
        first, activation = first_step_of_backprop(time, workspace_mgr), filled_in(self.activation, "activation")
        d_products = z if norms is None else norms.products
        if norms is not None:
            d_gains = workspace_mgr.gradient("g").view(np.ndarray)
            d_gains.fill(0)
        weights = backward_weights(self.recurrent_weights(), batch, workspace_mgr)
        with workspace_mgr.notify_scope_entered(ArrayType.RNN_BP_LOOP_WORKING_MEM):
            memory = StepMemory(plain(empty_of(ArrayType.RNN_BP_LOOP_WORKING_MEM, workspace_mgr)))
            d_h = workspace_mgr.create(ArrayType.RNN_BP_LOOP_WORKING_MEM, (batch, n)).view(np.ndarray)
            for t in range(time - 1, first - 1, -1):
                empty = memory.from_start()
                np.add(d_h, epsilon[t], out=d_h)
                if absent is not None:
                    np.copyto(d_h, 0, where=absent[t])
                backward_into(activation, z[t], h[t + 1], d_h, workspace_mgr, empty)
                np.copyto(z[t], d_h)
                if norms is not None:
                    norms.backprop_recurrent(t, d_h, d_gains[n:], empty)
                if t > first:
                    np.matmul(d_products[t], weights.T, out=d_h)
        return self._gradients(steps, z, h, norms, first, workspace_mgr)

    def _gradients(
        self, steps: Array, d_z: Array, h: Array, norms: _Norms | None, first: int, workspace_mgr: LayerWorkspaceMgr
    ) -> Array | None:
        if norms is None:
            return self.write_gradients(steps, h, d_z, first, workspace_mgr)
        n = d_z.shape[2]
        if self.has_bias:
            np.add.reduce(d_z[first:].reshape(-1, n), axis=0, out=workspace_mgr.gradient("b"))
        rows = h[first : len(d_z)].reshape(-1, n)
        np.matmul(rows.T, norms.products[first:].reshape(-1, n), out=workspace_mgr.gradient("RW"))
        d_gains = workspace_mgr.gradient("g").view(np.ndarray)
        norms.backprop_inputs(d_z[first:], first, d_gains[:n], workspace_mgr.backward_memory)
        return self.write_input_gradients(steps, d_z, first, workspace_mgr)

    def _projected(
        self, steps: Array, norms: _Norms | None, place: ArrayType, workspace_mgr: LayerWorkspaceMgr
    ) -> Array:
        """Return x W + b, or g norm(x W) + b, (time, batch, n)."""
        if norms is None:
            return self.project(steps, place, workspace_mgr)
        (time, batch, n_in), n = steps.shape, self.params["W"].shape[1]
        z = workspace_mgr.create_uninitialized(place, (time, batch, n)).view(np.ndarray)
        np.matmul(steps.reshape(-1, n_in), self.params["W"], out=norms.inputs.reshape(-1, n))
        norms.project(z, workspace_mgr.forward_memory)
        if self.has_bias:
            add_bias(z.reshape(-1, n), self.params["b"], workspace_mgr)
        return z

    def _new_norms(self, steps: Array, place: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> _Norms | None:
        if not self.has_layer_norm:
            return None
        (time, batch, _), n = steps.shape, len(self.params["RW"])
        empty = plain(empty_of(place, workspace_mgr))
        arrays = [empty((time, batch, width)) for width in (n, 1, n, 1)]
        return _Norms(*arrays, gains=self.params["g"].view(np.ndarray))


class _Norms:
    """The layer normalisations of one pass: of what comes from the input, and of what comes from the step before.

    ``inputs`` and ``products`` (time, batch, n) hold the normalised numbers, the scales (time, batch, 1) what they were
    multiplied with. After a step back ``products`` holds the gradient of that step's product.
    """

    def __init__(
        self, inputs: Array, input_scale: Array, products: Array, product_scale: Array, *, gains: Array
    ) -> None:
        self.inputs, self.input_scale = inputs, input_scale
        self.products, self.product_scale = products, product_scale
        self._input_gain, self._product_gain = gains.reshape(2, -1)

    def project(self, z: Array, empty: Empty) -> None:
        """Normalise ``inputs`` in place and write them times their gain into z."""
        n = z.shape[2]
        np.copyto(self.input_scale.reshape(-1, 1), normalize(self.inputs.reshape(-1, n), empty))
        np.multiply(self.inputs, self._input_gain, out=z)

    def recurrent(self, product: Array, t: int, empty: Empty) -> None:
        """Normalise the product of a step and multiply it with its gain, in place."""
        np.copyto(self.product_scale[t], normalize(product, empty))
        np.copyto(self.products[t], product)
        np.multiply(product, self._product_gain, out=product)

    def backprop_recurrent(self, t: int, d_z: Array, d_gain: Array, empty: Empty) -> None:
        """Write dL/dproduct over ``products[t]``, and add to the gradient of the gain; overwrites ``d_z``."""
        normalized, scale = self.products[t], self.product_scale[t]
        backprop_normalized(normalized, scale, d_z, gain=self._product_gain, d_gain=d_gain, empty=empty)
        np.copyto(normalized, d_z)

    def backprop_inputs(self, d_z: Array, first: int, d_gain: Array, empty: Empty) -> None:
        """Turn dL/dz, from the step ``first`` on, into dL/d(x W), in place, and add to the gradient of the gain."""
        n = d_z.shape[2]
        normalized, scale = self.inputs[first:].reshape(-1, n), self.input_scale[first:].reshape(-1, 1)
        rows = d_z.reshape(-1, n)
        backprop_normalized(normalized, scale, rows, gain=self._input_gain, d_gain=d_gain, empty=empty)
