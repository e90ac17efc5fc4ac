"""The workspace that is none: what code that opens scopes is handed where no workspace is wanted."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NoReturn

import numpy.typing as npt

from ..errors import WorkspaceError

__all__ = ["DummyWorkspace"]


class DummyWorkspace:
    """Scopes without memory: entering and leaving do nothing, and nothing can be allocated.

    Source: ND4J ``DummyWorkspace``.
    """

    id = None
    generation_id = 0
    current_size = 0
    is_scope_active = False

    def __enter__(self) -> DummyWorkspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def notify_scope_entered(self) -> DummyWorkspace:
        """Do nothing."""
        return self

    def begin_cycle(self) -> None:
        """Do nothing."""

    def end_cycle(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def owns(self, array: npt.NDArray[Any]) -> bool:
        """Return False: there is no memory."""
        return False

    def create(self, *arguments: Any, **options: Any) -> NoReturn:
        """Raise WorkspaceError (E11)."""
        raise WorkspaceError(
            "DummyWorkspace does not support allocation. Create a detached array, or enter a workspace.", "E11"
        )

    create_uninitialized = create
