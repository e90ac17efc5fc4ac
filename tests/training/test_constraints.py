"""Constraints: a slow reference, layouts, properties, options, no allocation."""

import dataclasses
import functools
import inspect
import itertools
import json
import math
import re

import numpy as np
import pytest
from allocation import Gauges, assert_no_allocation, gauges
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ConfigurationError
from minidl.serialization import from_data, to_data
from minidl.training import Constraint, MaxNorm, MinMaxNorm, NonNegative, UnitNorm

EPSILON = 1e-6
EVERY = [MaxNorm(1.5), MinMaxNorm(0.5, 2, 0.75), UnitNorm(), NonNegative()]
NORMS = EVERY[:-1]
LARGE = [  # several blocks of 16384 elements; slices longer than one; a block that ends inside of a slice
    ((300, 200), (0,)),
    ((300, 200), (1,)),
    ((300, 200), (0, 1)),
    ((3, 20000), (1,)),
    ((3, 20000), (0,)),
    ((20000, 3), (0,)),
    ((16385,), (1,)),
    ((50000,), (0,)),
    ((20, 30, 9, 9), (1, 2, 3)),
    ((20, 30, 9, 9), (0, 2)),
    ((2, 3, 90, 100), (1, 3)),
]

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_order = pytest.mark.parametrize("order", ["C", "F"])
each_rule = pytest.mark.parametrize("rule", EVERY, ids=repr)


def with_dimensions(rule, dimensions):
    return type(rule)(**(vars(rule) | {"dimensions": dimensions}))


def factor(rule, norm):
    """What a slice of that norm is multiplied by, in DL4J's formulas."""
    match rule:
        case MaxNorm():
            return min(norm, rule.max_norm) / (norm + EPSILON)
        case MinMaxNorm():
            clipped = min(max(norm, rule.min_norm), rule.max_norm)
            return (rule.rate * clipped + (1 - rule.rate) * norm) / (norm + EPSILON)
        case UnitNorm():
            return 1 / norm if norm else 1


def reference(rule, parameter):
    """The constraint in float64, slice by slice; a vector counts as (1, n)."""
    w = np.array(parameter, float).reshape(1, -1) if parameter.ndim == 1 else np.array(parameter, float)
    kept = [axis for axis in range(w.ndim) if axis not in rule.dimensions]
    for indices in itertools.product(*(range(w.shape[axis]) for axis in kept)):
        place = [slice(None)] * w.ndim
        for axis, index in zip(kept, indices, strict=True):
            place[axis] = index
        norm = math.sqrt(np.sum(w[tuple(place)] ** 2))
        w[tuple(place)] *= factor(rule, norm)
    return w.reshape(parameter.shape)


