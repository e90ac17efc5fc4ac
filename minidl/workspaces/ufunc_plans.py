"""How a ufunc call on operands of given shapes, strides and types is carried out without a heap request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .layout import Layout, broadcast_strides, has_layout, k_order

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = [
    "ARENA_KINDS",
    "CallPlan",
    "adopted",
    "begin_scratch",
    "end_scratch",
    "plan_again",
    "plan_call",
    "plan_into",
    "plan_reduction",
    "plan_running",
]

ARENA_KINDS = "?bhilqpBHILQPefdgFDG"  # type characters; objects must not, text and dates need not, live in an arena
STAGED_FROM = 1024
"""Bytes of a result below which NumPy's hidden buffers are smaller than what staging costs."""
_WEAK = (int, float, complex)
_CORE_AXES = {"matmul": (2, 2), "vecdot": (1, 1), "matvec": (2, 1), "vecmat": (1, 2)}

_ndarray = np.ndarray
_view = np.ndarray.view


class CallPlan:
    """The results to make, and the operands to copy first: ``staged`` lists (operand, layout, whether in the result).

    NumPy reads an operand that is broadcast, strided or of another type through a buffer of 8192 elements from the
    heap. Copied into the layout of the result first, it is read where it is. ``direct`` is False for an output with
    gaps, which is computed elsewhere and copied.
    """

    __slots__ = ("_request", "direct", "results", "scratch", "staged")

    def __init__(
        self, results: tuple[Layout, ...], staged: tuple[tuple[int, Layout, bool], ...] = (), direct: bool = True
    ) -> None:
        self.results = results
        self.staged = staged
        self.direct = direct
        self._request = results[0].request if len(results) == 1 and not staged else None
        self.scratch = sum([layout.nbytes for _, layout, in_result in staged if not in_result])

    def compute(
        self, workspace: Workspace, function: Callable[..., Any], operands: list[Any], options: dict[str, Any]
    ) -> Any:
        """Return the result of ``function``, or the tuple of its results, in ``workspace``."""
        if workspace.is_circular:  # making room for the result may overwrite an operand
            return adopted(workspace, function(*operands, **options))
        request = self._request
        if request is None:
            return self._compute_staged(workspace, function, operands, options)
        offset = workspace.offset
        try:
            result = workspace.allocate(*request)
            function(*operands, out=_view(result, _ndarray), **options)
            return result
        except BaseException:
            workspace.roll_back(offset)
            raise

    def _compute_staged(
        self, workspace: Workspace, function: Callable[..., Any], operands: list[Any], options: dict[str, Any]
    ) -> Any:
        offset = workspace.offset
        try:
            if len(self.results) > 1:
                results: Any = tuple([layout.allocate(workspace) for layout in self.results])
                targets: Any = tuple([_view(result, _ndarray) for result in results])
            else:
                results = self.results[0].allocate(workspace)
                targets = _view(results, _ndarray)
            mark = begin_scratch(workspace, self.scratch)
            try:
                self._stage(workspace, operands, targets)
                function(*operands, out=targets, **options)
            finally:
                end_scratch(workspace, mark)
            return results
        except BaseException:
            workspace.roll_back(offset)
            raise

    def compute_into(
        self, target: np.ndarray, workspace: Workspace, function: Callable[..., Any], operands: list[Any]
    ) -> None:
        """Write the result of ``function`` to ``target``."""
        if workspace.is_circular:  # making room for scratch may overwrite an operand
            function(*operands, out=target)
            return
        mark = begin_scratch(workspace, self.scratch if self.direct else self.scratch + self.results[0].nbytes)
        try:
            result = target if self.direct else _view(self.results[0].allocate(workspace), _ndarray)
            self._stage(workspace, operands, result)
            function(*operands, out=result)
            if not self.direct:
                np.copyto(target, result)
        finally:
            end_scratch(workspace, mark)

    def _stage(self, workspace: Workspace, operands: list[Any], target: np.ndarray) -> None:
        for position, layout, in_result in self.staged:
            stage = target if in_result else _view(layout.allocate(workspace), _ndarray)
            np.copyto(stage, operands[position], casting="unsafe")  # to the type that the loop computes in
            operands[position] = stage


