"""Noise on weights: statistics, derivatives, layouts, options, no allocation."""

import inspect
import json
import math
import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl.errors import ConfigurationError
from minidl.functions import (
    BinomialDistribution,
    Distribution,
    NormalDistribution,
    OrthogonalDistribution,
    UniformDistribution,
)
from minidl.serialization import from_data, to_data
from minidl.training import BaseWeightNoise, DropConnect, WeightNoise

EVERY = [
    DropConnect(0.7),
    DropConnect(0.7, apply_to_bias=True),
    WeightNoise(NormalDistribution(0.5, 2)),
    WeightNoise(NormalDistribution(0.5, 2), additive=False),
    WeightNoise("uniform", apply_to_bias=True, additive=False),
    WeightNoise(BinomialDistribution(3, 0.5), additive=False),
]
SHAPES = [(6,), (5, 7), (7, 1), (1, 7), (4, 3, 2, 2)]

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_order = pytest.mark.parametrize("order", ["C", "F"])
each_rule = pytest.mark.parametrize("rule", EVERY, ids=repr)


def standard_normal(shape, seed=9):
    return np.random.default_rng(seed).standard_normal(shape)


def in_flat_vector(values, order, dtype="float64"):
    """Return ``values`` as a view into a longer vector, as parameters are."""
    flat = np.zeros(values.size + 3, dtype)
    view = flat[2:-1].reshape(values.shape, order=order)
    assert np.shares_memory(view, flat)
    view[...] = values
    return view


def apply(rule, values, order="C", dtype="float64", seed=0):
    """Return (noisy weights, noise), and check that the weights stay as they are."""
    weights, out = in_flat_vector(values, order, dtype), in_flat_vector(values * np.nan, order, dtype)
    noise = np.full(values.size, np.nan, dtype)
    rule.apply(weights, out=out, noise=noise, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(weights, values.astype(dtype))
    return out, noise


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def test_every_class_has_an_example():
    built_in = {cls for cls in subclasses(BaseWeightNoise) if cls.__module__.startswith("minidl.")}
    assert {cls for cls in built_in if not inspect.isabstract(cls)} == {type(rule) for rule in EVERY}


@each_dtype
@each_order
@pytest.mark.parametrize("probability", [0.2, 0.9, 1])
def test_drop_connect_keeps_weights_as_they_are_or_drops_them(probability, order, dtype):
    values = standard_normal((200, 300)).astype(dtype)
    out, noise = apply(DropConnect(probability), values, order, dtype)
    np.testing.assert_array_equal(out, values * noise.reshape(values.shape, order=order))
    assert set(np.unique(noise)) <= {0, 1}
    deviation = math.sqrt(probability * (1 - probability) / noise.size)
    assert abs(noise.mean(dtype=float) - probability) <= 5 * deviation


@each_dtype
@each_order
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("additive", [True, False])
def test_weight_noise_is_added_or_multiplied(additive, shape, order, dtype):
    values = standard_normal(shape).astype(dtype)
    source = UniformDistribution(1, 2)
    out, noise = apply(WeightNoise(source, additive=additive), values, order, dtype, seed=4)
    drawn = source.sample(np.empty(values.size, dtype), rng=np.random.default_rng(4))
    np.testing.assert_array_equal(noise, drawn)
    drawn = drawn.reshape(shape, order=order)
    np.testing.assert_array_equal(out, values + drawn if additive else values * drawn)


@each_rule
@each_order
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backprop_is_the_derivative(rule, order, shape):
    weights, epsilon, direction = (standard_normal(shape, seed) for seed in range(3))
    step = 1e-5 * direction
    above, below = (np.vdot(apply(rule, moved, order)[0], epsilon) for moved in (weights + step, weights - step))
    noise = apply(rule, weights, order)[1]
    gradient = in_flat_vector(epsilon, order)
    rule.backprop(gradient, noise=noise if rule.keeps_noise else noise * np.nan)
    np.testing.assert_allclose(np.vdot(gradient, direction), (above - below) / 2e-5, rtol=1e-6, atol=1e-9)


def test_a_sum_needs_no_noise_in_backprop():
    assert [rule.keeps_noise for rule in EVERY] == [True, True, False, True, True, True]


@each_rule
def test_noise_is_a_function_of_the_generator(rule):
    values = standard_normal((20, 30))
    np.testing.assert_array_equal(apply(rule, values, seed=3)[0], apply(rule, values, seed=3)[0])
    assert (apply(rule, values, seed=3)[0] != apply(rule, values, seed=4)[0]).any()


def test_biases_are_left_alone_unless_asked_for():
    assert [rule.apply_to_bias for rule in EVERY] == [False, True, False, False, True, False]


@each_rule
def test_json_round_trip(rule):
    assert from_data(json.loads(json.dumps(to_data(rule))), [BaseWeightNoise, Distribution]) == rule


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value: DropConnect(0.5, apply_to_bias=value), "apply_to_bias"),
        (lambda value: WeightNoise("normal", apply_to_bias=value), "apply_to_bias"),
        (lambda value: WeightNoise("normal", additive=value), "additive"),
    ],
)
def test_flags_are_true_or_false(make, name):
    for value in (True, False):
        assert getattr(make(np.bool_(value)), name) is value
    for value in ("no", None, 1, 0.0, np.array([True])):
        message = f"{type(make(True)).__name__}: {name}={value!r} is not True or False."
        with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
            make(value)


def test_distribution_by_name():
    assert WeightNoise("normal") == WeightNoise(NormalDistribution())


@pytest.mark.parametrize("value", [0, 1.5, -1, math.nan, "0.5", None, True])
def test_probability_out_of_range(value):
    message = (
        f"DropConnect: weight_retain_probability={value!r} is not in (0, 1]. It is the probability to keep a weight; "
        "1 means no noise."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        DropConnect(value)


def test_distribution_must_draw_every_element_for_itself():
    message = (
        "WeightNoise: the elements of a sample of OrthogonalDistribution(gain=1.0) depend on each other. Choose a "
        "distribution that draws every element for itself, such as NormalDistribution(0, 0.01)."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        WeightNoise(OrthogonalDistribution())


def test_unknown_distribution():
    message = (
        "distribution=0.1 is not known. Choose one of: binomial, constant, gaussian, log_normal, normal, orthogonal, "
        "truncated_normal, uniform; or pass an object of a class derived from Distribution."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        WeightNoise(0.1)


def measure(dtype, order):
    weights, out, gradient = (in_flat_vector(standard_normal((200, 300)), order, dtype) for _ in range(3))
    noise, scratch = np.empty(weights.size, dtype), np.empty(weights.size, dtype)
    rng = np.random.default_rng(0)

    def step():
        for rule in EVERY:
            rule.apply(weights, out=out, noise=noise, rng=rng, empty=lambda shape, dtype: scratch)
            rule.backprop(gradient, noise=noise)

    return gauges(step)


@each_dtype
@each_order
def test_no_rule_allocates(dtype, order, run_under_counter):
    assert_no_allocation(run_under_counter(measure, dtype, order), arrays_alive=3)
