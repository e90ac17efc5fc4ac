"""One step of one example at inference, the short way: rows (1, n) through arrays that are made once.

A call of a network finds its workspaces, opens its scopes and hands every layer its manager; for a single row that
takes longer than the arithmetic. What is here does the same operations, to the bit, in arrays of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..functions import Activation, Empty
from ..workspaces import ArrayType, CarriedState, LayerCall, LayerWorkspaceMgr
from .activating import forward_into, keeps_output
from .base import Array, filled_in
from .time_steps import StepMemory

if TYPE_CHECKING:
    from .feed_forward import WeightLayer
    from .lstm import LSTM
    from .simple_rnn import SimpleRnn

__all__ = ["AffineRow", "EmbeddingRow", "LstmRow", "RnnRow"]


class AffineRow:
    """f(x W + b) of a row (1, n_in); ``axes`` is the shape in which the activation sees it."""

    def __init__(self, layer: WeightLayer, axes: tuple[int, ...]) -> None:
        self._weights, self._bias = layer.params["W"], layer.params.get("b")
        dtype = self._weights.dtype
        self._z = np.empty((1, self._weights.shape[1]), dtype)
        self._activation: Activation = filled_in(layer.activation, "activation")
        self._seen = self._z.reshape(axes)
        self._out = self._z if keeps_output(self._activation) else np.empty_like(self._z)
        self._manager, self._memory = _manager(dtype), StepMemory(np.empty)

    def __call__(self, x: Array) -> Array:
        """Return the output (1, n_out), in an array that the next call overwrites."""
        _affine(x, self._weights, self._bias, self._z)
        out = self._out.reshape(self._seen.shape)
        forward_into(self._activation, self._seen, out, self._manager, self._memory.from_start())
        return self._out


class LstmRow:
    """A step of an LSTM for a row (1, n_in), from the states to the states."""

    def __init__(self, layer: LSTM, states: CarriedState, keys: tuple[Any, Any]) -> None:
        self._weights, self._bias = layer.params["W"], layer.params.get("b")
        self._states, self._keys, self._dtype = states, keys, self._weights.dtype
        self._cell = layer.cell_class(layer, _manager(self._dtype))
        self._cell.begin(ArrayType.FF_WORKING_MEM, 1)
        n = self._cell.n
        self._shape = (1, n)
        self._z = np.empty((1, 4 * n), self._dtype)
        self._blocks = self._z.reshape(4, 1, n)
        self._gates = self._blocks if layer.gates_are_in_place() else np.empty_like(self._blocks)
        self._squashed = np.empty((1, n), self._dtype)

    def __call__(self, x: Array) -> Array:
        """Return h (1, n_out), in an array that the next call overwrites."""
        pair = self._states.pair
        h, h_after = pair(self._keys[0], self._shape, self._dtype)
        cells = pair(self._keys[1], self._shape, self._dtype)
        _affine(x, self._weights, self._bias, self._z)
        self._cell.sum_inputs(h, self._z)
        self._cell.forward(self._blocks, self._gates, cells, self._squashed, h_after)
        return h_after


class RnnRow:
    """A step of a SimpleRnn without layer normalisation for a row (1, n_in), from the state to the state."""

    def __init__(self, layer: SimpleRnn, states: CarriedState, key: Any) -> None:
        self._weights, self._bias = layer.params["W"], layer.params.get("b")
        self._recurrent, self._states, self._key = layer.recurrent_weights(), states, key
        self._activation: Activation = filled_in(layer.activation, "activation")
        n, self._dtype = len(self._recurrent), self._weights.dtype
        self._z, self._product = (np.empty((1, n), self._dtype) for _ in range(2))
        self._manager, self._memory = _manager(self._dtype), StepMemory(np.empty)

    def __call__(self, x: Array) -> Array:
        """Return h (1, n_out), in an array that the next call overwrites."""
        h, h_after = self._states.pair(self._key, self._z.shape, self._dtype)
        _affine(x, self._weights, self._bias, self._z)
        np.add(self._z, np.matmul(h, self._recurrent, out=self._product), out=self._z)
        forward_into(self._activation, self._z, h_after, self._manager, self._memory.from_start())
        return h_after


class EmbeddingRow:
    """f(W[x] + b) of one index (1, 1)."""

    def __init__(self, layer: WeightLayer, check: Callable[[Array, Empty], None]) -> None:
        self._weights, self._bias, self._check = layer.params["W"], layer.params.get("b"), check
        dtype = self._weights.dtype
        self._activation: Activation = filled_in(layer.activation, "activation")
        self._z = np.empty((1, self._weights.shape[1]), dtype)
        self._out = self._z if keeps_output(self._activation) else np.empty_like(self._z)
        self._manager, self._memory = _manager(dtype), StepMemory(np.empty)

    def __call__(self, x: Array) -> Array:
        """Return the output (1, n_out), in an array that the next call overwrites. Raises DataError for no index."""
        self._check(x, self._memory.from_start())
        np.copyto(self._z[0], self._weights[int(x[0, 0])])
        if self._bias is not None:
            np.add(self._z, self._bias, out=self._z)
        shape = (1, self._z.shape[1], 1, 1)  # as the activation sees it in a batch of series
        seen, out = self._z.reshape(shape), self._out.reshape(shape)
        forward_into(self._activation, seen, out, self._manager, self._memory.go_on)
        return self._out


def _affine(x: Array, weights: Array, bias: Array | None, out: Array) -> None:
    np.matmul(x, weights, out=out)
    if bias is not None:
        np.add(out, bias, out=out)


def _manager(dtype: Any) -> LayerWorkspaceMgr:
    """Return a manager whose arrays lie on the heap, where they stay."""
    return LayerWorkspaceMgr(scoped_out=frozenset(ArrayType), dtype=dtype, call=LayerCall(user_code=False))
