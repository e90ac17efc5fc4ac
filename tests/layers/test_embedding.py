"""Embeddings against loops and PyTorch 2.13, and as the first layer of a network.

Loops in float64 to 1e-10, PyTorch in float32 to 1e-5 of the largest value, over drawn sizes, formats and masks.
"""

import itertools
import math
import re
from typing import NamedTuple

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from gradients import gradient_error
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.called_by_hand import call_by_hand, completed
from test_allocation import workspace_counters

from minidl import DataSet, InputType, LayerWorkspaceMgr, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, DataError, ShapeError
from minidl.layers import GlobalPoolingLayer, OutputLayer, RnnOutputLayer
from minidl.layers.embedding import EmbeddingLayer, EmbeddingSequenceLayer
from minidl.training import GaussianNoise

FUNCTIONS = {  # name: (f, its derivative)
    "identity": (lambda z: z, lambda z: 1.0),
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2),
    "softplus": (lambda z: math.log1p(math.exp(z)), lambda z: 1 / (1 + math.exp(-z))),
}
FORMS = ["one", "vectors", "NCW", "NWC"]


class Drawn(NamedTuple):
    """What the input is like, its sizes, and the options of a layer."""

    form: str
    examples: int
    steps: int
    words: int
    n_out: int
    activation: str
    has_bias: bool
    mask: str
    seed: int

    @property
    def time(self):
        return 1 if self.form == "one" else self.steps

    @property
    def layer(self):
        cls = EmbeddingLayer if self.form == "one" else EmbeddingSequenceLayer
        return cls(n_in=self.words, n_out=self.n_out, activation=self.activation, has_bias=self.has_bias)

    @property
    def input_type(self):
        if self.form in ("one", "vectors"):
            return InputType.feed_forward(self.time)
        return InputType.recurrent(1, self.time, self.form)

    def of_network(self, series):
        """Return series (batch, time, n) with the axes that they have in the network."""
        if self.form == "one":
            return series[:, 0]
        return series if self.form == "NWC" else series.transpose(0, 2, 1)

    def as_series(self, array):
        """Return an output of the network as series (batch, time, n)."""
        if self.form == "one":
            return array[:, np.newaxis]
        return array if self.form == "NWC" else array.transpose(0, 2, 1)


DRAWN = st.builds(
    Drawn,
    st.sampled_from(FORMS),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from(list(FUNCTIONS)),
    st.booleans(),
    st.sampled_from(["none", "of steps", "of fractions"]),
    st.integers(0, 99),
)


class Data(NamedTuple):
    numbers: np.ndarray  # (batch, time)
    epsilon: np.ndarray  # (batch, time, n_out)
    mask: np.ndarray | None
    params: dict[str, np.ndarray]


def data_of(drawn):
    rng, places = np.random.default_rng(drawn.seed), (drawn.examples, drawn.time)
    numbers, epsilon = rng.integers(0, drawn.words, places), rng.standard_normal((*places, drawn.n_out))
    masks = {"none": None, "of steps": rng.integers(0, 2, places).astype(float), "of fractions": rng.random(places)}
    params = {"W": rng.standard_normal((drawn.words, drawn.n_out)), "b": rng.standard_normal(drawn.n_out)}
    return Data(numbers, epsilon, masks[drawn.mask], params if drawn.has_bias else {"W": params["W"]})


def found(drawn, data, dtype):
    """Return y (batch, time, n_out), dL/dW and dL/db of the layer; dL/dx must be 0."""
    numbers = data.numbers if drawn.form in ("one", "vectors") else drawn.of_network(data.numbers[..., np.newaxis])
    epsilon = drawn.of_network(data.epsilon).astype(dtype)
    call = call_by_hand(drawn.layer, drawn.input_type, data.params, numbers.astype(dtype), epsilon, mask=data.mask)
    np.testing.assert_array_equal(call.d_x, np.zeros(numbers.shape))
    return drawn.as_series(call.output), call.gradients["W"], call.gradients.get("b", np.zeros(0))


