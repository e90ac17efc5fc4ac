"""Values and gradients of losses: formulas in plain Python over the whole range, PyTorch's numbers."""

import itertools
import math

import numpy as np
import pytest

from minidl.functions import LOSSES, MCXENT, XENT, CosineProximity, Sigmoid, Softmax, loss

WEIGHTS = (0.5, 2.0, 1.5)
PROBABILITIES = [0.0, 1e-20, 1e-7, 1e-3, 0.3, 0.5, 0.9, 1.0]
NUMBERS = [-1e15, -1e7, -30.0, -1.0, -1e-3, -1e-30, 0.0, 1e-30, 1e-9, 1e-3, 0.5, 1.0, 3.0, 1e3, 1e7, 1e15]
POSITIVE = [number for number in NUMBERS if number >= 0]


def clip(value, smallest):
    return min(max(value, smallest), 1 - smallest)


def binary_cross_entropy(y, a):
    a = clip(a, 1e-5)
    return -(y * math.log(a) + (1 - y) * math.log(1 - a))


def divergence(y, a):
    y, a = min(max(y, 1e-5), 1), min(max(a, 1e-5), 1)
    return y * math.log(y / a)


def log_ratio(y, a):
    return math.log1p(a) - math.log1p(y)  # log((1 + a) / (1 + y))


def sign(value):
    return (value > 0) - (value < 0)


def rate(a):
    return max(a, 1e-10)


# name: the loss of one element and its derivative by a, from label y and output a of n outputs
ELEMENTS = {
    "hinge": (lambda y, a, n: max(0, 1 - a * y), lambda y, a, n: -y if a * y < 1 else 0),
    "kl_divergence": (lambda y, a, n: divergence(y, a), lambda y, a, n: -y / rate(a)),
    "l1": (lambda y, a, n: abs(a - y), lambda y, a, n: sign(a - y)),
    "l2": (lambda y, a, n: (a - y) ** 2, lambda y, a, n: 2 * (a - y)),
    "mcxent": (lambda y, a, n: -y * math.log(clip(a, 1e-10)), lambda y, a, n: -y / rate(a)),
    "mean_absolute_error": (lambda y, a, n: abs(a - y) / n, lambda y, a, n: sign(a - y) / n),
    "mean_absolute_percentage_error": (
        lambda y, a, n: 100 / n * abs(a - y) / max(abs(y), 1e-7),
        lambda y, a, n: 100 / n * sign(a - y) / max(abs(y), 1e-7),
    ),
    "mean_squared_logarithmic_error": (
        lambda y, a, n: log_ratio(y, a) ** 2 / n,
        lambda y, a, n: 2 / n * log_ratio(y, a) / (1 + a),
    ),
    "mse": (lambda y, a, n: (a - y) ** 2 / n, lambda y, a, n: 2 / n * (a - y)),
    "poisson": (lambda y, a, n: a - y * math.log(rate(a)), lambda y, a, n: 1 - y / rate(a)),
    "squared_hinge": (lambda y, a, n: max(0, 1 - a * y) ** 2, lambda y, a, n: -2 * y * max(0, 1 - a * y)),
    "wasserstein": (lambda y, a, n: a * y, lambda y, a, n: y),
    "xent": (lambda y, a, n: binary_cross_entropy(y, a), lambda y, a, n: (a - y) / rate(a * (1 - a))),
}
SAME = {
    "negativeloglikelihood": "mcxent",
    "reconstruction_crossentropy": "kl_divergence",
    "sparse_mcxent": "mcxent",
    "squared_loss": "mse",
}
ELEMENTS |= {name: ELEMENTS[same] for name, same in SAME.items()}

# name: labels and outputs that go together
RANGES = dict.fromkeys(ELEMENTS, (NUMBERS, NUMBERS)) | {
    **dict.fromkeys(("hinge", "squared_hinge", "wasserstein"), ([-1.0, 1.0], NUMBERS)),
    **dict.fromkeys(("kl_divergence", "reconstruction_crossentropy", "xent"), (PROBABILITIES, PROBABILITIES)),
    **dict.fromkeys(("mcxent", "negativeloglikelihood", "sparse_mcxent"), (PROBABILITIES, PROBABILITIES)),
    "mean_squared_logarithmic_error": ([-0.9, -0.5, *POSITIVE], [-0.9, -0.5, *POSITIVE]),
    "poisson": (POSITIVE, NUMBERS),
}


def gradient(rule, labels, output, mask=None):
    return rule.gradient(labels, output, out=np.empty_like(output), mask=mask)


def scores(rule, labels, output, mask=None):
    return rule.scores(labels, output, out=np.empty(len(output), output.dtype), mask=mask)


def pairs(name, dtype):
    """Return all pairs of a label and an output, one for each example of one output."""
    table = np.array(list(itertools.product(*RANGES[name])), dtype)
    return table[:, :1].copy(), table[:, 1:].copy()


def references(formula, labels, output):
    return [formula(y, a, 1) for y, a in zip(labels[:, 0].tolist(), output[:, 0].tolist(), strict=True)]


