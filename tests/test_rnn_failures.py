"""A call that fails leaves the stored state bit for bit as it was, and the next one goes on from there."""

from dataclasses import dataclass

import numpy as np
import pytest
from networks import assert_nothing_open
from recurrent_networks import (
    CLASSES,
    MARK,
    MODES,
    Elman,
    PlantedError,
    Tripwire,
    one_hot,
    series,
    series_network,
    state_bits,
)

from minidl import Layer
from minidl.errors import ConfigurationError, DataError, DtypeError, ShapeError
from minidl.functions import Activation
from minidl.layers import LSTM, ActivationLayer, DenseLayer, GravesLSTM, RnnOutputLayer, SimpleRnn

each_mode = pytest.mark.parametrize("mode", MODES)


def features(batch=5, time=10, seed=0):
    return series(batch, time, seed, "f4")[0]


class Plant:
    """Whether the fault is on, and of which kind; a class, as networks copy their layers."""

    kind = None


@dataclass
class FailsOnDemand(Layer):
    """Pass on what comes; fail while the plant is on."""

    def activate(self, x, *, training, workspace_mgr):
        y = x * 1.0
        if Plant.kind is not None:
            raise Plant.kind("planted")
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * 1.0


@dataclass(frozen=True)
class Squash(Activation):
    """A user's tanh; fail while the plant is on."""

    def forward(self, z, *, out, empty=np.empty):
        if Plant.kind is not None:
            raise Plant.kind("planted")
        return np.tanh(z)

    def backward(self, kept, epsilon, *, out, empty=np.empty):
        return epsilon * (1 - np.tanh(kept) ** 2)


@pytest.fixture
def planted():
    """Return what turns the fault on, with the kind of error it raises; in the end it is off."""
    yield lambda kind: setattr(Plant, "kind", kind)
    Plant.kind = None


def fragile(mode="ENABLED", hidden=None):
    layers = hidden or [LSTM(n_out=6), SimpleRnn(n_out=4), FailsOnDemand(), GravesLSTM(n_out=3)]
    return series_network(layers, mode=mode)


def assert_as_if_nothing_had_been(net, spared, x):
    """Check that both networks hold the same state, and go on alike."""
    assert_nothing_open()
    assert state_bits(net) == state_bits(spared)
    for piece in (x[:, :, 0].copy(), x, x[:, :, 0], x[:, :, :3]):
        np.testing.assert_array_equal(net.rnn_time_step(piece), spared.rnn_time_step(piece))
    assert state_bits(net) == state_bits(spared)


FAILING = {
    "shape": lambda net, x: net.rnn_time_step(x[:, :2]),
    "shape of one step": lambda net, x: net.rnn_time_step(x[:, :2, 0]),
    "rank": lambda net, x: net.rnn_time_step(x[0, :, 0]),
    "another batch": lambda net, x: net.rnn_time_step(np.concatenate([x, x])),
    "one example": lambda net, x: net.rnn_time_step(x[:1]),
    "no examples": lambda net, x: net.rnn_time_step(x[:0]),
    "no steps": lambda net, x: net.rnn_time_step(x[:, :, :0]),
    "complex": lambda net, x: net.rnn_time_step(x.astype(complex)),
    "out of another shape": lambda net, x: net.rnn_time_step(x, out=np.empty((5, CLASSES, 9), "f4")),
    "out of one step": lambda net, x: net.rnn_time_step(x[:, :, 0], out=np.empty((5, CLASSES, 1), "f4")),
    "out of another type": lambda net, x: net.rnn_time_step(x, out=np.empty((5, CLASSES, 10))),
    "out that is no array": lambda net, x: net.rnn_time_step(x, out=[0.0]),
    "activations of another batch": lambda net, x: net.rnn_activate_using_stored_state(x[:1]),
    "activations of another shape": lambda net, x: net.rnn_activate_using_stored_state(x[:, :2]),
    "layer of a state": lambda net, x: net.rnn_set_previous_state(9, {}),
    "names of a state": lambda net, x: net.rnn_set_previous_state(0, {"prev_act": np.zeros((5, 6))}),
    "shape of a state": lambda net, x: net.rnn_set_previous_state(1, {"prev_act": np.zeros((5, 9))}),
    "batch of a state": lambda net, x: net.rnn_set_previous_state(1, {"prev_act": np.zeros((4, 4))}),
    "type of a state": lambda net, x: net.rnn_set_previous_state(1, {"prev_act": np.zeros((5, 4), complex)}),
    "batch of training": lambda net, x: net.fit(x, np.zeros((5, CLASSES, 3))),
}
NEED_A_STORED_STATE = ("another batch", "one example", "activations of another batch", "batch of a state")
ERRORS = (ShapeError, DtypeError, DataError, ConfigurationError)


@pytest.mark.parametrize("call", FAILING)
@pytest.mark.parametrize("steps", [0, 1, 4])
@each_mode
def test_a_call_that_is_refused_leaves_the_state(call, steps, mode):
    nets, x = [fragile(mode) for _ in range(2)], features()
    for net in nets:
        for step in range(steps):
            net.rnn_time_step(x[:, :, step])
    if steps or call not in NEED_A_STORED_STATE:
        with pytest.raises(ERRORS):  # in the words of test_rnn_messages.py
            FAILING[call](nets[0], x)
    assert_as_if_nothing_had_been(*nets, x)


