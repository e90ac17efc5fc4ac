"""What a step asks its workspaces for: one record for each array, and how the list grows with the batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["FEW", "HEAP", "MANY", "MORE", "Request", "UPDATER", "requests_for"]

FEW, MORE, MANY = 2, 3, 9  # examples to rehearse with: two points of a line, and one to check it
UPDATER = -1
HEAP = "the heap"  # in place of a workspace: where a custom layer left a result


@dataclass(frozen=True)
class Request:
    """One array that a step asks for: where, by whom, what for, how large, and in which steps of the clock it lives.

    The clock counts layer calls. ``cycle`` tells apart the cycles of one workspace; ``layer`` -1 is the updater.
    """

    workspace: str
    cycle: int
    layer: int
    purpose: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    birth: int
    death: int

    @property
    def bytes(self) -> int:
        """Bytes of the array itself."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def scaled(self, other: Request, batch: int) -> Request:
        """Return this request of FEW examples for ``batch``, ``other`` being the one of MORE; extents are affine."""
        shape = tuple(
            few + (batch - FEW) * (more - few) // (MORE - FEW)
            for few, more in zip(self.shape, other.shape, strict=True)
        )
        return replace(self, shape=shape)

    def like(self, other: Request) -> bool:
        """Tell whether two requests are the same but for their extents."""
        return replace(self, shape=()) == replace(other, shape=()) and len(self.shape) == len(other.shape)


def requests_for(few: list[Request], more: list[Request], batch: int) -> list[Request] | None:
    """Return the requests for ``batch`` examples, from rehearsals of FEW and MORE; None where they are not alike."""
    if len(few) != len(more) or not all(a.like(b) for a, b in zip(few, more, strict=True)):
        return None
    return [a.scaled(b, batch) for a, b in zip(few, more, strict=True)]
