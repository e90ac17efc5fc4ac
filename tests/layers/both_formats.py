"""One layer without parameters in both formats, by hand and in a network, for the tests of several layers."""

import numpy as np
from layers.called_by_hand import call_by_hand

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.inputs import Recurrent
from minidl.layers import Convolution1DLayer, ConvolutionLayer, OutputLayer, RnnOutputLayer

__all__ = [
    "feature_gradient_error",
    "input_types",
    "moved",
    "output_and_gradient",
    "rearranged",
    "same_bits_in_all_modes",
    "torch_gradient",
]


def input_types(shape):
    """Return the types, in both formats, of images (batch, channels, height, width) or series (batch, size, time)."""
    if len(shape) == 4:
        return [InputType.convolutional(shape[2], shape[3], shape[1], format) for format in ("NCHW", "NHWC")]
    return [InputType.recurrent(shape[1], shape[2], format) for format in ("NCW", "NWC")]


def output_and_gradient(layer, x, epsilon):
    """Return y and dL/dx for x and epsilon = dL/dy, all with channels first; both formats must give the same bits.

    With channels last, what is handed over is a view over channels-first memory, and the other way round.
    """
    first, last = input_types(x.shape)
    found = call_by_hand(layer, first, {}, x, epsilon)
    for given, of_output in ((x, epsilon), (x.copy("F"), epsilon.copy("F"))):
        other = call_by_hand(layer, last, {}, moved(given, 1, -1), moved(of_output, 1, -1))
        np.testing.assert_array_equal(moved(other.output, -1, 1), found.output)
        np.testing.assert_array_equal(moved(other.d_x, -1, 1), found.d_x)
    # what a layer of images hands on: the channels of a position side by side
    inner = call_by_hand(layer, first, {}, *[moved(moved(a, 1, -1).copy(), -1, 1) for a in (x, epsilon)])
    np.testing.assert_array_equal(inner.output, found.output)
    np.testing.assert_array_equal(inner.d_x, found.d_x)
    assert call_by_hand(layer, first, {}, x, epsilon, wants_input_gradient=False).d_x is None
    return found.output, found.d_x


def moved(array, source, destination):
    return np.moveaxis(array, source, destination)


def rearranged(x, d_y, source):
    """Return (y, dL/dx) where y[index] = x[source(*index)], or 0 where that is None: element by element."""
    y, d_x = np.zeros(d_y.shape), np.zeros(x.shape)
    for index in np.ndindex(*d_y.shape):
        where = source(*index)
        if where is not None:
            y[index] = x[where]
            d_x[where] += d_y[index]
    return y, d_x


def torch_gradient(torch, function, x, d_y):
    """Return (function(x), dL/dx) of PyTorch."""
    given = torch.tensor(x, requires_grad=True)
    y = function(given)
    y.backward(torch.tensor(d_y))
    return y.detach().numpy(), given.grad.numpy()


def feature_gradient_error(layers, kind):
    """Return the relative error of the gradient by the features against a central difference."""
    conf = NeuralNetConfiguration(seed=1, dtype="float64").list(*layers, OutputLayer(n_out=2), input_type=kind)
    net, rng = MultiLayerNetwork(conf).init(), np.random.default_rng(0)
    x, y = rng.standard_normal((3, *kind.example_shape())), np.eye(2)[[0, 1, 1]]
    _, gradient = net.calculate_gradients(x, y)
    direction = rng.standard_normal(x.shape)
    scores = [net.score(x + step * direction, y) * len(x) for step in (1e-6, -1e-6)]
    return abs((scores[0] - scores[1]) / 2e-6 / np.vdot(gradient, direction) - 1)


def same_bits_in_all_modes(layer, shape):
    """Check that training gives the same bits with workspaces and without, first and between two convolutions."""
    for kind in input_types(shape):
        for position in ("first", "middle"):
            results = {mode: _trained(layer, kind, shape, position, mode) for mode in ("NONE", "ENABLED")}
            assert results["NONE"] == results["ENABLED"], (kind, position)


def _trained(layer, kind, shape, position, mode):
    is_series = isinstance(kind, Recurrent)
    convolution = Convolution1DLayer if is_series else ConvolutionLayer
    before = [convolution(n_out=3, kernel_size=2, convolution_mode="same")] if position == "middle" else []
    after = [convolution(n_out=2, kernel_size=1), RnnOutputLayer(n_out=3) if is_series else OutputLayer(n_out=3)]
    options = dict(seed=1, updater="adam", dtype="float64", activation="tanh", strict=True)
    conf = NeuralNetConfiguration(**options, training_workspace_mode=mode, inference_workspace_mode=mode).list(
        *before, layer, *after, input_type=kind
    )
    net, rng = MultiLayerNetwork(conf).init(), np.random.default_rng(0)
    for batch in (4, 4, 1, 7, 4):
        x = rng.standard_normal((batch, *kind.example_shape()))
        places = net.output(x).shape
        labels = rng.random(places)
        net.fit(DataSet(x, labels))
    assert np.isfinite(net.params).all()
    return net.params.tobytes(), net.score(), net.output(x).tobytes()
