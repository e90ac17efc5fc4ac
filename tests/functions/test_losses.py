"""Losses: one contract for all classes, slow references, fused against unfused gradients, PyTorch's numbers."""

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
    XENT,
    ElementwiseLoss,
    Loss,
    Sigmoid,
    Softmax,
    SparseMCXENT,
    loss,
)

WEIGHTS = (0.5, 2.0, 1.5)
EVERY = [cls(weights=weights) for cls in dict.fromkeys(LOSSES.values()) for weights in (None, WEIGHTS)]
FUSED = [(rule, act) for rule in EVERY for act in rule.fused_with]
MASKS = [None, (4,), (4, 1), (4, 3)]


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def clip(value, smallest):
    return min(max(value, smallest), 1 - smallest)


def binary_cross_entropy(y, a):
    a = clip(a, 1e-5)
    return -(y * math.log(a) + (1 - y) * math.log(1 - a))


ELEMENTS = {
    "l1": lambda y, a, n: abs(a - y),
    "l2": lambda y, a, n: (a - y) ** 2,
    "mcxent": lambda y, a, n: -y * math.log(clip(a, 1e-10)),
    "mse": lambda y, a, n: (a - y) ** 2 / n,
    "negativeloglikelihood": lambda y, a, n: -y * math.log(clip(a, 1e-10)),
    "sparse_mcxent": lambda y, a, n: -y * math.log(clip(a, 1e-10)),
    "squared_loss": lambda y, a, n: (a - y) ** 2 / n,
    "xent": lambda y, a, n: binary_cross_entropy(y, a),
}


def batch(rule, rng, dtype=float):
    """Labels and an output of probabilities away from 0 and 1, shape (4, 3)."""
    output = Softmax().forward(rng.standard_normal((4, 3)), out=np.empty((4, 3)))
    if rule.label_kind == "classes":
        return np.eye(3, dtype=dtype)[rng.integers(0, 3, 4)], output.astype(dtype)
    return rng.random((4, 3)).astype(dtype), output.astype(dtype)


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
        "loss='hinge2' is not known. Choose one of: l1, l2, mcxent, mse, negativeloglikelihood, sparse_mcxent, "
        "squared_loss, xent; or pass an object of a class derived from Loss."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        loss("hinge2")


def test_weights_become_a_tuple_of_floats():
    rule = MSE(weights=np.array([1, 2], np.float32))
    assert rule.weights == (1.0, 2.0)
    assert hash(rule) == hash(MSE(weights=[1, 2]))


@pytest.mark.parametrize("weights", [(), (1.0, -2.0), (1.0, math.nan), (math.inf,)])
def test_weights_that_cannot_work(weights):
    message = f"weights={weights} must be finite numbers of 0 or more. Give one weight for each output."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        MSE(weights=weights)


def test_wrong_number_of_weights():
    message = "MSE has 2 weights for 3 outputs. Give one weight for each output."
    with pytest.raises(ShapeError, match=re.escape(message)):
        gradient(MSE(weights=(1, 2)), np.zeros((4, 3)), np.zeros((4, 3)))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (4, 2), ()])
def test_mask_that_does_not_fit(shape):
    message = (
        f"a mask of shape {shape} does not fit outputs of shape (4, 3). "
        f"Give one number for each example, shape (4,), or for each output, (4, 3)."
    )
    with pytest.raises(ShapeError, match=re.escape(message)):
        scores(MSE(), np.zeros((4, 3)), np.zeros((4, 3)), np.ones(shape))


@pytest.mark.parametrize("mask_shape", MASKS)
@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_derivative(rule, mask_shape):
    rng = np.random.default_rng(0)
    labels, output = batch(rule, rng)
    assert_derivative(rule, labels, output, rng, random_mask(mask_shape, rng))


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_derivative_check_sees_an_error_of_a_thousandth(rule):
    rng = np.random.default_rng(0)
    labels, output = batch(rule, rng)
    with pytest.raises(AssertionError, match="Not equal to tolerance rtol=1e-06"):
        assert_derivative(rule, labels, output, rng, factor=1.001)


@pytest.mark.parametrize("mask_shape", MASKS)
@pytest.mark.parametrize(("rule", "act"), FUSED, ids=repr)
def test_fused_gradient_is_the_unfused_composition(rule, act, mask_shape):
    rng = np.random.default_rng(1)
    labels, output = batch(rule, rng)
    mask = random_mask(mask_shape, rng)
    composed = act().backward(output, gradient(rule, labels, output, mask), out=np.empty_like(output))
    fused = rule.gradient_at_preactivation(labels, output, out=np.empty_like(output), mask=mask)
    np.testing.assert_allclose(fused, composed, rtol=1e-12, atol=1e-14)


def test_a_loss_without_fusion_says_so():
    message = "MSE is fused with no activation. Use gradient() and the activation's backward()."
    with pytest.raises(NotImplementedError, match=re.escape(message)):
        MSE().gradient_at_preactivation(np.zeros((4, 3)), np.zeros((4, 3)), out=np.empty((4, 3)))


@pytest.mark.parametrize("mask_shape", MASKS)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_scores_against_a_loop(name, weights, mask_shape):
    rng = np.random.default_rng(2)
    rule = LOSSES[name](weights=weights)
    labels, output = batch(rule, rng)
    mask = random_mask(mask_shape, rng)
    factors = np.ones((4, 3)) * (weights or 1.0)
    factors = factors if mask is None else factors * mask.reshape(4, -1)
    expected = [
        sum(f * ELEMENTS[name](y, a, 3) for f, y, a in zip(*rows, strict=True))
        for rows in zip(factors.tolist(), labels.tolist(), output.tolist(), strict=True)
    ]
    np.testing.assert_allclose(scores(rule, labels, output, mask), expected, rtol=1e-12)
    assert math.isclose(rule.score(labels, output, mask=mask), sum(expected), rel_tol=1e-12)


