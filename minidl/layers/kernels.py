"""The weights of a convolution as a matrix, their gradient, its bias and its activation, position by position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..functions import Activation, Empty
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .activating import backprop_activation, run_activation
from .base import Array, ParamSpec, filled_in
from .spatial import in_c_order

__all__ = [
    "BiasRows",
    "KernelGradient",
    "activate_positions",
    "backprop_positions",
    "bias_spec",
    "kernel_spec",
    "tap_matrices",
    "weight_matrix",
]

BIAS_BLOCK = 16384  # elements of the repeated bias: what stays in the cache
SMALL_PRODUCT = 1_000_000
"""Multiplications up to which OpenBLAS copies, of an untransposed right operand, columns % 16 to the heap."""


def kernel_spec(layer: Any, shape: tuple[int, ...], n_in: int, n_out: int) -> ParamSpec:
    """Return weights W of this shape, whose fans DL4J counts as channels x kernel, those out divided by the stride.

    Source: DL4J ``ConvolutionParamInitializer``, ``DepthwiseConvolutionParamInitializer``.
    """
    kernel, stride = layer.kernel_and_stride()
    taps, step = math.prod(kernel), math.prod(stride)
    init = filled_in(layer.weight_init, "weight_init")
    return ParamSpec("W", shape, init, fan_in=n_in * taps, fan_out=max(1, n_out * taps // step))


def bias_spec(layer: Any, n_out: int) -> tuple[ParamSpec, ...]:
    """Return b (n_out,) where the layer has one: in DL4J it comes before the weights of a convolution."""
    if not layer.has_bias:
        return ()
    return (ParamSpec("b", (n_out,), filled_in(layer.bias_init, "bias_init"), regularizable=False),)


def weight_matrix(weights: Array, empty: Empty) -> Array:
    """Return weights (m, channels, kernel...) as (m, kernel x channels), as windows are: a copy if need be."""
    rows, channels, *kernel = weights.shape
    taps = math.prod(kernel)
    if channels == 1 or taps == 1:
        return weights.reshape(rows, taps * channels)
    copy = empty((rows, taps, channels), weights.dtype)
    np.copyto(copy, weights.reshape(rows, channels, taps).transpose(0, 2, 1))
    return copy.reshape(rows, taps * channels)


def tap_matrices(weights: Array, empty: Empty) -> Array:
    """Return weights (m, channels, kernel...) as a matrix for each element of the kernel, (kernel, m, channels).

    In C order, which is faster, unless OpenBLAS would take more than a little of it to the heap.
    """
    rows, channels, *kernel = weights.shape
    taps = math.prod(kernel)
    given = weights.reshape(rows, channels, taps)
    if channels % 16 * rows * weights.itemsize > 2048:
        turned = empty((taps, channels, rows), weights.dtype)
        np.copyto(turned, given.transpose(2, 1, 0))
        return turned.transpose(0, 2, 1)
    copy = empty((taps, rows, channels), weights.dtype)
    np.copyto(copy, given.transpose(2, 0, 1))
    return copy


class KernelGradient:
    """The gradient of weights (m, channels, kernel...), as a sum of products over the blocks of a batch.

    It is summed as (kernel x channels, m), which BLAS is fastest with, and brought into order at the end. ``turns``
    says that the windows come transposed, as Unfolding makes them with ``taps_first``.
    """

    def __init__(self, gradient: Array, empty: Empty, *, turns: bool = False) -> None:
        self._rows, self._channels, *kernel = gradient.shape
        self._gradient = gradient.reshape(self._rows, self._channels, math.prod(kernel))
        width = gradient.size // self._rows
        self._sum, self._product = (empty((width, self._rows), gradient.dtype) for _ in range(2))
        self._turned = empty((self._rows, width), gradient.dtype) if turns else None
        self._is_empty = True

    def add(self, left: Array, windows: Array) -> None:
        """Add windows^T left, of windows (positions, kernel x channels) and left (positions, m)."""
        out = self._sum if self._is_empty else self._product
        if self._turned is None or left.size * windows.shape[1] > SMALL_PRODUCT:
            np.matmul(windows.T, left, out=out)
        else:
            np.copyto(out, np.matmul(left.T, windows, out=self._turned).T)
        if not self._is_empty:
            np.add(self._sum, self._product, out=self._sum)
        self._is_empty = False

    def write(self) -> None:
        """Write the sum where the gradient belongs."""
        np.copyto(self._gradient, self._sum.reshape(-1, self._channels, self._rows).transpose(2, 1, 0))


class BiasRows:
    """A bias to be added to many rows: repeated, as NumPy would take a hidden buffer for a broadcast."""

    def __init__(self, bias: Array, empty: Empty) -> None:
        self._rows = max(1, BIAS_BLOCK // len(bias))
        self._repeated = empty((self._rows, len(bias)), bias.dtype)
        np.copyto(self._repeated, bias)

    def add_to(self, matrix: Array) -> None:
        """Add the bias to every row of ``matrix`` (rows, n), in place."""
        for start in range(0, len(matrix), self._rows):
            block = matrix[start : start + self._rows]
            np.add(block, self._repeated[: len(block)], out=block)


def activate_positions(
    activation: Activation | str | None, z: Array, workspace_mgr: LayerWorkspaceMgr, training: bool
) -> tuple[Array, Array]:
    """Return (what the derivative needs, f(z)) for z (batch, height, width, channels) in C order, which is overwritten.

    The activation sees the channels along axis 1, so that softmax is over them.
    """
    seen = z.transpose(0, 3, 1, 2)
    kept, out = run_activation(activation, seen, workspace_mgr, overwrite=True, training=training)
    return kept, out.transpose(0, 2, 3, 1)


def backprop_positions(
    activation: Activation | str | None, kept: Array, epsilon: Array, workspace_mgr: LayerWorkspaceMgr
) -> Array:
    """Return dL/dz (batch, height, width, channels) in C order, in the memory of ``epsilon`` if that is in C order."""
    d_z = in_c_order(epsilon, ArrayType.BP_WORKING_MEM, workspace_mgr)
    backprop_activation(activation, kept, d_z.transpose(0, 3, 1, 2), workspace_mgr)
    return d_z
