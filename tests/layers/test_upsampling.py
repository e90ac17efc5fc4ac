"""Upsampling and space to depth: against loops over every element, and PyTorch 2.13."""

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

from minidl import InputType, LayerWorkspaceMgr
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import ActivationLayer
from minidl.layers.upsampling import SpaceToDepthLayer, Upsampling2D

SIZES = [(2, (2, 2)), (1, (1, 1)), ((1, 2), (1, 2)), ([3, 1], (3, 1)), ((2, 4), (2, 4))]


def repeated(x, d_y, size):
    """Return (y, dL/dx) of upsampling, element by element."""
    return rearranged(x, d_y, lambda n, c, i, j: (n, c, i // size[0], j // size[1]))


def blocks_as_channels(x, d_y, block):
    """Return (y, dL/dx) of space to depth, element by element: the order of channels is TensorFlow's."""
    channels = x.shape[1]

    def source(n, c, i, j):
        place, channel = divmod(c, channels)
        row, column = divmod(place, block)
        return n, channel, i * block + row, j * block + column

    return rearranged(x, d_y, source)


def upsampling_data(shape, size):
    rng = np.random.default_rng(0)
    batch, channels, height, width = shape
    return rng.standard_normal(shape), rng.standard_normal((batch, channels, height * size[0], width * size[1]))


def blocks_data(shape, block):
    """Return x and dL/dy for an output with these (batch, channels of x, height, width)."""
    rng = np.random.default_rng(0)
    batch, channels, height, width = shape
    x = rng.standard_normal((batch, channels, height * block, width * block))
    return x, rng.standard_normal((batch, channels * block * block, height, width))


def check_upsampling(found, expected):
    """Repeating changes no bit; the sums of the gradient may be in another order."""
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-13, atol=1e-14)


def check_blocks(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 4, 2), (3, 2, 3, 5)])
@pytest.mark.parametrize(("size", "pair"), SIZES)
def test_upsampling_is_that_of_loops(size, pair, shape):
    x, d_y = upsampling_data(shape, pair)
    check_upsampling(output_and_gradient(Upsampling2D(size), x, d_y), repeated(x, d_y, pair))


@given(size=st.tuples(st.integers(1, 4), st.integers(1, 4)), shape=SHAPES)
def test_any_upsampling_is_that_of_loops(size, shape):
    x, d_y = upsampling_data(shape, size)
    check_upsampling(output_and_gradient(Upsampling2D(size), x, d_y), repeated(x, d_y, size))


@pytest.mark.parametrize(("size", "pair"), SIZES)
def test_upsampling_is_that_of_pytorch(size, pair):
    torch = pytest.importorskip("torch")
    nearest = lambda t: torch.nn.functional.interpolate(t, scale_factor=pair, mode="nearest")  # noqa: E731
    x, d_y = upsampling_data((2, 3, 4, 5), pair)
    check_upsampling(output_and_gradient(Upsampling2D(size), x, d_y), torch_gradient(torch, nearest, x, d_y))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 2, 1), (3, 2, 3, 2)])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_space_to_depth_is_that_of_loops(block, shape):
    x, d_y = blocks_data(shape, block)
    check_blocks(output_and_gradient(SpaceToDepthLayer(block), x, d_y), blocks_as_channels(x, d_y, block))


@pytest.mark.parametrize("block", [1, 2, 3])
def test_space_to_depth_is_that_of_pytorch(block):
    torch = pytest.importorskip("torch")
    x, d_y = blocks_data((2, 3, 2, 4), block)

    def place_first(t):
        """PyTorch has all places of a block for the first channel, then for the next: here it is the other way."""
        y = torch.nn.functional.pixel_unshuffle(t, block)
        return y.reshape(2, 3, block * block, 2, 4).transpose(1, 2).reshape(y.shape)

    check_blocks(output_and_gradient(SpaceToDepthLayer(block), x, d_y), torch_gradient(torch, place_first, x, d_y))


def test_channels_of_space_to_depth_by_hand():
    x = np.array([[[[11, 12], [13, 14]], [[21, 22], [23, 24]]]], float)  # two channels of 2 x 2
    y, _ = output_and_gradient(SpaceToDepthLayer(), x, np.zeros((1, 8, 1, 1)))
    assert y.ravel().tolist() == [11, 21, 12, 22, 13, 23, 14, 24]


@pytest.mark.parametrize("channels", [1, 40])
def test_images_larger_than_the_cache(channels):
    """The gradient is summed in parts of half a megabyte: here of several images and a rest, or of one."""
    x, d_y = upsampling_data((9, channels, 28, 28), (3, 2))
    check_upsampling(output_and_gradient(Upsampling2D((3, 2)), x, d_y), _repeated_by_numpy(x, d_y, 3, 2))


