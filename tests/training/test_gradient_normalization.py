"""Gradient normalisation against the obvious formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.training import GradientNormalization, normalize_gradients

KINDS = list(GradientNormalization)
PER_LAYER = {GradientNormalization.RENORMALIZE_L2_PER_LAYER, GradientNormalization.CLIP_L2_PER_LAYER}
RENORMALIZE = {
    GradientNormalization.RENORMALIZE_L2_PER_LAYER,
    GradientNormalization.RENORMALIZE_L2_PER_PARAM_TYPE,
}
CLIP = {GradientNormalization.CLIP_L2_PER_LAYER, GradientNormalization.CLIP_L2_PER_PARAM_TYPE}


def expected(kind, threshold, gradients):
    if kind is GradientNormalization.NONE:
        return gradients
    if kind is GradientNormalization.CLIP_ELEMENT_WISE_ABSOLUTE_VALUE:
        return [np.array([max(-threshold, min(threshold, g)) for g in gradient]) for gradient in gradients]
    norms = [np.linalg.norm(gradient) for gradient in gradients]
    if kind in PER_LAYER:
        norms = [np.linalg.norm(np.concatenate(gradients))] * len(gradients)
    if kind in RENORMALIZE:
        return [gradient / (norm or 1e-5) for gradient, norm in zip(gradients, norms, strict=True)]
    return [gradient * min(1, threshold / (norm or 1)) for gradient, norm in zip(gradients, norms, strict=True)]


def normalized(kind, threshold, gradients):
    gradients = [gradient.copy() for gradient in gradients]
    normalize_gradients(kind, threshold, gradients)
    return gradients


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", [0.01, 1.0, 2.5, 1000.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_kind_is_its_formula(kind, threshold, dtype, rng):
    gradients = [scale * rng.standard_normal(size).astype(dtype) for size, scale in ((12, 1), (3, 0.1), (5, 10))]
    result = normalized(kind, threshold, gradients)
    for gradient, reference in zip(result, expected(kind, threshold, gradients), strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, reference, rtol=2e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_gradient_stays_zero(kind):
    for gradient in normalized(kind, 1.0, [np.zeros(3), np.zeros(2)]):
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("kind", sorted(RENORMALIZE, key=str))
def test_renormalized_gradient_has_norm_1(kind, rng):
    gradients = normalized(kind, 1.0, [1e-3 * rng.standard_normal(4), 1e3 * rng.standard_normal(5)])
    parts = [np.concatenate(gradients)] if kind in PER_LAYER else gradients
    np.testing.assert_allclose([np.linalg.norm(part) for part in parts], 1, rtol=1e-12)


@given(scale=st.floats(1e-3, 1e3), threshold=st.floats(1e-3, 1e3), kind=st.sampled_from(sorted(CLIP, key=str)))
def test_clipped_norm_is_at_most_the_threshold_and_small_gradients_are_untouched(scale, threshold, kind):
    gradient = scale * np.array([3.0, -4.0])
    (result,) = normalized(kind, threshold, [gradient])
    np.testing.assert_allclose(np.linalg.norm(result), min(5 * scale, threshold), rtol=1e-12)
    np.testing.assert_allclose(result / np.linalg.norm(result), [0.6, -0.8], rtol=1e-12)


def test_per_layer_and_per_parameter_differ():
    def result(kind, threshold):
        return np.concatenate(normalized(kind, threshold, [np.array([3.0]), np.array([4.0])])).tolist()

    assert result(GradientNormalization.CLIP_L2_PER_LAYER, 1.0) == pytest.approx([0.6, 0.8])
    assert result(GradientNormalization.CLIP_L2_PER_PARAM_TYPE, 1.0) == [1.0, 1.0]
    assert result(GradientNormalization.CLIP_ELEMENT_WISE_ABSOLUTE_VALUE, 3.5) == [3.0, 3.5]
