"""check_layer and check_gradient: they pass what is right and catch what is wrong."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from networks import Scale

from minidl import ArrayType, Layer, ParamSpec, check_layer
from minidl.check import allocated_bytes, check_gradient
from minidl.errors import LayerError, ShapeError, WorkspaceError
from minidl.layers import DenseLayer, LossLayer, OutputLayer
from minidl.workspaces import workspace_manager


@dataclass
class Shift(Layer):
    """Add a parameter to every column."""

    def param_specs(self, input_type):
        return (ParamSpec("s", (input_type.size,), 0.5),)

    def activate(self, x, *, training, workspace_mgr):
        return x + self.params["s"]

    def backprop(self, epsilon, *, workspace_mgr):
        np.sum(epsilon, axis=0, out=workspace_mgr.gradient("s"))
        return epsilon


@dataclass
class OffByAThousandth(Scale):
    def backprop(self, epsilon, *, workspace_mgr):
        return epsilon * (self.factor * 1.001)


@dataclass
class WrongParameterGradient(Shift):
    def backprop(self, epsilon, *, workspace_mgr):
        np.sum(epsilon * 1.001, axis=0, out=workspace_mgr.gradient("s"))
        return epsilon


@dataclass
class OnTheHeap(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return np.array(x.tolist()) * self.factor


@dataclass
class ForgetsToWrite(Scale):
    def backprop(self, epsilon, *, workspace_mgr):
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, epsilon.shape)
        d_x[1:] = epsilon[1:] * self.factor
        return d_x


@dataclass
class WrongShape(Scale):
    def activate(self, x, *, training, workspace_mgr):
        return x[:, :1] * self.factor


def test_scale_passes_with_nothing_to_complain_of():
    report = check_layer(Scale(), strict=True)
    assert report.parameter_error is None
    assert report.input_error < 1e-6
    assert (report.copied_in, report.spilled_bytes) == (0, 0)
    assert "gradient of the input       right" in str(report)


@pytest.mark.parametrize(
    "layer", [Shift(), DenseLayer(n_out=3, activation="gelu"), OutputLayer(n_out=3, activation="softmax")]
)
def test_a_layer_with_parameters_passes(layer):
    report = check_layer(layer)
    assert 0 <= report.parameter_error < 1e-6
    assert 0 <= report.input_error < 1e-6


def test_a_loss_layer_passes():
    assert check_layer(LossLayer(activation="softmax", loss="mcxent")).input_error < 1e-6


@pytest.mark.parametrize("layer", [OffByAThousandth(), WrongParameterGradient()])
def test_an_error_of_a_thousandth_is_caught(layer):
    pattern = r"the gradient is wrong: along a random direction it says .*Check backprop\(\) against activate\(\)\."
    with pytest.raises(LayerError, match=pattern):
        check_layer(layer)


def test_a_heap_array_is_reported_and_under_strict_raises():
    report = check_layer(OnTheHeap())
    assert report.copied_in == 1
    assert "1 copied from the heap every step" in str(report)
    with pytest.raises(
        WorkspaceError, match=r"layer 1 \(OnTheHeap\): array \(ACTIVATIONS\) workspace validation failed"
    ):
        check_layer(OnTheHeap(), strict=True)


def test_memory_that_is_not_written_is_caught():
    with pytest.raises(LayerError, match=r"the gradient is wrong|the gradient differs between modes NONE and ENABLED"):
        check_layer(ForgetsToWrite())


def test_a_wrong_shape_is_caught():
    message = (
        "layer 1 (WrongShape) returned activations of shape (4, 1), expected (4, 5) from its output_type(). "
        "Return that shape, or change output_type()."
    )
    with pytest.raises(ShapeError, match=re.escape(message)):
        check_layer(WrongShape())


def test_what_is_no_layer_is_refused():
    message = "check_layer() takes an object of a class derived from Layer, got <class "
    with pytest.raises(LayerError, match=re.escape(message)):
        check_layer(Scale)


def test_the_debug_switch_and_the_layer_are_left_as_they_were():
    layer = Shift(dropout=0.5)
    check_layer(layer)
    assert workspace_manager.poison_recycled_memory is False
    assert layer.dropout == 0.5
    assert layer.params == {}


def test_check_gradient_restores_the_parameters_also_after_an_error(rng):
    parameters = np.arange(3.0)

    def loss():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        check_gradient(loss, parameters, np.zeros(3), rng=rng)
    np.testing.assert_array_equal(parameters, [0, 1, 2])


def test_check_gradient_of_a_quadratic(rng):
    p = rng.standard_normal(7)
    assert check_gradient(lambda: float(p @ p), p, 2 * p, rng=rng) < 1e-6
    with pytest.raises(LayerError, match="the gradient is wrong"):
        check_gradient(lambda: float(p @ p), p, 2.002 * p, rng=rng)


def test_allocated_bytes_sees_an_array_and_nothing_where_there_is_none():
    out = np.empty(100_000)
    assert allocated_bytes(lambda: np.ones(100_000)) >= 800_000
    assert allocated_bytes(lambda: np.add(out, 1, out=out)) < 10_000
