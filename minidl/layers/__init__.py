"""The layers of a network."""

from .activation import ActivationLayer
from .base import Layer, ParamSpec
from .batch_normalization import BatchNormalization
from .convolution import Convolution1DLayer, ConvolutionLayer
from .dense import DenseLayer
from .dropout import DropoutLayer
from .feed_forward import FeedForwardLayer
from .global_pooling import GlobalPoolingLayer
from .output import LossLayer, OutputLayer
from .preprocessors import (
    CnnToFeedForwardPreProcessor,
    FeedForwardToCnnPreProcessor,
    InputPreProcessor,
    TensorFlowCnnToFeedForwardPreProcessor,
)
from .rnn_output import RnnOutputLayer
from .spatial_loss import CnnLossLayer, RnnLossLayer
from .subsampling import PoolingType, Subsampling1DLayer, SubsamplingLayer
from .user_code import is_user_code
from .windows import ConvolutionMode

__all__ = [
    "ActivationLayer",
    "BatchNormalization",
    "CnnLossLayer",
    "CnnToFeedForwardPreProcessor",
    "Convolution1DLayer",
    "ConvolutionLayer",
    "ConvolutionMode",
    "DenseLayer",
    "DropoutLayer",
    "FeedForwardLayer",
    "FeedForwardToCnnPreProcessor",
    "GlobalPoolingLayer",
    "InputPreProcessor",
    "Layer",
    "LossLayer",
    "OutputLayer",
    "ParamSpec",
    "PoolingType",
    "RnnLossLayer",
    "RnnOutputLayer",
    "Subsampling1DLayer",
    "SubsamplingLayer",
    "TensorFlowCnnToFeedForwardPreProcessor",
    "is_user_code",
]
