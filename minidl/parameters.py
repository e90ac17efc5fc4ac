"""The flat parameter vector of a network, with its gradient and updater state, and the views into them."""

from __future__ import annotations

import itertools
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
from .training import Constraint, GradientNormalization, NoOp, Updater

__all__ = ["Chunk", "Parameters", "Rules", "UpdaterBlock"]

CHUNK = 16384
"""Elements that an updater works on at a time: so many of gradient, parameter, state and scratch stay in the cache."""

Array = npt.NDArray[Any]


class Rules(NamedTuple):
    """What is done to the gradient of one parameter.

    ``weight_decay`` counts in the score; ``decay`` and ``decay_by_rate`` are what the step takes of the parameter, the
    latter times the learning rate.
    """

    updater: Updater
    l1: float
    l2: float
    weight_decay: float
    decay: float
    decay_by_rate: float
    trainable: bool

    @property
    def needs_scratch(self) -> bool:
        """Whether a temporary as long as the parameter is needed beside the updater's own."""
        return bool(self.l1 or self.l2 or self.decay or self.decay_by_rate)


class Chunk(NamedTuple):
    """At most CHUNK adjacent elements that one set of rules holds for, as views; ``layer`` is that of the first."""

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
    of_user: bool


class _Segment(NamedTuple):
    layer: int
    spec: ParamSpec
    start: int
    stop: int
    rules: Rules


