"""Trying a network out on throw-away arrays, to learn which arrays a step asks for, of what size, and for how long."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .batches import Batch, is_native, mask_of_loss, placed_mask
from .class_weights import weighted_mask
from .inputs import time_axis, timesteps_of
from .labels import LabelForm, placed_labels
from .model import Model
from .parameters import Parameters
from .passes import Frame
from .placement import NetworkWorkspaces, Place
from .requests import HEAP, UPDATER, Request
from .workspaces import ArrayType, LayerWorkspaceMgr, Workspace, WorkspaceArray, WorkspaceConfiguration

__all__ = [
    "BatchForm",
    "MaskForm",
    "Purpose",
    "features_mask_form",
    "form_of",
    "planned_timesteps",
    "rehearse",
]

Purpose = str  # "training", "inference" or "evaluation"
TEMPORARY = "temporary"


class MaskForm(NamedTuple):
    """The shape of a mask for one example, None for the steps of series of any length; and whether it is converted."""

    shape: tuple[int | None, ...]
    converts: bool


class BatchForm(NamedTuple):
    """What of a batch, besides its size, decides which arrays a step asks for."""

    purpose: Purpose
    converts_features: bool = False
    label_form: LabelForm = LabelForm.AS_THEY_ARE
    features_mask: MaskForm | None = None
    labels_mask: MaskForm | None = None
    train: bool = False
    class_weighted: bool = False
    input_gradient: bool = False
    timesteps: int | None = None


def planned_timesteps(timesteps: int | None) -> int | None:
    """Return the length that series of varying length are planned for: up to an eighth longer than they are.

    So a few plans serve all lengths, and each costs a rehearsal.
    """
    if timesteps is None or timesteps <= 16:
        return timesteps
    step = 1 << (timesteps.bit_length() - 4)
    return -(-timesteps // step) * step


def form_of(batch: Batch, purpose: Purpose, model: Model, input_gradient: bool = False) -> BatchForm:
    """Return the form of a checked batch."""
    dtype, steps = model.dtype, timesteps_of(batch.features, model.input_types[0])
    axes = ((batch.features_mask, time_axis(model.input_types[0])), (batch.labels_mask, 2))
    features_mask, labels_mask = (
        None
        if mask is None
        else MaskForm(_mask_shape(mask, None if steps is None else axis), not is_native(mask, dtype))
        for mask, axis in axes
    )
    return BatchForm(
        purpose,
        not is_native(batch.features, dtype),
        batch.label_form,
        features_mask,
        labels_mask,
        class_weighted=batch.class_weights is not None,
        input_gradient=input_gradient,
        timesteps=planned_timesteps(steps),
    )


def features_mask_form(mask: npt.NDArray[Any], model: Model, timesteps: int | None) -> MaskForm:
    """Return the form of a mask of features of the network's type."""
    return MaskForm(_mask_shape(mask, None if timesteps is None else time_axis(model.input_types[0])), False)


def _mask_shape(mask: npt.NDArray[Any], time_axis: int | None) -> tuple[int | None, ...]:
    """Return the shape of a mask for one example, None in place of time, which lies along axis 1 if there are two."""
    shape: list[int | None] = list(mask.shape[1:])
    axis = time_axis if time_axis is None or mask.ndim > 2 else 1
    if axis is not None and mask.ndim > 1 and shape != [1]:
        shape[axis - 1] = None
    return tuple(shape)


