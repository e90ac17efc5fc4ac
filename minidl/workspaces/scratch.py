"""A part of a cycle whose memory is used again at once."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from .thread_state import ScopeKind, push_scope, state

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = ["Scratch"]


class Scratch:
    """The scope that ``Workspace.scratch`` returns."""

    __slots__ = ("_workspace",)

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def __enter__(self) -> Workspace:
        workspace = self._workspace
        workspace.check_open()
        workspace.check_thread()
        workspace._begin_scratch()
        push_scope(workspace, ScopeKind.SCRATCH)
        return workspace

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scopes = state.scopes
        if not scopes or scopes[-1] != (self._workspace, ScopeKind.SCRATCH):
            raise self._workspace._not_innermost(scopes)
        self._workspace.close()
