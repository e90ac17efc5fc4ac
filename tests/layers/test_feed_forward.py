"""Dense and output layers: numbers against NumPy's plain expressions, defaults, and errors."""

import re

import numpy as np
import pytest

from minidl import InputType, LayerWorkspaceMgr, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import DataSet
from minidl.errors import ConfigurationError, ShapeError
from minidl.functions import MSE, Identity, ReLU, Sigmoid, Softmax, XavierInit
from minidl.layers import ActivationLayer, DenseLayer, DropoutLayer, LossLayer, OutputLayer
from minidl.training import GradientNormalization, NoOp, Sgd


def dense_of(n_in, n_out, rng, activation="identity"):
    """Return a dense layer with random parameters attached, without a network."""
    layer = DenseLayer(n_in=n_in, n_out=n_out, activation=activation)
    layer.params = {"W": rng.standard_normal((n_in, n_out)), "b": rng.standard_normal(n_out)}
    return layer


def activate(layer, x):
    return layer.activate(x, training=False, workspace_mgr=LayerWorkspaceMgr.no_workspaces("float64"))


@pytest.mark.parametrize("batch", [1, 2, 7, 20])
@pytest.mark.parametrize("n_out", [1, 5, 5000, 20000])
def test_bias_is_added_to_every_row(batch, n_out, rng):
    layer, x = dense_of(3, n_out, rng), rng.standard_normal((batch, 3))
    np.testing.assert_allclose(activate(layer, x), x @ layer.params["W"] + layer.params["b"], rtol=1e-12)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[::2, ::2],
        lambda x: x[::-1, ::-1],
        lambda x: x.T,
        lambda x: x.T[::2, ::3],
        lambda x: x[:, 3:9],
        lambda x: np.broadcast_to(x[:1], x.shape),
        lambda x: np.broadcast_to(x[:, :1], x.shape),
    ],
)
def test_input_of_any_strides(view, rng):
    x = view(rng.standard_normal((20, 20)))
    layer = dense_of(x.shape[1], 4, rng)
    np.testing.assert_allclose(activate(layer, x), x @ layer.params["W"] + layer.params["b"], rtol=1e-12)


