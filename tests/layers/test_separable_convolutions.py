"""DepthwiseConvolution2D and SeparableConvolution2D: against loops over every element, and against PyTorch."""

import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from convolution_loops import (
    assert_agrees,
    batch,
    bias_gradient,
    close,
    depthwise,
    depthwise_gradients,
    image_network,
    options,
    trained_bits,
    with_bias,
)
from gradients import gradient_error
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_allocation import workspace_counters

from minidl import DataSet, LayerWorkspaceMgr, MultiLayerConfiguration, MultiLayerNetwork
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import ActivationLayer
from minidl.layers.convolution import ConvolutionLayer
from minidl.layers.depthwise import DepthwiseConvolution2D
from minidl.layers.separable import SeparableConvolution2D

DRAWN = dict(
    window=options(),
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    channels=st.integers(1, 3),
    multiplier=st.integers(1, 3),
    examples=st.integers(1, 3),
    format=st.sampled_from(["NCHW", "NHWC"]),
    has_bias=st.booleans(),
    small_blocks=st.booleans(),
)
PADDED = dict(kernel_size=(1, 2), stride=(1, 1), padding=(2, 2), dilation=(1, 1), convolution_mode="truncate")


def cap(layer_options, width, channels):
    """Return the least ``max_window_bytes``: a few output rows of an image at a time."""
    kernel = layer_options["kernel_size"]
    return 4 * kernel[0] * kernel[1] * (width + 2 * layer_options["padding"][1]) * channels


@example(PADDED, (5, 5), 2, 1, 2, "NCHW", True, True)  # whole blocks that see padding only
@example(PADDED | {"stride": (3, 3), "kernel_size": (2, 1)}, (8, 8), 3, 2, 1, "NHWC", True, True)
@settings(max_examples=60)
@given(**DRAWN)
def test_depthwise_convolution_agrees_with_loops(
    window, size, channels, multiplier, examples, format, has_bias, small_blocks
):
    layer = DepthwiseConvolution2D(
        **window,
        depth_multiplier=multiplier,
        activation="tanh",
        has_bias=has_bias,
        max_window_bytes=cap(window, size[1], channels) if small_blocks else None,
    )

    def function(x, params):
        return with_bias(depthwise(layer, x, params["W"]), params)

    def gradients(x, params, epsilon):
        d_z = epsilon * (1 - function(x, params) ** 2)
        d_x, d_w = depthwise_gradients(layer, x, params["W"], d_z)
        return d_x, {"W": d_w} | bias_gradient(d_z, params)

    depthwise(layer, np.zeros((1, channels, *size)), np.zeros((*layer.kernel_size, channels, 1)))  # skips what misfits
    net = image_network([layer], size, channels, format)
    assert_agrees(net, *batch(net, examples), function, gradients, 1e-10)


@example(PADDED, (5, 5), 2, 1, 2, "NCHW", True, True)
@settings(max_examples=60)
@given(**DRAWN)
def test_separable_convolution_agrees_with_loops(
    window, size, channels, multiplier, examples, format, has_bias, small_blocks
):
    layer = SeparableConvolution2D(
        n_out=2,
        **window,
        depth_multiplier=multiplier,
        activation="tanh",
        has_bias=has_bias,
        max_window_bytes=cap(window, size[1], channels) if small_blocks else None,
    )

    def function(x, params):
        between = depthwise(layer, x, params["W"].transpose(2, 3, 1, 0))
        return with_bias(np.einsum("nchw,oc->nohw", between, params["pW"][:, :, 0, 0]), params)

    def gradients(x, params, epsilon):
        d_z = epsilon * (1 - function(x, params) ** 2)
        w, pw = params["W"].transpose(2, 3, 1, 0), params["pW"][:, :, 0, 0]
        d_pw = np.einsum("nohw,nchw->oc", d_z, depthwise(layer, x, w))[:, :, np.newaxis, np.newaxis]
        d_x, d_w = depthwise_gradients(layer, x, w, np.einsum("nohw,oc->nchw", d_z, pw))
        return d_x, {"W": d_w.transpose(3, 2, 0, 1), "pW": d_pw} | bias_gradient(d_z, params)

    depthwise(layer, np.zeros((1, channels, *size)), np.zeros((*layer.kernel_size, channels, 1)))
    net = image_network([layer], size, channels, format)
    assert_agrees(net, *batch(net, examples), function, gradients, 1e-10)