# The float32 nearest to xent's bound 1 - 1e-5 is 1.4e-8 above it: 1.4e-3 of what is left to 1.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_scores_of_exact_probabilities(name, dtype, tolerance):
    output = np.array([[0, 1, 0.5], [1e-20, 1, 0], [1, 0, 1e-7]], dtype)
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype)
    with np.errstate(all="raise", under="ignore"):
        result = scores(loss(name), labels, output)
    expected = [
        sum(ELEMENTS[name](y, a, 3) for y, a in zip(*rows, strict=True))
        for rows in zip(labels.tolist(), output.tolist(), strict=True)
    ]
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_gradient_is_finite_at_saturation(rule, dtype):
    output = np.array([[0, 1, 0], [1e-20, 1, 1e-40]], dtype)
    labels = np.array([[1, 0, 0], [0, 1, 0]], dtype)
    with np.errstate(all="raise", under="ignore"):
        result = gradient(rule, labels, output)
    assert result.dtype == dtype
    assert np.isfinite(result).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_out_and_its_type_are_kept_and_old_memory_is_not_read(rule, dtype):
    rng = np.random.default_rng(3)
    labels, output = batch(rule, rng, dtype)
    dirty = lambda shape, dtype: np.full(shape, np.nan, dtype)  # noqa: E731
    per_example, d_output = dirty(4, dtype), dirty((4, 3), dtype)
    arguments = {"mask": np.ones(4, dtype), "empty": dirty}
    assert rule.scores(labels, output, out=per_example, **arguments) is per_example
    assert rule.gradient(labels, output, out=d_output, **arguments) is d_output
    np.testing.assert_array_equal(per_example, scores(rule, labels, output))
    np.testing.assert_array_equal(d_output, gradient(rule, labels, output))
    assert isinstance(rule.score(labels, output, **arguments), float)


@pytest.mark.parametrize("rule", EVERY, ids=repr)
def test_all_layouts_give_the_same_numbers(rule):
    rng = np.random.default_rng(4)
    labels, output = batch(rule, rng)
    mask, fortran = rng.random((4, 3)), np.empty((4, 3), order="F")
    np.testing.assert_allclose(
        rule.gradient(labels, output, out=fortran, mask=mask),
        gradient(rule, labels, output, mask),
        rtol=1e-14,
    )
    strided_scores = rule.scores(labels, np.asfortranarray(output), out=np.empty(8)[::2], mask=mask)
    np.testing.assert_allclose(strided_scores, scores(rule, labels, output, mask), rtol=1e-14)


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


class Wasserstein(ElementwiseLoss):
    """A user's loss a y whose gradient is the array of labels itself."""

    def element_losses(self, labels, output, *, out, empty):
        return output * labels

    def element_gradient(self, labels, output, *, out, empty):
        return labels


def test_weights_do_not_reach_labels_that_a_loss_returned():
    labels, output = np.ones((2, 3)), np.zeros((2, 3))
    np.testing.assert_array_equal(gradient(Wasserstein(weights=WEIGHTS), labels, output), [WEIGHTS] * 2)
    np.testing.assert_array_equal(labels, np.ones((2, 3)))


def test_mcxent_agrees_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    z, classes = rng.normal(0, 3, (32, 3)).astype(np.float32), rng.integers(0, 3, 32)
    labels = np.eye(3, dtype=np.float32)[classes]
    z_torch = torch.tensor(z, requires_grad=True)
    criterion = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS), reduction="sum")
    total = criterion(z_torch, torch.tensor(classes))
    total.backward()
    output, rule = Softmax().forward(z, out=np.empty_like(z)), MCXENT(weights=WEIGHTS)
    assert math.isclose(rule.score(labels, output), total.item(), rel_tol=2e-6)
    result = rule.gradient_at_preactivation(labels, output, out=np.empty_like(z))
    np.testing.assert_allclose(result, z_torch.grad.numpy(), atol=1e-6)


def test_xent_agrees_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    z, labels = rng.normal(0, 2, (32, 3)).astype(np.float32), rng.random((32, 3)).astype(np.float32)
    z_torch = torch.tensor(z, requires_grad=True)
    criterion = torch.nn.BCEWithLogitsLoss(weight=torch.tensor(WEIGHTS), reduction="sum")
    total = criterion(z_torch, torch.tensor(labels))
    total.backward()
    output, rule = Sigmoid().forward(z, out=np.empty_like(z)), XENT(weights=WEIGHTS)
    assert math.isclose(rule.score(labels, output), total.item(), rel_tol=2e-6)
    result = rule.gradient_at_preactivation(labels, output, out=np.empty_like(z))
    np.testing.assert_allclose(result, z_torch.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize(("name", "torch_name", "divisor"), [("l1", "l1_loss", 1), ("mse", "mse_loss", 3)])
def test_regression_agrees_with_torch(name, torch_name, divisor):
    torch = pytest.importorskip("torch")
    labels, output = np.random.default_rng(8).standard_normal((2, 32, 3)).astype(np.float32)
    output_torch = torch.tensor(output, requires_grad=True)
    total = getattr(torch.nn.functional, torch_name)(output_torch, torch.tensor(labels), reduction="sum") / divisor
    total.backward()
    assert math.isclose(loss(name).score(labels, output), total.item(), rel_tol=2e-6)
    np.testing.assert_allclose(gradient(loss(name), labels, output), output_torch.grad.numpy(), rtol=1e-6)
