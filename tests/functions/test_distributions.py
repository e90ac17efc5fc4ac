"""Distributions: SciPy's moments and distribution functions, orthogonality, options, no allocation."""

import inspect
import json
import math
import re

import numpy as np
import pytest
import scipy.stats
from allocation import assert_no_allocation, gauges

from minidl.errors import ConfigurationError
from minidl.functions import (
    DISTRIBUTIONS,
    BinomialDistribution,
    ConstantDistribution,
    Distribution,
    LogNormalDistribution,
    NormalDistribution,
    OrthogonalDistribution,
    TruncatedNormalDistribution,
    UniformDistribution,
    distribution,
)
from minidl.serialization import from_data, to_data

CONTINUOUS = [
    (NormalDistribution(), scipy.stats.norm()),
    (NormalDistribution(-3, 0.5), scipy.stats.norm(-3, 0.5)),
    (UniformDistribution(), scipy.stats.uniform(-1, 2)),
    (UniformDistribution(0.25, 0.5), scipy.stats.uniform(0.25, 0.25)),
    (TruncatedNormalDistribution(), scipy.stats.truncnorm(-2, 2)),
    (TruncatedNormalDistribution(1, 0.1), scipy.stats.truncnorm(-2, 2, 1, 0.1)),
    (LogNormalDistribution(), scipy.stats.lognorm(1)),
    (LogNormalDistribution(0.5, 0.25), scipy.stats.lognorm(0.25, scale=math.exp(0.5))),
]
BINOMIALS = [
    BinomialDistribution(),
    BinomialDistribution(10, 0.3),
    BinomialDistribution(3, 0),
    BinomialDistribution(3, 1),
]
EVERY = [*(rule for rule, _ in CONTINUOUS), *BINOMIALS, OrthogonalDistribution(2), ConstantDistribution(0.5)]
ELEMENTWISE = [rule for rule in EVERY if rule.is_elementwise]

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def sample(rule, shape=(200, 300), dtype="float64", seed=1):
    out = np.full(shape, np.nan, dtype)
    assert rule.sample(out, rng=np.random.default_rng(seed)) is out
    assert np.isfinite(out).all()
    return out


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def test_every_class_has_a_name_and_an_example():
    built_in = {cls for cls in subclasses(Distribution) if cls.__module__.startswith("minidl.")}
    concrete = {cls for cls in built_in if not inspect.isabstract(cls)}
    assert concrete == set(DISTRIBUTIONS.values()) == {type(rule) for rule in EVERY}


@each_dtype
@pytest.mark.parametrize(("rule", "reference"), CONTINUOUS, ids=repr)
def test_moments_and_distribution_function(rule, reference, dtype):
    values = sample(rule, dtype=dtype).astype(float).ravel()
    mean, variance, _, excess = (float(moment) for moment in reference.stats(moments="mvsk"))
    assert abs(values.mean() - mean) < 5 * math.sqrt(variance / values.size)
    assert abs(values.var() - variance) < 5 * variance * math.sqrt((excess + 2) / values.size)
    assert scipy.stats.kstest(values, reference.cdf).pvalue > 1e-6


@each_dtype
@pytest.mark.parametrize("rule", [UniformDistribution(-3, 5), TruncatedNormalDistribution(1, 2)], ids=repr)
def test_bounds_are_reached_and_kept(rule, dtype):
    values = sample(rule, (1000, 1000), dtype)
    assert -3 <= values.min() < -3 + 1e-3
    assert 5 - 1e-3 < values.max() <= 5


@each_dtype
@pytest.mark.parametrize("rule", BINOMIALS, ids=repr)
def test_binomial_frequencies(rule, dtype):
    values = sample(rule, dtype=dtype)
    for successes in range(rule.number_of_trials + 1):
        expected = scipy.stats.binom.pmf(successes, rule.number_of_trials, rule.probability)
        found = np.count_nonzero(values == successes) / values.size
        assert abs(found - expected) <= 5 * math.sqrt(expected * (1 - expected) / values.size) + 1e-12


def test_constant():
    np.testing.assert_array_equal(sample(ConstantDistribution(0.3), dtype="float32"), np.float32(0.3))


