"""Layers that add, cut off, repeat and rearrange pixels, and LocalResponseNormalization, against NumPy and PyTorch.

Their gradients, modes and memory are in the contract of all layers. PyTorch 2.13.
"""

import re

import numpy as np
import pytest

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import (
    ConvolutionLayer,
    Cropping1D,
    Cropping2D,
    GlobalPoolingLayer,
    LocalResponseNormalization,
    SpaceToDepthLayer,
    Upsampling2D,
    ZeroPadding1DLayer,
    ZeroPaddingLayer,
)
from minidl.workspaces import LayerWorkspaceMgr

RNG = np.random.default_rng(0)
IMAGES, SERIES = RNG.standard_normal((3, 2, 6, 4)), RNG.standard_normal((3, 2, 7))


def outputs(layer, x):
    """Return the output for x, channels first, of networks for both formats, channels first."""
    found = []
    for format, last in (("NCHW", False), ("NHWC", True)) if x.ndim == 4 else (("NCW", False), ("NWC", True)):
        kind = (
            InputType.convolutional(*x.shape[2:], x.shape[1], format)
            if x.ndim == 4
            else InputType.recurrent(x.shape[1], x.shape[2], format)
        )
        conf = NeuralNetConfiguration(dtype="float64").list(layer, input_type=kind)
        y = MultiLayerNetwork(conf).init().output(np.moveaxis(x, 1, -1) if last else x)
        assert y.shape[1:] == conf.input_types()[-1].example_shape()
        found.append(np.moveaxis(y, -1, 1) if last else y)
    return found


