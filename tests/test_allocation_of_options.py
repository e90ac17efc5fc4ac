"""A warm step takes no array memory under any option: every class of every kind, found by reflection.

The gauges are those of allocation.py, as in test_allocation.py; a process measures all options of one kind.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from test_allocation import BATCH, HIDDEN, N_IN, workspace_counters

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator
from minidl.functions import ACTIVATIONS, DISTRIBUTIONS, LOSSES, Activation, NormalDistribution
from minidl.layers import DenseLayer, FeedForwardToCnnPreProcessor, LossLayer, OutputLayer
from minidl.training import (
    DROPOUTS,
    SCHEDULES,
    UPDATERS,
    Adam,
    AlphaDropout,
    BaseDropout,
    BaseWeightNoise,
    Constraint,
    CosineWarmupSchedule,
    CycleSchedule,
    DropConnect,
    Dropout,
    ExponentialSchedule,
    FixedSchedule,
    GaussianDropout,
    GaussianNoise,
    GradientNormalization,
    InverseSchedule,
    MapSchedule,
    MaxNorm,
    MinMaxNorm,
    NonNegative,
    PolySchedule,
    RampSchedule,
    SigmoidSchedule,
    SpatialDropout,
    StepSchedule,
    UnitNorm,
    WeightNoise,
)

N_OUT, ARRAYS_ALIVE = 10, 100
SCHEDULE_EXAMPLES = [
    FixedSchedule(0.01),
    MapSchedule("iteration", {0: 0.01, 10: 0.001}),
    StepSchedule("iteration", 0.01, 0.5, 3),
    ExponentialSchedule("iteration", 0.01, 0.9),
    InverseSchedule("iteration", 0.01, 0.1, 0.5),
    PolySchedule("iteration", 0.01, 0.5, 1000),
    SigmoidSchedule("iteration", 0.01, 0.1, 5),
    RampSchedule(FixedSchedule(0.01), 7),
    CycleSchedule("iteration", 0.001, 0.01, 10, 2, 0.5),
    CosineWarmupSchedule("iteration", 0.01, 5, 100),
]
DROPOUT_EXAMPLES = [Dropout(0.8), AlphaDropout(0.8), GaussianDropout(0.2), GaussianNoise(0.1), SpatialDropout(0.8)]
NOISE_EXAMPLES = [
    DropConnect(0.9, apply_to_bias=True),
    WeightNoise(NormalDistribution(0, 0.1), additive=True),
    WeightNoise(NormalDistribution(1, 0.1), apply_to_bias=True, additive=False),
]
CONSTRAINT_EXAMPLES = [
    MaxNorm(1.0),
    MaxNorm(1.0, dimensions=(0,)),
    MinMaxNorm(0.5, 1.0, 0.8),
    UnitNorm(),
    UnitNorm(dimensions=(0, 1)),
    NonNegative(),
]
ELEMENTWISE = [cls() for cls in dict.fromkeys(DISTRIBUTIONS.values()) if cls.is_elementwise]
MASKS = {"examples": (BATCH,), "column": (BATCH, 1), "outputs": (BATCH, N_OUT)}


def subclasses(cls):
    return {cls}.union(*(subclasses(child) for child in cls.__subclasses__()))


def ours(base):
    return {
        c for c in subclasses(base) if c.__module__.startswith("minidl.") and not getattr(c, "__abstractmethods__", 0)
    }


def hidden(**options):
    return DenseLayer(n_out=HIDDEN, **{"activation": "tanh"} | options)


def loss_layer(name, weights, mask):
    loss = LOSSES[name](weights=tuple(np.linspace(0.5, 2, N_OUT)) if weights else None)
    activation = "softmax" if loss.label_kind == "classes" else "sigmoid"
    return dict(layers=[hidden(), OutputLayer(n_out=N_OUT, activation=activation, loss=loss)], mask=mask)


def in_one_layer(**options):
    return dict(layers=[hidden(**options), OutputLayer(n_out=N_OUT)])


# kind -> name -> what to make the network and its data from
OPTIONS = {
    "activation": {name: in_one_layer(activation=name) for name in ACTIVATIONS}
    | {
        f"{name} of the output": dict(layers=[hidden(), OutputLayer(n_out=N_OUT, activation=name, loss="mse")])
        for name in ACTIVATIONS
    },
    "loss": {
        f"{name}, {'weights' if weights else 'no weights'}, mask {mask}": loss_layer(name, weights, mask)
        for name in LOSSES
        for weights, mask in ((False, None), (True, None), (True, "examples"), (False, "outputs"), (False, "column"))
    },
    "loss over time": {
        f"{name}, mask {mask}": dict(
            layers=[LossLayer(loss=name, activation="softmax")],
            input_type=InputType.recurrent(N_OUT, 5),
            mask=mask,
        )
        for name in LOSSES
        for mask in (None, "steps")
    },
    "updater": {name: in_one_layer() | dict(updater=name) for name in UPDATERS},
    "bias updater": {name: in_one_layer(bias_updater=name) for name in UPDATERS},
    "schedule": {repr(rule): in_one_layer() | dict(updater=Adam(rule)) for rule in SCHEDULE_EXAMPLES},
    "dropout": {
        repr(rule): in_one_layer(dropout=rule)
        if not rule.needs_channels
        else dict(
            layers=[hidden(), LossLayer(activation="sigmoid", loss="mse", dropout=rule)],
            preprocessors={1: FeedForwardToCnnPreProcessor(4, 5, 2)},
        )
        for rule in DROPOUT_EXAMPLES
    },
    "weight noise": {repr(rule): in_one_layer(weight_noise=rule) for rule in NOISE_EXAMPLES},
    "distribution of noise": {repr(rule): in_one_layer(weight_noise=WeightNoise(rule)) for rule in ELEMENTWISE},
    "constraint": {
        repr(rule): in_one_layer(constrain_weights=rule)
        | (dict() if getattr(rule, "dimensions", (1,)) != (1,) else dict(constrain_bias=rule))
        for rule in CONSTRAINT_EXAMPLES
    },
    "gradient normalisation": {
        kind.name: in_one_layer() | dict(gradient_normalization=kind, gradient_normalization_threshold=0.1)
        for kind in GradientNormalization
    },
    "penalty": {
        name: in_one_layer() | {name: 1e-3}
        for name in ("l1", "l2", "l1_bias", "l2_bias", "weight_decay", "weight_decay_bias")
    }
    | {"decay without the rate": in_one_layer() | dict(weight_decay=1e-3, weight_decay_apply_lr=False)},
    "weights of classes": {
        f"mask {mask}, {labels}": in_one_layer() | dict(mask=mask, labels=labels, class_weight=[1.0, 2.0] * 5)
        for mask in (None, *MASKS)
        for labels in ("one-hot", "indices")
    },
    "other": {
        "preprocessors": dict(
            layers=[hidden(), LossLayer(activation="sigmoid", loss="mse")],
            preprocessors={1: FeedForwardToCnnPreProcessor(4, 5, 2)},
        ),
        "images": in_one_layer() | dict(input_type=InputType.convolutional(5, 5, 2)),
        "terminate on NaN": in_one_layer() | dict(terminate_on_nan=True),
        "masked labels out of range": in_one_layer() | dict(mask="examples", labels="out of range"),
    },
}
FIT_OPTIONS = ("class_weight", "terminate_on_nan")


def network_and_step(layers, input_type=None, mask=None, labels="one-hot", preprocessors=None, **options):
    fit_options = {name: options.pop(name) for name in FIT_OPTIONS if name in options}
    conf = NeuralNetConfiguration(**{"seed": 1, "updater": Adam(1e-3)} | options).list(
        *layers, input_type=input_type or InputType.feed_forward(N_IN), input_preprocessors=preprocessors
    )
    net, rng = MultiLayerNetwork(conf).init(), np.random.default_rng(0)
    x = rng.random((BATCH, *conf.input_type.example_shape()), np.float32)
    shape = net.output(x[:1]).shape[1:]
    y = np.zeros((BATCH, *shape), np.float32)
    indices = rng.integers(0, shape[0], BATCH)
    y[np.arange(BATCH), indices] = 1
    if getattr(net.layers[-1].loss, "label_kind", "") == "signs":
        y = 2 * y - 1
    weights = None if mask is None else np.ones(MASKS.get(mask, (BATCH, *shape[1:])), np.float32)
    if labels == "out of range":
        weights[::2], y[::2] = 0, -1
    dataset = DataSet(x, indices if labels == "indices" else y, labels_mask=weights)
    out = np.empty((BATCH, *shape), np.float32)
    source = ArrayDataSetIterator(dataset.features, dataset.labels, BATCH, labels_mask=weights)

    def step():
        net.fit(source, progress=False, **fit_options)
        net.output(x, out=out, train=True)
        net.score(dataset)

    return step


def measure_kind(kind):
    """Return the gauges of every option of one kind."""
    return {
        name: gauges(network_and_step(**options), repeats=5, counters=workspace_counters)
        for name, options in OPTIONS[kind].items()
    }


@dataclass(frozen=True)
class Faulty(Activation):
    """A user's activation that takes a new array from NumPy in every call."""

    def forward(self, z, *, out, empty=np.empty):
        return np.tanh(np.array(z))

    def backward(self, kept, epsilon, *, out, empty=np.empty):
        return np.multiply(epsilon, 1 - np.tanh(kept) ** 2, out=out)


