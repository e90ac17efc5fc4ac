"""An example of every layer of minidl, where it may stand, and data that fit: for tests of whatever holds for all."""

import numpy as np

from minidl import InputType, NeuralNetConfiguration
from minidl.data import DataSet
from minidl.functions import NormalDistribution
from minidl.inputs import FeedForward, Recurrent, channels_last, channels_of
from minidl.layers import (
    LSTM,
    ActivationLayer,
    BatchNormalization,
    Bidirectional,
    CnnLossLayer,
    Convolution1DLayer,
    ConvolutionLayer,
    Cropping1D,
    Cropping2D,
    Deconvolution2D,
    DenseLayer,
    DepthwiseConvolution2D,
    DropoutLayer,
    EmbeddingLayer,
    EmbeddingSequenceLayer,
    GlobalPoolingLayer,
    GravesLSTM,
    LastTimeStep,
    LocalResponseNormalization,
    LossLayer,
    MaskZeroLayer,
    OutputLayer,
    RepeatVector,
    RnnLossLayer,
    RnnOutputLayer,
    SeparableConvolution2D,
    SimpleRnn,
    SpaceToDepthLayer,
    Subsampling1DLayer,
    SubsamplingLayer,
    TimeDistributed,
    Upsampling2D,
    ZeroPadding1DLayer,
    ZeroPaddingLayer,
)

__all__ = [
    "EXAMPLES",
    "IMAGES",
    "N_OUT",
    "SERIES",
    "TIMESTEPS",
    "VECTORS",
    "batch",
    "before_and_after",
    "input_type",
    "other_features",
    "positions",
]

