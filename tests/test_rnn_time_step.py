"""Series taken step by step, or in pieces, give what they give as a whole.

A whole series in one call gives the bits of ``output``. Shorter pieces need not: BLAS sums in another order where a
product has other shapes. There the tolerance is 1e-6, and 1e-12 in float64.
"""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import Bulge, assert_nothing_open, in_new_thread, recorded_spills
from recurrent_networks import (
    CLASSES,
    HIDDEN,
    MODES,
    SIZE,
    in_format,
    series,
    series_network,
    state_bits,
)

from minidl import nd
from minidl.layers import LSTM, DenseLayer, LastTimeStep, OutputLayer, RnnLossLayer, SimpleRnn
from minidl.workspaces import WorkspaceConfiguration, workspace_manager

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
FORMATS = ["NCW", "NWC"]
each_hidden = pytest.mark.parametrize("hidden", HIDDEN)
each_mode = pytest.mark.parametrize("mode", MODES)
each_format = pytest.mark.parametrize("format", FORMATS)

network = functools.cache(series_network)  # for tests that only read


def features(batch=5, time=10, seed=0):
    return series(batch, time, seed, "f4")[0]


def stepped(net, x, lengths, format, flat=False):
    """Return the outputs for pieces of these lengths as one array (batch, n, time); ``flat`` takes one step as rows."""
    outputs, start = [], 0
    for length in lengths:
        piece = x[:, :, start : start + length]
        if flat and length == 1:
            outputs.append(net.rnn_time_step(piece[:, :, 0])[:, :, np.newaxis])
        else:
            outputs.append(in_format(net.rnn_time_step(in_format(piece, format)), format))
        start += length
    return np.concatenate(outputs, axis=2)


# Against whole series


@each_hidden
@each_mode
@given(data=st.data())
def test_pieces_of_any_lengths_give_the_output_of_the_whole(hidden, mode, data):
    dtype, format = data.draw(st.sampled_from(sorted(TOLERANCE))), data.draw(st.sampled_from(FORMATS))
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    batch, flat = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    net, x = network(hidden, format, mode=mode, dtype=dtype), features(batch, sum(lengths), seed=batch)
    net.rnn_clear_previous_state()
    expected = in_format(net.output(in_format(x, format)), format)
    outputs = stepped(net, x, lengths, format, flat)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE[dtype])
    assert {shape[0] for shape, _ in state_bits(net).values()} <= {batch}


@each_hidden
@each_mode
@each_format
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch", [1, 3])
def test_one_step_after_the_other_gives_the_output_of_the_whole(hidden, mode, format, dtype, batch):
    net, x = network(hidden, format, mode=mode, dtype=dtype), features(batch, 12)
    expected = in_format(net.output(in_format(x, format)), format)
    for flat in (True, False):
        net.rnn_clear_previous_state()
        outputs = stepped(net, x, [1] * 12, format, flat)
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=TOLERANCE[dtype])


@each_hidden
@each_mode
@each_format
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_a_whole_series_gives_the_bits_of_output(hidden, mode, format, batch):
    net, x = network(hidden, format, mode=mode), in_format(features(batch), format)
    net.rnn_clear_previous_state()
    np.testing.assert_array_equal(net.rnn_time_step(x), net.output(x), strict=True)


@each_hidden
@pytest.mark.parametrize("lengths", [[1] * 8, [3, 1, 4], [8]])
@pytest.mark.parametrize("batch", [1, 3])
def test_modes_agree_to_the_bit(hidden, lengths, batch):
    results = []
    for mode, poison in (("NONE", False), ("ENABLED", False), ("ENABLED", True)):
        net = network(hidden, mode=mode)
        net.rnn_clear_previous_state()
        workspace_manager.poison_recycled_memory = poison
        try:
            results.append((stepped(net, features(batch, 8), lengths, "NCW", flat=True), state_bits(net)))
        finally:
            workspace_manager.poison_recycled_memory = False
    for outputs, bits in results[1:]:
        np.testing.assert_array_equal(outputs, results[0][0])
        assert bits == results[0][1]
    assert_nothing_open()


