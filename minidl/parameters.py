"""The flat parameter vector of a network, with its gradient and updater state, and the views into them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import ConfigurationError
from .functions import WeightInit
from .inputs import InputType
from .layers import Layer, ParamSpec, is_user_code
from .layers.base import naming
from .training import NoOp, Updater
from .workspaces import WorkspaceArray

__all__ = ["Chunk", "Parameters", "Rules", "UpdaterBlock"]

CHUNK = 16384
"""Elements that an updater works on at a time: so many of gradient, parameter, state and scratch stay in the cache."""

Array = npt.NDArray[Any]


class Rules(NamedTuple):
    """What is done to the gradient of one parameter."""

    updater: Updater
    l1: float
    l2: float
    weight_decay: float
    trainable: bool


class Chunk(NamedTuple):
    """At most CHUNK adjacent elements that one set of rules holds for, as views."""

    parameters: Array
    gradient: Array
    state: tuple[Array, ...]
    rules: Rules
    layer: int


@dataclass(frozen=True)
class UpdaterBlock:
    """Adjacent parameters with equal updaters; their state lies in one piece, slot after slot, as in DL4J."""

    updater: Updater
    chunks: tuple[Chunk, ...]
    scratch_shape: tuple[int, ...]


class _Segment(NamedTuple):
    layer: int
    spec: ParamSpec
    start: int
    stop: int
    rules: Rules


class Parameters:
    """All parameters of a network in one vector, in DL4J's order: layer by layer, each as its ``param_specs`` says.

    ``flat``, ``gradient`` (n,) and ``updater_state`` are plain arrays; ``views[i]["W"]`` and ``gradient_views[i]["W"]``
    look into the first two. Nothing is initialised yet: ``initialize`` does that. Raises ConfigurationError for
    ``param_specs`` that cannot be, naming the layer.
    """

    def __init__(self, layers: Sequence[Layer], input_types: Sequence[InputType], dtype: npt.DTypeLike) -> None:
        self._layers = tuple(layers)
        self._segments = list(_segments(layers, input_types))
        size = self._segments[-1].stop if self._segments else 0
        self.flat = np.zeros(size, dtype)
        self.gradient = np.zeros(size, dtype)
        self.views = self._views(self.flat, len(layers))
        self.gradient_views = self.views_of_gradient(self.gradient)
        blocks = list(_blocks(self._segments))
        self.updater_state = np.zeros(sum(_state_size(block) for block in blocks), dtype)
        self.updater_blocks = tuple(self._updater_blocks(blocks))

    def __len__(self) -> int:
        return len(self.flat)

    def initialize(self, rng: np.random.Generator) -> None:
        """Give every parameter its start. Raises what its rule raises, naming the layer."""
        for segment in self._segments:
            with naming(segment.layer, self._layers):
                _initialize(self.views[segment.layer][segment.spec.name], segment.spec, rng)

    def attach_to(self, layers: Sequence[Layer]) -> None:
        """Give each layer the views of its parameters, as WorkspaceArrays where it is a user's."""
        for layer, views in zip(layers, self.views, strict=True):
            attached = is_user_code(type(layer))
            layer.params = {name: view.view(WorkspaceArray) if attached else view for name, view in views.items()}

    def views_of_gradient(self, flat: Array) -> list[dict[str, Array]]:
        """Return views of another gradient vector, layer by layer."""
        return self._views(flat, len(self.views))

    @staticmethod
    def scratch_arrays(block: UpdaterBlock) -> int:
        """Return how many temporaries of ``scratch_shape`` the update of a block takes."""
        regularized = any(rules.l1 or rules.l2 or rules.weight_decay for *_, rules, _ in block.chunks)
        return max(block.updater.scratch_arrays, int(regularized))

    def layer_parts(self, layer: int, flat: Array) -> list[Array]:
        """Return the flat part of ``flat`` for each trainable parameter of a layer."""
        return [flat[s.start : s.stop] for s in self._segments if s.layer == layer and s.rules.trainable]

    def _views(self, flat: Array, layers: int) -> list[dict[str, Array]]:
        views: list[dict[str, Array]] = [{} for _ in range(layers)]
        for segment in self._segments:
            spec = segment.spec
            views[segment.layer][spec.name] = flat[segment.start : segment.stop].reshape(spec.shape, order=spec.order)
        return views

    def _updater_blocks(self, blocks: Sequence[Sequence[_Segment]]) -> Iterator[UpdaterBlock]:
        position = 0
        for segments in blocks:
            updater = segments[0].rules.updater
            start, stop = segments[0].start, segments[-1].stop
            slots = []
            for _ in updater.slots:
                slots.append(self.updater_state[position : position + stop - start])
                position += stop - start
            chunks = tuple(self._chunks(segments, slots))
            longest = max((len(chunk.gradient) for chunk in chunks), default=0)
            yield UpdaterBlock(updater, chunks, (longest,))

    def _chunks(self, segments: Sequence[_Segment], slots: Sequence[Array]) -> Iterator[Chunk]:
        origin = segments[0].start
        for segment in segments:
            for start in range(segment.start, segment.stop, CHUNK):
                stop = min(start + CHUNK, segment.stop)
                yield Chunk(
                    self.flat[start:stop],
                    self.gradient[start:stop],
                    tuple(slot[start - origin : stop - origin] for slot in slots),
                    segment.rules,
                    segment.layer,
                )


