"""Recurrent layers against PyTorch 2.13 in float32, to 1e-5 of the largest value.

Its LSTM and RNN, both directions and packed series of different lengths; autograd over its operations for peepholes,
layer normalisation, masks with holes and truncated windows.
"""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.called_by_hand import call_by_hand, random_params

from minidl import InputType
from minidl.layers import LSTM, Bidirectional, GravesLSTM, LastTimeStep, SimpleRnn

TOLERANCE = 1e-5
NAMES = {"W": "weight_ih_l0", "RW": "weight_hh_l0", "b": "bias_ih_l0"}
IFGO = [3, 1, 0, 2]  # the blocks of DL4J (candidate, forget, output, input) in PyTorch's order


class Case(NamedTuple):
    """Sizes, first state or none, and the seed of the numbers."""

    n_in: int
    n_out: int
    batch: int
    time: int
    has_state: bool = False
    has_bias: bool = True
    seed: int = 0

    @property
    def input_type(self):
        return InputType.recurrent(self.n_in, self.time)


CASES = st.builds(
    Case,
    n_in=st.integers(1, 5),
    n_out=st.integers(1, 5),
    batch=st.integers(1, 4),
    time=st.integers(1, 7),
    has_state=st.booleans(),
    has_bias=st.booleans(),
    seed=st.integers(0, 999),
)


def close(found, expected):
    """Check a pair of arrays, or of dictionaries of arrays."""
    if isinstance(found, dict):
        assert set(found) == set(expected)
        for name, array in found.items():
            close(array, expected[name])
        return
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, np.abs(expected).max()))


def drawn(layer, case, scale=1.0):
    """Return parameters, x, first states (a dictionary, or None) and the generator that made them, in float32."""
    rng = np.random.default_rng(case.seed)
    params = random_params(layer, case.input_type, rng)
    params = {name: (scale * array).astype(np.float32) for name, array in params.items()}
    x = rng.standard_normal((case.batch, case.n_in, case.time)).astype(np.float32)
    names = ("prev_act", "prev_mem") if isinstance(layer, LSTM) else ("prev_act",)
    states = {name: rng.standard_normal((case.batch, case.n_out)).astype(np.float32) for name in names}
    return params, x, states if case.has_state else None, rng


def numbers(rng, shape):
    return rng.standard_normal(shape).astype(np.float32)


# PyTorch's own layers


def to_torch(array, blocks):
    """Return W (n_in, blocks n), or b (blocks n,), as PyTorch has it: (blocks n, n_in), in its order of gates."""
    rows = array.T.reshape(blocks, -1, *array.shape[:-1])
    return (rows[IFGO] if blocks == 4 else rows).reshape(array.T.shape)


def from_torch(rows, blocks):
    parts = rows.reshape(blocks, -1, *rows.shape[1:])
    return (parts[np.argsort(IFGO)] if blocks == 4 else parts).reshape(rows.shape).T


class TorchLayer:
    """torch.nn.LSTM or RNN with the parameters of a layer, or of a Bidirectional one."""

    def __init__(self, torch, layer, params, n_in):
        inner = layer.layer if isinstance(layer, Bidirectional) else layer
        options = dict(bidirectional=inner is not layer, bias=inner.has_bias)
        self.torch, self.blocks = torch, 4 if isinstance(inner, LSTM) else 1
        if self.blocks == 4:
            self.module = torch.nn.LSTM(n_in, inner.n_out, **options)
        else:
            kind = type(inner.activation).__name__.lower()
            self.module = torch.nn.RNN(n_in, inner.n_out, nonlinearity=kind, **options)
        self.arrays = dict(self.module.named_parameters())
        with torch.no_grad():
            for array in self.arrays.values():
                array.zero_()  # PyTorch has two biases
            for name, array in params.items():
                self.of(name).copy_(torch.tensor(to_torch(array, self.blocks)))

    def of(self, name):
        prefix, name = (name[0], name[1:]) if name[0] in "fb" and name != "b" else ("", name)
        return self.arrays[NAMES[name] + ("_reverse" if prefix == "b" else "")]

    def run(self, x, states, lengths, epsilon):
        """Return y (batch, size, time), dL/dx, and the states at the end; the gradients are in ``gradients``."""
        torch = self.torch
        tensor = torch.tensor(x.transpose(2, 0, 1), requires_grad=True)
        first = None if states is None else tuple(torch.tensor(array[np.newaxis]) for array in states.values())
        first = first[0] if first is not None and self.blocks == 1 else first
        if lengths is None:
            y, last = self.module(tensor, first)
        else:
            packed = torch.nn.utils.rnn.pack_padded_sequence(tensor, torch.tensor(lengths), enforce_sorted=False)
            y, last = self.module(packed, first)
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=x.shape[2])
        y.backward(torch.tensor(epsilon.transpose(2, 0, 1)))
        last = last if self.blocks == 4 else (last,)
        y, d_x = (array.numpy().transpose(1, 2, 0) for array in (y.detach(), tensor.grad))
        return y, d_x, [state.detach().numpy()[0] for state in last]

    def gradients(self, names):
        return {name: from_torch(self.of(name).grad.numpy(), self.blocks) for name in names}


