"""The layers of a network."""

from .activation import ActivationLayer
from .base import Layer, ParamSpec
from .dense import DenseLayer
from .dropout import DropoutLayer
from .feed_forward import FeedForwardLayer
from .output import LossLayer, OutputLayer
from .preprocessors import CnnToFeedForwardPreProcessor, FeedForwardToCnnPreProcessor, InputPreProcessor
from .user_code import is_user_code

__all__ = [
    "ActivationLayer",
    "CnnToFeedForwardPreProcessor",
    "DenseLayer",
    "DropoutLayer",
    "FeedForwardLayer",
    "FeedForwardToCnnPreProcessor",
    "InputPreProcessor",
    "Layer",
    "LossLayer",
    "OutputLayer",
    "ParamSpec",
    "is_user_code",
]
