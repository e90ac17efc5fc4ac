"""Layer normalisation of rows: every row gets mean 0 and deviation 1, then a gain for each column."""

from __future__ import annotations

import numpy as np

from ..functions import Empty
from .base import Array

__all__ = ["backprop_normalized", "normalize"]


def normalize(rows: Array, empty: Empty) -> Array:
    """Bring each row (m, n) to (row - mean) / deviation, in place, and return 1 / deviation (m, 1).

    The deviation is that of the population, without an epsilon; rows of equal numbers become 0, as in DL4J.
    Source: Ba, Kiros and Hinton (2016); DL4J's operation ``layer_norm``.
    """
    m, n = rows.shape
    mean, inverse, scratch = empty((m, 1), rows.dtype), empty((m, 1), rows.dtype), empty((m, n), rows.dtype)
    np.copyto(mean, rows[:, :1])
    np.subtract(rows, mean, out=rows)  # so that equal numbers are 0 exactly, whatever their mean is rounded to
    np.add.reduce(rows, axis=1, keepdims=True, out=mean)
    np.multiply(mean, 1.0 / n, out=mean)
    np.subtract(rows, mean, out=rows)
    np.multiply(rows, rows, out=scratch)
    np.add.reduce(scratch, axis=1, keepdims=True, out=inverse)
    np.multiply(inverse, 1.0 / n, out=inverse)
    np.sqrt(inverse, out=inverse)
    is_flat = np.equal(inverse, 0, out=empty((m, 1), np.bool_))
    np.copyto(inverse, np.inf, where=is_flat)
    np.reciprocal(inverse, out=inverse)
    np.multiply(rows, inverse, out=rows)
    return inverse


def backprop_normalized(
    normalized: Array, inverse: Array, epsilon: Array, *, gain: Array, d_gain: Array, empty: Empty
) -> None:
    """Turn ``epsilon`` = dL/d(gain normalized) into dL/drows, in place, and add dL/dgain to ``d_gain`` (n,).

    With e = epsilon gain: (e - mean e - normalized mean(e normalized)) / deviation.
    """
    m, n = normalized.shape
    mean, scratch = empty((m, 1), normalized.dtype), empty((m, n), normalized.dtype)
    sums = empty((n,), normalized.dtype)
    np.multiply(epsilon, normalized, out=scratch)
    np.add(d_gain, np.add.reduce(scratch, axis=0, out=sums), out=d_gain)
    np.multiply(epsilon, gain, out=epsilon)
    np.multiply(epsilon, normalized, out=scratch)
    np.add.reduce(scratch, axis=1, keepdims=True, out=mean)
    np.multiply(mean, 1.0 / n, out=mean)
    np.multiply(normalized, mean, out=scratch)
    np.add.reduce(epsilon, axis=1, keepdims=True, out=mean)
    np.multiply(mean, 1.0 / n, out=mean)
    np.subtract(epsilon, mean, out=epsilon)
    np.subtract(epsilon, scratch, out=epsilon)
    np.multiply(epsilon, inverse, out=epsilon)