class _Trace:
    """The requests of one rehearsal, in order."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.memory: dict[int, int] = {}  # id of the memory of a request -> its position
        self.kept_alive: list[Any] = []  # so that no id is used twice
        self.purpose = TEMPORARY
        self.layer = 0
        self.clock = 0

    def note(self, workspace: Workspace, shape: tuple[int, ...], dtype: np.dtype[Any], root: WorkspaceArray) -> None:
        self.memory[id(root.base)] = len(self.requests)
        self.kept_alive.append(root.base)
        self.requests.append(
            Request(
                workspace.id, workspace.generation_id, self.layer, self.purpose, shape, dtype, self.clock, self.clock
            )
        )

    def lives_until(self, clock: int, array: Any) -> None:
        """Let the request that ``array`` looks at live until ``clock`` at least."""
        base = array
        while isinstance(base, np.ndarray):
            position = self.memory.get(id(base))
            if position is not None:
                request = self.requests[position]
                self.requests[position] = replace(request, death=max(request.death, clock))
                return
            base = base.base


class _RehearsalWorkspace(Workspace):
    """A workspace without a block: every request spills, and is noted."""

    __slots__ = ("trace",)

    def __init__(self, configuration: WorkspaceConfiguration, id: str, trace: _Trace) -> None:
        super().__init__(configuration, id)
        self.trace = trace

    def begin_cycle(self) -> None:
        super().begin_cycle()
        if self.id == Place.WORKING.value:
            self.trace.clock += 1

    def end_cycle(self) -> None:
        trace = self.trace
        if self.id not in (Place.ALL.value, Place.WORKING.value):
            for position, request in enumerate(trace.requests):
                if request.workspace == self.id and request.cycle == self.generation_id:
                    trace.requests[position] = replace(request, death=trace.clock)
        super().end_cycle()

    def _spill(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> WorkspaceArray:
        root = super()._spill(shape, dtype)
        self.trace.note(self, shape, dtype, root)
        return root


class _RehearsalManager(LayerWorkspaceMgr):
    """A manager that tells the trace what an array is for."""

    def __init__(self, trace: _Trace, *arguments: Any, **options: Any) -> None:
        self.trace = trace
        super().__init__(*arguments, **options)

    def create_uninitialized(self, array_type: ArrayType, *arguments: Any, **options: Any) -> npt.NDArray[Any]:
        self.trace.purpose, self.trace.layer = array_type.name, self.call.index
        try:
            return super().create_uninitialized(array_type, *arguments, **options)
        finally:
            self.trace.purpose = TEMPORARY

    def attached(self, array: npt.NDArray[Any]) -> WorkspaceArray:
        self.trace.layer = self.call.index  # before user code, whose temporaries come from elsewhere
        return super().attached(array)

    def _report_heap_array(self, array_type: ArrayType, workspace: Workspace, result: npt.NDArray[Any]) -> None:
        """Note it for the report, and leave the warning to the real pass."""
        trace = self.trace
        trace.requests.append(
            Request(HEAP, 0, self.call.index, array_type.name, result.shape, result.dtype, trace.clock, trace.clock)
        )


def rehearse(model: Model, parameters: Parameters, form: BatchForm, batch: int) -> list[Request]:
    """Return what a step with ``batch`` examples asks for; parameters, state and generators stay as they are."""
    trace = _Trace()
    manager_class = functools.partial(_RehearsalManager, trace)
    workspaces = NetworkWorkspaces(0, lambda configuration, id: _RehearsalWorkspace(configuration, id, trace))
    gradients = parameters.views_of_gradient(np.zeros_like(parameters.gradient))
    frame = Frame(model, gradients, workspaces, manager_class)
    with np.errstate(all="ignore"), frame.opened(None):
        if form.purpose == "training":
            _rehearse_training(frame, trace, form, batch)
            _note_updater(parameters, trace)
            _rehearse_constraints(frame, parameters, trace)
        else:
            _rehearse_inference(frame, trace, form, batch)
    return trace.requests


def _rehearse_training(frame: Frame, trace: _Trace, form: BatchForm, batch: int) -> None:
    model, layers = frame.model, len(frame.model.layers)
    last_backward = layers + 2  # the clock: forward passes from 1, the score, then the backward passes
    frame.all.begin_cycle()
    features_mask = _mask(model, form.features_mask, (batch, form.timesteps), frame.memory_of(frame.all))
    trace.lives_until(layers, features_mask)
    features = _features(model, form, batch)
    frame.want_input_gradient(form.input_gradient)
    output, seen = _forward_noting_uses(frame, trace, features, features_mask)
    trace.lives_until(last_backward, output)
    shape = model.labels_shape(output.shape)
    labels, mask = _labels_and_mask(model, form, shape, frame.memory_of(frame.all))
    mask = mask_of_loss(mask, seen, labels)
    if form.class_weighted:
        weights = np.ones(max(shape[1], 2), model.dtype)
        mask = weighted_mask(labels, mask, weights, frame.memory_of(frame.all))
    for array in (labels, mask):
        trace.lives_until(last_backward, array)
    for index in range(layers):
        call = frame.training[index].call
        noisy = () if call.weight_noise is None else (*frame.noisy_parameters(index), *call.weight_noise.values())
        saved = (array for inner in call.with_children() for array in inner.saved or ())
        for array in (*saved, call.dropout_noise, *noisy):
            trace.lives_until(last_backward + layers - 1 - index, array)
    frame.score(labels, mask)
    frame.backward(labels, mask, np.empty_like(features) if form.input_gradient else None)
    frame.all.end_cycle()


def _forward_noting_uses(
    frame: Frame, trace: _Trace, x: npt.NDArray[Any], mask: npt.NDArray[Any] | None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Run the forward pass layer by layer: what a layer is given must live while it runs."""
    for index in range(len(frame.model.layers)):
        trace.lives_until(index + 1, x)
        x, mask = frame.training_forward_one(index, x, mask, 0)
    return x, mask


