"""Weight initialisation: moments, bounds, reproducibility."""

import math
import re

import numpy as np
import pytest

from minidl.errors import ConfigurationError
from minidl.functions import (
    WEIGHT_INITS,
    IdentityInit,
    OnesInit,
    WeightInit,
    XavierInit,
    ZeroInit,
    weight_init,
)

FAN_IN, FAN_OUT = 300, 200
VARIANCES = {"xavier": 2 / 500, "relu": 2 / 300, "lecun_normal": 1 / 300, "normal": 1 / 300}
BOUNDS = {
    "xavier_uniform": math.sqrt(6 / 500),
    "relu_uniform": math.sqrt(6 / 300),
    "uniform": 1 / math.sqrt(300),
}
RANDOM = sorted([*VARIANCES, *BOUNDS])


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def fill(name, out, seed=1):
    weight_init(name).fill(out, fan_in=FAN_IN, fan_out=FAN_OUT, rng=np.random.default_rng(seed))
    return out


def weights(name, dtype="float64", order="C", seed=1):
    return fill(name, np.full((FAN_IN, FAN_OUT), np.nan, dtype, order=order), seed)


def test_every_class_is_reachable_by_name():
    built_in = {cls for cls in subclasses(WeightInit) if cls.__module__.startswith("minidl.functions")}
    assert built_in - {WeightInit} == set(WEIGHT_INITS.values())


@pytest.mark.parametrize("name", sorted(WEIGHT_INITS))
def test_names_are_found_in_any_case(name):
    assert type(weight_init(name.upper())) is WEIGHT_INITS[name]


def test_object_and_class():
    rule = XavierInit()
    assert weight_init(rule) is rule
    assert weight_init(XavierInit) == rule


def test_unknown_name_lists_what_exists():
    message = (
        "weight_init='glorot' is not known. Choose one of: identity, lecun_normal, normal, ones, relu, "
        "relu_uniform, uniform, xavier, xavier_uniform, zero; or pass an object of a class derived from WeightInit."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        weight_init("glorot")


def assert_moments(values, variance, kurtosis):
    """Mean and variance within five standard errors, for a symmetric distribution of that kurtosis."""
    n = values.size
    assert abs(values.mean()) < 5 * math.sqrt(variance / n)
    assert abs(values.var() - variance) < 5 * variance * math.sqrt((kurtosis - 1) / n)


@pytest.mark.parametrize("name", sorted(VARIANCES))
def test_normal_moments(name):
    values = weights(name)
    assert_moments(values, VARIANCES[name], kurtosis=3)
    within_one = np.mean(np.abs(values) < math.sqrt(VARIANCES[name]))
    assert abs(within_one - 0.6827) < 0.01


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_uniform_moments_and_bounds(name):
    values, bound = weights(name), BOUNDS[name]
    assert_moments(values, bound**2 / 3, kurtosis=1.8)
    assert 0.999 * bound < np.abs(values).max() <= bound


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_gives_the_same_weights_in_any_type_and_memory_order(name):
    exact = weights(name)
    np.testing.assert_array_equal(weights(name, "float32"), exact.astype(np.float32))
    np.testing.assert_array_equal(weights(name, "float32", order="F"), exact.astype(np.float32))
    np.testing.assert_array_equal(fill(name, np.empty((600, 400))[::2, ::-2]), exact)
    assert (weights(name, seed=2) != exact).all()


def test_constants():
    np.testing.assert_array_equal(weights("zero"), np.zeros((FAN_IN, FAN_OUT)))
    np.testing.assert_array_equal(weights("ones"), np.ones((FAN_IN, FAN_OUT)))


@pytest.mark.parametrize("rule", [ZeroInit(), OnesInit(), IdentityInit()], ids=repr)
def test_constants_draw_nothing(rule):
    rng = np.random.default_rng(3)
    rule.fill(np.empty((3, 3)), fan_in=3, fan_out=3, rng=rng)
    assert rng.random() == np.random.default_rng(3).random()


@pytest.mark.parametrize("order", ["C", "F"])
def test_identity(order):
    np.testing.assert_array_equal(fill("identity", np.empty((4, 4), np.float32, order=order)), np.eye(4))


@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 2, 2)])
def test_identity_needs_a_square(shape):
    message = (
        f"weight_init='identity' needs a square weight matrix, got shape {shape}. "
        f"Make n_in and n_out equal, or choose another weight_init, such as 'xavier'."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        fill("identity", np.empty(shape))
