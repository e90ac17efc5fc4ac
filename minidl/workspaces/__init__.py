"""Workspaces: memory for cyclic work that is planned or learned once and then reused."""

from .array import WorkspaceArray
from .array_type import ArrayType
from .configuration import WorkspaceConfiguration
from .dummy import DummyWorkspace
from .layer_workspace_mgr import LayerCall, LayerWorkspaceMgr
from .manager import WorkspaceManager, workspace_manager
from .policies import (
    AllocationPolicy,
    LearningPolicy,
    LocationPolicy,
    MirroringPolicy,
    ResetPolicy,
    SpillPolicy,
    WorkspaceMode,
)
from .workspace import Workspace
from .workspace_mgr import WorkspaceMgr

__all__ = [
    "AllocationPolicy",
    "ArrayType",
    "DummyWorkspace",
    "LayerCall",
    "LayerWorkspaceMgr",
    "LearningPolicy",
    "LocationPolicy",
    "MirroringPolicy",
    "ResetPolicy",
    "SpillPolicy",
    "Workspace",
    "WorkspaceArray",
    "WorkspaceConfiguration",
    "WorkspaceManager",
    "WorkspaceMgr",
    "WorkspaceMode",
    "workspace_manager",
]
