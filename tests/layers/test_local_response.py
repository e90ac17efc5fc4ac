"""LocalResponseNormalization: against loops over every element, and PyTorch 2.13."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers.both_formats import feature_gradient_error, output_and_gradient, same_bits_in_all_modes, torch_gradient

from minidl import InputType, LayerWorkspaceMgr
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import ActivationLayer
from minidl.layers.local_response import LocalResponseNormalization

STRONG = dict(k=1.5, alpha=0.3, beta=0.6)  # so that every term shows


def by_loops(x, d_y, *, k=2.0, n=5, alpha=1e-4, beta=0.75):
    """Return (y, dL/dx) of y_c = x_c / s_c^beta, s_c = k + alpha sum of x_j^2 over |j - c| <= n // 2.

    dy_c / dx_j = s_c^-beta [c = j] - 2 alpha beta x_c x_j s_c^(-beta - 1) [|j - c| <= n // 2]
    """
    y, d_x = np.zeros(x.shape), np.zeros(x.shape)
    channels = x.shape[1]
    for image, c, i, j in np.ndindex(*x.shape):
        at = x[image, :, i, j]
        near = [other for other in range(channels) if abs(other - c) <= n // 2]
        energy = k + alpha * sum(at[other] ** 2 for other in near)
        y[image, c, i, j] = at[c] / energy**beta
        d_x[image, c, i, j] += d_y[image, c, i, j] / energy**beta
        for other in near:
            slope = -2 * alpha * beta * at[c] * at[other] / energy ** (beta + 1)
            d_x[image, other, i, j] += d_y[image, c, i, j] * slope
    return y, d_x


def data(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), rng.standard_normal(shape)


def check(found, expected, rtol=1e-12):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 2, 3), (3, 7, 3, 2)])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5.0, 20])
def test_output_and_gradient_are_those_of_loops(n, shape):
    x, d_y = data(shape)
    check(output_and_gradient(LocalResponseNormalization(n=n, **STRONG), x, d_y), by_loops(x, d_y, n=n, **STRONG))


def test_what_is_not_given_is_as_in_dl4j():
    x, d_y = data((2, 6, 2, 2))
    x *= 100  # or alpha would hardly show
    check(output_and_gradient(LocalResponseNormalization(), x, d_y), by_loops(x, d_y))
    assert LocalResponseNormalization() == LocalResponseNormalization(k=2, n=5, alpha=1e-4, beta=0.75)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)),
    n=st.integers(1, 9),
    k=st.floats(0.1, 3),
    alpha=st.floats(0, 2),
    beta=st.floats(-1, 2),
)
def test_any_options_are_those_of_loops(shape, n, **options):
    x, d_y = data(shape)
    layer = LocalResponseNormalization(n=n, **options)
    check(output_and_gradient(layer, x, d_y), by_loops(x, d_y, n=n, **options), rtol=1e-10)


@pytest.mark.parametrize("channels", [1, 4, 9])
@pytest.mark.parametrize("n", [1, 3, 5, 9])
def test_output_and_gradient_are_those_of_pytorch(n, channels):
    torch = pytest.importorskip("torch")
    options = dict(k=1.5, alpha=0.3 * n, beta=0.6)  # PyTorch divides alpha by n; DL4J and the paper do not
    normalize = lambda t: torch.nn.functional.local_response_norm(t, n, **options)  # noqa: E731
    x, d_y = data((2, channels, 3, 4))
    expected = torch_gradient(torch, normalize, x, d_y)
    check(output_and_gradient(LocalResponseNormalization(n=n, **STRONG), x, d_y), expected)


@pytest.mark.parametrize("channels", [3, 60])
def test_images_larger_than_the_cache(channels):
    """The batch goes through in parts of half a megabyte: here of several images and a rest, or of one."""
    torch = pytest.importorskip("torch")
    normalize = lambda t: torch.nn.functional.local_response_norm(t, 5, alpha=1.5, beta=0.6, k=1.5)  # noqa: E731
    x, d_y = data((11, channels, 44, 44))
    check(output_and_gradient(LocalResponseNormalization(**STRONG), x, d_y), torch_gradient(torch, normalize, x, d_y))


def test_value_that_is_not_a_number_stays_with_its_neighbours():
    x, d_y = data((1, 7, 1, 3))
    clean, gradient = output_and_gradient(LocalResponseNormalization(n=3), x, d_y)
    x[0, 0, 0, 1] = np.nan
    y, d_x = output_and_gradient(LocalResponseNormalization(n=3), x, d_y)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, 0, 0, 1], [0, 1, 0, 1]]
    assert np.argwhere(np.isnan(d_x)).tolist() == [[0, 0, 0, 1], [0, 1, 0, 1], [0, 2, 0, 1]]
    np.testing.assert_array_equal(y[~np.isnan(y)], clean[~np.isnan(y)])
    np.testing.assert_array_equal(d_x[~np.isnan(d_x)], gradient[~np.isnan(d_x)])


def test_modes_give_the_same_bits():
    same_bits_in_all_modes(LocalResponseNormalization(n=3, **STRONG), (4, 2, 3, 2))


@pytest.mark.parametrize("format", ["NCHW", "NHWC"])
def test_gradient_by_the_features_agrees_with_a_central_difference(format):
    layers = [LocalResponseNormalization(n=3, **STRONG), ActivationLayer("tanh")]
    assert feature_gradient_error(layers, InputType.convolutional(3, 4, 5, format)) < 1e-6


@pytest.mark.parametrize("mask", [None, np.ones(2), np.ones((2, 1)), np.ones((2, 3, 4))])
def test_masks_pass(mask):
    manager = LayerWorkspaceMgr.no_workspaces()
    assert LocalResponseNormalization().propagate_mask(mask, workspace_mgr=manager) is mask


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("n", [0, -1, 2.5, "5", None, True, math.inf, math.nan], "a whole number of at least 1"),
        ("k", [0, -1, "2", None, math.inf, math.nan], "a finite number above 0"),
        ("alpha", [-1e-9, "2", None, math.inf, math.nan], "a finite number of at least 0"),
        ("beta", ["2", None, math.inf, math.nan], "a finite number"),
    ],
)
def test_options_that_cannot_be(option, values, expected):
    for value in values:
        message = f"LocalResponseNormalization: {option}={value!r} is not {expected}."
        with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
            LocalResponseNormalization(**{option: value})


def test_input_that_is_not_images():
    message = (
        "LocalResponseNormalization expects images, but its input is Recurrent(size=2, timesteps=7, format='NCW'). Use "
        "InputType.convolutional(height, width, channels), or convolutional_flat for rows of pixels, or put a "
        "FeedForwardToCnnPreProcessor in front."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        LocalResponseNormalization().output_type(InputType.recurrent(2, 7))
