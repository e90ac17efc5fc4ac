"""RepeatVector against loops and PyTorch 2.13, and between layers of vectors and of series."""

import itertools
import re

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from gradients import gradient_error
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.called_by_hand import call_by_hand, completed
from test_allocation import workspace_counters

from minidl import DataSet, InputType, LayerWorkspaceMgr, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import Convolution1DLayer, DenseLayer, RnnOutputLayer
from minidl.layers.repeat_vector import RepeatVector

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))  # batch, size, n
IS_LAST = st.booleans()
LAYOUTS = st.sampled_from(["C", "time first", "sizes side by side"])


def data_of(sizes, seed=0):
    """Return x (batch, size) and epsilon (batch, size, n)."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(sizes[:2]), rng.standard_normal(sizes)


def by_loops(x, epsilon):
    """Return y (batch, size, n) and dL/dx, number by number."""
    y, d_x = np.zeros(epsilon.shape), np.zeros(x.shape)
    for example, column, step in np.ndindex(*y.shape):
        y[example, column, step] = x[example, column]
        d_x[example, column] += epsilon[example, column, step]
    return y, d_x


def found(x, epsilon, is_last, layout="C", dtype=np.float64):
    """Return y (batch, size, n) and dL/dx of the layer; ``layout`` is that of epsilon in memory."""
    order = {"C": (0, 1, 2), "time first": (2, 0, 1), "sizes side by side": (0, 2, 1)}[layout]
    epsilon = np.ascontiguousarray(epsilon.astype(dtype).transpose(order)).transpose(np.argsort(order))
    layer = RepeatVector(epsilon.shape[2], format="NWC" if is_last else "NCW")
    given = epsilon.transpose(0, 2, 1) if is_last else epsilon
    call = call_by_hand(layer, InputType.feed_forward(x.shape[1]), {}, x.astype(dtype), given)
    return call.output.transpose(0, 2, 1) if is_last else call.output, call.d_x


def close(found, expected, tolerance):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * max(1.0, np.abs(theirs).max()))


@settings(max_examples=150)
@given(sizes=SIZES, is_last=IS_LAST, layout=LAYOUTS, seed=st.integers(0, 99))
def test_output_and_gradient_are_those_of_loops(sizes, is_last, layout, seed):
    x, epsilon = data_of(sizes, seed)
    close(found(x, epsilon, is_last, layout), by_loops(x, epsilon), 1e-10)


@settings(max_examples=80)
@given(sizes=SIZES, is_last=IS_LAST, layout=LAYOUTS)
def test_output_and_gradient_are_those_of_pytorch(torch, sizes, is_last, layout):
    x, epsilon = (array.astype(np.float32) for array in data_of(sizes))
    given_x = torch.tensor(x, requires_grad=True)
    y = given_x[:, :, None].expand(*sizes)
    y.backward(torch.tensor(epsilon))
    expected = y.detach().numpy(), given_x.grad.numpy()
    close(found(x, epsilon, is_last, layout, np.float32), expected, 1e-5)


def test_gradient_that_is_wrong_by_a_thousandth_is_found():
    x, epsilon = data_of((3, 4, 5))
    y, d_x = found(x, epsilon, False)
    for wrong in ((y * 1.001, d_x), (y, d_x * 1.001)):
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            close(wrong, by_loops(x, epsilon), 1e-10)


def test_vectors_may_lie_anyhow():
    x, epsilon = data_of((4, 6, 3))
    kind = InputType.feed_forward(3)
    for given_x in (x[:, ::2], np.asfortranarray(x[:, ::2]), x[::-1, 5::-2]):
        call = call_by_hand(RepeatVector(3), kind, {}, given_x, epsilon[:, :3])
        close((call.output, call.d_x), by_loops(given_x, epsilon[:, :3]), 1e-10)
    assert call_by_hand(RepeatVector(3), kind, {}, x[:, :3], epsilon[:, :3], wants_input_gradient=False).d_x is None


@pytest.mark.parametrize(
    ("layer", "kind", "expected"),
    [
        (RepeatVector(), InputType.feed_forward(4), InputType.recurrent(4, 1)),
        (RepeatVector(5), InputType.feed_forward(4), InputType.recurrent(4, 5)),
        (RepeatVector(repetition_factor=5), InputType.convolutional_flat(2, 2, 1), InputType.recurrent(4, 5)),
        (RepeatVector(5, format="nwc"), InputType.feed_forward(4), InputType.recurrent(4, 5, "NWC")),
    ],
)
def test_types(layer, kind, expected):
    assert completed(layer, kind).output_type(kind) == expected
    assert layer.param_specs(kind) == ()
    assert layer.independent_examples


def test_images_become_vectors_first():
    conf = NeuralNetConfiguration().list(
        RepeatVector(3), RnnOutputLayer(n_out=2), input_type=InputType.convolutional(2, 2, 3)
    )
    assert conf.input_types()[1] == InputType.recurrent(12, 3)


@pytest.mark.parametrize("kind", [InputType.recurrent(4, 5), InputType.convolutional(2, 2, 1)])
def test_inputs_that_are_no_vectors_raise(kind):
    message = (
        f"RepeatVector expects vectors, (batch, size), but its input is {kind}. Put LastTimeStep or a "
        "GlobalPoolingLayer in front, which make vectors of series."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        RepeatVector(3).output_type(kind)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", None])
def test_repetition_factors_that_cannot_be_raise(value):
    message = f"RepeatVector: repetition_factor={value!r} is not a whole number of at least 1."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        RepeatVector(value)


def test_formats_that_cannot_be_raise():
    with pytest.raises(ConfigurationError, match=r"^Recurrent: format='NHWC' is not known\. Choose NCW or NWC\.$"):
        RepeatVector(2, format="NHWC")


def test_masks_of_whole_examples_pass():
    manager, layer = LayerWorkspaceMgr.no_workspaces(), RepeatVector(3)
    for mask in (None, np.ones(2), np.ones((2, 1))):
        assert layer.propagate_mask(mask, workspace_mgr=manager) is mask
    assert layer.propagate_mask(np.ones((2, 3)), workspace_mgr=manager) is None


# In a network


class DoubledRepeatVector(RepeatVector):
    """A user's subclass, which is handed WorkspaceArrays."""

    def activate(self, x, *, training, workspace_mgr):
        return super().activate(x, training=training, workspace_mgr=workspace_mgr) * 2.0

    def backprop(self, epsilon, *, workspace_mgr):
        return super().backprop(epsilon * 2.0, workspace_mgr=workspace_mgr)


