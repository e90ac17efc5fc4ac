"""The frames of one network: for each thread, and each depth of network inside network, the means to run it."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from .batches import Batch, is_native
from .configuration import MultiLayerConfiguration
from .errors import ConcurrentUseError, ConfigurationError, WorkspaceError
from .inputs import timesteps_of
from .model import Model
from .parameters import Parameters
from .passes import Frame
from .placement import network_workspaces
from .plan import MemoryPlan, Planner
from .rehearsal import BatchForm, features_mask_form, form_of, planned_timesteps
from .workspaces import Workspace, WorkspaceMode
from .workspaces.thread_state import state

__all__ = ["ExclusiveUse", "Frames", "output_workspace"]

ENABLED = WorkspaceMode.ENABLED  # reading a member of an enum takes a tenth of a microsecond, every time
OUTSIDE_TRAINING = 1 << 63  # where the iterations begin that dropout outside of training counts


class Frames:
    """Hands out (frame, plan) for a batch. Frames belong to the calling thread and go with it."""

    def __init__(self, model: Model, parameters: Parameters, configuration: MultiLayerConfiguration) -> None:
        self.planner = Planner(model, parameters)
        self._model = model
        self._gradients = parameters.gradient_views
        self._training_mode = configuration.training_workspace_mode
        self._inference_mode = configuration.inference_workspace_mode
        self._local = threading.local()
        self._random_calls = itertools.count(OUTSIDE_TRAINING)

    def training(self, batch: Batch, input_gradient: bool = False) -> tuple[Frame, MemoryPlan]:
        """Return what a training step for this batch runs with; ``input_gradient`` asks for dL/dfeatures as well."""
        form = form_of(batch, "training", self._model, input_gradient)
        plan = self.planner.plan(form, len(batch.features))
        return self._frame(self._training_mode), plan

    def evaluation(self, batch: Batch) -> tuple[Frame, MemoryPlan]:
        """Return what the evaluation of this batch runs with."""
        plan = self.planner.plan(form_of(batch, "evaluation", self._model), len(batch.features))
        return self._frame(self._inference_mode), plan

    def inference(
        self, x: npt.NDArray[Any], train: bool = False, mask: npt.NDArray[Any] | None = None
    ) -> tuple[Frame, MemoryPlan]:
        """Return what inference for the features x (batch, ...), with a mask of the network's type, runs with."""
        steps = timesteps_of(x, self._model.input_types[0])
        if steps is not None:
            self._model.output_shape(x)  # which raises where no layer could do with so short series
        form = BatchForm(
            "inference",
            not is_native(x, self._model.dtype),
            features_mask=None if mask is None else features_mask_form(mask, self._model, steps),
            train=train,
            timesteps=planned_timesteps(steps),
        )
        return self._frame(self._inference_mode), self.planner.plan(form, len(x))

    def next_random_call(self) -> int:
        """Return an iteration that no training step and no earlier call had, for dropout outside of training."""
        return next(self._random_calls)

    @property
    def copied_in(self) -> int:
        """Results that had to be copied in from the heap, in this thread so far."""
        return sum(frame.copied_in for frame in self._local.__dict__.values())

    def _frame(self, mode: WorkspaceMode) -> Frame:
        depth = state.network_depth
        workspaces = network_workspaces(depth) if mode is ENABLED else None
        frames: dict[Any, Frame] = self._local.__dict__
        frame = frames.get((depth, workspaces is None))
        if frame is None or frame.workspaces is not workspaces:  # another one where a user destroyed the workspaces
            frame = frames[depth, workspaces is None] = Frame(self._model, self._gradients, workspaces)
        return frame


def output_workspace(workspace: Workspace | str, mode: WorkspaceMode, out: object) -> Workspace:
    """Return the open workspace that a user gave for the output, by itself or by id.

    Raises ConfigurationError for what is no workspace, or beside ``out``, WorkspaceError (E23) for a closed one, (E24)
    in mode NONE.
    """
    if out is not None:
        raise ConfigurationError(
            "out= and workspace= are both given, but the result goes to one place. Pass one of them."
        )
    if not isinstance(workspace, Workspace | str):
        raise ConfigurationError(f"workspace={workspace!r} is not a Workspace. Pass one that is open, or its id.")
    found = state.workspaces.get(workspace) if isinstance(workspace, str) else workspace
    id = workspace if isinstance(workspace, str) else workspace.id
    problem = f'Workspace "{id}" was provided for the network/layer outputs'
    if mode is WorkspaceMode.NONE:
        raise WorkspaceError(
            f"{problem}, but the inference workspace mode is set to NONE. Set it to ENABLED, or pass out=.", "E24"
        )
    if found is None or not found.is_scope_active:
        raise WorkspaceError(f"{problem}. It must be opened before calling the output method.", "E23")
    return found


class ExclusiveUse:
    """Lets one call at a time use an object; ``problem`` says what another one meets, and what to do about it."""

    def __init__(self, problem: str) -> None:
        self._problem = problem
        self._guard = threading.Lock()
        self._holder: object = None
        self._thread: int | None = None

    @contextlib.contextmanager
    def by(self, method: str, *, joins: bool = False) -> Iterator[None]:
        """Hold the object for ``method``; with ``joins`` a call of the thread that holds it already passes.

        Raises ConcurrentUseError if another call holds it.
        """
        if joins and self._thread == threading.get_ident():
            yield
            return
        call = object()
        try:  # around the taking as well: an interrupt may come at any moment, and must not leave the object held
            with self._guard:
                if self._holder is not None:
                    raise ConcurrentUseError(f"{method}() was called while {self._problem}")
                self._thread = threading.get_ident()
                self._holder = call
            yield
        finally:
            if self._holder is call:
                self._thread = self._holder = None
