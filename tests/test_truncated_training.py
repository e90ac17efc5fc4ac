"""What truncated backpropagation counts, what it keeps from piece to piece and no longer, and that modes agree."""

import contextlib

import numpy as np
import pytest
from networks import assert_nothing_open, in_new_thread, recorded_spills, workspace_sizes
from recurrent_networks import (
    HIDDEN,
    MARK,
    MODES,
    PIECES,
    PlantedError,
    Recorded,
    Tripwire,
    in_format,
    one_hot,
    series,
    series_network,
    state_bits,
)

from minidl import DataSet
from minidl.data import ArrayDataSetIterator
from minidl.errors import NonFiniteScoreError
from minidl.layers import LSTM, RnnOutputLayer
from minidl.training import Sgd
from minidl.workspaces import workspace_manager

each_mode = pytest.mark.parametrize("mode", MODES)
each_hidden = pytest.mark.parametrize("hidden", HIDDEN)


def truncated(hidden="LSTM", forward=PIECES, **options):
    return series_network(hidden, **dict(backprop_type="truncated_bptt", tbptt_fwd_length=forward) | options)


def batch(size=5, time=10, seed=0, dtype="f4"):
    x, classes = series(size, time, seed, dtype)
    return x, one_hot(classes, dtype)


# What is counted


@pytest.mark.parametrize(("time", "pieces"), [(1, 1), (3, 1), (4, 1), (5, 2), (8, 2), (9, 3), (11, 3)])
def test_every_piece_is_an_iteration(time, pieces):
    updater = Recorded()
    net = truncated(updater=updater)
    net.fit(*batch(time=time))
    assert (net.iteration_count, net.epoch_count) == (pieces, 0)
    net.fit([batch(time=time), batch(time=2)], epochs=2)
    assert (net.iteration_count, net.epoch_count) == (3 * pieces + 2, 2)
    assert updater.iterations == list(range(3 * pieces + 2))


def test_the_length_of_a_piece_is_20_unless_it_is_given():
    net = series_network(backprop_type="truncated_bptt")
    assert net.conf.piece_lengths == (20, 20)
    assert net.fit(*batch(time=41)).iteration_count == 3
    assert series_network(**dict(backprop_type="truncated_bptt", tbptt_back_length=7)).conf.piece_lengths == (20, 7)
    assert truncated(forward=6).conf.piece_lengths == (6, 6)
    assert series_network().conf.piece_lengths is None


def test_score_is_that_of_the_last_piece():
    net, (x, y) = truncated(updater=Sgd(0.0)), batch(time=8)
    net.fit(x, y)
    after_all = net.score()
    net.rnn_time_step(x[:, :, :4])  # parameters stay, so the second piece is seen from the state of the first
    output = net.rnn_time_step(x[:, :, 4:])
    assert after_all == pytest.approx(-(y[:, :, 4:] * np.log(output)).sum() / len(x), rel=1e-5)


def test_other_calls_see_whole_series():
    (x, y), nets = batch(), [truncated(), series_network()]
    for call in ("score", "compute_gradient_and_score"):
        assert getattr(nets[0], call)(x, y) == getattr(nets[1], call)(x, y)
    for one, other in zip(nets[0].calculate_gradients(x, y), nets[1].calculate_gradients(x, y), strict=True):
        np.testing.assert_equal(one, other)
    np.testing.assert_array_equal(nets[0].output(x), nets[1].output(x))
    assert nets[0].iteration_count == 0


def test_the_batches_of_an_iterator_are_cut_into_pieces():
    (x, y), nets = batch(8, 10), [truncated(), truncated()]
    nets[0].fit(ArrayDataSetIterator(x, y, 3), epochs=2)  # in buffers that are used again
    nets[1].fit([(x[start : start + 3], y[start : start + 3]) for start in (0, 3, 6)], epochs=2)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    assert nets[0].iteration_count == truncated().fit(x, y, batch_size=3, epochs=2).iteration_count == 2 * 3 * 3


# What is kept, and no longer


@each_hidden
@each_mode
def test_every_batch_begins_with_zeros(hidden, mode):
    nets = [truncated(hidden, mode=mode, updater=Sgd(0.1)) for _ in range(2)]
    nets[0].fit([batch(seed=0), batch(3, seed=1), batch(3, 7, seed=2)])
    for seed, (size, time) in enumerate([(5, 10), (3, 10), (3, 7)]):
        fresh = truncated(hidden, mode=mode, updater=Sgd(0.1))
        fresh.set_params(nets[1].params)
        fresh.iteration_count = nets[1].iteration_count  # dropout goes by it
        fresh.fit(*batch(size, time, seed))
        nets[1] = fresh
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    assert nets[0].iteration_count == nets[1].iteration_count == 8