def begin_scratch(workspace: Workspace, size: int) -> int | None:
    """Mark where up to eight arrays of ``size`` bytes together begin, for ``end_scratch`` to give back.

    A scratch scope costs a microsecond more than a roll-back, but it frees what spills, and never wraps.
    """
    offset = workspace.offset
    if offset + size + 8 * workspace._pad <= workspace._limit:
        return offset
    workspace._begin_scratch()
    return None


def end_scratch(workspace: Workspace, mark: int | None) -> None:
    """Give back what was allocated since ``begin_scratch`` returned ``mark``."""
    if mark is None:
        workspace._end_scratch()
    else:
        workspace.roll_back(mark)


def adopted(workspace: Workspace, result: Any) -> Any:
    """Return ``result`` with the plain arrays of numbers in it copied into ``workspace``, in the order they have.

    For the calls that no plan covers, so that NumPy had to make their results on the heap.
    """
    if type(result) is tuple:
        return tuple([adopted(workspace, item) for item in result])
    if type(result) is not _ndarray or result.dtype.char not in ARENA_KINDS:
        return result
    order = k_order([broadcast_strides(result, result.ndim)])
    array = Layout(result.shape, result.dtype, order).allocate(workspace)
    np.copyto(_view(array, _ndarray), result)
    return array


def plan_again(result: Any) -> CallPlan | None:
    """Return the plan that makes ``result`` again, where NumPy alone knew what it would be; None if that is no array.

    The first time NumPy made it, the next times it writes into the workspace.
    """
    if not isinstance(result, _ndarray):
        return None
    return CallPlan((Layout(result.shape, result.dtype, k_order([broadcast_strides(result, result.ndim)])),))


def plan_call(ufunc: np.ufunc, operands: Sequence[Any], options: dict[str, Any]) -> CallPlan | None:
    """Plan ``ufunc(*operands, **options)``; None if the result is a scalar, or NumPy's business (errors, objects)."""
    loop = _loop_types(ufunc, operands, options)
    if loop is None:
        return None
    if ufunc.signature is not None:
        layout = _core_layout(ufunc, operands, loop[-1])
        return None if layout is None else CallPlan((layout,))
    arrays = [operand for operand in operands if isinstance(operand, _ndarray)]
    try:
        shape = np.broadcast_shapes(*[array.shape for array in arrays])
    except ValueError:
        return None
    if not shape:
        return None
    order = k_order([broadcast_strides(array, len(shape)) for array in arrays])
    results = tuple([Layout(shape, dtype, order) for dtype in loop[ufunc.nin :]])
    return CallPlan(results, _staged(operands, loop, results[0], len(results) == 1))


def plan_into(ufunc: np.ufunc, operands: Sequence[Any], target: np.ndarray) -> CallPlan | None:
    """Plan ``ufunc(*operands, out=target)``; None where NumPy needs no buffer, or reports a mistake."""
    loop = _loop_types(ufunc, operands, {})
    if loop is None or ufunc.signature is not None or loop[-1] != target.dtype or target.ndim < 2:
        return None
    layout = Layout(target.shape, target.dtype, k_order([broadcast_strides(target, target.ndim)]))
    direct = has_layout(target, layout)
    try:
        fits = np.broadcast_shapes(target.shape, *[np.shape(operand) for operand in operands]) == target.shape
    except ValueError:
        fits = False
    staged = _staged(operands, loop, layout, not direct)
    return CallPlan((layout,), staged, direct) if fits and staged else None


def _staged(
    operands: Sequence[Any], loop: Sequence[np.dtype[Any]], result: Layout, may_use_result: bool
) -> tuple[tuple[int, Layout, bool], ...]:
    staged: list[tuple[int, Layout, bool]] = []
    if result.nbytes < STAGED_FROM:
        return ()
    for position, (operand, dtype) in enumerate(zip(operands, loop, strict=False)):
        if not isinstance(operand, _ndarray) or operand.ndim == 0:
            continue
        layout = Layout(result.shape, dtype, result.order)
        if has_layout(operand, layout) or _is_line(operand, layout):
            continue
        in_result = may_use_result and dtype == result.dtype
        may_use_result = may_use_result and not in_result
        staged.append((position, layout, in_result))
    return tuple(staged)


def _is_line(operand: np.ndarray, layout: Layout) -> bool:
    """Tell whether NumPy's loop walks ``operand`` in one go, whatever its stride."""
    return operand.ndim == 1 and operand.shape == layout.shape and operand.dtype == layout.dtype


