"""Convolution as plain loops over every element, and networks to compare with it. All of images (n, c, h, w)."""

import itertools

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import OutputLayer
from minidl.training import Adam
from minidl.workspaces import workspace_manager

__all__ = [
    "CLASSES",
    "assert_agrees",
    "batch",
    "bias_gradient",
    "close",
    "depthwise",
    "depthwise_gradients",
    "edges",
    "image_network",
    "options",
    "taken",
    "trained_bits",
    "with_bias",
]

CLASSES = 3
MODES = ("truncate", "strict", "same")


@st.composite
def options(draw):
    """Draw what every window has: kernel, stride, padding, dilation, mode, as fields of a layer."""
    pair = lambda low, high: draw(st.tuples(st.integers(low, high), st.integers(low, high)))  # noqa: E731
    mode = draw(st.sampled_from(MODES))
    return dict(
        kernel_size=pair(1, 3),
        stride=pair(1, 3),
        padding=(0, 0) if mode == "same" else pair(0, 2),
        dilation=pair(1, 2),
        convolution_mode=mode,
    )


def edges(size, kernel, stride, padding, dilation, mode):
    """Return (positions, padding before) along an axis of so many elements; skip a draw that does not fit."""
    reach = dilation * (kernel - 1) + 1
    if mode == "same":
        positions = (size + stride - 1) // stride
        return positions, max(0, (positions - 1) * stride + reach - size) // 2
    space = size + 2 * padding - reach
    assume(space >= 0 and (mode != "strict" or space % stride == 0))
    return space // stride + 1, padding


def window_of(layer, size):
    """Return (positions, padding before) of both axes."""
    mode = getattr(layer.convolution_mode, "value", layer.convolution_mode)
    along = zip(size, layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True)
    return tuple(zip(*(edges(*each, mode) for each in along), strict=True))


def taken(layer, size, positions, before):
    """Yield ((i, j), (u, v), (y, x)): position, element of the kernel, element of the image that it falls on."""
    for i, j, u, v in itertools.product(*map(range, (*positions, *layer.kernel_size))):
        y = i * layer.stride[0] + u * layer.dilation[0] - before[0]
        x = j * layer.stride[1] + v * layer.dilation[1] - before[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            yield (i, j), (u, v), (y, x)


def depthwise(layer, x, weights):
    """Return z[n, c m' + m, i, j] = sum x[n, c, y, x] weights[u, v, c, m], m' being the multiplier."""
    channels, multiplier = weights.shape[2:]
    size = x.shape[2:]
    positions, before = window_of(layer, size)
    z = np.zeros((len(x), channels * multiplier, *positions))
    for (i, j), (u, v), (row, column) in taken(layer, size, positions, before):
        for n, c, m in itertools.product(range(len(x)), range(channels), range(multiplier)):
            z[n, c * multiplier + m, i, j] += x[n, c, row, column] * weights[u, v, c, m]
    return z


def depthwise_gradients(layer, x, weights, d_z):
    """Return (dL/dx, dL/dweights) of ``depthwise``."""
    channels, multiplier = weights.shape[2:]
    size = x.shape[2:]
    positions, before = window_of(layer, size)
    d_x, d_weights = np.zeros(x.shape), np.zeros(weights.shape)
    for (i, j), (u, v), (row, column) in taken(layer, size, positions, before):
        for n, c, m in itertools.product(range(len(x)), range(channels), range(multiplier)):
            d_x[n, c, row, column] += d_z[n, c * multiplier + m, i, j] * weights[u, v, c, m]
            d_weights[u, v, c, m] += d_z[n, c * multiplier + m, i, j] * x[n, c, row, column]
    return d_x, d_weights


def with_bias(z, params):
    """Return tanh(z + b), or tanh z where there is no bias."""
    return np.tanh(z + params["b"].reshape(1, -1, 1, 1) if "b" in params else z)


def bias_gradient(d_z, params):
    """Return dL/db by name, nothing where there is no bias."""
    return {"b": d_z.sum((0, 2, 3))} if "b" in params else {}


def image_network(layers, size, channels, format="NCHW", mode="ENABLED", dtype="float64"):
    """Return a network of these layers and a softmax, for images (channels, *size)."""
    configuration = NeuralNetConfiguration(
        seed=1,
        updater=Adam(0.01),
        dtype=dtype,
        bias_init=0.3,
        training_workspace_mode=mode,
        inference_workspace_mode=mode,
        strict=True,
    )
    last = OutputLayer(n_out=CLASSES, activation="softmax", loss="mcxent")
    kind = InputType.convolutional(*size, channels, format)
    return MultiLayerNetwork(configuration.list(*layers, last, input_type=kind)).init()


def batch(net, examples, seed=0):
    """Return images and one-hot labels that ``net`` takes."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, *net.conf.input_types()[0].example_shape()))
    return x.astype(net.params.dtype), np.eye(CLASSES, dtype=net.params.dtype)[rng.integers(0, CLASSES, examples)]


def assert_agrees(net, x, y, function, gradients, tolerance):
    """Check the first layer's output and all its gradients, in a network of it and a softmax.

    ``function(x, params)`` returns its activations, and ``gradients(x, params, epsilon)`` dL/dx and those by name.
    """
    params = {name: array.astype(float) for name, array in net.layers[0].params.items()}
    last = {name: array.astype(float) for name, array in net.layers[-1].params.items()}
    is_last = net.conf.input_types()[0].format == "NHWC"
    images = (x.transpose(0, 3, 1, 2) if is_last else x).astype(float)
    logical = lambda a: a.transpose(0, 2, 3, 1) if is_last else a  # noqa: E731
    a = function(images, params)
    close(net.feed_forward(x)[1], logical(a), tolerance)
    scores = logical(a).reshape(len(x), -1) @ last["W"] + last["b"]
    p = np.exp(scores - scores.max(1, keepdims=True))
    d_scores = p / p.sum(1, keepdims=True) - y
    epsilon = (d_scores @ last["W"].T).reshape(logical(a).shape)
    d_x, expected = gradients(images, params, epsilon.transpose(0, 3, 1, 2) if is_last else epsilon)
    found, by_features = net.calculate_gradients(x, y)
    close(by_features, logical(d_x), tolerance)
    assert set(expected) == set(params)
    for name, value in expected.items():
        close(found[f"0_{name}"], value, tolerance)


def close(found, expected, tolerance):
    """Check that two arrays agree, relative to the largest element where that is above 1."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max(initial=0)))


def trained_bits(make, size, channels, mode, poison):
    """Return the bytes of the parameters and of an output after several fits of different batches."""
    net = image_network(make(), size, channels, mode=mode, dtype="float32")
    before = workspace_manager.poison_recycled_memory
    workspace_manager.poison_recycled_memory = poison
    try:
        for step in range(12):
            net.fit(*batch(net, (5, 5, 2, 1, 7, 40)[step % 6], step))
        return net.params.tobytes(), net.output(batch(net, 4)[0]).tobytes()
    finally:
        workspace_manager.poison_recycled_memory = before
