"""Updaters: one contract for all classes, slow references, PyTorch's numbers."""

import dataclasses
import inspect
import math
import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl.errors import ConfigurationError
from minidl.serialization import from_data, to_data
from minidl.training import (
    UPDATERS,
    AdaBelief,
    AdaDelta,
    AdaGrad,
    Adam,
    AdaMax,
    AdamW,
    AMSGrad,
    FixedSchedule,
    MapSchedule,
    Nadam,
    Nesterovs,
    NoOp,
    RmsProp,
    Schedule,
    Sgd,
    StepSchedule,
    Updater,
    updater,
)

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


def steps_of_adagrad(rule, gradients):
    epsilon = rule.epsilon or 1e-7
    h = epsilon
    for g in gradients:
        h += g**2
        yield rule.learning_rate * g / (math.sqrt(h) + epsilon)


def steps_of_rmsprop(rule, gradients):
    h = rule.epsilon
    for g in gradients:
        h = rule.decay * h + (1 - rule.decay) * g**2
        yield rule.learning_rate * g / (math.sqrt(h) + rule.epsilon)


def steps_of_adadelta(rule, gradients):
    epsilon, a, x = rule.epsilon or 1e-7, 0.0, 0.0
    for g in gradients:
        a = rule.rho * a + (1 - rule.rho) * g**2
        step = g * math.sqrt(x + epsilon) / math.sqrt(a + epsilon)
        x = rule.rho * x + (1 - rule.rho) * step**2
        yield step


def corrections(rule, t):
    """Return Adam's factor lr sqrt(1-b2^t)/(1-b1^t), and the one without its root."""
    rate = rule.learning_rate / (1 - rule.beta1**t)
    return rate * math.sqrt(1 - rule.beta2**t), rate


def steps_of_adam(rule, gradients):  # AdamW's too: its decay is the network's
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * g**2
        yield corrections(rule, t)[0] * m / (math.sqrt(v) + (rule.epsilon or 1e-7))


def steps_of_amsgrad(rule, gradients):
    m = v = h = 0.0
    for t, g in enumerate(gradients, 1):
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * g**2
        h = max(h, v)
        yield corrections(rule, t)[0] * m / (math.sqrt(h) + (rule.epsilon or 1e-7))


def steps_of_adamax(rule, gradients):
    m = u = 0.0
    for t, g in enumerate(gradients, 1):
        m = rule.beta1 * m + (1 - rule.beta1) * g
        u = max(rule.beta2 * u, abs(g)) + 1e-32
        yield corrections(rule, t)[1] * m / u


def steps_of_nadam(rule, gradients):
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m = rule.beta1 * m + (1 - rule.beta1) * g
        v = rule.beta2 * v + (1 - rule.beta2) * g**2
        ahead = rule.beta1 * m + (1 - rule.beta1) * g
        yield corrections(rule, t)[1] * ahead / (math.sqrt(v) + (rule.epsilon or 1e-7))


def steps_of_adabelief(rule, gradients):
    epsilon, m, u = rule.epsilon or 1e-7, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        m = rule.beta1 * m + (1 - rule.beta1) * g
        u = rule.beta2 * u + (1 - rule.beta2) * (g - m) ** 2 + epsilon
        yield corrections(rule, t)[0] * m / (math.sqrt(u) + epsilon)