class Parameters:
    """All parameters of a network in one vector, in DL4J's order: layer by layer, each as its ``param_specs`` says.

    ``flat``, ``gradient`` (n,) and ``updater_state`` are plain arrays; ``views[i]["W"]`` and ``gradient_views[i]["W"]``
    look into the first two. ``constrained`` holds (view, constraint) for every constraint. Nothing but the updater's
    state is initialised yet: ``initialize`` does that. Raises ConfigurationError for ``param_specs`` and constraints
    that cannot be, naming the layer.
    """

    def __init__(self, layers: Sequence[Layer], input_types: Sequence[InputType], dtype: npt.DTypeLike) -> None:
        self._layers = tuple(layers)
        self._input_types = tuple(input_types)
        self._segments = list(_segments(layers, input_types))
        size = self._segments[-1].stop if self._segments else 0
        self.flat = np.zeros(size, dtype)
        self.gradient = np.zeros(size, dtype)
        self.views = self._views(self.flat, len(layers))
        self.gradient_views = self.views_of_gradient(self.gradient)
        self.constrained = tuple(self._constrained())
        self._lay_out_updaters()

    def __len__(self) -> int:
        return len(self.flat)

    def initialize(self, rng: np.random.Generator) -> None:
        """Give every parameter its start. Raises what its rule raises, naming the layer."""
        for segment in self._segments:
            with naming(segment.layer, self._layers):
                _initialize(self.views[segment.layer][segment.spec.name], segment.spec, rng)

    def renew_updaters(self) -> None:
        """Take over the updaters that the layers have now; a state array of the same name goes on where it was."""
        before = {
            (segment.layer, segment.spec.name): (segment.rules.updater, self._state_of(segment))
            for segment in self._segments
        }
        self._segments = list(_segments(self._layers, self._input_types))
        self._lay_out_updaters()
        for segment in self._segments:
            updater, state = before[segment.layer, segment.spec.name]
            if type(updater) is type(segment.rules.updater):
                for old, new in zip(state, self._state_of(segment), strict=True):
                    np.copyto(new, old)

    def attach_to(self, layers: Sequence[Layer]) -> None:
        """Give each layer the views of its parameters."""
        for layer, views in zip(layers, self.views, strict=True):
            layer.attach_params(views)

    def views_of_gradient(self, flat: Array) -> list[dict[str, Array]]:
        """Return views of another gradient vector, layer by layer."""
        return self._views(flat, len(self.views))

    @staticmethod
    def scratch_arrays(block: UpdaterBlock) -> int:
        """Return how many temporaries of ``scratch_shape`` the update of a block takes."""
        return max(block.updater.scratch_arrays, *(int(chunk.rules.needs_scratch) for chunk in block.chunks))

    def layer_parts(self, layer: int, flat: Array) -> list[Array]:
        """Return the flat part of ``flat`` for each trainable parameter of a layer."""
        return [flat[s.start : s.stop] for s in self._segments if s.layer == layer and s.rules.trainable]

    def _views(self, flat: Array, layers: int) -> list[dict[str, Array]]:
        views: list[dict[str, Array]] = [{} for _ in range(layers)]
        for segment in self._segments:
            spec = segment.spec
            views[segment.layer][spec.name] = flat[segment.start : segment.stop].reshape(spec.shape, order=spec.order)
        return views

    def _constrained(self) -> Iterator[tuple[Array, Constraint]]:
        for segment in self._segments:
            layer, spec = self._layers[segment.layer], segment.spec
            kind = layer.constrain_weights if spec.regularizable else layer.constrain_bias
            kind = None if spec.exempt else kind
            for constraint in (*(layer.constrain_all_parameters or ()), *(kind or ())) if spec.trainable else ():
                with naming(segment.layer, self._layers):
                    constraint.check_shape(spec.shape)
                yield self.views[segment.layer][spec.name], constraint

    def _lay_out_updaters(self) -> None:
        """Make the state of the updaters, at its start, and the blocks that look into it."""
        blocks = list(_blocks(self._segments))
        self.updater_state = np.zeros(sum(_state_size(block) for block in blocks), self.flat.dtype)
        self.updater_blocks = tuple(self._updater_blocks(blocks))

    def _updater_blocks(self, blocks: Sequence[Sequence[_Segment]]) -> Iterator[UpdaterBlock]:
        position = 0
        self._slots: dict[int, tuple[Array, ...]] = {}  # by where a segment starts
        for segments in blocks:
            updater = segments[0].rules.updater
            start, stop = segments[0].start, segments[-1].stop
            slots = []
            for name in updater.slots:
                slot = self.updater_state[position : position + stop - start]
                slot.fill(updater.start(name))
                slots.append(slot)
                position += stop - start
            for segment in segments:
                self._slots[segment.start] = tuple(s[segment.start - start : segment.stop - start] for s in slots)
            chunks = tuple(self._chunks(segments, slots))
            longest = max((len(chunk.gradient) for chunk in chunks), default=0)
            yield UpdaterBlock(updater, chunks, (longest,), is_user_code(type(updater)))

    def _state_of(self, segment: _Segment) -> tuple[Array, ...]:
        return self._slots[segment.start]

    def _chunks(self, segments: Sequence[_Segment], slots: Sequence[Array]) -> Iterator[Chunk]:
        origin = segments[0].start
        for _, run in itertools.groupby(segments, key=self._what_must_be_equal):
            first, *others = run
            end = others[-1].stop if others else first.stop
            for start in range(first.start, end, CHUNK):
                stop = min(start + CHUNK, end)
                yield Chunk(
                    self.flat[start:stop],
                    self.gradient[start:stop],
                    tuple(slot[start - origin : stop - origin] for slot in slots),
                    first.rules,
                    first.layer,
                )

    def _what_must_be_equal(self, segment: _Segment) -> tuple[Rules, int | None]:
        """Return what parameters share that are updated in one go, across layers: each call of NumPy has its price."""
        kind = self._layers[segment.layer].gradient_normalization
        normalized = kind is not None and kind is not GradientNormalization.NONE
        return segment.rules, segment.layer if normalized else None


def _initialize(view: Array, spec: ParamSpec, rng: np.random.Generator) -> None:
    if not isinstance(spec.init, WeightInit):
        equal_blocks = view.reshape(np.size(spec.init), -1)
        np.copyto(equal_blocks, np.reshape(spec.init, (-1, 1)))
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
        return Rules(NoOp(), 0.0, 0.0, 0.0, 0.0, 0.0, False)
    updater = layer.updater or NoOp()
    if spec.exempt:
        return Rules(updater, 0.0, 0.0, 0.0, 0.0, 0.0, True)
    if spec.regularizable:
        l1, l2, weight_decay, decoupled = layer.l1, layer.l2, layer.weight_decay, updater.decoupled_weight_decay
    else:
        updater, decoupled = layer.bias_updater or updater, 0.0
        l1, l2, weight_decay = layer.l1_bias, layer.l2_bias, layer.weight_decay_bias
    decay = weight_decay or 0.0
    by_rate = layer.weight_decay_apply_lr is not False
    return Rules(
        updater,
        l1 or 0.0,
        l2 or 0.0,
        decay,
        decay=0.0 if by_rate else decay,
        decay_by_rate=decoupled + (decay if by_rate else 0.0),
        trainable=True,
    )


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
