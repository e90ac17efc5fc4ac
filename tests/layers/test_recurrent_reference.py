"""Recurrent layers and those around them against loops in float64, to 1e-10: output, dL/dx, all gradients and states.

Sizes, formats, masks, activations, orders of memory, truncation and first states are drawn.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
import recurrent_loops as loops
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.called_by_hand import Call, call_by_hand, random_params

from minidl import InputType
from minidl.layers import (
    LSTM,
    Bidirectional,
    DenseLayer,
    GravesLSTM,
    LastTimeStep,
    MaskZeroLayer,
    SimpleRnn,
    TimeDistributed,
)

VALUE = 0.5  # where all of x are this, MaskZeroLayer(masking_value=0.5) sees no step


class Pair(NamedTuple):
    """A layer and its loops; ``states`` are the names of what it carries, ``is_cut`` whether its errors may be."""

    layer: Any
    loops: Any
    states: tuple[str, ...] = ()
    is_cut: bool = True


class Data(NamedTuple):
    """The sizes of an input, how it lies in memory, what the mask leaves out, and the seed of the numbers."""

    n_in: int
    batch: int
    time: int
    is_last: bool = False
    order: tuple[int, ...] | str = (0, 1, 2)
    mask: str | None = None
    has_flat_steps: bool = False
    has_state: bool = False
    is_length_known: bool = True
    seed: int = 0

    @property
    def input_type(self):
        time = self.time if self.is_length_known else None
        return InputType.recurrent(self.n_in, time, "NWC" if self.is_last else "NCW")

    def series(self, rng):
        x = rng.standard_normal((self.batch, self.n_in, self.time))
        if self.has_flat_steps:
            value = rng.choice([0, VALUE])
            x[rng.random(x.shape) < 0.3] = value
            x.transpose(0, 2, 1)[rng.random((self.batch, self.time)) < 0.3] = value
        return x

    def drawn_mask(self, rng):
        """Return 1, or another weight, for the steps that are there, (batch, time)."""
        steps, lengths = np.arange(self.time), rng.integers(0, self.time + 1, (self.batch, 1))
        return {
            None: None,
            "holes": rng.choice([0, 0.5, 1], (self.batch, self.time)),
            "at the end": 1.0 * (steps < lengths),
            "at the start": 1.0 * (steps >= lengths),
        }[self.mask]

    def of_network(self, array):
        """Return an array with the axes of the network, and in memory as drawn."""
        return in_memory(array if array.ndim == 2 or not self.is_last else array.transpose(0, 2, 1), self.order)

    def sizes_first(self, array):
        return array.transpose(0, 2, 1) if self.is_last and array.ndim == 3 else array


def in_memory(array, order):
    """Return an array whose axes lie in this order in memory, or backwards, or with gaps."""
    if order == "backwards":
        turned = (slice(None, None, -1),) * array.ndim
        return array[turned].copy()[turned]
    if order == "with gaps":
        return np.repeat(np.repeat(array, 2, axis=0), 3, axis=-1)[::2, ..., ::3]
    axes = [axis for axis in order if axis < array.ndim]
    return array.transpose(axes).copy().transpose(np.argsort(axes))


ORDERS = (*itertools.permutations(range(3)), "backwards", "with gaps")
MASKS = (None, "holes", "at the end", "at the start")
DATA = st.builds(
    Data,
    n_in=st.integers(1, 5),
    batch=st.integers(1, 4),
    time=st.integers(1, 7),
    is_last=st.booleans(),
    order=st.sampled_from(ORDERS),
    mask=st.sampled_from(MASKS),
    has_flat_steps=st.booleans(),
    has_state=st.booleans(),
    is_length_known=st.booleans(),
    seed=st.integers(0, 999),
)

# The layers

ACTIVATIONS = st.sampled_from(["tanh", "sigmoid", "relu", "swish", "softsign", "softmax"])
GATES = st.sampled_from(["sigmoid", "hardsigmoid", "softsign"])
SIZES = st.fixed_dictionaries({"n_out": st.integers(1, 5), "has_bias": st.booleans()})


def simple_rnn(options, activation, norm=False):
    layer = SimpleRnn(activation=activation, has_layer_norm=norm, **options)
    return Pair(layer, loops.simple_rnn(activation), ("prev_act",))


def lstm(cls, options, activation="tanh", gate="sigmoid"):
    layer = cls(activation=activation, gate_activation=gate, **options)
    return Pair(layer, loops.lstm(activation, gate), ("prev_act", "prev_mem"))


def distributed(options, activation):
    layer = TimeDistributed(DenseLayer(activation=activation, **options))
    return Pair(layer, loops.time_distributed(loops.dense(activation)))


def bidirectional(inner, mode):
    return Pair(Bidirectional(inner.layer, mode), loops.bidirectional(inner.loops, mode), is_cut=False)


def masked(inner, value):
    return Pair(MaskZeroLayer(inner.layer, value), loops.mask_zero(inner.loops, value), inner.states, inner.is_cut)


def last_step(inner):
    return Pair(LastTimeStep(inner.layer), loops.last_time_step(inner.loops), inner.states, inner.is_cut)


def around(pairs):
    """Draw layers from series to series around others."""
    modes, values = st.sampled_from(["concat", "add", "mul", "average"]), st.sampled_from([0.0, VALUE])
    return st.builds(bidirectional, pairs, modes), st.builds(masked, pairs, values)


PLAIN = {
    "SimpleRnn": st.builds(simple_rnn, SIZES, ACTIVATIONS),
    "SimpleRnn layer norm": st.builds(simple_rnn, SIZES, ACTIVATIONS, norm=st.just(True)),
    "LSTM": st.builds(lstm, st.just(LSTM), SIZES, ACTIVATIONS, GATES),
    "GravesLSTM": st.builds(lstm, st.just(GravesLSTM), SIZES, ACTIVATIONS, GATES),
    "TimeDistributed": st.builds(distributed, SIZES, ACTIVATIONS),
}
ANY_PLAIN = st.one_of(*PLAIN.values())
TWICE = around(st.one_of(ANY_PLAIN, *around(ANY_PLAIN)))
LAYERS = PLAIN | {
    "Bidirectional": TWICE[0],
    "MaskZeroLayer": TWICE[1],
    "LastTimeStep": st.builds(last_step, st.one_of(ANY_PLAIN, *TWICE)),
}

# The comparison


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * max(1.0, np.abs(expected).max(initial=0.0)))


def check(pair, data, *, steps=None, wants_input_gradient=True, scale=1.0):
    """Check a layer against its loops, in training and at inference, and return what it gave."""
    rng = np.random.default_rng(data.seed)
    x, mask, kind = data.series(rng), data.drawn_mask(rng), data.input_type
    params = {name: scale * array for name, array in random_params(pair.layer, kind, rng).items()}
    state, n_out = None, getattr(innermost(pair.layer), "n_out", None)
    if data.has_state and pair.states:
        state = {name: rng.standard_normal((data.batch, n_out)) for name in pair.states}
    expected = pair.loops(params, x, mask, state, steps)
    epsilon = rng.standard_normal(expected.y.shape)
    d_x, gradients = expected.backward(epsilon)
    given = (pair.layer, kind, params, data.of_network(x))
    options = dict(mask=None if mask is None else in_memory(mask, data.order), state=state, backward_steps=steps)
    call = call_by_hand(*given, data.of_network(epsilon), wants_input_gradient=wants_input_gradient, **options)
    check_gradients(call, d_x if wants_input_gradient else None, gradients, data)
    for each in (call, call_by_hand(*given, None, training=False, **options)):
        check_forward(each, expected, data, with_state=state is not None)
    return call, (d_x, gradients)


def innermost(layer):
    return innermost(layer.layer) if hasattr(layer, "layer") else layer


def check_forward(call, expected, data, with_state):
    close(data.sizes_first(call.output), expected.y)
    assert (call.mask is None) == (expected.mask is None)
    if call.mask is not None:
        np.testing.assert_array_equal(call.mask, expected.mask)
    assert set(call.state) == (set(expected.state) if with_state else set())
    for name, state in call.state.items():
        close(state, expected.state[name])


def check_gradients(call, d_x, gradients, data):
    assert (call.d_x is None) == (d_x is None)
    if d_x is not None:
        close(data.sizes_first(call.d_x), d_x)
    assert set(call.gradients) == set(gradients)
    for name, gradient in gradients.items():
        close(call.gradients[name], gradient)


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=300)
@given(drawn=st.data(), data=DATA, steps=st.none() | st.integers(1, 8), wants=st.booleans())
def test_layer_agrees_with_loops(name, drawn, data, steps, wants):
    pair = drawn.draw(LAYERS[name])
    check(pair, data, steps=steps if pair.is_cut else None, wants_input_gradient=wants)


LARGE = {
    "many steps of a few units": Data(3, 5, 150, mask="holes"),
    "one example": Data(70, 1, 9, order=(2, 0, 1)),
    "large products": Data(70, 20, 4, is_last=True, mask="at the start", order="backwards"),
}


@pytest.mark.parametrize("data", LARGE)
@pytest.mark.parametrize("cls", [SimpleRnn, LSTM, GravesLSTM])
def test_large_layer_agrees_with_loops(cls, data):
    options = dict(n_out=130 if LARGE[data].n_in > 3 else 4, has_bias=True)
    pair = simple_rnn(options, "tanh") if cls is SimpleRnn else lstm(cls, options)
    check(pair, LARGE[data], scale=0.2)
    check(bidirectional(pair, "mul"), LARGE[data], scale=0.2)


@pytest.mark.parametrize("cls", [LSTM, GravesLSTM])
@pytest.mark.parametrize("activation", ["swish", "tanh"])
def test_gates_may_keep_their_input(cls, activation):
    check(lstm(cls, dict(n_out=4, has_bias=True), activation, "swish"), Data(3, 3, 5, mask="holes"), scale=0.3)


# What a comparison must see


def wrong(cls, monkeypatch, name):
    """Make an error of a thousandth in one gradient of a layer."""
    right = cls.backprop

    def backprop(self, epsilon, *, workspace_mgr):
        d_x = right(self, epsilon, workspace_mgr=workspace_mgr)
        if name == "x":
            return d_x * 1.001
        if name in workspace_mgr.call.gradients:
            workspace_mgr.gradient(name)[...] *= 1.001
        return d_x

    monkeypatch.setattr(cls, "backprop", backprop)


PLANTED = {
    "SimpleRnn": (SimpleRnn, simple_rnn(dict(n_out=4), "tanh", norm=True), ["x", "W", "RW", "b", "g"]),
    "LSTM": (LSTM, lstm(LSTM, dict(n_out=4)), ["x", "W", "RW", "b"]),
    "GravesLSTM": (LSTM, lstm(GravesLSTM, dict(n_out=4)), ["x", "W", "RW", "b"]),
    "Bidirectional": (LSTM, bidirectional(lstm(LSTM, dict(n_out=4)), "mul"), ["x", "W", "RW", "b"]),
    "of both directions": (Bidirectional, bidirectional(simple_rnn(dict(n_out=4), "tanh"), "add"), ["fW", "bRW", "bb"]),
    "LastTimeStep": (LastTimeStep, last_step(lstm(LSTM, dict(n_out=4))), ["x", "RW"]),
    "MaskZeroLayer": (MaskZeroLayer, masked(lstm(LSTM, dict(n_out=4)), 0.0), ["x", "b"]),
    "TimeDistributed": (DenseLayer, distributed(dict(n_out=4), "tanh"), ["x", "W", "b"]),
}


@pytest.mark.parametrize(("name", "gradient"), [(name, each) for name in PLANTED for each in PLANTED[name][2]])
def test_an_error_of_a_thousandth_is_seen(monkeypatch, name, gradient):
    cls, pair, _ = PLANTED[name]
    data = Data(3, 2, 5, mask="holes")
    check(pair, data)
    wrong(cls, monkeypatch, gradient)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(pair, data)


def test_an_error_of_a_thousandth_in_any_number_is_seen():
    """Not only where a gradient is wrong as a whole: also in one peephole, or at one step of one example."""
    data = Data(3, 2, 5)
    call, (d_x, gradients) = check(lstm(GravesLSTM, dict(n_out=4)), data)
    for name, expected in {"x": d_x, **gradients}.items():
        for index in np.ndindex(expected.shape):
            found = {"x": call.d_x, **call.gradients}
            found[name] = found[name].copy()
            found[name][index] *= 1.001
            changed = Call(call.output, found.pop("x"), found, None, {})
            with pytest.raises(AssertionError, match="Not equal to tolerance"):
                check_gradients(changed, d_x, gradients, data)


# Edges


@pytest.mark.parametrize("n", range(1, 10))
def test_layer_normalisation_makes_zeros_of_equal_numbers(n):
    """A product whose n_out numbers are equal, whatever they are, gives h = f(b), and no gradient."""
    rng = np.random.default_rng(n)
    weights = {name: np.repeat(rng.standard_normal((rows, 1)), n, axis=1) for name, rows in (("W", 3), ("RW", n))}
    params = weights | {"b": np.eye(n)[0], "g": rng.standard_normal(2 * n)}  # x and h pick a row of the weights
    x, epsilon = np.eye(3)[rng.integers(0, 3, (20, 5))].transpose(0, 2, 1), rng.standard_normal((20, n, 5))
    layer = SimpleRnn(n_out=n, activation="identity", has_layer_norm=True)
    call = call_by_hand(layer, InputType.recurrent(3, 5), params, x, epsilon)
    close(call.output, np.broadcast_to(params["b"][:, np.newaxis], epsilon.shape))
    for name in ("W", "RW", "g"):
        close(call.gradients[name], np.zeros(params[name].shape))
    close(call.d_x, np.zeros(x.shape))


@settings(max_examples=100)
@given(drawn=st.data(), data=DATA, cut=st.integers(0, 7))
def test_a_series_in_two_pieces_is_the_whole(drawn, data, cut):
    name = drawn.draw(st.sampled_from([name for name in PLAIN if name != "TimeDistributed"]))
    layer, rng = drawn.draw(PLAIN[name]).layer, np.random.default_rng(data.seed)
    data = data._replace(is_length_known=False, is_last=False)
    x, mask, params = data.series(rng), data.drawn_mask(rng), random_params(layer, data.input_type, rng)
    whole = call_by_hand(layer, data.input_type, params, x, None, mask=mask, state={})
    outputs, state = [], {}
    for piece in (slice(None, cut), slice(cut, None)):
        if x[..., piece].size:
            options = dict(mask=None if mask is None else mask[:, piece], state=state)
            call = call_by_hand(layer, data.input_type, params, x[..., piece], None, **options)
            outputs, state = [*outputs, call.output], call.state
    close(np.concatenate(outputs, axis=2), whole.output)
    for key, expected in whole.state.items():
        close(state[key], expected)


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=20)
@given(drawn=st.data(), data=DATA)
def test_a_mask_of_whole_examples_leaves_no_step_out(name, drawn, data):
    layer, rng = drawn.draw(LAYERS[name]).layer, np.random.default_rng(data.seed)
    data = data._replace(time=data.time + 1)  # (batch, 1) is a mask of the steps of series of one
    x, params = data.of_network(data.series(rng)), random_params(layer, data.input_type, rng)
    plain = call_by_hand(layer, data.input_type, params, x, np.ones_like)
    for mask in (rng.integers(0, 2, data.batch) * 1.0, rng.integers(0, 2, (data.batch, 1)) * 1.0):
        call = call_by_hand(layer, data.input_type, params, x, np.ones_like, mask=mask)
        np.testing.assert_array_equal(call.output, plain.output)
        np.testing.assert_array_equal(call.d_x, plain.d_x)
