"""Preprocessors: inserted by input type or set by hand, built-in ones and a user's."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from gradients import gradient_error

from minidl import DataSet, InputType, MultiLayerConfiguration, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, ShapeError
from minidl.layers import (
    ActivationLayer,
    CnnToFeedForwardPreProcessor,
    DenseLayer,
    FeedForwardToCnnPreProcessor,
    InputPreProcessor,
    OutputLayer,
)
from minidl.workspaces import ArrayType, WorkspaceArray

IMAGES = InputType.convolutional(2, 3, 4)


@dataclass(frozen=True)
class Halves(InputPreProcessor):
    """A user's preprocessor: the first half of the columns, times a factor, in plain NumPy."""

    factor: float = 2.0

    def output_type(self, input_type):
        return InputType.feed_forward(input_type.size // 2)

    def preprocess(self, x, *, workspace_mgr):
        assert isinstance(x, WorkspaceArray)
        return x[:, : x.shape[1] // 2] * self.factor

    def backprop(self, epsilon, *, shape, workspace_mgr):
        assert isinstance(epsilon, WorkspaceArray)
        d_x = workspace_mgr.create(ArrayType.ACTIVATION_GRAD, shape)
        d_x[:, : epsilon.shape[1]] = epsilon * self.factor
        return d_x


def conf(*layers, input_type=IMAGES, **options):
    settings = {"seed": 5, "dtype": "float64", "updater": "adam"}
    list_options = {k: options.pop(k) for k in ("input_preprocessors",) if k in options}
    return NeuralNetConfiguration(**settings | options).list(*layers, input_type=input_type, **list_options)


def network(*layers, **options):
    return MultiLayerNetwork(conf(*layers, **options)).init()


def images(rows=5, shape=(4, 2, 3)):
    rng = np.random.default_rng(0)
    return DataSet(rng.standard_normal((rows, *shape)), np.eye(2)[rng.integers(0, 2, rows)])


def test_images_before_a_dense_layer_become_rows():
    made = conf(DenseLayer(n_out=3), OutputLayer(n_out=2))
    assert made.input_preprocessors == (CnnToFeedForwardPreProcessor(), None)
    assert made.layers[0].n_in == 24
    assert made.input_types() == (IMAGES, InputType.feed_forward(3), InputType.feed_forward(2))
    assert made.layer_input_types() == (InputType.feed_forward(24), InputType.feed_forward(3))
    assert MultiLayerConfiguration.from_json(made.to_json()) == made


def test_flat_images_need_none():
    made = conf(OutputLayer(n_out=2), input_type=InputType.convolutional_flat(2, 3, 4))
    assert made.input_preprocessors == (None,)


@pytest.mark.parametrize(("format", "shape"), [("NCHW", (4, 2, 3)), ("NHWC", (2, 3, 4))])
def test_rows_are_the_images_in_c_order(format, shape):
    net = network(DenseLayer(n_out=3), OutputLayer(n_out=2), input_type=InputType.convolutional(2, 3, 4, format))
    flat = network(DenseLayer(n_out=3), OutputLayer(n_out=2), input_type=InputType.feed_forward(24))
    data = images(shape=shape)
    rows = DataSet(data.features.reshape(5, -1), data.labels)
    for _ in range(3):
        net.fit(data)
        flat.fit(rows)
    assert net.params.tobytes() == flat.params.tobytes()
    for x in (data.features, np.asfortranarray(data.features), np.repeat(data.features, 2, axis=2)[:, :, ::2]):
        np.testing.assert_allclose(net.output(x), flat.output(rows.features), rtol=1e-12)
    assert [a.shape for a in net.feed_forward(data.features)] == [(5, *shape), (5, 3), (5, 2)]
    _, by_features = net.calculate_gradients(*data)
    np.testing.assert_array_equal(by_features.reshape(5, -1), flat.calculate_gradients(*rows)[1])


def stack():
    """Rows, images, an activation of images, rows again."""
    return dict(
        layers=(DenseLayer(n_out=6, activation="tanh"), ActivationLayer("swish", dropout=0.8), OutputLayer(n_out=2)),
        input_preprocessors={1: FeedForwardToCnnPreProcessor(3, 2)},
        input_type=InputType.feed_forward(24),
    )


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_gradient_through_preprocessors(mode):
    options = stack()
    net = network(*options.pop("layers"), training_workspace_mode=mode, **options)
    assert net.conf.input_preprocessors == (None, FeedForwardToCnnPreProcessor(3, 2), CnnToFeedForwardPreProcessor())
    data = images(shape=(24,))
    assert gradient_error(net, data) < 1e-6
    assert net.feed_forward(data.features)[2].shape == (5, 1, 3, 2)


def test_modes_give_the_same_bits_through_preprocessors():
    results = []
    for mode in ("NONE", "ENABLED"):
        options = stack()
        net = network(*options.pop("layers"), training_workspace_mode=mode, inference_workspace_mode=mode, **options)
        for _ in range(20):
            net.fit(images(shape=(24,)))
        results.append((net.params.tobytes(), net.output(images(shape=(24,)).features).tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_preprocessor_of_a_user(mode):
    net = network(
        DenseLayer(n_out=6, activation="tanh"),
        OutputLayer(n_out=2),
        input_type=InputType.feed_forward(24),
        input_preprocessors={1: Halves(3.0)},
        training_workspace_mode=mode,
    )
    assert net.conf.layers[1].n_in == 3
    data = images(shape=(24,))
    assert gradient_error(net, data) < 1e-6
    assert MultiLayerConfiguration.from_json(net.conf.to_json()) == net.conf
    dense = net.feed_forward(data.features)[1]
    z = dense[:, :3] * 3.0 @ net.param_table()["1_W"] + net.param_table()["1_b"]
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.output(data.features), expected, rtol=1e-12)


@dataclass(frozen=True)
class Wrong(Halves):
    """Says another shape than it gives."""

    def preprocess(self, x, *, workspace_mgr):
        return x * 1.0


def test_preprocessor_that_breaks_its_word_is_named():
    net = network(OutputLayer(n_out=2), input_type=InputType.feed_forward(24), input_preprocessors={0: Wrong()})
    message = (
        "Wrong in front of layer 0 (OutputLayer): preprocess() returned shape (5, 24), expected (5, 12). Return an "
        "array of that shape."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}"):
        net.fit(images(shape=(24,)))


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        (
            {5: CnnToFeedForwardPreProcessor()},
            ConfigurationError,
            "input_preprocessors has the key 5, but there are layers 0 to 0. Use the index of the layer that the "
            "preprocessor stands in front of.",
        ),
        (
            {0: "flatten"},
            ConfigurationError,
            "the preprocessor of layer 0 is 'flatten', expected an object of a class derived from InputPreProcessor, "
            "such as CnnToFeedForwardPreProcessor().",
        ),
        (
            {0: CnnToFeedForwardPreProcessor()},
            ShapeError,
            "CnnToFeedForwardPreProcessor expects images, but its input is FeedForward(size=24). Leave it out, or use "
            "InputType.convolutional(height, width, channels).",
        ),
        (
            {0: FeedForwardToCnnPreProcessor(5, 5)},
            ShapeError,
            "FeedForwardToCnnPreProcessor expects rows of channels x height x width = 1 x 5 x 5 = 25 numbers, but its "
            "input is FeedForward(size=24). Make the two equal.",
        ),
    ],
)
def test_preprocessors_that_cannot_be(steps, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        conf(OutputLayer(n_out=2), input_type=InputType.feed_forward(24), input_preprocessors=steps)


def test_number_of_preprocessors_must_be_that_of_the_layers():
    made = conf(DenseLayer(n_out=3), OutputLayer(n_out=2))
    message = "there are 1 input_preprocessors for 2 layers. Give one for each layer, None where there is none."
    text = made.to_json().replace("    null\n  ]", "  ]").replace("    },\n  ]", "    }\n  ]")
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        MultiLayerConfiguration.from_json(text)
