"""Layers that users write: what works without further ado, and what the errors say."""

import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from custom_networks import N, Scale, batch, network, trained
from gradients import gradient_error

from minidl import ArrayType, InputType, Layer, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import DataSet
from minidl.errors import LayerError, PlacementWarning, ShapeError, WorkspaceError
from minidl.layers import DenseLayer, OutputLayer
from minidl.workspaces import workspace_manager

# The same mathematics, written in other ways. All must give the bits of Scale.


class WritesIntoPlace(Scale):
    def activate(self, x, *, training, workspace_mgr):
        out = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, x.shape)
        return np.multiply(x, self.factor, out=out)

    def backprop(self, epsilon, *, workspace_mgr):
        out = workspace_mgr.create(ArrayType.ACTIVATION_GRAD, epsilon.shape)
        return np.multiply(epsilon, self.factor, out=out)


class UsesWorkingMemory(Scale):
    def activate(self, x, *, training, workspace_mgr):
        out = workspace_mgr.create(ArrayType.FF_WORKING_MEM, x.shape)
        out += x
        out *= self.factor
        return out

    def backprop(self, epsilon, *, workspace_mgr):
        epsilon *= self.factor  # it may be overwritten
        return epsilon


class ReturnsWhatItSaved(Scale):
    def activate(self, x, *, training, workspace_mgr):
        y = x * self.factor
        workspace_mgr.save_for_backprop(y, x, self.factor, None)
        return y

    def backprop(self, epsilon, *, workspace_mgr):
        saved, _, factor, nothing = workspace_mgr.saved()
        assert nothing is None
        np.multiply(epsilon, factor, out=saved)
        return saved


