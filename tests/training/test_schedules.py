"""Schedules: one contract for all classes, slow tables from the formulas, numbers worked out by hand."""

import dataclasses
import inspect
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ConfigurationError
from minidl.serialization import from_data, to_data
from minidl.training import (
    SCHEDULES,
    CosineWarmupSchedule,
    CycleSchedule,
    ExponentialSchedule,
    FixedSchedule,
    InverseSchedule,
    MapSchedule,
    PolySchedule,
    RampSchedule,
    Schedule,
    ScheduleType,
    SigmoidSchedule,
    StepSchedule,
)

TIMES = [*range(30), 99, 100, 101, 999, 1000, 12345]


# Slow references: the value at i, from the formula


def map_at(schedule, i):
    value = None
    for key, number in schedule.values:
        if key <= i:
            value = number
    return value


def step_at(schedule, i):
    value = schedule.initial_value
    for passed in range(1, i + 1):
        if passed % schedule.step == 0:
            value *= schedule.decay_rate
    return value


def exponential_at(schedule, i):
    return schedule.initial_value * math.prod([schedule.gamma] * i)


def inverse_at(schedule, i):
    return schedule.initial_value / math.pow(1 + schedule.gamma * i, schedule.power)


def poly_at(schedule, i):
    left = max(0, schedule.max_iterations - i) / schedule.max_iterations
    return schedule.initial_value * math.pow(left, schedule.power) if left else 0


def sigmoid_at(schedule, i):  # 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2
    return schedule.initial_value * (1 + math.tanh(schedule.gamma * (i - schedule.step_size) / 2)) / 2


def cycle_at(schedule, i):
    up = (schedule.cycle_length - schedule.annealing_length) // 2
    low, high = schedule.initial_value, schedule.max_value
    one_cycle = [low + (high - low) * p / up for p in range(up)]
    one_cycle += [high - (high - low) * p / up for p in range(up)]
    while len(one_cycle) < schedule.cycle_length:
        power = schedule.annealing_length - (schedule.cycle_length - len(one_cycle))
        one_cycle.append(low * math.pow(schedule.annealing_decay, power))
    return one_cycle[i % len(one_cycle)]


def cosine_warmup_at(schedule, i):
    if i < schedule.warmup:
        return schedule.initial_value / schedule.warmup * (i + 1)
    part = min(1, (i - schedule.warmup) / max(1, schedule.total - schedule.warmup)) if i < schedule.total else 1
    share = math.cos(math.pi / 2 * part) ** 2  # (1 + cos x) / 2 = cos^2 (x / 2)
    return share * schedule.initial_value + (1 - share) * schedule.final_value


CASES = [
    (MapSchedule("iteration", {0: 0.05, 4: 0.04, 100: 0}), map_at),
    (MapSchedule("iteration", {0: 0.05}), map_at),
    (StepSchedule("iteration", 0.1, 0.5, 10), step_at),
    (StepSchedule("iteration", 0.1, 0, 7), step_at),
    (StepSchedule("iteration", 0.1, 1.5, 1000), step_at),
    (ExponentialSchedule("iteration", 0.1, 0.99), exponential_at),
    (ExponentialSchedule("iteration", 0.1, 0), exponential_at),
    (ExponentialSchedule("iteration", 0.1, 1.0001), exponential_at),
    (InverseSchedule("iteration", 0.1, 0.99, 3), inverse_at),
    (InverseSchedule("iteration", 0.1, 0.01, 0.5), inverse_at),
    (InverseSchedule("iteration", 0.1, 0, 0), inverse_at),
    (PolySchedule("iteration", 0.1, 2, 100), poly_at),
    (PolySchedule("iteration", 0.1, 0.5, 1), poly_at),
    (PolySchedule("iteration", 0.1, 0, 10), poly_at),
    (SigmoidSchedule("iteration", 0.1, 0.5, 10), sigmoid_at),
    (SigmoidSchedule("iteration", 0.1, -0.01, 100), sigmoid_at),
    (CycleSchedule("iteration", 0.1, 1, 10, 2, 0.1), cycle_at),
    (CycleSchedule("iteration", 0.1, 1, 10, 3, 0.1), cycle_at),
    (CycleSchedule("iteration", 0.1, 0.1, 2, 0, 0.1), cycle_at),
    (CosineWarmupSchedule("iteration", 0.1, 10, 100), cosine_warmup_at),
    (CosineWarmupSchedule("iteration", 0.1, 0, 20, final_value=0.01), cosine_warmup_at),
    (CosineWarmupSchedule("iteration", 0.1, 20, 20, final_value=0.2), cosine_warmup_at),
]
COUNTED = [schedule for schedule, _ in CASES]
OTHERS = [FixedSchedule(0.5), RampSchedule(StepSchedule("epoch", 0.1, 0.5, 1), 10)]
each_schedule = pytest.mark.parametrize("schedule", COUNTED + OTHERS, ids=str)


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def test_every_class_has_a_reference_and_a_name():
    ours = {c for c in subclasses(Schedule) if c.__module__.startswith("minidl.") and not inspect.isabstract(c)}
    assert {type(schedule) for schedule in COUNTED + OTHERS} == ours == set(SCHEDULES.values())
    assert {name: name + "schedule" for name in SCHEDULES} == {n: c.__name__.lower() for n, c in SCHEDULES.items()}