def network(layer, mode="ENABLED", size=5, behind=3):
    layers = [
        DenseLayer(n_out=size, activation="tanh"),
        layer,
        Convolution1DLayer(n_out=behind, kernel_size=2, convolution_mode="causal", activation="tanh"),
        RnnOutputLayer(n_out=3),
    ]
    options = dict(seed=1, dtype="float64", updater="adam", strict=True)
    modes = dict(training_workspace_mode=mode, inference_workspace_mode=mode)
    conf = NeuralNetConfiguration(**options, **modes).list(*layers, input_type=InputType.feed_forward(6))
    return MultiLayerNetwork(conf).init()


def batch(net, rows, seed=0):
    rng = np.random.default_rng(seed)
    x, other = rng.standard_normal((2, rows, 6))
    return DataSet(x, net.output(other))  # which are probabilities


@pytest.mark.parametrize(
    "layer", [RepeatVector(4), RepeatVector(4, format="NWC"), RepeatVector(1), DoubledRepeatVector(4)]
)
@pytest.mark.parametrize("rows", [1, 5])
def test_gradient_in_a_network_agrees_with_a_central_difference(layer, rows):
    net = network(layer)
    assert gradient_error(net, batch(net, rows)) < 1e-6


@pytest.mark.parametrize("format", ["NCW", "NWC"])
def test_modes_give_the_same_bits(format):
    nets = [network(RepeatVector(4, format=format), mode) for mode in ("NONE", "ENABLED")]
    for net, iteration in itertools.product(nets, range(12)):
        net.fit(batch(net, (5, 5, 2, 1, 7)[iteration % 5], iteration))
    none, enabled = ((net.params.tobytes(), net.score(), net.output(np.ones((4, 6))).tobytes()) for net in nets)
    assert none == enabled


def test_json_gives_the_layer_back():
    conf = network(RepeatVector(4, format="NWC")).conf
    assert type(conf).from_json(conf.to_json()) == conf


def measure():
    net = network(RepeatVector(4), size=20, behind=20)
    data = batch(net, 512)
    out = np.empty(data.labels.shape)

    def step():
        net.fit(data)
        net.output(data.features, out=out)

    return gauges(step, repeats=5, counters=workspace_counters)


def test_a_warm_step_allocates_nothing(run_under_counter):
    assert_no_allocation(run_under_counter(measure), arrays_alive=150)
