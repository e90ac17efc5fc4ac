"""The layers of a network."""

from .activation import ActivationLayer
from .base import Layer, ParamSpec
from .batch_normalization import BatchNormalization
from .convolution import Convolution1DLayer, ConvolutionLayer
from .deconvolution import Deconvolution2D
from .dense import DenseLayer
from .depthwise import DepthwiseConvolution2D
from .dropout import DropoutLayer
from .edges import Cropping1D, Cropping2D, ZeroPadding1DLayer, ZeroPaddingLayer
from .feed_forward import FeedForwardLayer
from .global_pooling import GlobalPoolingLayer
from .local_response import LocalResponseNormalization
from .output import LossLayer, OutputLayer
from .preprocessors import (
    CnnToFeedForwardPreProcessor,
    FeedForwardToCnnPreProcessor,
    InputPreProcessor,
    TensorFlowCnnToFeedForwardPreProcessor,
)
from .rnn_output import RnnOutputLayer
from .separable import SeparableConvolution2D
from .spatial_loss import CnnLossLayer, RnnLossLayer
from .subsampling import PoolingType, Subsampling1DLayer, SubsamplingLayer
from .upsampling import SpaceToDepthLayer, Upsampling2D
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
    "Cropping1D",
    "Cropping2D",
    "Deconvolution2D",
    "DenseLayer",
    "DepthwiseConvolution2D",
    "DropoutLayer",
    "FeedForwardLayer",
    "FeedForwardToCnnPreProcessor",
    "GlobalPoolingLayer",
    "InputPreProcessor",
    "Layer",
    "LocalResponseNormalization",
    "LossLayer",
    "OutputLayer",
    "ParamSpec",
    "PoolingType",
    "RnnLossLayer",
    "RnnOutputLayer",
    "SeparableConvolution2D",
    "SpaceToDepthLayer",
    "Subsampling1DLayer",
    "SubsamplingLayer",
    "TensorFlowCnnToFeedForwardPreProcessor",
    "Upsampling2D",
    "ZeroPadding1DLayer",
    "ZeroPaddingLayer",
    "is_user_code",
]
