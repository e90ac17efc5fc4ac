"""Does a layer keep to the protocol, and is its gradient right? For users' layers and for minidl's own."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .configuration import MultiLayerConfiguration, NeuralNetConfiguration
from .data import DataSet
from .errors import LayerError, PlacementWarning
from .inputs import InputType
from .layers import DenseLayer, Layer, LossLayer
from .layers.base import independent_copy
from .network import MultiLayerNetwork
from .placement import Place
from .training import NoOp
from .workspaces import WorkspaceMode, workspace_manager

__all__ = ["LayerReport", "allocated_bytes", "check_gradient", "check_layer"]

Array = npt.NDArray[Any]
STEP, TOLERANCE = 1e-5, 1e-6
BATCH = 4


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
) -> float:
    """Return the relative error of ``gradient`` along one random direction; ``loss()`` reads ``parameters``.

    Compares <gradient, v> with the central difference (loss(p + h v) - loss(p - h v)) / 2h, in float64; the parameters
    are left as they were. Raises LayerError above ``tolerance``.
    """
    direction = rng.standard_normal(parameters.shape)
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

    ``input_type`` defaults to vectors of 5, or of the layer's ``n_in``. Checked are: the gradients of parameters and
    input; that the output has the shape of ``output_type``; that backprop gets what it needs from ``saved()``, so that
    modes NONE and ENABLED give the same bits also when recycled memory is filled with NaN; and where results land,
    which ``strict`` makes an error. Raises LayerError, ShapeError or WorkspaceError for what is wrong.
    """
    if not isinstance(layer, Layer):
        raise LayerError(f"check_layer() takes an object of a class derived from Layer, got {layer!r}.")
    input_type = input_type or InputType.feed_forward(getattr(layer, "n_in", None) or 5)
    rng = np.random.default_rng(seed)
    alone = _network([layer], input_type, WorkspaceMode.ENABLED, strict)
    behind = _network([_dense(input_type), layer], input_type, WorkspaceMode.ENABLED, strict)
    data = _data(alone, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PlacementWarning)  # the report says it
        parameter_error = _check_network(alone, data, rng) if alone.num_params() else None
        input_error = _check_network(behind, data, rng)
        _check_saved_arrays([_dense(input_type), layer], input_type, data, behind.params)
        copied_in, spilled, allocated = _measure(behind, data)
    types = alone.conf.input_types()
    return LayerReport(
        type(layer).__name__, types[0], types[1], parameter_error, input_error, copied_in, spilled, allocated
    )


def _dense(input_type: InputType) -> DenseLayer:
    size = getattr(input_type, "size", 1)
    return DenseLayer(n_in=size, n_out=size, activation="tanh", name="before")


def _network(layers: list[Layer], input_type: InputType, mode: WorkspaceMode, strict: bool) -> MultiLayerNetwork:
    layers = [independent_copy(layer) for layer in layers]
    for layer in layers:
        layer.dropout = None  # a random mask would be another function at every call
    if not layers[-1].is_output_layer:
        layers.append(LossLayer(activation="identity", loss="l2"))
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
    types = network.conf.input_types()
    x = rng.standard_normal((BATCH, *(extent or 3 for extent in types[0].example_shape())))
    shape = (BATCH, *(extent or 3 for extent in types[-1].example_shape()))
    kind = getattr(getattr(network.layers[-1], "loss", None), "label_kind", "values")
    if kind in ("values", "signs"):
        return DataSet(x, rng.standard_normal(shape) if kind == "values" else rng.choice([-1.0, 1.0], shape))
    return DataSet(x, rng.dirichlet(np.ones(shape[1]), size=BATCH))


def _check_network(network: MultiLayerNetwork, data: DataSet, rng: np.random.Generator) -> float:
    network.compute_gradient_and_score(data)
    return check_gradient(
        lambda: network.score(data, training=True) * BATCH,
        network.params,
        network.gradient.copy(),
        rng=rng,
        tolerance=TOLERANCE,
    )


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