@pytest.mark.parametrize(("schedule", "reference"), CASES, ids=str)
def test_values_are_those_of_the_formula(schedule, reference):
    expected = [reference(schedule, i) for i in TIMES]
    np.testing.assert_allclose([schedule.value_at(i, 7) for i in TIMES], expected, rtol=1e-10, atol=1e-17)
    by_epoch = dataclasses.replace(schedule, schedule_type="epoch")
    np.testing.assert_allclose([by_epoch.value_at(7, i) for i in TIMES], expected, rtol=1e-10, atol=1e-17)


@pytest.mark.parametrize("kind", ["iteration", "ITERATION", "Iteration", ScheduleType.ITERATION])
def test_type_is_given_by_name_or_member(kind):
    assert MapSchedule(kind, {0: 0.5, 3: 0.25}).value_at(3, 0) == 0.25
    assert MapSchedule(kind, {0: 0.5, 3: 0.25}).schedule_type is ScheduleType.ITERATION


# Worked out by hand; CycleSchedule: s = 4, increment 0.225; with an odd rest of 7: s = 3, the first power is -1
@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (FixedSchedule(0.5), {0: 0.5, 1000: 0.5}),
        (MapSchedule("iteration", {4: 0.04, 0: 0.05}), {0: 0.05, 3: 0.05, 4: 0.04, 99: 0.04}),
        (StepSchedule("iteration", 8, 0.5, 3), {0: 8, 2: 8, 3: 4, 5: 4, 6: 2}),
        (ExponentialSchedule("iteration", 8, 0.5), {0: 8, 1: 4, 3: 1}),
        (InverseSchedule("iteration", 8, 0.5, 2), {0: 8, 2: 2, 6: 0.5}),
        (PolySchedule("iteration", 8, 2, 4), {0: 8, 1: 4.5, 2: 2, 3: 0.5, 4: 0, 5: 0}),
        (SigmoidSchedule("iteration", 8, math.log(3), 2), {1: 2, 2: 4, 3: 6}),
        (RampSchedule(FixedSchedule(8), 4), {0: 2, 1: 4, 2: 6, 3: 8, 4: 8}),
        (RampSchedule(FixedSchedule(8), 1), {0: 8, 1: 8}),
        (
            CycleSchedule("iteration", 0.1, 1, 10, 2, 0.1),
            {0: 0.1, 1: 0.325, 4: 1, 5: 0.775, 7: 0.325, 8: 0.1, 9: 0.01, 10: 0.1, 14: 1},
        ),
        (CycleSchedule("iteration", 0.1, 1, 10, 3, 0.5), {0: 0.1, 3: 1, 5: 0.4, 6: 0.2, 7: 0.1, 8: 0.05, 9: 0.025}),
        (CosineWarmupSchedule("iteration", 8, 4, 8), {0: 2, 3: 8, 4: 8, 6: 4, 8: 0, 9: 0}),
        (CosineWarmupSchedule("iteration", 8, 0, 3, 2), {0: 8, 1: 6.5, 2: 3.5, 3: 2}),
    ],
    ids=str,
)
def test_values_worked_out_by_hand(schedule, values):
    got = [schedule.value_at(i, 0) for i in values]
    np.testing.assert_allclose(got, list(values.values()), rtol=1e-13, atol=1e-17)


