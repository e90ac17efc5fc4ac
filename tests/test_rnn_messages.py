"""What stepping is refused for, and with which words."""

import re

import numpy as np
import pytest
from recurrent_networks import CLASSES, SIZE, in_format, series, series_network, state_bits

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, DataError, DtypeError, NotInitializedError, ShapeError
from minidl.layers import (
    LSTM,
    Bidirectional,
    Convolution1DLayer,
    DenseLayer,
    GlobalPoolingLayer,
    LastTimeStep,
    OutputLayer,
    RnnOutputLayer,
    Subsampling1DLayer,
)


def whole(message):
    return f"^{re.escape(message)}$"


def features(batch=5, time=10, seed=0):
    return series(batch, time, seed, "f4")[0]


def steps_of(net):
    """Return all that takes steps."""
    return net.rnn_time_step, net.rnn_activate_using_stored_state, net.rnn_session().step


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (
            np.zeros((5, SIZE + 1)),
            ShapeError,
            f"features have shape (5, {SIZE + 1}), expected (batch, {SIZE}) for one step. Give one number for each "
            "input of the network, or series with an axis for time.",
        ),
        (
            np.zeros((5, 10, SIZE)),
            ShapeError,
            f"features have shape (5, 10, {SIZE}), expected (batch, {SIZE}, time). Its axes are in another order: "
            "x.transpose(0, 2, 1), or give the input type the format of the data.",
        ),
        (
            np.zeros(SIZE),
            ShapeError,
            f"features have shape ({SIZE},), expected (batch, {SIZE}, time). Reshape the features, or change the "
            "input_type of the configuration.",
        ),
        (
            np.zeros((0, SIZE)),
            DataError,
            f"features of shape (0, {SIZE}, 1) hold no examples. Give at least one.",
        ),
        (
            np.zeros((5, SIZE, 0)),
            DataError,
            f"features of shape (5, {SIZE}, 0) hold series of no time steps. Leave them out.",
        ),
        (
            np.zeros((5, SIZE), complex),
            DtypeError,
            "features: got dtype complex128, expected real numbers, integers or booleans. Convert first, for example "
            "with .astype(np.float32).",
        ),
        (
            None,
            DtypeError,
            "features: got an object of type NoneType, expected an array with one batch of numbers.",
        ),
    ],
)
def test_features_that_do_not_fit(x, error, message):
    net = series_network()
    for call in steps_of(net):
        with pytest.raises(error, match=whole(message)):
            call(x)


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("format", ["NCW", "NWC"])
def test_a_batch_of_another_size_while_a_state_is_stored(batch, format):
    net, x = series_network(format=format), in_format(features(), format)
    session = net.rnn_session()
    for step in (net.rnn_time_step, session.step):
        step(x)
        with pytest.raises(
            ShapeError,
            match=whole(
                f"features have {batch} examples, but the stored state is of 5. Give a batch of the same size, or call "
                "rnn_clear_previous_state() to begin new series."
            ),
        ):
            step(in_format(features(batch), format))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            np.empty((5, CLASSES), "f4"),
            ShapeError,
            f"out has shape (5, {CLASSES}), expected (5, {CLASSES}, 10). Make it with np.empty((5, {CLASSES}, 10), "
            "'float32').",
        ),
        (
            np.empty((5, CLASSES, 10)),
            DtypeError,
            f"out has dtype float64, expected float32. Make it with np.empty((5, {CLASSES}, 10), 'float32').",
        ),
        (
            "text",
            DtypeError,
            f"out is a str, expected an array. Make it with np.empty((5, {CLASSES}, 10), 'float32').",
        ),
    ],
)
def test_an_out_that_cannot_take_the_result(out, error, message):
    net = series_network()
    for step in (net.rnn_time_step, net.rnn_session().step):
        with pytest.raises(error, match=whole(message)):
            step(features(), out=out)


