"""What recurrent layers carry from one call of a network to the next, in small buffers of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import ShapeError

__all__ = ["Carried", "CarriedState"]

Array = npt.NDArray[Any]
Key = tuple[Any, ...]
"""(index of the layer, names of the layers inside it ..., name of the state)."""


class _Slot:
    """One state: what the last call that succeeded left, and what the call under way writes."""

    __slots__ = ("is_in_use", "is_stored", "stored", "written")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.stored, self.written = (np.zeros(shape, dtype) for _ in range(2))
        self.is_stored = False
        self.is_in_use = False  # by the call under way


class CarriedState:
    """States by key, each in two buffers: a call that fails leaves the stored one as it was.

    For one thread at a time. The buffers live until a batch of another size comes; nothing is allocated meanwhile.
    """

    def __init__(self) -> None:
        self._slots: dict[Key, _Slot] = {}
        self._written: list[_Slot] = []

    @property
    def examples(self) -> int | None:
        """The number of examples that the stored states belong to, None where nothing is stored."""
        return self.examples_beside(None)

    def examples_beside(self, layer: int | None) -> int | None:
        """Return the number of examples that the states of the other layers belong to, None where there are none."""
        others = (slot for key, slot in self._slots.items() if key[0] != layer)
        return next((len(slot.stored) for slot in others if slot.is_stored), None)

    def working(self, key: Key, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array that holds the stored state, or zeros, for a layer to overwrite.

        Raises ShapeError where a state of another shape is stored.
        """
        slot = self._slots.get(key)
        is_new = slot is None or not slot.is_in_use
        before, after = self.pair(key, shape, dtype)
        if is_new:
            np.copyto(after, before)
        return after

    def pair(self, key: Key, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
        """Return the stored state, or zeros, to be read, and an array that holds anything, to be written whole.

        Raises ShapeError where a state of another shape is stored.
        """
        slot = self._slots.get(key)
        if slot is None or slot.stored.shape != shape or slot.stored.dtype != dtype:
            if slot is not None and slot.is_stored:
                raise ShapeError(
                    f"the stored state {key[-1]!r} has shape {slot.stored.shape}, but this call needs {shape}. Call "
                    "rnn_clear_previous_state() before a batch of another size."
                )
            slot = self._slots[key] = _Slot(shape, dtype)
        if not slot.is_in_use:
            if not slot.is_stored:
                slot.stored.fill(0)
            slot.is_in_use = True
            self._written.append(slot)
        return slot.stored, slot.written

    def commit(self) -> None:
        """Keep what the call wrote."""
        for slot in self._written:
            slot.stored, slot.written, slot.is_stored, slot.is_in_use = slot.written, slot.stored, True, False
        self._written.clear()

    def roll_back(self) -> None:
        """Forget what the call wrote."""
        for slot in self._written:
            slot.is_in_use = False
        self._written.clear()

    def clear(self) -> None:
        """Begin with zeros again; the buffers stay."""
        self.roll_back()
        for slot in self._slots.values():
            slot.is_stored = False

    def of_layer(self, layer: int) -> dict[str, Array]:
        """Return copies of what is stored for a layer, by name; with several inside it as "bwd/prev_act"."""
        return {
            "/".join(map(str, key[1:])): slot.stored.copy()
            for key, slot in self._slots.items()
            if key[0] == layer and slot.is_stored
        }

    def set_layer(self, layer: int, states: Mapping[str, Array]) -> None:
        """Store copies of these states of a layer, in place of what was stored for it; checked by the caller."""
        for key, slot in self._slots.items():
            if key[0] == layer:
                slot.is_stored = False
        for name, array in states.items():
            key = (layer, *name.split("/"))
            slot = self._slots[key] = _Slot(array.shape, array.dtype)
            np.copyto(slot.stored, array)
            slot.is_stored = True


class Carried(NamedTuple):
    """What goes from call to call, and through how many of the last steps errors go back, None for all."""

    states: CarriedState
    backward_steps: int | None = None
