"""The workspaces of the calling thread, by id."""

from __future__ import annotations

import gc
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError, WorkspaceError
from ..options import enum_option
from .allocation_statistics import AllocationStatistics, statistics_table
from .buffer import Buffer
from .bypass import BypassedWorkspace
from .configuration import WorkspaceConfiguration
from .dummy import DummyWorkspace
from .policies import DebugMode
from .registry import live_workspaces
from .thread_state import ScopeKind, open_workspace_ids, pop_scope, push_scope, state
from .workspace import Workspace

__all__ = ["DEFAULT_ID", "ScopedOut", "WorkspaceManager", "workspace", "workspace_manager"]

DEFAULT_ID = "DefaultWorkspace"


class ScopedOut:
    """A scope in which no workspace is current: what is created in it is detached."""

    def __init__(self) -> None:
        self._scope = push_scope(None, ScopeKind.SCOPED_OUT)

    def __enter__(self) -> ScopedOut:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the scope. Raises WorkspaceError when another scope is the innermost one."""
        scopes = state.scopes
        if not scopes or scopes[-1] is not self._scope:
            raise WorkspaceError(
                "a scope-out cannot be closed: it is not the innermost scope in this thread. Close scopes in the "
                "reverse order of opening; a scope must not stay open across a generator's or a task's switch."
            )
        pop_scope()


class WorkspaceManager:
    """Makes, finds and destroys the workspaces of the calling thread; the same id is another workspace in another.

    Source: ND4J ``MemoryWorkspaceManager``.
    """

    def __init__(self) -> None:
        self.default_configuration = WorkspaceConfiguration()

    def create_new_workspace(
        self, configuration: WorkspaceConfiguration | None = None, id: str | None = None
    ) -> Workspace:
        """Make a workspace; it takes the place of an older one of the same id, which is not destroyed."""
        configuration = configuration or self.default_configuration
        if self.debug_mode is DebugMode.BYPASS_EVERYTHING:
            bypassed: Any = BypassedWorkspace(configuration, id or DEFAULT_ID)
            state.workspaces[bypassed.id] = bypassed
            return bypassed
        workspace = Workspace(configuration, id)
        state.workspaces[workspace.id] = workspace
        return workspace

    def get_workspace_for_current_thread(
        self, configuration: WorkspaceConfiguration | str | None = None, id: str = DEFAULT_ID
    ) -> Workspace:
        """Return the workspace of that id, a new one if there is none; only a new one takes the configuration.

        The id alone will do: ``get_workspace_for_current_thread("LOOP")``.
        """
        if isinstance(configuration, str):
            id, configuration = configuration, None
        return self._known(id) or self.create_new_workspace(configuration, id)

    def get_and_activate_workspace(
        self, configuration: WorkspaceConfiguration | str | None = None, id: str = DEFAULT_ID
    ) -> Workspace:
        """Return the workspace of that id, entered: use it as ``with ... as workspace:``."""
        return self.get_workspace_for_current_thread(configuration, id).notify_scope_entered()

    def _known(self, id: str) -> Workspace | None:
        workspace = state.workspaces.get(id)
        return None if workspace is None or workspace.is_destroyed else workspace

    def set_workspace_for_current_thread(self, workspace: Workspace, id: str | None = None) -> None:
        """Make ``workspace`` the one that this thread finds under ``id`` (default: its own)."""
        if isinstance(workspace, Workspace):
            state.workspaces[workspace.id if id is None else id] = workspace

    def check_if_workspace_exists(self, id: str) -> bool:
        """Tell whether this thread has a workspace of that id."""
        return self._known(id) is not None

    def check_if_workspace_exists_and_active(self, id: str) -> bool:
        """Tell whether this thread has a workspace of that id and its scope is open."""
        workspace = self._known(id)
        return workspace is not None and workspace.is_scope_active

    @property
    def current_workspace(self) -> Workspace | None:
        """The workspace that new arrays of this thread go to, or None."""
        return state.current

    def any_workspace_active_for_current_thread(self) -> bool:
        """Tell whether a scope is open in this thread."""
        return bool(open_workspace_ids())

    def get_all_workspaces_for_current_thread(self) -> list[Workspace]:
        """Return the workspaces of this thread."""
        return list(state.workspaces.values())

    def get_all_workspaces_ids_for_current_thread(self) -> list[str]:
        """Return the ids of the workspaces of this thread."""
        return list(state.workspaces)

    def close_all_scopes_for_current_thread(self) -> None:
        """Close every scope of this thread, in whatever state an interruption left them.

        Ctrl-C may come between the opening of a scope and the ``with`` that would close it; in a notebook, this makes
        the thread as good as new. Arrays of all scopes become stale. Must not be called inside a ``with`` of a scope.
        """
        here = state
        here.scopes.clear()
        here.current = None
        here.network_depth = 0
        for workspace in here.workspaces.values():
            if isinstance(workspace, Workspace):
                workspace.end_interrupted_cycle()

    def scope_out_of_workspaces(self) -> ScopedOut:
        """Return a scope, entered, in which no workspace is current."""
        return ScopedOut()

    def assert_no_workspaces_open(self, message: str, allow_scoped_out: bool = False) -> None:
        """Raise WorkspaceError (E12) if a workspace is open; scoped-out ones pass if that is allowed."""
        open_ids = open_workspace_ids()
        if open_ids and not (allow_scoped_out and state.current is None):
            raise WorkspaceError(f"{message} - Open/active workspaces: {open_ids}", "E12")

    def assert_open_and_active(self, id: str, message: str) -> None:
        """Raise WorkspaceError (E13) unless the workspace of that id is open."""
        if not self.check_if_workspace_exists_and_active(id):
            raise WorkspaceError(f"{message} - workspace is not open and active", "E13")

    def assert_open_active_and_current(self, id: str, message: str) -> None:
        """Raise WorkspaceError (E13) unless the workspace of that id is open and the current one."""
        self.assert_open_and_active(id, message)
        current = state.current
        if current is not self._known(id):
            current_id = None if current is None else current.id
            raise WorkspaceError(f"{message} - not the current workspace (current workspace: {current_id})", "E13")

    def destroy_workspace(self, workspace: Workspace | None = None) -> None:
        """Destroy a workspace (default: the one of the default id) and forget it. Raises while it is open."""
        if workspace is None:
            workspace = state.workspaces.get(DEFAULT_ID)
            if workspace is None:
                return
        if not isinstance(workspace, Workspace | DummyWorkspace):
            raise ConfigurationError(
                f"destroy_workspace() takes a workspace, got {workspace!r}. Look it up first: "
                "get_workspace_for_current_thread(id)."
            )
        if isinstance(workspace, Workspace):  # a dummy has nothing to give back
            workspace.destroy()
        for id in [id for id, known in state.workspaces.items() if known is workspace]:
            del state.workspaces[id]

    def destroy_all_workspaces_for_current_thread(self) -> None:
        """Destroy every workspace of this thread, then collect garbage once.

        Raises WorkspaceError, and destroys none, while one is open.
        """
        self.assert_no_workspaces_open("workspaces cannot be destroyed while one is open: close its scope first")
        workspaces = self.get_all_workspaces_for_current_thread()
        for workspace in workspaces:
            self.destroy_workspace(workspace)
        if workspaces:
            gc.collect()

    def allocation_statistics_for_current_thread(self) -> list[AllocationStatistics]:
        """Return what each workspace of this thread holds, in bytes, in the order of their making; no dummies."""
        return [
            AllocationStatistics(id, workspace.current_size, workspace.spilled_size, workspace.pinned_size)
            for id, workspace in state.workspaces.items()
            if isinstance(workspace, Workspace)
        ]

    def print_allocation_statistics_for_current_thread(self) -> None:
        """Print ``allocation_statistics_for_current_thread`` as a table."""
        print(statistics_table(self.allocation_statistics_for_current_thread()))  # noqa: T201 - it says so

    @property
    def debug_mode(self) -> DebugMode:
        """The debug mode of the process, given as a member, by name, or as None for DISABLED."""
        return Buffer.debug_mode

    @debug_mode.setter
    def debug_mode(self, value: DebugMode | str | None) -> None:
        Buffer.debug_mode = DebugMode.DISABLED if value is None else enum_option(DebugMode, value, "debug_mode")
        for workspace in live_workspaces():
            workspace.update_limit()

    @property
    def poison_recycled_memory(self) -> bool:
        """Debug switch of the process: memory is filled with 0xFF bytes (NaN in floats) when its scope closes."""
        return Workspace.poison_recycled_memory

    @poison_recycled_memory.setter
    def poison_recycled_memory(self, value: bool) -> None:
        Workspace.poison_recycled_memory = bool(value)


workspace_manager = WorkspaceManager()


def workspace(id: str = DEFAULT_ID, **options: Any) -> Workspace:
    """Return the workspace of that id in this thread, entered; ``options`` are those of WorkspaceConfiguration.

    ``with minidl.workspace("LOOP", initial_size=1 << 20) as workspace:`` is short for
    ``workspace_manager.get_and_activate_workspace``. Only a new workspace takes the options.
    """
    configuration = WorkspaceConfiguration(**options) if options else None
    return workspace_manager.get_and_activate_workspace(configuration, id)
