"""Convolutional networks that DL4J recorded, again. What the files hold is written in data/README.md."""

import functools
from pathlib import Path

import numpy as np
import pytest

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.eval import Evaluation
from minidl.layers import (
    CnnLossLayer,
    Convolution1DLayer,
    ConvolutionLayer,
    Cropping1D,
    Cropping2D,
    DepthwiseConvolution2D,
    OutputLayer,
    RnnOutputLayer,
    SeparableConvolution2D,
    Subsampling1DLayer,
    SubsamplingLayer,
    Upsampling2D,
    ZeroPadding1DLayer,
    ZeroPaddingLayer,
)
from minidl.training import Adam, Sgd

SYMBOLS, NOTHING = 77, 255
CHARACTERS = [
    Convolution1DLayer(n_out=32, kernel_size=3, convolution_mode="same", activation="tanh"),
    Subsampling1DLayer(kernel_size=2, stride=1, convolution_mode="same"),
    Cropping1D((1, 1)),
    ZeroPadding1DLayer((1, 1)),
    RnnOutputLayer(n_out=SYMBOLS, activation="softmax", loss="mcxent"),
]
SYNTHETIC = [
    ConvolutionLayer(n_out=4, kernel_size=3, stride=(2, 1), activation="relu"),
    SeparableConvolution2D(n_out=8, kernel_size=3, convolution_mode="same", activation="relu"),
    SubsamplingLayer(kernel_size=3, stride=2),
    ZeroPaddingLayer(4),
    Upsampling2D(3),
    DepthwiseConvolution2D(depth_multiplier=2, kernel_size=3, activation="relu"),
    SubsamplingLayer(),
    Cropping2D((3, 3, 2, 2)),
    ConvolutionLayer(n_out=4, kernel_size=4, activation="sigmoid"),
    CnnLossLayer(activation="identity", loss="mean_absolute_error"),
]
UPSAMPLING = [
    ConvolutionLayer(n_out=5, kernel_size=2, convolution_mode="same", activation="tanh"),
    Upsampling2D(2),
    ConvolutionLayer(n_out=3, kernel_size=2, convolution_mode="same", activation="tanh"),
    OutputLayer(n_out=10, activation="tanh", loss="mse"),
]
IMAGES = InputType.convolutional(28, 28, 1)


@functools.cache
def recording(name):
    with np.load(Path(__file__).parent / "data" / f"{name}.npz") as file:
        return dict(file)


def network(layers, input_type, parameters, **options):
    return MultiLayerNetwork(NeuralNetConfiguration(**options).list(*layers, input_type=input_type)).init(parameters)


def one_hot(indices):
    """Return (batch, symbols, time); nothing is a column of zeros."""
    columns = np.where(indices == NOTHING, SYMBOLS, indices)
    return np.eye(SYMBOLS + 1, SYMBOLS, dtype=np.float32)[columns].transpose(0, 2, 1)


def characters(format="NCW", timesteps=128, **options):
    """Return the network of CNN1dCharacterTestCase and its two minibatches."""
    arrays = recording("CNN1dCharacterTestCase")
    net = network(
        CHARACTERS,
        InputType.recurrent(SYMBOLS, timesteps, format),
        arrays["init_params"],
        updater=Adam(0.01),
        **options,
    )
    batches = [(one_hot(x), one_hot(y)) for x, y in zip(arrays["inputs"], arrays["labels"], strict=True)]
    if format == "NWC":
        batches = [(x.transpose(0, 2, 1), y.transpose(0, 2, 1)) for x, y in batches]
    return net, [DataSet(x, y) for x, y in batches], arrays


def test_predictions_of_characters():
    net, batches, arrays = characters()
    expected = arrays["prediction_0"]
    output = net.output(batches[0].features)[: len(expected)]
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


def test_gradient_of_characters():
    net, batches, arrays = characters()
    net.compute_gradient_and_score(batches[0])
    expected = arrays["gradient"]
    np.testing.assert_allclose(net.gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
@pytest.mark.parametrize(("format", "timesteps"), [("NCW", 128), ("NCW", None), ("NWC", 128)])
def test_training_on_characters(format, timesteps, mode):
    net, batches, arrays = characters(format, timesteps, training_workspace_mode=mode)
    scores = [net.fit(batch).score() for batch in batches]
    np.testing.assert_allclose(scores, arrays["scores"], rtol=1e-6)
    np.testing.assert_allclose(net.params, arrays["final_params"], rtol=0, atol=2e-5)
    evaluation = Evaluation()
    net.do_evaluation(batches, evaluation)
    np.testing.assert_array_equal(evaluation.confusion_matrix, arrays["confusion"])


def test_output_of_many_kinds_of_layers():
    arrays = recording("SyntheticCNN")
    net = network(SYNTHETIC, IMAGES, arrays["params"], l2=1e-4)
    np.testing.assert_allclose(net.output(arrays["x"]), arrays["output"], rtol=0, atol=1e-6)


def test_output_and_gradient_of_upsampling():
    arrays = recording("upsampling")
    net = network(UPSAMPLING, IMAGES, arrays["params"], updater=Sgd(0.001))
    np.testing.assert_allclose(net.output(arrays["x"]), arrays["output"], rtol=0, atol=1e-6)
    net.compute_gradient_and_score(arrays["x"], arrays["labels"])
    expected = arrays["gradient"]
    np.testing.assert_allclose(net.gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