def by_loops(drawn, data):
    """Return the same, number by number."""
    (f, slope), weights = FUNCTIONS[drawn.activation], data.params["W"]
    bias = data.params.get("b", np.zeros(drawn.n_out))
    y, d_weights, d_bias = np.zeros(data.epsilon.shape), np.zeros(weights.shape), np.zeros(drawn.n_out)
    for example, step, column in np.ndindex(*y.shape):
        word = data.numbers[example, step]
        z, factor = weights[word, column] + bias[column], 1.0 if data.mask is None else data.mask[example, step]
        y[example, step, column] = f(z) * factor
        d_z = data.epsilon[example, step, column] * factor * slope(z)
        d_weights[word, column] += d_z
        d_bias[column] += d_z
    return y, d_weights, d_bias if drawn.has_bias else np.zeros(0)


def by_pytorch(torch, drawn, data):
    """Return the same of PyTorch, in float32."""
    params = {name: torch.tensor(p.astype(np.float32), requires_grad=True) for name, p in data.params.items()}
    z = torch.nn.functional.embedding(torch.tensor(data.numbers), params["W"])
    z = z + params["b"] if drawn.has_bias else z
    y = {"identity": lambda z: z, "tanh": torch.tanh, "softplus": torch.nn.functional.softplus}[drawn.activation](z)
    if data.mask is not None:
        y = y * torch.tensor(data.mask.astype(np.float32))[..., None]
    y.backward(torch.tensor(data.epsilon.astype(np.float32)))
    return [y.detach().numpy(), *(params[name].grad.numpy() if name in params else np.zeros(0) for name in "Wb")]


def close(found, expected, tolerance):
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * max(1.0, np.abs(theirs).max(initial=0)))


@settings(max_examples=300)
@given(drawn=DRAWN)
def test_embeddings_agree_with_loops(drawn):
    data = data_of(drawn)
    close(found(drawn, data, np.float64), by_loops(drawn, data), 1e-10)


@settings(max_examples=150)
@given(drawn=DRAWN)
def test_embeddings_agree_with_pytorch(torch, drawn):
    data = data_of(drawn)
    close(found(drawn, data, np.float32), by_pytorch(torch, drawn, data), 1e-5)


def test_gradient_that_is_wrong_by_a_thousandth_is_found():
    drawn = Drawn("NCW", 4, 5, 6, 3, "tanh", True, "of steps", 0)
    data = data_of(drawn)
    y, d_weights, d_bias = found(drawn, data, np.float64)
    expected = by_loops(drawn, data)
    for wrong in ((y * 1.001, d_weights, d_bias), (y, d_weights * 1.001, d_bias), (y, d_weights, d_bias * 1.001)):
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            close(wrong, expected, 1e-10)


@pytest.mark.parametrize(
    ("examples", "words", "n_out"),
    [
        (511, 7, 3),
        (512, 300, 40),
        (513, 300, 40),
        (1300, 251, 40),
        (1300, 250, 40),
        (1, 300, 40),
        (3, 7, 9000),
        (2, 1, 8192),
        (600, 7, 8200),
    ],
)
def test_sizes_at_which_the_kernels_change(torch, examples, words, n_out):
    """What is gathered, added and masked at a time is 8192 numbers, more than 512 rows are added column by column.

    Weights of up to 10000 numbers are copied.
    """
    drawn = Drawn("one", examples, 1, words, n_out, "identity", True, "of fractions", 0)
    data = data_of(drawn)
    close(found(drawn, data, np.float32), by_pytorch(torch, drawn, data), 1e-5)


@pytest.mark.parametrize("examples", [5, 600])
def test_rows_of_one_index_add_up(examples):
    drawn = Drawn("one", examples, 1, 3, 2, "identity", False, "none", 0)
    data = data_of(drawn)._replace(numbers=np.full((examples, 1), 1), epsilon=np.ones((examples, 1, 2)))
    _, d_weights, _ = found(drawn, data, np.float64)
    np.testing.assert_array_equal(d_weights, [[0, 0], [examples, examples], [0, 0]])


