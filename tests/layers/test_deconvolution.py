"""Deconvolution2D: against loops over every element, and against PyTorch."""

import itertools
import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from convolution_loops import (
    assert_agrees,
    batch,
    bias_gradient,
    close,
    image_network,
    options,
    taken,
    trained_bits,
    with_bias,
)
from gradients import gradient_error
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from test_allocation import workspace_counters

from minidl import DataSet, LayerWorkspaceMgr, MultiLayerConfiguration, MultiLayerNetwork
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers.convolution import ConvolutionLayer
from minidl.layers.deconvolution import Deconvolution2D

PADDED = dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(1, 2), convolution_mode="truncate")


def places(layer, size):
    """Return (size of the output, padding before) of both axes."""
    found = []
    window = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    for extent, kernel, stride, padding, dilation in zip(size, *window, strict=True):
        reach = dilation * (kernel - 1) + 1
        same = getattr(layer.convolution_mode, "value", layer.convolution_mode) == "same"
        out = extent * stride if same else stride * (extent - 1) + reach - 2 * padding
        assume(out > 0)
        found.append((out, max(0, reach - stride) // 2 if same else padding))
    return tuple(zip(*found, strict=True))


def deconvolve(layer, x, weights):
    """Return z[n, o, y, x] = sum of x[n, c, i, j] weights[c, o, u, v] over all that fall there."""
    out, before = places(layer, x.shape[2:])
    z = np.zeros((len(x), weights.shape[1], *out))
    for (i, j), (u, v), (row, column) in taken(layer, out, x.shape[2:], before):
        for n, c, o in itertools.product(range(len(x)), *map(range, weights.shape[:2])):
            z[n, o, row, column] += x[n, c, i, j] * weights[c, o, u, v]
    return z


def deconvolve_gradients(layer, x, weights, d_z):
    """Return (dL/dx, dL/dweights)."""
    out, before = places(layer, x.shape[2:])
    d_x, d_weights = np.zeros(x.shape), np.zeros(weights.shape)
    for (i, j), (u, v), (row, column) in taken(layer, out, x.shape[2:], before):
        for n, c, o in itertools.product(range(len(x)), *map(range, weights.shape[:2])):
            d_x[n, c, i, j] += d_z[n, o, row, column] * weights[c, o, u, v]
            d_weights[c, o, u, v] += d_z[n, o, row, column] * x[n, c, i, j]
    return d_x, d_weights


@example(PADDED, (4, 5), 2, 3, 2, "NCHW", True, True)
@example(PADDED | dict(kernel_size=(1, 1), stride=(1, 1), padding=(2, 0)), (6, 1), 1, 1, 1, "NCHW", False, True)
@settings(max_examples=60)
@given(
    window=options(),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    channels=st.integers(1, 3),
    n_out=st.integers(1, 3),
    examples=st.integers(1, 3),
    format=st.sampled_from(["NCHW", "NHWC"]),
    has_bias=st.booleans(),
    small_blocks=st.booleans(),
)
def test_deconvolution_agrees_with_loops(window, size, channels, n_out, examples, format, has_bias, small_blocks):
    taps = window["kernel_size"][0] * window["kernel_size"][1]
    layer = Deconvolution2D(
        n_out=n_out,
        **window,
        activation="tanh",
        has_bias=has_bias,
        max_window_bytes=8 * size[1] * taps * n_out if small_blocks else None,
    )
    places(layer, size)  # skips what does not fit

    def function(x, params):
        return with_bias(deconvolve(layer, x, params["W"]), params)

    def gradients(x, params, epsilon):
        d_z = epsilon * (1 - function(x, params) ** 2)
        d_x, d_w = deconvolve_gradients(layer, x, params["W"], d_z)
        return d_x, {"W": d_w} | bias_gradient(d_z, params)

    net = image_network([layer], size, channels, format)
    assert_agrees(net, *batch(net, examples), function, gradients, 1e-10)


def of_torch(torch, layer, x, params, epsilon=None):
    tensors = {name: torch.tensor(value.astype(np.float32), requires_grad=True) for name, value in params.items()}
    given = torch.tensor(x.astype(np.float32), requires_grad=True)
    way = dict(stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    out = torch.tanh(torch.nn.functional.conv_transpose2d(given, tensors["W"], tensors["b"], **way))
    if epsilon is None:
        return out.detach().numpy()
    out.backward(torch.tensor(epsilon.astype(np.float32)))
    return given.grad.numpy(), {name: tensor.grad.numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("size", "channels", "n_out", "window"),
    [
        ((14, 13), 16, 8, dict(kernel_size=4, stride=2, padding=1)),
        ((9, 10), 3, 20, dict(kernel_size=(5, 3), stride=(1, 2), padding=(2, 0))),
        ((40, 42), 8, 16, dict(kernel_size=3, stride=2)),  # in blocks of rows
        ((12, 9), 5, 4, dict(kernel_size=(2, 3), dilation=(2, 3), stride=(3, 4), padding=(1, 2))),
    ],
)
def test_float32_agrees_with_pytorch(size, channels, n_out, window):
    """As PyTorch 2.13 computes it."""
    torch = pytest.importorskip("torch")
    layer = Deconvolution2D(n_out=n_out, activation="tanh", **window)
    net = image_network([layer], size, channels, dtype="float32")
    assert_agrees(
        net,
        *batch(net, 4),
        lambda x, params: of_torch(torch, layer, x, params),
        lambda x, params, epsilon: of_torch(torch, layer, x, params, epsilon),
        1e-5,
    )


@pytest.mark.parametrize("mode", ["truncate", "same"])
def test_it_is_the_transpose_of_a_convolution(mode):
    """<convolution(x), y> = <x, deconvolution(y)> for the same weights."""
    window = dict(kernel_size=(3, 4), stride=2, convolution_mode=mode, has_bias=False)
    there = image_network([ConvolutionLayer(n_out=5, **window)], (9, 10) if mode == "truncate" else (8, 10), 3)
    x, _ = batch(there, 2)
    middle = there.feed_forward(x)[1]
    back = image_network([Deconvolution2D(n_out=3, **window)], middle.shape[2:], 5)
    y, _ = batch(back, 2, seed=1)
    back.layers[0].params["W"][...] = there.layers[0].params["W"]
    result = back.feed_forward(y)[1]
    assert result.shape == x.shape
    assert np.vdot(middle, y) == pytest.approx(np.vdot(x, result), rel=1e-12)


# In networks


def layers(**more):
    return [
        Deconvolution2D(n_out=4, kernel_size=3, stride=2, padding=1, activation="relu", **more),
        Deconvolution2D(n_out=3, kernel_size=2, convolution_mode="same", activation="tanh", **more),
    ]


def mixed():
    return [ConvolutionLayer(n_out=4, kernel_size=3, stride=2), *layers(has_bias=False)]


each_kind = pytest.mark.parametrize("make", [layers, mixed])


@each_kind
def test_gradient_agrees_with_a_central_difference(make):
    net = image_network(make(), (7, 6), 3)
    assert gradient_error(net, DataSet(*batch(net, 4))) < 1e-6


@each_kind
def test_workspaces_give_the_same_bits(make):
    expected = trained_bits(make, (7, 6), 3, "NONE", poison=False)
    assert trained_bits(make, (7, 6), 3, "ENABLED", poison=True) == expected


def test_any_strides_of_the_input_give_the_same_bits():
    net = image_network(layers(), (7, 6), 3)
    x, _ = batch(net, 4)
    wide = np.zeros((4, 3, 7, 12))[..., ::2]
    wide[...] = x
    for other in (np.asfortranarray(x), wide, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        before = other.copy()
        close(net.output(other), net.output(x), 0)
        np.testing.assert_array_equal(other, before)


def test_a_network_survives_json():
    net = image_network(mixed(), (7, 6), 3)
    again = MultiLayerNetwork(MultiLayerConfiguration.from_json(net.conf.to_json())).init()
    assert again.layers == net.layers
    assert again.params.tobytes() == net.params.tobytes()


def measure_step(examples):
    net = image_network(mixed(), (20, 20), 3, dtype="float32")
    data = DataSet(*batch(net, examples))
    return gauges(lambda: net.fit(data), counters=workspace_counters)


def test_a_warm_step_takes_no_array_memory(run_under_counter):
    assert_no_allocation(run_under_counter(measure_step, 60), arrays_alive=60)


# Parameters, types and masks


def test_parameters_lie_as_in_dl4j():
    net = image_network([Deconvolution2D(n_out=4, kernel_size=(3, 2), stride=(2, 1))], (5, 6), 3)
    params = net.layers[0].params
    assert {name: view.shape for name, view in params.items()} == {"b": (4,), "W": (3, 4, 3, 2)}
    np.testing.assert_array_equal(net.params[4:76], params["W"].ravel("C"))
    _, weights = net.layers[0].param_specs(net.conf.input_types()[0])
    assert (weights.fan_in, weights.fan_out) == (3 * 6, 4 * 6 // 2)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (dict(kernel_size=3), (7, 8)),
        (dict(kernel_size=3, stride=2, padding=1), (9, 11)),
        (dict(kernel_size=3, stride=2, padding=1, convolution_mode="strict"), (9, 11)),
        (dict(kernel_size=(2, 3), stride=(3, 2), dilation=(2, 1)), (15, 13)),
        (dict(kernel_size=3, stride=(3, 2), convolution_mode="same"), (15, 12)),
    ],
)
def test_output_type_is_the_size_of_the_output(window, expected):
    net = image_network([Deconvolution2D(n_out=4, **window)], (5, 6), 3)
    assert net.conf.input_types()[1].example_shape() == (4, *expected)
    assert net.feed_forward(batch(net, 2)[0])[1].shape == (2, 4, *expected)


def test_defaults_are_those_of_a_convolution():
    layer = Deconvolution2D(n_out=2)
    assert (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == ((5, 5), (1, 1), (0, 0), (1, 1))
    assert repr(image_network([layer], (3, 3), 2).layers[0].activation) == "Identity()"


def test_a_mask_of_pixels_becomes_one_of_what_they_reach():
    net = image_network([Deconvolution2D(n_out=1, kernel_size=2)], (2, 2), 1)
    mask, manager = np.array([[[1.0, 0], [1, 0]]]), LayerWorkspaceMgr.no_workspaces()
    found = net.layers[0].propagate_mask(mask, workspace_mgr=manager)
    np.testing.assert_array_equal(found, [[[1, 1, 0], [1, 1, 0], [1, 1, 0]]])
    per_example = np.ones((4, 1))
    assert net.layers[0].propagate_mask(per_example, workspace_mgr=manager) is per_example


# Bad input


def test_padding_that_leaves_nothing_shows_the_arithmetic():
    message = (
        "Deconvolution2D: width=2, kernel=3, stride=1, padding=2, dilation=1: of the width, 1 x (2 - 1) + 1 x (3 - 1) "
        '+ 1 - 2 x 2 = 0 is left. Use less padding, a larger kernel, stride or dilation, or convolution_mode="same".'
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}(\\n|$)"):
        image_network([Deconvolution2D(n_out=2, kernel_size=3, padding=(0, 2))], (2, 2), 3)


def test_n_in_must_be_the_channels():
    message = (
        "Deconvolution2D: n_in=4, but its input has 3 channels. Set n_in=3, or leave n_in unset to take it from the "
        "input type."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}(\\n|$)"):
        image_network([Deconvolution2D(n_in=4, n_out=2)], (2, 2), 3)


def test_n_out_is_needed():
    message = "Deconvolution2D needs n_out, the number of channels it gives: n_out=20."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}(\\n|$)"):
        image_network([Deconvolution2D()], (2, 2), 3)


def test_causal_is_for_series():
    message = "Deconvolution2D: convolution_mode=CAUSAL is for series. Choose one of: TRUNCATE, STRICT, SAME."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}(\\n|$)"):
        Deconvolution2D(n_out=3, convolution_mode="causal")


def test_a_cap_below_one_row_of_windows_shows_the_arithmetic():
    message = (
        "max_window_bytes=100, but the windows of one output row take 4 positions x 3 x 3 kernel x 2 channels x 8 "
        "bytes = 576. Use max_window_bytes=576 or more, or None for what fits the cache."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}(\\n|$)"):
        image_network([Deconvolution2D(n_out=2, kernel_size=3, max_window_bytes=100)], (4, 4), 3)
