"""Workspaces: memory for cyclic work that is planned or learned once and then reused."""

from .allocation_statistics import AllocationStatistics
from .array import WorkspaceArray
from .array_type import ArrayType
from .carried_state import Carried, CarriedState
from .circular import CircularWorkspace
from .configuration import WorkspaceConfiguration
from .dummy import DummyWorkspace
from .layer_call import Draws, LayerCall
from .layer_workspace_mgr import LayerWorkspaceMgr
from .manager import WorkspaceManager, workspace_manager
from .memory_manager import MemoryManager, memory_manager
from .policies import (
    AllocationPolicy,
    DebugMode,
    LearningPolicy,
    LocationPolicy,
    MirroringPolicy,
    ResetPolicy,
    SpillPolicy,
    WorkspaceMode,
)
from .registry import live_workspaces
from .workspace import Workspace
from .workspace_mgr import WorkspaceMgr

__all__ = [
    "AllocationPolicy",
    "AllocationStatistics",
    "ArrayType",
    "Carried",
    "CarriedState",
    "CircularWorkspace",
    "DebugMode",
    "Draws",
    "DummyWorkspace",
    "LayerCall",
    "LayerWorkspaceMgr",
    "LearningPolicy",
    "LocationPolicy",
    "MemoryManager",
    "MirroringPolicy",
    "ResetPolicy",
    "SpillPolicy",
    "Workspace",
    "WorkspaceArray",
    "WorkspaceConfiguration",
    "WorkspaceManager",
    "WorkspaceMgr",
    "WorkspaceMode",
    "live_workspaces",
    "memory_manager",
    "workspace_manager",
]