def _repeated_by_numpy(x, d_y, rows, columns):
    batch, channels, height, width = x.shape
    d_x = d_y.reshape(batch, channels, height, rows, width, columns).sum(axis=(3, 5))
    return x.repeat(rows, axis=2).repeat(columns, axis=3), d_x


@pytest.mark.parametrize(
    ("layer", "shape"), [(Upsampling2D((2, 3)), (4, 2, 3, 2)), (SpaceToDepthLayer(2), (4, 2, 4, 6))]
)
def test_modes_give_the_same_bits(layer, shape):
    same_bits_in_all_modes(layer, shape)


@pytest.mark.parametrize("format", ["NCHW", "NHWC"])
def test_gradient_by_the_features_agrees_with_a_central_difference(format):
    layers = [Upsampling2D((2, 1)), ActivationLayer("tanh"), SpaceToDepthLayer(2)]
    assert feature_gradient_error(layers, InputType.convolutional(3, 4, 2, format)) < 1e-6


# Masks


@pytest.mark.parametrize(
    ("layer", "mask", "expected"),
    [
        (Upsampling2D((1, 2)), [[[0, 1]], [[0.5, 0]]], [[[0, 0, 1, 1]], [[0.5, 0.5, 0, 0]]]),
        (Upsampling2D((2, 1)), [[[0, 1], [1, 0]]], [[[0, 1], [0, 1], [1, 0], [1, 0]]]),
        (SpaceToDepthLayer(2), [[[0, 0, 0, 0.5], [0, 1, 0.2, 0]], [[0] * 4, [0] * 4]], [[[1, 0.5]], [[0, 0]]]),
        (SpaceToDepthLayer(1), [[[0, 1], [1, 0]]], [[[0, 1], [1, 0]]]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masks_of_pixels(layer, mask, expected, dtype):
    mask = np.array(mask, dtype)
    given = mask.copy()
    found = layer.propagate_mask(mask, workspace_mgr=LayerWorkspaceMgr.no_workspaces())
    np.testing.assert_array_equal(found, np.array(expected, dtype))
    assert found.dtype == mask.dtype
    np.testing.assert_array_equal(mask, given)


@pytest.mark.parametrize("layer", [Upsampling2D(), SpaceToDepthLayer()])
@pytest.mark.parametrize("mask", [None, np.array([1.0, 0.0]), np.array([[1.0], [0.0]])])
def test_masks_of_whole_examples_pass(layer, mask):
    assert layer.propagate_mask(mask, workspace_mgr=LayerWorkspaceMgr.no_workspaces()) is mask


# Options and inputs that cannot be


def test_what_is_not_given():
    assert Upsampling2D() == Upsampling2D((2, 2)) == Upsampling2D(size=2) == Upsampling2D([2.0, 2])
    assert SpaceToDepthLayer() == SpaceToDepthLayer(2) == SpaceToDepthLayer(block_size=2.0)


@pytest.mark.parametrize("size", [0, -1, 1.5, "2", None, True, (), (2,), (0, 1), (2, 2, 2)])
def test_sizes_that_cannot_be(size):
    message = f"Upsampling2D: size={size!r} is not a whole number of at least 1, or 2 of them, such as (2, 2)."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        Upsampling2D(size)


@pytest.mark.parametrize("block_size", [0, -1, 1.5, "2", None, True, (2, 2)])
def test_block_sizes_that_cannot_be(block_size):
    message = f"SpaceToDepthLayer: block_size={block_size!r} is not a whole number of at least 1."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        SpaceToDepthLayer(block_size)


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (
            SpaceToDepthLayer(4),
            InputType.convolutional(8, 6, 2),
            "SpaceToDepthLayer: block_size=4 does not divide width=6: 6 / 4 = 1.5. Use another block size, or crop or "
            "pad the images in front of it.",
        ),
        (
            SpaceToDepthLayer(3),
            InputType.convolutional(7, 6, 2, "NHWC"),
            "SpaceToDepthLayer: block_size=3 does not divide height=7: 7 / 3 = 2.333. Use another block size, or crop "
            "or pad the images in front of it.",
        ),
        (
            Upsampling2D(),
            InputType.recurrent(2, 7),
            "Upsampling2D expects images, but its input is Recurrent(size=2, timesteps=7, format='NCW'). Use "
            "InputType.convolutional(height, width, channels), or convolutional_flat for rows of pixels, or put a "
            "FeedForwardToCnnPreProcessor in front.",
        ),
    ],
)
def test_inputs_that_do_not_fit(layer, kind, message):
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        layer.output_type(kind)
