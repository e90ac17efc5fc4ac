"""Updaters: one contract for all classes, slow references, PyTorch's numbers."""

import dataclasses
import inspect
import math
import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl.errors import ConfigurationError
from minidl.training import UPDATERS, Adam, Nesterovs, NoOp, Sgd, Updater, updater

STEPS = 100


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


# Slow references: the steps for one parameter, from its gradients


def steps_of_noop(rule, gradients):
    yield from gradients


def steps_of_sgd(rule, gradients):
    for g in gradients:
        yield rule.learning_rate * g


def steps_of_nesterovs(rule, gradients):
    v = 0.0
    for g in gradients:
        previous, v = v, rule.momentum * v - rule.learning_rate * g
        yield rule.momentum * previous - (1 + rule.momentum) * v


def steps_of_adam(rule, gradients):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * g**2
        rate = rule.learning_rate * math.sqrt(1 - rule.beta2**t) / (1 - rule.beta1**t)
        yield rate * m / (math.sqrt(v) + (rule.epsilon or 1e-7))


CASES = [
    (NoOp(), steps_of_noop),
    (Sgd(), steps_of_sgd),
    (Sgd(0.3), steps_of_sgd),
    (Nesterovs(), steps_of_nesterovs),
    (Nesterovs(0.01, momentum=0.5), steps_of_nesterovs),
    (Nesterovs(0.01, momentum=0), steps_of_nesterovs),
    (Adam(), steps_of_adam),
    (Adam(0.1, beta1=0.5, beta2=0.9, epsilon=1e-3), steps_of_adam),
    (Adam(epsilon=0), steps_of_adam),
]
RULES = [rule for rule, _ in CASES]
each_rule = pytest.mark.parametrize("rule", RULES, ids=str)


def arrays_for(rule, size, dtype):
    """Return zeroed state and scratch full of NaN."""
    state = [np.zeros(size, dtype) for _ in rule.slots]
    return state, [np.full(size, np.nan, dtype) for _ in range(rule.scratch_arrays)]


def descend(rule, parameters, gradient_of, steps=STEPS):
    """Return the parameters after some steps."""
    parameters = parameters.copy()
    state, scratch = arrays_for(rule, parameters.shape, parameters.dtype)
    for iteration in range(steps):
        step = gradient_of(parameters)
        rule.step(step, state, scratch, iteration)
        parameters -= step
    return parameters


def test_every_class_has_a_reference_and_a_name():
    ours = {cls for cls in subclasses(Updater) if cls.__module__.startswith("minidl.") and not inspect.isabstract(cls)}
    assert {type(rule) for rule in RULES} == ours == set(UPDATERS.values())


@pytest.mark.parametrize(("rule", "reference"), CASES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-6)])
def test_steps_are_those_of_the_reference(rule, reference, dtype, tolerance, rng):
    gradients = (rng.standard_normal((STEPS, 7)) * 10 ** rng.uniform(-3, 3, 7)).astype(dtype)
    gradients[:, 0] = 0
    expected = np.array([list(reference(rule, column)) for column in gradients.astype(float).T]).T
    state, scratch = arrays_for(rule, 7, dtype)
    for iteration, (gradient, steps) in enumerate(zip(gradients, expected, strict=True)):
        assert rule.step(gradient, state, scratch, iteration) is None
        assert np.abs(gradient - steps).max() <= tolerance * np.abs(expected).max()


@each_rule
def test_step_works_in_place_in_one_type(rule, rng):
    for dtype in (np.float32, np.float64):
        gradient = rng.standard_normal(5).astype(dtype)
        state, scratch = arrays_for(rule, 5, dtype)
        rule.step(gradient, tuple(state), tuple(scratch), 0)
        assert {array.dtype for array in (gradient, *state, *scratch)} == {np.dtype(dtype)}
        assert all(np.isfinite(array).all() for array in (gradient, *state))
        assert not rule.slots or all(array.any() for array in state)


@each_rule
def test_pieces_give_the_bits_of_the_whole(rule, rng):
    gradients = rng.standard_normal((10, 50)).astype("f4")
    whole, pieces = arrays_for(rule, 50, "f4"), arrays_for(rule, 50, "f4")
    for iteration, gradient in enumerate(gradients):
        parts = gradient.copy()
        rule.step(gradient, *whole, iteration)
        for piece in (slice(0, 17), slice(17, 18), slice(18, 50)):
            state, scratch = ([array[piece] for array in arrays] for arrays in pieces)
            rule.step(parts[piece], state, scratch, iteration)
        np.testing.assert_array_equal(parts, gradient)


@each_rule
def test_rule_is_frozen_and_compared_by_value(rule):
    assert dataclasses.replace(rule) == rule
    assert hash(dataclasses.replace(rule)) == hash(rule)
    for field in dataclasses.fields(rule):
        assert dataclasses.replace(rule, **{field.name: 0.25}) != rule
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"^cannot assign to field '{field.name}'$"):
            setattr(rule, field.name, 0.25)