def test_ramp_counts_iterations_whatever_its_base_counts():
    ramp = RampSchedule(MapSchedule("epoch", {0: 8, 1: 4}), 4)
    assert [ramp.value_at(i, epoch) for i, epoch in [(0, 0), (1, 0), (1, 1), (3, 1), (0, 9)]] == [2, 4, 2, 4, 1]


@each_schedule
def test_values_are_floats_of_python(schedule):
    assert {type(schedule.value_at(i, epoch)) for i in TIMES for epoch in (0, 5)} == {float}


@each_schedule
def test_json_round_trip(schedule):
    data = json.loads(json.dumps(to_data(schedule)))
    assert from_data(data, [Schedule]) == schedule


@each_schedule
def test_schedule_is_frozen_and_compared_by_value(schedule):
    same = dataclasses.replace(schedule)
    assert same == schedule
    assert hash(same) == hash(schedule)
    field = dataclasses.fields(schedule)[-1].name
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"^cannot assign to field '{field}'$"):
        setattr(schedule, field, 0.25)


def test_map_takes_pairs_and_numbers_of_numpy():
    expected = MapSchedule("epoch", {0: 0.5, 3: 0.25})
    assert expected.values == ((0, 0.5), (3, 0.25))
    for values in ([(3, 0.25), (0, 0.5)], {np.int64(3): np.float64(0.25), 0.0: 0.5}, iter([[0, 0.5], [3, 0.25]])):
        schedule = MapSchedule("epoch", values)
        assert schedule == expected
        assert {(type(key), type(value)) for key, value in schedule.values} == {(int, float)}


def test_numbers_of_numpy_become_those_of_python():
    schedule = StepSchedule("epoch", np.float64(0.1), np.float32(0.5), np.float64(10))
    assert schedule == StepSchedule("epoch", 0.1, 0.5, 10)
    assert [type(value) for value in vars(schedule).values()] == [ScheduleType, float, float, int]


@pytest.mark.parametrize("gamma", [1e3, -1e3, 1e308, -1e308])
def test_sigmoid_far_from_its_middle(gamma):
    schedule = SigmoidSchedule("iteration", 0.1, gamma, 1000)
    low, middle, high = (schedule.value_at(i, 0) for i in (0, 1000, 2000))
    assert (low, middle, high) == ((0, 0.05, 0.1) if gamma > 0 else (0.1, 0.05, 0))


# Whatever the options, a value is a finite number of at least 0, or there is an error

numbers = st.floats(0, 1e300)
counts = st.integers(1, 10**6)
kinds = st.sampled_from(["iteration", "epoch"])
parts = st.floats(0, 1)


@st.composite
def cycles(draw):
    low, high = sorted([draw(numbers), draw(numbers)])
    length = draw(st.integers(2, 10**6))
    return CycleSchedule(draw(kinds), low, high, length, int((length - 2) * draw(parts)), draw(st.floats(1e-300, 2)))


@st.composite
def cosines(draw):
    total = draw(counts)
    return CosineWarmupSchedule(draw(kinds), draw(numbers), int(total * draw(parts)), total, draw(numbers))


