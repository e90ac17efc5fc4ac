"""Convolutional networks and data that several test files share."""

import numpy as np

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import (
    ActivationLayer,
    BatchNormalization,
    ConvolutionLayer,
    DenseLayer,
    OutputLayer,
    SubsamplingLayer,
)
from minidl.training import Adam

__all__ = ["SHAPES", "blocks", "image_batch", "lenet"]

SHAPES = {"lenet": (1, 28, 28), "blocks": (3, 32, 32)}


def lenet(**options):
    """Return LeNet for 28 x 28: 20 and 50 maps of 5 x 5, 500 hidden."""
    layers = [layer for maps in (20, 50) for layer in (ConvolutionLayer(n_out=maps, kernel_size=5), SubsamplingLayer())]
    layers += [DenseLayer(n_out=500, activation="relu"), OutputLayer(n_out=10)]
    return _network(layers, InputType.convolutional(28, 28, 1), options)


def blocks(**options):
    """Return three blocks of a 3 x 3 convolution, batch normalisation, ReLU and pooling for 32 x 32 x 3."""
    layers = []
    for maps in (32, 64, 128):
        layers += [ConvolutionLayer(n_out=maps, kernel_size=3, convolution_mode="same"), BatchNormalization()]
        layers += [ActivationLayer("relu"), SubsamplingLayer()]
    return _network([*layers, OutputLayer(n_out=10)], InputType.convolutional(32, 32, 3), options)


def _network(layers, input_type, options):
    conf = NeuralNetConfiguration(**{"seed": 1, "updater": Adam(1e-3), "strict": True} | options)
    return MultiLayerNetwork(conf.list(*layers, input_type=input_type)).init()


def image_batch(name, examples, seed=0):
    """Return random images for a network, and one-hot labels."""
    rng = np.random.default_rng(seed)
    x = rng.random((examples, *SHAPES[name]), np.float32)
    return DataSet(x, np.eye(10, dtype=np.float32)[rng.integers(0, 10, examples)])