def _loop_types(ufunc: np.ufunc, operands: Sequence[Any], options: dict[str, Any]) -> tuple[np.dtype[Any], ...] | None:
    """Return the types that the loop computes in, inputs first, or None if they are not for an arena."""
    types = [kind if (kind := type(operand)) in _WEAK else np.asarray(operand).dtype for operand in operands]
    rules = {"casting": options.get("casting", "same_kind")}
    if options.get("dtype") is not None:
        rules["signature"] = (None,) * ufunc.nin + (np.dtype(options["dtype"]),) * ufunc.nout
    try:
        loop = ufunc.resolve_dtypes((*types, *(None,) * ufunc.nout), **rules)
    except (TypeError, ValueError):
        return None  # NumPy's own call says it better
    return loop if all(dtype.char in ARENA_KINDS for dtype in loop) else None


def _core_layout(ufunc: np.ufunc, operands: Sequence[Any], dtype: np.dtype[Any]) -> Layout | None:
    """Return the layout of a product of vectors and matrices: loop axes in K order, then the matrix axes."""
    if ufunc.__name__ not in _CORE_AXES or not all(isinstance(operand, _ndarray) for operand in operands):
        return None
    a, b = operands
    a_core, b_core = [
        min(core, operand.ndim) if ufunc is np.matmul else core
        for core, operand in zip(_CORE_AXES[ufunc.__name__], operands, strict=True)
    ]
    if a.ndim < max(a_core, 1) or b.ndim < max(b_core, 1) or a.shape[-1] != b.shape[-b_core]:
        return None
    core = (a.shape[-2:-1] if a_core == 2 else ()) + (b.shape[-1:] if b_core == 2 else ())
    try:
        loop = np.broadcast_shapes(a.shape[: a.ndim - a_core], b.shape[: b.ndim - b_core])
    except ValueError:
        return None
    shape = loop + core
    if not shape:
        return None
    rows = [
        broadcast_strides(operand, len(loop), own_core) + (0,) * len(core)
        for operand, own_core in ((a, a_core), (b, b_core))
    ]
    return Layout(shape, dtype, k_order(rows))


def plan_reduction(ufunc: np.ufunc, array: np.ndarray, options: dict[str, Any]) -> CallPlan | None:
    """Plan ``ufunc.reduce(array, **options)``; None if the result is a scalar or NumPy's business."""
    if min(array.strides, default=0) < 0:
        return None  # given an output, NumPy before 2.2 gets the maximum of a backward array wrong
    axis = options.get("axis", 0)
    axes = range(array.ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    dtype = _running_type(ufunc, array, options)
    try:
        reduced = {range(array.ndim)[one] for one in axes}
    except (IndexError, TypeError):
        return None
    order = k_order([broadcast_strides(array, array.ndim)])
    kept = [axis for axis in order if axis not in reduced]
    if options.get("keepdims"):
        shape = tuple([1 if axis in reduced else extent for axis, extent in enumerate(array.shape)])
        kept += sorted(reduced)
    else:
        shape = tuple([extent for axis, extent in enumerate(array.shape) if axis not in reduced])
        kept = [sorted(kept).index(axis) for axis in kept]
    if not shape or dtype is None:
        return None
    staged: tuple[tuple[int, Layout, bool], ...] = ()
    if dtype != array.dtype and dtype.kind in "iu" and array.nbytes >= STAGED_FROM:
        staged = ((0, Layout(array.shape, dtype, order), False),)
    return CallPlan((Layout(shape, dtype, kept),), staged)


def plan_running(ufunc: np.ufunc, array: np.ndarray, options: dict[str, Any]) -> CallPlan | None:
    """Plan ``ufunc.accumulate(array, **options)``; None where that is NumPy's business."""
    dtype = _running_type(ufunc, array, options)
    if dtype is None or array.ndim == 0:
        return None
    return CallPlan((Layout(array.shape, dtype, k_order([broadcast_strides(array, array.ndim)])),))


def _running_type(ufunc: np.ufunc, array: np.ndarray, options: dict[str, Any]) -> np.dtype[Any] | None:
    """Return the type of a reduction's result, by reducing one element: sums of small integers are wider."""
    if array.dtype.char not in ARENA_KINDS:
        return None
    try:
        with np.errstate(all="ignore"):
            dtype = ufunc.reduce(np.ones((1, 1), array.dtype), axis=0, dtype=options.get("dtype")).dtype
    except (TypeError, ValueError):
        return None
    return dtype if dtype.char in ARENA_KINDS else None