ADAM_OPTIONS = ({}, dict(learning_rate=0.1, beta1=0.5, beta2=0.9, epsilon=1e-3), dict(epsilon=0), dict(beta1=0))
CASES = [
    (NoOp(), steps_of_noop),
    (Sgd(), steps_of_sgd),
    (Sgd(0.3), steps_of_sgd),
    (Nesterovs(), steps_of_nesterovs),
    (Nesterovs(0.01, momentum=0.5), steps_of_nesterovs),
    (Nesterovs(0.01, momentum=0), steps_of_nesterovs),
    (AdaGrad(), steps_of_adagrad),
    (AdaGrad(0.01, epsilon=1e-2), steps_of_adagrad),
    (AdaGrad(epsilon=0), steps_of_adagrad),
    (RmsProp(), steps_of_rmsprop),
    (RmsProp(0.01, decay=0.5, epsilon=1e-2), steps_of_rmsprop),
    (AdaDelta(), steps_of_adadelta),
    (AdaDelta(rho=0.5, epsilon=1e-2), steps_of_adadelta),
    (AdaDelta(epsilon=0), steps_of_adadelta),
    *((Adam(**options), steps_of_adam) for options in ADAM_OPTIONS),
    *((AdamW(**options), steps_of_adam) for options in ADAM_OPTIONS),
    *((AMSGrad(**options), steps_of_amsgrad) for options in ADAM_OPTIONS),
    *((AdaMax(**options), steps_of_adamax) for options in ADAM_OPTIONS),
    *((Nadam(**options), steps_of_nadam) for options in ADAM_OPTIONS),
    *((AdaBelief(**options), steps_of_adabelief) for options in ADAM_OPTIONS),
]
RULES = [rule for rule, _ in CASES]
each_rule = pytest.mark.parametrize("rule", RULES, ids=str)
each_class = pytest.mark.parametrize("cls", UPDATERS.values(), ids=UPDATERS)


def arrays_for(rule, size, dtype):
    """Return state at its start and scratch full of NaN."""
    state = [np.full(size, rule.start(slot), dtype) for slot in rule.slots]
    return state, [np.full(size, np.nan, dtype) for _ in range(rule.scratch_arrays)]


def descend(rule, parameters, gradient_of, steps=STEPS):
    """Return the parameters after some steps, with the decay that the network adds to them."""
    parameters = parameters.copy()
    state, scratch = arrays_for(rule, parameters.shape, parameters.dtype)
    for iteration in range(steps):
        step = gradient_of(parameters)
        rule.step(step, state, scratch, iteration)
        step += rule.decoupled_weight_decay * rule.rate(iteration) * parameters
        parameters -= step
    return parameters


def test_every_class_has_a_reference_and_a_name():
    ours = {cls for cls in subclasses(Updater) if cls.__module__.startswith("minidl.") and not inspect.isabstract(cls)}
    assert {type(rule) for rule in RULES} == ours == set(UPDATERS.values())


@pytest.mark.parametrize(("rule", "reference"), CASES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 3e-6)])
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


@pytest.mark.parametrize("kind", [np.float64, np.array])
@each_rule
def test_numbers_of_numpy_become_floats(rule, kind):
    values = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    same = type(rule)(**{name: kind(value) for name, value in values.items()})
    assert same == rule
    assert {type(getattr(same, name)) for name in values} <= {float}


@pytest.mark.parametrize("name", UPDATERS)
def test_names_are_found_in_any_case(name):
    assert updater(name.upper()) == updater(UPDATERS[name]) == UPDATERS[name]()


ADAM_DEFAULTS = dict(learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8)
DEFAULTS = {
    NoOp: {},
    Sgd: dict(learning_rate=1e-3),
    Nesterovs: dict(learning_rate=0.1, momentum=0.9),
    AdaGrad: dict(learning_rate=0.1, epsilon=1e-6),
    RmsProp: dict(learning_rate=0.1, decay=0.95, epsilon=1e-8),
    AdaDelta: dict(rho=0.95, epsilon=1e-6),
    Adam: ADAM_DEFAULTS,
    AdaMax: ADAM_DEFAULTS,
    Nadam: ADAM_DEFAULTS,
    AMSGrad: ADAM_DEFAULTS,
    AdaBelief: ADAM_DEFAULTS | dict(epsilon=1e-14),
    AdamW: ADAM_DEFAULTS | dict(weight_decay=0.01),  # PyTorch's: DL4J has no AdamW
}


@each_class
def test_defaults_are_those_of_dl4j(cls):
    assert list(dataclasses.asdict(cls()).items()) == list(DEFAULTS[cls].items())
    assert cls().rate(0) == DEFAULTS[cls].get("learning_rate", 1)


