"""The workspaces of all threads, for as long as anybody uses them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = ["live_workspaces", "register"]

# changed and copied in single steps of the interpreter: a lock could be held when a collection ends another workspace
_references: set[weakref.ref[Workspace]] = set()


def register(workspace: Workspace) -> None:
    """Have ``live_workspaces`` find ``workspace``, without keeping it."""
    _references.add(weakref.ref(workspace, _references.discard))


def live_workspaces() -> list[Workspace]:
    """Return the workspaces of all threads that still exist and were not destroyed, in no particular order.

    Those of a thread go when it ends. ``sum(workspace.current_size for workspace in live_workspaces())`` is what
    all of them have mapped, in bytes.
    """
    workspaces = [reference() for reference in _references.copy()]
    return [workspace for workspace in workspaces if workspace is not None and not workspace.is_destroyed]