@each_hidden
def test_training_does_not_touch_the_stored_state(hidden):
    net, (x, y) = truncated(hidden), batch()
    assert state_bits(net) == {}
    net.fit(x, y)
    assert state_bits(net) == {}
    net.rnn_time_step(x[:2, :, 0])
    stored = state_bits(net)
    assert stored
    net.fit(x, y)
    net.fit(*batch(3))
    assert state_bits(net) == stored


@each_hidden
@each_mode
def test_steps_between_and_within_batches_do_not_touch_the_training(hidden, mode):
    x, y = batch()
    asked = []

    def ask():
        asked.append((net.rnn_time_step(x[:2, :, 0]), net.output(x[:3]), net.rnn_activate_using_stored_state(x[:2])))

    net = truncated(hidden, mode=mode, updater=Recorded(ask=ask))
    net.fit(x, y)
    assert len(asked) == 3
    ask()
    net.fit(x, y)
    spared = truncated(hidden, mode=mode, updater=Recorded()).fit(x, y).fit(x, y)
    np.testing.assert_array_equal(net.params, spared.params)
    assert_nothing_open()


def test_steps_in_the_thread_of_training_have_the_state_of_that_thread():
    net, (x, y) = truncated(), batch()
    expected = truncated().rnn_time_step(x[:2])
    np.testing.assert_array_equal(in_new_thread(net.rnn_time_step, x[:2]), expected)
    in_new_thread(net.fit, x, y)
    assert state_bits(net) == {}
    np.testing.assert_array_equal(net.params, truncated().fit(x, y).params)


def broken(x, step):
    """Return x with a number at one step that a Tripwire does not let pass."""
    x = x.copy()
    x[1, 0, step] = MARK
    return x


def fails_in(iteration):
    """Return an updater that fails in one iteration, the first time."""
    left = [iteration]

    def ask():
        left[0] -= 1
        if left[0] == -1:
            raise PlantedError("planted")

    return Recorded(ask=ask)


@each_mode
@pytest.mark.parametrize("step", [0, 3, 4, 9])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_after_a_failure_the_next_batch_begins_with_zeros(mode, step, backward):
    (x, y), pieces = batch(), step // PIECES
    nets = [truncated([Tripwire(backward), *HIDDEN["dense between"]()], mode=mode) for _ in range(2)]
    nets[0].rnn_time_step(x[:2, :, 0])
    stored = state_bits(nets[0])
    with pytest.raises(PlantedError, match=r"^planted(\nin .*)*$"):
        nets[0].fit(broken(x, step), y)
    assert_nothing_open()
    assert nets[0].iteration_count == pieces
    if pieces:
        nets[1].fit(x[:, :, : pieces * PIECES], y[:, :, : pieces * PIECES])
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    for net in nets:
        net.fit(*batch(seed=1))
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    assert state_bits(nets[0]) == stored


@pytest.mark.parametrize("iteration", [0, 1, 2])
def test_after_a_failing_update_the_next_batch_begins_with_zeros(iteration):
    (x, y), nets = batch(), [truncated(updater=fails_in(iteration)), truncated(updater=Recorded())]
    with pytest.raises(PlantedError, match=r"^planted$"):
        nets[0].fit(x, y)
    assert nets[0].iteration_count == iteration
    if iteration:
        nets[1].fit(x[:, :, : iteration * PIECES], y[:, :, : iteration * PIECES])
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    for net in nets:
        net.fit(*batch(3, seed=1))
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_score_that_is_not_finite_stops_at_its_piece():
    output = RnnOutputLayer(n_out=4, activation="identity", loss="mse")
    nets = [truncated(output=output, updater=Sgd(0.01)) for _ in range(2)]
    x, y = batch()
    y[2, 1, 5] = 3e38
    with pytest.raises(
        NonFiniteScoreError, match=r"^the score is inf in iteration 1 \(epoch 0\): all activations are finite, but the"
    ):
        nets[0].fit(x, y, terminate_on_nan=True)
    nets[1].fit(x[:, :, :4], y[:, :, :4])
    for net in nets:
        net.fit(*batch(seed=1), terminate_on_nan=True)
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


def test_interrupts_leave_no_state():
    (x, y), nets = batch(), [truncated() for _ in range(2)]

    def batches():
        yield x, y
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nets[0].fit(batches())
    nets[1].fit(x, y)
    for net in nets:
        net.fit(*batch(2, seed=3))
    np.testing.assert_array_equal(nets[0].params, nets[1].params)