def _rehearse_inference(frame: Frame, trace: _Trace, form: BatchForm, batch: int) -> None:
    model = frame.model
    evaluates = form.purpose == "evaluation"
    if evaluates:
        frame.output.begin_cycle()
    mask = _mask(model, form.features_mask, (batch, form.timesteps), frame.memory_of(frame.output))
    output, _ = frame.inference(
        _features(model, form, batch), mask, Place.OUTPUT if evaluates else Place.ACT, 0 if form.train else None
    )
    if evaluates:
        _labels_and_mask(model, form, model.labels_shape(output.shape), frame.memory_of(frame.output))
        frame.output.end_cycle()


def _features(model: Model, form: BatchForm, batch: int) -> npt.NDArray[Any]:
    kind = model.input_types[0]
    if form.timesteps is not None:
        kind = replace(kind, timesteps=form.timesteps)  # type: ignore[type-var]
    shape = tuple(extent or 1 for extent in kind.example_shape())
    other = np.float64 if model.dtype == np.float32 else np.float32
    return np.zeros((batch, *shape), other if form.converts_features else model.dtype)


def _labels_and_mask(
    model: Model, form: BatchForm, shape: tuple[int, ...], empty: Callable[..., npt.NDArray[Any]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    indices = form.label_form.of_classes
    given = np.zeros((shape[0], *shape[2:]), np.int64) if indices else np.zeros(shape, model.dtype)
    labels = placed_labels(given, form.label_form, shape, model.dtype, empty)
    return labels, _mask(model, form.labels_mask, (shape[0], shape[-1]), empty)


def _mask(
    model: Model, form: MaskForm | None, extents: tuple[int, int | None], empty: Callable[..., npt.NDArray[Any]]
) -> npt.NDArray[Any] | None:
    """Return a mask for ``extents``, (batch, time), None for none."""
    if form is None:
        return None
    batch, timesteps = extents
    shape = (batch, *(timesteps or 1 if extent is None else extent for extent in form.shape))
    return placed_mask(np.ones(shape, np.int64 if form.converts else model.dtype), model.dtype, empty)


def _note_updater(parameters: Parameters, trace: _Trace) -> None:
    """Add the scratch of every block of the updater, each in a cycle of its own."""
    trace.clock += 1
    for position, block in enumerate(parameters.updater_blocks):
        for _ in range(parameters.scratch_arrays(block)):
            trace.requests.append(
                Request(
                    Place.ALL.value,
                    -1 - position,
                    UPDATER,
                    ArrayType.UPDATER_WORKING_MEM.name,
                    block.scratch_shape,
                    parameters.flat.dtype,
                    trace.clock,
                    trace.clock,
                )
            )


def _rehearse_constraints(frame: Frame, parameters: Parameters, trace: _Trace) -> None:
    """Apply every constraint to a copy of its parameter, each in a cycle of its own."""
    for parameter, constraint in parameters.constrained:
        trace.clock += 1
        trace.layer = UPDATER
        frame.all.begin_cycle()
        constraint.apply(parameter.copy(order="A"), empty=frame.memory_of(frame.all))
        frame.all.end_cycle()
