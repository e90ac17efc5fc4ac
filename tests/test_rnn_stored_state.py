"""What networks store from step to step: taken out, put back, cleared, and looked at without a change."""

import functools
import itertools

import numpy as np
import pytest
from recurrent_networks import (
    CLASSES,
    HIDDEN,
    MODES,
    SIZE,
    Tripwire,
    in_format,
    one_hot,
    series,
    series_network,
    state_bits,
)

from minidl import nd
from minidl.layers import LSTM, ActivationLayer

each_hidden = pytest.mark.parametrize("hidden", HIDDEN)
each_mode = pytest.mark.parametrize("mode", MODES)

network = functools.cache(series_network)  # for tests that only read


def features(batch=5, time=10, seed=0):
    return series(batch, time, seed, "f4")[0]


STATES = {
    "LSTM": {0: {"prev_act": 6, "prev_mem": 6}},
    "GravesLSTM": {0: {"prev_act": 5, "prev_mem": 5}},
    "SimpleRnn layer norm": {0: {"prev_act": 7}},
    "dense between": {0: {"prev_act": 6, "prev_mem": 6}, 2: {"prev_act": 4}},
    "custom": {0: {"h": 5}},
    "mask zero": {0: {"prev_act": 4}},
}


@pytest.mark.parametrize("hidden", STATES)
def test_states_have_names_and_shapes(hidden):
    net, x = series_network(hidden), features()
    assert state_bits(net) == {}
    net.rnn_time_step(x)
    for index in range(len(net.layers)):
        state = net.rnn_get_previous_state(index)
        assert {name: array.shape for name, array in state.items()} == {
            name: (5, width) for name, width in STATES[hidden].get(index, {}).items()
        }
        assert all(array.dtype == np.float32 for array in state.values())


@pytest.mark.parametrize(("hidden", "layer"), [("LSTM", 0), ("SimpleRnn", 0), ("dense between", 2), ("custom", 0)])
def test_the_stored_activation_is_that_of_the_last_step(hidden, layer):
    net, x = network(hidden), features()
    net.rnn_clear_previous_state()
    net.rnn_time_step(x)
    state = net.rnn_get_previous_state(layer)
    name = "h" if hidden == "custom" else "prev_act"
    np.testing.assert_array_equal(state[name], net.feed_forward(x)[layer + 1][:, :, -1])


@each_hidden
@each_mode
def test_a_state_that_is_taken_out_and_put_back_gives_the_same_again(hidden, mode):
    net, x = series_network(hidden, mode=mode), features()
    net.rnn_time_step(x)
    taken, bits = {i: net.rnn_get_previous_state(i) for i in range(len(net.layers))}, state_bits(net)
    expected, then = net.rnn_time_step(x), net.rnn_time_step(x[:, :, 0])
    other = series_network(hidden, mode=mode)
    for target in (net, other):
        target.rnn_clear_previous_state()
        assert state_bits(target) == {}
        for layer, state in taken.items():
            if state:
                target.rnn_set_previous_state(layer, state)
        assert state_bits(target) == bits
        np.testing.assert_array_equal(target.rnn_time_step(x), expected)
        np.testing.assert_array_equal(target.rnn_time_step(x[:, :, 0]), then)


def test_states_are_copies_on_the_way_out_and_in():
    net, x = series_network(), features()
    net.rnn_time_step(x)
    bits = state_bits(net)
    for array in net.rnn_get_previous_state(0).values():
        array.fill(7)
    assert state_bits(net) == bits
    state = {name: array.astype("f8") for name, array in net.rnn_get_previous_state(0).items()}
    net.rnn_set_previous_state(0, state)
    for array in state.values():
        array.fill(7)
    assert state_bits(net) == bits


def test_the_state_of_one_layer_alone_leaves_the_others_at_zeros():
    net, x = series_network("dense between"), features()
    net.rnn_set_previous_state(2, {"prev_act": np.full((5, 4), 0.5)})
    set_alone = net.rnn_time_step(x)
    net.rnn_clear_previous_state()
    net.rnn_set_previous_state(2, {"prev_act": np.full((5, 4), 0.5)})
    net.rnn_set_previous_state(0, {name: np.zeros((5, 6)) for name in ("prev_act", "prev_mem")})
    np.testing.assert_array_equal(net.rnn_time_step(x), set_alone)
    assert np.abs(set_alone - net.output(x)).max() > 1e-3


