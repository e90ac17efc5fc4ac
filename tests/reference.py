"""Slow, obvious implementations in float64: loops over every window and every element that it looks at.

Images are (batch, channels, height, width); series are images of width 1, as high as they are long. A window is given
along each axis as a list of positions, each the list of the elements that it looks at: see ``windows``.
"""

import itertools
import math

import numpy as np

__all__ = [
    "DoesNotFitError",
    "convolution",
    "convolution_gradients",
    "inside",
    "pooling",
    "pooling_gradient",
    "windows",
]


class DoesNotFitError(Exception):
    """No window stands on an axis, or, in mode "strict", the last one does not end where the axis ends."""


def windows(size, kernel, stride, padding, dilation, mode):
    """Return, for each position along an axis, the elements that the window looks at: outside 0 ... size-1 is padding.

    "truncate" and "strict" pad both ends as told. "same" has ceil(size / stride) positions, and pads by
    max(0, (positions - 1) stride + dilation (kernel - 1) + 1 - size), half of it, rounded down, at the start. "causal"
    has as many, and pads the start alone, by dilation (kernel - 1). Raises DoesNotFitError.
    """
    reach = dilation * (kernel - 1) + 1
    if mode in ("same", "causal"):
        positions = math.ceil(size / stride)
        total = max(0, (positions - 1) * stride + reach - size)
        before = total // 2 if mode == "same" else reach - 1
        starts = [position * stride - before for position in range(positions)]
    else:
        end = size + padding
        starts = [start for start in range(-padding, end, stride) if start + reach <= end]
        if not starts:
            raise DoesNotFitError(f"{reach} elements do not fit into {size} + 2 x {padding}")
        if mode == "strict" and starts[-1] + reach != end:
            raise DoesNotFitError(f"{end - starts[-1] - reach} elements are left over")
    return [[start + tap * dilation for tap in range(kernel)] for start in starts]


def inside(rows, columns, size):
    """Yield (u, v, row, column) for every tap (u, v) of a window that lies on an image of this (height, width)."""
    for (u, row), (v, column) in itertools.product(enumerate(rows), enumerate(columns)):
        if 0 <= row < size[0] and 0 <= column < size[1]:
            yield u, v, row, column


def positions(along):
    """Yield (i, j, rows, columns) for every position of a window along (height, width)."""
    for (i, rows), (j, columns) in itertools.product(*map(enumerate, along)):
        yield i, j, rows, columns


def convolution(x, along, weights, bias=None):
    """Return z[n, o, i, j] = bias[o] + sum x[n, c, row, column] weights[o, c, u, v]."""
    z = np.zeros((len(x), len(weights), *map(len, along)))
    if bias is not None:
        z += np.reshape(bias, (1, -1, 1, 1))
    for i, j, rows, columns in positions(along):
        for u, v, row, column in inside(rows, columns, x.shape[2:]):
            z[:, :, i, j] += x[:, :, row, column] @ weights[:, :, u, v].T
    return z


def convolution_gradients(x, along, weights, d_z):
    """Return (dL/dx, dL/dweights, dL/dbias) of ``convolution`` from d_z = dL/dz."""
    d_x, d_weights, d_bias = np.zeros(x.shape), np.zeros(weights.shape), np.zeros(len(weights))
    for i, j, rows, columns in positions(along):
        d_bias += d_z[:, :, i, j].sum(axis=0)
        for u, v, row, column in inside(rows, columns, x.shape[2:]):
            d_x[:, :, row, column] += d_z[:, :, i, j] @ weights[:, :, u, v]
            d_weights[:, :, u, v] += d_z[:, :, i, j].T @ x[:, :, row, column]
    return d_x, d_weights, d_bias


def pooling(x, along, kind, *, p=2.0, include_padding=False):
    """Return y[n, c, i, j]: the "max", "sum", "avg" or "pnorm" of the elements of the image that the window sees.

    The mean is over those elements, or over all of the window with ``include_padding``; of no element at all the
    largest is -inf, anything else 0.
    """
    y = np.zeros((*x.shape[:2], *map(len, along)))
    for i, j, rows, columns in positions(along):
        taken = [(row, column) for _, _, row, column in inside(rows, columns, x.shape[2:])]
        for n, c in np.ndindex(*x.shape[:2]):
            values = [float(x[n, c, row, column]) for row, column in taken]
            if kind == "max":
                y[n, c, i, j] = max(values, default=-math.inf)
            elif kind == "pnorm":
                y[n, c, i, j] = sum(abs(value) ** p for value in values) ** (1 / p)
            else:
                y[n, c, i, j] = sum(values) / divisor(kind, rows, columns, taken, include_padding)
    return y


def pooling_gradient(x, along, kind, d_y, *, p=2.0, eps=1e-8, include_padding=False):
    """Return dL/dx of ``pooling`` from d_y = dL/dy.

    Of equal largest elements the first, row by row, gets it all. A norm counts as eps at least, and |0| has slope 0.
    """
    d_x = np.zeros(x.shape)
    for i, j, rows, columns in positions(along):
        taken = [(row, column) for _, _, row, column in inside(rows, columns, x.shape[2:])]
        for n, c in np.ndindex(*x.shape[:2]):
            values = [float(x[n, c, row, column]) for row, column in taken]
            if kind == "max":
                factors = [float(k == values.index(max(values))) for k in range(len(values))]
            elif kind == "pnorm":
                norm = max(eps, sum(abs(value) ** p for value in values) ** (1 / p))
                factors = [np.sign(value) * abs(value) ** (p - 1) / norm ** (p - 1) for value in values]
            else:
                factors = [1 / divisor(kind, rows, columns, taken, include_padding)] * len(values)
            for (row, column), factor in zip(taken, factors, strict=True):
                d_x[n, c, row, column] += d_y[n, c, i, j] * factor
    return d_x


def divisor(kind, rows, columns, taken, include_padding):
    """Return what a sum is divided by."""
    if kind == "sum":
        return 1
    return len(rows) * len(columns) if include_padding else max(1, len(taken))