# Modes

LENGTHS = [10, 10, 7, 4, 1, 13, 9, 8, 3, 17] * 2  # 50 pieces
SIZES = [5, 5, 3, 5, 1, 4]


@contextlib.contextmanager
def poisoned(yes):
    workspace_manager.poison_recycled_memory = yes
    try:
        yield
    finally:
        workspace_manager.poison_recycled_memory = False


def data_of(step, format):
    """Return the batch of a step, in turn with class indices and one-hot labels of two types, and with masks."""
    time, size = LENGTHS[step], SIZES[step % len(SIZES)]
    x, classes = series(size, time, step, "f4")
    y = [in_format(one_hot(classes, "f4"), format), classes, in_format(one_hot(classes), format)][step % 3]
    rng = np.random.default_rng(step)
    features_mask = rng.integers(0, 2, (size, time)) if step % 2 else None
    labels_mask = rng.integers(0, 2, (size, time)).astype("f4") if step // 2 % 2 else None
    return DataSet(in_format(x, format), y, features_mask, labels_mask)


def history(hidden, mode, format, poison):
    """Return what 50 pieces of batches of ever other lengths leave: scores, gradients, outputs, parameters."""
    found = []
    with poisoned(poison):
        net = truncated(hidden, 4, mode=mode, format=format, tbptt_back_length=3)
        for step in range(len(LENGTHS)):
            data = data_of(step, format)
            net.fit(data)
            found += [np.array(net.score()), net.gradient.copy(), net.output(data.features)]
            found.append(net.rnn_time_step(data.features))
            net.rnn_clear_previous_state()
    assert net.iteration_count == 50
    return [*found, net.params.copy()]


@pytest.mark.parametrize(
    ("hidden", "format"), [*((hidden, "NCW") for hidden in HIDDEN), ("dense between", "NWC"), ("dropout", "NWC")]
)
def test_modes_agree_to_the_bit_whatever_recycled_memory_holds(hidden, format):
    expected = history(hidden, "NONE", format, poison=False)
    assert all(np.isfinite(array).all() for array in expected)
    for poison in (False, True):
        for one, other in zip(expected, history(hidden, "ENABLED", format, poison), strict=True):
            np.testing.assert_array_equal(one, other, strict=True)
    assert_nothing_open()


@pytest.mark.parametrize("timesteps", [None, 10])
@each_mode
def test_a_length_that_the_input_type_says_is_that_of_whole_series(timesteps, mode):
    nets = [truncated(mode=mode, timesteps=timesteps), truncated(mode=mode)]
    for net in nets:
        net.fit(*batch()).fit(*batch(seed=1))
    np.testing.assert_array_equal(nets[0].params, nets[1].params)
    np.testing.assert_array_equal(nets[0].rnn_time_step(batch()[0][:, :, :3]), nets[1].output(batch()[0])[:, :, :3])


@each_hidden
def test_pieces_are_planned_and_do_not_spill(hidden):
    def run():
        net = truncated(hidden, strict=True)
        with recorded_spills() as requests:
            net.fit(*batch(16)).fit(*batch(16, 7)).fit(*batch(3))
            net.rnn_time_step(batch(16)[0])
        return requests

    assert in_new_thread(run) == []


@pytest.mark.parametrize("timesteps", [None, 12])
def test_the_report_is_that_of_training_and_evaluation_on_pieces_and_output_of_whole_series(timesteps):
    def run():
        net, (x, y) = truncated(timesteps=timesteps), batch(16, 12)
        report = net.memory_report(batch_size=16, timesteps=None if timesteps else 12).workspaces
        net.fit(x, y)
        after_training = workspace_sizes()
        net.evaluate(x, y)
        after_evaluation = workspace_sizes()
        net.output(x)
        return report, after_training, after_evaluation, workspace_sizes()

    report, after_training, after_evaluation, after_output = in_new_thread(run)
    assert report["WS_ALL_LAYERS_ACT"] == after_training["WS_ALL_LAYERS_ACT"]  # of a piece
    assert after_evaluation == after_training
    assert all(size <= report[name] for name, size in after_training.items())
    assert report == after_output


def test_the_pieces_of_a_series_learn_what_went_before():
    x, classes = series(32, 24, dtype="f4")
    net = truncated([LSTM(n_out=16)], 6)
    start = net.score(x, classes)
    net.fit([(x, classes)], epochs=60)
    assert net.score(x, classes) < 0.5 * start
    assert net.evaluate(x, classes).accuracy() > 0.9