class ReturnsFloat64(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return np.multiply(x, self.factor, dtype=np.float64)

    def backprop(self, epsilon, *, workspace_mgr):
        return np.multiply(epsilon, self.factor, dtype=np.float64)


class ReturnsViews(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return (x.T * self.factor).T[::-1][::-1]

    def backprop(self, epsilon, *, workspace_mgr):
        return (np.concatenate([epsilon, epsilon], axis=1) * self.factor)[:, : epsilon.shape[1]]


class ReturnsFortranOrder(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return (x.T * self.factor).T

    def backprop(self, epsilon, *, workspace_mgr):
        return (epsilon.T * self.factor).T


class LoopsOverRows(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return np.stack([row * self.factor for row in x])

    def backprop(self, epsilon, *, workspace_mgr):
        return np.stack([row * self.factor for row in epsilon])


PLACED = [
    Scale,
    WritesIntoPlace,
    UsesWorkingMemory,
    ReturnsWhatItSaved,
    ReturnsFloat64,
    ReturnsViews,
    LoopsOverRows,
    ReturnsFortranOrder,
]


class OnTheHeap(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return np.array(x.tolist(), np.float32) * self.factor

    def backprop(self, epsilon, *, workspace_mgr):
        return np.array(epsilon.tolist(), np.float64) * self.factor


@dataclass
class PassesOn(Layer):
    """Return the input itself."""

    def activate(self, x, *, training, workspace_mgr):
        workspace_mgr.save_for_backprop(x)
        return x

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon


@dataclass
class ReversesColumns(Layer):
    """Return a view of the input."""

    def activate(self, x, *, training, workspace_mgr):
        return x[:, ::-1]

    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon[:, ::-1]


each_position = pytest.mark.parametrize("position", ["first", "middle", "last but one"])
each_mode = pytest.mark.parametrize("mode", ["NONE", "ENABLED"])


@each_position
@each_mode
@pytest.mark.parametrize("cls", PLACED)
def test_scale_in_any_form_gives_the_same_bits_without_a_warning(cls, position, mode):
    assert trained(cls(), position, mode, strict=True) == trained(Scale(), position, "NONE")


@each_position
@pytest.mark.parametrize("cls", [*PLACED, PassesOn, ReversesColumns])
def test_recycled_memory_full_of_nan_changes_nothing(cls, position, monkeypatch):
    expected = trained(cls(), position)
    monkeypatch.setattr(workspace_manager, "poison_recycled_memory", True)
    assert trained(cls(), position, strict=True) == expected


@each_position
@each_mode
def test_input_may_be_returned_as_it_is(position, mode):
    assert trained(PassesOn(), position, mode, strict=True) == trained(Scale(1.0), position, "NONE")


@each_position
@each_mode
def test_view_of_the_input_may_be_returned(position, mode):
    assert trained(ReversesColumns(), position, mode, strict=True) == trained(ReversesColumns(), position, "NONE")
    net = network(ReversesColumns(), position, dtype="float64")
    assert gradient_error(net, DataSet(*batch(dtype="float64"))) < 1e-6


@each_position
@pytest.mark.parametrize("cls", [*PLACED, PassesOn])
def test_dropout_in_front_of_a_custom_layer(cls, position):
    assert trained(cls(dropout=0.6), position, "NONE") == trained(cls(dropout=0.6), position, "ENABLED", strict=True)
    net = network(cls(dropout=0.6), position, dtype="float64")
    assert gradient_error(net, DataSet(*batch(dtype="float64"))) < 1e-6


@each_position
def test_heap_array_is_copied_in_and_warned_about_once(position):
    index = 0 if position == "first" else 1
    message = (
        f"layer {index} (OnTheHeap): array (ACTIVATIONS) workspace validation failed: it should be in workspace "
        '"WS_ALL_LAYERS_ACT" but is detached, so it was allocated on the heap. Compute it from the arrays that the '
        "layer is handed, or create it with workspace_mgr.create(ArrayType.ACTIVATIONS, shape). minidl copies it in, "
        "every time."
    )
    net, same = network(OnTheHeap(), position), network(Scale(), position)
    with pytest.warns(PlacementWarning, match=f"^{re.escape(message)}$"):
        net.fit(*batch())
    same.fit(*batch())
    for iteration in range(5):  # a second warning would be an error
        net.fit(*batch(6, iteration))
        same.fit(*batch(6, iteration))
    assert net.params.tobytes() == same.params.tobytes()


def test_heap_array_is_an_error_under_strict():
    net = network(OnTheHeap(name="heap"), strict=True)
    before = net.params.copy()
    message = (
        "layer 1 (heap): array (ACTIVATIONS) workspace validation failed: it should be in workspace "
        '"WS_ALL_LAYERS_ACT" but is detached, so it was allocated on the heap. Compute it from the arrays that the '
        "layer is handed, or create it with workspace_mgr.create(ArrayType.ACTIVATIONS, shape)."
    )
    with pytest.raises(WorkspaceError, match=f"^{re.escape(message)}") as caught:
        net.fit(*batch())
    assert caught.value.code == "E20"
    np.testing.assert_array_equal(net.params, before)
    workspace_manager.assert_no_workspaces_open("after the error")


def test_heap_array_is_nothing_special_without_workspaces():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trained(OnTheHeap(), mode="NONE", strict=True) == trained(Scale(), mode="NONE")


def replaced(method, function):
    """Return a Scale of which ``method`` returns what ``function`` makes of its argument."""

    def replacement(self, array, **options):
        return function(array)

    return type("Wrong", (Scale,), {method: replacement})()


@each_mode
@pytest.mark.parametrize(
    ("method", "function", "error", "message"),
    [
        (
            "activate",
            lambda x: None,
            LayerError,
            "layer 1 (Wrong) returned NoneType instead of an array. Return the activations from activate(), and "
            "dL/dinput from backprop().",
        ),
        (
            "backprop",
            lambda x: None,
            LayerError,
            "layer 1 (Wrong) returned NoneType instead of an array. Return the activations from activate(), and "
            "dL/dinput from backprop().",
        ),
        (
            "activate",
            lambda x: x[:, :3],
            ShapeError,
            "layer 1 (Wrong) returned activations of shape (6, 3), expected (6, 24) from its output_type(). Return "
            "that shape, or change output_type().",
        ),
        (
            "activate",
            lambda x: x[:3],
            ShapeError,
            "layer 1 (Wrong) returned activations of shape (3, 24), expected (6, 24) from its output_type(). Return "
            "that shape, or change output_type().",
        ),
        (
            "backprop",
            lambda x: x[:, :3],
            ShapeError,
            "layer 1 (Wrong) returned a gradient of shape (6, 3) from backprop, expected the shape of its input, "
            "(6, 24). Return dL/dx.",
        ),
    ],
)
def test_result_that_cannot_be(method, function, error, message, mode):
    net = network(replaced(method, function), training_workspace_mode=mode)
    before = net.params.copy()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        net.fit(*batch())
    np.testing.assert_array_equal(net.params, before)
    workspace_manager.assert_no_workspaces_open("after the error")


class DoubledDense(DenseLayer):
    """A subclass that calls the methods of its base."""

    def activate(self, x, *, training, workspace_mgr):
        return super().activate(x, training=training, workspace_mgr=workspace_mgr) * 2

    def backprop(self, epsilon, *, workspace_mgr):
        return super().backprop(epsilon * 2, workspace_mgr=workspace_mgr)


class AsItIs(DenseLayer):
    """A subclass that changes nothing, but is user code all the same."""


@each_position
def test_subclass_of_a_dense_layer(position):
    layer = DoubledDense(n_out=N, activation="tanh", dropout=0.8)
    assert gradient_error(network(layer, position, dtype="float64"), DataSet(*batch(dtype="float64"))) < 1e-6
    assert trained(layer, position, "NONE") == trained(layer, position, strict=True)
    as_it_is, dense = (cls(n_out=N, activation="gelu") for cls in (AsItIs, DenseLayer))
    assert trained(as_it_is, position, strict=True) == trained(dense, position)


def test_layer_without_dataclass_or_constructor_of_its_base():
    class Plain(Layer):
        def __init__(self, factor):
            self.factor = factor

        activate, backprop = Scale.activate, Scale.backprop

    assert trained(Plain(3.0), strict=True) == trained(Scale(3.0), "middle", "NONE")


def test_gradient_of_an_undeclared_parameter():
    class Asks(Scale):
        def backprop(self, epsilon, *, workspace_mgr):
            return epsilon * workspace_mgr.gradient("W")

    message = (
        "layer 1 (Asks) asked for the gradient of 'W', but declares the parameters []. Declare it in param_specs()."
    )
    with pytest.raises(LayerError, match=f"^{re.escape(message)}"):
        network(Asks()).fit(*batch())


def test_layer_that_is_no_output_layer_has_no_score():
    message = "Scale is not an output layer: it has no score. End with OutputLayer or LossLayer."
    with pytest.raises(LayerError, match=f"^{re.escape(message)}$"):
        Scale().score(np.ones(1), mask=None, workspace_mgr=None)
    message = "Scale is not an output layer: it has no loss. End with OutputLayer or LossLayer."
    with pytest.raises(LayerError, match=f"^{re.escape(message)}$"):
        Scale().backprop_labels(np.ones(1), mask=None, workspace_mgr=None)


each_end = pytest.mark.parametrize("before", [[], [DenseLayer(n_out=N)]], ids=["alone", "behind a dense layer"])


def ending_with(layer, before, mode):
    conf = NeuralNetConfiguration(inference_workspace_mode=mode, strict=True, seed=1, activation="tanh")
    return MultiLayerNetwork(conf.list(*before, layer, input_type=InputType.feed_forward(N))).init()


@each_mode
@each_end
@pytest.mark.parametrize("cls", [*PLACED, PassesOn, ReversesColumns])
def test_output_of_a_custom_layer_is_an_array_of_its_own(cls, before, mode):
    net, (x, _) = ending_with(cls(), before, mode), batch()
    expected = np.tanh(x @ net.param_table()["0_W"]) if before else x
    expected = expected[:, ::-1] if cls is ReversesColumns else expected * (1 if cls is PassesOn else 2)
    output = net.output(x)
    into = net.output(x, out=np.empty_like(output))
    net.output(-x)
    for same in (output, into):
        np.testing.assert_allclose(same, expected, rtol=1e-5)
        assert type(same) is np.ndarray
        assert same.flags.c_contiguous
        assert not np.may_share_memory(same, x)


@each_mode
@each_end
@pytest.mark.parametrize("cls", [Scale, PassesOn, ReversesColumns])
def test_activations_of_custom_layers_are_arrays_of_their_own(cls, before, mode):
    net, (x, _) = ending_with(cls(), before, mode), batch()
    activations = net.feed_forward(x)
    np.testing.assert_array_equal(activations[0], x)
    np.testing.assert_array_equal(activations[-1], net.output(x))
    assert all(type(array) is np.ndarray and array.flags.c_contiguous for array in activations)
    arrays = [x, *activations]
    assert not any(np.may_share_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


# What a gradient may be, and what is handed on


CONSTANT = np.full((12, N), 0.25, np.float32)


class GradientOfARowSum(Scale):
    """Its gradient is a read-only view that repeats one column."""

    def activate(self, x, *, training, workspace_mgr):
        workspace_mgr.save_for_backprop(x)
        return x * 1.0 + x.sum(axis=1, keepdims=True) * 0.0

    def backprop(self, epsilon, *, workspace_mgr):
        (x,) = workspace_mgr.saved()
        return np.broadcast_to(epsilon.sum(axis=1, keepdims=True), x.shape)


class ConstantGradient(Scale):
    def backprop(self, epsilon, *, workspace_mgr):
        return CONSTANT


class RepeatsItsOwnMemory(Scale):
    def backprop(self, epsilon, *, workspace_mgr):
        column = workspace_mgr.create(ArrayType.ACTIVATION_GRAD, (len(epsilon), 1))
        column += epsilon.sum(axis=1, keepdims=True)
        return np.broadcast_to(column, epsilon.shape)


@pytest.mark.filterwarnings("ignore::minidl.errors.PlacementWarning")
@pytest.mark.parametrize("cls", [GradientOfARowSum, ConstantGradient, RepeatsItsOwnMemory])
def test_a_gradient_that_is_shared_or_read_only_is_copied_before_the_layer_below_writes_into_it(cls):
    results = []
    for mode in ("NONE", "ENABLED"):
        net = network(cls(), training_workspace_mode=mode, dropout=0.8)
        for _ in range(3):
            net.fit(*batch(12))
        results.append(net.params.tobytes())
    assert results[0] == results[1]
    assert (CONSTANT == 0.25).all()


class WritesIntoItsInput(Scale):
    def activate(self, x, *, training, workspace_mgr):
        x *= self.factor
        return x


@each_mode
@pytest.mark.parametrize("position", ["first", "middle"])
def test_a_layer_that_writes_into_its_input_is_stopped_and_the_data_stays(mode, position):
    net = network(WritesIntoItsInput(), position, training_workspace_mode=mode, inference_workspace_mode=mode)
    x, y = batch()
    before = x.copy()
    for call in (lambda: net.fit(x, y), lambda: net.output(x)):
        with pytest.raises(ValueError, match="output array is read-only") as caught:
            call()
        assert any("WritesIntoItsInput" in note for note in caught.value.__notes__)
    np.testing.assert_array_equal(x, before)


class MakesAMask(Scale):
    """Passes a mask of its own on, computed in plain NumPy."""

    def propagate_mask(self, mask, *, workspace_mgr):
        return mask * 1.0


class ReadsTheMask(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return x * workspace_mgr.mask.reshape(-1, 1)


@each_mode
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_a_mask_that_a_layer_made_reaches_the_layers_behind(mode, dtype):
    layers = [MakesAMask(), Scale(), MakesAMask(), Scale(), Scale(), ReadsTheMask(), DenseLayer(n_out=3)]
    conf = NeuralNetConfiguration(seed=1, training_workspace_mode=mode, inference_workspace_mode=mode)
    net = MultiLayerNetwork(conf.list(*layers, OutputLayer(n_out=3), input_type=InputType.feed_forward(N))).init()
    (x, y), mask = batch(), np.array([1, 0, 1, 1, 0, 1], dtype)
    masked = net.score(DataSet(x, y, mask))
    zeroed = net.score(DataSet(x * mask.astype(np.float32)[:, np.newaxis], y, np.ones(6, dtype)))
    assert masked == zeroed
    assert masked != net.score(DataSet(x, y, np.ones(6, dtype)))
    net.fit(x, y, features_mask=mask)
    net.evaluate(DataSet(x, y, mask))
