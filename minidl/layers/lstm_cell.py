"""One time step of an LSTM, forward and backward, in memory that all steps share.

Between the products, which are of rows (batch, 4 n_out), a step works gate by gate, (4, batch, n_out): what a ufunc
passes over lies side by side, which takes half the time. The gates are in DL4J's order: candidate, forget, output,
input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..functions import Sigmoid, Tanh
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .activating import backward_into, forward_into
from .base import Array, filled_in
from .recurrent import backward_weights, forward_weights, product
from .spatial import empty_of, plain
from .time_steps import StepMemory

if TYPE_CHECKING:
    from .lstm import LSTM

__all__ = ["LstmCell", "PeepholeCell"]

CANDIDATE, FORGET, OUTPUT, INPUT = range(4)
Pair = tuple[Array, Array]


class LstmCell:
    """The arithmetic of one step."""

    def __init__(self, layer: LSTM, workspace_mgr: LayerWorkspaceMgr) -> None:
        self.activation = filled_in(layer.activation, "activation")
        self.gate_activation = filled_in(layer.gate_activation, "gate_activation")
        self.weights = layer.recurrent_weights()
        self.n = len(self.weights)
        self._is_usual = type(self.activation) is Tanh and type(self.gate_activation) is Sigmoid
        self._multiply: Callable[..., Array] = np.matmul
        self._layer = layer
        self._manager = workspace_mgr

    def begin(self, array_type: ArrayType, batch: int) -> None:
        """Take the working memory that all steps share from the open workspace of this type."""
        self._shape, self._type = (batch, self.n), array_type
        empty = plain(empty_of(array_type, self._manager))
        self._memory = StepMemory(empty)
        self._rows = empty((batch, 4 * self.n))
        self._row_gates = _by_gate(self._rows)
        self._scratch = empty(self._shape)

    def zeros(self) -> Array:
        """Return zeros (batch, n_out)."""
        return self._manager.create(self._type, self._shape).view(np.ndarray)

    # Forward

    def prepare_forward(self, time: int, batch: int) -> None:
        """Bring the recurrent weights into the order in which their product is fastest, if that pays."""
        self._multiply = np.matmul if time > 1 else product
        self.weights = forward_weights(self.weights, time, batch, self._manager)

    def sum_inputs(self, h: Array | None, z: Array) -> None:
        """Add h RW to z (batch, 4 n_out), h None for zeros, and leave it there gate by gate."""
        if len(z) == 1:  # a row has its gates one after the other as it is
            if h is not None:
                np.add(z, np.matmul(h, self.weights, out=self._rows), out=z)
            return
        if h is None:
            np.copyto(self._rows, z)
        else:
            self._multiply(h, self.weights, self._rows)
            np.add(self._rows, z, out=self._rows)
        np.copyto(z.reshape(4, *self._shape), self._row_gates)

    def forward(self, z: Array, gates: Array, c: Pair, squashed: Array, h: Array) -> None:
        """Write the gates, the next cells ``c[1]``, f of them, and h, from z and the cells before, ``c[0]``."""
        if self._is_usual:
            squash, halve = gates[FORGET:], 0.5  # 1 / (1 + exp(-z)) = tanh(z / 2) / 2 + 1 / 2, in one call for all
            np.multiply(squash, halve, out=squash)
            np.tanh(gates, out=gates)
            np.multiply(squash, halve, out=squash)
            np.add(squash, halve, out=squash)
        else:
            empty = self._memory.from_start()
            forward_into(self.activation, z[CANDIDATE], gates[CANDIDATE], self._manager, empty)
            forward_into(self.gate_activation, z[FORGET:], gates[FORGET:], self._manager, empty)
        self._next_cells(gates, c)
        self._output(gates, c[1], squashed, h)

    def _next_cells(self, gates: Array, c: Pair) -> None:
        before, after = c
        np.multiply(gates[INPUT], gates[CANDIDATE], out=self._scratch)
        np.multiply(gates[FORGET], before, out=after)
        np.add(after, self._scratch, out=after)

    def _output(self, gates: Array, c: Array, squashed: Array, h: Array) -> None:
        forward_into(self.activation, c, squashed, self._manager, self._memory.from_start())
        np.multiply(gates[OUTPUT], squashed, out=h)

    # Backward

    def prepare_backward(self, batch: int) -> None:
        """Bring the recurrent weights into the order whose product takes nothing from the heap."""
        self.weights = backward_weights(self.weights, batch, self._manager)

    def backward(self, z_and_gates: Pair, c: Pair, squashed: Array, d_h: Array, d_c: Array) -> None:
        """Write dL/dz over z, as rows, and turn dL/dc, of the cells after the step, into that of those before it."""
        (z, gates), manager = z_and_gates, self._manager
        d = self._memory.from_start()((4, *self._shape), z.dtype)
        self._backward_output(gates, c[1], squashed, d_h, d_c)
        np.multiply(d_c, gates[INPUT], out=d[CANDIDATE])
        np.multiply(d_c, c[0], out=d[FORGET])
        np.multiply(d_h, squashed, out=d[OUTPUT])
        np.multiply(d_c, gates[CANDIDATE], out=d[INPUT])
        np.multiply(d_c, gates[FORGET], out=d_c)
        empty = self._memory.go_on
        backward_into(self.activation, z[CANDIDATE], gates[CANDIDATE], d[CANDIDATE], manager, empty)
        backward_into(self.gate_activation, z[FORGET:], gates[FORGET:], d[FORGET:], manager, empty)
        self._write_rows(d, z)

    def _write_rows(self, d: Array, z: Array) -> None:
        np.copyto(_by_gate(z.reshape(self._rows.shape)), d)

    def _backward_output(self, gates: Array, c: Array, squashed: Array, d_h: Array, d_c: Array) -> None:
        """Add what comes through h to dL/dc."""
        np.multiply(d_h, gates[OUTPUT], out=self._scratch)
        backward_into(self.activation, c, squashed, self._scratch, self._manager, self._memory.go_on)
        np.add(d_c, self._scratch, out=d_c)

    def backward_recurrent_product(self, d_z: Array, d_h: Array) -> None:
        """Write dL/dh of the step before, from rows (batch, 4 n_out)."""
        np.matmul(d_z, self.weights.T, out=d_h)

    def write_gradients(self, workspace_mgr: LayerWorkspaceMgr) -> None:
        """Write the gradients of what this kind of cell has besides W, RW and b."""


class PeepholeCell(LstmCell):
    """A step whose gates look at the cells."""

    def begin(self, array_type: ArrayType, batch: int) -> None:
        """Repeat the peepholes for every example: NumPy would take a hidden buffer for a broadcast."""
        super().begin(array_type, batch)
        repeated = self._layer.params["RW"][:, 4 * self.n :].view(np.ndarray).T[:, np.newaxis]
        if batch > 1:
            memory = self._manager.create_uninitialized(array_type, (3, *self._shape)).view(np.ndarray)
            np.copyto(memory, repeated)
            repeated = memory
        self._peepholes = dict(zip((FORGET, OUTPUT, INPUT), repeated, strict=True))

    def forward(self, z: Array, gates: Array, c: Pair, squashed: Array, h: Array) -> None:
        """As the cell without peepholes; the output gate waits for the cells."""
        empty = self._memory.from_start()
        forward_into(self.activation, z[CANDIDATE], gates[CANDIDATE], self._manager, empty)
        for gate in (FORGET, INPUT):
            self._gate(gate, c[0], z, gates)
        self._next_cells(gates, c)
        self._gate(OUTPUT, c[1], z, gates)
        self._output(gates, c[1], squashed, h)

    def _gate(self, gate: int, c: Array, z: Array, gates: Array) -> None:
        self._add_product(self._peepholes[gate], c, z[gate])
        forward_into(self.gate_activation, z[gate], gates[gate], self._manager, self._memory.from_start())

    def _add_product(self, a: Array, b: Array, total: Array) -> None:
        np.multiply(a, b, out=self._scratch)
        np.add(total, self._scratch, out=total)

    def prepare_backward(self, batch: int) -> None:
        """Make the sums of the gradients of the peepholes, in the order of their columns."""
        super().prepare_backward(batch)
        self._sums = self._manager.create(ArrayType.BP_WORKING_MEM, (3, batch, self.n)).view(np.ndarray)

    def backward(self, z_and_gates: Pair, c: Pair, squashed: Array, d_h: Array, d_c: Array) -> None:
        """As the cell without peepholes, with what goes through them."""
        (z, gates), (before, after) = z_and_gates, c
        d = self._memory.from_start()((4, *self._shape), z.dtype)
        np.multiply(d_h, squashed, out=d[OUTPUT])
        self._backward_gate(OUTPUT, z, gates, d)
        self._backward_output(gates, after, squashed, d_h, d_c)
        self._add_product(self._peepholes[OUTPUT], d[OUTPUT], d_c)
        np.multiply(d_c, gates[INPUT], out=d[CANDIDATE])
        np.multiply(d_c, before, out=d[FORGET])
        np.multiply(d_c, gates[CANDIDATE], out=d[INPUT])
        np.multiply(d_c, gates[FORGET], out=d_c)
        empty = self._memory.go_on
        backward_into(self.activation, z[CANDIDATE], gates[CANDIDATE], d[CANDIDATE], self._manager, empty)
        for gate in (FORGET, INPUT):
            self._backward_gate(gate, z, gates, d)
            self._add_product(self._peepholes[gate], d[gate], d_c)
        for total, gate, cells in zip(self._sums, (FORGET, OUTPUT, INPUT), (before, after, before), strict=True):
            self._add_product(cells, d[gate], total)
        self._write_rows(d, z)

    def _backward_gate(self, gate: int, z: Array, gates: Array, d: Array) -> None:
        backward_into(self.gate_activation, z[gate], gates[gate], d[gate], self._manager, self._memory.go_on)

    def write_gradients(self, workspace_mgr: LayerWorkspaceMgr) -> None:
        """Write the gradients of the peepholes, the last columns of that of RW."""
        columns = workspace_mgr.gradient("RW")[:, 4 * self.n :]
        np.add.reduce(self._sums, axis=1, out=columns.T)


def _by_gate(rows: Array) -> Array:
    """Return rows (batch, 4 n) as a view (4, batch, n)."""
    batch, width = rows.shape
    return rows.reshape(batch, 4, width // 4).transpose(1, 0, 2)