tables = st.dictionaries(counts, numbers, max_size=3).map(lambda table: {0: 0.1} | table)
SIMPLE = {
    FixedSchedule: st.builds(FixedSchedule, numbers),
    MapSchedule: st.builds(MapSchedule, kinds, tables),
    StepSchedule: st.builds(StepSchedule, kinds, numbers, numbers, counts),
    ExponentialSchedule: st.builds(ExponentialSchedule, kinds, numbers, numbers),
    InverseSchedule: st.builds(InverseSchedule, kinds, numbers, numbers, numbers),
    PolySchedule: st.builds(PolySchedule, kinds, numbers, numbers, counts),
    SigmoidSchedule: st.builds(SigmoidSchedule, kinds, numbers, st.floats(-1e300, 1e300), counts),
    CycleSchedule: cycles(),
    CosineWarmupSchedule: cosines(),
}
ramps = st.builds(RampSchedule, st.one_of(*SIMPLE.values()), counts)
MADE = SIMPLE | {RampSchedule: ramps}


@pytest.mark.parametrize("cls", SCHEDULES.values())
@given(data=st.data(), iteration=st.integers(0, 10**7), epoch=st.integers(0, 10**4))
def test_values_are_finite_and_not_negative(cls, data, iteration, epoch):
    schedule = data.draw(MADE[cls])
    base = getattr(schedule, "base_schedule", schedule)
    try:
        value = schedule.value_at(iteration, epoch)
    except ConfigurationError:
        value = math.inf
    assert 0 <= value < math.inf or isinstance(base, (StepSchedule, ExponentialSchedule, CycleSchedule))


def test_hypothesis_makes_every_class():
    assert set(MADE) == set(SCHEDULES.values())


@pytest.mark.parametrize(
    ("schedule", "iteration", "epoch"),
    [
        (ExponentialSchedule("iteration", 0.1, 2), 5000, 3),
        (ExponentialSchedule("epoch", 1e300, 2), 0, 50),
        (StepSchedule("iteration", 0.1, 10, 1), 400, 0),
        (RampSchedule(ExponentialSchedule("iteration", 0.1, 2), 10**6), 5000, 3),
    ],
)
def test_values_that_are_too_large(schedule, iteration, epoch):
    message = (
        f"{getattr(schedule, 'base_schedule', schedule)} has grown beyond the largest float at iteration {iteration}, "
        f"epoch {epoch}; a finite number was expected. Choose options that let it fall, or train for a shorter time."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        schedule.value_at(iteration, epoch)


BAD_TABLE = (
    "is not a table of finite numbers of at least 0, with different whole numbers as keys and 0 among them. Use "
    "{0: 0.05, 1000: 0.01}, for example."
)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {1: 0.1},
        {0: 0.1, -1: 0.1},
        {0: 0.1, 1.5: 0.1},
        {0: 0.1, "1": 0.1},
        {0: -0.1},
        {0: math.nan},
        {0: math.inf},
        {0: "0.1"},
        [(0, 0.1), (0, 0.2)],
        [(0, 0.1), (1,)],
        [0, 0.1],
        "text",
        0.1,
        None,
    ],
    ids=str,
)
def test_tables_that_cannot_be(values):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(f'MapSchedule: values={values!r} {BAD_TABLE}')}$"):
        MapSchedule("iteration", values)