def space_to_depth(x, block):
    batch, channels, height, width = x.shape
    y = np.empty((batch, channels * block * block, height // block, width // block))
    for row in range(block):
        for column in range(block):
            start = (row * block + column) * channels
            y[:, start : start + channels] = x[:, :, row::block, column::block]
    return y


CASES = {
    "one padding": (ZeroPaddingLayer(2), lambda: np.pad(IMAGES, ((0, 0), (0, 0), (2, 2), (2, 2)))),
    "padding by axis": (ZeroPaddingLayer((1, 2)), lambda: np.pad(IMAGES, ((0, 0), (0, 0), (1, 1), (2, 2)))),
    "padding by side": (ZeroPaddingLayer((1, 2, 3, 0)), lambda: np.pad(IMAGES, ((0, 0), (0, 0), (1, 2), (3, 0)))),
    "padding unless told": (ZeroPaddingLayer(), lambda: np.pad(IMAGES, ((0, 0), (0, 0), (1, 1), (1, 1)))),
    "one cropping": (Cropping2D(1), lambda: IMAGES[:, :, 1:-1, 1:-1]),
    "cropping by axis": (Cropping2D((2, 1)), lambda: IMAGES[:, :, 2:-2, 1:-1]),
    "cropping by side": (Cropping2D((1, 2, 3, 0)), lambda: IMAGES[:, :, 1:-2, 3:]),
    "cropping unless told": (Cropping2D(), lambda: IMAGES),
    "padding of series": (ZeroPadding1DLayer((2, 1)), lambda: np.pad(SERIES, ((0, 0), (0, 0), (2, 1)))),
    "padding of both ends": (ZeroPadding1DLayer(), lambda: np.pad(SERIES, ((0, 0), (0, 0), (1, 1)))),
    "cropping of series": (Cropping1D((0, 3)), lambda: SERIES[:, :, :-3]),
    "cropping of both ends": (Cropping1D(2), lambda: SERIES[:, :, 2:-2]),
    "upsampling": (Upsampling2D((2, 3)), lambda: IMAGES.repeat(2, axis=2).repeat(3, axis=3)),
    "upsampling unless told": (Upsampling2D(), lambda: IMAGES.repeat(2, axis=2).repeat(2, axis=3)),
    "space to depth": (SpaceToDepthLayer(), lambda: space_to_depth(IMAGES, 2)),
    "nothing": (SpaceToDepthLayer(1), lambda: IMAGES),
}


@pytest.mark.parametrize("name", CASES, ids=lambda name: name.replace(" ", "_"))
def test_output_in_both_formats(name):
    layer, expected = CASES[name]
    x = SERIES if expected().ndim == 3 else IMAGES
    for y in outputs(layer, x):
        np.testing.assert_array_equal(y, expected())


@pytest.mark.parametrize("n", [1, 3, 5, 9])
@pytest.mark.parametrize("channels", [1, 4])
def test_local_response_is_that_of_pytorch(n, channels):
    functional = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    x = RNG.standard_normal((2, channels, 3, 4))
    options = dict(k=1.5, alpha=0.3, beta=0.6)
    given = torch.tensor(x)
    # PyTorch divides alpha by n, DL4J and the paper do not
    expected = functional.local_response_norm(given, n, alpha=0.3 * n, beta=0.6, k=1.5).numpy()
    for y in outputs(LocalResponseNormalization(n=n, **options), x):
        np.testing.assert_allclose(y, expected, rtol=1e-12)


def test_local_response_is_its_formula():
    x = RNG.standard_normal((1, 5, 1, 1))
    y = np.empty(5)
    for c in range(5):
        energy = sum(x[0, j, 0, 0] ** 2 for j in range(max(0, c - 2), min(4, c + 2) + 1))
        y[c] = x[0, c, 0, 0] / (2 + 1e-4 * energy) ** 0.75
    np.testing.assert_allclose(outputs(LocalResponseNormalization(), x)[0][0, :, 0, 0], y, rtol=1e-14)


@pytest.mark.parametrize(
    ("layer", "mask", "expected"),
    [
        (ZeroPadding1DLayer((1, 2)), [[1, 0, 1]], [[0, 1, 0, 1, 0, 0]]),
        (Cropping1D((1, 0)), [[1, 0, 1]], [[0, 1]]),
        (ZeroPaddingLayer(1), [[[1.0, 1.0]]], [[[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]]),
        (Cropping2D((0, 0, 1, 0)), [[[0, 1], [1, 0]]], [[[1], [0]]]),
        (Upsampling2D((1, 2)), [[[0, 1]]], [[[0, 0, 1, 1]]]),
        (SpaceToDepthLayer(2), [[[0, 0, 0, 0], [0, 1, 0, 0]]], [[[1, 0]]]),
        (ConvolutionLayer(n_out=1, kernel_size=(1, 2), convolution_mode="truncate"), [[[0, 0, 1, 0]]], [[[0, 1, 1]]]),
        *[(layer, [[1.0], [0.0]], [[1], [0]]) for layer in (ZeroPadding1DLayer(), Cropping1D(1), Upsampling2D())],
        (GlobalPoolingLayer(), [[1.0], [0.0]], [[1], [0]]),
    ],
)
def test_masks(layer, mask, expected):
    mask = np.array(mask, np.float32)
    found = layer.propagate_mask(mask, workspace_mgr=LayerWorkspaceMgr.no_workspaces())
    np.testing.assert_array_equal(found, expected)


def test_masks_end_where_places_end():
    manager = LayerWorkspaceMgr.no_workspaces()
    assert GlobalPoolingLayer().propagate_mask(np.ones((2, 5)), workspace_mgr=manager) is None
    assert GlobalPoolingLayer().propagate_mask(None, workspace_mgr=manager) is None


SIDES = "(height, width) or (top, bottom, left, right), each at least 0."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZeroPaddingLayer(-1), f"ZeroPaddingLayer: padding=-1 is not a whole number, {SIDES}"),
        (lambda: ZeroPaddingLayer((1, 2, 3)), f"ZeroPaddingLayer: padding=(1, 2, 3) is not a whole number, {SIDES}"),
        (lambda: Cropping2D("all"), f"Cropping2D: cropping='all' is not a whole number, {SIDES}"),
        (
            lambda: Cropping1D((1, 2, 3, 4)),
            "Cropping1D: cropping=(1, 2, 3, 4) is not a whole number or (left, right), each at least 0.",
        ),
        (
            lambda: Upsampling2D((0, 1)),
            "Upsampling2D: size=(0, 1) is not a whole number of at least 1, or 2 of them, such as (2, 2).",
        ),
        (lambda: SpaceToDepthLayer(1.5), "SpaceToDepthLayer: block_size=1.5 is not a whole number of at least 1."),
        (
            lambda: LocalResponseNormalization(n=0),
            "LocalResponseNormalization: n=0 is not a whole number of at least 1.",
        ),
        (
            lambda: LocalResponseNormalization(k=0),
            "LocalResponseNormalization: k=0 is not a finite number above 0.",
        ),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (
            Cropping2D((3, 3, 0, 0)),
            InputType.convolutional(6, 4, 2),
            "Cropping2D: cropping=(3, 3, 0, 0) of height=6 leaves 6 - 3 - 3 = 0. Cut off less.",
        ),
        (
            Cropping1D(4),
            InputType.recurrent(2, 7),
            "Cropping1D: cropping=(4, 4) of timesteps=7 leaves 7 - 4 - 4 = -1. Cut off less.",
        ),
        (
            SpaceToDepthLayer(4),
            InputType.convolutional(8, 6, 2),
            "SpaceToDepthLayer: block_size=4 does not divide width=6: 6 / 4 = 1.5. Use another block size, or crop or "
            "pad the images in front of it.",
        ),
        (
            Upsampling2D(),
            InputType.recurrent(2, 7),
            "Upsampling2D expects images, but its input is Recurrent(size=2, timesteps=7, format='NCW'). Use "
            "InputType.convolutional(height, width, channels), or convolutional_flat for rows of pixels, or put a "
            "FeedForwardToCnnPreProcessor in front.",
        ),
        (
            ZeroPadding1DLayer(),
            InputType.feed_forward(4),
            "ZeroPadding1DLayer expects series, but its input is FeedForward(size=4). Use InputType.recurrent(size, "
            "timesteps).",
        ),
    ],
)
def test_inputs_that_do_not_fit(layer, kind, message):
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}\nin layer 0 of 1 "):
        NeuralNetConfiguration().list(layer, input_type=kind)


def test_series_that_are_too_short_for_what_is_cut_off():
    conf = NeuralNetConfiguration().list(Cropping1D(4), input_type=InputType.recurrent(2))
    net = MultiLayerNetwork(conf).init()
    message = "Cropping1D: cropping=(4, 4) of timesteps=7 leaves 7 - 4 - 4 = -1. Cut off less."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}\nin layer 0 of 1 "):
        net.output(np.zeros((1, 2, 7)))
