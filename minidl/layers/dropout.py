"""Dropout as a layer of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..workspaces import LayerWorkspaceMgr
from .base import Array, Layer

__all__ = ["DropoutLayer"]


@dataclass
class DropoutLayer(Layer):
    """In training, keep every element with probability ``dropout`` and scale it by 1 / dropout; else pass it on.

    The training step drops elements of a layer's input, for every layer with ``dropout``: this one does nothing more.
    Source: DL4J ``DropoutLayer``; Srivastava et al. (2014).
    """

    independent_examples: ClassVar[bool] = True

    dropout: float | None = field(default=0.5, kw_only=False)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x."""
        return x

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return epsilon."""
        return epsilon
