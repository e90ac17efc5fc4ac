"""What training does to a layer beside calling it: dropout of its input, and noise on its weights."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .functions import Empty
from .functions.scratch import same_layout
from .inputs import InputType
from .layers import Layer, is_user_code
from .training import BaseDropout, dropout
from .workspaces import ArrayType, Draws, LayerCall, LayerWorkspaceMgr
from .workspaces.layout import memory_order

__all__ = ["NoisyLayers", "dropped", "undropped"]

Array = npt.NDArray[Any]

_dropout_of_number = functools.lru_cache(maxsize=256)(dropout)


def _plain(array: Array) -> Array:
    return array.view(np.ndarray)


def _handing(rule: Any, manager: LayerWorkspaceMgr) -> Callable[[Array], Array]:
    """Return how a rule is handed arrays: a user's gets attached ones, whoever wrote the layer."""
    return manager.attached if is_user_code(rule.__class__) else _plain


def _memory(rule: Any, manager: LayerWorkspaceMgr) -> Empty:
    """Return working memory for a rule."""
    handed = _handing(rule, manager)
    return lambda shape, dtype=None: handed(manager.forward_memory(shape, dtype))


def _active_dropout(layer: Layer) -> BaseDropout | None:
    if layer.dropout is None:
        return None
    rule = layer.dropout if isinstance(layer.dropout, BaseDropout) else _dropout_of_number(layer.dropout)
    return rule if rule.is_active else None


def dropped(layer: Layer, x: Array, channel_axis: int, manager: LayerWorkspaceMgr) -> Array:
    """Return the input of a layer after its dropout, which leaves ``x`` as it is."""
    rule = _active_dropout(layer)
    if rule is None:
        return x
    place = ArrayType.INPUT if rule.keeps_noise else ArrayType.FF_WORKING_MEM
    order = _order_of_rule(x)
    back = [order.index(axis) for axis in range(x.ndim)]
    x, channel_axis = x.transpose(order), order.index(channel_axis % x.ndim)
    noise = manager.create_uninitialized(place, x.shape, x.dtype)
    out = manager.create_uninitialized(ArrayType.INPUT, x.shape, x.dtype)
    handed = _handing(rule, manager)
    rng, empty = manager.rng_for(Draws.DROPOUT), _memory(rule, manager)
    rule.forward(handed(x), out=handed(out), noise=handed(noise), rng=rng, channel_axis=channel_axis, empty=empty)
    if rule.keeps_noise:
        manager.call.dropout_noise = noise.transpose(back)
    return out.transpose(back)


def _order_of_rule(x: Array) -> list[int]:
    """Return the axes of ``x`` as they lie in memory if examples lie one after the other, else as they are.

    A rule works on C-contiguous arrays: in this order it does so without a copy, and what comes out lies as ``x`` does.
    """
    axes = list(range(x.ndim))
    if x.flags.c_contiguous:
        return axes
    order = memory_order(x)
    return order if order[0] == 0 and x.transpose(order).flags.c_contiguous else axes


def undropped(layer: Layer, gradient: Array, manager: LayerWorkspaceMgr) -> Array:
    """Turn dL/d(dropped input) into dL/dinput, in place."""
    noise = manager.call.dropout_noise
    rule = None if noise is None else _active_dropout(layer)
    if rule is not None and noise is not None:
        handed = _handing(rule, manager)
        noise = same_layout(noise, gradient, manager.backward_memory)
        rule.backward(handed(gradient), noise=handed(noise))
    return gradient


class NoisyLayers:
    """The layers of one frame that have weight noise, as twins whose parameters are noisy in training.

    A twin is a copy of the layer with parameters of its own: the layer itself may be in use in other threads.
    """

    def __init__(self, layers: Sequence[Layer], input_types: Sequence[InputType]) -> None:
        self._twins: dict[int, Layer] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        for index, (layer, input_type) in enumerate(zip(layers, input_types, strict=True)):
            rule = layer.weight_noise
            if rule is None:
                continue
            self._twins[index] = copy.copy(layer)
            self._names[index] = tuple(
                spec.name
                for spec in layer.param_specs(input_type)
                if spec.trainable and not spec.exempt and (spec.regularizable or rule.apply_to_bias)
            )

    def forward(self, index: int, layer: Layer, manager: LayerWorkspaceMgr) -> Layer:
        """Return what stands for ``layer`` in this training call: itself, or its twin with fresh noise."""
        rule = layer.weight_noise
        if rule is None:
            return layer
        twin = self._twins[index]
        rng, handed, empty = manager.rng_for(Draws.WEIGHT_NOISE), _handing(rule, manager), _memory(rule, manager)
        params = dict(layer.params)
        place = ArrayType.INPUT if rule.keeps_noise else ArrayType.FF_WORKING_MEM
        manager.call.weight_noise = {}
        for name in self._names[index]:
            weights = layer.params[name]
            order: Literal["C", "F"] = "F" if weights.flags.fnc else "C"
            noisy = manager.create_uninitialized(ArrayType.INPUT, weights.shape, weights.dtype, order)
            noise = manager.create_uninitialized(place, (weights.size,), weights.dtype)
            rule.apply(handed(weights), out=handed(noisy), noise=handed(noise), rng=rng, empty=empty)
            params[name] = noisy
            if rule.keeps_noise:
                manager.call.weight_noise[name] = noise
        twin.attach_params(params)
        return twin

    def backward(self, index: int, layer: Layer, call: LayerCall) -> Layer:
        """Return what stood for ``layer`` in the forward pass."""
        return self._twins[index] if call.weight_noise is not None else layer

    def parameters(self, index: int) -> Iterable[Array]:
        """Return the noisy parameters that a layer was called with last."""
        return [self._twins[index].params[name] for name in self._names[index]]

    def finish_gradients(self, index: int, manager: LayerWorkspaceMgr) -> None:
        """Turn the gradients by the noisy weights into those by the weights, in place."""
        call = manager.call
        for name, noise in (call.weight_noise or {}).items():
            rule = self._twins[index].weight_noise
            handed = _handing(rule, manager)
            rule.backprop(handed(call.gradients[name]), noise=handed(noise))  # type: ignore[union-attr]

    def forget(self) -> None:
        """Let go of the arrays of the last call."""
        for twin in self._twins.values():
            twin.attach_params({})
