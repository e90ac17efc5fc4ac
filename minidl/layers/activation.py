"""An activation function as a layer of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..functions import Activation
from ..functions import activation as as_activation
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .activating import backprop_activation, run_activation
from .base import Array, Layer

__all__ = ["ActivationLayer"]


@dataclass
class ActivationLayer(Layer):
    """a = f(x). Shapes: x and a (batch, ...). Source: DL4J ``ActivationLayer``."""

    independent_examples: ClassVar[bool] = True

    activation: Activation | str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation is not None:
            self.activation = as_activation(self.activation)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x)."""
        kept, out = run_activation(self.activation, x, workspace_mgr, overwrite=False, training=training)
        workspace_mgr.save_for_backprop(kept)
        return out

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx = epsilon f'(x)."""
        (kept,) = workspace_mgr.saved()
        d_x = workspace_mgr.create_like(ArrayType.ACTIVATION_GRAD, kept)
        return backprop_activation(self.activation, kept, epsilon, workspace_mgr, out=d_x)