def test_a_state_takes_the_place_of_another_of_the_same_layer():
    net, x = series_network(), features()
    net.rnn_time_step(x)
    net.rnn_set_previous_state(0, {name: np.zeros((2, 6)) for name in ("prev_act", "prev_mem")})  # of another batch
    np.testing.assert_array_equal(net.rnn_time_step(x[:2]), net.output(x[:2]))


@each_hidden
@each_mode
def test_after_clearing_series_begin_anew_with_any_batch(hidden, mode):
    net = series_network(hidden, mode=mode)
    net.rnn_clear_previous_state()  # with nothing stored
    for batch in (5, 2, 5, 1):
        x = features(batch, 7, seed=batch)
        np.testing.assert_array_equal(net.rnn_time_step(x), net.output(x))
        net.rnn_time_step(x[:, :, 0])
        net.rnn_clear_previous_state()
        assert state_bits(net) == {}


def test_init_forgets_the_state():
    net, x = series_network(), features()
    expected = net.rnn_time_step(x)
    net.init()
    assert state_bits(net) == {}
    np.testing.assert_array_equal(net.rnn_time_step(x), expected)


# rnn_activate_using_stored_state


@each_hidden
@each_mode
@pytest.mark.parametrize("format", ["NCW", "NWC"])
def test_activations_with_nothing_stored_are_those_of_feed_forward(hidden, mode, format):
    net, x = series_network(hidden, format, mode=mode), in_format(features(), format)
    found, expected = net.rnn_activate_using_stored_state(x), net.feed_forward(x)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert state_bits(net) == {}


@each_hidden
@each_mode
def test_activations_go_on_from_the_stored_state_and_leave_it(hidden, mode):
    net, x = series_network(hidden, mode=mode), features()
    net.rnn_time_step(x[:, :, :4])
    bits = state_bits(net)
    found = [net.rnn_activate_using_stored_state(x[:, :, 4:]) for _ in range(2)]
    for one, other, whole in zip(*found, net.feed_forward(x), strict=True):
        assert not nd.is_attached(one)
        np.testing.assert_array_equal(one, other)
        rest = whole[:, :, 4:] if whole.ndim == 3 else whole[4 * len(x) :]  # the steps of vectors are rows
        np.testing.assert_allclose(one, rest, rtol=0, atol=1e-6)
    assert state_bits(net) == bits
    np.testing.assert_array_equal(net.rnn_time_step(x[:, :, 4:]), found[0][-1])


def test_activations_of_one_step_are_series_of_one():
    net, x = series_network(), features()
    found = net.rnn_activate_using_stored_state(x[:, :, 0])
    assert [array.shape for array in found] == [(5, SIZE, 1), (5, 6, 1), (5, CLASSES, 1)]
    np.testing.assert_array_equal(found[-1][:, :, 0], net.rnn_time_step(x[:, :, 0]))


def test_activations_as_in_training_draw_dropout():
    net, x = series_network("dropout"), features()
    plain = net.rnn_activate_using_stored_state(x)[-1]
    drawn = [net.rnn_activate_using_stored_state(x, train=True)[-1] for _ in range(2)]
    assert not np.array_equal(drawn[0], plain)
    assert not np.array_equal(drawn[0], drawn[1])
    assert state_bits(net) == {}


def test_activations_are_those_of_the_layers_of_users_too():
    net, x = series_network([Tripwire(), LSTM(n_out=4), ActivationLayer("tanh"), Tripwire()]), features()
    net.rnn_time_step(x)
    found = net.rnn_activate_using_stored_state(x)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[3], np.tanh(found[2]), rtol=1e-6)
    assert not any(np.may_share_memory(a, b) for a, b in itertools.combinations([x, *found], 2))


def test_training_goes_on_after_steps():
    nets, x, y = [series_network(), series_network()], features(), one_hot(series()[1], "f4")
    nets[0].rnn_time_step(x)
    for net in nets:
        net.fit(x, y)
    nets[0].rnn_time_step(x)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