def test_an_out_that_is_read_only_or_the_input():
    net, x = series_network([LSTM(n_out=SIZE)], output=RnnOutputLayer(n_out=SIZE)), features()
    out = np.empty_like(x)
    out.flags.writeable = False
    with pytest.raises(DataError, match=r"^out is read-only\. Pass an array that can be written to\.$"):
        net.rnn_time_step(x, out=out)
    message = r"^out shares memory with the input, which would be overwritten\. Pass another array\.$"
    for each, target in ((x, x), (x[:, :, 0], x[:, :, 0]), (x[:, :, :5], x[:, :, 4:9])):
        with pytest.raises(DataError, match=message):
            net.rnn_time_step(each, out=target)
    assert state_bits(net) == {}


@pytest.mark.parametrize("name", ["Bidirectional", "LastTimeStep"])
def test_layers_that_need_whole_series_cannot_be_stepped(name):
    inner = Bidirectional(LSTM(n_out=4))
    layers, output = ([inner], RnnOutputLayer(n_out=2)) if name == "Bidirectional" else ([], OutputLayer(n_out=2))
    net = series_network(layers or [LastTimeStep(inner)], output=output)
    message = (
        f"layer 0 ({name}) needs series from start to end, and cannot be stepped. Use output(x) with whole series."
    )
    for call in steps_of(net):
        for x in (features(), features()[:, :, 0]):
            with pytest.raises(ConfigurationError, match=whole(message)):
                call(x)
    assert state_bits(net) == {}


def test_networks_without_series_cannot_be_stepped():
    conf = NeuralNetConfiguration().list(
        DenseLayer(n_out=4), OutputLayer(n_out=2), input_type=InputType.feed_forward(3)
    )
    net = MultiLayerNetwork(conf).init()
    message = (
        "the input type of this network is FeedForward(size=3), which has no time steps. Use output(x), or "
        "InputType.recurrent(size)."
    )
    for call in steps_of(net):
        with pytest.raises(ConfigurationError, match=whole(message)):
            call(np.zeros((5, 3)))
    with pytest.raises(ConfigurationError, match=whole("layer 0 (DenseLayer) has no state. Choose a recurrent layer.")):
        net.rnn_set_previous_state(0, {})
    assert net.rnn_get_previous_state(0) == {}
    net.rnn_clear_previous_state()


def test_networks_that_are_not_initialised_cannot_be_stepped():
    net, x = MultiLayerNetwork(series_network().conf), features()
    calls = [
        lambda: net.rnn_time_step(x),
        lambda: net.rnn_activate_using_stored_state(x),
        lambda: net.rnn_get_previous_state(0),
        lambda: net.rnn_set_previous_state(0, {}),
        net.rnn_clear_previous_state,
        net.rnn_session,
    ]
    for call in calls:
        message = r"^the network has no parameters yet\. Call init\(\) first\.$"
        with pytest.raises(NotInitializedError, match=message):
            call()


@pytest.mark.parametrize("layer", [-1, 2, 7, "0", None, 0.5])
def test_layers_that_are_not_there(layer):
    net = series_network()
    session = net.rnn_session()
    message = f"there is no layer {layer!r}: the network has layers 0 to 1."
    for get in (net.rnn_get_previous_state, session.get_previous_state):
        with pytest.raises(ConfigurationError, match=whole(message)):
            get(layer)
    for set_state in (net.rnn_set_previous_state, session.set_previous_state):
        with pytest.raises(ConfigurationError, match=whole(message)):
            set_state(layer, {})


@pytest.mark.parametrize(
    ("state", "given"),
    [
        ({}, "[]"),
        ({"prev_act": np.zeros((5, 6))}, "['prev_act']"),
        ({"prev_act": np.zeros((5, 6)), "prevMem": np.zeros((5, 6))}, "['prevMem', 'prev_act']"),
        (dict.fromkeys(("prev_act", "prev_mem", "more"), np.zeros((5, 6))), "['more', 'prev_act', 'prev_mem']"),
        ([("prev_act", 1)], "[('prev_act', 1)]"),
        (None, "None"),
    ],
)
def test_states_of_other_names(state, given):
    net = series_network()
    message = (
        f"the state of layer 0 (LSTM) has the names ['prev_act', 'prev_mem'], got {given}. Give a dictionary with an "
        "array for each name, as rnn_get_previous_state() returns it."
    )
    for set_state in (net.rnn_set_previous_state, net.rnn_session().set_previous_state):
        with pytest.raises(ConfigurationError, match=whole(message)):
            set_state(0, state)


