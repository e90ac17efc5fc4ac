"""Configurations of convolutional networks that cannot be, and images that do not fit: the whole error."""

import re

import numpy as np
import pytest

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import (
    BatchNormalization,
    CnnToFeedForwardPreProcessor,
    Convolution1DLayer,
    ConvolutionLayer,
    DenseLayer,
    FeedForwardToCnnPreProcessor,
    GlobalPoolingLayer,
    OutputLayer,
    RnnOutputLayer,
    SubsamplingLayer,
    TensorFlowCnnToFeedForwardPreProcessor,
)
from minidl.workspaces import LayerWorkspaceMgr

IMAGES, SERIES = InputType.convolutional(8, 6, 3), InputType.recurrent(4, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ConvolutionLayer(kernel_size=(3, 0)),
            "ConvolutionLayer: kernel_size=(3, 0) is not a whole number of at least 1, or 2 of them, such as (2, 2).",
        ),
        (
            lambda: ConvolutionLayer(stride=(1, 1, 1)),
            "ConvolutionLayer: stride=(1, 1, 1) is not a whole number of at least 1, or 2 of them, such as (2, 2).",
        ),
        (
            lambda: Convolution1DLayer(kernel_size=(3, 3)),
            "Convolution1DLayer: kernel_size=(3, 3) is not a whole number of at least 1.",
        ),
        (
            lambda: ConvolutionLayer(padding=-1),
            "ConvolutionLayer: padding=-1 is not a whole number of at least 0, or 2 of them, such as (2, 2).",
        ),
        (
            lambda: ConvolutionLayer(padding="same"),
            "ConvolutionLayer: padding='same' is not a whole number of at least 0, or 2 of them, such as (2, 2). Use "
            "convolution_mode='same'.",
        ),
        (
            lambda: NeuralNetConfiguration().list(ConvolutionLayer(n_in=1, n_out=2)),
            "the input of the first layer (ConvolutionLayer) is not known. Give list(..., input_type="
            "InputType.convolutional(height, width, channels)), with the extents of your data.",
        ),
        (
            lambda: NeuralNetConfiguration().list([DenseLayer(n_out=2)], input_type=IMAGES),
            "layer 0 is a list of layers. Write .list(*layers).",
        ),
        (
            lambda: NeuralNetConfiguration().list(DenseLayer(n_out=2), input_type=IMAGES, input_preprocessors=[1]),
            "input_preprocessors=[1] is no dictionary. Give {index of the layer: preprocessor}.",
        ),
        (
            lambda: ConvolutionLayer(convolution_mode="full"),
            "ConvolutionLayer: convolution_mode='full' is not known. Choose one of: TRUNCATE, STRICT, SAME, CAUSAL.",
        ),
        (
            lambda: ConvolutionLayer(convolution_mode="causal"),
            "ConvolutionLayer: convolution_mode=CAUSAL is for series. Choose one of: TRUNCATE, STRICT, SAME.",
        ),
        (
            lambda: ConvolutionLayer(padding=(0, 1), convolution_mode="same"),
            "ConvolutionLayer: padding=(0, 1) with convolution_mode=SAME, which pads by itself. Leave the padding "
            "unset, or use TRUNCATE.",
        ),
        (
            lambda: ConvolutionLayer(max_window_bytes=0),
            "ConvolutionLayer: max_window_bytes=0 is not a whole number of at least 1.",
        ),
        (
            lambda: SubsamplingLayer(pooling_type="median"),
            "SubsamplingLayer: pooling_type='median' is not known. Choose one of: MAX, AVG, SUM, PNORM.",
        ),
        (
            lambda: SubsamplingLayer(padding=2),
            "SubsamplingLayer: padding=(2, 2) with kernel_size=(2, 2): a window of 2 would see nothing but 2 elements "
            "of padding. Use a padding of at most 1.",
        ),
        (
            lambda: GlobalPoolingLayer(pooling_type="pnorm", pnorm=0.5),
            "GlobalPoolingLayer: pnorm=0.5 is not a finite number of at least 1.",
        ),
        (
            lambda: BatchNormalization(decay=1.0),
            "BatchNormalization: decay=1.0 is not at least 0 and less than 1.",
        ),
        (lambda: BatchNormalization(eps=0), "BatchNormalization: eps=0 is not a finite number above 0."),
        (
            lambda: NeuralNetConfiguration(convolution_mode="valid"),
            "convolution_mode='valid' is not known. Choose one of: TRUNCATE, STRICT, SAME, CAUSAL.",
        ),
        (
            lambda: TensorFlowCnnToFeedForwardPreProcessor("CHWN"),
            "Convolutional: format='CHWN' is not known. Choose NCHW or NHWC.",
        ),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("cls", "name", "meant"),
    [
        (ConvolutionLayer, "filters", "n_out"),
        (ConvolutionLayer, "out_channels", "n_out"),
        (ConvolutionLayer, "strides", "stride"),
        (ConvolutionLayer, "use_bias", "has_bias"),
        (SubsamplingLayer, "pool_size", "kernel_size"),
        (DenseLayer, "units", "n_out"),
        (DenseLayer, "kernel_initializer", "weight_init"),
    ],
)
def test_names_of_keras_and_pytorch_are_understood_in_the_error(cls, name, meant):
    with pytest.raises(
        ConfigurationError, match=rf"^{cls.__name__} has no option '{name}'\. Did you mean '{meant}'\? "
    ):
        cls(**{name: 1})


