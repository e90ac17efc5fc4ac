"""What DebugMode.BYPASS_EVERYTHING puts in the place of workspaces."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import WorkspaceError
from .array import WorkspaceArray
from .buffer import Buffer
from .configuration import WorkspaceConfiguration
from .dummy import DummyWorkspace
from .policies import DebugMode
from .thread_state import ScopeKind, pop_scope, push_scope, state

__all__ = ["BypassedWorkspace"]


class BypassedWorkspace(DummyWorkspace):
    """A workspace without memory: code that uses it runs as ever, on detached arrays.

    It counts as destroyed once the debug mode is another one, so that the manager makes a real workspace again.
    """

    offset = this_cycle_allocations = last_cycle_allocations = max_cycle_allocations = initial_block_size = 0
    cycles_count = step_number = spilled_size = spilled_count = total_spilled_size = pinned_size = pinned_count = 0
    max_bytes = device_id = 0
    is_capped = False
    parent_workspace = None

    def __init__(self, configuration: WorkspaceConfiguration, id: str) -> None:
        self.configuration = configuration
        self.id: str = id  # type: ignore[assignment]  # a dummy has none
        self.views: dict[Any, Any] = {}
        self._scopes: list[Any] = []
        self._is_activated = False

    @property
    def is_destroyed(self) -> bool:
        """Whether workspaces are not bypassed any more."""
        return Buffer.debug_mode is not DebugMode.BYPASS_EVERYTHING

    # Scopes

    def __enter__(self) -> BypassedWorkspace:
        if not self._is_activated:
            self.begin_cycle()
            self._scopes.append(push_scope(None, ScopeKind.SCOPED_OUT))
        self._is_activated = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def notify_scope_entered(self) -> BypassedWorkspace:
        """Enter a scope in which no workspace is current."""
        self._is_activated = False
        self.__enter__()
        self._is_activated = True
        return self

    notify_scope_borrowed = tag_out_of_scope_use = notify_scope_entered

    def close(self) -> None:
        """Leave the scope. Raises WorkspaceError when another scope is the innermost one."""
        scopes = state.scopes
        if not scopes or not self._scopes or scopes[-1] is not self._scopes[-1]:
            raise WorkspaceError(
                f"Workspace [{self.id}] (bypassed) cannot be closed: it is not the innermost scope in this thread. "
                "Close scopes in the reverse order of opening."
            )
        self._is_activated = False
        pop_scope()
        self._scopes.pop()
        if not self._scopes:
            self.end_cycle()

    notify_scope_left = close

    def scratch(self) -> contextlib.AbstractContextManager[Any]:
        """Return a scope that does nothing."""
        return contextlib.nullcontext(self)

    def begin_cycle(self) -> None:
        """Be open."""
        self.is_scope_active = True

    def end_cycle(self) -> None:
        """Be closed."""
        self.is_scope_active = False

    # Arrays

    def create(self, shape: Any, dtype: npt.DTypeLike = np.float32, order: Any = "C") -> npt.NDArray[Any]:  # type: ignore[override]
        """Return a detached array of zeros."""
        return np.zeros(shape, dtype, order).view(WorkspaceArray)

    def create_uninitialized(  # type: ignore[override]
        self, shape: Any, dtype: npt.DTypeLike = np.float32, order: Any = "C"
    ) -> npt.NDArray[Any]:
        """Return a detached array that holds anything."""
        return np.empty(shape, dtype, order).view(WorkspaceArray)

    allocate = create_uninitialized

    def allocate_plain(self, shape: Any, dtype: Any, order: Any = "C") -> npt.NDArray[Any]:
        """Return a plain array that holds anything."""
        return np.empty(shape, dtype, order)

    def owns(self, array: npt.NDArray[Any]) -> bool:
        """Take every array for one of its own: all of them are as detached as its own."""
        return True

    def attach(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return ``array`` with the type that user code is handed."""
        return array.view(WorkspaceArray)

    def _do_nothing(self, *arguments: Any, **options: Any) -> None:
        """Do nothing: there is no memory."""

    initialize_workspace = resize = shrink = reset_learning = cap = destroy = _do_nothing
    roll_back = set_previous_workspace = toggle_workspace_use = _do_nothing