N_IN, N_OUT, TIMESTEPS = 6, 3, 6
INPUTS = {
    "vectors": InputType.feed_forward(N_IN),
    "images": InputType.convolutional(8, 4, 2),
    "images NHWC": InputType.convolutional(4, 8, 2, "NHWC"),
    "series": InputType.recurrent(4, TIMESTEPS),
    "series NWC": InputType.recurrent(4, None, "NWC"),
    "an index": InputType.feed_forward(1),
    "indices": InputType.recurrent(1, TIMESTEPS),
    "indices NWC": InputType.recurrent(1, None, "NWC"),
}
VECTORS = {
    "ActivationLayer tanh": ActivationLayer("tanh"),
    "ActivationLayer softmax": ActivationLayer("softmax"),
    "ActivationLayer gelu": ActivationLayer("gelu", dropout=0.7),
    "BatchNormalization": BatchNormalization(),
    "DenseLayer tanh": DenseLayer(n_out=5, activation="tanh"),
    "DenseLayer swish": DenseLayer(n_out=5, activation="swish", dropout=0.7),
    "DenseLayer rrelu": DenseLayer(n_out=5, activation="rrelu"),
    "DenseLayer no bias": DenseLayer(n_out=5, activation="identity", has_bias=False),
    "DropoutLayer": DropoutLayer(0.6),
    "LossLayer mse": LossLayer(loss="mse"),
    "LossLayer xent": LossLayer(loss="xent", activation="sigmoid", dropout=0.7),
    "LossLayer cosine": LossLayer(loss="cosine_proximity", activation="mish"),
    "LossLayer mcxent": LossLayer(loss="mcxent", activation="softmax"),
    "OutputLayer mcxent": OutputLayer(n_out=N_OUT),
    "OutputLayer softmax mse": OutputLayer(n_out=N_OUT, loss="mse", dropout=0.7),
    "OutputLayer xent": OutputLayer(n_out=N_OUT, activation="sigmoid", loss="xent", has_bias=False),
    "OutputLayer swish l2": OutputLayer(n_out=N_OUT, activation="swish", loss="l2"),
    "RepeatVector": RepeatVector(4),
}
IMAGES = {
    "ActivationLayer elu": ActivationLayer("elu"),
    "BatchNormalization var": BatchNormalization(use_log_std=False, decay=0.5),
    "CnnLossLayer mcxent": CnnLossLayer(activation="softmax"),
    "CnnLossLayer softmax mse": CnnLossLayer(activation="softmax", loss="mse", dropout=0.7),
    "ConvolutionLayer tanh": ConvolutionLayer(n_out=3, kernel_size=(3, 2), padding=(1, 0), activation="tanh"),
    "ConvolutionLayer same": ConvolutionLayer(n_out=4, kernel_size=3, dilation=2, convolution_mode="same"),
    "ConvolutionLayer softmax": ConvolutionLayer(
        n_out=4, kernel_size=1, activation="softmax", weight_init=NormalDistribution(0, 2), dropout=0.7
    ),
    "ConvolutionLayer swish": ConvolutionLayer(n_out=2, kernel_size=2, activation="swish", has_bias=False),
    "Cropping2D": Cropping2D((1, 0, 0, 1), dropout=0.7),
    "Deconvolution2D": Deconvolution2D(n_out=3, kernel_size=(2, 3), stride=(2, 1), activation="tanh"),
    "DepthwiseConvolution2D": DepthwiseConvolution2D(depth_multiplier=2, kernel_size=2, activation="tanh"),
    "GlobalPoolingLayer avg": GlobalPoolingLayer(pooling_type="avg", collapse_dimensions=False),
    "GlobalPoolingLayer max": GlobalPoolingLayer(collapse_dimensions=False),
    "LocalResponseNormalization": LocalResponseNormalization(n=3, alpha=0.1),
    "SeparableConvolution2D": SeparableConvolution2D(
        n_out=3, depth_multiplier=2, kernel_size=(3, 2), convolution_mode="same", activation="swish", dropout=0.7
    ),
    "SpaceToDepthLayer": SpaceToDepthLayer(2),
    "SubsamplingLayer max": SubsamplingLayer(kernel_size=3, stride=2, padding=1),
    "SubsamplingLayer avg": SubsamplingLayer(pooling_type="avg", stride=(1, 2), convolution_mode="same"),
    "SubsamplingLayer pnorm": SubsamplingLayer(pooling_type="pnorm", pnorm=3, kernel_size=2, stride=1),
    "Upsampling2D": Upsampling2D((2, 1)),
    "ZeroPaddingLayer": ZeroPaddingLayer((1, 2)),
}
SERIES = {
    "BatchNormalization locked": BatchNormalization(lock_gamma_beta=True, gamma=0.7, beta=0.2),
    "Bidirectional LSTM": Bidirectional(LSTM(n_out=3), dropout=0.7),
    "Bidirectional GravesLSTM add": Bidirectional(GravesLSTM(n_out=3), mode="add"),
    "Bidirectional SimpleRnn mul": Bidirectional(SimpleRnn(n_out=4), mode="mul"),
    "Bidirectional LSTM average": Bidirectional(LSTM(n_out=4), mode="average"),
    "Convolution1DLayer causal": Convolution1DLayer(n_out=5, kernel_size=3, convolution_mode="causal"),
    "Convolution1DLayer tanh": Convolution1DLayer(n_out=4, kernel_size=2, activation="tanh", dropout=0.7),
    "Cropping1D": Cropping1D((1, 0)),
    "GravesLSTM": GravesLSTM(n_out=4, dropout=0.7),
    "GravesLSTM swish hardsigmoid": GravesLSTM(n_out=4, activation="swish", gate_activation="hardsigmoid"),
    "LSTM": LSTM(n_out=5),
    "LSTM swish": LSTM(n_out=4, activation="swish", forget_gate_bias_init=0.0),
    "LSTM softsign no bias": LSTM(n_out=4, activation="softsign", gate_activation="hardsigmoid", has_bias=False),
    "LastTimeStep LSTM": LastTimeStep(LSTM(n_out=4)),
    "LastTimeStep Bidirectional": LastTimeStep(Bidirectional(SimpleRnn(n_out=3))),
    "MaskZeroLayer LSTM": MaskZeroLayer(LSTM(n_out=4)),
    "SimpleRnn": SimpleRnn(n_out=4, dropout=0.7),
    "SimpleRnn softplus no bias": SimpleRnn(n_out=4, activation="softplus", has_bias=False),
    "SimpleRnn layer norm": SimpleRnn(n_out=9, has_layer_norm=True),
    "TimeDistributed DenseLayer": TimeDistributed(DenseLayer(n_out=4, activation="swish")),
    "GlobalPoolingLayer pnorm": GlobalPoolingLayer(pooling_type="pnorm", collapse_dimensions=False),
    "RnnLossLayer xent": RnnLossLayer(loss="xent", activation="sigmoid"),
    "RnnOutputLayer mcxent": RnnOutputLayer(n_out=N_OUT),
    "RnnOutputLayer softmax mse": RnnOutputLayer(n_out=N_OUT, loss="mse", dropout=0.7),
    "Subsampling1DLayer max": Subsampling1DLayer(kernel_size=2, stride=1),
    "Subsampling1DLayer sum": Subsampling1DLayer(pooling_type="sum", convolution_mode="same"),
    "ZeroPadding1DLayer": ZeroPadding1DLayer((1, 2)),
}
INDEX = {
    "EmbeddingLayer": EmbeddingLayer(n_in=7, n_out=4, activation="tanh"),
    "EmbeddingLayer bias": EmbeddingLayer(n_in=7, n_out=4, has_bias=True),
}
INDICES = {
    "EmbeddingSequenceLayer": EmbeddingSequenceLayer(n_in=7, n_out=4),
    "EmbeddingSequenceLayer bias": EmbeddingSequenceLayer(n_in=7, n_out=4, has_bias=True, activation="tanh"),
}
EXAMPLES = VECTORS | {
    f"{name} of {kind}": layer
    for kinds, examples in (
        (("images", "images NHWC"), IMAGES),
        (("series", "series NWC"), SERIES),
        (("an index",), INDEX),
        (("indices", "indices NWC"), INDICES),
    )
    for kind in kinds
    for name, layer in examples.items()
}


