"""Constraints, penalties and the checks of the output layer, in whole networks."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
from gradients import gradient_error
from networks import CLASSES, FEATURES, data, recorded_spills, softmax_network

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.errors import ConfigurationError, ConfigurationWarning, ShapeError
from minidl.functions import MCXENT
from minidl.layers import ActivationLayer, DenseLayer, LossLayer, OutputLayer
from minidl.training import (
    AdamW,
    BaseDropout,
    Constraint,
    MaxNorm,
    MinMaxNorm,
    NonNegative,
    Sgd,
    UnitNorm,
    Updater,
)
from minidl.workspaces import WorkspaceArray


def row_norms(w):
    return np.linalg.norm(w, axis=1)


RULES = {
    "MaxNorm": (MaxNorm(0.3), lambda w: (row_norms(w) <= 0.3 + 1e-6).all()),
    "MinMaxNorm": (MinMaxNorm(0.2, 0.4), lambda w: ((row_norms(w) > 0.199) & (row_norms(w) < 0.401)).all()),
    "UnitNorm": (UnitNorm(), lambda w: np.allclose(row_norms(w), 1, atol=1e-5)),
    "NonNegative": (NonNegative(), lambda w: (w >= 0).all()),
}


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
@pytest.mark.parametrize("name", RULES)
def test_constraint_holds_after_every_step(name, mode):
    rule, holds = RULES[name]
    net = softmax_network(DenseLayer(n_out=9, activation="tanh"), mode=mode, constrain_weights=rule, updater=Sgd(0.5))
    weights = [net.param_table()[key] for key in ("0_W", "1_W")]
    assert not all(holds(w) for w in weights)
    for _ in range(5):
        net.fit(*data())
        assert all(holds(w) for w in weights)


def test_weights_and_biases_are_constrained_where_asked_for():
    def negative(**options):
        net = softmax_network(DenseLayer(n_out=9, activation="tanh"), updater=Sgd(0.5), **options)
        for _ in range(3):
            net.fit(*data())
        return {name: bool((view < 0).any()) for name, view in net.param_table().items()}

    free = {"0_W": True, "0_b": True, "1_W": True, "1_b": True}
    assert negative() == free
    assert negative(constrain_weights=[NonNegative()]) == free | {"0_W": False, "1_W": False}
    assert negative(constrain_bias=NonNegative()) == free | {"0_b": False, "1_b": False}
    assert not any(negative(constrain_all_parameters=NonNegative()).values())


def test_a_layer_has_constraints_of_its_own():
    net = softmax_network(DenseLayer(n_out=9, constrain_weights=()), constrain_weights=MaxNorm(0.1), updater=Sgd(0.1))
    net.fit(*data())
    assert row_norms(net.param_table()["0_W"]).max() > 0.2
    assert row_norms(net.param_table()["1_W"]).max() < 0.11


def test_dimension_that_a_parameter_does_not_have_is_named():
    with pytest.raises(ConfigurationError, match=r"^MaxNorm: ") as caught:
        softmax_network(DenseLayer(n_out=9), constrain_weights=MaxNorm(1.0, dimensions=(2,)))
    assert caught.value.__notes__ == ["in layer 0 of 2 (DenseLayer)"]


def test_constraints_are_planned():
    net = softmax_network(DenseLayer(n_out=300), constrain_weights=MinMaxNorm(0.5, 1.0), mode="ENABLED")
    with recorded_spills() as spills:
        for _ in range(3):
            net.fit(*data(1))
    assert not spills


# Penalties


def test_weight_decay_with_and_without_the_rate():
    x, y = data()
    plain = softmax_network(updater=Sgd(0.5), dtype="float64")
    start = plain.params.copy()
    plain.fit(x, y)
    for applies, factor in ((True, 0.5), (False, 1.0)):
        net = softmax_network(updater=Sgd(0.5), dtype="float64", weight_decay=0.02, weight_decay_apply_lr=applies)
        net.fit(x, y)
        w = start[: FEATURES * CLASSES]
        np.testing.assert_allclose((plain.params - net.params)[: len(w)], 0.02 * factor * w, rtol=1e-9, atol=1e-15)
        np.testing.assert_array_equal(net.params[len(w) :], plain.params[len(w) :])


def test_adamw_decays_weights_and_leaves_the_score_alone():
    x, y = data()
    adam, adamw = (softmax_network(updater=rule, dtype="float64") for rule in ("adam", AdamW(1e-3, weight_decay=0.1)))
    start = adam.params.copy()
    scores = [net.fit(x, y).score() for net in (adam, adamw)]
    assert scores[0] == scores[1]
    w = start[: FEATURES * CLASSES]
    np.testing.assert_allclose((adam.params - adamw.params)[: len(w)], 1e-4 * w, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(adam.params[len(w) :], adamw.params[len(w) :])


@pytest.mark.parametrize("make", [NeuralNetConfiguration, DenseLayer])
@pytest.mark.parametrize(("l2", "decay"), [("l2", "weight_decay"), ("l2_bias", "weight_decay_bias")])
def test_l2_replaces_a_weight_decay_beside_it(make, l2, decay):
    message = f"{make.__name__}: {l2}=0.1 replaces {decay}=0.2, as in DL4J. Give one of them."
    with pytest.warns(ConfigurationWarning, match=f"^{re.escape(message)}$") as caught:
        options = make(**{l2: 0.1, decay: 0.2})
    assert [warning.filename for warning in caught] == [__file__]
    assert (getattr(options, l2), getattr(options, decay)) == (0.1, 0.0)


@pytest.mark.parametrize(
    ("network", "layer", "expected"),
    [
        (dict(l2=0.1), dict(weight_decay=0.2), (0.0, 0.2)),
        (dict(weight_decay=0.2), dict(l2=0.1), (0.1, 0.0)),
        (dict(l2=0.1), dict(l2=0.3), (0.3, 0.0)),
        (dict(l2=0.1), dict(weight_decay=0.0), (0.1, 0.0)),
        (dict(weight_decay=0.1), {}, (0.0, 0.1)),
    ],
)
def test_penalty_of_a_layer_rules_out_the_other_one_of_the_network(network, layer, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conf = NeuralNetConfiguration(**network).list(OutputLayer(n_in=2, n_out=2, **layer))
    assert (conf.layers[0].l2, conf.layers[0].weight_decay) == expected


# The output layer


@pytest.mark.parametrize(
    "input_type", [InputType.recurrent(3, format="NWC"), InputType.convolutional(2, 2, 3, format="NHWC")]
)
def test_outputs_along_the_last_axis_are_refused_where_axis_1_is_read(input_type):
    for layer in (LossLayer(loss="l2"), ActivationLayer("softmax")):
        message = (
            f"{type(layer).__name__}: its outputs lie along axis 1, but its input is {input_type}, which has them "
        )
        with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
            NeuralNetConfiguration().list(layer, input_type=input_type)
    NeuralNetConfiguration().list(ActivationLayer("relu"), input_type=input_type)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(n_out=1),
            "OutputLayer: softmax of n_out=1 output is always 1. Use n_out=2, or activation='sigmoid' with "
            "loss='xent'.",
        ),
        (
            dict(n_out=3, activation="tanh"),
            "OutputLayer: MCXENT is a loss of probabilities, but Tanh gives values from -1 to 1. Use "
            "activation='softmax' or 'sigmoid', another loss, or list(..., validate_output_layer_config=False).",
        ),
        (
            dict(n_out=3, activation="relu", loss="xent"),
            "OutputLayer: XENT is a loss of probabilities, but ReLU gives values from 0 to inf. Use "
            "activation='softmax' or 'sigmoid', another loss, or list(..., validate_output_layer_config=False).",
        ),
    ],
)
def test_output_layers_that_make_no_sense(options, message):
    layer, input_type = OutputLayer(**options), InputType.feed_forward(4)
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}") as caught:
        NeuralNetConfiguration().list(DenseLayer(n_out=2), layer, input_type=input_type)
    assert caught.value.__notes__ == ["in layer 1 of 2 (OutputLayer)"]
    conf = NeuralNetConfiguration().list(layer, input_type=input_type, validate_output_layer_config=False)
    MultiLayerNetwork(conf).init().output(np.ones((2, 4)))


# Options


def test_none_is_the_default():
    names = [field.name for field in dataclasses.fields(NeuralNetConfiguration)]
    conf = NeuralNetConfiguration(**dict.fromkeys(names) | {"seed": 1})
    assert conf == NeuralNetConfiguration(seed=1)


@pytest.mark.parametrize("name", ["mini_batch", "strict", "weight_decay_apply_lr"])
@pytest.mark.parametrize("value", ["no", 1])
def test_flags_are_true_or_false(name, value):
    message = f"NeuralNetConfiguration: {name}={value!r} is not True or False."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        NeuralNetConfiguration(**{name: value})


def test_options_set_on_a_layer_by_hand_are_checked_too():
    layer = OutputLayer(n_in=2, n_out=2)
    layer.dropout = 0.0
    with pytest.raises(ConfigurationError, match=r"^OutputLayer: dropout=0\.0 is not in \(0, 1\]\."):
        NeuralNetConfiguration().list(layer)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            OutputLayer(n_out=1, activation="sigmoid"),
            "OutputLayer: MCXENT of n_out=1 output learns to say 1 always. Use n_out=2 with activation='softmax', or "
            "loss='xent' with activation='sigmoid'.",
        ),
        (
            OutputLayer(n_out=3, loss=MCXENT(weights=(1, 2))),
            "OutputLayer: MCXENT has 2 weights for 3 outputs. Give one weight for each output.",
        ),
    ],
)
def test_losses_that_do_not_fit_the_outputs(layer, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}"):
        NeuralNetConfiguration().list(layer, input_type=InputType.feed_forward(4))


@dataclasses.dataclass(frozen=True)
class Halved(BaseDropout):
    """A user's dropout in plain NumPy: what training multiplies by 1/2."""

    @property
    def is_active(self):
        return True

    def forward(self, x, *, out, noise, rng, channel_axis=1, empty=np.empty):
        assert {type(array) for array in (x, out, noise)} == {WorkspaceArray}
        noise[...] = 0.5
        out[...] = x * noise

    def backward(self, epsilon, *, noise):
        assert type(epsilon) is type(noise) is WorkspaceArray
        epsilon *= noise


