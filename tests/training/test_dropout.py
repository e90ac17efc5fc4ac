"""Dropout and its relatives: masks, statistics, derivatives, determinism, options, no allocation."""

import inspect
import json
import math
import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl.errors import ConfigurationError, ShapeError
from minidl.serialization import from_data, to_data
from minidl.training import (
    DROPOUTS,
    AlphaDropout,
    BaseDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout,
    dropout,
)
from minidl.training.dropout import drop_mask

EVERY = [Dropout(0.7), AlphaDropout(0.8), GaussianDropout(0.3), GaussianNoise(0.5), SpatialDropout(0.6)]
INACTIVE = [Dropout(1), AlphaDropout(1), GaussianDropout(0), GaussianNoise(0), SpatialDropout(1)]

each_rule = pytest.mark.parametrize("rule", EVERY, ids=repr)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def mask(keep, shape=(500, 400), dtype="float32", seed=0):
    out = np.full(shape, np.nan, dtype)
    assert drop_mask(keep, np.random.default_rng(seed), out=out) is out
    return out


@each_dtype
@pytest.mark.parametrize("keep", [0.01, 0.25, 0.5, 0.9, 0.999])
def test_elements_are_0_or_the_inverse_of_the_probability_to_keep(keep, dtype):
    drawn = mask(keep, dtype=dtype)
    assert drawn.dtype == dtype
    assert set(np.unique(drawn)) == {np.dtype(dtype).type(0), np.dtype(dtype).type(1 / keep)}
    deviation = math.sqrt(keep * (1 - keep) / drawn.size)
    assert abs(np.count_nonzero(drawn) / drawn.size - keep) < 5 * deviation
    assert abs(drawn.mean(dtype=float) - 1) < 5 * deviation / keep


@each_dtype
def test_rows_and_columns_are_independent(dtype):
    kept = mask(0.5, dtype=dtype) > 0
    for lines in (kept, kept.T):
        agreement = [np.mean(lines[i] == lines[i + 1]) for i in range(len(lines) - 1)]
        assert abs(np.mean(agreement) - 0.5) < 5 * 0.5 / math.sqrt(lines.size)


@each_dtype
@pytest.mark.parametrize("distance", [1, 2, 100])
def test_probability_next_to_1(distance, dtype):
    keep = 1 - distance * float(np.finfo(dtype).eps)
    drawn = mask(keep, dtype=dtype)
    assert set(np.unique(drawn)) <= {0, np.dtype(dtype).type(1 / keep)}
    assert np.count_nonzero(drawn) >= drawn.size - 5


def test_probability_1_keeps_everything():
    np.testing.assert_array_equal(mask(1.0), 1)


@each_dtype
def test_draws_at_the_ends_of_their_range(dtype):
    class Ends:
        def random(self, *, out, dtype):
            out[:] = [0, 0.5, 1 - np.finfo(dtype).epsneg]

    for keep, kept in (
        (1e-3, [0, 0, 1]),
        (0.5, [0, 1, 1]),
        (1 - 1e-3, [0, 1, 1]),
        (1 - 1e-12, [0, 1, 1]),
        (1, [1, 1, 1]),
    ):
        expected = np.array(kept, dtype) / np.dtype(dtype).type(keep)
        if dtype == "float32" and keep == 1 - 1e-12:
            expected[0] = 1  # such a keep is 1 in float32
        np.testing.assert_allclose(drop_mask(keep, Ends(), out=np.empty(3, dtype)), expected, rtol=1e-6)


def test_mask_is_a_function_of_the_generator():
    np.testing.assert_array_equal(mask(0.5, seed=3), mask(0.5, seed=3))
    assert np.mean(mask(0.5, seed=3) == mask(0.5, seed=4)) < 0.6


@each_dtype
def test_output_and_gradient_are_multiplied_by_the_mask(dtype, rng):
    x, epsilon = rng.standard_normal((2, 50, 4)).astype(dtype)
    out, noise = forward(Dropout(0.8), x)
    np.testing.assert_array_equal(noise, mask(0.8, x.shape, dtype))
    np.testing.assert_array_equal(out, x * noise)
    expected = epsilon * noise
    Dropout(0.8).backward(epsilon, noise=noise)
    np.testing.assert_array_equal(epsilon, expected)


def forward(rule, x, *, seed=0, **options):
    """Return (out, noise), and check that ``x`` stays as it is."""
    before = x.copy()
    out, noise = (np.full(x.shape, np.nan, x.dtype) for _ in range(2))
    rule.forward(x, out=out, noise=noise, rng=np.random.default_rng(seed), **options)
    np.testing.assert_array_equal(x, before)
    return out, noise


def standard_normal(shape=(400, 500), dtype="float64", seed=9):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def test_every_class_has_a_name_and_an_example():
    built_in = {cls for cls in subclasses(BaseDropout) if cls.__module__.startswith("minidl.")}
    concrete = {cls for cls in built_in if not inspect.isabstract(cls)}
    assert concrete == set(DROPOUTS.values()) == {type(rule) for rule in EVERY} == {type(rule) for rule in INACTIVE}


