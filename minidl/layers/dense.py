"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..workspaces import CarriedState, LayerWorkspaceMgr
from .activating import backprop_activation
from .base import Array, filled_in
from .feed_forward import FeedForwardLayer
from .row_steps import AffineRow

__all__ = ["DenseLayer"]


@dataclass(kw_only=True)
class DenseLayer(FeedForwardLayer):
    """Fully connected layer: a = f(x W + b).

    Shapes: x (batch, n_in), W (n_in, n_out), b (n_out,), a (batch, n_out).
    Raises ShapeError for inputs that are not vectors of n_in. Source: DL4J ``DenseLayer``.
    """

    independent_examples: ClassVar[bool] = True

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x W + b)."""
        x, kept, out = self.affine_activate(x, workspace_mgr, training)
        workspace_mgr.save_for_backprop(x, kept)
        return out

    def row_step(self, index: int, states: CarriedState) -> AffineRow:
        """Return what takes a step of one example."""
        return AffineRow(self, (1, filled_in(self.n_out, "n_out")))

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW = x^T d_z and dL/db = sum d_z, and return dL/dx = d_z W^T, with d_z = epsilon f'(z)."""
        x, kept = workspace_mgr.saved()
        d_z = backprop_activation(self.activation, kept, epsilon, workspace_mgr)
        return self.affine_backprop(x, d_z, workspace_mgr)
