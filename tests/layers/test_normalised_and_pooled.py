"""BatchNormalization, GlobalPoolingLayer and the losses of series and images against loops, and against PyTorch 2.13.

Loops in float64 to 1e-10, PyTorch in float32 to 1e-5 of the largest value, over drawn sizes, formats and batch 1.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.called_by_hand import call_by_hand

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import (
    BatchNormalization,
    CnnLossLayer,
    Convolution1DLayer,
    ConvolutionLayer,
    GlobalPoolingLayer,
    RnnLossLayer,
    RnnOutputLayer,
)

PLACES = st.one_of(
    st.tuples(), st.tuples(st.integers(1, 6)), st.tuples(st.integers(1, 4), st.integers(1, 4))
)  # of vectors, series and images


class Drawn(NamedTuple):
    """The sizes of an input, its format and the seed of its numbers."""

    places: tuple[int, ...]
    channels: int
    examples: int
    is_last: bool
    seed: int

    @property
    def shape(self):
        """Return the shape with the channels along axis 1."""
        return self.examples, self.channels, *self.places

    @property
    def input_type(self):
        if not self.places:
            return InputType.feed_forward(self.channels)
        if len(self.places) == 1:
            return InputType.recurrent(self.channels, self.places[0], "NWC" if self.is_last else "NCW")
        return InputType.convolutional(*self.places, self.channels, "NHWC" if self.is_last else "NCHW")

    def of_network(self, array):
        return np.moveaxis(array, 1, -1) if self.is_last else array

    def channels_first(self, array):
        return np.moveaxis(array, -1, 1) if self.is_last else array


def drawn(places=PLACES, least_examples=1):
    return st.builds(
        Drawn, places, st.integers(1, 4), st.integers(least_examples, 4), st.booleans(), st.integers(0, 99)
    )


WITH_PLACES = drawn(PLACES.filter(bool))
EXACT, FLOAT32 = (np.float64, 1e-10), (np.float32, 1e-5)


def called(layer, drawn, params, x, epsilon, dtype, mask=None):
    """Return the output, dL/dx (channels along axis 1, as x and epsilon have them) and the gradients of a layer."""
    given_x, given_epsilon = (drawn.of_network(array).astype(dtype) for array in (x, epsilon))
    call = call_by_hand(layer, drawn.input_type, params, given_x, given_epsilon, mask=mask)
    return drawn.channels_first(call.output), drawn.channels_first(call.d_x), call.gradients


def close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


# Batch normalisation


def normalised(x, gamma, beta, epsilon, eps):
    """Return y, dL/dx, dL/dgamma and dL/dbeta, element by element: of y by every x of its channel."""
    y, d_x, d_gamma, d_beta = np.zeros(x.shape), np.zeros(x.shape), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for c in range(x.shape[1]):
        values, errors = x[:, c].reshape(-1), epsilon[:, c].reshape(-1)
        count, mean = len(values), sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / count
        unit = [(v - mean) / (variance + eps) ** 0.5 for v in values]
        slopes = np.zeros(count)
        for i, j in itertools.product(range(count), repeat=2):
            own = 1.0 if i == j else 0.0
            slopes[j] += errors[i] * gamma[c] * (own - 1 / count - unit[i] * unit[j] / count) / (variance + eps) ** 0.5
        y[:, c] = (gamma[c] * np.array(unit) + beta[c]).reshape(x[:, c].shape)
        d_x[:, c] = slopes.reshape(x[:, c].shape)
        d_gamma[c], d_beta[c] = sum(e * u for e, u in zip(errors, unit, strict=True)), sum(errors)
    return y, d_x, d_gamma, d_beta


def batch_normalised(drawn, dtype, eps):
    """Return what the layer gives for drawn data, and the data."""
    rng, channels = np.random.default_rng(drawn.seed), drawn.channels
    x = rng.normal(1.0, 2.0, drawn.shape)
    epsilon, gamma, beta = rng.standard_normal(x.shape), *rng.standard_normal((2, channels))
    params = {"gamma": gamma, "beta": beta, "mean": np.zeros(channels), "log10stdev": np.zeros(channels)}
    y, d_x, gradients = called(BatchNormalization(eps=eps), drawn, params, x, epsilon, dtype)
    return (y, d_x, gradients["gamma"], gradients["beta"]), (x, gamma, beta, epsilon)


@settings(max_examples=150)
@given(drawn=drawn())
def test_batch_normalisation_agrees_with_loops(drawn):
    found, data = batch_normalised(drawn, np.float64, 1e-3)
    for ours, expected in zip(found, normalised(*data, 1e-3), strict=True):
        close(ours, expected, 1e-10)


@settings(max_examples=100)
@given(drawn=drawn(least_examples=2))  # PyTorch refuses one value per channel
def test_batch_normalisation_agrees_with_pytorch(torch, drawn):
    found, (x, gamma, beta, epsilon) = batch_normalised(drawn, np.float32, 1e-2)
    tensors = [torch.tensor(array.astype(np.float32), requires_grad=True) for array in (x, gamma, beta)]
    y = torch.nn.functional.batch_norm(tensors[0], None, None, *tensors[1:], training=True, eps=1e-2)
    y.backward(torch.tensor(epsilon.astype(np.float32)))
    for ours, expected in zip(found, (y.detach(), *(tensor.grad for tensor in tensors)), strict=True):
        close(ours, expected.numpy(), 1e-5)


# Global pooling


def pooled(values, kind, p, d_y):
    """Return (y, dL/dx) of the values of one channel that are there."""
    if not len(values):
        return 0.0, np.zeros(0)
    if kind == "max":
        return values.max(), d_y * (np.arange(len(values)) == values.argmax())
    if kind == "pnorm":
        y = (np.abs(values) ** p).sum() ** (1 / p)
        return y, d_y * np.sign(values) * (np.abs(values) / y) ** (p - 1)
    divisor = len(values) if kind == "avg" else 1
    return values.sum() / divisor, np.full(len(values), d_y / divisor)


@settings(max_examples=200)
@given(
    drawn=WITH_PLACES,
    kind=st.sampled_from(["max", "avg", "sum", "pnorm"]),
    p=st.sampled_from([1, 2, 3]),
    masked=st.booleans(),
    ties=st.booleans(),
)
def test_global_pooling_agrees_with_loops(drawn, kind, p, masked, ties):
    rng, (examples, channels, *places) = np.random.default_rng(drawn.seed), drawn.shape
    x = rng.standard_normal(drawn.shape)
    x = np.round(x) + 0.5 if ties else x
    epsilon = rng.standard_normal((examples, channels))
    mask = rng.integers(0, 2, (examples, *places)).astype(float) if masked else None
    y, d_x = np.zeros((examples, channels)), np.zeros(x.shape)
    for n, c in itertools.product(range(examples), range(channels)):
        there = np.ones(places, bool) if mask is None else mask[n] > 0
        y[n, c], d_x[n, c][there] = pooled(x[n, c][there], kind, p, epsilon[n, c])
    layer = GlobalPoolingLayer(pooling_type=kind, pnorm=p)
    output, gradient, _ = called(layer, drawn, {}, x, epsilon, np.float64, mask)
    close(output, y, 1e-10)
    close(gradient, d_x, 1e-10)


@settings(max_examples=100)
@given(drawn=WITH_PLACES, kind=st.sampled_from(["max", "avg", "sum", "pnorm"]))
def test_global_pooling_agrees_with_pytorch(torch, drawn, kind):
    rng = np.random.default_rng(drawn.seed)
    x, epsilon = rng.standard_normal(drawn.shape), rng.standard_normal(drawn.shape[:2])
    output, gradient, _ = called(GlobalPoolingLayer(pooling_type=kind), drawn, {}, x, epsilon, np.float32)
    tensor = torch.tensor(x.astype(np.float32), requires_grad=True)
    rows = tensor.reshape(*drawn.shape[:2], -1)
    y = {
        "max": lambda: rows.max(dim=2).values,
        "avg": lambda: rows.mean(dim=2),
        "sum": lambda: rows.sum(dim=2),
        "pnorm": lambda: torch.linalg.vector_norm(rows, dim=2),
    }[kind]()
    y.backward(torch.tensor(epsilon.astype(np.float32)))
    close(output, y.detach().numpy(), 1e-5)
    close(gradient, tensor.grad.numpy(), 1e-5)


# Losses of series and images: a layer of 1 x 1 in front shows the gradient of the input, too


def softmax_losses(x, layers, y, mask):
    """Return the score and the gradients of W and b of a 1 x 1 convolution ``layers``, position by position."""
    weights, bias = layers
    score, d_w, d_b = 0.0, np.zeros(weights.shape), np.zeros(bias.shape)
    for n, *place in itertools.product(range(len(x)), *map(range, x.shape[2:])):
        at = (n, slice(None), *place)
        z = weights @ x[at] + bias
        p = np.exp(z) / np.exp(z).sum()
        there = 1.0 if mask is None else mask[(n, *place)]
        score -= there * (y[at] * np.log(p)).sum()
        d_w += there * np.outer(p - y[at], x[at])
        d_b += there * (p - y[at])
    return score, d_w, d_b


@settings(max_examples=60)
@given(drawn=WITH_PLACES, classes=st.integers(2, 4), masked=st.booleans(), dense=st.booleans())
@pytest.mark.parametrize(("dtype", "tolerance"), [EXACT, FLOAT32], ids=["loops_in_float64", "in_float32"])
def test_losses_agree_with_loops(dtype, tolerance, drawn, classes, masked, dense):
    rng, (examples, channels, *places) = np.random.default_rng(drawn.seed), drawn.shape
    if len(places) == 2:
        layers = [ConvolutionLayer(n_out=classes, kernel_size=1), CnnLossLayer(activation="softmax")]
    elif dense:
        layers = [RnnOutputLayer(n_out=classes)]
    else:
        layers = [Convolution1DLayer(n_out=classes, kernel_size=1), RnnLossLayer(activation="softmax")]
    conf = NeuralNetConfiguration(seed=1, dtype=np.dtype(dtype).name).list(*layers, input_type=drawn.input_type)
    net = MultiLayerNetwork(conf).init()
    x = rng.standard_normal(drawn.shape)
    y = np.moveaxis(np.eye(classes)[rng.integers(0, classes, (examples, *places))], -1, 1)
    mask = rng.random((examples, *places)) if masked else None
    params = net.layers[0].params
    weights = params["W"].T if params["W"].ndim == 2 else params["W"].reshape(classes, channels)
    expected = softmax_losses(x, (weights.astype(float), params["b"].astype(float)), y, mask)
    data = DataSet(drawn.of_network(x), drawn.of_network(y), labels_mask=mask)
    score = net.compute_gradient_and_score(data) * examples
    close(score, expected[0], tolerance)
    d_w = expected[1].T.reshape(-1, order="F") if dense and len(places) == 1 else expected[1].reshape(-1)
    order = (d_w, expected[2]) if dense and len(places) == 1 else (expected[2], d_w)
    close(net.gradient, np.concatenate(order), tolerance)
