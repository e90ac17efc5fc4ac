"""What becomes of masks behind windows, and of the steps and pixels that they leave out."""

import numpy as np
import pytest

from minidl.layers import (
    Convolution1DLayer,
    ConvolutionLayer,
    DepthwiseConvolution2D,
    GlobalPoolingLayer,
    SeparableConvolution2D,
    Subsampling1DLayer,
    SubsamplingLayer,
)
from minidl.workspaces import LayerWorkspaceMgr

PAIR = dict(kernel_size=(1, 2), stride=1, convolution_mode="truncate")
SERIES = dict(kernel_size=2, stride=1, convolution_mode="truncate")
PIXELS, STEPS = [[[0, 0, 1, 0, 0, 0]]], [[0, 0, 1, 0, 0, 0]]


def propagated(layer, mask):
    mask = np.array(mask, np.float32)
    return layer.propagate_mask(mask, workspace_mgr=LayerWorkspaceMgr.no_workspaces())


@pytest.mark.parametrize(
    "layer",
    [
        ConvolutionLayer(n_out=1, **PAIR),
        SubsamplingLayer(**PAIR),
        DepthwiseConvolution2D(**PAIR),
        SeparableConvolution2D(n_out=1, **PAIR),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_pixel_is_there_where_its_window_sees_one(layer):
    np.testing.assert_array_equal(propagated(layer, PIXELS), [[[0, 1, 1, 0, 0]]])


@pytest.mark.parametrize("cls", [Convolution1DLayer, Subsampling1DLayer], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SERIES, [[0, 1, 1, 0, 0]]),
        (SERIES | dict(stride=2), [[0, 1, 0]]),
        (SERIES | dict(padding=1), [[0, 0, 1, 1, 0, 0, 0]]),
        (SERIES | dict(convolution_mode="same"), STEPS),  # every step has one of its own, as in DL4J
        (SERIES | dict(convolution_mode="causal"), STEPS),
        (SERIES | dict(convolution_mode="same", stride=2), [[0, 1, 0]]),
        (SERIES | dict(convolution_mode="causal", stride=2), [[0, 1, 0]]),
        (SERIES | dict(dilation=2), [[1, 0, 1, 0]]),
    ],
)
def test_a_step_is_there_where_its_window_sees_one(cls, options, expected):
    np.testing.assert_array_equal(propagated(cls(**options), STEPS), expected)


@pytest.mark.parametrize(
    "layer", [ConvolutionLayer(n_out=1, **PAIR), Subsampling1DLayer(**SERIES), GlobalPoolingLayer()]
)
@pytest.mark.parametrize("mask", [[1.0, 0.0], [[1.0], [0.0]]])
def test_a_mask_of_examples_stays(layer, mask):
    np.testing.assert_array_equal(propagated(layer, mask), mask)


def test_masks_end_where_places_end():
    assert propagated(GlobalPoolingLayer(), np.ones((2, 5))) is None
    assert propagated(GlobalPoolingLayer(), np.ones((2, 3, 5))) is None