@each_hidden
@each_mode
@each_format
@pytest.mark.parametrize("batch", [1, 3])
def test_rows_of_one_step_give_the_bits_of_series_of_one_step(hidden, mode, format, batch):
    """One example in the type of the network, whose row lies in one piece, goes a way of its own."""
    net, x = network(hidden, format, mode=mode), features(batch)
    results = []
    for of_step in (
        lambda step: net.rnn_time_step(x[:, :, step].copy()),
        lambda step: net.rnn_time_step(x[:, :, step].astype("f8")),
        lambda step: net.rnn_time_step(in_format(x[:, :, step : step + 1], format)).reshape(batch, CLASSES),
        lambda step: net.rnn_time_step(x[:, :, step].copy(), out=np.empty((batch, CLASSES), "f4")),
    ):
        net.rnn_clear_previous_state()
        results.append((np.stack([of_step(step) for step in range(10)]), state_bits(net)))
    for outputs, bits in results[1:]:
        np.testing.assert_array_equal(outputs, results[0][0], strict=True)
        assert bits == results[0][1]


@each_hidden
@pytest.mark.parametrize("batch", [1, 3])
def test_steps_see_the_parameters_of_now(hidden, batch):
    net, (x, classes) = series_network(hidden), series(5, 10, dtype="f4")
    session = net.rnn_session()

    def check():
        for step, clear in ((net.rnn_time_step, net.rnn_clear_previous_state), (session.step, session.clear)):
            clear()
            outputs = np.stack([step(x[:batch, :, t].copy()) for t in range(10)], axis=2)
            np.testing.assert_allclose(outputs, net.output(x[:batch]), rtol=0, atol=1e-6)
        return outputs

    found = [check()]
    net.fit(x, classes)
    found.append(check())
    net.set_params(2 * net.params)
    found.append(check())
    net.init(net.params / 3)
    found.append(check())
    for one, other in itertools.pairwise(found):
        assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("activation", ["rrelu", "softmax", "rationaltanh", Bulge()], ids=str)
def test_rows_go_through_every_kind_of_activation(activation):
    layers = [DenseLayer(n_out=5, activation=activation)]
    layers += [LSTM(n_out=4, activation="tanh" if activation == "rrelu" else activation)]
    net, x = series_network(layers, dtype="float64"), series(1, 10)[0]
    outputs = np.stack([net.rnn_time_step(x[:, :, t].copy()) for t in range(10)], axis=2)
    np.testing.assert_allclose(outputs, net.output(x), rtol=0, atol=1e-12)


@each_hidden
@each_format
def test_out_gets_the_same_bits(hidden, format):
    net, x = network(hidden, format), in_format(features(), format)
    for piece, shape in ((x, x.shape), (features()[:, :, 0], (5, SIZE))):
        net.rnn_clear_previous_state()
        expected = net.rnn_time_step(piece), net.rnn_time_step(piece)
        net.rnn_clear_previous_state()
        out = np.full(tuple(CLASSES if extent == SIZE else extent for extent in shape), np.nan, np.float32)
        for result in expected:
            assert net.rnn_time_step(piece, out=out) is out
            np.testing.assert_array_equal(out, result, strict=True)


def test_results_are_arrays_of_their_own():
    for mode in MODES:
        net, x = network(mode=mode), features()
        first = net.rnn_time_step(x)
        before = first.copy()
        second = net.rnn_time_step(x)
        np.testing.assert_array_equal(first, before)
        for result in (first, second, net.rnn_time_step(x[:, :, 0])):
            assert type(result) is np.ndarray
            assert result.flags.c_contiguous
            assert result.flags.owndata
            assert not nd.is_attached(result)
        assert not np.may_share_memory(first, second)
        net.rnn_clear_previous_state()