CALLS = {
    "step": lambda net, x: net.rnn_time_step(x),
    "one step": lambda net, x: net.rnn_time_step(x[:, :, 0]),
    "step with out": lambda net, x: net.rnn_time_step(x, out=np.empty((5, CLASSES, 10), "f4")),
    "activations": lambda net, x: net.rnn_activate_using_stored_state(x),
    "session": lambda net, x: net.rnn_session().step(x),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", [PlantedError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("steps", [0, 3])
@each_mode
def test_a_layer_that_fails_behind_recurrent_ones_leaves_the_state(call, kind, steps, mode, planted):
    nets, x = [fragile(mode) for _ in range(2)], features()
    for net in nets:
        for step in range(steps):
            net.rnn_time_step(x[:, :, step])
    planted(kind)
    for _ in range(3):
        with pytest.raises(kind, match=r"^planted(\nin .*)?$"):
            CALLS[call](nets[0], x)
    planted(None)
    assert_as_if_nothing_had_been(*nets, x)


STEPS_OF_ONE = {
    "row": lambda net, x: net.rnn_time_step(x[:, :, 0].copy()),
    "row with out": lambda net, x: net.rnn_time_step(x[:, :, 0].copy(), out=np.empty((1, CLASSES), "f4")),
    "series of one": lambda net, x: net.rnn_time_step(x[:, :, :1]),
    "activations": lambda net, x: net.rnn_activate_using_stored_state(x[:, :, 0]),
}


@pytest.mark.parametrize("call", STEPS_OF_ONE)
@pytest.mark.parametrize("kind", [PlantedError, KeyboardInterrupt])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("where", ["recurrent", "dense", "output"])
@each_mode
def test_an_activation_that_fails_behind_recurrent_layers_leaves_the_state(call, kind, steps, where, mode, planted):
    """One example with one step goes a way of its own."""
    last = {"recurrent": GravesLSTM(n_out=3, activation=Squash()), "dense": DenseLayer(n_out=3, activation=Squash())}
    layers = [LSTM(n_out=6), GravesLSTM(n_out=4), *([last[where]] if where in last else [])]
    output = RnnOutputLayer(n_out=CLASSES, activation=Squash(), loss="mse") if where == "output" else None
    nets, x = [series_network(layers, mode=mode, output=output) for _ in range(2)], features(1)
    for net in nets:
        for step in range(steps):
            net.rnn_time_step(x[:, :, step].copy())
    planted(kind)
    for _ in range(3):
        with pytest.raises(kind, match=r"^planted(\nin .*)?$"):
            STEPS_OF_ONE[call](nets[0], x)
    planted(None)
    assert_as_if_nothing_had_been(*nets, x)


@each_mode
def test_a_failing_step_of_another_batch_leaves_room_for_any(mode, planted):
    net, x = fragile(mode), features()
    planted(PlantedError)
    with pytest.raises(PlantedError):
        net.rnn_time_step(x)
    planted(None)
    assert state_bits(net) == {}
    np.testing.assert_array_equal(net.rnn_time_step(x[:2]), fragile(mode).output(x[:2]))


@each_mode
def test_a_recurrent_layer_of_the_user_that_fails_after_it_wrote_its_state(mode):
    @dataclass
    class FailsAfterwards(Elman):
        def activate(self, x, *, training, workspace_mgr):
            y = super().activate(x, training=training, workspace_mgr=workspace_mgr)
            if (np.asarray(x) == MARK).any():
                raise PlantedError("planted")
            return y

    nets, x = [fragile(mode, [ActivationLayer("identity"), FailsAfterwards(6)]) for _ in range(2)], features()
    bad = x.copy()
    bad[2, 1, 7] = MARK
    for net in nets:
        net.rnn_time_step(x)
    with pytest.raises(PlantedError, match=r"^planted"):
        nets[0].rnn_time_step(bad)
    assert_as_if_nothing_had_been(*nets, x)


def test_a_failing_session_keeps_its_own_state_and_that_of_the_thread(planted):
    (net, spared), x = (fragile() for _ in range(2)), features()
    sessions = [net.rnn_session(), spared.rnn_session()]
    for each in (net, spared, *sessions):
        (each.step if each in sessions else each.rnn_time_step)(x)
    planted(PlantedError)
    with pytest.raises(PlantedError):
        sessions[0].step(x[:, :, :2])
    planted(None)
    assert state_bits(sessions[0], net) == state_bits(sessions[1], spared)
    np.testing.assert_array_equal(sessions[0].step(x), sessions[1].step(x))
    assert_as_if_nothing_had_been(net, spared, x)


def test_numbers_that_are_not_finite_go_through_as_in_output():
    net, x = series_network(), features()
    x[1, 0, 3] = np.nan
    outputs = np.concatenate([net.rnn_time_step(x[:, :, :5]), net.rnn_time_step(x[:, :, 5:])], axis=2)
    np.testing.assert_array_equal(np.isnan(outputs), np.isnan(net.output(x)))
    assert np.isnan(outputs[1, :, 3:]).all()
    assert np.isfinite(np.delete(outputs, 1, axis=0)).all()


def test_a_tripwire_in_training_leaves_the_stored_state():
    nets, x = [series_network([Tripwire(), LSTM(n_out=4)]) for _ in range(2)], features()
    for net in nets:
        net.rnn_time_step(x)
    bad = x.copy()
    bad[0, 0, 0] = MARK
    with pytest.raises(PlantedError, match=r"^planted"):
        nets[0].fit(bad, one_hot(series()[1]))
    assert_as_if_nothing_had_been(*nets, x)