def test_every_elementwise_loss_has_its_formula():
    assert ELEMENTS.keys() | {"cosine_proximity"} == LOSSES.keys()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("name", sorted(ELEMENTS))
def test_scores_over_the_whole_range(name, dtype, tolerance):
    labels, output = pairs(name, dtype)
    with np.errstate(all="raise", under="ignore"):
        result = scores(loss(name), labels, output)
    assert result.dtype == dtype
    expected = references(ELEMENTS[name][0], labels, output)
    if name == "xent" and dtype == "float32":
        tolerance = 2e-4  # the bound nearest to 1 - 1e-5 is 1.4e-8 above it: 1.4e-3 of what is left to 1
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("name", sorted(ELEMENTS))
def test_gradients_over_the_whole_range(name, dtype, tolerance):
    labels, output = pairs(name, dtype)
    with np.errstate(all="raise", under="ignore"):
        result = gradient(loss(name), labels, output)
    assert result.dtype == dtype
    expected = references(ELEMENTS[name][1], labels, output)
    np.testing.assert_allclose(result[:, 0], expected, rtol=tolerance, atol=tolerance / 10)


def probable(rng, rows):
    """Return labels and outputs that are fine for every loss: rows of probabilities."""
    return rng.dirichlet(np.ones(3), rows), rng.dirichlet(np.ones(3), rows)


def cosine(labels, output):
    norms = [max(math.sqrt(sum(value**2 for value in row)), 1e-5) for row in (labels, output)]
    return [-y * a / (norms[0] * norms[1]) for y, a in zip(labels, output, strict=True)]


@pytest.mark.parametrize("mask_shape", [None, (4,), (4, 1), (4, 3)])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_scores_against_a_loop(name, weights, mask_shape):
    rng = np.random.default_rng(2)
    labels, output = probable(rng, 4)
    mask = None if mask_shape is None else rng.uniform(0.2, 2, mask_shape)
    factors = np.ones((4, 3)) * (weights or 1.0) * (1 if mask is None else mask.reshape(4, -1))
    expected = []
    for factor, y, a in zip(factors.tolist(), labels.tolist(), output.tolist(), strict=True):
        row = (
            cosine(y, a)
            if name == "cosine_proximity"
            else [ELEMENTS[name][0](*pair, 3) for pair in zip(y, a, strict=True)]
        )
        expected.append(sum(f * element for f, element in zip(factor, row, strict=True)))
    rule = LOSSES[name](weights=weights)
    np.testing.assert_allclose(scores(rule, labels, output, mask), expected, rtol=1e-12)
    assert math.isclose(rule.score(labels, output, mask=mask), sum(expected), rel_tol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_large_numbers_give_no_warning_and_no_nan(name, dtype):
    values = [-1e15, -1.0, -1e-5, 0.0, 1e-20, 1.0, 1e15]
    of_kind = {"values": values, "signs": [-1.0, 1.0], "probabilities": [0.0, 1.0], "classes": [0.0, 1.0]}
    table = np.array(list(itertools.product(of_kind[loss(name).label_kind], values, values)), dtype)
    labels, output = table[:, [0, 0]], np.ascontiguousarray(table[:, 1:])
    with np.errstate(all="raise", under="ignore"):
        results = scores(loss(name), labels, output), gradient(loss(name), labels, output)
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
def test_gradients_of_signs_overflow_at_no_output_of_which_they_are_finite(name):
    largest = float(np.finfo("f4").max) / (2 if name == "squared_hinge" else 1)
    table = np.array(list(itertools.product([-1.0, 1.0], [-largest, -1e20, 1e20, largest])), "f4")
    labels, output = table[:, :1].copy(), table[:, 1:].copy()
    with np.errstate(all="raise"):
        result = gradient(loss(name), labels, output)
    expected = references(ELEMENTS[name][1], labels, output)
    np.testing.assert_allclose(result[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-2), ("float64", 1e-8)])