# The state of one parameter after a first gradient of 2, worked out from the formulas
FIRST_STATE = {
    Nesterovs: {"v": -0.1 * 2},
    AdaGrad: {"h": 1e-6 + 4},
    RmsProp: {"h": 0.95 * 1e-8 + 0.05 * 4},
    AdaDelta: {"a": 0.05 * 4, "x": 0.05 * 4 * 1e-6 / (0.05 * 4 + 1e-6)},
    Adam: {"m": 0.2, "v": 0.004},
    AdamW: {"m": 0.2, "v": 0.004},
    AMSGrad: {"m": 0.2, "v": 0.004, "h": 0.004},
    AdaMax: {"m": 0.2, "u": 2},
    Nadam: {"m": 0.2, "v": 0.004},
    AdaBelief: {"m": 0.2, "u": 0.001 * 1.8**2 + 1e-14},
}


@each_class
def test_state_after_the_first_step(cls):
    rule = cls()
    state, scratch = arrays_for(rule, 1, "f8")
    rule.step(np.array([2.0]), state, scratch, 0)
    expected = FIRST_STATE.get(cls, {})
    assert rule.slots == tuple(expected)
    np.testing.assert_allclose([float(array[0]) for array in state], list(expected.values()), rtol=1e-13)


@each_class
def test_state_starts_at_zero_or_epsilon(cls):
    starts = {slot: cls().start(slot) for slot in cls.slots}
    assert starts == dict.fromkeys(cls.slots, DEFAULTS[cls]["epsilon"] if cls in (AdaGrad, RmsProp) else 0.0)


@pytest.mark.parametrize("cls", [cls for cls in UPDATERS.values() if hasattr(cls, "epsilon") and cls is not RmsProp])
def test_epsilon_of_zero_is_read_as_1e_7(cls, rng):
    results = []
    for rule in (cls(epsilon=0), cls(epsilon=1e-7)):
        gradient = np.linspace(-1e-7, 1e-7, 5)
        state, scratch = arrays_for(rule, 5, "f8")
        rule.step(gradient, state, scratch, 0)
        results.append((gradient, *state))
    np.testing.assert_array_equal(*results)
    assert cls(epsilon=0).epsilon == 0


def test_epsilon_of_zero_stays_zero_in_rmsprop():
    rule, gradient = RmsProp(0.5, decay=0.75, epsilon=0), np.array([1e-9, -3.0])
    state, scratch = arrays_for(rule, 2, "f8")
    rule.step(gradient, state, scratch, 0)
    np.testing.assert_allclose(gradient, [1, -1], rtol=1e-14)  # 0.5 g / sqrt(0.25 g^2)


# Learning rates: numbers and schedules


class Grows(Schedule):
    """A schedule of a user: iteration / 4 + 10 epoch, in NumPy's float64."""

    def value_at(self, iteration, epoch):
        return np.float64(iteration / 4 + 10 * epoch)


WITH_RATE = [cls for cls in UPDATERS.values() if cls not in (NoOp, AdaDelta)]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "schedule", [MapSchedule("iteration", {0: 0.1, 3: 0.01}), StepSchedule("epoch", 0.1, 0.5, 1), Grows()], ids=str
)
@pytest.mark.parametrize("cls", WITH_RATE)
def test_schedule_gives_the_bits_of_its_numbers(cls, schedule, dtype, rng):
    rule = cls(schedule)
    ours, theirs = arrays_for(rule, 5, dtype), arrays_for(rule, 5, dtype)
    for iteration, gradient in enumerate(rng.standard_normal((10, 5)).astype(dtype)):
        epoch, expected = iteration // 4, gradient.copy()
        rate = float(schedule.value_at(iteration, epoch))
        cls(rate).step(expected, *theirs, iteration)
        rule.step(gradient, *ours, iteration, epoch)
        np.testing.assert_array_equal(gradient, expected)
        assert rule.rate(iteration, epoch) == rate
        assert type(rule.rate(iteration, epoch)) is float
    assert {array.dtype for arrays in ours for array in arrays} <= {np.dtype(dtype)}