def _initialize(view: Array, spec: ParamSpec, rng: np.random.Generator) -> None:
    if not isinstance(spec.init, WeightInit):
        view.fill(spec.init)
        return
    first, last = (spec.shape[0], spec.shape[-1]) if spec.shape else (1, 1)
    fan_in = first if spec.fan_in is None else spec.fan_in
    fan_out = last if spec.fan_out is None else spec.fan_out
    spec.init.fill(view, fan_in=fan_in, fan_out=fan_out, rng=rng)


def _segments(layers: Sequence[Layer], input_types: Sequence[InputType]) -> Iterator[_Segment]:
    start = 0
    for index, layer in enumerate(layers):
        with naming(index, layers):
            specs = tuple(layer.param_specs(input_types[index]))
            _check_specs(layer, specs)
        for spec in specs:
            stop = start + math.prod(spec.shape)
            yield _Segment(index, spec, start, stop, _rules(layer, spec))
            start = stop


def _check_specs(layer: Layer, specs: Sequence[ParamSpec]) -> None:
    if not all(isinstance(spec, ParamSpec) for spec in specs):
        raise ConfigurationError(
            f"{type(layer).__name__}.param_specs() returned {specs!r}, expected a tuple of ParamSpec. For one "
            'parameter, write (ParamSpec("W", shape),).'
        )
    names = [spec.name for spec in specs]
    if len(set(names)) < len(names):
        raise ConfigurationError(
            f"{type(layer).__name__}.param_specs() returned the names {names}, of which some are equal. Give every "
            "parameter of a layer a name of its own."
        )


def _rules(layer: Layer, spec: ParamSpec) -> Rules:
    if not spec.trainable:
        return Rules(NoOp(), 0.0, 0.0, 0.0, False)
    updater = layer.updater or NoOp()
    if spec.regularizable:
        return Rules(updater, layer.l1 or 0.0, layer.l2 or 0.0, layer.weight_decay or 0.0, True)
    return Rules(updater, layer.l1_bias or 0.0, layer.l2_bias or 0.0, layer.weight_decay_bias or 0.0, True)


def _blocks(segments: Sequence[_Segment]) -> Iterator[list[_Segment]]:
    block: list[_Segment] = []
    for segment in segments:
        if block and block[-1].rules.updater != segment.rules.updater:
            yield block
            block = []
        block.append(segment)
    if block:
        yield block


def _state_size(block: Sequence[_Segment]) -> int:
    return len(block[0].rules.updater.slots) * (block[-1].stop - block[0].start)
