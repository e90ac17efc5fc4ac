"""Layers that users write with parameters and fields of their own."""

import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from custom_networks import N, Scale, batch, network

from minidl import InputType, Layer, MultiLayerConfiguration, MultiLayerNetwork, NeuralNetConfiguration, ParamSpec
from minidl.errors import ConfigurationError
from minidl.functions import WeightInit
from minidl.layers import DenseLayer
from minidl.workspaces import WorkspaceArray

each_position = pytest.mark.parametrize("position", ["first", "middle", "last but one"])
each_mode = pytest.mark.parametrize("mode", ["NONE", "ENABLED"])


@dataclass
class Affine(Layer):
    """A dense layer in plain NumPy, with the order of its weights as an option."""

    n_out: int = N
    order: str = "F"
    regularizable: bool = True
    weight_init: WeightInit | None = None  # filled in by the configuration, as in built-in layers

    def output_type(self, input_type):
        return InputType.feed_forward(self.n_out)

    def param_specs(self, input_type):
        weights = ParamSpec("W", (input_type.size, self.n_out), self.weight_init, self.order, self.regularizable)
        return (weights, ParamSpec("b", (self.n_out,), regularizable=False))

    def activate(self, x, *, training, workspace_mgr):
        workspace_mgr.save_for_backprop(x)
        return x @ self.params["W"] + self.params["b"]

    def backprop(self, epsilon, *, workspace_mgr):
        (x,) = workspace_mgr.saved()
        workspace_mgr.gradient("W")[...] = x.T @ epsilon
        workspace_mgr.gradient("b")[...] = epsilon.sum(axis=0)
        return epsilon @ self.params["W"].T


@each_position
@each_mode
@pytest.mark.parametrize("order", ["C", "F"])
def test_custom_layer_with_parameters_trains_as_a_dense_layer(position, mode, order):
    built_in = network(DenseLayer(n_out=N, activation="identity"), position, l2=0.1, l1_bias=0.1, dtype="float64")
    options = {"training_workspace_mode": mode, "strict": True, "dtype": "float64"}
    custom = network(Affine(order=order), position, l2=0.1, l1_bias=0.1, **options)
    for iteration in range(20):
        custom.fit(*batch(seed=iteration))
        built_in.fit(*batch(seed=iteration))
    for name, value in custom.param_table().items():
        np.testing.assert_allclose(value, built_in.param_table()[name], rtol=1e-9, atol=1e-12)


def test_order_of_a_parameter_is_that_of_its_elements_in_the_vector():
    for order in "CF":
        net = network(Affine(order=order), "first")
        np.testing.assert_array_equal(net.params[: N * N], net.layers[0].params["W"].ravel(order))


def test_parameter_that_is_not_regularizable_has_no_l2():
    plain, penalized = (network(Affine(regularizable=False), "first", l2=l2) for l2 in (0.0, 0.5))
    for net in (plain, penalized):
        net.fit(*batch())
    weights = [net.param_table() for net in (plain, penalized)]
    np.testing.assert_array_equal(weights[0]["0_W"], weights[1]["0_W"])
    assert np.abs(weights[0]["1_W"] - weights[1]["1_W"]).max() > 1e-3


@dataclass
class RunningMean(Layer):
    """Subtract the running mean of the columns; its gradient is the update of that mean."""

    def param_specs(self, input_type):
        return (ParamSpec("mean", (input_type.size,), init=1, trainable=False),)

    def activate(self, x, *, training, workspace_mgr):
        workspace_mgr.save_for_backprop(x)
        return x - self.params["mean"]

    def backprop(self, epsilon, *, workspace_mgr):
        (x,) = workspace_mgr.saved()
        workspace_mgr.gradient("mean")[...] = 0.1 * (self.params["mean"] - x.mean(axis=0))
        return epsilon


@pytest.mark.parametrize("normalization", ["None", "ClipL2PerLayer"])
def test_gradient_of_what_is_not_trainable_is_subtracted_as_it_is(normalization):
    net = network(RunningMean(), "first", l2=0.5, strict=True, gradient_normalization=normalization)
    x, y = batch()
    net.fit(x, y)
    np.testing.assert_allclose(net.param_table()["0_mean"], 1 - 0.1 * (1 - x.mean(axis=0)), rtol=1e-6)


def test_users_are_handed_workspace_arrays():
    kinds = []

    class Watcher(Affine):
        def activate(self, x, *, training, workspace_mgr):
            kinds.append({type(x), *map(type, self.params.values())})
            return super().activate(x, training=training, workspace_mgr=workspace_mgr)

        def backprop(self, epsilon, *, workspace_mgr):
            kinds.append({type(epsilon), type(workspace_mgr.gradient("W")), *map(type, workspace_mgr.saved())})
            return super().backprop(epsilon, workspace_mgr=workspace_mgr)

    for position in ("first", "middle"):
        network(Watcher(), position).fit(*batch()).output(batch()[0])
    assert kinds
    assert all(kind == {WorkspaceArray} for kind in kinds)


def test_nothing_of_a_call_is_kept_on_a_layer():
    net = network(Affine())
    before = dict(vars(net.layers[1]))
    net.fit(*batch()).output(batch()[0])
    after = vars(net.layers[1])
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


# Configuration


@dataclass
class Weighted(Scale):
    """A layer with a field that can be changed from outside."""

    table: list = field(default_factory=lambda: [1, {"a": np.ones(2)}])
    inner: Scale = field(default_factory=Scale)


def test_fields_that_can_change_are_copied():
    layer = Weighted()
    conf = NeuralNetConfiguration().list(layer, layer, input_type=InputType.feed_forward(N))
    layer.table[1]["a"][0], layer.inner.factor = 7, 9.0
    layer.table.append(3)
    for copied in conf.layers:
        assert len(copied.table) == 2
        np.testing.assert_array_equal(copied.table[1]["a"], [1, 1])
        assert copied.inner.factor == 2.0


def test_json_of_a_custom_layer():
    conf = network(Affine(n_out=N, order="C", name="mine", l2=0.5), strict=True).conf
    same = MultiLayerConfiguration.from_json(conf.to_json())
    assert same == conf
    assert type(same.layers[1]) is Affine
    assert MultiLayerNetwork(same).init().params.tobytes() == MultiLayerNetwork(conf).init().params.tobytes()


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (
            (ParamSpec("W", (2,)), ParamSpec("W", (3,))),
            "Odd.param_specs() returned the names ['W', 'W'], of which some are equal. Give every parameter of a layer "
            "a name of its own.",
        ),
        (
            (("W", (2,)),),
            "Odd.param_specs() returned (('W', (2,)),), expected a tuple of ParamSpec. For one parameter, write "
            '(ParamSpec("W", shape),).',
        ),
    ],
)
def test_parameters_that_cannot_be(specs, message):
    odd = type("Odd", (Scale,), {"param_specs": lambda self, input_type: specs})()
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}") as caught:
        network(odd)
    assert caught.value.__notes__ == ["in layer 1 of 4 (Odd)"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (3, 0)}, "ParamSpec 'W': an extent=0 is not a whole number of at least 1."),
        ({"shape": (3, None)}, "ParamSpec 'W': an extent=None is not a whole number of at least 1."),
        ({"order": "K"}, "ParamSpec 'W': order='K' is not known. Choose \"C\" or \"F\"."),
    ],
)
def test_param_spec_that_cannot_be(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        ParamSpec(**{"name": "W", "shape": (3, 2)} | options)
