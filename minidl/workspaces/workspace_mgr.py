"""Where arrays live: from what an array is for to the workspace that holds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError, WorkspaceError
from . import attachment
from .array_type import ArrayType
from .configuration import WorkspaceConfiguration
from .manager import ScopedOut, workspace_manager
from .thread_state import open_workspace_ids, state
from .workspace import Order, Workspace

__all__ = ["WorkspaceMgr"]

Target = tuple[str, WorkspaceConfiguration]


class WorkspaceMgr:
    """Says in which workspace arrays of each ArrayType live, and puts them there.

    ``where`` maps types to (id, configuration), ``default`` is for types that neither ``where`` nor
    ``scoped_out`` names, and arrays of the types in ``scoped_out`` are detached. Workspaces are those of the
    calling thread. Raises ConfigurationError for a type that is both mapped and scoped out.
    Source: ND4J ``BaseWorkspaceMgr``.
    """

    def __init__(
        self,
        where: Mapping[ArrayType, Target] | None = None,
        *,
        default: Target | None = None,
        scoped_out: Collection[ArrayType] = (),
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        where = dict(where or {})
        both = [kind.name for kind in where if kind in scoped_out]
        if both:
            raise ConfigurationError(f"{', '.join(both)}: mapped to a workspace and scoped out. Choose one of the two.")
        self.dtype = np.dtype(dtype)
        self._targets: list[Target | None] = [
            where.get(kind, None if kind in scoped_out else default) for kind in ArrayType
        ]
        self._scoped_out = frozenset(scoped_out)
        self._no_leverage: frozenset[str] = frozenset()

    # The map

    def is_scoped_out(self, array_type: ArrayType) -> bool:
        """Tell whether arrays of this type are detached."""
        return array_type in self._scoped_out

    def has_configuration(self, array_type: ArrayType) -> bool:
        """Tell whether this type is scoped out or mapped to a workspace."""
        return self.is_scoped_out(array_type) or self._targets[array_type] is not None

    def workspace_name(self, array_type: ArrayType) -> str | None:
        """Return the id of the workspace of this type, None if it is scoped out. Raises WorkspaceError (E14)."""
        if self.is_scoped_out(array_type):
            return None
        return self._target(array_type)[0]

    def configuration(self, array_type: ArrayType) -> WorkspaceConfiguration | None:
        """Return the configuration for this type, None if it is scoped out. Raises WorkspaceError (E14)."""
        if self.is_scoped_out(array_type):
            return None
        return self._target(array_type)[1]

    def _target(self, array_type: ArrayType) -> Target:
        target = self._targets[array_type]
        if target is None:
            raise WorkspaceError(
                f"No workspace configuration for arrayType: {array_type.name}. Map it or scope it out.",
                "E14",
            )
        return target

    def set_no_leverage_override(self, *ids: str) -> None:
        """Leave arrays of these workspaces where they are: ``leverage_to`` and validation accept them."""
        self._no_leverage = frozenset(ids)

    # Scopes

    def _workspace(self, array_type: ArrayType) -> Workspace | None:
        """Return the open workspace of this type, None if it is scoped out. Raises WorkspaceError (E14, E15)."""
        if array_type in self._scoped_out:
            return None
        name = self._target(array_type)[0]
        workspace = state.workspaces.get(name)
        if workspace is None or not workspace.is_scope_active:
            raise WorkspaceError(
                f'Workspace "{name}" for array type {array_type.name} is not open. Enter it first: '
                f"notify_scope_entered(ArrayType.{array_type.name}). Open workspaces: {open_workspace_ids()}.",
                "E15",
            )
        return workspace

    def notify_scope_entered(self, *array_types: ArrayType) -> Workspace | ScopedOut | ExitStack:
        """Enter the workspaces of these types in order; the result closes them in reverse order."""
        if len(array_types) == 1:
            return self._entered(array_types[0])
        with ExitStack() as stack:
            for array_type in array_types:
                stack.enter_context(self._entered(array_type))
            return stack.pop_all()

    def _entered(self, array_type: ArrayType) -> Workspace | ScopedOut:
        if self.is_scoped_out(array_type):
            return ScopedOut()
        name, configuration = self._target(array_type)
        return workspace_manager.get_and_activate_workspace(configuration, name)

    def notify_scope_borrowed(self, array_type: ArrayType) -> Workspace | ScopedOut:
        """Make the open workspace of this type current until closed. Raises WorkspaceError (E6, E14, E15)."""
        workspace = self._workspace(array_type)
        return ScopedOut() if workspace is None else workspace.notify_scope_borrowed()

    def is_workspace_open(self, array_type: ArrayType) -> bool:
        """Tell whether arrays of this type can be made now; always true for scoped-out types."""
        if self.is_scoped_out(array_type):
            return True
        return workspace_manager.check_if_workspace_exists_and_active(self._target(array_type)[0])

    def assert_open(self, array_type: ArrayType) -> None:
        """Raise WorkspaceError (E19) unless the workspace of this type is open or the type is scoped out."""
        if not self.is_workspace_open(array_type):
            raise WorkspaceError(
                f"Assertion failed: expected workspace for array type {array_type.name} to be open", "E19"
            )

    def assert_not_open(self, array_type: ArrayType) -> None:
        """Raise WorkspaceError (E19) if the workspace of this type is open."""
        if not self.is_scoped_out(array_type) and self.is_workspace_open(array_type):
            raise WorkspaceError(
                f"Assertion failed: expected workspace for array type {array_type.name} to not be open", "E19"
            )

    def assert_current_workspace(self, array_type: ArrayType) -> None:
        """Raise WorkspaceError (E19) unless the workspace of this type is the current one."""
        if self.is_scoped_out(array_type):
            return
        name, current = self._target(array_type)[0], state.current
        if current is None or current.id != name:
            raise WorkspaceError(
                f'Assertion failed: expected current workspace to be "{name}" (for array type {array_type.name}) - '
                f"actual current workspace is {current.id if current else None}",
                "E19",
            )

    # Arrays

    def create(
        self, array_type: ArrayType, shape: Sequence[int], dtype: npt.DTypeLike | None = None, order: Order = "C"
    ) -> npt.NDArray[Any]:
        """Return a zero-filled array where this type lives. Raises WorkspaceError (E14, E15)."""
        array = self.create_uninitialized(array_type, shape, dtype, order)
        array.fill(0)
        return array

    def create_uninitialized(
        self, array_type: ArrayType, shape: Sequence[int], dtype: npt.DTypeLike | None = None, order: Order = "C"
    ) -> npt.NDArray[Any]:
        """Return an array where this type lives, holding anything. Raises WorkspaceError (E14, E15)."""
        workspace = self._workspace(array_type)
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        if workspace is None:
            return np.empty(shape, dtype, order)
        return workspace.create_uninitialized(shape, dtype, order)

    def dup(self, array_type: ArrayType, array: npt.NDArray[Any], order: Order = "C") -> npt.NDArray[Any]:
        """Return a copy of ``array`` where this type lives."""
        copy = self.create_uninitialized(array_type, array.shape, array.dtype, order)
        np.copyto(copy, array)
        return copy

    def cast_to(
        self,
        array_type: ArrayType,
        dtype: npt.DTypeLike,
        array: npt.NDArray[Any],
        dup_if_correct_type: bool = False,
    ) -> npt.NDArray[Any]:
        """Return ``array`` as ``dtype``: itself if it has it and lives in the right place or nowhere, else a copy."""
        if array.dtype == np.dtype(dtype) and not dup_if_correct_type:
            workspace = self._workspace(array_type)
            if not attachment.is_attached(array) or (workspace is not None and workspace.owns(array)):
                return array
        copy = self.create_uninitialized(array_type, array.shape, dtype)
        np.copyto(copy, array, casting="unsafe")
        return copy

    def leverage_to(self, array_type: ArrayType, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an attached array moved to where this type lives, a detached one as it is."""
        root = attachment.root_of(array)
        if root is None or root._workspace.id in self._no_leverage:
            return array
        workspace = self._workspace(array_type)
        return attachment.detach(array) if workspace is None else attachment.leverage_to(array, workspace.id, True)

    def validate_array_location(
        self,
        array_type: ArrayType,
        array: npt.NDArray[Any],
        migrate_if_invalid: bool = False,
        exception_if_detached: bool = False,
    ) -> npt.NDArray[Any]:
        """Return ``array`` if it lives where this type does, else its copy there, else raise (E16, E17, E18).

        A detached array passes unless ``exception_if_detached``.
        """
        root = attachment.root_of(array)
        expected = self.workspace_name(array_type)
        actual = root._workspace.id if root is not None else None
        if actual == expected or actual in self._no_leverage:
            return array
        if actual is None and not exception_if_detached:
            return array
        if actual is not None and migrate_if_invalid:
            return self.leverage_to(array_type, array)
        raise self._misplaced(array_type, actual, expected)

    @staticmethod
    def _misplaced(array_type: ArrayType, actual: str | None, expected: str | None) -> WorkspaceError:
        start = f"Array workspace validation failed: Array of type {array_type.name} should be"
        if expected is None:
            return WorkspaceError(
                f"{start} detached (no workspace) but is in workspace: {actual}. Call its detach().", "E16"
            )
        if actual is None:
            return WorkspaceError(
                f'{start} in workspace "{expected}" but is detached. Create it with '
                f"workspace_mgr.create(ArrayType.{array_type.name}, shape).",
                "E17",
            )
        return WorkspaceError(
            f'{start} in workspace "{expected}" but is in workspace "{actual}". Call leverage_to({expected!r}) on it.',
            "E18",
        )