@each_dtype
@pytest.mark.parametrize("shape", [(5, 5), (3, 40), (40, 3), (6, 2, 3, 3), (100, 2, 3, 3), (7,), (1, 1)])
def test_orthogonal_rows_or_columns(shape, dtype):
    matrix = sample(OrthogonalDistribution(1.5), shape, dtype).astype(float).reshape(shape[0], -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    np.testing.assert_allclose(matrix @ matrix.T, 1.5**2 * np.eye(len(matrix)), atol=1e-6)


def test_orthogonal_matrices_are_uniformly_distributed():
    rng = np.random.default_rng(2)
    corners = [OrthogonalDistribution().sample(np.empty((3, 3)), rng=rng) for _ in range(2000)]
    for element in np.moveaxis(corners, 0, -1).reshape(9, -1):  # each is a coordinate of a point on a sphere: U(-1, 1)
        assert scipy.stats.kstest(element, scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-6


def test_only_the_orthogonal_distribution_ties_elements():
    assert [type(rule) for rule in EVERY if not rule.is_elementwise] == [OrthogonalDistribution]


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_samples_are_a_function_of_the_generator(rule):
    np.testing.assert_array_equal(sample(rule, seed=3), sample(rule, seed=3))
    is_random = not (isinstance(rule, ConstantDistribution) or getattr(rule, "probability", 0.5) in (0, 1))
    assert (sample(rule, seed=3) != sample(rule, seed=4)).any() == is_random


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_arrays_without_elements(rule):
    assert sample(rule, (0, 3)).size == 0


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_json_round_trip(rule):
    assert from_data(json.loads(json.dumps(to_data(rule))), [Distribution]) == rule


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_names_are_found_in_any_case(name):
    assert distribution(name.upper()) == DISTRIBUTIONS[name]() == distribution(DISTRIBUTIONS[name])


def test_unknown_name_lists_what_exists():
    message = (
        "distribution='cauchy' is not known. Choose one of: binomial, constant, gaussian, log_normal, normal, "
        "orthogonal, truncated_normal, uniform; or pass an object of a class derived from Distribution."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        distribution("cauchy")


FINITE = "is not a finite number, such as 0.0."
POSITIVE = "is not a finite number above 0, such as 1.0."
TRIALS = "is not a whole number of at least 1, such as 10."


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (NormalDistribution, {"mean": math.nan}, f"NormalDistribution: mean=nan {FINITE}"),
        (NormalDistribution, {"std": 0}, f"NormalDistribution: std=0 {POSITIVE}"),
        (NormalDistribution, {"std": "1"}, f"NormalDistribution: std='1' {POSITIVE}"),
        (NormalDistribution, {"mean": True}, f"NormalDistribution: mean=True {FINITE}"),
        (NormalDistribution, {"mean": 10**400}, f"NormalDistribution: mean={10**400} {FINITE}"),
        (TruncatedNormalDistribution, {"mean": None}, f"TruncatedNormalDistribution: mean=None {FINITE}"),
        (TruncatedNormalDistribution, {"std": math.inf}, f"TruncatedNormalDistribution: std=inf {POSITIVE}"),
        (LogNormalDistribution, {"mean": math.inf}, f"LogNormalDistribution: mean=inf {FINITE}"),
        (LogNormalDistribution, {"std": -1}, f"LogNormalDistribution: std=-1 {POSITIVE}"),
        (UniformDistribution, {"lower": "a"}, f"UniformDistribution: lower='a' {FINITE}"),
        (UniformDistribution, {"upper": math.inf}, f"UniformDistribution: upper=inf {FINITE}"),
        (
            UniformDistribution,
            {"lower": 2, "upper": 2},
            "UniformDistribution(lower=2.0, upper=2.0) has no interval to draw from. Choose finite bounds with lower "
            "below upper.",
        ),
        (OrthogonalDistribution, {"gain": 0}, f"OrthogonalDistribution: gain=0 {POSITIVE}"),
        (BinomialDistribution, {"number_of_trials": 0}, f"BinomialDistribution: number_of_trials=0 {TRIALS}"),
        (BinomialDistribution, {"number_of_trials": 2.5}, f"BinomialDistribution: number_of_trials=2.5 {TRIALS}"),
        (
            BinomialDistribution,
            {"probability": 1.5},
            "BinomialDistribution: probability=1.5 is not in [0, 1]. Use 0.5, for example.",
        ),
        (ConstantDistribution, {"value": -math.inf}, f"ConstantDistribution: value=-inf {FINITE}"),
        (
            NormalDistribution,
            {"stdev": 1},
            "NormalDistribution has no option 'stdev'. Did you mean 'std'? Its options: mean, std.",
        ),
    ],
)
def test_errors(cls, options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(**options)


def test_options_become_python_numbers():
    rule = BinomialDistribution(np.int64(3), np.float32(0.5))
    assert [type(rule.number_of_trials), type(rule.probability)] == [int, float]


def measure_samples(dtype):
    out, scratch = np.ones((1024, 50), dtype), np.empty((1024, 50), dtype)
    rng = np.random.default_rng(0)

    def step():
        for rule in ELEMENTWISE:
            rule.sample(out, rng=rng, empty=lambda shape, dtype: scratch)

    return gauges(step)


@each_dtype
def test_elementwise_samples_allocate_nothing(dtype, run_under_counter):
    assert_no_allocation(run_under_counter(measure_samples, dtype), arrays_alive=0)
