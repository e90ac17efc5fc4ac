"""``__array_function__`` of WorkspaceArray: check every array, then the rule of the function.

Three rules. *Through*: NumPy's own implementation, made of ufuncs and views, gives the right thing for the subclass.
*Handlers*: the result is made in the current workspace and NumPy writes into it. *Plain*: all the others work on
plain arrays and give plain results, except that a view of an attached array comes back attached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .attachment import is_attached
from .layout import Layout, broadcast_strides, concatenation_order, k_order
from .thread_state import state
from .ufunc_plans import ARENA_KINDS
from .ufuncs import along_axis, argument_name, planned, readable_items

if TYPE_CHECKING:
    from .array import WorkspaceArray
    from .workspace import Workspace

__all__ = ["array_function", "call_checked", "dot", "mean", "settled", "standard_deviation", "variance"]

_ndarray = np.ndarray
_view = np.ndarray.view

Handler = Callable[..., Any]
"""Takes the current workspace and the arguments, all plain; returns an attached array, or None to decline."""

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
        return settled(cls, np.ndarray.__array_function__(self, function, types, arguments, options))
    return call_checked(cls, function, arguments, options, _HANDLERS.get(function))


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
    if handler is not None and workspace is not None:
        try:
            result = handler(workspace, *operands, **named)
        except (TypeError, ValueError, IndexError):
            result = None  # options that the handler does not know, or a mistake, which NumPy is to report
        if result is not None:
            return result
    result = function(*operands, **named)
    for given, mine in zip((*arguments, *options.values()), (*operands, *named.values()), strict=True):
        if result is mine:  # an out argument
            return given
    return reattached(cls, result)


def reattached(cls: type[WorkspaceArray], result: Any) -> Any:
    """Return ``result`` with plain views of attached arrays in it as arrays of type ``cls``."""
    if type(result) is _ndarray:
        return _view(result, cls) if result.base is not None and is_attached(result) else result
    if type(result) is list or type(result) is tuple:
        return type(result)([reattached(cls, item) for item in result])
    return result


# Handlers


def _numeric(*arrays: Any) -> bool:
    return all(type(array) is _ndarray and array.dtype.char in ARENA_KINDS for array in arrays)


def _key(*operands: Any) -> list[Any]:
    parts: list[Any] = []
    for operand in operands:
        if type(operand) is _ndarray:
            parts += (operand.shape, operand.strides, operand.dtype)
        elif isinstance(operand, (bool, int, float, complex, np.number)):
            parts.append(type(operand))
        else:
            raise TypeError(f"no rule for an operand of type {type(operand)}")
    return parts


def dot(workspace: Workspace, a: Any, b: Any) -> Any:
    """The product ``np.dot(a, b)`` of arrays."""
    if not _numeric(a, b) or a.ndim == 0 or b.ndim == 0:
        return None
    shape = a.shape[:-1] + b.shape[:-2] + b.shape[-1:] if b.ndim > 1 else a.shape[:-1]
    if not shape or a.shape[-1] != b.shape[-2 if b.ndim > 1 else -1]:
        return None
    result = workspace.allocate(shape, np.result_type(a, b))
    np.dot(a, b, out=_view(result, _ndarray))
    return result


def mean(workspace: Workspace, array: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The mean as NumPy computes it, sum and quotient, for float32 and float64."""
    if not _is_real(array):
        return None
    total = along_axis(workspace, np.add, "reduce", array, {"axis": axis, "keepdims": keepdims})
    return _divided(total, array.size // np.size(total))


def variance(workspace: Workspace, array: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    """The variance as NumPy computes it, in two passes, for float32 and float64 without gaps."""
    flags = array.flags
    if not _is_real(array) or type(ddof) is not int or not (flags.c_contiguous or flags.f_contiguous):
        return None
    offset = workspace.offset
    result = along_axis(workspace, np.add, "reduce", array, {"axis": axis, "keepdims": keepdims})
    count = array.size // np.size(result)
    if count <= ddof:
        workspace.roll_back(offset)
        return None
    means = _divided(result, count)
    is_scalar = not isinstance(result, _ndarray)
    offset = workspace.offset
    squares = _view(workspace.allocate(array.shape, array.dtype, "F" if flags.fnc else "C"), _ndarray)
    np.copyto(squares, means if is_scalar or keepdims else np.expand_dims(_view(result, _ndarray), axis))
    np.subtract(array, squares, out=squares)
    np.multiply(squares, squares, out=squares)
    if is_scalar:
        result = np.add.reduce(squares, axis=axis)
    else:
        np.add.reduce(squares, axis=axis, keepdims=keepdims, out=_view(result, _ndarray))
    workspace.roll_back(offset)
    return _divided(result, count - ddof)


def standard_deviation(
    workspace: Workspace, array: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False
) -> Any:
    """The square root of ``variance``."""
    result = variance(workspace, array, axis, ddof=ddof, keepdims=keepdims)
    if isinstance(result, _ndarray):
        target = _view(result, _ndarray)
        np.sqrt(target, out=target)
        return result
    return None if result is None else np.sqrt(result)


def _is_real(array: Any) -> bool:
    return type(array) is _ndarray and array.dtype.char in "fd" and array.size > 0


def _divided(total: Any, count: int) -> Any:
    """Divide a sum, in place if it is an array, with the bits of NumPy's mean."""
    if not isinstance(total, _ndarray):
        return total.dtype.type(total / np.intp(count))
    target = _view(total, _ndarray)
    # NumPy divides in float64, through buffers; up to here a float32 quotient is the same number
    divisor: Any = count if count <= 1 << 24 else np.intp(count)
    np.true_divide(target, divisor, out=target, casting="unsafe")
    return total


def _concatenate(
    workspace: Workspace, arrays: Any, axis: int = 0, out: None = None, *, dtype: None = None, casting: str = ""
) -> Any:
    if out is not None or dtype is not None or axis is None or not arrays or not _numeric(*arrays):
        return None
    layout = planned(
        (np.concatenate, axis, *_key(*arrays)), lambda: _concatenation_layout(arrays, range(arrays[0].ndim)[axis])
    )
    result = layout.allocate(workspace)
    np.concatenate(arrays, axis, out=_view(result, _ndarray))
    return result


def _concatenation_layout(arrays: Sequence[Any], axis: int) -> Layout:
    shape = list(arrays[0].shape)
    shape[axis] = sum([array.shape[axis] for array in arrays])
    dtype = np.result_type(*[array.dtype for array in arrays])
    return Layout(tuple(shape), dtype, concatenation_order([broadcast_strides(array, len(shape)) for array in arrays]))


def _stack(workspace: Workspace, arrays: Any, axis: int = 0) -> Any:
    index = (*(slice(None),) * range(arrays[0].ndim + 1)[axis], None)
    return _concatenate(workspace, [array[index] for array in arrays], axis)


def _where(workspace: Workspace, condition: Any, x: Any, y: Any) -> Any:
    layout = planned((np.where, *_key(condition, x, y)), lambda: _where_layout(condition, x, y))
    if layout is None:
        return None
    result = layout.allocate(workspace)
    target = _view(result, _ndarray)
    np.copyto(target, y)
    np.copyto(target, x, where=condition)
    return result


def _where_layout(condition: Any, x: Any, y: Any) -> Layout | None:
    dtype = np.result_type(x, y)
    shape = np.broadcast_shapes(np.shape(condition), np.shape(x), np.shape(y))
    if type(condition) is not _ndarray or condition.dtype != np.bool_ or dtype.char not in ARENA_KINDS or not shape:
        return None
    rows = [broadcast_strides(np.asarray(array), len(shape)) for array in (condition, x, y)]
    return Layout(shape, dtype, k_order(rows))


def _einsum(workspace: Workspace, subscripts: Any, *operands: Any) -> Any:
    layout = planned((np.einsum, subscripts, *_key(*operands)), lambda: _einsum_layout(subscripts, operands))
    if layout is None:
        return None
    result = layout.allocate(workspace)
    np.einsum(subscripts, *operands, out=_view(result, _ndarray))
    return result


def _einsum_layout(subscripts: Any, operands: Sequence[Any]) -> Layout | None:
    """Return the layout of a product with named output axes, of two operands or more; None for other forms."""
    if type(subscripts) is not str or len(operands) < 2 or not _numeric(*operands):
        return None
    inputs, _, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not output.isalpha() or not "".join(terms).isalpha() or len(terms) != len(operands):
        return None
    if any(len(set(term)) < len(term) for term in (*terms, output)):
        return None
    labels = output + "".join(sorted({*inputs} - {*output, ","}))  # the axes of NumPy's iteration
    rows, extents = [], dict[str, int]()
    for term, operand in zip(terms, operands, strict=True):
        strides = dict(zip(term, broadcast_strides(operand, operand.ndim), strict=True))
        if min(strides.values()) < 0:  # given an output, NumPy walks such an axis the other way
            return None
        rows.append([strides.get(label, 0) for label in labels])
        for label, extent in zip(term, operand.shape, strict=True):
            extents[label] = max(extent, extents.get(label, 1))
    shape = tuple([extents[label] for label in output])
    return Layout(shape, np.result_type(*operands), [axis for axis in k_order(rows) if axis < len(output)])


def _take(workspace: Workspace, array: Any, indices: Any, axis: int | None = None) -> Any:
    # out= with the default mode is buffered, so what that mode would refuse is looked for first
    indices = np.asarray(indices)
    if not _numeric(array, indices) or indices.dtype != np.intp or not indices.size or not indices.ndim:
        return None
    extent = array.size if axis is None else array.shape[axis]
    if int(indices.min()) < -extent or int(indices.max()) >= extent:
        return None
    if axis is None:
        shape = indices.shape
    else:
        axis = range(array.ndim)[axis]
        shape = array.shape[:axis] + indices.shape + array.shape[axis + 1 :]
    result = workspace.allocate(shape, array.dtype)
    np.take(array, indices, axis, out=_view(result, _ndarray), mode="wrap")
    return result


def _sort(workspace: Workspace, array: Any, axis: int = -1) -> Any:
    if not _numeric(array) or array.ndim == 0 or axis is None:
        return None
    order = k_order([broadcast_strides(array, array.ndim)])
    result = Layout(array.shape, array.dtype, order).allocate(workspace)
    target = _view(result, _ndarray)
    np.copyto(target, array)
    target.sort(axis)
    return result


_HANDLERS: dict[Any, Handler] = {
    np.concatenate: _concatenate,
    np.dot: dot,
    np.einsum: _einsum,
    np.mean: mean,
    np.sort: _sort,
    np.stack: _stack,
    np.std: standard_deviation,
    np.take: _take,
    np.var: variance,
    np.where: _where,
}
