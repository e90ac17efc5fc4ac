"""Layers that end a network: an activation and a loss, with or without weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..functions import MCXENT, Activation, Identity, Loss, Softmax
from ..functions import activation as as_activation
from ..functions import loss as as_loss
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .activating import backprop_activation, backprop_loss, loss_score, loss_scores, run_activation
from .base import Array, Layer
from .feed_forward import FeedForwardLayer

__all__ = ["LossLayer", "OutputLayer"]


@dataclass(kw_only=True)
class OutputLayer(FeedForwardLayer):
    """Fully connected layer with a loss: a = f(x W + b), L = loss(labels, a).

    Shapes: x (batch, n_in), W (n_in, n_out), b (n_out,), a and labels (batch, n_out). The activation is softmax, as in
    DL4J, unless one is given: the network's is for hidden layers. Softmax with mcxent and sigmoid with xent are
    differentiated in one stable step. Source: DL4J ``OutputLayer``.
    """

    independent_examples: ClassVar[bool] = True
    is_output_layer: ClassVar[bool] = True

    loss: Loss | str = field(default_factory=MCXENT)
    activation: Activation | str | None = field(default_factory=Softmax)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.loss = as_loss(self.loss)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x W + b)."""
        x, kept, out = self.affine_activate(x, workspace_mgr, training)
        workspace_mgr.save_for_backprop(x, kept, out)
        return out

    def score(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> float:
        """Return the sum of the losses over the batch."""
        _, _, out = workspace_mgr.saved()
        return loss_score(self.loss, labels, out, mask, workspace_mgr)

    def score_examples(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the loss of every example, (batch,)."""
        _, _, out = workspace_mgr.saved()
        return loss_scores(self.loss, labels, out, mask, workspace_mgr)

    def backprop_labels(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW and dL/db and return dL/dx."""
        x, kept, out = workspace_mgr.saved()
        d_z = backprop_loss(self.loss, self.activation, labels, kept, out, mask, workspace_mgr)
        return self.affine_backprop(x, d_z, workspace_mgr)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx for an error that comes from elsewhere than the labels, ``epsilon`` = dL/da."""
        x, kept, _ = workspace_mgr.saved()
        d_z = backprop_activation(self.activation, kept, epsilon, workspace_mgr)
        return self.affine_backprop(x, d_z, workspace_mgr)


@dataclass(kw_only=True)
class LossLayer(Layer):
    """A loss on what comes in, without weights: a = f(x), L = loss(labels, a).

    Shapes: x, a and labels (batch, n). The activation is identity, as in DL4J, unless one is given.
    Source: DL4J ``LossLayer``.
    """

    independent_examples: ClassVar[bool] = True
    is_output_layer: ClassVar[bool] = True

    loss: Loss | str = field(default_factory=MCXENT)
    activation: Activation | str | None = field(default_factory=Identity)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.loss = as_loss(self.loss)
        if self.activation is not None:
            self.activation = as_activation(self.activation)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(x)."""
        kept, out = run_activation(self.activation, x, workspace_mgr, overwrite=False, training=training)
        workspace_mgr.save_for_backprop(kept, out)
        return out

    def score(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> float:
        """Return the sum of the losses over the batch."""
        _, out = workspace_mgr.saved()
        return loss_score(self.loss, labels, out, mask, workspace_mgr)

    def score_examples(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the loss of every example, (batch,)."""
        _, out = workspace_mgr.saved()
        return loss_scores(self.loss, labels, out, mask, workspace_mgr)

    def backprop_labels(self, labels: Array, *, mask: Array | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx."""
        kept, out = workspace_mgr.saved()
        place = ArrayType.ACTIVATION_GRAD
        return backprop_loss(self.loss, self.activation, labels, kept, out, mask, workspace_mgr, place)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx for an error that comes from elsewhere than the labels, ``epsilon`` = dL/da."""
        kept, _ = workspace_mgr.saved()
        return backprop_activation(self.activation, kept, epsilon, workspace_mgr)