@pytest.mark.parametrize("order", ["turned", "spread"])
def test_indices_and_errors_may_lie_anyhow(order):
    drawn = Drawn("NWC", 4, 5, 6, 3, "tanh", True, "of fractions", 0)
    data = data_of(drawn)
    x, epsilon = data.numbers[..., np.newaxis].astype(float), data.epsilon
    if order == "turned":
        x, epsilon, mask = x[:, ::-1], epsilon.copy("F"), data.mask.copy("F")
        expected = by_loops(drawn, data._replace(numbers=data.numbers[:, ::-1]))
    else:
        x, mask = np.repeat(x, 2, axis=1)[:, ::2], np.repeat(data.mask, 3, axis=0)[::3]
        expected = by_loops(drawn, data)
    call = call_by_hand(drawn.layer, drawn.input_type, data.params, x, epsilon, mask=mask)
    close((call.output, call.gradients["W"], call.gradients["b"]), expected, 1e-10)


def test_softmax_is_over_the_outputs_of_a_step():
    drawn = Drawn("NCW", 3, 4, 5, 6, "softmax", False, "none", 0)
    y, _, _ = found(drawn, data_of(drawn), np.float64)
    np.testing.assert_allclose(y.sum(axis=2), 1.0)


def test_first_layer_gives_no_gradient_of_indices():
    layer, x = EmbeddingLayer(n_in=3, n_out=2), np.array([[2.0], [0.0]])
    call = call_by_hand(
        layer, InputType.feed_forward(1), {"W": np.eye(3, 2)}, x, np.ones((2, 2)), wants_input_gradient=False
    )
    assert call.d_x is None
    np.testing.assert_array_equal(call.output, [[0, 0], [1, 0]])


@pytest.mark.parametrize("mask", [np.zeros(3), np.zeros((3, 1))])
def test_masks_of_whole_series_leave_the_steps_as_they_are(mask):
    drawn = Drawn("NCW", 3, 4, 5, 2, "identity", True, "none", 0)
    data = data_of(drawn)
    close(found(drawn, data._replace(mask=mask), np.float64), by_loops(drawn, data), 1e-10)


# Types, parameters and options


@pytest.mark.parametrize(
    ("layer", "kind", "expected"),
    [
        (EmbeddingLayer, InputType.feed_forward(1), InputType.feed_forward(4)),
        (EmbeddingSequenceLayer, InputType.feed_forward(7), InputType.recurrent(4, 7)),
        (EmbeddingSequenceLayer, InputType.feed_forward(1), InputType.recurrent(4, 1)),
        (EmbeddingSequenceLayer, InputType.recurrent(1, 7), InputType.recurrent(4, 7)),
        (EmbeddingSequenceLayer, InputType.recurrent(1, 7, "NWC"), InputType.recurrent(4, 7, "NWC")),
        (EmbeddingSequenceLayer, InputType.recurrent(1), InputType.recurrent(4)),
    ],
)
@pytest.mark.parametrize("has_bias", [False, True])
def test_types_and_parameters(layer, kind, expected, has_bias):
    complete = completed(layer(n_in=9, n_out=4, has_bias=has_bias, bias_init=0.5), kind)
    assert complete.output_type(kind) == expected
    assert complete.n_in == 9
    weights, *bias = complete.param_specs(kind)
    assert (weights.name, weights.shape, weights.order, weights.fan_in, weights.fan_out) == ("W", (9, 4), "F", 9, 4)
    assert weights.regularizable
    assert [(spec.name, spec.shape, spec.regularizable) for spec in bias] == [("b", (4,), False)] * has_bias