def test_gradient_is_summed_over_the_batch_and_score_is_its_mean(rng):
    conf = NeuralNetConfiguration(dtype="float64", seed=1, activation="tanh").list(
        DenseLayer(n_out=4), OutputLayer(n_out=3), input_type=InputType.feed_forward(5)
    )
    net = MultiLayerNetwork(conf).init()
    x, y = rng.standard_normal((6, 5)), np.eye(3)[rng.integers(0, 3, 6)]
    score = net.compute_gradient_and_score(DataSet(x, y))
    w0, b0, w1, b1 = net.param_table().values()
    hidden = np.tanh(x @ w0 + b0)
    p = np.exp(hidden @ w1 + b1)
    p /= p.sum(axis=1, keepdims=True)
    d_z1 = p - y
    d_z0 = d_z1 @ w1.T * (1 - hidden**2)
    gradients = [x.T @ d_z0, d_z0.sum(axis=0), hidden.T @ d_z1, d_z1.sum(axis=0)]
    np.testing.assert_allclose(net.gradient, np.concatenate([g.ravel("F") for g in gradients]), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(score, -np.log(p[y == 1]).mean(), rtol=1e-12)


def test_options_are_given_by_name_or_as_objects():
    layer = DenseLayer(
        n_out=np.int64(4),
        activation="RELU",
        weight_init="Xavier",
        updater="sgd",
        gradient_normalization="ClipL2PerLayer",
        l2=np.float32(0.5),
    )
    assert layer.activation == ReLU()
    assert layer.weight_init == XavierInit()
    assert layer.updater == Sgd()
    assert layer.gradient_normalization is GradientNormalization.CLIP_L2_PER_LAYER
    assert [type(value) for value in (layer.n_out, layer.l2)] == [int, float]
    assert layer == DenseLayer(
        n_out=4,
        activation=ReLU,
        weight_init=XavierInit(),
        updater=Sgd(),
        gradient_normalization=GradientNormalization.CLIP_L2_PER_LAYER,
        l2=0.5,
    )


def test_defaults_are_those_of_dl4j():
    assert OutputLayer(n_out=3).activation == Softmax()
    assert LossLayer().activation == Identity()
    assert DenseLayer(n_out=3).activation is None
    assert DropoutLayer().dropout == DropoutLayer(0.5).dropout == 0.5
    assert ActivationLayer("sigmoid").activation == ActivationLayer(activation=Sigmoid).activation == Sigmoid()
    assert OutputLayer(n_out=3, loss="mse").loss == MSE()


def test_output_layer_does_not_take_the_activation_of_hidden_layers():
    layers = NeuralNetConfiguration(activation="relu").list(DenseLayer(n_in=2, n_out=3), OutputLayer(n_out=3)).layers
    assert [layer.activation for layer in layers] == [ReLU(), Softmax()]


def test_layers_are_compared_by_value():
    assert DenseLayer(n_out=3, activation="relu") == DenseLayer(n_out=3, activation=ReLU())
    assert DenseLayer(n_out=3) != DenseLayer(n_out=4)
    assert DenseLayer(n_out=3) != OutputLayer(n_out=3)
    assert DenseLayer(n_out=3, updater=NoOp()) != DenseLayer(n_out=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseLayer(n_out=0), "DenseLayer: n_out=0 is not a whole number of at least 1."),
        (lambda: DenseLayer(n_out=2.5), "DenseLayer: n_out=2.5 is not a whole number of at least 1."),
        (lambda: DenseLayer(n_in=True), "DenseLayer: n_in=True is not a whole number of at least 1."),
        (lambda: OutputLayer(n_in="3"), "OutputLayer: n_in='3' is not a whole number of at least 1."),
        (lambda: DenseLayer(n_out=3, l2=-1), "DenseLayer: l2=-1 is not a finite number of at least 0."),
        (lambda: DenseLayer(n_out=3, l1="x"), "DenseLayer: l1='x' is not a finite number of at least 0."),
        (
            lambda: DenseLayer(n_out=3, weight_decay=float("nan")),
            "DenseLayer: weight_decay=nan is not a finite number of at least 0.",
        ),
        (
            lambda: DenseLayer(n_out=3, bias_init=float("inf")),
            "DenseLayer: bias_init=inf is not a finite number.",
        ),
        (
            lambda: DropoutLayer(0),
            "DropoutLayer: dropout=0 is not in (0, 1]. It is the probability to keep an element; 1 means no dropout.",
        ),
        (
            lambda: DenseLayer(n_out=3, dropout=1.5),
            "DenseLayer: dropout=1.5 is not in (0, 1]. It is the probability to keep an element; 1 means no dropout.",
        ),
        (
            lambda: DenseLayer(n_out=3, gradient_normalization_threshold=0),
            "DenseLayer: gradient_normalization_threshold=0 is not a finite number above 0.",
        ),
    ],
)
def test_options_that_cannot_be(make, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("option", ["activation", "weight_init", "updater", "loss", "gradient_normalization"])
def test_unknown_name_lists_what_exists(option):
    with pytest.raises(ConfigurationError, match=rf"^{option}='magic' is not known\. Choose one of: [^.]+\.$"):
        OutputLayer(n_out=3, **{option: "magic"})


@pytest.mark.parametrize(
    ("layer", "input_type", "error", "message"),
    [
        (
            DenseLayer(n_in=4, n_out=3),
            InputType.feed_forward(5),
            ShapeError,
            "DenseLayer: n_in=4, but its input has size 5. Set n_in=5, or leave n_in unset to take it from the input "
            "type.",
        ),
        (
            DenseLayer(),
            InputType.feed_forward(5),
            ConfigurationError,
            "DenseLayer needs n_out, the number of its outputs: n_out=10.",
        ),
        (
            DenseLayer(n_out=3),
            InputType.recurrent(5),
            ShapeError,
            "DenseLayer expects vectors, (batch, n_in), but its input is Recurrent(size=5, timesteps=None, "
            "format='NCW'). Use InputType.feed_forward(size), or put a layer before it that makes vectors.",
        ),
    ],
)
def test_input_that_does_not_fit(layer, input_type, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        layer.output_type(input_type)


def test_flat_images_are_vectors():
    assert DenseLayer(n_out=3).output_type(InputType.convolutional_flat(4, 4, 2)) == InputType.feed_forward(3)


def test_layer_that_no_configuration_completed(rng):
    layer = dense_of(2, 3, rng, activation=None)
    message = (
        "activation=None: this layer is not complete. Give it to NeuralNetConfiguration(...).list(...), which fills in "
        "what a layer leaves open."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        activate(layer, rng.standard_normal((2, 2)))
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message.replace('activation', 'weight_init'))}$"):
        layer.param_specs(InputType.feed_forward(2))