def test_momentum_may_be_a_schedule(rng):
    schedule = MapSchedule("epoch", {0: 0.5, 1: 0.9})
    rule = Nesterovs(0.1, schedule)
    ours, theirs = arrays_for(rule, 5, "f8"), arrays_for(rule, 5, "f8")
    for iteration, gradient in enumerate(rng.standard_normal((8, 5))):
        expected = gradient.copy()
        Nesterovs(0.1, 0.5 if iteration < 4 else 0.9).step(expected, *theirs, iteration)
        rule.step(gradient, *ours, iteration, iteration // 4)
        np.testing.assert_array_equal(gradient, expected)


@each_class
def test_learning_rate_can_be_replaced(cls):
    rule = cls()
    assert rule.has_learning_rate == (cls in WITH_RATE)
    if rule.has_learning_rate:
        assert rule.with_learning_rate(0.25) == cls(0.25) != rule
        assert rule.with_learning_rate(FixedSchedule(0.25)).rate(7, 3) == 0.25
        return
    message = f"{cls.__name__} has no learning rate, so it cannot be 0.25. Use an updater that has one, such as Sgd."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        rule.with_learning_rate(0.25)


def test_other_options_stay_with_another_learning_rate():
    assert AdamW(0.1, 0.5, 0.9, 1e-3, 0.2).with_learning_rate(1) == AdamW(1, 0.5, 0.9, 1e-3, 0.2)


@each_class
def test_only_adamw_decays_by_itself(cls):
    assert cls().decoupled_weight_decay == (0.01 if cls is AdamW else 0)


@pytest.mark.parametrize("rule", [*RULES, Nesterovs(Grows(), FixedSchedule(0.5)), Adam(FixedSchedule(0.1))], ids=str)
def test_json_round_trip(rule):
    assert from_data(to_data(rule), [Updater, Schedule]) == rule


@dataclasses.dataclass(frozen=True)
class Gives(Schedule):
    """A schedule of a user, without checks: 0.5, and ``value`` from iteration ``since`` on."""

    value: object
    since: int = 7

    def value_at(self, iteration, epoch):
        return self.value if iteration >= self.since else 0.5


def assert_refused(call, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf, "0.1", None])
@pytest.mark.parametrize("cls", WITH_RATE)
def test_rate_of_a_schedule_is_checked(cls, value):
    def message(since, when):
        return (
            f"{cls.__name__}: the schedule learning_rate=Gives(value={value!r}, since={since}) gives {value!r} at "
            f"{when}, which is not a finite number of at least 0, such as 0.001."
        )

    rule = cls(Gives(value))
    rule.check_now(6, 2)
    assert_refused(lambda: rule.check_now(7, 2), message(7, "iteration 7, epoch 2"))
    assert_refused(lambda: rule.step(np.ones(3), *arrays_for(rule, 3, "f8"), 7, 2), message(7, "iteration 7, epoch 2"))
    assert_refused(lambda: cls(Gives(value, 0)), message(0, "iteration 0, epoch 0"))
    assert_refused(lambda: cls().with_learning_rate(Gives(value, 0)), message(0, "iteration 0, epoch 0"))


@pytest.mark.parametrize("value", [-0.5, 1, math.nan])
def test_momentum_of_a_schedule_is_checked(value):
    def message(since, when):
        return (
            f"Nesterovs: the schedule momentum=Gives(value={value!r}, since={since}) gives {value!r} at {when}, which "
            "is not in [0, 1). Use 0.9, for example."
        )

    rule = Nesterovs(0.1, Gives(value))
    rule.check_now(6, 2)
    assert_refused(lambda: rule.check_now(7, 2), message(7, "iteration 7, epoch 2"))
    assert_refused(lambda: rule.step(np.ones(3), *arrays_for(rule, 3, "f8"), 7, 2), message(7, "iteration 7, epoch 2"))
    assert_refused(lambda: Nesterovs(0.1, Gives(value, 0)), message(0, "iteration 0, epoch 0"))


