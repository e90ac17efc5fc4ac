"""Learning rates while training goes on: schedules, set_learning_rate, ReduceLROnPlateau."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from networks import CLASSES, FEATURES, data, in_new_thread, recorded_spills, workspace_sizes

from minidl import DataSet, InputType, MultiLayerConfiguration, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator
from minidl.errors import ConcurrentUseError, ConfigurationError
from minidl.layers import ActivationLayer, DenseLayer, OutputLayer
from minidl.training import AdaDelta, Adam, MapSchedule, Nesterovs, ReduceLROnPlateau, Schedule, Sgd, StepSchedule


def network(*layers, **options):
    layers = layers or (DenseLayer(n_out=6, activation="tanh"), ActivationLayer("relu"), OutputLayer(n_out=CLASSES))
    conf = NeuralNetConfiguration(**{"seed": 3, "updater": Sgd(0.1)} | options)
    return MultiLayerNetwork(conf.list(*layers, input_type=InputType.feed_forward(FEATURES))).init()


def step_sizes(net, steps):
    """Return how far each of some steps went along the gradient, for Sgd."""
    x, y = data(16)
    sizes = []
    for _ in range(steps):
        net.compute_gradient_and_score(x, y)
        gradient, before = net.gradient / 16, net.params.copy()
        net.fit(x, y)
        sizes.append(float(np.vdot(before - net.params, gradient) / np.vdot(gradient, gradient)))
    return sizes


def test_schedule_by_iteration():
    net = network(updater=Sgd(MapSchedule("iteration", {0: 0.5, 2: 0.25, 3: 0.125})), dtype="float64")
    np.testing.assert_allclose(step_sizes(net, 5), [0.5, 0.5, 0.25, 0.125, 0.125], rtol=1e-9)
    assert net.get_learning_rate(0) == 0.125


def test_schedule_by_epoch():
    net = network(updater=Sgd(StepSchedule("epoch", 0.4, 0.5, 1)), dtype="float64")
    x, y = data(16)
    rates = []
    for _ in range(3):
        rates.append(net.get_learning_rate(2))
        assert step_sizes(net, 2) == pytest.approx([rates[-1]] * 2)
        net.fit(ArrayDataSetIterator(x, y, batch_size=8))
    assert rates == [0.4, 0.2, 0.1]


def test_every_layer_and_the_biases_may_have_a_rate_of_their_own():
    net = network(
        DenseLayer(n_out=6, activation="tanh", updater=Sgd(0.5), bias_updater=Sgd(0.01)),
        OutputLayer(n_out=CLASSES, bias_updater=Sgd(MapSchedule("iteration", {0: 0.3, 1: 0.03}))),
        dtype="float64",
    )
    x, y = data(16)
    for rates in ((0.5, 0.01, 0.1, 0.3), (0.5, 0.01, 0.1, 0.03)):
        net.compute_gradient_and_score(x, y)
        gradients = [view.copy() / 16 for table in net._parameters.gradient_views for view in table.values()]
        before = [view.copy() for view in net.param_table().values()]
        net.fit(x, y)
        for old, new, gradient, rate in zip(before, net.param_table().values(), gradients, rates, strict=True):
            np.testing.assert_allclose(old - new, rate * gradient, rtol=1e-8, atol=1e-13)
    assert [net.get_learning_rate(i, bias=b) for i in (0, 1) for b in (False, True)] == [0.5, 0.01, 0.1, 0.03]


def test_bias_updater_of_the_network_is_inherited():
    net = network(bias_updater=Sgd(0.7))
    assert [net.get_learning_rate(i, bias=True) for i in range(3)] == [0.7, None, 0.7]


def test_layers_without_parameters_or_rate_have_no_learning_rate():
    net = network(DenseLayer(n_out=4, updater=AdaDelta()), ActivationLayer("relu"), OutputLayer(n_out=CLASSES))
    assert [net.get_learning_rate(i) for i in range(3)] == [None, None, 0.1]
    assert net.get_learning_rate(2, bias=True) is None


def test_set_learning_rate_of_all_layers_and_of_one():
    net = network(dtype="float64")
    net.set_learning_rate(0.05)
    assert step_sizes(net, 1) == pytest.approx([0.05])
    net.set_learning_rate(StepSchedule("iteration", 1.0, 0.5, 1), 2)
    assert [net.get_learning_rate(i) for i in range(3)] == [0.05, None, 0.5]
    conf = MultiLayerConfiguration.from_json(net.conf.to_json())
    assert conf.layers[2].updater == Sgd(StepSchedule("iteration", 1.0, 0.5, 1))
    assert MultiLayerNetwork(conf).init().get_learning_rate(0) == 0.05


@pytest.mark.parametrize("updater", [Adam(0.01), Nesterovs(0.01)])
def test_state_goes_on_under_another_rate(updater):
    x, y = data(16)
    changed, scheduled = (
        network(updater=updater),
        network(updater=updater.with_learning_rate(MapSchedule("iteration", {0: 0.01, 3: 0.002}))),
    )
    for step in range(6):
        if step == 3:
            changed.set_learning_rate(0.002)
        changed.fit(x, y)
        scheduled.fit(x, y)
    assert changed.params.tobytes() == scheduled.params.tobytes()


def test_state_goes_on_where_blocks_split_and_join():
    x, y = data(16)
    first, second = network(updater=Adam(0.01)), network(updater=Adam(0.01))
    first.fit(x, y)
    second.fit(x, y)
    first.set_learning_rate(0.5, 0)  # two blocks in place of one
    assert len(first._parameters.updater_blocks) == 2
    first.set_learning_rate(0.01, 0)
    assert len(first._parameters.updater_blocks) == 1
    for net in (first, second):
        net.fit(x, y)
    assert first.params.tobytes() == second.params.tobytes()
    np.testing.assert_array_equal(first._parameters.updater_state, second._parameters.updater_state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, 3), "there is no layer 3: the network has layers 0 to 2."),
        ((0.1, "first"), "there is no layer 'first': the network has layers 0 to 2."),
        ((0.1, 1), "layer 1 (ActivationLayer) has no updater of its own. Choose a layer with parameters."),
        ((-1,), "Sgd: learning_rate=-1 "),
    ],
)
def test_rates_that_cannot_be_set(arguments, message):
    net = network()
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        net.set_learning_rate(*arguments)
    assert net.get_learning_rate(0) == net.get_learning_rate(2) == 0.1


def test_bias_updater_that_is_not_there_cannot_be_set():
    message = (
        "layer 0 (DenseLayer) has no bias_updater of its own. Choose a layer with parameters, and give it a "
        "bias_updater."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        network().set_learning_rate(0.1, 0, bias=True)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (False, "no layer has an updater with a learning rate. Give one to the network: updater='adam'."),
        (True, "no layer has a bias_updater with a learning rate. Give one to the network: bias_updater='adam'."),
    ],
)
def test_network_without_any_rate_cannot_be_set_one(bias, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        network(updater=AdaDelta()).set_learning_rate(0.1, bias=bias)


def test_plateau_lowers_all_rates_of_a_network():
    net = network(bias_updater=Sgd(0.4))
    plateau = ReduceLROnPlateau(factor=0.5, patience=1)
    reduced = [plateau.step(net, score) for score in (1.0, 0.9, 0.9, 0.9, 0.9, 0.8)]
    assert reduced == [False, False, False, True, False, False]
    assert net.get_learning_rate(0) == net.get_learning_rate(2) == 0.05
    assert net.get_learning_rate(0, bias=True) == 0.2


def test_plateau_leaves_schedules_alone():
    net = network(updater=Sgd(StepSchedule("epoch", 0.1, 0.5, 3)))
    message = "ReduceLROnPlateau: the learning rate of layer 0 is StepSchedule("
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        ReduceLROnPlateau(patience=0).step(net, 1.0)
    assert net.get_learning_rate(0) == 0.1


# In the middle of training


def test_rate_may_be_set_between_two_steps_of_a_fit():
    x, y = data(16)
    net, same = network(), network()

    def batches():
        for step in range(4):
            if step == 2:
                net.set_learning_rate(0.01)
            yield DataSet(x, y)

    net.fit(batches())
    for step in range(4):
        if step == 2:
            same.set_learning_rate(0.01)
        same.fit(x, y)
    assert net.params.tobytes() == same.params.tobytes()


def test_another_thread_may_not_set_a_rate_during_a_fit():
    x, y = data(16)
    net = network()

    def batches():
        yield DataSet(x, y)
        with pytest.raises(
            ConcurrentUseError, match=r"^set_learning_rate\(\) was called while another call is changing"
        ):
            in_new_thread(net.set_learning_rate, 0.5)

    net.fit(batches())
    assert net.get_learning_rate(0) == 0.1


@dataclass(frozen=True)
class Late(Schedule):
    """A rate that cannot be from iteration 2 on."""

    def value_at(self, iteration, epoch):
        return 0.1 if iteration < 2 else float("nan")


def test_impossible_rate_is_found_before_the_step_writes_anything():
    net = network(
        DenseLayer(n_out=6, activation="tanh", updater=Sgd(0.1)), OutputLayer(n_out=CLASSES, updater=Sgd(Late()))
    )
    x, y = data(16)
    for _ in range(2):
        net.fit(x, y)
    params, gradient = net.params.copy(), net.gradient.copy()
    message = "Sgd: the schedule learning_rate=Late() gives nan at iteration 2, epoch 0, which is not a finite number "
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        net.fit(x, y)
    np.testing.assert_array_equal(net.params, params)
    np.testing.assert_array_equal(net.gradient, gradient)
    assert net.iteration_count == 2


def test_blocks_that_join_are_planned_anew():
    def run():
        layers = [DenseLayer(n_out=9, updater=Adam(rate)) for rate in (1e-2, 1e-3)]
        net = network(*layers, OutputLayer(n_out=CLASSES, updater=Adam(1e-2)))
        x, y = data(2)
        net.fit(x, y)
        before = net.memory_report(batch_size=2).workspaces
        net.set_learning_rate(0.01)
        with recorded_spills() as spills:
            net.fit(x, y)
        report = net.memory_report(batch_size=2).workspaces
        return spills, before, report, workspace_sizes()

    spills, before, report, sizes = in_new_thread(run)
    assert not spills
    assert report == sizes != before
