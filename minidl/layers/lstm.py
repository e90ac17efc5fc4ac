"""Long short-term memory, without and with peepholes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..errors import ConfigurationError
from ..functions import Activation, Sigmoid
from ..functions import activation as as_activation
from ..numeric_options import set_real
from ..workspaces import ArrayType, CarriedState, LayerWorkspaceMgr
from .activating import keeps_output
from .base import Array, filled_in
from .lstm_cell import LstmCell, PeepholeCell
from .recurrent import PREVIOUS_ACTIVATIONS, RecurrentLayer, first_step_of_backprop
from .row_steps import LstmRow
from .spatial import empty_of, plain
from .time_steps import absent_steps, series_of, steps_of

__all__ = ["GravesLSTM", "LSTM"]

PREVIOUS_CELLS = "prev_mem"


@dataclass(kw_only=True)
class LSTM(RecurrentLayer):
    """Long short-term memory: h_t = o_t f(c_t) with c_t = i_t a_t + g_t c_{t-1}.

    a_t = f(z_1), and by the gate activation s: the forget gate g_t = s(z_2), the output gate o_t = s(z_3), the input
    gate i_t = s(z_4), with (z_1, ..., z_4) = x_t W + h_{t-1} RW + b.
    Shapes: x (batch, n_in, time), W (n_in, 4 n_out), RW (n_out, 4 n_out), b (4 n_out,), h (batch, n_out, time), or with
    the sizes last where the input type says "NWC". The columns are in DL4J's order: candidate, forget, output, input.
    f is tanh, unless the network or the layer was given another activation. The bias of the forget gate begins at
    ``forget_gate_bias_init``. Where a mask (batch, time) is 0, h and c are 0. States: "prev_act" (h), "prev_mem" (c).
    Raises ShapeError for inputs that are not series of n_in, ConfigurationError for options that cannot be.
    Source: DL4J ``LSTM``; Hochreiter and Schmidhuber (1997), Gers et al. (2000).
    """

    blocks: ClassVar[int] = 4
    cell_class: ClassVar[type[LstmCell]] = LstmCell

    gate_activation: Activation | str = field(default_factory=Sigmoid)
    forget_gate_bias_init: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate_activation = as_activation(self.gate_activation, "gate_activation")
        set_real(self, "forget_gate_bias_init", math.isfinite, "a finite number")

    def _check_activations(self) -> None:
        super()._check_activations()
        self._check_no_draws("gate_activation")
        if not filled_in(self.gate_activation, "gate_activation").elementwise:
            raise ConfigurationError(
                f"{type(self).__name__}: gate_activation={type(self.gate_activation).__name__} mixes the units of the "
                "gates. Use one that acts on each alone, such as 'sigmoid' or 'hardsigmoid'."
            )

    def _fans(self, n_in: int, n_out: int) -> tuple[int, int]:
        return n_out, n_in + n_out

    def _recurrent_fans(self, n_in: int, n_out: int) -> tuple[int, int]:
        return self._fans(n_in, n_out)

    def _first_bias(self) -> Any:
        others = filled_in(self.bias_init, "bias_init")
        return (others, self.forget_gate_bias_init, others, others)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return h."""
        keeps = workspace_mgr.call.keeps
        place = ArrayType.ACTIVATIONS if keeps else ArrayType.FF_WORKING_MEM
        steps = steps_of(x.view(np.ndarray), self.format, place, workspace_mgr)
        z = self.project(steps, place, workspace_mgr)
        kept = self._memory(z, workspace_mgr)
        states = [
            self.load_state(name, array[0], workspace_mgr)
            for name, array in ((PREVIOUS_ACTIVATIONS, kept.h), (PREVIOUS_CELLS, kept.c))
        ]
        self._forward(kept, workspace_mgr, carries=states[0] is not None)
        for state, array in zip(states, (kept.h, kept.c), strict=True):
            if state is not None:
                np.copyto(state, array[-1])
        workspace_mgr.save_for_backprop(steps, *kept)
        return series_of(kept.h[1:], self.format)

    def _memory(self, z: Array, workspace_mgr: LayerWorkspaceMgr) -> _Kept:
        """Return the arrays of one pass for z (time, batch, 4 n); at inference one step's cells are enough."""
        (time, batch, width), keeps = z.shape, workspace_mgr.call.keeps
        n, place = width // 4, ArrayType.ACTIVATIONS if keeps else ArrayType.FF_WORKING_MEM
        slots = time if keeps else 1

        activations, empty = (plain(empty_of(kind, workspace_mgr)) for kind in (ArrayType.ACTIVATIONS, place))
        blocks = z.reshape(time, 4, batch, n)
        return _Kept(
            z,
            blocks if self.gates_are_in_place() else empty(blocks.shape),
            activations((time + 1, batch, n)),
            empty((slots + 1 if keeps else 1, batch, n)),
            empty((slots, batch, n)),
        )

    def _forward(self, kept: _Kept, workspace_mgr: LayerWorkspaceMgr, *, carries: bool) -> None:
        """Go through the steps; ``carries`` tells whether there may be a state before the first."""
        z, gates, h, c, squashed = kept
        time, batch, _ = z.shape
        absent = absent_steps(workspace_mgr, (time, batch), ArrayType.FF_WORKING_MEM)
        cell = self.cell_class(self, workspace_mgr)
        cell.prepare_forward(time, batch)
        blocks = z.reshape(time, 4, batch, -1)
        with workspace_mgr.notify_scope_entered(ArrayType.RNN_FF_LOOP_WORKING_MEM):
            cell.begin(ArrayType.RNN_FF_LOOP_WORKING_MEM, batch)
            for t in range(time):
                now, after = (t, t + 1) if len(c) > 1 else (0, 0)
                cell.sum_inputs(h[t] if t or carries else None, z[t])
                cell.forward(blocks[t], gates[t], (c[now], c[after]), squashed[now], h[t + 1])
                if absent is not None:
                    np.copyto(h[t + 1], 0, where=absent[t])
                    np.copyto(c[after], 0, where=absent[t])

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW, dL/dRW and dL/db and return dL/dx, by backpropagation through time."""
        steps, z, gates, h, c, squashed = workspace_mgr.saved()
        time, batch, _ = z.shape
        epsilon = steps_of(epsilon.view(np.ndarray), self.format, ArrayType.BP_WORKING_MEM, workspace_mgr)
        absent = absent_steps(workspace_mgr, (time, batch), ArrayType.BP_WORKING_MEM)
        first = first_step_of_backprop(time, workspace_mgr)
        cell = self.cell_class(self, workspace_mgr)
        cell.prepare_backward(batch)
        blocks = z.reshape(time, 4, batch, -1)
        with workspace_mgr.notify_scope_entered(ArrayType.RNN_BP_LOOP_WORKING_MEM):
            cell.begin(ArrayType.RNN_BP_LOOP_WORKING_MEM, batch)
            d_h, d_c = cell.zeros(), cell.zeros()
            for t in range(time - 1, first - 1, -1):
                np.add(d_h, epsilon[t], out=d_h)
                if absent is not None:
                    np.copyto(d_h, 0, where=absent[t])
                    np.copyto(d_c, 0, where=absent[t])
                cell.backward((blocks[t], gates[t]), (c[t], c[t + 1]), squashed[t], d_h, d_c)
                if t > first:
                    cell.backward_recurrent_product(z[t], d_h)
        cell.write_gradients(workspace_mgr)
        return self.write_gradients(steps, h, z, first, workspace_mgr)

    def row_step(self, index: int, states: CarriedState) -> LstmRow:
        """Return what takes a step of one example."""
        return LstmRow(self, states, ((index, PREVIOUS_ACTIVATIONS), (index, PREVIOUS_CELLS)))

    def gates_are_in_place(self) -> bool:
        """Tell whether the gates may take the place of what they are computed from."""
        functions = filled_in(self.activation, "activation"), filled_in(self.gate_activation, "gate_activation")
        return all(map(keeps_output, functions))


class _Kept(NamedTuple):
    """What the steps write; time first, h and c one longer, as they begin with the state before the first step.

    ``z`` (time, batch, 4 n) holds what the gates (time, 4, batch, n) come from, gate by gate, and after a step back
    dL/dz, as rows. ``squashed`` is f(c). At inference c and squashed hold one step.
    """

    z: Array
    gates: Array
    h: Array
    c: Array
    squashed: Array


@dataclass(kw_only=True)
class GravesLSTM(LSTM):
    """LSTM whose gates look at the cells: z_2 + p_1 c_{t-1}, z_3 + p_2 c_t, z_4 + p_3 c_{t-1}.

    The peepholes p (n_out,) are the last three columns of RW (n_out, 4 n_out + 3), in the order forget, output, input
    gate. Otherwise as LSTM. Source: DL4J ``GravesLSTM``; Graves (2012), Supervised Sequence Labelling, chapter 4.
    """

    extra_columns: ClassVar[int] = 3
    cell_class: ClassVar[type[LstmCell]] = PeepholeCell
