"""Which array of a network lives in which workspace: the table, and the workspaces of one thread that it names."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .workspaces import (
    AllocationPolicy,
    ArrayType,
    LearningPolicy,
    SpillPolicy,
    Workspace,
    WorkspaceConfiguration,
    workspace_manager,
)
from .workspaces.thread_state import state

__all__ = ["Kind", "NetworkWorkspaces", "PLACES", "Place", "Plan", "network_workspaces", "target"]


class Place(enum.Enum):
    """A workspace of a network, or none. ACT is WS_LAYER_ACT_1 for even layers, WS_LAYER_ACT_2 for odd ones."""

    WORKING = "WS_LAYER_WORKING_MEM"
    ALL = "WS_ALL_LAYERS_ACT"
    ACT = "WS_LAYER_ACT"
    OTHER_ACT = "WS_LAYER_ACT of the layer before"
    OUTPUT = "WS_OUTPUT_MEM"
    LOOP = "WS_RNN_LOOP_WORKING_MEM"
    DETACHED = "the heap"


class Kind(enum.Enum):
    """The passes over the layers, each with its own column of the table."""

    TRAINING_FORWARD = "forward pass (training)"
    TRAINING_BACKWARD = "backward pass"
    INFERENCE = "forward pass (inference)"
    EVALUATION = "forward pass (evaluation)"
    FEED_FORWARD = "forward pass (all activations kept)"


# Source: DL4J MultiLayerNetwork. In backprop an activation that is computed again belongs to the layer alone.
PLACES: Mapping[Kind, Mapping[ArrayType, Place]] = {
    Kind.TRAINING_FORWARD: {
        ArrayType.RNN_FF_LOOP_WORKING_MEM: Place.LOOP,
        ArrayType.INPUT: Place.ALL,
        ArrayType.ACTIVATIONS: Place.ALL,
        ArrayType.FF_WORKING_MEM: Place.WORKING,
        ArrayType.BP_WORKING_MEM: Place.WORKING,
        ArrayType.UPDATER_WORKING_MEM: Place.ALL,
        ArrayType.FF_CACHE: Place.ALL,
    },
    Kind.TRAINING_BACKWARD: {
        ArrayType.RNN_FF_LOOP_WORKING_MEM: Place.LOOP,
        ArrayType.RNN_BP_LOOP_WORKING_MEM: Place.LOOP,
        ArrayType.INPUT: Place.ALL,
        ArrayType.ACTIVATIONS: Place.WORKING,
        ArrayType.ACTIVATION_GRAD: Place.ACT,
        ArrayType.FF_WORKING_MEM: Place.WORKING,
        ArrayType.BP_WORKING_MEM: Place.WORKING,
        ArrayType.FF_CACHE: Place.ALL,
    },
    Kind.INFERENCE: {
        ArrayType.RNN_FF_LOOP_WORKING_MEM: Place.LOOP,
        ArrayType.INPUT: Place.OTHER_ACT,
        ArrayType.ACTIVATIONS: Place.ACT,
        ArrayType.FF_WORKING_MEM: Place.WORKING,
    },
    Kind.EVALUATION: {  # of the last layer; the others do as in INFERENCE
        ArrayType.RNN_FF_LOOP_WORKING_MEM: Place.LOOP,
        ArrayType.INPUT: Place.OTHER_ACT,
        ArrayType.ACTIVATIONS: Place.OUTPUT,
        ArrayType.FF_WORKING_MEM: Place.WORKING,
    },
    Kind.FEED_FORWARD: {
        ArrayType.RNN_FF_LOOP_WORKING_MEM: Place.LOOP,
        ArrayType.INPUT: Place.WORKING,
        ArrayType.ACTIVATIONS: Place.DETACHED,
        ArrayType.FF_WORKING_MEM: Place.WORKING,
    },
}

CONFIGURATION = WorkspaceConfiguration(
    policy_allocation=AllocationPolicy.STRICT,
    policy_learning=LearningPolicy.NONE,  # planned, not learned
    policy_spill=SpillPolicy.EXTERNAL,
    alignment=64,  # a cache line
)
CACHED_PLANS = 8


class Plan(Protocol):
    """What NetworkWorkspaces needs to know of a plan: bytes by workspace id, without the suffix of the depth."""

    sizes: dict[str, int]


class NetworkWorkspaces:
    """The workspaces that all networks of one thread share, at one depth of network inside network.

    Plain views into them are kept for the last CACHED_PLANS plans; ``evictions`` counts those that had to go.
    """

    def __init__(self, depth: int, make: Callable[[WorkspaceConfiguration, str], Workspace]) -> None:
        suffix = f"/{depth}" if depth else ""
        self.working, self.all, act_1, act_2, self.output, self.loop = (
            make(CONFIGURATION, name + suffix)
            for name in (
                Place.WORKING.value,
                Place.ALL.value,
                f"{Place.ACT.value}_1",
                f"{Place.ACT.value}_2",
                Place.OUTPUT.value,
                Place.LOOP.value,
            )
        )
        self.act = (act_1, act_2)
        self.members: tuple[Workspace, ...] = (self.working, self.all, act_1, act_2, self.output, self.loop)
        self.evictions = 0
        self._suffix = suffix
        self._active: Plan | None = None
        self._views: OrderedDict[int, list[dict[Any, Any]]] = OrderedDict()

    def is_destroyed(self) -> bool:
        """Tell whether a user destroyed one of the workspaces."""
        working, all_, act_1, act_2, output, loop = self.members
        return (
            working.is_destroyed
            or all_.is_destroyed
            or act_1.is_destroyed
            or act_2.is_destroyed
            or output.is_destroyed
            or loop.is_destroyed
        )

    def prepare(self, plan: Plan) -> None:
        """Map every workspace to at least what ``plan`` needs, and bring its views."""
        if plan is self._active:
            return
        for position, workspace in enumerate(self.members):
            size = max(plan.sizes.get(self._planned_id(workspace), 0), workspace.max_cycle_allocations)
            if size > workspace.current_size:
                workspace.resize(size)
                for views in self._views.values():
                    views[position] = {}
        self._activate_views(plan)
        self._active = plan

    def _activate_views(self, plan: Plan) -> None:
        key = id(plan)
        if key not in self._views:
            self._views[key] = [{} for _ in self.members]
            if len(self._views) > CACHED_PLANS:
                self._views.popitem(last=False)
                self.evictions += 1
        self._views.move_to_end(key)
        for workspace, views in zip(self.members, self._views[key], strict=True):
            workspace.views = views

    def learn(self, plan: Plan) -> None:
        """Let what the plan did not foresee join it, so that it spills only once."""
        for workspace in self.members:
            if workspace.max_cycle_allocations > workspace.current_size:
                plan.sizes[self._planned_id(workspace)] = workspace.max_cycle_allocations
                self._active = None

    def _planned_id(self, workspace: Workspace) -> str:
        return workspace.id.removesuffix(self._suffix)

    def workspace(self, place: Place, layer: int) -> Workspace | None:
        """Return the workspace of ``place`` for a layer, None for the heap."""
        parity = layer & 1
        return {
            Place.WORKING: self.working,
            Place.ALL: self.all,
            Place.ACT: self.act[parity],
            Place.OTHER_ACT: self.act[1 - parity] if layer else self.working,
            Place.OUTPUT: self.output,
            Place.LOOP: self.loop,
            Place.DETACHED: None,
        }[place]


def network_workspaces(depth: int) -> NetworkWorkspaces:
    """Return the workspaces of the calling thread for networks at ``depth``, made on demand."""
    known: list[NetworkWorkspaces] = state.network_workspaces
    while len(known) <= depth:
        known.append(NetworkWorkspaces(len(known), workspace_manager.create_new_workspace))
    if known[depth].is_destroyed():
        known[depth] = NetworkWorkspaces(depth, workspace_manager.create_new_workspace)
    return known[depth]


def target(workspace: Workspace) -> tuple[str, WorkspaceConfiguration]:
    """Return what a WorkspaceMgr maps a type to."""
    return workspace.id, workspace.configuration
