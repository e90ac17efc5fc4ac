"""Dropout and weight noise in whole networks: who draws what, that threads do not share it, and that gradients hold."""

import re
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from gradients import gradient_error
from networks import data, softmax_network

from minidl import InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration, ParamSpec
from minidl.data import DataSet
from minidl.errors import ConfigurationError
from minidl.functions import NormalDistribution, UniformDistribution
from minidl.layers import ActivationLayer, DenseLayer, LossLayer
from minidl.training import (
    AlphaDropout,
    DropConnect,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout,
    WeightNoise,
)

DROPOUTS = [0.7, Dropout(0.7), AlphaDropout(0.7), GaussianDropout(0.3), GaussianNoise(0.2)]
NOISES = [
    DropConnect(0.6),
    DropConnect(0.6, apply_to_bias=True),
    WeightNoise(NormalDistribution(0, 0.1)),
    WeightNoise(NormalDistribution(1, 0.1), apply_to_bias=True, additive=False),
    WeightNoise(UniformDistribution(-0.1, 0.1), apply_to_bias=True),
]


@dataclass
class Diagonal(Layer):
    """A user's layer with parameters: a = x w."""

    def param_specs(self, input_type):
        return (ParamSpec("w", (input_type.size,), init=0.5),)

    def activate(self, x, *, training, workspace_mgr):
        workspace_mgr.save_for_backprop(x)
        return x * self.params["w"]

    def backprop(self, epsilon, *, workspace_mgr):
        (x,) = workspace_mgr.saved()
        workspace_mgr.gradient("w")[...] = (epsilon * x).sum(axis=0)
        return epsilon * self.params["w"]


def layers():
    return DenseLayer(n_out=6, activation="tanh"), Diagonal(), DenseLayer(n_out=5, activation="rrelu")


@pytest.mark.parametrize("rule", DROPOUTS, ids=repr)
def test_gradient_behind_dropout(rule):
    net = softmax_network(*layers(), dtype="float64", dropout=rule)
    assert gradient_error(net, DataSet(*(array.astype(float) for array in data(7)))) < 1e-6


@pytest.mark.parametrize("rule", NOISES, ids=repr)
def test_gradient_under_weight_noise(rule):
    net = softmax_network(*layers(), dtype="float64", weight_noise=rule)
    assert gradient_error(net, DataSet(*(array.astype(float) for array in data(7)))) < 1e-6


@pytest.mark.parametrize("options", [dict(dropout=rule) for rule in DROPOUTS] + [dict(weight_noise=r) for r in NOISES])
def test_modes_give_the_same_bits_and_inference_is_without_noise(options):
    x, y = data()
    results = []
    for mode in ("NONE", "ENABLED"):
        net = softmax_network(*layers(), mode=mode, **options)
        plain = softmax_network(*layers(), mode=mode).init(net.params)
        assert net.output(x).tobytes() == plain.output(x).tobytes()
        assert net.score(x, y) == plain.score(x, y)
        noisy = net.output(x, train=True)
        assert not np.array_equal(noisy, net.output(x))
        for _ in range(20):
            net.fit(x, y)
        results.append((net.params.tobytes(), net.score(), noisy.tobytes()))
    assert results[0] == results[1]


def test_parameters_are_not_touched_by_their_noise():
    net, (x, y) = softmax_network(*layers(), weight_noise=NOISES[1], updater="noop"), data()
    before = net.params.copy()
    net.score(x, y, training=True)
    net.output(x, train=True)
    np.testing.assert_array_equal(net.params, before)


@pytest.mark.parametrize("bias", [False, True])
def test_biases_have_noise_only_where_asked_for(bias):
    rule = WeightNoise(NormalDistribution(1.0, 0.01), apply_to_bias=bias)
    layer = DenseLayer(n_out=3, activation="identity", weight_init="zero", weight_noise=rule)
    conf = NeuralNetConfiguration(seed=1).list(layer, LossLayer(loss="l2"), input_type=InputType.feed_forward(2))
    output = MultiLayerNetwork(conf).init().output(np.zeros((1, 2)), train=True)
    assert (np.abs(output - 1) < 0.1).all() if bias else (output == 0).all()


def test_two_threads_draw_noise_of_their_own():
    """Twins of layers belong to a thread: outputs with and without noise do not disturb each other."""
    net, (x, _) = softmax_network(DenseLayer(n_out=200), weight_noise=DropConnect(0.5)), data(64)
    expected, wrong = net.output(x), []

    def infer():
        wrong.extend(i for i in range(100) if not np.array_equal(net.output(x), expected))

    thread = threading.Thread(target=infer)
    thread.start()
    for _ in range(100):
        net.output(x, train=True)
    thread.join(60)
    assert not wrong


def test_dropout_weight_noise_and_activation_draw_different_numbers():
    """All three in one layer: the uniform draws behind them must not be the same ones."""
    layer = DenseLayer(
        n_out=8, activation="identity", weight_init="ones", dropout=0.5, weight_noise=DropConnect(0.5), has_bias=False
    )
    conf = NeuralNetConfiguration(seed=1).list(layer, LossLayer(loss="l2"), input_type=InputType.feed_forward(8))
    net = MultiLayerNetwork(conf).init()
    outputs = np.stack([net.output(np.ones((8, 8)), train=True) for _ in range(200)])
    # of 8 products each survives with probability 1/4 and counts 2: mean 4; with shared draws it would be 8
    assert outputs.mean() == pytest.approx(4, abs=0.15)


def channels_network(rule, **options):
    conf = NeuralNetConfiguration(seed=1, dtype="float64").list(ActivationLayer("identity", dropout=rule), **options)
    return MultiLayerNetwork(conf).init()


@pytest.mark.parametrize(
    ("input_type", "shape", "axes"),
    [
        (InputType.recurrent(4), (5, 4, 6), (2,)),
        (InputType.recurrent(4, format="NWC"), (5, 6, 4), (1,)),
        (InputType.convolutional(2, 3, 4), (5, 4, 2, 3), (2, 3)),
        (InputType.convolutional(2, 3, 4, format="NHWC"), (5, 2, 3, 4), (1, 2)),
    ],
)
def test_spatial_dropout_drops_channels_wherever_they_lie(input_type, shape, axes):
    net = channels_network(SpatialDropout(0.5), input_type=input_type)
    output = net.output(np.ones(shape), train=True)
    assert set(np.unique(output)) == {0.0, 2.0}
    assert (output.min(axis=axes) == output.max(axis=axes)).all()


def test_spatial_dropout_needs_channels():
    message = (
        "ActivationLayer: dropout=SpatialDropout(probability=0.5) drops whole channels, but its input is "
        "FeedForward(size=4). Use Dropout there, or put it in front of a layer whose input is series or images."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        channels_network(SpatialDropout(0.5), input_type=InputType.feed_forward(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(weight_noise=0.5), "DenseLayer: weight_noise=0.5 is no weight noise. Use DropConnect(0.9), for example."),
        (
            dict(constrain_weights="max"),
            "DenseLayer: constrain_weights='max' is no constraint. Use MaxNorm(2.0), for example.",
        ),
        (dict(dropout="alpha"), "DenseLayer: dropout='alpha' is not in (0, 1]. It is the probability to keep an "),
    ],
)
def test_options_that_are_no_rules(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        DenseLayer(n_out=3, **options)
