"""The managers of one frame: for every kind of pass, one for each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .layers.base import Array
from .model import Model
from .placement import PLACES, Kind, NetworkWorkspaces, Place, target
from .workspaces import ArrayType, LayerCall, LayerWorkspaceMgr, Workspace

__all__ = ["FrameManagers"]


class FrameManagers:
    """``training`` and ``backward`` share what belongs to a call, and so do the others.

    ``last`` are those of the last layer, by where its output lives at inference: with the others', in WS_OUTPUT_MEM,
    or on the heap.
    """

    def __init__(
        self,
        model: Model,
        gradients: Sequence[dict[str, Array]],
        workspaces: NetworkWorkspaces | None,
        manager_class: Callable[..., LayerWorkspaceMgr],
    ) -> None:
        count = len(model.layers)

        def managers(kind: Kind, calls: Sequence[LayerCall]) -> list[LayerWorkspaceMgr]:
            return [_manager(manager_class, model, workspaces, kind, index, calls[index]) for index in range(count)]

        calls = [model.call(index, gradients[index]) for index in range(count)]
        for index, call in enumerate(calls):
            call.wants_input_gradient = index > 0
        self.training = managers(Kind.TRAINING_FORWARD, calls)
        self.backward = managers(Kind.TRAINING_BACKWARD, calls)
        calls = [model.call(index, gradients[index]) for index in range(count)]
        self.inference = managers(Kind.INFERENCE, calls)
        self.all_activations = managers(Kind.FEED_FORWARD, calls)
        self.last = {
            Place.ACT: self.inference[-1],
            Place.OUTPUT: managers(Kind.EVALUATION, calls)[-1],
            Place.DETACHED: self.all_activations[-1],
        }


def _manager(
    manager_class: Callable[..., LayerWorkspaceMgr],
    model: Model,
    workspaces: NetworkWorkspaces | None,
    kind: Kind,
    index: int,
    call: LayerCall,
) -> LayerWorkspaceMgr:
    if workspaces is None:
        return manager_class(scoped_out=frozenset(ArrayType), dtype=model.dtype, call=call)
    where: dict[ArrayType, Workspace | None] = {
        array_type: workspaces.workspace(place, index) for array_type, place in PLACES[kind].items()
    }
    return manager_class(
        {array_type: target(workspace) for array_type, workspace in where.items() if workspace is not None},
        scoped_out={array_type for array_type, workspace in where.items() if workspace is None},
        dtype=model.dtype,
        call=call,
        workspaces={workspace.id: workspace for workspace in workspaces.members},
    )
