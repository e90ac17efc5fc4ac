"""The layers of a network."""

from .activation import ActivationLayer
from .base import Layer, ParamSpec
from .batch_normalization import BatchNormalization
from .bidirectional import Bidirectional, BidirectionalMode
from .convolution import Convolution1DLayer, ConvolutionLayer
from .deconvolution import Deconvolution2D
from .dense import DenseLayer
from .depthwise import DepthwiseConvolution2D
from .dropout import DropoutLayer
from .edges import Cropping1D, Cropping2D, ZeroPadding1DLayer, ZeroPaddingLayer
from .embedding import EmbeddingLayer, EmbeddingSequenceLayer
from .feed_forward import FeedForwardLayer
from .folding import (
    CnnToRnnPreProcessor,
    FeedForwardToRnnPreProcessor,
    RnnToCnnPreProcessor,
    RnnToFeedForwardPreProcessor,
)
from .global_pooling import GlobalPoolingLayer
from .local_response import LocalResponseNormalization
from .lstm import LSTM, GravesLSTM
from .output import LossLayer, OutputLayer
from .preprocessors import (
    CnnToFeedForwardPreProcessor,
    FeedForwardToCnnPreProcessor,
    InputPreProcessor,
    TensorFlowCnnToFeedForwardPreProcessor,
)
from .recurrent import RecurrentLayer
from .repeat_vector import RepeatVector
from .rnn_output import RnnOutputLayer
from .separable import SeparableConvolution2D
from .simple_rnn import SimpleRnn
from .spatial_loss import CnnLossLayer, RnnLossLayer
from .subsampling import PoolingType, Subsampling1DLayer, SubsamplingLayer
from .time_wrappers import LastTimeStep, MaskZeroLayer, TimeDistributed
from .upsampling import SpaceToDepthLayer, Upsampling2D
from .user_code import is_user_code
from .windows import ConvolutionMode
from .wrapper import WrapperLayer

__all__ = [
    "ActivationLayer",
    "BatchNormalization",
    "Bidirectional",
    "BidirectionalMode",
    "CnnLossLayer",
    "CnnToFeedForwardPreProcessor",
    "CnnToRnnPreProcessor",
    "Convolution1DLayer",
    "ConvolutionLayer",
    "ConvolutionMode",
    "Cropping1D",
    "Cropping2D",
    "Deconvolution2D",
    "DenseLayer",
    "DepthwiseConvolution2D",
    "DropoutLayer",
    "EmbeddingLayer",
    "EmbeddingSequenceLayer",
    "FeedForwardLayer",
    "FeedForwardToCnnPreProcessor",
    "FeedForwardToRnnPreProcessor",
    "GlobalPoolingLayer",
    "GravesLSTM",
    "InputPreProcessor",
    "LSTM",
    "LastTimeStep",
    "Layer",
    "LocalResponseNormalization",
    "LossLayer",
    "MaskZeroLayer",
    "OutputLayer",
    "ParamSpec",
    "PoolingType",
    "RecurrentLayer",
    "RepeatVector",
    "RnnLossLayer",
    "RnnOutputLayer",
    "RnnToCnnPreProcessor",
    "RnnToFeedForwardPreProcessor",
    "SeparableConvolution2D",
    "SimpleRnn",
    "SpaceToDepthLayer",
    "Subsampling1DLayer",
    "SubsamplingLayer",
    "TensorFlowCnnToFeedForwardPreProcessor",
    "TimeDistributed",
    "Upsampling2D",
    "WrapperLayer",
    "ZeroPadding1DLayer",
    "ZeroPaddingLayer",
    "is_user_code",
]
