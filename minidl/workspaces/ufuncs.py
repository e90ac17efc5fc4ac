"""``__array_ufunc__`` of WorkspaceArray: check the operands, then compute into the current workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .attachment import check_usable
from .layout import Layout
from .thread_state import state
from .ufunc_plans import CallPlan, adopted, plan_again, plan_call, plan_into, plan_reduction, plan_running

if TYPE_CHECKING:
    from .array import WorkspaceArray
    from .workspace import Workspace

__all__ = ["along_axis", "argument_name", "array_ufunc", "call_ufunc", "planned", "readable_items"]

MAX_PLANS = 4096
_plans: dict[tuple[Any, ...], CallPlan | Layout | None] = {}
_NUMBERS = frozenset({int, float, complex, bool}).union(
    kind for kind in np.sctypeDict.values() if issubclass(kind, (np.number, np.bool_))
)
_PLANNED = frozenset({"dtype", "casting", "subok"})
_MISSING: Any = object()

_ndarray = np.ndarray
_view = np.ndarray.view


def argument_name(position: int) -> str:
    """Return what errors call an input: X and Y as in DL4J, then its number."""
    return "XY"[position] if position < 2 else f"input {position + 1}"


def array_ufunc(self: WorkspaceArray, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """Compute in the current workspace, or on the heap if there is none; NumPy calls this for every ufunc.

    Raises StaleArrayError (E1, E2) that names the argument.
    """
    if method == "__call__":
        return call_ufunc(type(self), ufunc, inputs, options)
    if method in _ALONG_AXIS:
        return _run_along_axis(type(self), ufunc, method, inputs, options)
    return _METHODS[method](type(self), ufunc, inputs, options)


def call_ufunc(cls: type[WorkspaceArray], ufunc: np.ufunc, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """Return ``ufunc(*inputs, **options)``; results of operands of type ``cls`` go to the current workspace."""
    operands, key = _readable(cls, ufunc, inputs)
    if options:
        outputs = options.get("out")
        if outputs is None:
            return _compute_with_options(cls, ufunc, operands, key, options)
        if len(outputs) == 1 == len(options):
            return _compute_into(cls, ufunc, operands, key, outputs[0])
        return _as_given(outputs, ufunc(*operands, **_readable_options(cls, ufunc, options)))
    workspace = state.current
    if workspace is None:
        return ufunc(*operands)
    if key is None:
        return adopted(workspace, ufunc(*operands))
    plan = _plans.get(key, _MISSING)
    if plan is _MISSING:
        plan = _remember(key, plan_call(ufunc, operands, options))
    if plan is None:
        return adopted(workspace, ufunc(*operands))
    return plan.compute(workspace, ufunc, operands, options)


def _readable(
    cls: type[WorkspaceArray], ufunc: np.ufunc, inputs: Sequence[Any]
) -> tuple[list[Any], tuple[Any, ...] | None]:
    """Return the checked inputs as plain arrays, and the key of their plan, None where NumPy decides alone."""
    operands: list[Any] = []
    key: list[Any] = [ufunc]
    known = True
    for operand in inputs:
        kind = type(operand)
        if kind is cls:
            if not getattr(operand.base, "_alive", None):
                check_usable(operand, ufunc.__name__, argument_name(len(operands)))
            operand = _view(operand, _ndarray)
            key += (operand.shape, operand.strides, operand.dtype)
        elif kind is _ndarray:
            if operand.base is not None:
                check_usable(operand, ufunc.__name__, argument_name(len(operands)))
            key += (operand.shape, operand.strides, operand.dtype)
        elif kind in _NUMBERS:
            key.append(kind)
        elif kind is list or kind is tuple:
            operand = np.asarray(readable_items(cls, operand, ufunc.__name__, argument_name(len(operands))))
            key += (operand.shape, operand.strides, operand.dtype)
        else:
            known = False
        operands.append(operand)
    return operands, tuple(key) if known else None


def readable_items(cls: type[WorkspaceArray], items: Any, operation: str, argument: str) -> Any:
    """Return ``items`` with every array in it, however deep, checked, and plain if it is of type ``cls``."""
    kind = type(items)
    if kind is cls:
        check_usable(items, operation, argument)
        return _view(items, _ndarray)
    if kind is _ndarray:
        check_usable(items, operation, argument)
    elif kind is list or kind is tuple:
        return kind([readable_items(cls, item, operation, argument) for item in items])
    return items


def _remember(key: tuple[Any, ...], plan: Any) -> Any:
    if len(_plans) >= MAX_PLANS:
        _plans.clear()
    _plans[key] = plan
    return plan


def planned(key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """Return the plan of that key, made if it is not known."""
    plan = _plans.get(key, _MISSING)
    return _remember(key, make()) if plan is _MISSING else plan


def _compute_into(
    cls: type[WorkspaceArray], ufunc: np.ufunc, operands: list[Any], key: tuple[Any, ...] | None, given: Any
) -> Any:
    """Write a result to the one output ``given``, and return that."""
    workspace = state.current
    target = given
    if type(given) is cls:
        if not getattr(given.base, "_alive", None):
            check_usable(given, ufunc.__name__, "Z")
        target = _view(given, _ndarray)
    elif type(given) is _ndarray:
        check_usable(given, ufunc.__name__, "Z")
    else:
        return ufunc(*operands, out=given)
    plan = None
    if workspace is not None and key is not None:
        key = (*key, "out", target.shape, target.strides, target.dtype)
        plan = _plans.get(key, _MISSING)
        if plan is _MISSING:
            plan = _remember(key, plan_into(ufunc, operands, target))
    if plan is None:
        ufunc(*operands, out=target)
    else:
        plan.compute_into(target, workspace, ufunc, operands)
    return given


def _compute_with_options(
    cls: type[WorkspaceArray],
    ufunc: np.ufunc,
    operands: list[Any],
    key: tuple[Any, ...] | None,
    options: dict[str, Any],
) -> Any:
    options = _readable_options(cls, ufunc, options)
    workspace = state.current
    plan = None
    if workspace is not None and key is not None and _PLANNED.issuperset(options):
        plan = planned((*key, *options.items()), lambda: plan_call(ufunc, operands, options))
    if plan is not None:
        return plan.compute(workspace, ufunc, operands, options)
    result = ufunc(*operands, **options)
    return result if workspace is None else adopted(workspace, result)


def _readable_options(cls: type[WorkspaceArray], ufunc: np.ufunc, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with checked, plain arrays for ``out`` and ``where``."""
    options = dict(options)
    for name, argument in (("out", "Z"), ("where", "where")):
        if name in options:
            options[name] = readable_items(cls, options[name], ufunc.__name__, argument)
    return options


