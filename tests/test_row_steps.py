"""The short way of one step of one example: the same bits as the general one, and as careful."""

import re

import numpy as np
import pytest

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import DataError, ShapeError
from minidl.layers import (
    LSTM,
    ActivationLayer,
    DenseLayer,
    EmbeddingLayer,
    EmbeddingSequenceLayer,
    GravesLSTM,
    RnnOutputLayer,
    SimpleRnn,
)
from minidl.stepping import _Stream

STACKS = {
    "LSTM": [LSTM(n_out=6), LSTM(n_out=5)],
    "GravesLSTM": [GravesLSTM(n_out=6), GravesLSTM(n_out=5, activation="softsign", gate_activation="hardsigmoid")],
    "swish": [LSTM(n_out=6, activation="swish"), DenseLayer(n_out=4, activation="gelu"), GravesLSTM(n_out=5)],
    "SimpleRnn": [SimpleRnn(n_out=6), DenseLayer(n_out=4), SimpleRnn(n_out=5, activation="swish", has_bias=False)],
    "embedding": [EmbeddingSequenceLayer(n_in=9, n_out=6, has_bias=True, activation="tanh"), LSTM(n_out=5)],
    "embedding of rows": [EmbeddingLayer(n_in=9, n_out=6, activation="softmax"), LSTM(n_out=5)],
    "no bias": [LSTM(n_out=6, has_bias=False), DenseLayer(n_out=4, has_bias=False), LSTM(n_out=17)],
}


def network(layers, output=None, **options):
    output = output or RnnOutputLayer(n_out=3)
    kind = InputType.recurrent(1 if layers[0].takes_indices else 4, format=options.pop("format", "NCW"))
    return MultiLayerNetwork(NeuralNetConfiguration(seed=3, **options).list(*layers, output, input_type=kind)).init()


def rows(steps, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal((steps, 1, 4)).astype(dtype)


def general(net, x, stream):
    return net._general_step(x, None, stream.states)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("format", ["NCW", "NWC"])
@pytest.mark.parametrize("output", ["softmax", "swish"])
def test_both_ways_give_the_same_bits(name, dtype, format, output):
    net = network(STACKS[name], RnnOutputLayer(n_out=3, activation=output, loss="mse"), dtype=dtype, format=format)
    stream = _Stream()
    assert stream.row_step(net) is not None
    out = np.empty((1, 3), dtype)
    for step, x in enumerate(rows(10, dtype=dtype)):
        if net.layers[0].takes_indices:
            x = np.array([[step % 9]], dtype)
        expected = general(net, x, stream)
        assert net.rnn_time_step(x, out=out if step % 2 else None).tobytes() == expected.tobytes()
    found = [net.rnn_get_previous_state(layer) for layer in range(len(net.layers))]
    expected = [stream.states.of_layer(layer) for layer in range(len(net.layers))]
    assert [set(names) for names in found] == [set(names) for names in expected]
    assert sum(map(len, found)) >= 2
    for one, other in zip(found, expected, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def test_the_ways_may_alternate_on_one_state():
    net, other = (network(STACKS["GravesLSTM"]) for _ in range(2))
    stream, only_general = _Stream().of(net), _Stream()
    for step, x in enumerate(rows(12)):
        found = net._time_step(x, None, stream) if step % 3 else general(net, x, stream)
        np.testing.assert_array_equal(found, general(other, x, only_general))


def test_parameters_that_change_are_seen_and_new_ones_too():
    net, twin = (network(STACKS["GravesLSTM"], updater="adam") for _ in range(2))
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((5, 4, 6)).astype("f"), np.eye(3, dtype="f")[rng.integers(0, 3, (5, 6))].swapaxes(1, 2)
    with net.rnn_session() as session:
        session.step(rows(1)[0])
        for change in (lambda n: n.fit(x, y), lambda n: n.init(np.linspace(-1, 1, n.num_params()))):
            change(net), change(twin)
            session.clear()
            for row in rows(3, seed=2):
                found = session.step(row)
            stream = _Stream()
            for row in rows(3, seed=2):
                expected = general(twin, row, stream)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "layers", [[SimpleRnn(n_out=3, has_layer_norm=True)], [LSTM(n_out=3), ActivationLayer("tanh")]]
)
def test_other_layers_go_the_general_way(layers):
    net = network(layers)
    assert _Stream().row_step(net) is None
    whole = np.concatenate(rows(5)).T[np.newaxis]
    stepped = np.stack([net.rnn_time_step(row) for row in rows(5)], axis=2)
    np.testing.assert_allclose(stepped, net.output(whole), rtol=1e-5, atol=1e-6)


def test_what_is_no_index_is_refused_and_leaves_the_state():
    net = network(STACKS["embedding"])
    net.rnn_time_step(np.array([[3]], np.float32))
    before = net.rnn_get_previous_state(1)
    sentence = (
        "EmbeddingSequenceLayer: the index 9 in row 0 of its input is not a whole number from 0 to 8. Number what is "
        "embedded from 0, or set n_in to the size of the vocabulary."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        net.rnn_time_step(np.array([[9]], np.float32))
    after = net.rnn_get_previous_state(1)
    assert all(np.array_equal(before[name], after[name]) for name in ("prev_act", "prev_mem"))


def test_a_failed_step_leaves_the_state():
    net = network(STACKS["LSTM"])
    first, second = rows(2)
    net.rnn_time_step(first)
    before = net.rnn_get_previous_state(0)
    sentence = "out has shape (1, 2), expected (1, 3). Make it with np.empty((1, 3), 'float32')."
    with pytest.raises(ShapeError, match=f"^{re.escape(sentence)}$"):
        net.rnn_time_step(second, out=np.empty((1, 2), np.float32))
    after = net.rnn_get_previous_state(0)
    assert all(np.array_equal(before[name], after[name]) for name in ("prev_act", "prev_mem"))
    stream = _Stream()
    general(net, first, stream)
    np.testing.assert_array_equal(net.rnn_time_step(second), general(net, second, stream))
