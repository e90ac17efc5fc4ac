"""The first step of any option asks for nothing that was not planned: no request spills."""

import numpy as np
import pytest
from networks import CLASSES, data, in_new_thread, recorded_spills, softmax_network

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.functions import ACTIVATIONS, LOSSES, LogNormalDistribution, TruncatedNormalDistribution
from minidl.layers import DenseLayer, LossLayer
from minidl.training import (
    UPDATERS,
    AlphaDropout,
    DropConnect,
    GaussianDropout,
    GaussianNoise,
    MaxNorm,
    UnitNorm,
    WeightNoise,
)

OPTIONS = [
    *(dict(activation=name) for name in sorted(ACTIVATIONS)),
    *(dict(updater=name) for name in sorted(UPDATERS)),
    *(dict(dropout=rule) for rule in (0.5, AlphaDropout(0.5), GaussianDropout(0.5), GaussianNoise(0.5))),
    dict(weight_noise=DropConnect(0.5, apply_to_bias=True)),
    dict(weight_noise=WeightNoise(TruncatedNormalDistribution(0, 0.1))),
    dict(weight_noise=WeightNoise(LogNormalDistribution(0, 0.1), additive=False)),
    dict(constrain_all_parameters=(MaxNorm(1.0), UnitNorm())),
    dict(l1=0.1, l2=0.1, bias_updater="rmsprop"),
]
CALLS = {
    "fit": lambda net, x, y: net.fit(x, y),
    "class weights": lambda net, x, y: net.fit(x, y, class_weight=[1.0] * CLASSES),
    "class weights and a mask": lambda net, x, y: net.fit(
        x, y, class_weight=[1.0] * CLASSES, labels_mask=np.ones(y.shape, np.float32)
    ),
    "sample weights": lambda net, x, y: net.fit(x, y, sample_weight=np.ones(len(x))),
    "gradient by the features": lambda net, x, y: net.calculate_gradients(x, y),
    "scores of examples": lambda net, x, y: net.score_examples(x, y),
    "output in training": lambda net, x, y: net.output(x, train=True),
}


def spills_of(make, call, examples=33):
    """Return what spilled in a thread where nothing ran before."""

    def run():
        net = make()
        x, y = data(examples)
        with recorded_spills() as spills:
            call(net, x, y)
        return list(spills)

    return in_new_thread(run)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("call", ["fit", "output in training"])
def test_nothing_spills_in_the_first_step_of_an_option(options, call):
    assert not spills_of(lambda: softmax_network(DenseLayer(n_out=9), **options), CALLS[call])


@pytest.mark.parametrize("call", CALLS)
def test_nothing_spills_in_the_first_call_of_a_method(call):
    assert not spills_of(
        lambda: softmax_network(DenseLayer(n_out=9, dropout=0.5, weight_noise=DropConnect(0.9))), CALLS[call]
    )


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_nothing_spills_in_the_first_step_of_a_loss(loss):
    weights = tuple(np.linspace(0.5, 1, CLASSES))
    for given in (None, weights):
        layers = DenseLayer(n_out=CLASSES), LossLayer(loss=LOSSES[loss](weights=given), activation="softmax")
        conf = NeuralNetConfiguration().list(*layers, input_type=InputType.feed_forward(12))
        signs = LOSSES[loss].label_kind == "signs"
        call = (lambda net, x, y: net.fit(x, 2 * y - 1)) if signs else CALLS["fit"]
        assert not spills_of(lambda conf=conf: MultiLayerNetwork(conf).init(), call)


def test_a_request_that_nobody_planned_is_seen():
    def call(net, x, y):
        net._frames.planner.plan = lambda form, batch: type("Plan", (), {"sizes": {}})()
        net.fit(x, y)

    assert spills_of(lambda: softmax_network(DenseLayer(n_out=9)), call)
