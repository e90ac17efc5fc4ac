"""What one thread knows of workspaces: those it owns, and its stack of scopes. Nothing else keeps thread state."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = [
    "Scope",
    "ScopeKind",
    "ThreadState",
    "open_workspace_ids",
    "pop_scope",
    "push_scope",
    "state",
    "unwind_scopes",
]


class ScopeKind(enum.Enum):
    """Why a workspace became the current one."""

    ENTERED = "entered"
    REENTERED = "entered again"
    REDIRECTED = "entered, with another workspace to return to"
    BORROWED = "borrowed"
    SCRATCH = "scratch"
    SCOPED_OUT = "scoped out"


Scope = tuple["Workspace | None", ScopeKind]


class ThreadState(threading.local):
    """One thread's workspaces by id, its scopes (innermost last), and ``current``, the workspace of the innermost.

    ``network_workspaces`` belongs to the networks: one set of workspaces for each depth of network inside
    network, and ``network_depth`` says how deep the thread is.
    """

    def __init__(self) -> None:
        self.workspaces: dict[str, Workspace] = {}
        self.scopes: list[Scope] = []
        self.current: Workspace | None = None
        self.network_workspaces: list[Any] = []
        self.network_depth = 0


state = ThreadState()


def push_scope(workspace: Workspace | None, kind: ScopeKind) -> Scope:
    """Make ``workspace`` (None: no workspace) the current one; the result identifies the scope."""
    here = state
    scope = (workspace, kind)
    here.scopes.append(scope)
    here.current = workspace
    return scope


def pop_scope() -> None:
    """Leave the innermost scope; what was current before it is current again."""
    here = state
    here.scopes.pop()
    here.current = here.scopes[-1][0] if here.scopes else None


def unwind_scopes(depth: int) -> None:
    """Close scopes, innermost first, until ``depth`` of them are left; also when closing one of them raises."""
    scopes = state.scopes
    if len(scopes) <= depth:
        return
    workspace, _ = scopes[-1]
    try:
        if workspace is None:
            pop_scope()
        else:
            workspace.close()
    finally:
        unwind_scopes(depth)


def open_workspace_ids() -> list[str]:
    """Return the ids of this thread's open workspaces, in the order of entering, for error texts."""
    here = state
    workspaces = [workspace for workspace, _ in here.scopes if workspace is not None]
    workspaces += here.workspaces.values()
    return list(dict.fromkeys(workspace.id for workspace in workspaces if workspace.is_scope_active))
