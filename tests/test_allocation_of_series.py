"""A warm fit in pieces of series and a warm step of one take no array memory.

The gauges are those of allocation.py, at a batch at which every array that has the axis of the examples is over the
size from which heap requests are counted, also in the last piece, which is shorter.
"""

import functools

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from recurrent_networks import CLASSES, HIDDEN, SIZE, Elman, in_format, one_hot, series, series_network
from test_allocation import workspace_counters

from minidl import DataSet
from minidl.data import ArrayDataSetIterator
from minidl.layers import LSTM, GravesLSTM, SimpleRnn

BATCH, TIME, PIECE = 1024, 8, 3  # pieces of 3, 3 and 2 steps
ARRAYS_ALIVE = 150  # views of steps, their shapes, and the DataSet; the least array of a batch is 4096 bytes
WIDE = {
    "wide LSTM": lambda: [LSTM(n_out=60)],
    "wide GravesLSTM": lambda: [GravesLSTM(n_out=60)],
    "wide SimpleRnn": lambda: [SimpleRnn(n_out=60)],
    "wide layer norm": lambda: [SimpleRnn(n_out=60, has_layer_norm=True)],
}
LAYERS = HIDDEN | WIDE
FORMS = ["masks", "class indices", "float64", "NWC", "class weights", "iterator", "shorter back"]


def network(hidden, form=""):
    options = dict(backprop_type="truncated_bptt", tbptt_fwd_length=PIECE)
    options |= {"shorter back": dict(tbptt_back_length=2), "mode NONE": dict(mode="NONE")}.get(form, {})
    return series_network(LAYERS[hidden](), "NWC" if form == "NWC" else "NCW", **options)


def fit_of(hidden, form):
    """Return the function whose calls are measured."""
    net, (x, classes) = network(hidden, form), series(BATCH, TIME, dtype="f8" if form == "float64" else "f4")
    y = classes if form == "class indices" else one_hot(classes, x.dtype)
    if form == "iterator":
        iterator = ArrayDataSetIterator(x, y, BATCH, shuffle=True, seed=1)
        return lambda: net.fit(iterator)
    if form == "NWC":
        x, y = (np.ascontiguousarray(in_format(array, form)) for array in (x, y))
    rng, masks = np.random.default_rng(0), (None, None)
    if form.endswith("masks"):
        dtype = "?" if form == "boolean masks" else "f4"
        masks = rng.integers(0, 2, (BATCH, TIME)).astype(dtype), rng.integers(0, 2, (BATCH, TIME)).astype(dtype)
    data, weights = DataSet(x, y, *masks), dict(enumerate((1.0, 2.0, 0.5, 1.5)))
    return lambda: net.fit(data, class_weight=weights if form == "class weights" else None)


def steps_of(hidden, form=""):
    """Return functions that step a network, and a session, by one step and by a piece."""
    net, format = network(hidden, form), "NWC" if form == "NWC" else "NCW"
    x, session, out = series(BATCH, TIME, dtype="f4")[0], net.rnn_session(), np.empty((BATCH, CLASSES), "f4")
    row, piece = np.ascontiguousarray(x[:, :, 0]), np.ascontiguousarray(in_format(x[:, :, :PIECE], format))
    of_piece = np.empty(in_format(np.empty((BATCH, CLASSES, PIECE)), format).shape, "f4")
    return {
        "one step": lambda: net.rnn_time_step(row, out=out),
        "a piece": lambda: net.rnn_time_step(piece, out=of_piece),
        "one step of a session": lambda: session.step(row, out=out),
        "a piece of a session": lambda: session.step(piece, out=of_piece),
    }


def measured_as(found):
    """Return the gauges of functions by name."""
    return {name: gauges(step, repeats=5, counters=workspace_counters) for name, step in found.items()}


def measure_fits(form):
    return measured_as({hidden: fit_of(hidden, form) for hidden in LAYERS})


def measure_forms(hidden):
    return measured_as({form: fit_of(hidden, form) for form in [*FORMS, "masks"]})


def measure_steps(form):
    return measured_as(
        {f"{hidden}, {name}": step for hidden in LAYERS for name, step in steps_of(hidden, form).items()}
    )