@each_dtype
@pytest.mark.parametrize("keep", [0.3, 0.8])
def test_dropout_is_the_mask_of_before(keep, dtype):
    x = standard_normal(dtype=dtype)
    out, noise = forward(Dropout(keep), x, seed=5)
    np.testing.assert_array_equal(noise, mask(keep, x.shape, dtype, seed=5))
    np.testing.assert_array_equal(out, x * noise)


@each_dtype
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.95])
def test_alpha_dropout_preserves_mean_0_and_variance_1(keep, dtype):
    out, noise = forward(AlphaDropout(keep), standard_normal(dtype=dtype))
    assert abs(out.mean(dtype=float)) < 5 / math.sqrt(out.size)
    fourth_moment = np.mean(out.astype(float) ** 4)
    assert abs(out.astype(float).var() - 1) < 5 * math.sqrt((fourth_moment - 1) / out.size)
    assert abs(np.count_nonzero(noise) / out.size - keep) < 5 * math.sqrt(keep * (1 - keep) / out.size)


def test_alpha_dropout_in_numbers():
    """p = 0.5: a = 1 / sqrt(0.5 + 1.7580993408473766^2 / 4), b = a 1.7580993408473766 / 2, by a calculator."""
    a, b = 0.8864048946659319, 0.7791939305180315
    x = standard_normal((4, 5))
    out, noise = forward(AlphaDropout(0.5), x)
    kept = noise > 0
    assert 0 < np.count_nonzero(kept) < kept.size
    np.testing.assert_allclose(noise[kept], a, rtol=1e-12)
    np.testing.assert_allclose(out[kept], a * x[kept] + b, rtol=1e-12)
    np.testing.assert_allclose(out[~kept], -a * 1.7580993408473766 + b, rtol=1e-12)


@each_dtype
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_gaussian_dropout_has_noise_of_mean_1(rate, dtype):
    x = standard_normal(dtype=dtype)
    out, noise = forward(GaussianDropout(rate), x)
    np.testing.assert_array_equal(out, x * noise)
    assert_normal(noise, 1, rate / (1 - rate))


@each_dtype
@pytest.mark.parametrize("stddev", [0.1, 3])
def test_gaussian_noise_is_added(stddev, dtype):
    x = standard_normal(dtype=dtype)
    out, noise = forward(GaussianNoise(stddev), x)
    np.testing.assert_array_equal(out, x + noise)
    assert_normal(noise, 0, stddev**2)


def assert_normal(values, mean, variance):
    """Mean, variance and the share within one standard deviation, within five standard errors."""
    values = values.astype(float)
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / values.size)
    assert abs(values.var() - variance) < 5 * variance * math.sqrt(2 / values.size)
    within = np.mean(np.abs(values - mean) < math.sqrt(variance))
    assert abs(within - 0.6827) < 5 * math.sqrt(0.6827 * 0.3173 / values.size)


@each_dtype
@pytest.mark.parametrize(
    ("shape", "axis"), [((40, 50, 6), 1), ((40, 6, 50), 2), ((40, 50, 3, 4), 1), ((40, 3, 4, 50), -1)]
)
def test_spatial_dropout_drops_whole_channels(shape, axis, dtype):
    x = standard_normal(shape, dtype)
    out, noise = forward(SpatialDropout(0.6), x, channel_axis=axis)
    np.testing.assert_array_equal(out, x * noise)
    channels = np.moveaxis(noise, axis, 1).reshape(40, 50, -1)
    np.testing.assert_array_equal(channels, np.broadcast_to(channels[..., :1], channels.shape))
    drawn = channels[..., 0]
    assert set(np.unique(drawn)) == {0, np.dtype(dtype).type(1 / 0.6)}
    assert abs(np.count_nonzero(drawn) / drawn.size - 0.6) < 5 * math.sqrt(0.6 * 0.4 / drawn.size)