# PyTorch


def of_torch(torch, kind, layer, x, params, epsilon=None):
    """Return what PyTorch gives: tanh of the convolution, or (dL/dx, gradients by name) if there is an epsilon."""
    tensors = {name: torch.tensor(value.astype(np.float32), requires_grad=True) for name, value in params.items()}
    given = torch.tensor(x.astype(np.float32), requires_grad=True)
    way = dict(stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    w = tensors["W"].permute(2, 3, 0, 1) if kind == "depthwise" else tensors["W"].permute(1, 0, 2, 3)
    channels, multiplier, *kernel = w.shape
    w = w.reshape(channels * multiplier, 1, *kernel)
    conv2d = torch.nn.functional.conv2d
    if kind == "depthwise":
        z = conv2d(given, w, tensors["b"], groups=channels, **way)
    else:
        z = conv2d(conv2d(given, w, groups=channels, **way), tensors["pW"], tensors["b"])
    out = torch.tanh(z)
    if epsilon is None:
        return out.detach().numpy()
    out.backward(torch.tensor(epsilon.astype(np.float32)))
    return given.grad.numpy(), {name: tensor.grad.numpy() for name, tensor in tensors.items()}


@pytest.mark.parametrize("kind", ["depthwise", "separable"])
@pytest.mark.parametrize(
    ("size", "channels", "window"),
    [
        ((28, 28), 8, dict(kernel_size=3, padding=1)),
        ((28, 28), 8, dict(kernel_size=3, padding=1, depth_multiplier=2)),
        ((31, 30), 3, dict(kernel_size=(5, 3), stride=(2, 1), padding=(2, 0))),
        ((96, 90), 16, dict(kernel_size=3, stride=2, padding=1)),  # in blocks of rows
        ((96, 90), 16, dict(kernel_size=3, dilation=(2, 3), depth_multiplier=2)),
        ((9, 11), 40, dict(kernel_size=(3, 2), stride=(3, 4), dilation=2, padding=2)),
    ],
)
def test_float32_agrees_with_pytorch(kind, size, channels, window):
    """As PyTorch 2.13 computes it."""
    torch = pytest.importorskip("torch")
    options = dict(activation="tanh", **window)
    layer = DepthwiseConvolution2D(**options) if kind == "depthwise" else SeparableConvolution2D(n_out=12, **options)
    net = image_network([layer], size, channels, dtype="float32")
    assert_agrees(
        net,
        *batch(net, 4),
        lambda x, params: of_torch(torch, kind, layer, x, params),
        lambda x, params, epsilon: of_torch(torch, kind, layer, x, params, epsilon),
        1e-5,
    )


# In networks


def stacked(cls, **options):
    """Return layers with one of this kind first, where it gets no input gradient, and one in the middle."""
    first = dict(kernel_size=3, stride=2, padding=1, activation="relu")
    second = dict(kernel_size=2, convolution_mode="same", activation="tanh")
    return [cls(**first, **options), cls(**second, **options)]


KINDS = {
    "depthwise": lambda: stacked(DepthwiseConvolution2D),
    "depthwise, more channels": lambda: stacked(DepthwiseConvolution2D, depth_multiplier=2),
    "separable": lambda: stacked(SeparableConvolution2D, n_out=4),
    "separable, more channels": lambda: stacked(SeparableConvolution2D, n_out=4, depth_multiplier=3),
    "separable, without bias": lambda: stacked(SeparableConvolution2D, n_out=4, has_bias=False),
    "after others": lambda: [
        ConvolutionLayer(n_out=4, kernel_size=3),
        *stacked(SeparableConvolution2D, n_out=3),
        ActivationLayer("swish"),
        *stacked(DepthwiseConvolution2D, depth_multiplier=2),
    ],
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_gradient_agrees_with_a_central_difference(kind):
    net = image_network(KINDS[kind](), (11, 10), 3)
    assert gradient_error(net, DataSet(*batch(net, 4))) < 1e-6


@each_kind
def test_workspaces_give_the_same_bits(kind):
    expected = trained_bits(KINDS[kind], (11, 10), 3, "NONE", poison=False)
    assert trained_bits(KINDS[kind], (11, 10), 3, "ENABLED", poison=True) == expected


@pytest.mark.parametrize("kind", ["depthwise", "separable"])
def test_blocks_of_rows_and_of_images_give_the_same(kind):
    window = dict(kernel_size=3, padding=1, activation="tanh")
    found = []
    for most in (None, 4 * 9 * 18 * 3):
        cls, n_out = (DepthwiseConvolution2D, 3) if kind == "depthwise" else (SeparableConvolution2D, 5)
        net = image_network([cls(n_out=n_out, max_window_bytes=most, **window)], (20, 18), 3)
        x, y = batch(net, 4)
        found.append((net.output(x), *net.calculate_gradients(x, y)[0].values()))
    for one, other in zip(*found, strict=True):
        close(one, other, 1e-12)


def test_any_strides_of_the_input_give_the_same_bits():
    net = image_network(KINDS["separable"](), (11, 10), 3)
    x, _ = batch(net, 4)
    wide = np.zeros((4, 3, 11, 20))[..., ::2]
    wide[...] = x
    for other in (np.asfortranarray(x), wide, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        before = other.copy()
        assert net.output(other).tobytes() == net.output(x).tobytes()
        np.testing.assert_array_equal(other, before)


def test_no_example_looks_at_another():
    net = image_network(KINDS["after others"](), (24, 20), 3)
    x, _ = batch(net, 50)
    whole = net.output(x)
    x[1] = np.nan
    with np.errstate(invalid="ignore"):
        other = net.output(x)
    assert np.isnan(other[1]).all()
    np.testing.assert_array_equal(np.delete(other, 1, 0), np.delete(whole, 1, 0))


@each_kind
def test_a_network_survives_json(kind):
    net = image_network(KINDS[kind](), (11, 10), 3)
    again = MultiLayerNetwork(MultiLayerConfiguration.from_json(net.conf.to_json())).init()
    assert again.layers == net.layers
    assert again.params.tobytes() == net.params.tobytes()


def measure_step(kind, examples):
    net = image_network(KINDS[kind](), (24, 24), 6, dtype="float32")
    data = DataSet(*batch(net, examples))
    return gauges(lambda: net.fit(data), counters=workspace_counters)


@pytest.mark.parametrize("kind", ["depthwise", "depthwise, more channels", "separable", "separable, more channels"])
def test_a_warm_step_takes_no_array_memory(kind, run_under_counter):
    assert_no_allocation(run_under_counter(measure_step, kind, 50), arrays_alive=60)


# Parameters


def test_parameters_lie_as_in_dl4j():
    size = (8, 8)
    net = image_network([DepthwiseConvolution2D(kernel_size=(3, 2), depth_multiplier=4)], size, 5)
    assert {name: view.shape for name, view in net.layers[0].params.items()} == {"b": (20,), "W": (3, 2, 5, 4)}
    np.testing.assert_array_equal(net.params[20:140], net.layers[0].params["W"].ravel("C"))
    net = image_network([SeparableConvolution2D(n_out=6, kernel_size=(3, 2), depth_multiplier=4)], size, 5)
    params = net.layers[0].params
    assert {name: view.shape for name, view in params.items()} == {"b": (6,), "W": (4, 5, 3, 2), "pW": (6, 20, 1, 1)}
    np.testing.assert_array_equal(net.params[6:126], params["W"].ravel("C"))
    np.testing.assert_array_equal(net.params[126:246], params["pW"].ravel("C"))


def test_fans_are_those_of_dl4j():
    window = dict(kernel_size=(5, 4), stride=(2, 1), depth_multiplier=3)
    net = image_network([DepthwiseConvolution2D(**window)], (8, 8), 6)
    _, weights = net.layers[0].param_specs(net.conf.input_types()[0])
    assert (weights.fan_in, weights.fan_out) == (6 * 20, 3 * 20 // 2)
    net = image_network([SeparableConvolution2D(n_out=7, **window)], (8, 8), 6)
    _, weights, pointwise = net.layers[0].param_specs(net.conf.input_types()[0])
    assert (weights.fan_in, weights.fan_out) == (6 * 20, 3 * 20 // 2)
    assert (pointwise.fan_in, pointwise.fan_out) == (18, 18)


def test_defaults_are_those_of_dl4j():
    for layer in (DepthwiseConvolution2D(), SeparableConvolution2D(n_out=3)):
        assert (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == ((5, 5), (1, 1), (0, 0), (1, 1))
        assert (layer.depth_multiplier, layer.has_bias) == (1, True)
        net = image_network([layer], (6, 7), layer.n_out or 3)
        assert repr(net.layers[0].activation) == "Identity()"


def test_output_type_has_the_channels_of_the_layer():
    layers = [DepthwiseConvolution2D(n_out=6, depth_multiplier=2, kernel_size=3), SeparableConvolution2D(n_out=7)]
    kinds = image_network(layers, (9, 8), 3).conf.input_types()
    assert [kind.example_shape() for kind in kinds][1:3] == [(6, 7, 6), (7, 3, 2)]


# Masks


@pytest.mark.parametrize(
    "layer", [DepthwiseConvolution2D(kernel_size=2), SeparableConvolution2D(n_out=2, kernel_size=2)]
)
def test_a_mask_of_pixels_becomes_one_of_positions(layer):
    net = image_network([layer], (3, 3), 2)
    mask, manager = np.zeros((1, 3, 3)), LayerWorkspaceMgr.no_workspaces()
    mask[0, 0, 0] = 1
    found = net.layers[0].propagate_mask(mask, workspace_mgr=manager)
    np.testing.assert_array_equal(found, [[[1, 0], [0, 0]]])
    per_example = np.ones((4, 1))
    assert net.layers[0].propagate_mask(per_example, workspace_mgr=manager) is per_example


# Bad input

NOT_N_IN = "{}: n_in=4, but its input has 3 channels. Set n_in=3, or leave n_in unset to take it from the input type."
NOT_FITTING = (
    "height=4, kernel=5, stride=1, padding=0, dilation=1: the window of 1 x (5 - 1) + 1 = 5 is larger than the padded "
    'height, 4 + 2 x 0 = 4. Use a smaller kernel or dilation, more padding, or convolution_mode="same".'
)
NOT_N_OUT = (
    "{}: n_out=8, but 3 channels x depth_multiplier=2 = 6, as every channel gives so many. Set n_out=6, or leave it "
    "unset."
)
NO_N_OUT = "{} needs n_out, the number of channels it gives: n_out=20."
BAD = [
    (DepthwiseConvolution2D, dict(n_out=8, depth_multiplier=2, kernel_size=2), ShapeError, NOT_N_OUT),
    (DepthwiseConvolution2D, dict(n_in=4, kernel_size=2), ShapeError, NOT_N_IN),
    (DepthwiseConvolution2D, dict(n_in=4, n_out=3, kernel_size=2), ShapeError, NOT_N_IN),
    (SeparableConvolution2D, dict(n_in=4, n_out=3, kernel_size=2), ShapeError, NOT_N_IN),
    (SeparableConvolution2D, dict(kernel_size=2), ConfigurationError, NO_N_OUT),
    (DepthwiseConvolution2D, {}, ShapeError, NOT_FITTING),
    (SeparableConvolution2D, dict(n_out=3), ShapeError, NOT_FITTING),
]


@pytest.mark.parametrize(("cls", "options", "error", "message"), BAD)
def test_what_does_not_fit_is_an_error_that_shows_why(cls, options, error, message):
    expected = re.escape(message.replace("{}", cls.__name__))
    with pytest.raises(error, match=f"^{expected}\\nin layer 0 of 2 \\({cls.__name__}\\)$"):
        image_network([cls(**options)], (4, 9), 3)


@pytest.mark.parametrize("cls", [DepthwiseConvolution2D, SeparableConvolution2D])
@pytest.mark.parametrize("value", [0, -1, 1.5, "two", True, None])
def test_depth_multiplier_must_be_a_positive_number(cls, value):
    message = f"{cls.__name__}: depth_multiplier={value!r} is not a whole number of at least 1."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(n_out=3, depth_multiplier=value)


@pytest.mark.parametrize("cls", [DepthwiseConvolution2D, SeparableConvolution2D])
def test_causal_is_for_series(cls):
    message = f"{cls.__name__}: convolution_mode=CAUSAL is for series. Choose one of: TRUNCATE, STRICT, SAME."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(n_out=3, convolution_mode="causal")
