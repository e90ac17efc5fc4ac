"""The random slopes of RReLU."""

import math
import re

import numpy as np
import pytest

from minidl.errors import ConfigurationError
from minidl.functions import LeakyReLU, RReLU, Tanh

Z = np.random.default_rng(6).standard_normal((200, 300))


def trained(rule, z, seed=0):
    """Return (a, slopes) of a training pass."""
    out, slope = np.full_like(z, np.nan), np.full_like(z, np.nan)
    assert rule.training_forward(z, kept=slope, out=out, rng=np.random.default_rng(seed)) is out
    return out, slope


def forward(rule, z):
    return rule.forward(z, out=np.empty_like(z))


@pytest.mark.parametrize(
    ("lower", "upper"),
    [(-0.1, 0.2), (0.3, 0.2), (0.1, math.inf), (math.nan, 0.5), (0.1, math.nan), ("x", 0.2), (0.1, None)],
)
def test_bounds_of_random_slopes(lower, upper):
    message = (
        f"RReLU(lower={lower!r}, upper={upper!r}) has no range of slopes. "
        f"Choose finite bounds with 0 <= lower <= upper."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        RReLU(lower=lower, upper=upper)


def test_output_is_input_times_slope():
    for z in (Z, Z.astype(np.float32)):
        a, slope = trained(RReLU(), z)
        assert a.dtype == slope.dtype == z.dtype
        np.testing.assert_array_equal(a, z * slope)
        np.testing.assert_array_equal(RReLU().backward(slope, np.ones_like(z), out=np.empty_like(z)), slope)


@pytest.mark.parametrize(("lower", "upper"), [(1 / 8, 1 / 3), (0.0, 2.0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_are_uniform_below_zero_and_1_above(lower, upper, dtype):
    z = Z.astype(dtype)
    slope = trained(RReLU(lower=lower, upper=upper), z)[1]
    np.testing.assert_array_equal(slope[z > 0], 1)
    drawn = (slope[z < 0].astype(float) - lower) / (upper - lower)
    assert -1e-6 <= drawn.min() < 1e-3 < 1 - 1e-3 < drawn.max() <= 1 + 1e-6
    assert abs(drawn.mean() - 0.5) < 5 * math.sqrt(1 / 12 / drawn.size)
    assert abs(drawn.var() - 1 / 12) < 5 / 12 * math.sqrt(0.8 / drawn.size)  # kurtosis 1.8


def test_one_slope_for_all_is_leaky_relu():
    a, _ = trained(RReLU(lower=0.3, upper=0.3), Z)
    np.testing.assert_allclose(a, forward(LeakyReLU(alpha=0.3), Z), rtol=1e-15)


def test_inference_takes_the_mean_slope():
    np.testing.assert_array_equal(forward(RReLU(0.1, 0.5), Z), forward(LeakyReLU(alpha=0.3), Z))


def test_draws_are_a_function_of_the_generator_and_not_of_the_layout():
    a, slope = trained(RReLU(), Z)
    for empty in (lambda: np.empty((300, 200)).T, lambda: np.empty((400, 600))[::2, ::-2]):
        options = {"kept": empty(), "out": empty(), "rng": np.random.default_rng(0)}
        assert RReLU().training_forward(np.asfortranarray(Z), **options) is options["out"]
        np.testing.assert_array_equal(options["out"], a)
        np.testing.assert_array_equal(options["kept"], slope)
    assert (trained(RReLU(), Z, seed=1)[1] != slope)[Z < 0].mean() > 0.999


def test_old_memory_is_not_read():
    dirty = lambda shape, dtype: np.full(shape, 99, dtype)  # noqa: E731
    kept, out = np.full_like(Z, np.nan), np.full_like(Z, np.nan)
    RReLU().training_forward(Z, kept=kept, out=out, rng=np.random.default_rng(0), empty=dirty)
    np.testing.assert_array_equal(out, trained(RReLU(), Z)[0])


def test_other_activations_have_none():
    message = (
        "Tanh draws no random numbers. Use forward(), in training too, or set draws = True and write "
        "training_forward()."
    )
    z = np.zeros((2, 3))
    with pytest.raises(NotImplementedError, match=re.escape(message)):
        Tanh().training_forward(z, kept=z, out=z, rng=np.random.default_rng(0))