@each_format
def test_series_of_any_type_and_order_are_taken(format):
    net, x = network("LSTM", format), in_format(np.round(4 * features()), format)
    results = []
    for given_x in (x, x.astype("f8"), x.astype(int), np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x.tolist()):
        net.rnn_clear_previous_state()
        results.append((net.rnn_time_step(given_x), net.rnn_time_step(in_format(np.array(given_x), format)[:, :, 0])))
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@each_mode
def test_a_length_that_the_input_type_says_is_that_of_whole_series(mode):
    nets = [network(mode=mode, timesteps=timesteps) for timesteps in (None, 10)]
    for net in nets:
        net.rnn_clear_previous_state()
    for lengths in ([4, 6], [10], [13]):
        one, other = (stepped(net, features(5, sum(lengths)), lengths, "NCW") for net in nets)
        np.testing.assert_array_equal(one, other)


def test_dropout_is_off():
    net, x = network("dropout"), features()
    net.rnn_clear_previous_state()
    np.testing.assert_array_equal(net.rnn_time_step(x), net.output(x))


@each_mode
def test_a_network_that_ends_in_vectors_gives_that_of_the_last_step(mode):
    layers = [LSTM(n_out=4), LastTimeStep(SimpleRnn(n_out=5)), OutputLayer(n_out=CLASSES)]
    net, x = series_network(layers[:2], mode=mode, output=layers[2]), features()
    expected = net.output(x)
    assert expected.shape == (5, CLASSES)
    for lengths in ([10], [3, 7], [9, 1], [1] * 10):
        starts = itertools.accumulate([0, *lengths])
        net.rnn_clear_previous_state()
        for start, length in zip(starts, lengths, strict=False):
            result = net.rnn_time_step(x[:, :, start : start + length])
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    net.rnn_clear_previous_state()
    for step in range(10):
        result = net.rnn_time_step(x[:, :, step])
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    assert set(net.rnn_get_previous_state(1)) == {"prev_act"}


def test_networks_without_recurrent_layers_have_nothing_to_store():
    for output in (None, RnnLossLayer(activation="softmax", loss="mcxent")):
        net, x = series_network([DenseLayer(n_out=CLASSES, activation="tanh")], output=output), features()
        np.testing.assert_allclose(stepped(net, x, [1, 4, 5], "NCW"), net.output(x), rtol=0, atol=1e-6)
        assert state_bits(net) == {}


def test_steps_are_planned_and_do_not_spill():
    def run():
        with recorded_spills() as requests:
            for hidden in HIDDEN:
                net = series_network(hidden, strict=True)
                stepped(net, features(16, 9), [1, 2, 5, 1], "NCW", flat=True)
        return requests

    assert in_new_thread(run) == []


@each_mode
@pytest.mark.parametrize("situation", ["open", "scoped out"])
def test_open_workspaces_of_the_user_are_left_alone(mode, situation):
    net, x = network("custom", mode=mode), features()
    net.rnn_clear_previous_state()
    expected = net.rnn_time_step(x), net.rnn_time_step(x[:, :, 0]), state_bits(net)
    net.rnn_clear_previous_state()
    with workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=1 << 16), "USER") as mine:
        array, offset = nd.full((10,), 2.5), mine.offset
        if situation == "open":
            given_x = nd.migrate(x)
            offset = mine.offset
            found = net.rnn_time_step(given_x), net.rnn_time_step(given_x[:, :, 0]), state_bits(net)
        else:
            with workspace_manager.scope_out_of_workspaces():
                found = net.rnn_time_step(x), net.rnn_time_step(x[:, :, 0]), state_bits(net)
        assert mine.offset == offset
        assert array.sum() == 25
    workspace_manager.destroy_workspace(mine)
    for one, other in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[2] == expected[2]
    assert not any(map(nd.is_attached, found[:2]))


def test_destroyed_workspaces_are_made_again_and_the_state_is_kept():
    net, x = series_network("dense between"), features()
    expected = stepped(series_network("dense between"), x, [4, 6], "NCW")

    def run():
        first = net.rnn_time_step(x[:, :, :4])
        workspace_manager.destroy_all_workspaces_for_current_thread()
        return np.concatenate([first, net.rnn_time_step(x[:, :, 4:])], axis=2)

    np.testing.assert_array_equal(in_new_thread(run), expected)