def test_logarithmic_error_of_numbers_without_logarithm(dtype, tolerance):
    labels, output = np.array([[0.0], [-1.0]], dtype), np.array([[-1.0], [-7.0]], dtype)
    score = math.log(1e-7) ** 2  # in float32 the number nearest to -1 + 1e-7 is -1 + 1.2e-7
    np.testing.assert_allclose(
        scores(loss("MEAN_SQUARED_LOGARITHMIC_ERROR"), labels, output), [score, 0], rtol=tolerance
    )
    result = gradient(loss("mean_squared_logarithmic_error"), labels, output)
    np.testing.assert_allclose(result, [[2 * math.log(1e-7) / 1e-7], [0]], rtol=10 * tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("size", [1e-20, 1e-6, 0.99e-5, 1.01e-5, 1e-3, 1.0, 1e10, 1e15])
def test_cosine_of_vectors_of_any_length(size, dtype, tolerance):
    rng = np.random.default_rng(11)
    labels, output = rng.standard_normal((2, 6, 3)) * [[[3e4]], [[1.0]]]
    output *= size / np.sqrt((output**2).sum(axis=1, keepdims=True))
    labels, output = labels.astype(dtype), output.astype(dtype)
    with np.errstate(all="raise", under="ignore"):
        result, d_output = scores(CosineProximity(), labels, output), gradient(CosineProximity(), labels, output)
    y, a = labels.astype(float), output.astype(float)
    y /= np.sqrt((y**2).sum(axis=1, keepdims=True))
    norm = np.maximum(np.sqrt((a**2).sum(axis=1, keepdims=True)), 1e-5)
    projection = (y * a).sum(axis=1, keepdims=True) / norm
    np.testing.assert_allclose(result, -projection[:, 0], rtol=tolerance, atol=tolerance * min(1, 1e5 * size))
    expected = -y / norm if size < 1e-5 else (a * projection / norm - y) / norm
    np.testing.assert_allclose(d_output, expected, rtol=10 * tolerance, atol=tolerance / norm.min())


def test_cosine_of_parallel_and_opposite_and_zero_vectors():
    output = np.array([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])
    labels = np.array([[6.0, 8.0], [-3.0, -4.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(scores(CosineProximity(), labels, output), [-1, 1, 0, 0], rtol=1e-15)
    expected = [[0, 0], [0, 0], [-1e5, 0], [0, 0]]
    np.testing.assert_allclose(gradient(CosineProximity(), labels, output), expected, rtol=1e-15, atol=1e-16)


def test_masked_outputs_count_in_the_norms_of_cosine():
    labels, output, mask = (np.array([row]) for row in ([1.0, 1.0], [3.0, 4.0], [1.0, 0.0]))
    np.testing.assert_allclose(scores(CosineProximity(), labels, output, mask), [-3 / 5 / math.sqrt(2)], rtol=1e-15)


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


def _torch_cosine(f, a, y):
    return -f.cosine_similarity(a, y, dim=1, eps=1e-12)


TORCH = {
    "cosine_proximity": _torch_cosine,
    "hinge": lambda f, a, y: (1 - a * y).clamp(min=0),
    "kl_divergence": lambda f, a, y: f.kl_div(a.log(), y, reduction="none"),
    "l1": lambda f, a, y: f.l1_loss(a, y, reduction="none"),
    "l2": lambda f, a, y: f.mse_loss(a, y, reduction="none"),
    "mean_absolute_error": lambda f, a, y: f.l1_loss(a, y, reduction="none") / 3,
    "mean_absolute_percentage_error": lambda f, a, y: 100 / 3 * ((a - y) / y).abs(),
    "mean_squared_logarithmic_error": lambda f, a, y: f.mse_loss(a.log1p(), y.log1p(), reduction="none") / 3,
    "mse": lambda f, a, y: f.mse_loss(a, y, reduction="none") / 3,
    "poisson": lambda f, a, y: f.poisson_nll_loss(a, y, log_input=False, eps=1e-10, reduction="none"),
    "squared_hinge": lambda f, a, y: (1 - a * y).clamp(min=0) ** 2,
    "wasserstein": lambda f, a, y: a * y,
}


@pytest.mark.parametrize("shape", [(32, 3), (8, 3, 5)])
@pytest.mark.parametrize("name", sorted(TORCH))
def test_agrees_with_torch(name, shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    labels, output = rng.uniform(0.1, 1, (2, *shape)).astype(np.float32)
    if "hinge" in name:
        labels, output = np.sign(labels - 0.5), 3 * output
    output_torch = torch.tensor(output, requires_grad=True)
    total = TORCH[name](torch.nn.functional, output_torch, torch.tensor(labels)).sum()
    total.backward()
    assert math.isclose(loss(name).score(labels, output), total.item(), rel_tol=2e-6)
    result = gradient(loss(name), labels, output)
    np.testing.assert_allclose(result, output_torch.grad.numpy(), rtol=2e-6, atol=1e-6)


def test_mcxent_over_time_agrees_with_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(12)
    z, classes = rng.normal(0, 3, (8, 3, 5)).astype(np.float32), rng.integers(0, 3, (8, 5))
    mask = rng.integers(0, 2, (8, 5)).astype(np.float32)
    labels = np.ascontiguousarray(np.moveaxis(np.eye(3, dtype=np.float32)[classes], 2, 1))
    z_torch = torch.tensor(z, requires_grad=True)
    losses = torch.nn.functional.cross_entropy(z_torch, torch.tensor(classes), reduction="none")
    total = (losses * torch.tensor(mask)).sum()
    total.backward()
    output, rule = Softmax().forward(z, out=np.empty_like(z)), MCXENT()
    assert math.isclose(rule.score(labels, output, mask=mask), total.item(), rel_tol=2e-6)
    result = rule.gradient_at_preactivation(labels, output, out=np.empty_like(z), mask=mask)
    np.testing.assert_allclose(result, z_torch.grad.numpy(), atol=1e-6)
