"""Activations and losses that users write, inside minidl's layers."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from gradients import gradient_error

from minidl import InputType, MultiLayerConfiguration, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import DataSet
from minidl.errors import LayerError, ShapeError
from minidl.functions import MCXENT, Activation, ElementwiseLoss, Loss, Softmax
from minidl.layers import ActivationLayer, DenseLayer, LossLayer, OutputLayer
from minidl.training import Adam
from minidl.workspaces import WorkspaceArray, workspace_manager


class Cubed(Activation):
    """a = z^3, as new arrays."""

    def forward(self, z, *, out, empty):
        return z * z * z

    def backward(self, kept, epsilon, *, out, empty):
        return 3 * kept * kept * epsilon


class CubeInPlace(Activation):
    """a = z^3, written into ``out`` before all of z was read."""

    def forward(self, z, *, out, empty):
        np.multiply(z, z, out=out)
        out *= z
        return out

    def backward(self, kept, epsilon, *, out, empty):
        slope = empty(kept.shape, kept.dtype)
        np.multiply(kept, kept, out=slope)
        slope *= 3
        return np.multiply(epsilon, slope, out=out)


class CubeFromOutput(Activation):
    """a = z^3, of which the derivative is taken from a."""

    keeps = "output"

    def forward(self, z, *, out, empty):
        out[...] = z**3
        return z * np.square(z)

    def backward(self, kept, epsilon, *, out, empty):
        return 3 * np.cbrt(kept) ** 2 * epsilon


class CubeInFloat64(Activation):
    """a = z^3, in another type."""

    def forward(self, z, *, out, empty):
        return np.power(z, 3, dtype=np.float64)

    def backward(self, kept, epsilon, *, out, empty):
        return np.multiply(3 * kept * kept, epsilon, dtype=np.float64)


class PassesOn(Activation):
    """a = z, by returning what it was given."""

    def forward(self, z, *, out, empty):
        return z

    def backward(self, kept, epsilon, *, out, empty):
        return epsilon


class MySoftmax(Softmax):
    """A subclass of a built-in class, which is not fused with any loss."""


class SquaredError(Loss):
    """The sum of squares, as new arrays."""

    def scores(self, labels, output, *, out, mask=None, empty=np.empty):
        squares = (output - labels) ** 2
        return squares.sum(axis=1) if mask is None else (squares * mask).sum(axis=1)

    def gradient(self, labels, output, *, out, mask=None, empty=np.empty):
        gradient = 2 * (output - labels)
        return gradient if mask is None else gradient * mask


class SquaredErrorByElement(ElementwiseLoss):
    """The sum of squares, element by element."""

    def element_losses(self, labels, output, *, out, empty):
        return (output - labels) ** 2

    def element_gradient(self, labels, output, *, out, empty):
        return 2 * (output - labels)


@dataclass(frozen=True)
class SmoothedCrossEntropy(MCXENT):
    """A subclass of a loss that is fused with softmax; its own gradient must count."""

    smoothing: float = 0.2

    def element_losses(self, labels, output, *, out, empty):
        return super().element_losses(self.smoothed(labels), output, out=out, empty=empty)

    def element_gradient(self, labels, output, *, out, empty):
        return super().element_gradient(self.smoothed(labels), output, out=out, empty=empty)

    def smoothed(self, labels):
        return labels * (1 - self.smoothing) + self.smoothing / labels.shape[1]


CUBES = [Cubed, CubeInPlace, CubeFromOutput, CubeInFloat64]
each_mode = pytest.mark.parametrize("mode", ["NONE", "ENABLED"])


def network(*layers, **options):
    options = {"seed": 3, "updater": Adam(0.01), "strict": True} | options
    return MultiLayerNetwork(
        NeuralNetConfiguration(**options).list(*layers, input_type=InputType.feed_forward(5))
    ).init()


def batch(rows=6, seed=0, dtype="float32", mask=False):
    rng = np.random.default_rng(seed)
    labels = np.eye(3, dtype=dtype)[rng.integers(0, 3, rows)]
    return DataSet(rng.standard_normal((rows, 5)).astype(dtype), labels, labels_mask=labels if mask else None)


def places(activation):
    """Return stacks of layers with the activation in each kind of layer that has one."""
    return {
        "dense": [DenseLayer(n_out=4, activation=activation), OutputLayer(n_out=3)],
        "activation layer": [DenseLayer(n_out=4, activation="tanh"), ActivationLayer(activation), OutputLayer(n_out=3)],
        "output": [DenseLayer(n_out=4, activation="tanh"), OutputLayer(n_out=3, activation=activation, loss="mse")],
        "loss layer": [DenseLayer(n_out=3, activation="tanh"), LossLayer(activation=activation, loss="mse")],
    }


def trained(*layers, mode="ENABLED", mask=False, **options):
    net = network(*layers, training_workspace_mode=mode, inference_workspace_mode=mode, **options)
    for iteration in range(10):
        net.fit(batch(6 if iteration % 3 else 2, iteration, net.conf.dtype, mask))
    return net.params, net.output(batch(dtype=net.conf.dtype).features), net.score()


def assert_same_bits(first, second):
    assert [np.asarray(part).tobytes() for part in first] == [np.asarray(part).tobytes() for part in second]


@pytest.mark.parametrize("place", places(None))
@pytest.mark.parametrize("cls", [*CUBES, PassesOn, MySoftmax])
def test_gradient_through_an_activation(cls, place):
    net = network(*places(cls())[place], dtype="float64")
    assert gradient_error(net, batch(dtype="float64")) < 1e-6


@pytest.mark.parametrize("place", places(None))
@pytest.mark.parametrize("cls", [*CUBES, PassesOn, MySoftmax])
def test_activation_gives_the_same_bits_in_both_modes(cls, place, monkeypatch):
    expected = trained(*places(cls)[place], mode="NONE")
    assert_same_bits(trained(*places(cls)[place]), expected)
    monkeypatch.setattr(workspace_manager, "poison_recycled_memory", True)
    assert_same_bits(trained(*places(cls)[place]), expected)


@pytest.mark.parametrize("place", places(None))
def test_all_ways_to_write_an_activation_give_the_same_numbers(place):
    first, *others = (trained(*places(cls)[place], dtype="float64") for cls in CUBES)
    for other in others:
        for part, same in zip(first, other, strict=True):
            np.testing.assert_allclose(part, same, rtol=1e-8, atol=1e-10)


def test_activation_that_passes_on_is_identity():
    for place, layers in places(PassesOn).items():
        assert_same_bits(trained(*layers), trained(*places("identity")[place]))


@each_mode
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("loss", [SquaredError, SquaredErrorByElement])
@pytest.mark.parametrize("kind", [OutputLayer, LossLayer])
def test_loss_gives_the_numbers_of_the_built_in_one(kind, loss, mask, mode):
    size = {"n_out": 3} if kind is OutputLayer else {}
    before = DenseLayer(n_out=3, activation="tanh")
    for activation in ("sigmoid", Cubed()):
        own = trained(before, kind(activation=activation, loss=loss, **size), mask=mask, mode=mode, dtype="float64")
        built_in = trained(before, kind(activation=activation, loss="l2", **size), mask=mask, dtype="float64")
        for part, same in zip(own, built_in, strict=True):
            np.testing.assert_allclose(part, same, rtol=1e-10)


def test_overridden_loss_is_not_differentiated_by_the_fused_gradient_of_its_base():
    net = network(OutputLayer(n_out=3, loss=SmoothedCrossEntropy(smoothing=0.3)), dtype="float64")
    assert gradient_error(net, batch(dtype="float64")) < 1e-6


def test_overridden_activation_is_not_differentiated_by_the_fused_gradient_of_its_base():
    class Sharpened(Softmax):
        def forward(self, z, *, out, empty=np.empty):
            return super().forward(2 * z, out=out, empty=empty)

        def backward(self, kept, epsilon, *, out, empty=np.empty):
            return 2 * super().backward(kept, epsilon, out=out, empty=empty)

    net = network(OutputLayer(n_out=3, activation=Sharpened), dtype="float64")
    assert gradient_error(net, batch(dtype="float64")) < 1e-6


def test_subclass_that_changes_nothing_keeps_the_fused_gradient():
    class Same(MCXENT):
        pass

    net = network(OutputLayer(n_out=3, loss=Same))
    net.params[:] *= 1e4  # probabilities of 0: only p - y is exact
    data = batch()
    net.compute_gradient_and_score(data)
    d_z = net.output(data.features) - data.labels
    np.testing.assert_allclose(net.gradient[-3:], d_z.sum(axis=0), atol=1e-6)


def test_users_are_handed_workspace_arrays():
    kinds = []

    class WatchedCube(Cubed):
        def forward(self, z, *, out, empty):
            kinds.append({type(z), type(out)})
            return super().forward(z, out=out, empty=empty)

        def backward(self, kept, epsilon, *, out, empty):
            kinds.append({type(kept), type(epsilon), type(out)})
            return super().backward(kept, epsilon, out=out, empty=empty)

    class WatchedError(SquaredError):
        def scores(self, labels, output, *, out, mask=None, empty=np.empty):
            kinds.append({type(labels), type(output), type(mask)})
            return super().scores(labels, output, out=out, mask=mask, empty=empty)

        def gradient(self, labels, output, *, out, mask=None, empty=np.empty):
            kinds.append({type(labels), type(output), type(mask), type(out)})
            return super().gradient(labels, output, out=out, mask=mask, empty=empty)

    net = network(DenseLayer(n_out=4, activation=WatchedCube), OutputLayer(n_out=3, loss=WatchedError))
    net.fit(batch(mask=True)).output(batch().features)
    assert len(kinds) > 4
    assert all(kind == {WorkspaceArray} for kind in kinds)


def test_temporaries_stay_in_the_workspaces():
    layers = DenseLayer(n_out=4, activation=Cubed), OutputLayer(n_out=3, loss=SquaredError)
    net = network(*layers)
    net.fit(batch())
    spilled = [w.spilled_size for w in workspace_manager.get_all_workspaces_for_current_thread()]
    for iteration in range(5):
        net.fit(batch(seed=iteration))
    assert [w.spilled_size for w in workspace_manager.get_all_workspaces_for_current_thread()] == spilled


def test_json_of_own_functions():
    conf = network(
        DenseLayer(n_out=4, activation=Cubed), OutputLayer(n_out=3, loss=SmoothedCrossEntropy(None, 0.5))
    ).conf
    assert MultiLayerConfiguration.from_json(conf.to_json()) == conf


@each_mode
@pytest.mark.parametrize(
    ("owner", "method", "result", "error", "message"),
    [
        (
            Cubed,
            "forward",
            lambda z, **_: None,
            LayerError,
            "Wrong.forward returned NoneType instead of an array. Return the result, or write it into `out` and return "
            "`out`.",
        ),
        (
            Cubed,
            "backward",
            lambda kept, epsilon, **_: epsilon[:, :2],
            ShapeError,
            "Wrong.backward returned shape (6, 2), expected (6, 3). Return an array of the shape of `out`.",
        ),
        (
            SquaredError,
            "gradient",
            lambda labels, output, **_: output.sum(axis=1),
            ShapeError,
            "Wrong.gradient returned shape (6,), expected (6, 3). Return an array of the shape of `out`.",
        ),
    ],
)
def test_result_that_cannot_be(owner, method, result, error, message, mode):
    def wrong(self, *arrays, **options):
        return result(*arrays, **options)

    wrong.__name__ = method
    wrong_one = type("Wrong", (owner,), {method: wrong})()
    functions = {"loss": "l2"} | {"activation" if owner is Cubed else "loss": wrong_one}
    net = network(OutputLayer(n_out=3, **functions), training_workspace_mode=mode)
    before = net.params.copy()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        net.fit(batch())
    np.testing.assert_array_equal(net.params, before)
    workspace_manager.assert_no_workspaces_open("after the error")


class RandomSlope(Activation):
    """a = s z with a random s for each element, in plain NumPy; 1 at inference."""

    keeps = "slope"
    draws = True

    def forward(self, z, *, out, empty):
        return z * 1.0

    def training_forward(self, z, *, kept, out, rng, empty):
        assert type(z) is type(kept) is type(out) is WorkspaceArray
        kept[...] = rng.uniform(0.5, 1.5, z.shape)
        return z * kept

    def backward(self, kept, epsilon, *, out, empty):
        return epsilon * kept


class RandomNothing(RandomSlope):
    """Forgets to return its result."""

    def training_forward(self, z, *, kept, out, rng, empty):
        kept[...] = 1.0


def drawing_network(activation, mode="ENABLED"):
    conf = NeuralNetConfiguration(
        seed=1, dtype="float64", training_workspace_mode=mode, inference_workspace_mode=mode
    ).list(
        DenseLayer(n_out=4, activation=activation),
        ActivationLayer(activation),
        OutputLayer(n_out=3),
        input_type=InputType.feed_forward(5),
    )
    return MultiLayerNetwork(conf).init()


def test_activation_of_a_user_that_draws():
    data = DataSet(np.random.default_rng(0).standard_normal((6, 5)), np.eye(3)[[0, 1, 2, 0, 1, 2]])
    results = []
    for mode in ("NONE", "ENABLED"):
        net = drawing_network(RandomSlope(), mode)
        assert gradient_error(net, data) < 1e-6
        assert not np.array_equal(net.output(data.features, train=True), net.output(data.features))
        for _ in range(10):
            net.fit(data)
        results.append(net.params.tobytes())
    assert results[0] == results[1]


def test_activation_that_draws_and_returns_nothing_is_named():
    message = "RandomNothing.training_forward returned NoneType instead of an array. "
    with pytest.raises(LayerError, match=f"^{re.escape(message)}"):
        drawing_network(RandomNothing()).fit(np.ones((2, 5)), np.eye(3)[[0, 1]])