def check_against_torch(torch, layer, case, *, padded=False, scale=1.0):
    params, x, states, rng = drawn(layer, case, scale)
    if isinstance(layer, Bidirectional):
        states = None
    lengths = rng.integers(1, case.time + 1, case.batch) if padded else None
    mask = 1.0 * (np.arange(case.time) < lengths[:, np.newaxis]) if padded else None
    directions = 2 if isinstance(layer, Bidirectional) else 1
    epsilon = numbers(rng, (case.batch, directions * case.n_out, case.time))
    call = call_by_hand(layer, case.input_type, params, x, epsilon, mask=mask, state=states)
    theirs = TorchLayer(torch, layer, params, case.n_in)
    y, d_x, last = theirs.run(x, states, lengths, epsilon)
    close(call.output, y)
    close(call.d_x, d_x)
    close(call.gradients, theirs.gradients(params))
    if states is not None and not padded:  # theirs keep the state of the last step that is there
        for found, expected in zip(call.state.values(), last, strict=True):
            close(found, expected)


def layers_of_torch(case):
    options = dict(n_out=case.n_out, has_bias=case.has_bias)
    return {
        "LSTM": LSTM(activation="tanh", **options),
        "RNN tanh": SimpleRnn(activation="tanh", **options),
        "RNN relu": SimpleRnn(activation="relu", **options),
    }


TORCH_LAYERS = list(layers_of_torch(Case(1, 1, 1, 1)))


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("name", TORCH_LAYERS)
@settings(max_examples=100)
@given(case=CASES, padded=st.booleans())
def test_layer_agrees_with_that_of_pytorch(torch, name, both_ways, case, padded):
    layer = layers_of_torch(case)[name]
    check_against_torch(torch, Bidirectional(layer) if both_ways else layer, case, padded=padded)


