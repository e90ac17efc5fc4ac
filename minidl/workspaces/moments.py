"""Mean, variance and standard deviation in a workspace, with the bits of NumPy's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .ufunc_plans import begin_scratch, end_scratch
from .ufuncs import along_axis

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = ["mean", "standard_deviation", "variance"]

_ndarray = np.ndarray
_view = np.ndarray.view


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
    mark = begin_scratch(workspace, array.nbytes)
    try:
        squares = _view(workspace.allocate(array.shape, array.dtype, "F" if flags.fnc else "C"), _ndarray)
        np.copyto(squares, means if is_scalar or keepdims else np.expand_dims(_view(result, _ndarray), axis))
        np.subtract(array, squares, out=squares)
        np.multiply(squares, squares, out=squares)
        if is_scalar:
            result = np.add.reduce(squares, axis=axis)
        else:
            np.add.reduce(squares, axis=axis, keepdims=keepdims, out=_view(result, _ndarray))
    finally:
        end_scratch(workspace, mark)
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
    return type(array) is _ndarray and array.dtype.char in "fd" and array.size > 0 and array.ndim > 0


def _divided(total: Any, count: int) -> Any:
    """Divide a sum, in place if it is an array, with the bits of NumPy's mean."""
    if not isinstance(total, _ndarray):
        return total.dtype.type(total / np.intp(count))
    target = _view(total, _ndarray)
    # NumPy divides in float64, through buffers; up to here a float32 quotient is the same number
    divisor: Any = count if count <= 1 << 24 else np.intp(count)
    np.true_divide(target, divisor, out=target, casting="unsafe")
    return total
