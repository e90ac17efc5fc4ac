"""Dropout of a layer's input."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["drop", "drop_mask"]


def drop_mask(keep: float, rng: np.random.Generator, *, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Fill ``out`` with 1 / keep with probability ``keep``, else 0, and return it.

    Source: inverted dropout, Srivastava et al. (2014); DL4J ``Dropout``, whose p is the probability to keep.
    """
    rng.random(out=out, dtype=out.dtype)
    out += keep
    np.floor(out, out=out)  # 1 where the draw is at least 1 - keep, without a boolean array
    np.minimum(out, 1, out=out)  # a draw next to 1 plus a keep next to 1 rounds to 2
    out *= 1 / keep
    return out


def drop(x: npt.NDArray[Any], mask: npt.NDArray[Any], *, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Write x mask into ``out`` and return it; the gradient passes through the same function."""
    return np.multiply(x, mask, out=out)