def test_vectors_become_series_of_the_format_of_the_layer():
    layer = EmbeddingSequenceLayer(n_in=9, n_out=4, format="nwc")
    assert layer.output_type(InputType.feed_forward(7)) == InputType.recurrent(4, 7, "NWC")
    x = np.array([[1.0, 0.0, 8.0]])
    call = call_by_hand(layer, InputType.feed_forward(3), {"W": np.eye(9, 4)}, x, np.ones((1, 3, 4)))
    np.testing.assert_array_equal(call.output, [[[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]])


def test_what_is_not_given():
    for cls in (EmbeddingLayer, EmbeddingSequenceLayer):
        layer = cls(n_in=9, n_out=4)
        assert (layer.has_bias, layer.takes_indices, layer.independent_examples) == (False, True, True)
        kind = InputType.feed_forward(1)
        conf = NeuralNetConfiguration(dropout=0.5).list(layer, input_type=kind, validate_output_layer_config=False)
        assert (type(conf.layers[0].activation).__name__, conf.layers[0].dropout) == ("Identity", 1.0)
        conf = NeuralNetConfiguration(activation="tanh").list(
            layer, input_type=kind, validate_output_layer_config=False
        )
        assert type(conf.layers[0].activation).__name__ == "Tanh"


NOT_ONE = (
    "EmbeddingLayer expects one index for each example, (batch, 1), but its input is {}. Use "
    "InputType.feed_forward(1), or an EmbeddingSequenceLayer for several."
)
SHAPES = [
    (EmbeddingLayer, InputType.feed_forward(3), NOT_ONE),
    (EmbeddingLayer, InputType.convolutional(2, 2, 1), NOT_ONE),
    (EmbeddingLayer, InputType.recurrent(1, 5), NOT_ONE),
    (
        EmbeddingSequenceLayer,
        InputType.recurrent(9, 5),
        "EmbeddingSequenceLayer expects one index at each step, but its input is {}. Use InputType.recurrent(1, "
        "timesteps), with the numbers of the classes in place of one-hot vectors.",
    ),
    (
        EmbeddingSequenceLayer,
        InputType.convolutional(2, 2, 1),
        "EmbeddingSequenceLayer expects series, but its input is {}. Use InputType.recurrent(size, timesteps).",
    ),
]


@pytest.mark.parametrize(("layer", "kind", "message"), SHAPES)
def test_inputs_that_are_no_indices_raise(layer, kind, message):
    with pytest.raises(ShapeError, match=f"^{re.escape(message.format(kind))}$"):
        layer(n_in=9, n_out=4).output_type(kind)


@pytest.mark.parametrize("layer", [EmbeddingLayer, EmbeddingSequenceLayer])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"n_out": 4},
            "{} needs n_in, the size of the vocabulary: n_in=10000 for indices from 0 to 9999.",
        ),
        ({"n_in": 9}, "{} needs n_out, the number of its outputs: n_out=10."),
        (
            {"n_in": 9, "n_out": 4, "dropout": 0.5},
            "{}: dropout=0.5 would change the indices. Leave it out, and give it to the layer behind.",
        ),
        (
            {"n_in": 9, "n_out": 4, "dropout": GaussianNoise(0.1)},
            "{}: dropout=GaussianNoise(stddev=0.1) would change the indices. Leave it out, and give it to the layer "
            "behind.",
        ),
    ],
)
def test_options_that_cannot_be_raise(layer, options, message):
    where = rf"(\nin layer 0 of 1 \({layer.__name__}\))?"  # a note, where the network found it
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message.format(layer.__name__))}{where}$"):
        completed(layer(**options), InputType.feed_forward(1))


