"""Weight initialisation: moments, bounds, reproducibility."""

import inspect
import json
import math
import re

import numpy as np
import pytest

from minidl.errors import ConfigurationError
from minidl.functions import (
    WEIGHT_INITS,
    Distribution,
    DistributionInit,
    IdentityInit,
    NormalDistribution,
    OnesInit,
    OrthogonalDistribution,
    UniformDistribution,
    WeightInit,
    XavierInit,
    ZeroInit,
    weight_init,
)
from minidl.serialization import from_data, to_data

FAN_IN, FAN_OUT = 300, 200
VARIANCES = {
    "lecun_normal": 1 / 300,
    "normal": 1 / 300,
    "relu": 2 / 300,
    "xavier": 2 / 500,
    "xavier_fan_in": 1 / 300,
    "xavier_legacy": 1 / 500,
}
BOUNDS = {
    "lecun_uniform": 3 / math.sqrt(300),
    "relu_uniform": math.sqrt(6 / 300),
    "sigmoid_uniform": 4 * math.sqrt(6 / 500),
    "uniform": 1 / math.sqrt(300),
    "var_scaling_uniform_fan_avg": 3 / math.sqrt(250),
    "var_scaling_uniform_fan_in": 3 / math.sqrt(300),
    "var_scaling_uniform_fan_out": 3 / math.sqrt(200),
    "xavier_uniform": math.sqrt(6 / 500),
}
PARENT_VARIANCES = {  # of the normal distribution before the cut
    "var_scaling_normal_fan_avg": 2 / 500,
    "var_scaling_normal_fan_in": 1 / 300,
    "var_scaling_normal_fan_out": 1 / 200,
}
CUT_VARIANCE, CUT_KURTOSIS = 0.7737413, 2.3655367  # scipy.stats.truncnorm(-2, 2).stats("vk"), plus 3; SciPy 1.17
RANDOM = sorted([*VARIANCES, *BOUNDS, *PARENT_VARIANCES])
SCALED = sorted(name for name in WEIGHT_INITS if name.startswith("var_scaling"))
DRAWN = [DistributionInit(NormalDistribution(1, 0.5)), DistributionInit(OrthogonalDistribution())]


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def fill(rule, out, seed=1):
    weight_init(rule).fill(out, fan_in=FAN_IN, fan_out=FAN_OUT, rng=np.random.default_rng(seed))
    return out


def weights(rule, dtype="float64", order="C", seed=1):
    return fill(rule, np.full((FAN_IN, FAN_OUT), np.nan, dtype, order=order), seed)


def test_every_class_is_reachable_by_name():
    built_in = {cls for cls in subclasses(WeightInit) if cls.__module__.startswith("minidl.functions")}
    concrete = {cls for cls in built_in if not inspect.isabstract(cls)}
    assert concrete - {DistributionInit} == set(WEIGHT_INITS.values())
    assert {name for name, cls in WEIGHT_INITS.items() if cls not in (IdentityInit, OnesInit, ZeroInit)} == set(RANDOM)


@pytest.mark.parametrize("name", sorted(WEIGHT_INITS))
def test_names_are_found_in_any_case(name):
    assert type(weight_init(name.upper())) is WEIGHT_INITS[name]


def test_object_and_class():
    rule = XavierInit()
    assert weight_init(rule) is rule
    assert weight_init(XavierInit) == rule


def test_unknown_name_lists_what_exists():
    message = (
        "weight_init='glorot' is not known. Choose one of: identity, lecun_normal, lecun_uniform, normal, ones, "
        "relu, relu_uniform, sigmoid_uniform, uniform, var_scaling_normal_fan_avg, var_scaling_normal_fan_in, "
        "var_scaling_normal_fan_out, var_scaling_uniform_fan_avg, var_scaling_uniform_fan_in, "
        "var_scaling_uniform_fan_out, xavier, xavier_fan_in, xavier_legacy, xavier_uniform, zero; or pass an object "
        "of a class derived from WeightInit."
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


@pytest.mark.parametrize("name", sorted(PARENT_VARIANCES))
def test_truncated_normal_moments_and_bounds(name):
    values, bound = weights(name), 2 * math.sqrt(PARENT_VARIANCES[name])
    assert_moments(values, CUT_VARIANCE * PARENT_VARIANCES[name], CUT_KURTOSIS)
    assert 0.99 * bound < np.abs(values).max() <= bound


@pytest.mark.parametrize("name", SCALED)
def test_scale_multiplies_the_variance_of_normal_and_the_bound_of_uniform_weights(name):
    scaled = weights(WEIGHT_INITS[name](scale=4))
    np.testing.assert_allclose(scaled, (2 if "normal" in name else 4) * weights(name), rtol=1e-12)


@pytest.mark.parametrize("scale", [0, -1, math.inf, math.nan, "1", None, True])
@pytest.mark.parametrize("name", SCALED)
def test_scale_is_a_finite_number_above_0(name, scale):
    message = f"{WEIGHT_INITS[name].__name__}: scale={scale!r} is not a finite number above 0, such as 1.0."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        WEIGHT_INITS[name](scale=scale)


@pytest.mark.parametrize(("shape", "extents"), [((50000,), 50001), ((40, 60, 5, 5), 100), ((), 2)])
def test_xavier_legacy_counts_the_first_two_extents(shape, extents):
    values = np.array([fill("xavier_legacy", np.empty(shape), seed) for seed in range(1 if shape else 1000)])
    assert_moments(values, 1 / extents, kurtosis=3)


def test_distribution():
    values = weights(NormalDistribution(1, 0.5))
    assert_moments(values - 1, 0.25, kurtosis=3)
    orthogonal = weights(OrthogonalDistribution(2), "float32", order="F")
    np.testing.assert_allclose(orthogonal.T @ orthogonal, 4 * np.eye(FAN_OUT), atol=1e-5)


def test_distributions_are_wrapped_and_named():
    rule = NormalDistribution(1, 0.5)
    assert weight_init(rule) == DistributionInit(rule)
    assert DistributionInit("uniform") == DistributionInit(UniformDistribution(-1, 1))


def test_name_distribution_asks_for_the_distribution():
    message = "weight_init='DISTRIBUTION' does not say which. Pass a distribution, such as NormalDistribution(0, 0.01)."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        weight_init("DISTRIBUTION")


@pytest.mark.parametrize("rule", [*(cls() for cls in WEIGHT_INITS.values()), *DRAWN], ids=repr)
def test_json_round_trip(rule):
    assert from_data(json.loads(json.dumps(to_data(rule))), [WeightInit, Distribution]) == rule


@pytest.mark.parametrize("name", [*RANDOM, *DRAWN], ids=str)
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