LARGE = {
    "many steps": Case(16, 24, 8, 120, has_state=True),
    "one example": Case(40, 64, 1, 25, has_state=True),
    "large products": Case(64, 128, 32, 20),
    "odd sizes": Case(33, 65, 17, 11),
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("name", ["LSTM", "RNN tanh"])
def test_large_layer_agrees_with_that_of_pytorch(torch, name, size, padded):
    layer = layers_of_torch(LARGE[size])[name]
    for each in (layer, Bidirectional(layer)):
        check_against_torch(torch, each, LARGE[size], padded=padded, scale=0.1)


@settings(max_examples=50)
@given(case=CASES)
def test_the_last_step_is_the_last_state_of_pytorch(torch, case):
    layer = LSTM(n_out=case.n_out, activation="tanh")
    params, x, _, rng = drawn(layer, case)
    lengths = rng.integers(1, case.time + 1, case.batch)
    mask = 1.0 * (np.arange(case.time) < lengths[:, np.newaxis])
    epsilon = numbers(rng, (case.batch, case.n_out))
    call = call_by_hand(LastTimeStep(layer), case.input_type, params, x, epsilon, mask=mask)
    theirs = TorchLayer(torch, layer, params, case.n_in)
    at_end = np.zeros((case.batch, case.n_out, case.time), np.float32)
    at_end[np.arange(case.batch), :, lengths - 1] = epsilon
    _, d_x, last = theirs.run(x, None, lengths, at_end)
    close(call.output, last[0])
    close(call.d_x, d_x)
    close(call.gradients, theirs.gradients(params))


# PyTorch's autograd over loops


def functions(torch):
    return {
        "hardsigmoid": lambda z: (0.2 * z + 0.5).clamp(0, 1),
        "sigmoid": torch.sigmoid,
        "softmax": lambda z: z.softmax(-1),
        "softsign": torch.nn.functional.softsign,
        "swish": torch.nn.functional.silu,
        "tanh": torch.tanh,
    }


def lstm_step(torch, params, layer, x, h, c):
    """Return (h, c) behind one step, with the peepholes that RW has."""
    n, (f, s) = layer.n_out, (functions(torch)[type(each).__name__.lower()] for each in activations(layer))
    weights, peepholes = params["RW"][:, : 4 * n], params["RW"][:, 4 * n :].T
    forget, output, input = peepholes if len(peepholes) else torch.zeros(3, n)
    z_a, z_f, z_o, z_i = (x @ params["W"] + h @ weights + params.get("b", 0)).chunk(4, dim=1)
    c = s(z_i + input * c) * f(z_a) + s(z_f + forget * c) * c
    return s(z_o + output * c) * f(c), c


def rnn_step(torch, params, layer, x, h, c):
    """Return (h, c) behind one step, with layer normalisation where there are gains; c is not used."""
    from_x, from_h = x @ params["W"], h @ params["RW"]
    if "g" in params:
        of_x, of_h = params["g"].chunk(2)
        from_x, from_h = of_x * normalised(torch, from_x), of_h * normalised(torch, from_h)
    f = functions(torch)[type(layer.activation).__name__.lower()]
    return f(from_x + from_h + params.get("b", 0)), c


def normalised(torch, rows):
    distance = rows - rows.mean(dim=1, keepdim=True)
    variance = (distance**2).mean(dim=1, keepdim=True)
    is_flat = variance == 0
    return torch.where(is_flat, 0.0, distance / torch.where(is_flat, 1.0, variance).sqrt())


def activations(layer):
    return layer.activation, layer.gate_activation


def by_autograd(torch, layer, given, epsilon, steps):
    """Return (y, dL/dx, gradients), given (params, x, states, mask), errors going back through the last ``steps``."""
    params, x, states, mask = given
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    tensor = torch.tensor(x, requires_grad=True)
    there = torch.ones(len(x), x.shape[2]) if mask is None else torch.tensor((mask != 0).astype(np.float32))
    h = c = torch.zeros(len(x), layer.n_out)
    if states is not None:
        h, c = torch.tensor(states["prev_act"]), torch.tensor(states.get("prev_mem", states["prev_act"]))
    step = lstm_step if isinstance(layer, LSTM) else rnn_step
    outputs, first = [], 0 if steps is None else max(0, x.shape[2] - steps)
    for t in range(x.shape[2]):
        if t == first:
            h, c = h.detach(), c.detach()
        h, c = (there[:, t, None] * each for each in step(torch, tensors, layer, tensor[:, :, t], h, c))
        outputs.append(h if t >= first else h.detach())
    y = torch.stack(outputs, dim=2)
    y.backward(torch.tensor(epsilon))
    return y.detach().numpy(), tensor.grad.numpy(), {name: each.grad.numpy() for name, each in tensors.items()}


def check_against_autograd(torch, layer, case, *, masked=False, steps=None, scale=1.0):
    params, x, states, rng = drawn(layer, case, scale)
    mask = rng.choice([0, 0.5, 1], (case.batch, case.time)) if masked else None
    epsilon = numbers(rng, (case.batch, case.n_out, case.time))
    given = dict(mask=mask, state=states, backward_steps=steps)
    call = call_by_hand(layer, case.input_type, params, x, epsilon, **given)
    y, d_x, gradients = by_autograd(torch, layer, (params, x, states, mask), epsilon, steps)
    close(call.output, y)
    close(call.d_x, d_x)
    close(call.gradients, gradients)


STEPS = st.none() | st.integers(1, 8)


@pytest.mark.parametrize("cls", [LSTM, GravesLSTM])
@settings(max_examples=100)
@given(
    case=CASES,
    activation=st.sampled_from(["tanh", "softsign", "swish", "softmax"]),
    gate=st.sampled_from(["sigmoid", "hardsigmoid"]),
    masked=st.booleans(),
    steps=STEPS,
)
def test_lstm_agrees_with_autograd(torch, cls, case, activation, gate, masked, steps):
    layer = cls(n_out=case.n_out, has_bias=case.has_bias, activation=activation, gate_activation=gate)
    check_against_autograd(torch, layer, case, masked=masked, steps=steps)


@pytest.mark.parametrize("has_layer_norm", [False, True])
@settings(max_examples=100)
@given(case=CASES, activation=st.sampled_from(["tanh", "sigmoid", "swish"]), masked=st.booleans(), steps=STEPS)
def test_simple_rnn_agrees_with_autograd(torch, has_layer_norm, case, activation, masked, steps):
    case = case._replace(n_out=case.n_out + 3)  # two numbers are normalised to -1 and 1, and have no gradient
    options = dict(n_out=case.n_out, has_bias=case.has_bias, has_layer_norm=has_layer_norm)
    check_against_autograd(torch, SimpleRnn(activation=activation, **options), case, masked=masked, steps=steps)


@pytest.mark.parametrize("steps", [None, 7])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", LARGE)
def test_large_layer_agrees_with_autograd(torch, size, masked, steps):
    case = LARGE[size]
    check_against_autograd(torch, completed(GravesLSTM(n_out=case.n_out)), case, masked=masked, steps=steps, scale=0.1)
    norm = completed(SimpleRnn(n_out=case.n_out, has_layer_norm=True))
    check_against_autograd(torch, norm, case, masked=masked, steps=steps, scale=0.3)


def completed(layer):
    layer.activation = type(layer).default_activation
    return layer
