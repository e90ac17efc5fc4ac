"""Losses: one contract for all classes, weights and masks, time series, fused against unfused gradients."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ConfigurationError, ShapeError
from minidl.functions import (
    LOSSES,
    MCXENT,
    MSE,
    ElementwiseLoss,
    Loss,
    Softmax,
    SparseMCXENT,
    Wasserstein,
    loss,
    whole_mask,
)

WEIGHTS = (0.5, 2.0, 1.5)
EVERY = [cls(weights=weights) for cls in dict.fromkeys(LOSSES.values()) for weights in (None, WEIGHTS)]
FUSED = [(rule, act) for rule in EVERY for act in rule.fused_with]
VECTORS, SERIES = (4, 3), (4, 3, 5)
VECTOR_MASKS = [None, (4,), (4, 1), (4, 3)]
SERIES_MASKS = [None, (4,), (4, 1), (4, 5), (4, 1, 5), (4, 3, 5)]
each_mask = pytest.mark.parametrize(
    ("shape", "mask_shape"), [(VECTORS, mask) for mask in VECTOR_MASKS] + [(SERIES, mask) for mask in SERIES_MASKS]
)
each_rule = pytest.mark.parametrize("rule", EVERY, ids=repr)
each_shape = pytest.mark.parametrize("shape", [VECTORS, SERIES])


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def batch(rule, rng, dtype=float, shape=VECTORS):
    """Labels and outputs as the loss wants them, away from its bounds."""
    output = Softmax().forward(rng.standard_normal(shape), out=np.empty(shape))
    labels = rng.uniform(0.05, 1, shape)
    if rule.label_kind == "classes":
        labels = np.moveaxis(np.eye(3)[rng.integers(0, 3, (shape[0], *shape[2:]))], -1, 1)
    elif rule.label_kind == "signs" or isinstance(rule, Wasserstein):
        labels, output = rng.choice([-1.0, 1.0], shape), rng.normal(0, 1.5, shape)
    return np.ascontiguousarray(labels, dtype), output.astype(dtype)


def random_mask(shape, rng):
    return None if shape is None else rng.uniform(0.2, 2, shape)


def gradient(rule, labels, output, mask=None):
    return rule.gradient(labels, output, out=np.empty_like(output), mask=mask)


def scores(rule, labels, output, mask=None):
    return rule.scores(labels, output, out=np.empty(len(output), output.dtype), mask=mask)


def assert_derivative(rule, labels, output, rng, mask=None, factor=1.0):
    """Compare <gradient, v> with a central difference of the score along a random v."""
    direction = rng.standard_normal(output.shape)
    h = 1e-6
    above, below = (rule.score(labels, output + sign * h * direction, mask=mask) for sign in (1, -1))
    analytic = factor * np.vdot(gradient(rule, labels, output, mask), direction)
    np.testing.assert_allclose(analytic, (above - below) / (2 * h), rtol=1e-6, atol=1e-9)


def test_every_class_is_reachable_by_name():
    built_in = {cls for cls in subclasses(Loss) if cls.__module__.startswith("minidl.functions")}
    assert built_in - {Loss, ElementwiseLoss} == set(LOSSES.values())


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_names_are_found_in_any_case(name):
    assert type(loss(name.upper())) is LOSSES[name]


def test_object_and_class():
    weighted = MCXENT(weights=(1, 2))
    assert loss(weighted) is weighted
    assert loss(MSE) == loss("SQUARED_LOSS") == MSE()
    assert loss("SPARSE_MCXENT") == SparseMCXENT()


def test_unknown_name_lists_what_exists():
    message = (
        "loss='hinge2' is not known. Choose one of: cosine_proximity, hinge, kl_divergence, l1, l2, mcxent, "
        "mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error, mse, "
        "negativeloglikelihood, poisson, reconstruction_crossentropy, sparse_mcxent, squared_hinge, squared_loss, "
        "wasserstein, xent; or pass an object of a class derived from Loss."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        loss("hinge2")


def test_weights_become_a_tuple_of_floats():
    rule = MSE(weights=np.array([1, 2], np.float32))
    assert rule.weights == (1.0, 2.0)
    assert hash(rule) == hash(MSE(weights=[1, 2]))


BAD_NUMBERS = [(), (1.0, -2.0), (1.0, math.nan), (math.inf,), np.array([1.0, -2.0])]
NO_NUMBERS = [5, 1.5, "", "ab", "12", b"ab", ["a"], [None], [True], {0: 1.0}, {1.0, 2.0}]
NOT_A_ROW = [np.array(5.0), np.ones((2, 2)), [[1.0], [1.0, 2.0]]]


@pytest.mark.parametrize("weights", [*BAD_NUMBERS, *NO_NUMBERS, *NOT_A_ROW], ids=repr)
def test_weights_that_cannot_work(weights):
    message = f"weights={weights!r} must be finite numbers of 0 or more. Give one weight for each output."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        MSE(weights=weights)


def test_no_weights():
    assert MSE(weights=None) == MSE()


@pytest.mark.parametrize("cls", dict.fromkeys(LOSSES.values()))
def test_unknown_option_suggests_what_was_meant(cls):
    message = f"{cls.__name__} has no option 'weight'. Did you mean 'weights'? Its options: weights."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(weight=(1,))


def test_kinds_of_labels():
    kinds = {cls: cls.label_kind for cls in LOSSES.values()}
    assert set(kinds.values()) == {"values", "signs", "probabilities", "classes"}
    assert {cls for cls, kind in kinds.items() if kind == "signs"} == {LOSSES["hinge"], LOSSES["squared_hinge"]}


@each_shape
def test_wrong_number_of_weights(shape):
    message = "MSE has 2 weights for 3 outputs. Give one weight for each output."
    with pytest.raises(ShapeError, match=re.escape(message)):
        gradient(MSE(weights=(1, 2)), np.zeros(shape), np.zeros(shape))


FITTING = {
    (4, 3): "shape (4,) or (4, 1), or for each output, (4, 3).",
    (4, 3, 5): "shape (4,) or (4, 1), for each time step, (4, 5) or (4, 1, 5), or for each output, (4, 3, 5).",
    (4, 3, 5, 2): (
        "shape (4,) or (4, 1), for each position, (4, 5, 2) or (4, 1, 5, 2), or for each output, (4, 3, 5, 2)."
    ),
}


@pytest.mark.parametrize("shape", FITTING)
@pytest.mark.parametrize("mask_shape", [(3,), (1, 3), (4, 2), (), (4, 5, 1), (1, 3, 5), (4, 3, 1)])
def test_mask_that_does_not_fit(shape, mask_shape):
    message = (
        f"a mask of shape {mask_shape} does not fit outputs of shape {shape}. Give one number for each example, "
        + FITTING[shape]
    )
    with pytest.raises(ShapeError, match=re.escape(message)):
        scores(MSE(), np.zeros(shape), np.zeros(shape), np.ones(mask_shape))


@pytest.mark.parametrize(
    ("shape", "mask_shape"), [(VECTORS, (4,)), (SERIES, (4, 1)), (SERIES, (4, 5)), (SERIES, SERIES)]
)
def test_whole_mask_is_the_mask_of_every_element(shape, mask_shape):
    mask = np.random.default_rng(0).random(mask_shape)
    aligned = {(4,): (4, 1), (4, 1): (4, 1, 1), (4, 5): (4, 1, 5)}.get(mask_shape, mask_shape)
    result = whole_mask(mask, np.empty(shape, order="F"), np.empty)
    np.testing.assert_array_equal(result, np.broadcast_to(mask.reshape(aligned), shape))
    assert result.strides == np.empty(shape, order="F").strides


@each_mask
@each_rule
def test_derivative(rule, shape, mask_shape):
    rng = np.random.default_rng(0)
    labels, output = batch(rule, rng, shape=shape)
    assert_derivative(rule, labels, output, rng, random_mask(mask_shape, rng))


@each_rule
def test_derivative_check_sees_an_error_of_a_thousandth(rule):
    rng = np.random.default_rng(0)
    labels, output = batch(rule, rng)
    with pytest.raises(AssertionError, match="Not equal to tolerance rtol=1e-06"):
        assert_derivative(rule, labels, output, rng, factor=1.001)


@each_mask
@pytest.mark.parametrize(("rule", "act"), FUSED, ids=repr)
def test_fused_gradient_is_the_unfused_composition(rule, act, shape, mask_shape):
    rng = np.random.default_rng(1)
    labels, output = batch(rule, rng, shape=shape)
    mask = random_mask(mask_shape, rng)
    composed = act().backward(output, gradient(rule, labels, output, mask), out=np.empty_like(output))
    fused = rule.gradient_at_preactivation(labels, output, out=np.empty_like(output), mask=mask)
    np.testing.assert_allclose(fused, composed, rtol=1e-12, atol=1e-14)


def time_slice(array, t):
    """Return time step t of labels, outputs or a mask; a mask without time holds for every step."""
    if array is None or array.ndim < 2 or array.shape[-1] == 1:
        return array
    return np.ascontiguousarray(array[..., t])


@pytest.mark.parametrize("mask_shape", SERIES_MASKS)
@each_rule
def test_series_are_the_sum_of_their_time_steps(rule, mask_shape):
    rng = np.random.default_rng(9)
    labels, output = batch(rule, rng, shape=SERIES)
    mask = random_mask(mask_shape, rng)
    steps = [[time_slice(array, t) for array in (labels, output, mask)] for t in range(SERIES[2])]
    expected = sum(scores(rule, *step) for step in steps)
    np.testing.assert_allclose(scores(rule, labels, output, mask), expected, rtol=1e-13)
    expected = np.stack([gradient(rule, *step) for step in steps], axis=2)
    np.testing.assert_allclose(gradient(rule, labels, output, mask), expected, rtol=1e-13)
    if rule.fused_with:
        fused = lambda y, a, m: rule.gradient_at_preactivation(y, a, out=np.empty_like(a), mask=m)  # noqa: E731
        expected = np.stack([fused(*step) for step in steps], axis=2)
        np.testing.assert_allclose(fused(labels, output, mask), expected, rtol=1e-13)


@each_rule
def test_further_axes_are_as_time(rule):
    rng = np.random.default_rng(10)
    labels, output = batch(rule, rng, shape=(4, 3, 6))
    mask = random_mask((4, 6), rng)
    images = [array.reshape(*array.shape[:-1], 2, 3) for array in (labels, output, mask)]
    np.testing.assert_allclose(scores(rule, *images), scores(rule, labels, output, mask), rtol=1e-13)
    expected = gradient(rule, labels, output, mask).reshape(4, 3, 2, 3)
    np.testing.assert_allclose(gradient(rule, *images), expected, rtol=1e-14)


def test_a_loss_without_fusion_says_so():
    message = "MSE is fused with no activation. Use gradient() and the activation's backward()."
    with pytest.raises(NotImplementedError, match=re.escape(message)):
        MSE().gradient_at_preactivation(np.zeros((4, 3)), np.zeros((4, 3)), out=np.empty((4, 3)))


@each_shape
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_rule
def test_out_and_its_type_are_kept_and_old_memory_is_not_read(rule, dtype, shape):
    rng = np.random.default_rng(3)
    labels, output = batch(rule, rng, dtype, shape)
    before = labels.copy(), output.copy()
    dirty = lambda shape, dtype: np.full(shape, np.nan, dtype)  # noqa: E731
    per_example, d_output = dirty(4, dtype), dirty(shape, dtype)
    arguments = {"mask": np.ones(4, dtype), "empty": dirty}
    assert rule.scores(labels, output, out=per_example, **arguments) is per_example
    assert rule.gradient(labels, output, out=d_output, **arguments) is d_output
    np.testing.assert_array_equal(per_example, scores(rule, labels, output))
    np.testing.assert_array_equal(d_output, gradient(rule, labels, output))
    assert isinstance(rule.score(labels, output, **arguments), float)
    for array, copy in zip((labels, output), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@each_shape
@each_rule
def test_all_layouts_give_the_same_numbers(rule, shape):
    rng = np.random.default_rng(4)
    labels, output = batch(rule, rng, shape=shape)
    mask, fortran = rng.random(shape), np.empty(shape, order="F")
    expected = gradient(rule, labels, output, mask)
    np.testing.assert_allclose(rule.gradient(labels, output, out=fortran, mask=mask), expected, rtol=1e-13)
    strided_scores = rule.scores(labels, np.asfortranarray(output), out=np.empty(8)[::2], mask=mask)
    np.testing.assert_allclose(strided_scores, scores(rule, labels, output, mask), rtol=1e-13)


def test_softmax_gradient_of_a_row_without_a_class_is_the_output():
    output = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    labels = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    result = MCXENT().gradient_at_preactivation(labels, output, out=np.empty((2, 3)))
    np.testing.assert_array_equal(result, output - labels)
    np.testing.assert_array_equal(scores(MCXENT(), labels, output)[0], 0)


def test_weighted_softmax_gradient():
    output, labels = np.array([[0.2, 0.3, 0.5]]), np.array([[0.0, 1.0, 0.0]])
    result = MCXENT(weights=WEIGHTS).gradient_at_preactivation(labels, output, out=np.empty((1, 3)))
    np.testing.assert_allclose(result, [[0.2 * 2, 0.3 * 2 - 2, 0.5 * 2]], rtol=1e-15)


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=6), st.data())
def test_fused_softmax_gradient_sums_to_zero_at_any_logit(logits, data):
    z = np.array([logits])
    labels = np.zeros_like(z)
    labels[0, data.draw(st.integers(0, len(logits) - 1))] = 1
    output = Softmax().forward(z, out=np.empty_like(z))
    result = MCXENT().gradient_at_preactivation(labels, output, out=np.empty_like(z))
    assert abs(result.sum()) < 1e-12
    assert np.abs(result).max() <= 1


class AbsoluteCube(ElementwiseLoss):
    """A user's loss in plain NumPy: returns new arrays instead of writing into out."""

    def element_losses(self, labels, output, *, out, empty):
        return np.abs(output - labels) ** 3

    def element_gradient(self, labels, output, *, out, empty):
        return 3 * (output - labels) ** 2 * np.sign(output - labels)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_plain_loss_of_a_user_gets_weights_and_masks(weights):
    rng = np.random.default_rng(5)
    rule = AbsoluteCube(weights=weights)
    labels, output = batch(rule, rng)
    assert_derivative(rule, labels, output, rng, rng.random(4))


class Linear(ElementwiseLoss):
    """A user's loss a y whose gradient is the array of labels itself."""

    def element_losses(self, labels, output, *, out, empty):
        return output * labels

    def element_gradient(self, labels, output, *, out, empty):
        return labels


def test_weights_do_not_reach_labels_that_a_loss_returned():
    labels, output = np.ones((2, 3)), np.zeros((2, 3))
    np.testing.assert_array_equal(gradient(Linear(weights=WEIGHTS), labels, output), [WEIGHTS] * 2)
    np.testing.assert_array_equal(labels, np.ones((2, 3)))
