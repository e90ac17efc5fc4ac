"""Does a layer keep to the protocol, and is its gradient right? For users' layers and for minidl's own."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .configuration import MultiLayerConfiguration, NeuralNetConfiguration
from .data import DataSet
from .errors import LayerError, PlacementWarning
from .inputs import Convolutional, InputType, Recurrent, channels_last, channels_of
from .layers import CnnLossLayer, Convolution1DLayer, ConvolutionLayer, DenseLayer, Layer, LossLayer, RnnLossLayer
from .layers.base import independent_copy
from .network import MultiLayerNetwork
from .placement import Place
from .training import NoOp
from .workspaces import WorkspaceMode, workspace_manager

__all__ = ["LayerReport", "allocated_bytes", "check_gradient", "check_layer"]

Array = npt.NDArray[Any]
STEP, TOLERANCE = 1e-5, 1e-6
BATCH, TIMESTEPS = 4, 7  # the latter for series of any length


@dataclass(frozen=True)
class LayerReport:
    """What ``check_layer`` found; ``str()`` of it is a table.

    ``parameter_error`` and ``input_error``: largest relative error of a gradient, None where there is none to check.
    ``copied_in``: results that had to be copied from the heap in one training step. ``spilled_bytes``: what a warm step
    asked for beyond its plan. ``allocated_bytes``: growth of Python's peak in a warm step.
    """

    layer: str
    input_type: InputType
    output_type: InputType
    parameter_error: float | None
    input_error: float | None
    copied_in: int
    spilled_bytes: int
    allocated_bytes: int

    def __str__(self) -> str:
        def error(value: float | None) -> str:
            return "none to check" if value is None else f"right, relative error {value:.1e}"

        placement = "in their workspaces" if not self.copied_in else f"{self.copied_in} copied from the heap every step"
        return "\n".join(
            [
                f"{self.layer}: {self.input_type} -> {self.output_type}",
                f"  gradient of the parameters  {error(self.parameter_error)}",
                f"  gradient of the input       {error(self.input_error)}",
                "  saved arrays                same result in modes NONE and ENABLED, and with recycled memory",
                f"  results                     {placement}",
                f"  beyond the plan             {self.spilled_bytes:,} bytes a step",
                f"  newly allocated             {self.allocated_bytes:,} bytes at the peak of a warm step",
            ]
        )


def check_gradient(
    loss: Callable[[], float],
    parameters: Array,
    gradient: Array,
    *,
    rng: np.random.Generator,
    step: float = STEP,
    tolerance: float = TOLERANCE,
    trained: Array | None = None,
) -> float:
    """Return the relative error of ``gradient`` along one random direction; ``loss()`` reads ``parameters``.

    Compares <gradient, v> with the central difference (loss(p + h v) - loss(p - h v)) / 2h, in float64; the parameters
    are left as they were. ``trained`` is 0 for parameters that the direction leaves out, such as running means, else
    1. Raises LayerError above ``tolerance``.
    """
    direction = rng.standard_normal(parameters.shape)
    if trained is not None:
        direction *= trained
    start = parameters.copy()
    try:
        np.copyto(parameters, start + step * direction)
        above = loss()
        np.copyto(parameters, start - step * direction)
        below = loss()
    finally:
        np.copyto(parameters, start)
    numeric = (above - below) / (2 * step)
    analytic = float(np.vdot(gradient, direction))
    scale = max(abs(numeric), abs(analytic), 1e-3 * float(np.linalg.norm(gradient)), 1e-8)
    error = abs(numeric - analytic) / scale
    if not error <= tolerance:
        raise LayerError(
            f"the gradient is wrong: along a random direction it says {analytic:.9g}, a central difference "
            f"{numeric:.9g}, relative error {error:.1e}, allowed {tolerance:.0e}. Check backprop() against activate()."
        )
    return error


def check_layer(
    layer: Layer, input_type: InputType | None = None, *, strict: bool = False, seed: int = 0
) -> LayerReport:
    """Check a layer, in float64 on random data, and return what was found.

    ``input_type`` defaults to vectors of 5, or of the layer's ``n_in``; a layer with ``takes_indices`` is given whole
    numbers below its ``n_in``, by default one. Checked are: the gradients of parameters and input; that the output has
    the shape of ``output_type``; that backprop gets what it needs from ``saved()``, so that modes NONE and ENABLED give
    the same bits also when recycled memory is filled with NaN; and where results land, which ``strict`` makes an error.
    Raises LayerError, ShapeError or WorkspaceError for what is wrong.
    """
    if not isinstance(layer, Layer):
        raise LayerError(f"check_layer() takes an object of a class derived from Layer, got {layer!r}.")
    input_type = input_type or InputType.feed_forward(1 if layer.takes_indices else getattr(layer, "n_in", None) or 5)
    rng = np.random.default_rng(seed)
    before = [] if layer.takes_indices else [_before(input_type)]
    alone = _network([layer], input_type, WorkspaceMode.ENABLED, strict)
    behind = _network([*before, layer], input_type, WorkspaceMode.ENABLED, strict)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlacementWarning)  # the report says it
        data = _data(alone, rng)
        parameter_error = _check_network(alone, data, rng) if alone.num_params() else None
        input_error = _check_network(behind, data, rng) if before else None
        _check_saved_arrays([*before, layer], input_type, data, behind.params)
        copied_in, spilled, allocated = _measure(behind, data)
    types = alone.conf.input_types()
    return LayerReport(
        type(layer).__name__, types[0], types[1], parameter_error, input_error, copied_in, spilled, allocated
    )


def _before(input_type: InputType) -> Layer:
    """Return a layer with parameters that gives out what it takes in: through it goes the gradient of the input."""
    size = channels_of(input_type)
    if isinstance(input_type, Convolutional):
        return ConvolutionLayer(n_in=size, n_out=size, kernel_size=1, activation="tanh", name="before")
    if isinstance(input_type, Recurrent):
        return Convolution1DLayer(n_in=size, n_out=size, kernel_size=1, activation="tanh", name="before")
    return DenseLayer(n_in=size, n_out=size, activation="tanh", name="before")


def _loss_behind(layers: list[Layer], input_type: InputType) -> Layer:
    """Return the loss layer for what these layers give out."""
    conf = NeuralNetConfiguration().list(*layers, input_type=input_type, validate_output_layer_config=False)
    output_type = conf.input_types()[-1]
    if isinstance(output_type, Convolutional):
        return CnnLossLayer(loss="l2")
    return RnnLossLayer(loss="l2") if isinstance(output_type, Recurrent) else LossLayer(loss="l2")


def _network(layers: list[Layer], input_type: InputType, mode: WorkspaceMode, strict: bool) -> MultiLayerNetwork:
    layers = [independent_copy(layer) for layer in layers]
    for layer in layers:
        layer.dropout = None  # a random mask would be another function at every call
    if not layers[-1].is_output_layer:
        layers.append(_loss_behind(layers, input_type))
    configuration: MultiLayerConfiguration = NeuralNetConfiguration(
        seed=1,
        dtype="float64",
        updater=NoOp(),
        activation="tanh",
        training_workspace_mode=mode,
        inference_workspace_mode=mode,
        strict=strict,
    ).list(*layers, input_type=input_type)
    return MultiLayerNetwork(configuration).init()


def _data(network: MultiLayerNetwork, rng: np.random.Generator) -> DataSet:
    conf = network.conf
    if isinstance(conf.input_type, Recurrent) and conf.input_type.timesteps is None:
        conf = replace(conf, input_type=replace(conf.input_type, timesteps=TIMESTEPS))
    types = conf.input_types()
    given, shape = ((BATCH, *(extent or 1 for extent in kind.example_shape())) for kind in (types[0], types[-1]))
    first: Any = network.layers[0]
    x = rng.integers(0, first.n_in, given) if first.takes_indices else rng.standard_normal(given)
    kind = getattr(getattr(network.layers[-1], "loss", None), "label_kind", "values")
    if kind in ("values", "signs"):
        return DataSet(x, rng.standard_normal(shape) if kind == "values" else rng.choice([-1.0, 1.0], shape))
    axis = -1 if channels_last(types[-1]) else 1
    places = np.delete(np.array(shape), axis)
    return DataSet(x, np.moveaxis(rng.dirichlet(np.ones(shape[axis]), size=tuple(places)), -1, axis))


def _check_network(network: MultiLayerNetwork, data: DataSet, rng: np.random.Generator) -> float:
    network.compute_gradient_and_score(data)
    return check_gradient(
        lambda: network.score(data, training=True) * BATCH,
        network.params,
        network.gradient.copy(),
        rng=rng,
        tolerance=TOLERANCE,
        trained=_trained(network),
    )


def _trained(network: MultiLayerNetwork) -> Array:
    """Return 1 for every parameter that is trained and 0 for the others."""
    flags = np.zeros(network.num_params())
    start = 0
    for layer, input_type in zip(network.layers, network.conf.layer_input_types(), strict=True):
        for spec in layer.param_specs(input_type):
            stop = start + math.prod(spec.shape)
            flags[start:stop] = spec.trainable
            start = stop
    return flags


def _check_saved_arrays(layers: list[Layer], input_type: InputType, data: DataSet, params: Array) -> None:
    """Raise LayerError unless the gradient has the same bits in both modes, with recycled memory full of NaN."""
    gradients: list[Array] = []
    poison = workspace_manager.poison_recycled_memory
    workspace_manager.poison_recycled_memory = True
    try:
        for mode in (WorkspaceMode.NONE, WorkspaceMode.ENABLED):
            network = _network(layers, input_type, mode, strict=False)
            network.set_params(params)
            for _ in range(3):
                network.compute_gradient_and_score(data)
            gradients.append(network.gradient)
    finally:
        workspace_manager.poison_recycled_memory = poison
    if not np.array_equal(gradients[0], gradients[1]):
        raise LayerError(
            f"{type(layers[-1]).__name__}: the gradient differs between modes NONE and ENABLED. Save what backprop() "
            "needs with workspace_mgr.save_for_backprop(...), keep no array on the layer, and write every element of "
            "an array that create_uninitialized() returned."
        )


def _measure(network: MultiLayerNetwork, data: DataSet) -> tuple[int, int, int]:
    """Return (results copied in, bytes spilled, growth of Python's peak) of one warm step."""
    for _ in range(3):
        network.compute_gradient_and_score(data)
    copied_in, spilled = network.copied_in, _spilled_bytes()
    allocated = allocated_bytes(lambda: network.compute_gradient_and_score(data))
    return (network.copied_in - copied_in) // 2, (_spilled_bytes() - spilled) // 2, allocated


def allocated_bytes(step: Callable[[], object]) -> int:
    """Return what the second of two calls of ``step`` adds to the peak of the memory that tracemalloc sees."""
    tracemalloc.start()
    try:
        step()  # what it keeps from one call to the next is traced from here on
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _spilled_bytes() -> int:
    """Return what the workspaces of this thread's networks ever spilled."""
    return sum(
        workspace.total_spilled_size
        for workspace in workspace_manager.get_all_workspaces_for_current_thread()
        if workspace.id.startswith((Place.WORKING.value, Place.ALL.value, Place.ACT.value))
    )