def test_other_format_than_that_of_the_input_raises():
    layer = EmbeddingSequenceLayer(n_in=9, n_out=4, format="NCW")
    message = (
        "EmbeddingSequenceLayer: format='NCW', but its input has the format NWC. Leave it unset, and give the format "
        "to the input type."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        layer.output_type(InputType.recurrent(1, 5, "NWC"))
    with pytest.raises(ConfigurationError, match=r"^Recurrent: format='NHWC' is not known\. Choose NCW or NWC\.$"):
        EmbeddingSequenceLayer(n_in=9, n_out=4, format="NHWC")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.nan, "nan"),
        (np.inf, "inf"),
        (-np.inf, "-inf"),
        (0.5, "0.5"),
        (-1, "-1"),
        (9, "9"),
        (8.25, "8.25"),
        (1e9, "1e+09"),
        (123456, "123456"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_no_indices_raise(value, shown, dtype, form):
    drawn = Drawn(form, 3, 4, 9, 2, "identity", False, "none", 0)
    numbers = np.zeros((3, drawn.time))
    numbers[1, -1] = numbers[2, 0] = value
    where, name = ("row 1", "EmbeddingLayer") if form == "one" else ("row 1, step 3,", "EmbeddingSequenceLayer")
    message = (
        f"{name}: the index {shown} in {where} of its input is not a whole number from 0 to 8. Number what is embedded "
        "from 0, or set n_in to the size of the vocabulary."
    )
    data = Data(numbers, np.zeros((3, drawn.time, 2)), None, {"W": np.zeros((9, 2))})
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        found(drawn, data, dtype)


def test_indices_of_steps_that_the_mask_leaves_out_must_be_some():
    drawn = Drawn("NCW", 1, 2, 9, 2, "identity", False, "none", 0)
    data = Data(np.array([[3, 9]]), np.zeros((1, 2, 2)), np.array([[1.0, 0.0]]), {"W": np.zeros((9, 2))})
    with pytest.raises(DataError, match=r"the index 9 in row 0, step 1, of its input is not a whole number from 0 to"):
        found(drawn, data, np.float64)


def test_vocabulary_that_float32_cannot_number_raises():
    n_in = (1 << 24) + 1
    layer = completed(EmbeddingLayer(n_in=n_in, n_out=1), InputType.feed_forward(1))
    layer.params["W"] = np.broadcast_to(np.float32(0), (n_in, 1))
    message = (
        "EmbeddingLayer: n_in=16777217, but float32 has not all whole numbers above 16777216. Use dtype='float64'."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        layer.activate(np.ones((1, 1), np.float32), training=False, workspace_mgr=LayerWorkspaceMgr.no_workspaces())


# In a network

WORDS, TIME = 11, 6
NETWORKS = {
    "one": InputType.feed_forward(1),
    "vectors": InputType.feed_forward(TIME),
    "NCW": InputType.recurrent(1, TIME),
    "NWC of any length": InputType.recurrent(1, None, "NWC"),
}


class DoubledEmbedding(EmbeddingSequenceLayer):
    """A user's subclass, which is handed WorkspaceArrays."""

    def activate(self, x, *, training, workspace_mgr):
        return super().activate(x, training=training, workspace_mgr=workspace_mgr) * 2.0

    def backprop(self, epsilon, *, workspace_mgr):
        return super().backprop(epsilon * 2.0, workspace_mgr=workspace_mgr)


def network(name, cls=None, mode="ENABLED", words=WORDS, n_out=4, at_every_step=True, **options):
    is_one = name == "one"
    cls = cls or (EmbeddingLayer if is_one else EmbeddingSequenceLayer)
    layer = cls(n_in=words, n_out=n_out, **{"has_bias": True, "activation": "tanh"} | options)
    behind = [OutputLayer(n_out=3)] if is_one else [GlobalPoolingLayer(pooling_type="avg"), OutputLayer(n_out=3)]
    behind = [RnnOutputLayer(n_out=3)] if at_every_step and not is_one else behind
    conf = NeuralNetConfiguration(
        seed=1,
        dtype="float64",
        updater="adam",
        strict=True,
        training_workspace_mode=mode,
        inference_workspace_mode=mode,
    ).list(layer, *behind, input_type=NETWORKS[name])
    return MultiLayerNetwork(conf).init()


def batch(net, rows, seed=0, masked=False, dtype=np.float64):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, WORDS, (rows, *(extent or TIME for extent in net.conf.input_type.example_shape())))
    places = net.output(x).shape
    labels = np.eye(3)[rng.integers(0, 3, (rows, TIME) if len(places) == 3 else rows)]
    labels = np.moveaxis(labels, 2, 1) if len(places) == 3 and places[1] == 3 else labels
    mask = rng.integers(0, 2, (rows, x.size // rows)).astype(dtype) if masked else None
    return DataSet(x.astype(dtype), np.ascontiguousarray(labels, dtype), mask)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rows", [1, 5])
def test_gradient_in_a_network_agrees_with_a_central_difference(name, masked, rows):
    for at_every_step in (False, True):
        net = network(name, at_every_step=at_every_step)
        assert gradient_error(net, batch(net, rows, masked=masked)) < 1e-6


@pytest.mark.parametrize("name", ["one", "NCW"])
@pytest.mark.parametrize("masked", [False, True])
def test_modes_give_the_same_bits(name, masked):
    nets = [network(name, mode=mode) for mode in ("NONE", "ENABLED")]
    for net, iteration in itertools.product(nets, range(12)):
        net.fit(batch(net, (5, 5, 2, 1, 7)[iteration % 5], iteration, masked))
    none, enabled = ((net.params.tobytes(), net.score(), net.output(batch(net, 4).features).tobytes()) for net in nets)
    assert none == enabled


def test_gradient_of_a_users_subclass_agrees_with_a_central_difference():
    net = network("NCW", DoubledEmbedding)
    assert gradient_error(net, batch(net, 5, masked=True)) < 1e-6


def test_gradient_by_the_features_is_zero():
    net = network("NCW")
    data = batch(net, 3)
    _, gradient = net.calculate_gradients(data.features, data.labels)
    np.testing.assert_array_equal(gradient, np.zeros((3, 1, TIME)))


def test_integers_are_indices():
    net = network("one")
    x = np.array([[1], [10], [0]])
    np.testing.assert_array_equal(net.output(x), net.output(x.astype(float)))


def test_steps_of_series_are_embedded_one_by_one():
    layers = [EmbeddingLayer(n_in=WORDS, n_out=4), RnnOutputLayer(n_out=3)]
    conf = NeuralNetConfiguration(seed=1, dtype="float64").list(*layers, input_type=InputType.recurrent(1, TIME))
    net, twin = MultiLayerNetwork(conf).init(), network("NCW", activation="identity", has_bias=False)
    twin.set_params(net.params)
    x = batch(twin, 3).features
    np.testing.assert_array_equal(net.output(x), twin.output(x))


def test_error_names_the_layer():
    net = network("one")
    with pytest.raises(DataError, match=r"^EmbeddingLayer: the index 11 in row 1 of its input is not a") as caught:
        net.fit(np.array([[0], [11]]), np.eye(3)[:2])
    assert any("layer 0" in note for note in caught.value.__notes__)


def test_json_gives_the_layer_back():
    for name in NETWORKS:
        conf = network(name).conf
        assert type(conf).from_json(conf.to_json()) == conf


def measure(name, words, n_out):
    """Return the gauges of a warm step, with a mask and without, for both ways of adding rows."""
    found = {}
    for rows, masked in itertools.product((80, 512, 1024), (False, True)):
        net = network(name, words=words, n_out=n_out, at_every_step=False)
        data = batch(net, rows, masked=masked)
        out = np.empty(data.labels.shape)

        def step(net=net, data=data, out=out):
            net.fit(data)
            net.output(data.features, out=out)
            net.score(data)

        found[f"{rows} {masked}"] = gauges(step, repeats=5, counters=workspace_counters)
    return found


@pytest.mark.parametrize(("name", "words", "n_out"), [("one", 300, 40), ("NCW", 20, 40), ("vectors", 4000, 3)])
def test_a_warm_step_allocates_nothing(name, words, n_out, run_under_counter):
    for found in run_under_counter(measure, name, words, n_out).values():
        assert_no_allocation(found, arrays_alive=150)
