"""The error of a workspace that may not give what it was asked for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import WorkspaceFullError

if TYPE_CHECKING:
    from .arena import Arena

__all__ = ["asking_place", "refusal"]

_PASSED_BY = {__name__.partition(".")[0], "numpy"}


def asking_place() -> str:
    """Return file, line and function of the innermost code on the stack that is neither minidl's nor NumPy's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED_BY:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"


def refusal(
    arena: Arena, size: int, shape: tuple[int, ...], dtype: np.dtype[Any], reason: str, remedy: str
) -> WorkspaceFullError:
    """Return the error (E5) of a request of ``size`` bytes."""
    left = max(0, arena.current_size - arena.offset)
    return WorkspaceFullError(
        f"Can't allocate memory: Workspace is full{reason}. Workspace [{arena.id}] was asked for {size} bytes "
        f"(shape {shape}, {dtype}) and has {left} of {arena.current_size} left. {remedy}",
        "E5",
    )