def parameters(shape, dtype="float64", order="C", seed=1):
    """Weights whose slices have norms from small to large, one of zeros among them."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(shape)
    for axis, extent in enumerate(shape):
        w *= np.exp(rng.uniform(-1, 0.5, extent)).reshape(-1, *(1,) * (len(shape) - axis - 1))
    return np.array(w, dtype, order=order)


def constrained(rule, parameter, **options):
    changed = parameter.copy(order="K")
    rule.apply(changed, **options)
    assert changed.dtype == parameter.dtype
    return changed


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def test_every_class_has_an_example():
    built_in = {cls for cls in subclasses(Constraint) if cls.__module__.startswith("minidl.")}
    assert {cls for cls in built_in if not inspect.isabstract(cls)} == {type(rule) for rule in EVERY}


SMALL = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@given(data=st.data(), shape=SMALL, dtype=st.sampled_from(["f4", "f8"]), seed=st.integers(0, 1000))
@pytest.mark.parametrize("rule", NORMS, ids=repr)
def test_any_shape_axes_and_layout(rule, data, shape, dtype, seed):
    axes = st.integers(0, max(2, len(shape)) - 1)
    rule = with_dimensions(rule, data.draw(st.lists(axes, min_size=1, unique=True)))
    rule.check_shape(shape)
    order = data.draw(st.permutations(range(len(shape))))  # of the axes in memory
    w = parameters(tuple(shape[axis] for axis in order), dtype, seed=seed).transpose(np.argsort(order))
    rtol = 1e-5 if dtype == "f4" else 1e-12
    np.testing.assert_allclose(constrained(rule, w), reference(rule, w), rtol=rtol)


@each_dtype
@each_order
@pytest.mark.parametrize(("shape", "dimensions"), LARGE, ids=str)
@pytest.mark.parametrize("rule", NORMS, ids=repr)
def test_parameters_of_several_blocks(rule, shape, dimensions, order, dtype):
    rule = with_dimensions(rule, dimensions)
    w = parameters(shape, dtype, order)
    rtol = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(constrained(rule, w), reference(rule, w), rtol=rtol)


@pytest.mark.parametrize("rule", NORMS, ids=repr)
def test_every_second_element(rule):
    w = parameters((30, 40))[::2, ::-2]
    np.testing.assert_allclose(constrained(rule, np.array(w)), reference(rule, w), rtol=1e-12)
    expected = reference(rule, w)
    rule.apply(w)
    np.testing.assert_allclose(w, expected, rtol=1e-12)


@each_dtype
@each_order
def test_non_negative(order, dtype):
    w = parameters((30, 40), dtype, order)
    np.testing.assert_array_equal(constrained(NonNegative(), w), np.where(w < 0, 0, w))


@each_dtype
@each_rule
def test_a_second_time_changes_nothing_more(rule, dtype):
    if isinstance(rule, MinMaxNorm):
        rule = MinMaxNorm(0.5, 2, 1)  # a smaller rate moves the norm closer every time
    once = constrained(rule, parameters((50, 60), dtype))
    np.testing.assert_allclose(constrained(rule, once), once, rtol=1e-5)


def test_norms_are_within_their_bounds():
    w = parameters((50, 60))
    norms = np.linalg.norm(w, axis=1)
    assert norms.min() < 4 < 5 < norms.max()
    for rule, low, high in [(MaxNorm(4), 0, 4), (MinMaxNorm(4, 5), 4, 5), (UnitNorm(), 1, 1)]:
        norms = np.linalg.norm(constrained(rule, w), axis=1)
        assert norms.min() >= low * (1 - 1e-6)
        assert norms.max() <= high * (1 + 1e-6)


def test_a_smaller_rate_goes_part_of_the_way():
    w = np.array([[30.0, 40.0]])
    np.testing.assert_allclose(constrained(MinMaxNorm(0, 10, 0.25), w), [[24, 32]], rtol=1e-6)


@each_dtype
@each_rule
def test_slices_of_zeros_stay(rule, dtype):
    w = parameters((4, 5), dtype)
    w[2] = 0
    changed = constrained(rule, w)
    assert not changed[2].any()
    assert np.isfinite(changed).all()


@each_dtype
def test_unit_norm_leaves_a_slice_whose_norm_is_too_small_for_its_type(dtype):
    w = np.full((2, 3), 1e-30 if dtype == "float32" else 1e-200, dtype)
    np.testing.assert_array_equal(constrained(UnitNorm(), w), w)


@each_rule
def test_parameters_without_elements(rule):
    assert constrained(rule, np.empty((0, 3))).shape == (0, 3)
    assert constrained(rule, np.empty(0)).shape == (0,)


@pytest.mark.parametrize("shape", [(300, 200), (5, 3), (50000,)], ids=str)
@each_rule
def test_one_small_request_of_working_memory(rule, shape):
    requests = []

    def empty(shape, dtype):
        requests.append(math.prod(shape))
        return np.empty(shape, dtype)

    constrained(rule, parameters(shape), empty=empty)
    norms = 1 if len(shape) == 1 else shape[0]
    assert len(requests) == (not isinstance(rule, NonNegative))
    assert sum(requests) <= 3 * norms + 16384


@each_rule
def test_json_round_trip(rule):
    assert from_data(json.loads(json.dumps(to_data(rule))), [Constraint]) == rule


def test_dimensions_become_a_tuple_of_integers():
    assert UnitNorm(1) == UnitNorm([1]) == UnitNorm((np.int64(1),)) == UnitNorm(1.0) == UnitNorm()
    assert UnitNorm([1, 2, 3]).dimensions == (1, 2, 3)


@pytest.mark.parametrize("dimensions", [(), (-1,), (1, 1), (1.5,), "1", None, (None,), True, math.nan], ids=repr)
def test_dimensions_must_be_different_axes(dimensions):
    message = (
        f"UnitNorm: dimensions={dimensions!r} are not different whole numbers of at least 0. Use (1,) for the weights "
        "of a dense layer, (1, 2, 3) for those of a convolution."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        UnitNorm(dimensions)


@pytest.mark.parametrize(
    ("shape", "shown", "last"),
    [((4, 3), "(4, 3)", 1), ((4,), "(4,), which counts as (1, 4)", 1), ((4, 3, 2), "(4, 3, 2)", 2)],
)
@pytest.mark.parametrize("rule", NORMS, ids=repr)
def test_dimensions_must_exist(rule, shape, shown, last):
    rule = with_dimensions(rule, (1, 3))
    message = (
        f"{type(rule).__name__}: dimensions=(1, 3) do not fit a parameter of shape {shown}. Choose from 0 to {last} "
        "what the norm is summed over."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        rule.check_shape(shape)
    rule.check_shape((1, 2, 3, 4))


def test_non_negative_fits_every_shape():
    NonNegative().check_shape(())


AT_LEAST_0 = "is not a finite number of at least 0, such as 1.0."
RATE = "is not in (0, 1]. 1 means that the bounds hold at once."


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (MaxNorm, {"max_norm": 0}, "MaxNorm: max_norm=0 is not a finite number above 0, such as 2.0."),
        (MaxNorm, {"max_norm": math.inf}, "MaxNorm: max_norm=inf is not a finite number above 0, such as 2.0."),
        (MaxNorm, {"max_norm": "2"}, "MaxNorm: max_norm='2' is not a finite number above 0, such as 2.0."),
        (MinMaxNorm, {"min_norm": -1}, f"MinMaxNorm: min_norm=-1 {AT_LEAST_0}"),
        (MinMaxNorm, {"max_norm": math.nan}, f"MinMaxNorm: max_norm=nan {AT_LEAST_0}"),
        (
            MinMaxNorm,
            {"min_norm": 2},
            "MinMaxNorm(min_norm=2.0, max_norm=1.0) allows no norm. Let min_norm be at most max_norm.",
        ),
        (MinMaxNorm, {"rate": 0}, f"MinMaxNorm: rate=0 {RATE}"),
        (MinMaxNorm, {"rate": 1.5}, f"MinMaxNorm: rate=1.5 {RATE}"),
    ],
)
def test_errors(cls, options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(**options)


def measure(dtype, order):
    """Measure every rule on every shape, and return the worst of each gauge."""
    memory = np.empty(1 << 18, dtype)
    found = []
    for shape, dimensions in LARGE:
        w = parameters(shape, dtype, order)
        for rule in [*(with_dimensions(rule, dimensions) for rule in NORMS), NonNegative()]:
            step = functools.partial(rule.apply, w, empty=lambda shape, dtype: memory[: shape[0]])
            found.append(gauges(step, repeats=5))
    return Gauges(*(max(getattr(one, field.name) for one in found) for field in dataclasses.fields(Gauges)[:3]))


@each_dtype
@each_order
def test_no_rule_allocates(dtype, order, run_under_counter):
    assert_no_allocation(run_under_counter(measure, dtype, order), arrays_alive=10)