def _as_given(outputs: tuple[Any, ...], result: Any) -> Any:
    """Return the caller's own ``outputs`` in place of the plain arrays that were written through."""
    if len(outputs) == 1:
        return outputs[0] if isinstance(outputs[0], _ndarray) else result
    workspace = state.current
    results = []
    for given, mine in zip(outputs, result, strict=True):
        if isinstance(given, _ndarray):
            mine = given
        elif workspace is not None:  # an output that was left open, as None
            mine = adopted(workspace, mine)
        results.append(mine)
    return tuple(results)


def _run_along_axis(
    cls: type[WorkspaceArray], ufunc: np.ufunc, method: str, inputs: Sequence[Any], options: dict[str, Any]
) -> Any:
    """Reduce or accumulate."""
    array, workspace = inputs[0], state.current
    if type(array) is cls and "out" not in options and options.get("where", True) is True:
        if not getattr(array.base, "_alive", None):
            check_usable(array, ufunc.__name__)
        array = _view(array, _ndarray)
        if workspace is None:
            return getattr(ufunc, method)(array, **options)
        return along_axis(workspace, ufunc, method, array, options)
    (array,), key = _readable(cls, ufunc, inputs)
    outputs, options = options.get("out"), _readable_options(cls, ufunc, options)
    if outputs is not None:
        return _as_given(outputs, getattr(ufunc, method)(array, **options))
    if workspace is None:
        return getattr(ufunc, method)(array, **options)
    if key is None:
        return adopted(workspace, getattr(ufunc, method)(array, **options))
    return along_axis(workspace, ufunc, method, array, options)


def along_axis(workspace: Workspace, ufunc: np.ufunc, method: str, array: Any, options: dict[str, Any]) -> Any:
    """Return ``ufunc.reduce`` or ``ufunc.accumulate`` of a plain array, in ``workspace`` if it is no scalar."""
    compute = getattr(ufunc, method)
    get = options.get
    axis = get("axis", 0)
    if type(axis) is list:
        axis = tuple(axis)
    key = (ufunc, method, array.shape, array.strides, array.dtype, axis, get("keepdims"), get("dtype"))
    plan = _plans.get(key, _MISSING)
    if plan is _MISSING:
        plan = _remember(key, _ALONG_AXIS[method](ufunc, array, options))
    if plan is not None:
        try:
            return plan.compute(workspace, compute, [array], options)
        except ValueError:
            pass  # a mask that does not fit; NumPy's own text knows nothing of our output
    return adopted(workspace, compute(array, **options))


def _outer(cls: type[WorkspaceArray], ufunc: np.ufunc, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    (a, b), key = _readable(cls, ufunc, inputs)
    if ufunc.signature is not None:
        return ufunc.outer(a, b)  # which says that there is none
    a, b = np.asarray(a), np.asarray(b)
    operands = [a.reshape(a.shape + (1,) * b.ndim), b]
    workspace = state.current
    if options or workspace is None or key is None:
        return call_ufunc(cls, ufunc, operands, options)
    plan = planned((*key, "outer"), lambda: plan_call(ufunc, operands, options))
    return ufunc.outer(a, b) if plan is None else plan.compute(workspace, ufunc, operands, options)


def _reduceat(cls: type[WorkspaceArray], ufunc: np.ufunc, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    operands, key = _readable(cls, ufunc, inputs)
    outputs, workspace = options.get("out"), state.current
    if outputs is not None or workspace is None:
        result = ufunc.reduceat(*operands, **_readable_options(cls, ufunc, options))
        return result if outputs is None else _as_given(outputs, result)
    if key is None or min(getattr(operands[0], "strides", ()), default=0) < 0:
        return adopted(workspace, ufunc.reduceat(*operands, **options))
    key = (*key, "reduceat", options.get("axis"), options.get("dtype"))
    plan: Any = _plans.get(key)
    if plan is not None:
        return plan.compute(workspace, ufunc.reduceat, operands, options)
    result = adopted(workspace, ufunc.reduceat(*operands, **options))
    _remember(key, plan_again(result))
    return result


def _at(cls: type[WorkspaceArray], ufunc: np.ufunc, inputs: Sequence[Any], options: dict[str, Any]) -> None:
    names = map(argument_name, range(len(inputs)))
    ufunc.at(
        *[readable_items(cls, item, ufunc.__name__, name) for item, name in zip(inputs, names, strict=True)], **options
    )


_ALONG_AXIS = {"accumulate": plan_running, "reduce": plan_reduction}
_METHODS: dict[str, Callable[..., Any]] = {"at": _at, "outer": _outer, "reduceat": _reduceat}