NUMBER, COUNT = (
    "is not a finite number of at least 0, such as 0.1.",
    "is not a whole number of at least 1, such as 100.",
)
STARTS = [cls for name, cls in SCHEDULES.items() if name not in ("fixed", "map", "ramp")]


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", None, True, 10**400])
@pytest.mark.parametrize("cls", STARTS)
def test_initial_value_is_checked(cls, value):
    valid = next(schedule for schedule in COUNTED if isinstance(schedule, cls))
    with pytest.raises(ConfigurationError, match=f"^{re.escape(f'{cls.__name__}: initial_value={value!r} {NUMBER}')}$"):
        dataclasses.replace(valid, initial_value=value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: StepSchedule("batch", 0.1, 0.5, 10),
            "schedule_type='batch' is not known. Choose one of: ITERATION, EPOCH.",
        ),
        (lambda: FixedSchedule(-1), f"FixedSchedule: value=-1 {NUMBER}"),
        (lambda: StepSchedule("epoch", 0.1, -0.5, 10), f"StepSchedule: decay_rate=-0.5 {NUMBER}"),
        (lambda: StepSchedule("epoch", 0.1, 0.5, 0), f"StepSchedule: step=0 {COUNT}"),
        (lambda: StepSchedule("epoch", 0.1, 0.5, 2.5), f"StepSchedule: step=2.5 {COUNT}"),
        (lambda: StepSchedule("epoch", 0.1, 0.5, True), f"StepSchedule: step=True {COUNT}"),
        (lambda: StepSchedule("epoch", 0.1, 0.5, math.inf), f"StepSchedule: step=inf {COUNT}"),
        (lambda: ExponentialSchedule("epoch", 0.1, -1), f"ExponentialSchedule: gamma=-1 {NUMBER}"),
        (lambda: InverseSchedule("epoch", 0.1, -1, 1), f"InverseSchedule: gamma=-1 {NUMBER}"),
        (lambda: InverseSchedule("epoch", 0.1, 1, -1), f"InverseSchedule: power=-1 {NUMBER}"),
        (lambda: PolySchedule("epoch", 0.1, -1, 10), f"PolySchedule: power=-1 {NUMBER}"),
        (lambda: PolySchedule("epoch", 0.1, 1, -10), f"PolySchedule: max_iterations=-10 {COUNT}"),
        (
            lambda: SigmoidSchedule("epoch", 0.1, math.nan, 10),
            "SigmoidSchedule: gamma=nan is not a finite number, such as 0.01 to rise or -0.01 to fall.",
        ),
        (lambda: SigmoidSchedule("epoch", 0.1, 1, "10"), f"SigmoidSchedule: step_size='10' {COUNT}"),
        (
            lambda: RampSchedule(0.1, 10),
            "RampSchedule: base_schedule=0.1 is not a Schedule. Use FixedSchedule(0.1), for example.",
        ),
        (lambda: RampSchedule(FixedSchedule(0.1), 0), f"RampSchedule: num_iterations=0 {COUNT}"),
        (
            lambda: CycleSchedule("epoch", 0.1, 0.01, 10, 2, 0.1),
            "CycleSchedule: max_value=0.01 is not a finite number of at least initial_value=0.1.",
        ),
        (lambda: CycleSchedule("epoch", 0.1, 1, 0, 2, 0.1), f"CycleSchedule: cycle_length=0 {COUNT}"),
        (
            lambda: CycleSchedule("epoch", 0.1, 1, 10, -2, 0.1),
            "CycleSchedule: annealing_length=-2 is not a whole number of at least 0, such as 100.",
        ),
        (
            lambda: CycleSchedule("epoch", 0.1, 1, 10, 2, 0),
            "CycleSchedule: annealing_decay=0 is not a finite number above 0, such as 0.1.",
        ),
        (
            lambda: CycleSchedule("epoch", 0.1, 1, 10, 12, 0.1),
            "CycleSchedule: annealing_length=12 leaves 0 of cycle_length=10, at least 2 are needed to go up and down. "
            "Make the annealing shorter or the cycle longer.",
        ),
        (
            lambda: CosineWarmupSchedule("epoch", 0.1, 11, 10),
            "CosineWarmupSchedule: warmup=11 is more than total=10. total counts the warmup too: make it longer, or "
            "the warmup shorter.",
        ),
        (
            lambda: CosineWarmupSchedule("epoch", 0.1, -1, 10),
            "CosineWarmupSchedule: warmup=-1 is not a whole number of at least 0, such as 100.",
        ),
        (lambda: CosineWarmupSchedule("epoch", 0.1, 0, 0), f"CosineWarmupSchedule: total=0 {COUNT}"),
        (
            lambda: CosineWarmupSchedule("epoch", 0.1, 1, 10, final_value=-1),
            f"CosineWarmupSchedule: final_value=-1 {NUMBER}",
        ),
        (
            lambda: StepSchedule("epoch", 0.1, 0.5, steps=10),
            "StepSchedule has no option 'steps'. Did you mean 'step'? Its options: schedule_type, initial_value, "
            "decay_rate, step.",
        ),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        make()
