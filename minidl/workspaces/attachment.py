"""Where an array's memory lives, whether it may still be read, and how it is moved: for arrays of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import DtypeError, NoSuchWorkspaceError, StaleArrayError
from .thread_state import open_workspace_ids, state

if TYPE_CHECKING:
    from .array import WorkspaceArray
    from .workspace import Workspace

__all__ = [
    "check_movable",
    "check_usable",
    "copied_into",
    "detach",
    "in_scope",
    "is_attached",
    "leverage",
    "leverage_or_detach",
    "leverage_to",
    "migrate",
    "plain",
    "root_of",
]

Array = TypeVar("Array")

CANNOT_DETACH = "Cannot detach INDArray"
CANNOT_LEVERAGE = "Cannot leverage INDArray to new workspace"
CANNOT_DUPLICATE = "Cannot duplicate INDArray"
_REMEDY = (
    "Inside the scope, call detach() to keep an independent copy, or leverage_to(id) to move the array to a "
    "workspace that stays open longer."
)
_ndarray = np.ndarray
_view = np.ndarray.view


def plain(array: Any) -> Any:
    """Return ``array`` as a plain ndarray on the same memory; what is no array comes back as it is."""
    return _view(array, _ndarray) if isinstance(array, _ndarray) and type(array) is not _ndarray else array


def root_of(array: object) -> WorkspaceArray | None:
    """Return the root of the cycle whose memory ``array`` looks at, or None when it is detached.

    Plain views, memoryviews and what NumPy puts between them (``as_strided``) are followed too.
    """
    owner: Any = array
    while owner is not None:
        if hasattr(owner, "_alive"):
            return owner
        below = getattr(owner, "base", None)
        owner = getattr(owner, "obj", None) if below is None else below
    return None


def is_attached(array: object) -> bool:
    """Tell whether the memory of ``array`` belongs to a workspace, be it spilled, and whether or not it is valid."""
    return root_of(array) is not None


def in_scope(array: object) -> bool:
    """Tell whether ``array`` is detached, or the scope of its workspace is open, or in a ring: whether it is valid."""
    root = root_of(array)
    if root is None:
        return True
    return root._alive if root._workspace.is_circular else root._workspace.is_scope_active


def check_usable(array: Any, operation: str, argument: str = "X") -> None:
    """Raise StaleArrayError unless ``array``, an ``argument`` of ``operation``, is detached or still valid.

    The code is E1 when its workspace is closed, E2 when it was opened again since.
    """
    if getattr(array.base, "_alive", None):
        return
    root = root_of(array)
    if root is None or root._alive:
        return
    workspace = root._workspace
    reopened = _was_reopened(root)
    raise StaleArrayError(
        f"Op [{operation}] {argument} argument uses {'outdated' if reopened else 'leaked'} workspace pointer from "
        f"workspace [{workspace.id}]: the array of shape {array.shape} was made in a scope of it that was left, and "
        f"{_state_of(root)}. Array WS iteration: {root._generation}, Workspace current iteration: "
        f"{workspace.generation_id}. All open workspaces: {open_workspace_ids()}. {_REMEDY}",
        "E2" if reopened else "E1",
    )


def check_movable(array: Any, prefix: str) -> WorkspaceArray | None:
    """Return the root of ``array``, None if it is detached; ``prefix`` says what cannot be done when it is stale.

    Raises StaleArrayError, E3 when its workspace is closed, E4 when it was opened again since.
    """
    root = root_of(array)
    if root is None or root._alive:
        return root
    workspace = root._workspace
    if _was_reopened(root):
        text, code = f"Array outdated workspace pointer from workspace {workspace.id}", "E4"
    else:
        text, code = f"Array uses leaked workspace pointer from workspace {workspace.id}", "E3"
    raise StaleArrayError(
        f"{prefix}: {text} (array generation {root._generation}, current workspace generation "
        f"{workspace.generation_id}): the array of shape {array.shape} was made in a scope of it that was left, and "
        f"{_state_of(root)}. All open workspaces: {open_workspace_ids()}. {_REMEDY}",
        code,
    )


def _was_reopened(root: WorkspaceArray) -> bool:
    workspace = root._workspace
    return workspace.generation_id != root._generation and (workspace.is_scope_active or workspace.is_circular)


def _state_of(root: WorkspaceArray) -> str:
    if root._workspace.is_destroyed:
        return "the workspace was destroyed"
    if root._workspace.is_circular:
        return "the circular workspace has used its memory again, or freed it, since"
    if _was_reopened(root):
        return "the workspace was closed and opened again since"
    if root._workspace.is_scope_active:
        return "the workspace has given its memory back"
    return "the workspace is no longer open"


def detach(array: Array) -> Array:
    """Return ``array`` itself if it is detached, else an independent plain copy, contiguous, in F order if it was.

    Raises StaleArrayError (E3, E4).
    """
    if check_movable(array, CANNOT_DETACH) is None:
        return array
    return np.array(plain(array), order="A")  # type: ignore[return-value]


def leverage(array: Array) -> Array:
    """Return a copy in the workspace that encloses the current one, detached if there is none.

    A detached array, and one that is there already, comes back as it is. Raises StaleArrayError (E3, E4).
    """
    root = check_movable(array, CANNOT_LEVERAGE)
    if root is None:
        return array
    current = state.current
    parent = None if current is None else current.parent_workspace
    if parent is None:
        return detach(array)
    return array if root._workspace is parent else copied_into(parent, array)


def leverage_to(array: Array, id: str, enforce: bool = False) -> Array:
    """Return a copy in this thread's workspace ``id``, which need not be open.

    A detached array, and one that is there already, comes back as it is; so does any array if there is no such
    workspace, unless ``enforce`` is set. Raises StaleArrayError (E3, E4), NoSuchWorkspaceError (E10).
    """
    root = check_movable(array, CANNOT_LEVERAGE)
    if root is None:
        return array
    target = state.workspaces.get(id)
    if target is not None and not target.is_destroyed:
        return array if root._workspace is target else copied_into(target, array)
    if enforce:
        raise NoSuchWorkspaceError(
            f"There is no workspace {id} in this thread to leverage an array of shape {array.shape} to. "  # type: ignore[attr-defined]
            f"Its workspaces: {list(state.workspaces)}.",
            "E10",
        )
    return array


def leverage_or_detach(array: Array, id: str) -> Array:
    """Return ``leverage_to(array, id)`` if that workspace exists and is open, else ``detach(array)``.

    Raises StaleArrayError (E3, E4).
    """
    target = state.workspaces.get(id)
    if target is not None and target.is_scope_active:
        return leverage_to(array, id)
    check_movable(array, CANNOT_LEVERAGE)
    return detach(array)


def migrate(array: Array, detach_on_no_workspace: bool = False) -> Array:
    """Return a copy in the current workspace, also of a detached array and of one that is there already.

    With no current workspace ``array`` itself, or detached if ``detach_on_no_workspace``.
    Raises StaleArrayError (E3, E4), DtypeError for arrays of Python objects.
    """
    check_movable(array, CANNOT_LEVERAGE)
    if state.current is None:
        return detach(array) if detach_on_no_workspace else array
    return copied_into(state.current, array)


def copied_into(workspace: Workspace, array: Any) -> Any:
    """Return a contiguous copy of ``array`` in ``workspace``, in F order if it was. Raises DtypeError."""
    source = np.asarray(array)
    if workspace.is_circular:
        source = source.copy("K")  # making room for the copy may overwrite the array
    if source.dtype.hasobject:
        raise DtypeError(
            f"an array of shape {source.shape} and dtype {source.dtype} holds Python objects, which cannot live in "
            f"recycled memory: it cannot move to workspace [{workspace.id}]. Leave it detached."
        )
    copy = workspace.allocate(source.shape, source.dtype, "F" if source.flags.fnc else "C")
    np.copyto(_view(copy, _ndarray), plain(source))
    return copy
