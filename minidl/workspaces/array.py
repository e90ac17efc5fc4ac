"""The array type that lives in workspaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import attachment
from .array_functions import array_function, call_checked, settled
from .array_handlers import dot, take
from .attachment import CANNOT_DUPLICATE, check_movable, check_usable
from .moments import mean, standard_deviation, variance
from .ufuncs import array_ufunc, readable_items

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = ["WorkspaceArray", "new_root"]

_ndarray = np.ndarray
_view = np.ndarray.view
_getitem = np.ndarray.__getitem__
_setitem = np.ndarray.__setitem__


class WorkspaceArray(np.ndarray):
    """An array whose NumPy results go to the current workspace; attached if its memory belongs to one.

    Attachment is recorded once per cycle on a *root* array over the whole block, at which the ``base`` of every
    view ends; ``_alive``, ``_workspace`` and ``_generation`` are set on roots only. All ufuncs with all their methods,
    the functions made of them (``sum``, ``clip``, ``cumsum``, ``vstack`` ...), ``dot``, ``mean``, ``var``, ``std``,
    ``concatenate``, ``stack``, ``where``, ``einsum``, ``take`` and ``sort`` put their results into the current
    workspace of the calling thread, or on the heap if there is none. All other functions and the methods that copy
    (``copy``, ``astype``, ``flatten``, indexing with arrays, the module ``copy``) return plain arrays; so does
    unpickling. For a copy in the current workspace: ``migrate``.

    Every use of an array whose scope was left raises StaleArrayError. Aliases that NumPy's C level makes without
    asking (``np.asarray(x)``, memoryviews, tensors) are plain arrays that nobody watches.
    """

    __slots__ = ("_alive", "_generation", "_workspace")
    _alive: bool
    _generation: int
    _workspace: Workspace

    __array_ufunc__ = array_ufunc
    __array_function__ = array_function  # type: ignore[assignment]  # NumPy passes a tuple and a dict

    # Where it lives

    @property
    def is_attached(self) -> bool:
        """Whether its memory belongs to a workspace, valid or not."""
        return attachment.is_attached(self)

    @property
    def in_scope(self) -> bool:
        """Whether it is detached or the scope of its workspace is open."""
        return attachment.in_scope(self)

    def detach(self) -> npt.NDArray[Any]:
        """See ``minidl.nd.detach``."""
        return attachment.detach(self)

    def leverage(self) -> npt.NDArray[Any]:
        """See ``minidl.nd.leverage``."""
        return attachment.leverage(self)

    def leverage_to(self, id: str, enforce: bool = False) -> npt.NDArray[Any]:
        """See ``minidl.nd.leverage_to``."""
        return attachment.leverage_to(self, id, enforce)

    def leverage_or_detach(self, id: str) -> npt.NDArray[Any]:
        """See ``minidl.nd.leverage_or_detach``."""
        return attachment.leverage_or_detach(self, id)

    def migrate(self, detach_on_no_workspace: bool = False) -> npt.NDArray[Any]:
        """See ``minidl.nd.migrate``."""
        return attachment.migrate(self, detach_on_no_workspace)

    # Elements

    def __getitem__(self, key: Any) -> Any:
        if not getattr(self.base, "_alive", None):
            check_usable(self, "getitem")
        if type(key) is WorkspaceArray:
            check_usable(key, "getitem", "Y")
        elif type(key) is tuple and WorkspaceArray in map(type, key):  # one of 0-d gives a view, as a number does
            readable_items(WorkspaceArray, key, "getitem", "Y")
        result = _getitem(self, key)
        if type(result) is WorkspaceArray and type(result.base) is not WorkspaceArray:  # a copy, not a view
            readable_items(WorkspaceArray, key, "getitem", "Y")
            return _view(result, _ndarray)
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        if not getattr(self.base, "_alive", None):
            check_usable(self, "setitem", "Z")
        for part in key if type(key) is tuple else (key,):
            if type(part) is WorkspaceArray:
                check_usable(part, "setitem", "Y")
        if isinstance(value, (_ndarray, list, tuple)):
            readable_items(WorkspaceArray, value, "setitem", "X")
        _setitem(self, key, value)

    # Text, copies, pickles

    def __repr__(self) -> str:
        check_usable(self, "repr")
        prefix = "WorkspaceArray("
        return f"{prefix}{np.array2string(_view(self, _ndarray), separator=', ', prefix=prefix)}, dtype={self.dtype})"

    def __str__(self) -> str:
        check_usable(self, "str")
        return str(_view(self, _ndarray))

    def __format__(self, specification: str) -> str:
        check_usable(self, "format")
        return format(_view(self, _ndarray), specification)

    def copy(self, order: Any = "C") -> npt.NDArray[Any]:  # type: ignore[override]
        """Return an independent plain array. Raises StaleArrayError (E3, E4)."""
        check_movable(self, CANNOT_DUPLICATE)
        return _view(self, _ndarray).copy(order)

    def __copy__(self) -> npt.NDArray[Any]:  # type: ignore[override]
        return self.copy("K")

    def __deepcopy__(self, memo: dict[int, Any] | None) -> npt.NDArray[Any]:  # type: ignore[override]
        return self.copy("K")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.copy("K").__reduce_ex__(protocol)

    def __reduce__(self) -> Any:
        return self.copy("K").__reduce__()

    # What NumPy computes without asking the type

    def dot(self, *arguments: Any, **options: Any) -> Any:
        """``np.dot``, into the current workspace."""
        return call_checked(WorkspaceArray, np.dot, (self, *arguments), options, dot)

    def take(self, *arguments: Any, **options: Any) -> Any:
        """``np.take``, into the current workspace."""
        return call_checked(WorkspaceArray, np.take, (self, *arguments), options, take)

    def mean(self, *arguments: Any, **options: Any) -> Any:
        """``np.mean``, into the current workspace."""
        return call_checked(WorkspaceArray, np.mean, (self, *arguments), options, mean)

    def var(self, *arguments: Any, **options: Any) -> Any:
        """``np.var``, into the current workspace."""
        return call_checked(WorkspaceArray, np.var, (self, *arguments), options, variance)

    def std(self, *arguments: Any, **options: Any) -> Any:
        """``np.std``, into the current workspace."""
        return call_checked(WorkspaceArray, np.std, (self, *arguments), options, standard_deviation)


def new_root(memory: npt.NDArray[np.uint8], workspace: Workspace) -> WorkspaceArray:
    """Return the root of one cycle of ``workspace`` over ``memory``; dead from the start if that is not open."""
    root: WorkspaceArray = memory.view(WorkspaceArray)
    root._alive = workspace.is_scope_active
    root._workspace = workspace
    root._generation = workspace.generation_id
    return root


# Methods of ndarray with the check in front. What gives Python numbers and bytes runs as it is, what gives views stays
# attached, and the rest runs on plain arrays, because NumPy would give its copies the type of the subclass.

# fmt: off
_READING = [
    "__array__", "__bool__", "__complex__", "__dlpack__", "__float__", "__index__", "__int__", "item",
    "tobytes", "tofile", "tolist",
]
_VIEWING = ["conj", "conjugate", "diagonal", "getfield", "ravel", "reshape", "squeeze", "swapaxes", "transpose", "view"]
_COPYING = [
    "__contains__", "argmax", "argmin", "argpartition", "argsort", "astype", "byteswap", "choose", "compress",
    "fill", "flatten", "nonzero", "partition", "put", "repeat", "round", "searchsorted", "setfield", "sort",
    "trace",
]
_VIEWING_ATTRIBUTES = ["T", "ctypes", "data", "imag", "mT", "real"]
# fmt: on


def _reading(name: str) -> Callable[..., Any]:
    method = getattr(_ndarray, name)

    def hook(self: WorkspaceArray, *arguments: Any, **options: Any) -> Any:
        if not getattr(self.base, "_alive", None):
            check_usable(self, name)
        return method(self, *arguments, **options)

    return hook


def _viewing(name: str) -> Callable[..., Any]:
    method = getattr(_ndarray, name)

    def hook(self: WorkspaceArray, *arguments: Any, **options: Any) -> Any:
        if not getattr(self.base, "_alive", None):
            check_usable(self, name)
        return settled(WorkspaceArray, method(self, *arguments, **options))

    return hook


def _copying(name: str) -> Callable[..., Any]:
    method = getattr(_ndarray, name)

    def hook(self: WorkspaceArray, *arguments: Any, **options: Any) -> Any:
        return call_checked(WorkspaceArray, method, (self, *arguments), options)

    return hook


def _viewing_attribute(name: str) -> property:
    attribute = getattr(_ndarray, name)
    read = attribute.__get__

    def get(self: WorkspaceArray) -> Any:
        if not getattr(self.base, "_alive", None):
            check_usable(self, name)
        return read(self)

    def set(self: WorkspaceArray, value: Any) -> None:
        check_usable(self, name, "Z")
        attribute.__set__(self, readable_items(WorkspaceArray, value, name, "X"))

    return property(get, set, doc=f"``numpy.ndarray.{name}``, of an array that may still be read.")


def _get_flat(self: WorkspaceArray) -> Any:
    check_usable(self, "flat")
    return _view(self, _ndarray).flat  # slices of an iterator over the subclass would be copies of its type


def _set_flat(self: WorkspaceArray, values: Any) -> None:
    check_usable(self, "flat", "Z")
    _view(self, _ndarray).flat[...] = readable_items(WorkspaceArray, values, "flat", "X")


for _make, _names in ((_reading, _READING), (_viewing, _VIEWING), (_copying, _COPYING)):
    for _name in _names:
        _hook = _make(_name)
        _hook.__name__, _hook.__doc__ = _name, f"``numpy.ndarray.{_name}``, of an array that may still be read."
        setattr(WorkspaceArray, _name, _hook)
for _name in _VIEWING_ATTRIBUTES:
    setattr(WorkspaceArray, _name, _viewing_attribute(_name))
WorkspaceArray.flat = property(_get_flat, _set_flat, doc="``numpy.ndarray.flat``, plain.")  # type: ignore[method-assign,assignment]