def measure_one_example():
    """Return the gauges at batch 1, where all arrays are small, and Python's peak alone tells."""
    found, row, out = {}, np.ones((1, SIZE), "f4"), np.empty((1, CLASSES), "f4")
    for hidden, make in HIDDEN.items():
        net = series_network(make())
        found[hidden] = functools.partial(net.rnn_time_step, row, out=out)
    return measured_as(found)


def measure_first_calls():
    """Return the gauges of a step and a fit that each come after one of another kind."""
    net, (x, classes) = network("LSTM"), series(BATCH, TIME, dtype="f4")
    y, row, out = one_hot(classes, "f4"), x[:, :, 0].copy(), np.empty((BATCH, CLASSES), "f4")

    def step():
        net.fit(x, y)
        net.rnn_time_step(row, out=out)
        net.rnn_clear_previous_state()
        net.rnn_time_step(row, out=out)

    return gauges(step, repeats=5, counters=workspace_counters)


def measure_result():
    net, row = network("LSTM"), np.ones((BATCH, SIZE), "f4")
    return gauges(lambda: net.rnn_time_step(row), counters=workspace_counters)


def measure_mode_none():
    return gauges(fit_of("LSTM", "mode NONE"), counters=workspace_counters)


class OnTheHeap(Elman):
    """A layer of a user's that takes memory which nobody recycles, at every step."""

    def activate(self, x, *, training, workspace_mgr):
        np.empty(1 << 16)
        return super().activate(x, training=training, workspace_mgr=workspace_mgr)


def measure_fault():
    net = series_network([OnTheHeap(5)])
    row, out = np.ones((BATCH, SIZE), "f4"), np.empty((BATCH, CLASSES), "f4")
    return gauges(lambda: net.rnn_time_step(row, out=out), counters=workspace_counters)


@pytest.fixture(scope="module")
def measured(run_under_counter):
    """Return what measures much in one process, once."""
    return functools.cache(run_under_counter)


each_layer = pytest.mark.parametrize("hidden", LAYERS)
CALLS = ["one step", "a piece", "one step of a session", "a piece of a session"]


@each_layer
@pytest.mark.parametrize("form", ["", "boolean masks"])
def test_a_warm_fit_in_pieces_allocates_nothing(hidden, form, measured):
    assert_no_allocation(measured(measure_fits, form)[hidden], arrays_alive=ARRAYS_ALIVE)


@pytest.mark.parametrize("hidden", ["dense between", "wide LSTM"])
@pytest.mark.parametrize("form", FORMS)
def test_a_warm_fit_of_any_form_of_data_allocates_nothing(hidden, form, measured):
    assert_no_allocation(measured(measure_forms, hidden)[form], arrays_alive=ARRAYS_ALIVE)


@each_layer
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("form", ["", "NWC"])
def test_a_warm_step_allocates_nothing(hidden, call, form, measured):
    assert_no_allocation(measured(measure_steps, form)[f"{hidden}, {call}"], arrays_alive=ARRAYS_ALIVE)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_warm_step_of_one_example_allocates_nothing(hidden, measured):
    assert_no_allocation(measured(measure_one_example)[hidden], arrays_alive=40)


def test_training_stepping_and_clearing_in_turn_allocate_nothing(run_under_counter):
    assert_no_allocation(run_under_counter(measure_first_calls), arrays_alive=ARRAYS_ALIVE)


def test_a_step_without_out_allocates_its_result_alone(run_under_counter):
    assert run_under_counter(measure_result).native_large_bytes == BATCH * CLASSES * 4


def test_mode_none_is_seen_to_allocate(run_under_counter):
    measured = run_under_counter(measure_mode_none)
    assert measured.native_large_bytes > BATCH * SIZE * TIME * 4


def test_a_fault_in_a_layer_turns_the_gauges_red(run_under_counter):
    with pytest.raises(AssertionError, match=r"^Python's peak grew by more than"):
        assert_no_allocation(run_under_counter(measure_fault), arrays_alive=ARRAYS_ALIVE)
