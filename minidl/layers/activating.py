"""Calling activations and losses, minidl's own and those of users, with their results where they belong."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import LayerError, ShapeError
from ..functions import Activation, Empty, Loss
from ..workspaces import ArrayType, Draws, LayerWorkspaceMgr
from .base import Array, filled_in
from .user_code import is_user_code

__all__ = [
    "backprop_activation",
    "backprop_loss",
    "backward_into",
    "forward_into",
    "keeps_output",
    "loss_score",
    "loss_scores",
    "run_activation",
]

LARGE_EXAMPLE, BLOCK = 4096, 32768  # elements; a block and its temporaries stay in the level 2 cache


def run_activation(
    activation: Activation | str | None, z: Array, workspace_mgr: LayerWorkspaceMgr, *, overwrite: bool, training: bool
) -> tuple[Array, Array]:
    """Return (the array that ``backprop_activation`` needs, the activations); ``overwrite`` allows to use z for both.

    One array serves as both where the derivative follows from the output. A user's activation never gets its input as
    its output: it may read the one after it wrote to the other. One that draws does so in training only.
    """
    activation = filled_in(activation, "activation")
    if training and activation.draws:
        return _run_drawing(activation, z, workspace_mgr)
    is_own, memory = not is_user_code(type(activation)), workspace_mgr.forward_memory
    in_place = overwrite and keeps_output(activation)
    out = z if in_place else workspace_mgr.create_like(ArrayType.ACTIVATIONS, z)
    if is_own and activation.elementwise and _is_large(z):
        recycled = RecycledMemory(memory, z)
        for examples in _blocks(z):
            activation.forward(z[examples], out=out[examples], empty=recycled.from_start())
    elif in_place:
        activation.forward(z, out=z, empty=memory)
    else:
        _run(activation, activation.forward, (z,), out, workspace_mgr, empty=memory)
    return (out if activation.keeps == "output" else z), out


class RecycledMemory:
    """Working memory for a kernel that runs block after block: every block is given the arrays of the first again.

    They are as long as a whole block, however few examples there are: a step asks for the same with every batch.
    """

    def __init__(self, empty: Empty, array: Array) -> None:
        self._empty = empty
        self._elements = _examples_of_block(array) * (array.size // len(array))
        self._arrays: list[Array] = []
        self._given = 0

    def from_start(self) -> Empty:
        """Return what makes arrays, beginning with the first again."""
        self._given = 0
        return self._make

    def _make(self, shape: tuple[int, ...], dtype: Any = None) -> Array:
        if self._given == len(self._arrays):
            self._arrays.append(self._empty((max(self._elements, math.prod(shape)),), dtype))
        memory = self._arrays[self._given]
        self._given += 1
        return memory[: math.prod(shape)].reshape(shape)


def _is_large(array: Array) -> bool:
    """Tell whether an example is so large that one after the other is faster: what a kernel needs stays in the cache.

    It depends on the example alone, so that what a step asks for is known for every batch.
    """
    return array.size > LARGE_EXAMPLE * len(array)


def _examples_of_block(array: Array) -> int:
    return max(1, BLOCK // (array.size // len(array)))


def _blocks(array: Array) -> Iterator[slice]:
    """Yield the examples of each block."""
    step = _examples_of_block(array)
    for start in range(0, len(array), step):
        yield slice(start, min(start + step, len(array)))


def _run_drawing(activation: Activation, z: Array, workspace_mgr: LayerWorkspaceMgr) -> tuple[Array, Array]:
    kept, out = (workspace_mgr.create_like(ArrayType.ACTIVATIONS, z) for _ in range(2))
    rng, empty = workspace_mgr.rng_for(Draws.ACTIVATION), workspace_mgr.forward_memory
    given = workspace_mgr.attached(kept) if is_user_code(type(activation)) else kept
    _run(activation, activation.training_forward, (z,), out, workspace_mgr, kept=given, rng=rng, empty=empty)
    return kept, out


def backprop_activation(
    activation: Activation | str | None,
    kept: Array,
    epsilon: Array,
    workspace_mgr: LayerWorkspaceMgr,
    *,
    out: Array | None = None,
) -> Array:
    """Return dL/dz in ``out``, by default in the memory of ``epsilon`` = dL/da."""
    activation = filled_in(activation, "activation")
    out = epsilon if out is None else out
    empty = workspace_mgr.backward_memory
    if activation.elementwise and _is_large(out) and not is_user_code(type(activation)):
        recycled = RecycledMemory(empty, out)
        for examples in _blocks(out):
            memory = recycled.from_start()
            activation.backward(kept[examples], epsilon[examples], out=out[examples], empty=memory)
        return out
    _run(activation, activation.backward, (kept, epsilon), out, workspace_mgr, empty=empty)
    return out


def keeps_output(activation: Activation) -> bool:
    """Tell whether an activation may write over its input, and has its derivative from the output alone."""
    return activation.keeps == "output" and not is_user_code(type(activation))


def forward_into(activation: Activation, z: Array, out: Array, workspace_mgr: LayerWorkspaceMgr, empty: Empty) -> None:
    """Write f(z) into ``out``, which may be z if ``keeps_output``; for kernels with memory of their own."""
    _run(activation, activation.forward, (z,), out, workspace_mgr, empty=empty)


def backward_into(
    activation: Activation, z: Array, a: Array, d_a: Array, workspace_mgr: LayerWorkspaceMgr, empty: Empty
) -> None:
    """Turn dL/da into dL/dz in place; ``a`` = f(z)."""
    kept = a if activation.keeps == "output" else z
    _run(activation, activation.backward, (kept, d_a), d_a, workspace_mgr, empty=empty)


def loss_score(
    loss: Loss | str, labels: Array, output: Array, mask: Array | None, workspace_mgr: LayerWorkspaceMgr
) -> float:
    """Return the sum of the losses over the batch."""
    loss = filled_in(loss, "loss")
    if is_user_code(type(loss)):
        labels, output = workspace_mgr.attached(labels), workspace_mgr.attached(output)
        mask = None if mask is None else workspace_mgr.attached(mask)
    return float(loss.score(labels, output, mask=mask, empty=workspace_mgr.forward_memory))


def loss_scores(
    loss: Loss | str, labels: Array, output: Array, mask: Array | None, workspace_mgr: LayerWorkspaceMgr
) -> Array:
    """Return the loss of every example, (batch,)."""
    loss = filled_in(loss, "loss")
    if mask is not None and is_user_code(type(loss)):
        mask = workspace_mgr.attached(mask)
    scores = workspace_mgr.create_uninitialized(ArrayType.FF_WORKING_MEM, (len(output),))
    _run(loss, loss.scores, (labels, output), scores, workspace_mgr, mask=mask, empty=workspace_mgr.forward_memory)
    return scores


def backprop_loss(
    loss: Loss | str,
    activation: Activation | str | None,
    labels: Array,
    kept: Array,
    output: Array,
    mask: Array | None,
    workspace_mgr: LayerWorkspaceMgr,
    array_type: ArrayType = ArrayType.BP_WORKING_MEM,
) -> Array:
    """Return dL/dz as an ``array_type``, in one stable step where the loss and the activation are fused."""
    loss = filled_in(loss, "loss")
    d_z = workspace_mgr.create_like(array_type, output)
    if mask is not None and is_user_code(type(loss)):
        mask = workspace_mgr.attached(mask)
    is_fused = type(activation) in loss.fused_with and _has_its_own_fused_gradient(type(loss))
    gradient: Callable[..., Array] = loss.gradient_at_preactivation if is_fused else loss.gradient
    _run(loss, gradient, (labels, output), d_z, workspace_mgr, mask=mask, empty=workspace_mgr.backward_memory)
    return d_z if is_fused else backprop_activation(activation, kept, d_z, workspace_mgr)


@functools.cache
def _has_its_own_fused_gradient(cls: type[Loss]) -> bool:
    """Tell whether a loss did not change since its fused gradient was written, as a user's subclass may."""
    fused = "gradient_at_preactivation"
    definition = {"scores", "gradient", "element_losses", "element_gradient", fused}
    return next(fused in vars(base) for base in cls.__mro__ if definition & vars(base).keys())


def _run(
    owner: Activation | Loss,
    function: Callable[..., Any],
    arrays: tuple[Array, ...],
    out: Array,
    workspace_mgr: LayerWorkspaceMgr,
    **options: Any,
) -> None:
    """Call ``function`` so that its result ends up in ``out``, whether or not it wrote there."""
    if not is_user_code(type(owner)):
        function(*arrays, out=out, **options)
        return
    target = workspace_mgr.attached(out)
    result = function(*[workspace_mgr.attached(array) for array in arrays], out=target, **options)
    if result is target:
        return
    if not isinstance(result, np.ndarray):
        raise LayerError(
            f"{type(owner).__name__}.{function.__name__} returned {type(result).__name__} instead of an array. Return "
            "the result, or write it into `out` and return `out`."
        )
    if result.shape != out.shape:
        raise ShapeError(
            f"{type(owner).__name__}.{function.__name__} returned shape {result.shape}, expected {out.shape}. Return "
            "an array of the shape of `out`."
        )
    np.copyto(out.view(np.ndarray), result.view(np.ndarray), casting="unsafe")
