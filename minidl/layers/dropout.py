"""Dropout as a layer of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..training import BaseDropout
from ..workspaces import LayerWorkspaceMgr
from .base import Array, Layer

__all__ = ["DropoutLayer"]


@dataclass
class DropoutLayer(Layer):
    """In training, keep every element with probability ``dropout`` and scale it by 1 / dropout; else pass it on.

    ``dropout`` may also be an object of another kind, such as GaussianNoise(0.1). The training step applies it to a
    layer's input, for every layer that has one: this layer does nothing more.
    Source: DL4J ``DropoutLayer``; Srivastava et al. (2014).
    """

    independent_examples: ClassVar[bool] = True

    dropout: float | BaseDropout | None = field(default=0.5, kw_only=False)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x."""
        return x

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return epsilon."""
        return epsilon
