"""Running the preprocessors of a network: built-in ones on plain arrays, a user's on attached ones."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .errors import ShapeError
from .model import Model
from .workspaces import ArrayType, LayerWorkspaceMgr

__all__ = ["before_preprocessor", "preprocessed"]

Array = npt.NDArray[Any]
# reading a member of an enum takes a tenth of a microsecond, every time
ACTIVATIONS, ACTIVATION_GRAD = ArrayType.ACTIVATIONS, ArrayType.ACTIVATION_GRAD


def preprocessed(
    model: Model, index: int, manager: LayerWorkspaceMgr, x: Array, mask: Array | None
) -> tuple[Array, Array | None]:
    """Return the input of a layer and its mask, from what comes in front of its preprocessor."""
    step, call = model.preprocessors[index], manager.call
    if step is None:
        return x, mask
    call.shape_before = x.shape
    if model.preprocessors_of_users[index]:
        result = step.preprocess(manager.attached(x), workspace_mgr=manager)
        x = manager.settle(ACTIVATIONS, result)
        expected = model.layer_inputs[index].example_shape()
        if call.states is None:  # else x is a piece of a series, and may be shorter
            _check_shape(f"{_label(model, index)}: preprocess", x.shape, (len(x), *expected))
    else:
        x = step.preprocess(x, workspace_mgr=manager)
    call.input = x
    if mask is not None:
        handed = manager.handed(mask)
        propagated = step.propagate_mask(handed, workspace_mgr=manager)
        if propagated is not handed:
            mask = None if propagated is None else manager.settle(ACTIVATIONS, propagated)
        call.mask = mask
    return x, mask


def before_preprocessor(model: Model, index: int, manager: LayerWorkspaceMgr, gradient: Array) -> Array:
    """Return the gradient by what came in front of the preprocessor of a layer."""
    step, shape = model.preprocessors[index], manager.call.shape_before
    if step is None:
        return gradient
    if not model.preprocessors_of_users[index]:
        return step.backprop(gradient, shape=shape, workspace_mgr=manager)
    result = step.backprop(manager.attached(gradient), shape=shape, workspace_mgr=manager)
    gradient = manager.settle(ACTIVATION_GRAD, result)
    _check_shape(f"{_label(model, index)}: backprop", gradient.shape, shape)
    return gradient


def _label(model: Model, index: int) -> str:
    return f"{type(model.preprocessors[index]).__name__} in front of {model.label(index)}"


def _check_shape(what: str, shape: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    if len(shape) != len(expected) or any(e not in (None, n) for e, n in zip(expected, shape, strict=True)):
        raise ShapeError(f"{what}() returned shape {shape}, expected {expected}. Return an array of that shape.")