@dataclasses.dataclass(frozen=True)
class Half(Updater):
    """A user's updater in plain NumPy: half the gradient."""

    def step(self, gradient, state, scratch, iteration, epoch=0):
        assert type(gradient) is WorkspaceArray
        gradient[...] = gradient * 0.5


@dataclasses.dataclass(frozen=True)
class AtMost(Constraint):
    """A user's constraint in plain NumPy: no element above a bound."""

    bound: float = 0.1

    def check_shape(self, shape):
        pass

    def apply(self, parameter, *, empty=np.empty):
        assert type(parameter) is WorkspaceArray
        parameter[...] = np.minimum(parameter, self.bound)


@pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
def test_rules_of_users_are_handed_attached_arrays(mode):
    def make(**options):
        return softmax_network(DenseLayer(n_out=9, activation="tanh"), mode=mode, dtype="float64", **options)

    x, y = data()
    net, same = make(updater=Half()), make(updater=Sgd(0.5))
    for each in (net, same):
        each.fit(x, y)
    assert net.params.tobytes() == same.params.tobytes()
    net = make(dropout=Halved())
    assert gradient_error(net, DataSet(x, y)) < 1e-6
    bounded = make(updater=Half(), constrain_weights=AtMost())
    for _ in range(3):
        bounded.fit(x, y)
    assert bounded.param_table()["0_W"].max() == bounded.param_table()["1_W"].max() == 0.1


def test_images_without_the_axis_of_channels_are_told_how_to_get_it():
    conf = NeuralNetConfiguration().list(OutputLayer(n_out=2), input_type=InputType.convolutional(4, 4, 1))
    message = (
        "features have shape (8, 4, 4), expected (batch, 1, 4, 4). Add the axis of the channels: np.expand_dims(x, 1)."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        MultiLayerNetwork(conf).init().output(np.ones((8, 4, 4)))
