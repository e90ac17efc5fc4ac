"""What belongs to one call of one layer, in one thread."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt

from .carried_state import CarriedState

__all__ = ["Draws", "LayerCall"]


class Draws(enum.IntEnum):
    """What a layer call draws random numbers for: each has a stream of its own."""

    LAYER = 0
    DROPOUT = 1
    WEIGHT_NOISE = 2
    ACTIVATION = 3


class LayerCall:
    """What one layer owns between its forward and its backward pass, in one thread.

    ``examples`` is the number of examples of the pass, which is less than the rows of the input where every step of
    a series is a row. ``states`` is what recurrent layers carry from call to call, None where nothing is carried.
    ``backward_steps`` cuts backpropagation through time after so many steps, None for all.
    """

    __slots__ = (
        "backward_steps",
        "branch",
        "children",
        "copied_in",
        "dropout_noise",
        "examples",
        "gradients",
        "index",
        "input",
        "iteration",
        "keeps",
        "label",
        "mask",
        "moved",
        "path",
        "saved",
        "seed",
        "shape_before",
        "shard",
        "states",
        "strict",
        "user_code",
        "wants_input_gradient",
        "weight_noise",
    )

    def __init__(
        self,
        *,
        index: int = 0,
        label: str = "layer",
        user_code: bool = True,
        strict: bool = False,
        seed: int = 0,
        gradients: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        self.index = index
        self.label = label
        self.user_code = user_code  # handed WorkspaceArrays; built-in layers keep to the rules with plain ones
        self.strict = strict
        self.seed = seed
        self.gradients = dict(gradients or {})
        self.wants_input_gradient = True
        self.copied_in = 0
        self.branch = 0  # tells the generators of the layers inside this one apart
        self.path: tuple[Any, ...] = (index,)  # what its state is known by
        self.children: dict[str, LayerCall] = {}
        self.begin(None, keeps=True)

    def begin(
        self,
        layer_input: npt.NDArray[Any] | None,
        *,
        keeps: bool,
        mask: npt.NDArray[Any] | None = None,
        iteration: int = 0,
        shard: int = 0,
        examples: int | None = None,
        states: CarriedState | None = None,
        backward_steps: int | None = None,
    ) -> None:
        """Start a forward pass; ``keeps`` tells whether what backprop needs is kept."""
        self.input = layer_input
        self.keeps = keeps
        self.mask = mask
        self.iteration = iteration
        self.shard = shard
        self.examples = len(layer_input) if examples is None and layer_input is not None else examples or 0
        self.states = states
        self.backward_steps = backward_steps
        self.saved: tuple[Any, ...] | None = None
        self.moved: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
        self.dropout_noise: npt.NDArray[Any] | None = None
        self.weight_noise: dict[str, npt.NDArray[Any]] | None = None  # None: called with its own parameters
        self.shape_before: tuple[int, ...] = ()  # of the input, before a preprocessor changed it
        for child in self.children.values():
            self._pass_on(child)

    def end(self) -> None:
        """Forget the arrays of this call."""
        self.input = self.mask = self.saved = self.dropout_noise = self.weight_noise = self.states = None
        self.moved = []
        for child in self.children.values():
            child.end()

    def child(self, name: str, prefix: str, user_code: bool) -> LayerCall:
        """Return the call of a layer inside this one, whose gradients are those with names that begin so."""
        child = self.children.get(name)
        if child is None:
            own = {key: array for key, array in self.gradients.items() if key.startswith(prefix)}
            child = LayerCall(
                index=self.index,
                label=f"{name} of {self.label}",
                user_code=user_code,
                strict=self.strict,
                seed=self.seed,
                gradients={key.removeprefix(prefix): array for key, array in own.items()},
            )
            child.branch = self.branch * 16 + len(self.children) + 1
            child.path = (*self.path, name) if prefix else self.path  # the only one inside has the names to itself
            self.children[name] = child
            self._pass_on(child)
        child.wants_input_gradient = self.wants_input_gradient
        return child

    def _pass_on(self, child: LayerCall) -> None:
        child.begin(
            None,
            keeps=self.keeps,
            iteration=self.iteration,
            shard=self.shard,
            examples=self.examples,
            states=self.states,
            backward_steps=self.backward_steps,
        )

    def with_children(self) -> Iterator[LayerCall]:
        """Yield this call and those of the layers inside, at any depth."""
        yield self
        for child in self.children.values():
            yield from child.with_children()