def test_spatial_dropout_needs_channels():
    assert [rule for rule in EVERY if rule.needs_channels] == [SpatialDropout(0.6)]
    message = (
        "SpatialDropout drops whole channels, but its input has shape (3, 4); rank 3 or more was expected. Use "
        "Dropout for vectors."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        forward(SpatialDropout(0.5), np.ones((3, 4)))


@each_rule
def test_backward_is_the_derivative(rule):
    x, epsilon, direction = (standard_normal((6, 5, 4), seed=seed) for seed in range(3))
    step = 1e-5 * direction
    above, below = (np.vdot(forward(rule, moved)[0], epsilon) for moved in (x + step, x - step))
    noise = forward(rule, x)[1]
    gradient = epsilon.copy()
    rule.backward(gradient, noise=noise if rule.keeps_noise else np.full_like(noise, np.nan))
    np.testing.assert_allclose(np.vdot(gradient, direction), (above - below) / 2e-5, rtol=1e-8)


@each_rule
def test_input_may_have_any_strides(rule):
    x = standard_normal((6, 5, 4))
    expected = forward(rule, x)
    for layout in (np.asfortranarray(x), x.transpose(1, 2, 0).copy().transpose(2, 0, 1), np.repeat(x, 2, 2)[..., ::2]):
        np.testing.assert_array_equal(forward(rule, layout), expected)
    x.flags.writeable = False
    np.testing.assert_array_equal(forward(rule, x), expected)


@each_rule
def test_result_is_a_function_of_the_generator(rule):
    x = standard_normal((6, 5, 4), "float32")
    np.testing.assert_array_equal(forward(rule, x, seed=3), forward(rule, x, seed=3))
    assert (forward(rule, x, seed=3)[0] != forward(rule, x, seed=4)[0]).any()


@each_dtype
@pytest.mark.parametrize("rule", INACTIVE, ids=repr)
def test_inactive_rules_change_nothing(rule, dtype):
    assert not rule.is_active
    x = standard_normal((6, 5, 4), dtype)
    np.testing.assert_allclose(forward(rule, x)[0], x, rtol=1e-6, atol=1e-6)


@each_rule
def test_json_round_trip(rule):
    assert rule.is_active
    assert from_data(json.loads(json.dumps(to_data(rule))), [BaseDropout]) == rule


@pytest.mark.parametrize("value", [0.8, np.float32(0.5), 1])
def test_number_is_the_probability_to_keep(value):
    rule = dropout(value)
    assert rule == Dropout(float(value))
    assert type(rule.probability) is float


@each_rule
def test_object_is_itself(rule):
    assert dropout(rule) is rule


KEEP = "is not in (0, 1]. It is the probability to keep {}; 1 means no dropout."


@pytest.mark.parametrize("value", [0, -0.5, 1.5, math.nan, math.inf, np.float64(2), 10**400])
def test_number_outside_of_its_range(value):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(f'dropout={value!r} ' + KEEP.format('an element'))}$"):
        dropout(value)


@pytest.mark.parametrize("value", ["0.5", "dropout", None, True, int, BaseDropout, np.array([0.5])])
def test_what_is_no_dropout(value):
    message = (
        f"dropout={value!r} is no dropout. Give the probability to keep an element, such as 0.8, or an object, such "
        "as Dropout(0.8)."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        dropout(value)


@pytest.mark.parametrize("cls", DROPOUTS.values())
def test_a_class_without_brackets(cls):
    name = cls.__name__
    message = f"dropout=<class 'minidl.training.dropout.{name}'> is a class. Make an object of it, such as {name}(0.8)."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        dropout(cls)
    assert dropout(cls(0.8)) == cls(0.8)


RATE = "is not in [0, 1). The noise has variance rate / (1 - rate); 0 means no noise."
STDDEV = "is not a finite number of at least 0. 0 means no noise."


@pytest.mark.parametrize(
    ("cls", "value", "message"),
    [
        (Dropout, 0, f"Dropout: probability=0 {KEEP.format('an element')}"),
        (Dropout, "0.5", f"Dropout: probability='0.5' {KEEP.format('an element')}"),
        (Dropout, True, f"Dropout: probability=True {KEEP.format('an element')}"),
        (AlphaDropout, 1.1, f"AlphaDropout: probability=1.1 {KEEP.format('an element')}"),
        (AlphaDropout, math.nan, f"AlphaDropout: probability=nan {KEEP.format('an element')}"),
        (SpatialDropout, -1, f"SpatialDropout: probability=-1 {KEEP.format('a channel')}"),
        (GaussianDropout, 1, f"GaussianDropout: rate=1 {RATE}"),
        (GaussianDropout, -0.1, f"GaussianDropout: rate=-0.1 {RATE}"),
        (GaussianNoise, -0.1, f"GaussianNoise: stddev=-0.1 {STDDEV}"),
        (GaussianNoise, math.inf, f"GaussianNoise: stddev=inf {STDDEV}"),
    ],
)
def test_errors(cls, value, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(value)


def measure_every_rule(dtype, channel_axis):
    shape = (64, 32, 10, 10) if channel_axis == 1 else (64, 10, 10, 32)
    c_order, noise, out = (np.ones(shape, dtype) for _ in range(3))
    f_order = np.ones(shape, dtype, order="F")
    scratch = np.empty((64, 32), dtype)
    rng = np.random.default_rng(0)

    def step():
        for rule in EVERY:
            for x in (c_order, f_order):
                rule.forward(
                    x, out=out, noise=noise, rng=rng, channel_axis=channel_axis, empty=lambda shape, dtype: scratch
                )
                rule.backward(out, noise=noise)

    return gauges(step)


@each_dtype
@pytest.mark.parametrize("channel_axis", [1, -1])
def test_no_rule_allocates(dtype, channel_axis, run_under_counter):
    assert_no_allocation(run_under_counter(measure_every_rule, dtype, channel_axis), arrays_alive=3)
