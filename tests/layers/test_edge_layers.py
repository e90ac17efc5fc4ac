"""Zero padding and cropping: against loops over every element, and PyTorch 2.13."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers.both_formats import (
    feature_gradient_error,
    output_and_gradient,
    rearranged,
    same_bits_in_all_modes,
    torch_gradient,
)

from minidl import DataSet, InputType, LayerWorkspaceMgr, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import ActivationLayer, GlobalPoolingLayer, OutputLayer, RnnOutputLayer
from minidl.layers.edges import Cropping1D, Cropping2D, ZeroPadding1DLayer, ZeroPaddingLayer

FORMS = [  # as given, as (top, bottom, left, right)
    (0, (0, 0, 0, 0)),
    (1, (1, 1, 1, 1)),
    ((2, 1), (2, 2, 1, 1)),
    ([0, 1], (0, 0, 1, 1)),
    ((1, 0, 2, 3), (1, 0, 2, 3)),
    ((0, 2, 0, 0), (0, 2, 0, 0)),
]
SERIES_FORMS = [(0, (0, 0)), (2, (2, 2)), ((1, 3), (1, 3)), ([0, 1], (0, 1)), ((2, 0), (2, 0))]


def padded(x, d_y, sides):
    """Return (y, dL/dx) of padding by (top, bottom, left, right), element by element."""
    height, width = x.shape[2:]

    def source(n, c, i, j):
        row, column = i - sides[0], j - sides[2]
        return (n, c, row, column) if 0 <= row < height and 0 <= column < width else None

    return rearranged(x, d_y, source)


def cropped(x, d_y, sides):
    """Return (y, dL/dx) of cropping by (top, bottom, left, right), element by element."""
    return rearranged(x, d_y, lambda n, c, i, j: (n, c, i + sides[0], j + sides[2]))


def padded_by_torch(torch, x, d_y, sides):
    """Return the same of PyTorch, which crops where a side is negative."""
    top, bottom, left, right = sides
    pad = lambda t: torch.nn.functional.pad(t, (left, right, top, bottom))  # noqa: E731
    return torch_gradient(torch, pad, x, d_y)


def images(shape, change=(0, 0, 0, 0), seed=0):
    """Return x and dL/dy, for an output that is larger by these sides."""
    rng = np.random.default_rng(seed)
    batch, channels, height, width = shape
    out = batch, channels, height + change[0] + change[1], width + change[2] + change[3]
    return rng.standard_normal(shape), rng.standard_normal(out)


def check(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# Against the references: elements are moved and never computed with, so all bits are the same


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 4, 2), (3, 2, 5, 6)])
@pytest.mark.parametrize(("padding", "sides"), FORMS)
def test_zero_padding_is_that_of_loops(padding, sides, shape):
    x, d_y = images(shape, sides)
    check(output_and_gradient(ZeroPaddingLayer(padding), x, d_y), padded(x, d_y, sides))


@pytest.mark.parametrize("shape", [(1, 1, 5, 6), (3, 2, 7, 8)])
@pytest.mark.parametrize(("cropping", "sides"), FORMS)
def test_cropping_is_that_of_loops(cropping, sides, shape):
    x, d_y = images(shape, [-side for side in sides])
    check(output_and_gradient(Cropping2D(cropping), x, d_y), cropped(x, d_y, sides))


@pytest.mark.parametrize(("option", "sides"), FORMS)
def test_zero_padding_and_cropping_are_those_of_pytorch(option, sides):
    torch = pytest.importorskip("torch")
    for layer, change in ((ZeroPaddingLayer(option), sides), (Cropping2D(option), [-side for side in sides])):
        x, d_y = images((2, 3, 6, 7), change)
        check(output_and_gradient(layer, x, d_y), padded_by_torch(torch, x, d_y, change))


@given(
    sides=st.tuples(*[st.integers(0, 3)] * 4),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
)
def test_any_sides_are_those_of_loops(sides, shape):
    x, d_y = images(shape, sides)
    check(output_and_gradient(ZeroPaddingLayer(sides), x, d_y), padded(x, d_y, sides))
    check(output_and_gradient(Cropping2D(sides), d_y, x), cropped(d_y, x, sides))


@pytest.mark.parametrize("shape", [(1, 1, 5), (3, 2, 6)])
@pytest.mark.parametrize(("given", "ends"), SERIES_FORMS)
def test_series_are_images_of_one_row(given, ends, shape):
    sides = (0, 0, *ends)
    x, d_y = images((*shape[:2], 1, shape[2]), sides)
    for layer, (a, b), reference in ((ZeroPadding1DLayer, (x, d_y), padded), (Cropping1D, (d_y, x), cropped)):
        found = output_and_gradient(layer(given), a[:, :, 0], b[:, :, 0])
        check([each[:, :, np.newaxis] for each in found], reference(a, b, sides))


def test_cropping_undoes_padding():
    x, _ = images((2, 3, 4, 5))
    y, _ = output_and_gradient(ZeroPaddingLayer((1, 2, 3, 4)), x, images((2, 3, 7, 12))[0])
    np.testing.assert_array_equal(output_and_gradient(Cropping2D((1, 2, 3, 4)), y, x)[0], x)


def test_what_is_not_given():
    assert (ZeroPaddingLayer().padding, Cropping2D().cropping) == ((1, 1), (0, 0))
    assert (ZeroPadding1DLayer().padding, Cropping1D().cropping) == ((1, 1), (0, 0))
    assert ZeroPaddingLayer(padding=(1.0, 2)) == ZeroPaddingLayer([1, 2])


# In networks


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ZeroPaddingLayer((1, 0, 2, 3)), (4, 2, 3, 4)),
        (Cropping2D((1, 0, 0, 2)), (4, 2, 5, 4)),
        (ZeroPadding1DLayer((2, 1)), (4, 2, 5)),
        (Cropping1D((0, 2)), (4, 2, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_modes_give_the_same_bits(layer, shape):
    same_bits_in_all_modes(layer, shape)


@pytest.mark.parametrize("format", ["NCHW", "NHWC"])
def test_gradient_by_the_features_agrees_with_a_central_difference(format):
    layers = [ZeroPaddingLayer((0, 1)), ActivationLayer("tanh"), Cropping2D((1, 0, 0, 2))]
    assert feature_gradient_error(layers, InputType.convolutional(4, 3, 2, format)) < 1e-6


def test_series_of_any_length():
    layers = [ZeroPadding1DLayer((2, 1)), Cropping1D((0, 1)), RnnOutputLayer(n_out=2)]
    conf = NeuralNetConfiguration(seed=1, dtype="float64").list(*layers, input_type=InputType.recurrent(3))
    net = MultiLayerNetwork(conf).init()
    for steps in (1, 4, 2):
        x = np.random.default_rng(steps).standard_normal((2, 3, steps))
        activations = net.feed_forward(x)
        np.testing.assert_array_equal(activations[2], np.pad(x, ((0, 0), (0, 0), (2, 0))))


# Masks


@pytest.mark.parametrize(
    ("layer", "mask", "expected"),
    [
        (ZeroPadding1DLayer((1, 2)), [[1, 0, 0.5], [1, 1, 0]], [[0, 1, 0, 0.5, 0, 0], [0, 1, 1, 0, 0, 0]]),
        (Cropping1D((1, 0)), [[1, 0, 0.5], [1, 1, 0]], [[0, 0.5], [1, 0]]),
        (ZeroPaddingLayer((1, 0, 0, 2)), [[[1, 0.5]], [[0, 1]]], [[[0] * 4, [1, 0.5, 0, 0]], [[0] * 4, [0, 1, 0, 0]]]),
        (Cropping2D((0, 1, 1, 0)), [[[0, 1], [1, 0]], [[1, 0.5], [1, 1]]], [[[1]], [[0.5]]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_added_is_masked_and_what_is_cut_off_is_gone(layer, mask, expected, dtype):
    mask = np.array(mask, dtype)
    given = mask.copy()
    found = layer.propagate_mask(mask, workspace_mgr=LayerWorkspaceMgr.no_workspaces())
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == mask.dtype
    np.testing.assert_array_equal(mask, given)


@pytest.mark.parametrize("layer", [ZeroPadding1DLayer(1), Cropping1D(1), ZeroPaddingLayer(1), Cropping2D(1)])
@pytest.mark.parametrize("mask", [None, np.array([1.0, 0.0]), np.array([[1.0], [0.0]])])
def test_masks_of_whole_examples_pass(layer, mask):
    assert layer.propagate_mask(mask, workspace_mgr=LayerWorkspaceMgr.no_workspaces()) is mask


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_padded_steps_do_not_count_behind_a_mask(mode):
    layers = [ZeroPadding1DLayer((3, 1)), GlobalPoolingLayer(pooling_type="avg"), OutputLayer(n_out=2)]
    conf = NeuralNetConfiguration(seed=1, dtype="float64", training_workspace_mode=mode)
    net = MultiLayerNetwork(conf.list(*layers, input_type=InputType.recurrent(2, 4))).init()
    rng = np.random.default_rng(0)
    x, y, mask = rng.standard_normal((3, 2, 4)), np.eye(2)[[0, 1, 1]], np.array([[1, 1, 0, 1], [1, 0, 0, 0], [1] * 4])
    means = (x * mask[:, np.newaxis]).sum(axis=2) / mask.sum(axis=1, keepdims=True)
    z = means @ net.param_table()["2_W"] + net.param_table()["2_b"]
    expected = -(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))[y == 1].mean()
    assert net.score(DataSet(x, y, mask)) == pytest.approx(expected, rel=1e-12)


# Options and inputs that cannot be

IMAGE_FORMS = "a whole number, (height, width) or (top, bottom, left, right), each at least 0."
STEP_FORMS = "a whole number or (left, right), each at least 0."
NOT_OF_IMAGES = [-1, 1.5, "all", None, True, (), (1,) * 3, (1,) * 5, (1, -2), (1, 0.5), (0, 0, 0, -1), (1, "2")]
NOT_OF_SERIES = [-1, 1.5, "all", None, True, (), (1,) * 3, (1,) * 4, (1, -2), (1, 0.5), np.array([1, 2])]


@pytest.mark.parametrize(
    ("cls", "option", "value", "expected"),
    [
        (cls, name, v, IMAGE_FORMS)
        for cls, name in ((ZeroPaddingLayer, "padding"), (Cropping2D, "cropping"))
        for v in NOT_OF_IMAGES
    ]
    + [
        (cls, name, v, STEP_FORMS)
        for cls, name in ((ZeroPadding1DLayer, "padding"), (Cropping1D, "cropping"))
        for v in NOT_OF_SERIES
    ],
)
def test_options_that_cannot_be(cls, option, value, expected):
    message = f"{cls.__name__}: {option}={value!r} is not {expected}"
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(value)


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (
            Cropping2D((3, 3, 0, 0)),
            InputType.convolutional(6, 4, 2),
            "Cropping2D: cropping=(3, 3, 0, 0) of height=6 leaves 6 - 3 - 3 = 0. Cut off less.",
        ),
        (
            Cropping2D((0, 3)),
            InputType.convolutional(6, 5, 2, "NHWC"),
            "Cropping2D: cropping=(0, 3) of width=5 leaves 5 - 3 - 3 = -1. Cut off less.",
        ),
        (
            Cropping1D(4),
            InputType.recurrent(2, 7),
            "Cropping1D: cropping=(4, 4) of timesteps=7 leaves 7 - 4 - 4 = -1. Cut off less.",
        ),
        (
            ZeroPaddingLayer(1),
            InputType.recurrent(2, 7),
            "ZeroPaddingLayer expects images, but its input is Recurrent(size=2, timesteps=7, format='NCW'). Use "
            "InputType.convolutional(height, width, channels), or convolutional_flat for rows of pixels, or put a "
            "FeedForwardToCnnPreProcessor in front.",
        ),
        (
            Cropping1D(1),
            InputType.feed_forward(4),
            "Cropping1D expects series, but its input is FeedForward(size=4). Use InputType.recurrent(size, "
            "timesteps).",
        ),
    ],
)
def test_inputs_that_do_not_fit(layer, kind, message):
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        layer.output_type(kind)


def test_series_shorter_than_what_is_cut_off():
    conf = NeuralNetConfiguration(seed=1).list(
        Cropping1D((2, 1)), RnnOutputLayer(n_out=2), input_type=InputType.recurrent(3)
    )
    net = MultiLayerNetwork(conf).init()
    assert net.output(np.zeros((1, 3, 4))).shape == (1, 2, 1)
    message = "Cropping1D: cropping=(2, 1) of timesteps=3 leaves 3 - 2 - 1 = 0. Cut off less."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}\nin layer 0 of 2 "):
        net.output(np.zeros((1, 3, 3)))
