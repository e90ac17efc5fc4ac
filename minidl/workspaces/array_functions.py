"""``__array_function__`` of WorkspaceArray: check every array, then the rule of the function.

Three rules. *Through*: NumPy's own implementation, made of ufuncs and views, gives the right thing for the subclass.
*Handlers*: the result is made in the current workspace and NumPy writes into it, or, in a form that the handler
declines, NumPy makes it and it is copied in. *Plain*: all the others work on plain arrays and give plain results,
except that a view of an attached array comes back attached.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MinidlError
from .array_handlers import HANDLERS, Handler
from .attachment import is_attached
from .thread_state import state
from .ufunc_plans import adopted
from .ufuncs import argument_name, readable_items

if TYPE_CHECKING:
    from .array import WorkspaceArray
    from .workspace import Workspace

__all__ = ["array_function", "call_checked", "settled"]

_ndarray = np.ndarray
_view = np.ndarray.view

# fmt: off
_THROUGH = frozenset({
    np.all, np.amax, np.amin, np.any, np.append, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.clip, np.column_stack,
    np.cumprod, np.cumsum, np.diagonal, np.diff, np.dsplit, np.dstack, np.expand_dims, np.flip, np.fliplr, np.flipud,
    np.hsplit, np.hstack, np.imag, np.array_split, np.matrix_transpose, np.max, np.min, np.moveaxis, np.prod,
    np.ptp, np.ravel, np.real, np.reshape, np.rollaxis, np.rot90, np.split, np.squeeze, np.sum, np.swapaxes,
    np.transpose, np.vsplit, np.vstack,
})
# fmt: on


def array_function(
    self: WorkspaceArray, function: Any, types: Any, arguments: Sequence[Any], options: dict[str, Any]
) -> Any:
    """Call a NumPy function by its rule; NumPy calls this for every one that is not a ufunc.

    Raises StaleArrayError (E1, E2) that names the argument.
    """
    cls = type(self)
    if function in _THROUGH:
        check_arguments(cls, function.__name__, arguments, options)
        return settled(cls, _through(self, function, types, arguments, options))
    return call_checked(cls, function, arguments, options, HANDLERS.get(function))


def _through(self: WorkspaceArray, function: Any, types: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    workspace = state.current
    if workspace is None:
        return np.ndarray.__array_function__(self, function, types, arguments, options)
    offset = workspace.offset
    try:
        return np.ndarray.__array_function__(self, function, types, arguments, options)
    except BaseException:
        workspace.roll_back(offset)  # what its first steps made, when a later one failed
        raise


def check_arguments(
    cls: type[WorkspaceArray], operation: str, arguments: Sequence[Any], options: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments with plain arrays. Raises StaleArrayError (E1, E2)."""
    operands = [readable_items(cls, item, operation, argument_name(i)) for i, item in enumerate(arguments)]
    named = {
        name: readable_items(cls, item, operation, "Z" if name == "out" else name) for name, item in options.items()
    }
    return operands, named


def settled(cls: type[WorkspaceArray], result: Any) -> Any:
    """Return ``result``, plain if it is, or looks at, a copy that NumPy gave the subclass's type."""
    if type(result) is cls:
        base = result.base
        is_copy = base is None or (type(base) is cls and base.base is None)
        return _view(result, _ndarray) if is_copy else result
    if type(result) is list or type(result) is tuple:
        return type(result)([settled(cls, item) for item in result])
    return result


def call_checked(
    cls: type[WorkspaceArray],
    function: Any,
    arguments: Sequence[Any],
    options: dict[str, Any],
    handler: Handler | None = None,
) -> Any:
    """Check the arguments, then let ``handler`` make the result, or NumPy where there is none or it declines."""
    operands, named = check_arguments(cls, function.__name__, arguments, options)
    workspace = state.current
    # in a ring NumPy works on the heap, as making room for a result may overwrite an operand
    if handler is not None and workspace is not None and not workspace.is_circular:
        result = _handled(workspace, handler, operands, named)
        if result is not None:
            return result
    result = function(*operands, **named)
    for given, mine in zip((*arguments, *options.values()), (*operands, *named.values()), strict=True):
        if result is mine:  # an out argument
            return given
    if handler is None or workspace is None or _is_view(result, operands):
        return reattached(cls, result)
    return adopted(workspace, result)


def _handled(workspace: Workspace, handler: Handler, operands: list[Any], named: dict[str, Any]) -> Any:
    """Return what ``handler`` makes, or None, with nothing left in ``workspace``, if it declines or fails."""
    offset = workspace.offset
    try:
        return handler(workspace, *operands, **named)
    except BaseException as error:
        workspace.roll_back(offset)
        if isinstance(error, MinidlError) or not isinstance(error, Exception):
            raise
        return None  # options that the handler does not know, or a mistake, which NumPy is to report


def _is_view(result: Any, operands: list[Any]) -> bool:
    if type(result) is not _ndarray or result.base is None:
        return False
    return any(isinstance(operand, _ndarray) and np.may_share_memory(result, operand) for operand in operands)


def reattached(cls: type[WorkspaceArray], result: Any) -> Any:
    """Return ``result`` with plain views of attached arrays in it as arrays of type ``cls``."""
    if type(result) is _ndarray:
        return _view(result, cls) if result.base is not None and is_attached(result) else result
    if type(result) is list or type(result) is tuple:
        return type(result)([reattached(cls, item) for item in result])
    return result
