"""Dropout masks: values, statistics, determinism."""

import math

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl.training import drop, drop_mask

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
def test_drop_multiplies(dtype, rng):
    x = rng.standard_normal((50, 4)).astype(dtype)
    drawn = mask(0.8, x.shape, dtype)
    out = np.full_like(x, np.nan)
    assert drop(x, drawn, out=out) is out
    np.testing.assert_array_equal(out, x * drawn)
    np.testing.assert_array_equal(drop(x, drawn, out=x), out)


def measure_dropout():
    x, drawn, out = (np.ones((1024, 100), "f4") for _ in range(3))
    rng = np.random.default_rng(0)
    return gauges(lambda: drop(x, drop_mask(0.8, rng, out=drawn), out=out))


def test_dropout_allocates_nothing(run_under_counter):
    assert_no_allocation(run_under_counter(measure_dropout), arrays_alive=0)
