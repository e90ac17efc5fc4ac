"""The rules of training: updaters, gradient normalisation, dropout."""

from .dropout import drop, drop_mask
from .gradient_normalization import GradientNormalization, normalize_gradients
from .real import real
from .updaters import UPDATERS, Adam, Nesterovs, NoOp, Sgd, Updater, updater

__all__ = [
    "Adam",
    "GradientNormalization",
    "Nesterovs",
    "NoOp",
    "Sgd",
    "UPDATERS",
    "Updater",
    "drop",
    "drop_mask",
    "normalize_gradients",
    "real",
    "updater",
]