def test_momentum_that_is_too_large_from_the_start():
    message = (
        "Nesterovs: the schedule momentum=FixedSchedule(value=1.5) gives 1.5 at iteration 0, epoch 0, which is not in "
        "[0, 1). Use 0.9, for example."
    )
    assert_refused(lambda: Nesterovs(0.1, momentum=FixedSchedule(1.5)), message)


@dataclasses.dataclass(frozen=True)
class OfUser(Updater):
    """A rule of a user, which checks nothing."""

    learning_rate: object

    def step(self, gradient, state, scratch, iteration, epoch=0):
        gradient *= self.rate(iteration, epoch)


def test_rate_of_a_rule_of_a_user_is_checked():
    message = (
        "OfUser: the schedule learning_rate=Gives(value=-1, since={}) gives -1 at iteration {}, epoch 0, which is not "
        "a finite number of at least 0, such as 0.001."
    )
    assert_refused(lambda: OfUser(Gives(-1)).check_now(8), message.format(7, 8))
    assert_refused(lambda: OfUser(Gives(-1, 0)), message.format(0, 0))


@each_rule
def test_numbers_have_nothing_to_be_checked_later(rule, monkeypatch):
    monkeypatch.setattr(Updater, "rate", None)
    assert rule.check_now(10**6, 10**6) is None


def measure_step(name, options=()):
    rule, rng = UPDATERS[name](*from_data(list(options), [Schedule])), np.random.default_rng(0)
    gradient = rng.standard_normal(16384).astype("f4")
    state, scratch = arrays_for(rule, gradient.shape, "f4")
    return gauges(lambda: rule.step(gradient, state, scratch, 3))


@pytest.mark.parametrize("name", UPDATERS)
def test_step_allocates_nothing(run_under_counter, name):
    assert_no_allocation(run_under_counter(measure_step, name), arrays_alive=0)


