"""The layers of a network."""

from .activation import ActivationLayer
from .base import Layer, ParamSpec, is_user_code
from .dense import DenseLayer
from .dropout import DropoutLayer
from .feed_forward import FeedForwardLayer
from .output import LossLayer, OutputLayer

__all__ = [
    "ActivationLayer",
    "DenseLayer",
    "DropoutLayer",
    "FeedForwardLayer",
    "Layer",
    "LossLayer",
    "OutputLayer",
    "ParamSpec",
    "is_user_code",
]