def input_type(name):
    return INPUTS[name.partition(" of ")[2] or "vectors"]


def before_and_after(name):
    """Return a layer with parameters that gives out what the example ``name`` takes in, and an output layer behind.

    Nothing stands before a layer of indices.
    """
    kind = input_type(name)
    after = RnnOutputLayer(n_out=N_OUT) if isinstance(output_type(name), Recurrent) else OutputLayer(n_out=N_OUT)
    if takes_indices(name):
        return None, after
    if isinstance(kind, FeedForward):
        return DenseLayer(n_out=N_OUT, activation="tanh"), after
    convolution = Convolution1DLayer if isinstance(kind, Recurrent) else ConvolutionLayer
    return convolution(n_out=3, kernel_size=2, activation="tanh", convolution_mode="same"), after


def output_type(name):
    conf = NeuralNetConfiguration().list(
        EXAMPLES[name], input_type=input_type(name), validate_output_layer_config=False
    )
    return conf.input_types()[-1]


def takes_indices(name):
    return EXAMPLES[name].takes_indices


def positions(name):
    """Return where the example ``name`` may stand in a network: "only", "first", "middle", "twice" or "last"."""
    if EXAMPLES[name].is_output_layer:
        return ("only", "middle", "last")
    if takes_indices(name):
        return ("first",)
    kinds = [type(kind) for kind in (input_type(name), output_type(name))]
    return ("first", "middle", "twice") if kinds[0] is kinds[1] else ("first", "middle")


def features_for(layer, shape, rng):
    """Return random numbers, or indices where the layer takes these."""
    return rng.integers(0, layer.n_in, shape) if layer.takes_indices else rng.standard_normal(shape)


def other_features(layer, features):
    """Return other ones in place of these."""
    return (features + 1) % layer.n_in if layer.takes_indices else -0.5 * features


def batch(net, rows, seed=0):
    """Return random data that fits the network, of its own type."""
    rng = np.random.default_rng(seed)
    extents = [extent or TIMESTEPS for extent in net.conf.input_type.example_shape()]
    output_type = net.conf.input_types()[-1]
    n_out, axis = channels_of(output_type), -1 if channels_last(output_type) else 1
    shape = net.output(np.zeros((rows, *extents))).shape
    places = [extent for index, extent in enumerate(shape) if index != axis % len(shape)]
    kind = getattr(net.layers[-1], "loss", None)
    labels = {
        "classes": np.eye(n_out)[rng.integers(0, n_out, places)],
        "probabilities": rng.random((*places, n_out)),
        "values": rng.standard_normal((*places, n_out)),
    }[kind.label_kind if kind else "values"]
    features = features_for(net.layers[0], (rows, *extents), rng)
    return DataSet(features.astype(net.conf.dtype), np.moveaxis(labels, -1, axis).astype(net.conf.dtype))