def test_kernels_may_be_arrays():
    assert ConvolutionLayer(kernel_size=np.array([3, 2]), stride=np.int64(2)) == ConvolutionLayer(
        kernel_size=(3, 2), stride=(2, 2)
    )


@pytest.mark.parametrize(
    ("layers", "input_type", "error", "message"),
    [
        (
            [ConvolutionLayer(n_out=2, kernel_size=(7, 3)), ConvolutionLayer(n_out=2, kernel_size=3)],
            IMAGES,
            ShapeError,
            "height=2, kernel=3, stride=1, padding=0, dilation=1: the window of 1 x (3 - 1) + 1 = 3 is larger than the "
            "padded height, 2 + 2 x 0 = 2. Use a smaller kernel or dilation, more padding, or "
            'convolution_mode="same".\nin layer 1 of 2 (ConvolutionLayer)',
        ),
        (
            [SubsamplingLayer(kernel_size=3, stride=2, convolution_mode="strict")],
            IMAGES,
            ShapeError,
            'height=8, kernel=3, stride=2, padding=0, dilation=1: convolution_mode="strict", but (8 + 2 x 0 - 3) / 2 '
            "+ 1 = 3.5 is no whole number. Change the height, kernel, stride or padding, or use convolution_mode="
            '"truncate" (3 positions, the rest is dropped) or "same".\nin layer 0 of 1 (SubsamplingLayer)',
        ),
        (
            [ConvolutionLayer(n_in=1, n_out=2, kernel_size=3)],
            IMAGES,
            ShapeError,
            "ConvolutionLayer: n_in=1, but its input has 3 channels. Set n_in=3, or leave n_in unset to take it from "
            "the input type.\nin layer 0 of 1 (ConvolutionLayer)",
        ),
        (
            [ConvolutionLayer(kernel_size=3)],
            IMAGES,
            ConfigurationError,
            "ConvolutionLayer needs n_out, the number of channels it gives: n_out=20.\nin layer 0 of 1 "
            "(ConvolutionLayer)",
        ),
        (
            [ConvolutionLayer(n_out=2, kernel_size=5, padding=1, max_window_bytes=1000)],
            IMAGES,
            ConfigurationError,
            "max_window_bytes=1,000, but the windows of one output row take 4 positions x 5 x 5 kernel x 3 channels x "
            "4 bytes = 1,200. Use max_window_bytes=1200 or more, or None for what fits the cache.\nin layer 0 of 1 "
            "(ConvolutionLayer)",
        ),
        (
            [
                Convolution1DLayer(
                    n_out=2, kernel_size=3, stride=3, padding=1, convolution_mode="strict", max_window_bytes=47
                )
            ],
            InputType.recurrent(4),
            ConfigurationError,
            "max_window_bytes=47, but the windows of one output row take 1 positions x 3 x 1 kernel x 4 channels x 4 "
            "bytes = 48. Use max_window_bytes=48 or more, or None for what fits the cache.\nin layer 0 of 1 "
            "(Convolution1DLayer)",
        ),
        (
            [SubsamplingLayer(kernel_size=2, stride=1, dilation=9, convolution_mode="same")],
            IMAGES,
            ShapeError,
            "SubsamplingLayer: height=8, kernel=2, dilation=9: between the elements of a window lies all there is, so "
            "that it sees padding alone, which has no largest element. Use a smaller dilation, or another pooling_type."
            "\nin layer 0 of 1 (SubsamplingLayer)",
        ),
        (
            [ConvolutionLayer(n_out=2, kernel_size=3, format="NHWC")],
            IMAGES,
            ConfigurationError,
            "ConvolutionLayer: format='NHWC', but its input has the format NCHW. Leave it unset, and give the format "
            "to the input type.\nin layer 0 of 1 (ConvolutionLayer)",
        ),
        (
            [DenseLayer(n_out=5), ConvolutionLayer(n_out=2)],
            IMAGES,
            ShapeError,
            "ConvolutionLayer expects images, but its input is FeedForward(size=5). Use "
            "InputType.convolutional(height, width, channels), or convolutional_flat for rows of pixels, or put a "
            "FeedForwardToCnnPreProcessor in front.\nin layer 1 of 2 (ConvolutionLayer)",
        ),
        (
            [RnnOutputLayer(n_out=2)],
            IMAGES,
            ShapeError,
            "series, (batch, size, time), are expected here, but the input is Convolutional(height=8, width=6, "
            "channels=3, format='NCHW'). Use InputType.recurrent(size, timesteps), or put a RepeatVector in front, "
            "which makes series of vectors.\nin layer 0 of 1 (RnnOutputLayer)",
        ),
        (
            [GlobalPoolingLayer()],
            InputType.feed_forward(4),
            ShapeError,
            "GlobalPoolingLayer expects images or series, but its input is FeedForward(size=4). Use "
            "InputType.convolutional(height, width, channels) or InputType.recurrent(size).\nin layer 0 of 1 "
            "(GlobalPoolingLayer)",
        ),
        (
            [Convolution1DLayer(n_out=2, kernel_size=6, dilation=2)],
            SERIES,
            ShapeError,
            "timesteps=10, kernel=6, stride=1, padding=0, dilation=2: the window of 2 x (6 - 1) + 1 = 11 is larger "
            "than the padded timesteps, 10 + 2 x 0 = 10. Use a smaller kernel or dilation, more padding, or "
            'convolution_mode="same".\nin layer 0 of 1 (Convolution1DLayer)',
        ),
    ],
)
def test_layers_that_do_not_fit(layers, input_type, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        NeuralNetConfiguration().list(*layers, input_type=input_type)


def test_causal_for_the_whole_network_is_refused_by_images():
    message = "ConvolutionLayer: convolution_mode=CAUSAL is for series. Choose one of: TRUNCATE, STRICT, SAME."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}\nin layer 0 of 1 "):
        NeuralNetConfiguration(convolution_mode="causal").list(ConvolutionLayer(n_out=1), input_type=IMAGES)