def test_step_with_schedules_allocates_nothing(run_under_counter):
    schedules = [to_data(MapSchedule("iteration", {0: 0.1, 3: 0.2})), to_data(StepSchedule("epoch", 0.9, 0.5, 2))]
    assert_no_allocation(run_under_counter(measure_step, "nesterovs", schedules), arrays_alive=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sgd(-1), "Sgd: learning_rate=-1 is not a finite number of at least 0, such as 0.001, or a Schedule."),
        (
            lambda: Sgd("fast"),
            "Sgd: learning_rate='fast' is not a finite number of at least 0, such as 0.001, or a Schedule.",
        ),
        (
            lambda: Adam(math.nan),
            "Adam: learning_rate=nan is not a finite number of at least 0, such as 0.001, or a Schedule.",
        ),
        (
            lambda: Adam(True),
            "Adam: learning_rate=True is not a finite number of at least 0, such as 0.001, or a Schedule.",
        ),
        (
            lambda: Nesterovs(math.inf),
            "Nesterovs: learning_rate=inf is not a finite number of at least 0, such as 0.001, or a Schedule.",
        ),
        (lambda: Nesterovs(momentum=1), "Nesterovs: momentum=1 is not in [0, 1). Use 0.9, for example."),
        (lambda: Adam(beta1=-0.1), "Adam: beta1=-0.1 is not in [0, 1). Use 0.9, for example."),
        (lambda: Adam(beta2="x"), "Adam: beta2='x' is not in [0, 1). Use 0.9, for example."),
        (lambda: Adam(epsilon=-1e-8), "Adam: epsilon=-1e-08 is not a small number of at least 0, such as 1e-8."),
        (lambda: RmsProp(decay=1.5), "RmsProp: decay=1.5 is not in [0, 1). Use 0.9, for example."),
        (lambda: AdaDelta(rho=1), "AdaDelta: rho=1 is not in [0, 1). Use 0.9, for example."),
        (lambda: AdaDelta(epsilon="0"), "AdaDelta: epsilon='0' is not a small number of at least 0, such as 1e-8."),
        (
            lambda: AdamW(weight_decay=-0.1),
            "AdamW: weight_decay=-0.1 is not a finite number of at least 0, such as 0.01.",
        ),
        (
            lambda: Adam(10**400),
            f"Adam: learning_rate={10**400} is not a finite number of at least 0, such as 0.001, or a Schedule.",
        ),
        (
            lambda: Adam().with_learning_rate(-1),
            "Adam: learning_rate=-1 is not a finite number of at least 0, such as 0.001, or a Schedule.",
        ),
        (
            lambda: AdaDelta(learning_rate=0.1),
            "AdaDelta has no option 'learning_rate'. Its options: rho, epsilon.",
        ),
        (
            lambda: updater("x", "bias_updater"),
            "bias_updater='x' is not known. Choose one of: adabelief, adadelta, adagrad, adam, adamax, adamw, amsgrad, "
            "nadam, nesterovs, noop, rmsprop, sgd; or pass an object of a class derived from Updater.",
        ),
        (
            lambda: updater("adamx"),
            "updater='adamx' is not known. Choose one of: adabelief, adadelta, adagrad, adam, adamax, adamw, amsgrad, "
            "nadam, nesterovs, noop, rmsprop, sgd; or pass an object of a class derived from Updater.",
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


def epsilon_of_dl4j(epsilon):
    """Return a hook: DL4J adds epsilon to the root before its correction."""

    def set_epsilon(optimizer, t):
        optimizer.param_groups[0]["eps"] = epsilon / math.sqrt(1 - 0.999**t)

    return set_epsilon


def start_at(epsilon):
    """Return a hook: DL4J's squared average starts at epsilon."""

    def set_state(optimizer, t):
        if t == 1:
            (parameters,) = optimizer.param_groups[0]["params"]
            optimizer.state[parameters] = {"step": 0 * parameters[0].detach(), "square_avg": 0 * parameters.detach()}
            optimizer.state[parameters]["square_avg"] += epsilon

    return set_state


def nothing(optimizer, t):
    pass


# rule -> the optimizer of PyTorch, its options, what differs by definition
IN_TORCH = [
    *((Adam(0.05, epsilon=eps), "Adam", {}, epsilon_of_dl4j(eps)) for eps in (1e-8, 1e-2)),
    *((AMSGrad(0.05, epsilon=eps), "Adam", {"amsgrad": True}, epsilon_of_dl4j(eps)) for eps in (1e-8, 1e-2)),
    *((AdamW(0.05, weight_decay=c), "AdamW", {"weight_decay": c}, epsilon_of_dl4j(1e-8)) for c in (0, 0.01, 0.5)),
    (AdaMax(0.05), "Adamax", {"eps": 1e-32}, nothing),
    *((AdaGrad(0.1, eps), "Adagrad", {"eps": eps, "initial_accumulator_value": eps}, nothing) for eps in (1e-6, 1e-2)),
    *(
        (RmsProp(0.01, d, eps), "RMSprop", {"alpha": d, "eps": eps}, start_at(eps))
        for d in (0.5, 0.95)
        for eps in (1e-8, 1e-2)
    ),
    *((AdaDelta(0.9, eps), "Adadelta", {"lr": 1, "rho": 0.9, "eps": eps}, nothing) for eps in (1e-6, 1e-2)),
]


@pytest.mark.parametrize(("rule", "name", "options", "before_step"), IN_TORCH, ids=str)
def test_adaptive_rules_agree_with_torch(rule, name, options, before_step, rng):
    torch, problem = pytest.importorskip("torch"), Quadratic(rng)
    options = {"lr": rule.rate(0)} | options
    theirs = descend_in_torch(torch, lambda params: getattr(torch.optim, name)(params, **options), problem, before_step)
    ours = descend(rule, problem.start, problem.gradient)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    assert np.abs(ours - problem.start).max() > 1e-3


def test_all_that_torch_has_are_compared():
    compared = {type(rule) for rule, *_ in IN_TORCH} | {Nesterovs, Sgd}
    assert set(UPDATERS.values()) - compared == {
        NoOp,
        AdaBelief,  # not in PyTorch
        Nadam,  # PyTorch's has a momentum that grows with t, and a corrected root
    }