@each_rule
def test_numbers_of_numpy_become_floats(rule):
    values = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    same = type(rule)(**{name: np.float64(value) for name, value in values.items()})
    assert same == rule
    assert {type(getattr(same, name)) for name in values} <= {float}


@pytest.mark.parametrize("name", UPDATERS)
def test_names_are_found_in_any_case(name):
    assert updater(name.upper()) == updater(UPDATERS[name]) == UPDATERS[name]()


def test_defaults_are_those_of_dl4j():
    assert Sgd() == Sgd(learning_rate=1e-3)
    assert Nesterovs() == Nesterovs(learning_rate=0.1, momentum=0.9)
    assert Adam() == Adam(learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert [rule.rate(0) for rule in (NoOp(), Sgd(0.3), Nesterovs(0.2), Adam(0.1))] == [1, 0.3, 0.2, 0.1]


def measure_step(name):
    rule, rng = UPDATERS[name](), np.random.default_rng(0)
    gradient = rng.standard_normal(16384).astype("f4")
    state, scratch = arrays_for(rule, gradient.shape, "f4")
    return gauges(lambda: rule.step(gradient, state, scratch, 3))


@pytest.mark.parametrize("name", UPDATERS)
def test_step_allocates_nothing(run_under_counter, name):
    assert_no_allocation(run_under_counter(measure_step, name), arrays_alive=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sgd(-1), "Sgd: learning_rate=-1 is not a finite number of at least 0, such as 0.001."),
        (lambda: Sgd("fast"), "Sgd: learning_rate='fast' is not a finite number of at least 0, such as 0.001."),
        (lambda: Adam(math.nan), "Adam: learning_rate=nan is not a finite number of at least 0, such as 0.001."),
        (lambda: Adam(True), "Adam: learning_rate=True is not a finite number of at least 0, such as 0.001."),
        (
            lambda: Nesterovs(math.inf),
            "Nesterovs: learning_rate=inf is not a finite number of at least 0, such as 0.001.",
        ),
        (lambda: Nesterovs(momentum=1), "Nesterovs: momentum=1 is not in [0, 1). Use 0.9, for example."),
        (lambda: Adam(beta1=-0.1), "Adam: beta1=-0.1 is not in [0, 1). Use 0.9, for example."),
        (lambda: Adam(beta2="x"), "Adam: beta2='x' is not in [0, 1). Use 0.9, for example."),
        (lambda: Adam(epsilon=-1e-8), "Adam: epsilon=-1e-08 is not a small number of at least 0, such as 1e-8."),
        (
            lambda: updater("adamx"),
            "updater='adamx' is not known. Choose one of: adam, nesterovs, noop, sgd; or pass an object of a class "
            "derived from Updater.",
        ),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        make()


class Quadratic:
    """(p - b)^T A (p - b) / 2, with its gradient in NumPy and in PyTorch."""

    def __init__(self, rng):
        root = rng.standard_normal((6, 6))
        self.a, self.b, self.start = root @ root.T / 6 + np.eye(6), rng.standard_normal(6), rng.standard_normal(6)

    def gradient(self, parameters):
        return self.a @ (parameters - self.b)


def descend_in_torch(torch, optimizer, problem, before_step=lambda optimizer, t: None):
    parameters = torch.tensor(problem.start, requires_grad=True)
    optimizer = optimizer([parameters])
    for t in range(1, STEPS + 1):
        parameters.grad = torch.tensor(problem.gradient(parameters.detach().numpy()))
        before_step(optimizer, t)
        optimizer.step()
    return parameters.detach().numpy()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_nesterovs_and_sgd_agree_with_torch(momentum, rng):
    torch, problem = pytest.importorskip("torch"), Quadratic(rng)
    rule = Nesterovs(0.05, momentum) if momentum else Sgd(0.05)
    options = {"momentum": momentum, "nesterov": True} if momentum else {}
    theirs = descend_in_torch(torch, lambda params: torch.optim.SGD(params, lr=0.05, **options), problem)
    ours = descend(rule, problem.start, problem.gradient)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
def test_adam_agrees_with_torch(epsilon, rng):
    torch, problem = pytest.importorskip("torch"), Quadratic(rng)

    def set_epsilon(optimizer, t):  # DL4J adds epsilon to the root before its correction
        optimizer.param_groups[0]["eps"] = epsilon / math.sqrt(1 - 0.999**t)

    theirs = descend_in_torch(torch, lambda params: torch.optim.Adam(params, lr=0.05), problem, set_epsilon)
    ours = descend(Adam(0.05, epsilon=epsilon), problem.start, problem.gradient)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