def measure_fault():
    return {"faulty": gauges(network_and_step(**in_one_layer(activation=Faulty())), repeats=5)}


@pytest.fixture(scope="module")
def measured(run_under_counter):
    return functools.cache(lambda kind: run_under_counter(measure_kind, kind))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in OPTIONS for name in OPTIONS[kind]])
def test_a_warm_step_allocates_nothing(kind, name, measured):
    assert_no_allocation(measured(kind)[name], arrays_alive=ARRAYS_ALIVE)


def test_a_fault_is_seen(run_under_counter):
    measured = run_under_counter(measure_fault)["faulty"]
    with pytest.raises(
        AssertionError, match=r"^(Python's peak grew by more than|large heap requests, as averages per)"
    ):
        assert_no_allocation(measured, arrays_alive=ARRAYS_ALIVE)


@pytest.mark.parametrize(
    ("base", "examples"),
    [
        (BaseDropout, DROPOUT_EXAMPLES),
        (BaseWeightNoise, NOISE_EXAMPLES),
        (Constraint, CONSTRAINT_EXAMPLES),
    ],
)
def test_every_class_is_measured(base, examples):
    assert {type(example) for example in examples} == ours(base)


def test_every_schedule_and_dropout_is_measured():
    assert {type(example) for example in SCHEDULE_EXAMPLES} == set(SCHEDULES.values())
    assert {type(example) for example in DROPOUT_EXAMPLES} == set(DROPOUTS.values())
