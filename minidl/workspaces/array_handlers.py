"""NumPy functions whose result is made in a workspace, and NumPy writes into it.

Each handler takes the current workspace and plain arguments, and returns an attached array, or None to decline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .layout import Layout, broadcast_strides, concatenation_order, k_order
from .moments import mean, standard_deviation, variance
from .ufunc_plans import ARENA_KINDS
from .ufuncs import planned

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = ["HANDLERS", "Handler", "dot", "take"]

_ndarray = np.ndarray
_view = np.ndarray.view

Handler = Callable[..., Any]


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


def take(workspace: Workspace, array: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements at ``indices``."""
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


HANDLERS: dict[Any, Handler] = {
    np.concatenate: _concatenate,
    np.dot: dot,
    np.einsum: _einsum,
    np.mean: mean,
    np.sort: _sort,
    np.stack: _stack,
    np.std: standard_deviation,
    np.take: take,
    np.var: variance,
    np.where: _where,
}