def test_a_layer_without_state_has_none_to_set():
    message = "layer 1 (RnnOutputLayer) has no state. Choose a recurrent layer."
    with pytest.raises(ConfigurationError, match=whole(message)):
        series_network().rnn_set_previous_state(1, {"prev_act": np.zeros((5, 4))})


@pytest.mark.parametrize(
    ("act", "mem", "name", "shape", "batch"),
    [
        ((5, 6), (5, 7), "prev_mem", (5, 7), 5),
        ((5, 7), (5, 6), "prev_act", (5, 7), 5),
        ((5, 6), (4, 6), "prev_mem", (4, 6), 5),
        ((6,), (6,), "prev_act", (6,), 6),
        ((5, 6, 1), (5, 6), "prev_act", (5, 6, 1), 5),
    ],
)
def test_states_of_other_shapes(act, mem, name, shape, batch):
    net = series_network()
    message = (
        f"state {name!r} has shape {shape}, expected (batch, 6) with a batch of {batch}, as all states. Call "
        "rnn_clear_previous_state() before states of a batch of another size."
    )
    with pytest.raises(ShapeError, match=whole(message)):
        net.rnn_set_previous_state(0, {"prev_act": np.zeros(act), "prev_mem": np.zeros(mem)})
    assert state_bits(net) == {}


def test_states_of_another_batch_than_those_of_other_layers():
    net = series_network("dense between")
    net.rnn_time_step(features())
    bits = state_bits(net)
    message = (
        "state 'prev_act' has shape (4, 4), expected (batch, 4) with a batch of 5, as all states. Call "
        "rnn_clear_previous_state() before states of a batch of another size."
    )
    with pytest.raises(ShapeError, match=whole(message)):
        net.rnn_set_previous_state(2, {"prev_act": np.zeros((4, 4))})
    assert state_bits(net) == bits


def test_states_that_are_no_numbers():
    message = (
        "state 'prev_act': got dtype complex128, expected real numbers, integers or booleans. Convert first, for "
        "example with .astype(np.float32)."
    )
    with pytest.raises(DtypeError, match=whole(message)):
        series_network("SimpleRnn").rnn_set_previous_state(0, {"prev_act": np.zeros((5, 7), complex)})


# What was once taken, or failed in the words of NumPy


def test_rows_of_different_lengths():
    message = "features: this is not an array, as its rows differ in length. Give all the same length."
    with pytest.raises(ShapeError, match=whole(message)):
        series_network().rnn_time_step([[1.0, 2.0, 3.0], [1.0, 2.0]])


def test_a_state_without_axes():
    with pytest.raises(ShapeError, match=r"^state 'prev_act' has shape \(\), expected \(batch, 7\)"):
        series_network("SimpleRnn").rnn_set_previous_state(0, {"prev_act": 0.5})


def test_a_state_of_no_examples():
    net = series_network("SimpleRnn")
    with pytest.raises((ShapeError, DataError), match=r"^state 'prev_act'"):
        net.rnn_set_previous_state(0, {"prev_act": np.zeros((0, 7))})


def test_a_state_that_is_not_finite_in_the_type_of_the_network():
    with pytest.raises(DataError, match=r"^state 'prev_act'"):
        series_network("SimpleRnn").rnn_set_previous_state(0, {"prev_act": np.full((5, 7), 1e300)})


@pytest.mark.parametrize("name", ["GlobalPoolingLayer", "Convolution1DLayer", "Subsampling1DLayer"])
def test_other_layers_that_look_at_several_steps_cannot_be_stepped(name):
    layer = {
        "GlobalPoolingLayer": GlobalPoolingLayer(),
        "Convolution1DLayer": Convolution1DLayer(n_out=4, kernel_size=3, convolution_mode="same"),
        "Subsampling1DLayer": Subsampling1DLayer(kernel_size=2, stride=1, convolution_mode="same"),
    }[name]
    output = OutputLayer(n_out=2) if name == "GlobalPoolingLayer" else RnnOutputLayer(n_out=2)
    net = series_network([LSTM(n_out=4), layer], output=output)
    with pytest.raises(ConfigurationError, match=rf"^layer 1 \({name}\) needs series from start to end"):
        net.rnn_time_step(features()[:, :, 0])