def test_a_preprocessor_of_the_wrong_format():
    step = TensorFlowCnnToFeedForwardPreProcessor("NHWC")
    message = (
        "TensorFlowCnnToFeedForwardPreProcessor(format='NHWC'), but its input is Convolutional(height=8, width=6, "
        "channels=3, format='NCHW'). Give it the format of the input."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}\nin layer 0 of 1 "):
        NeuralNetConfiguration().list(OutputLayer(n_out=2), input_type=IMAGES, input_preprocessors={0: step})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (2, 27),
            "features have shape (2, 27), expected (batch, 4 x 7 x 1 = 28). Reshape the features, or change the "
            "input_type of the configuration.",
        ),
        (
            (2, 4, 7),
            "features have shape (2, 4, 7), expected (batch, 4 x 7 x 1 = 28). Flatten the examples: x.reshape(len(x), "
            "-1).",
        ),
    ],
)
def test_flat_images_of_the_wrong_length(shape, message):
    conf = NeuralNetConfiguration().list(
        ConvolutionLayer(n_out=2, kernel_size=3), OutputLayer(n_out=2), input_type=InputType.convolutional_flat(4, 7, 1)
    )
    net = MultiLayerNetwork(conf).init()
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        net.output(np.zeros(shape))


def test_series_that_become_too_short_are_refused_in_every_call():
    conf = NeuralNetConfiguration().list(
        Convolution1DLayer(n_out=2, kernel_size=4), RnnOutputLayer(n_out=2), input_type=InputType.recurrent(3)
    )
    net = MultiLayerNetwork(conf).init()
    before = net.params.copy()
    for call in (net.output, lambda x: net.fit(x, np.zeros((2, 2, 1))), net.feed_forward):
        with pytest.raises(
            ShapeError, match=r"^timesteps=3, kernel=4, stride=1, padding=0, dilation=1: the window of "
        ):
            call(np.zeros((2, 3, 3)))
    np.testing.assert_array_equal(net.params, before)
    assert net.output(np.zeros((2, 3, 4))).shape == (2, 2, 1)


# Preprocessors


def test_rows_of_images_in_both_orders():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    manager = LayerWorkspaceMgr.no_workspaces("f8")
    ours = CnnToFeedForwardPreProcessor().preprocess(x, workspace_mgr=manager)
    np.testing.assert_array_equal(ours, x.reshape(2, -1))
    step = TensorFlowCnnToFeedForwardPreProcessor()
    keras = step.preprocess(x, workspace_mgr=manager)
    np.testing.assert_array_equal(keras, x.transpose(0, 2, 3, 1).reshape(2, -1))
    np.testing.assert_array_equal(step.backprop(keras, shape=x.shape, workspace_mgr=manager), x)
    last = TensorFlowCnnToFeedForwardPreProcessor("NHWC")
    np.testing.assert_array_equal(last.preprocess(x.transpose(0, 2, 3, 1), workspace_mgr=manager), keras)


def test_flat_images_are_made_images_and_images_rows():
    conf = NeuralNetConfiguration().list(
        ConvolutionLayer(n_out=2, kernel_size=3),
        DenseLayer(n_out=4),
        OutputLayer(n_out=2),
        input_type=InputType.convolutional_flat(4, 7, 1),
    )
    assert conf.input_preprocessors == (FeedForwardToCnnPreProcessor(4, 7, 1), CnnToFeedForwardPreProcessor(), None)
    images = NeuralNetConfiguration(seed=conf.seed).list(
        *conf.layers, input_type=InputType.convolutional(4, 7, 1), input_preprocessors={}
    )
    x = np.random.default_rng(0).standard_normal((3, 28))
    one, other = MultiLayerNetwork(conf).init(), MultiLayerNetwork(images).init()
    np.testing.assert_array_equal(one.output(x), other.output(x.reshape(3, 1, 4, 7)))
