"""Pooling of images and of series."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigurationError, ShapeError
from ..functions import Empty
from ..functions.scratch import with_small_buffers
from ..inputs import InputType
from ..numeric_options import set_flag, set_real
from ..options import enum_option
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .spatial import empty_of, in_c_order
from .window_layer import ImageWindowLayer, SeriesWindowLayer, WindowLayer
from .window_reductions import Parts, Reduction, inverse_counts, mask_of_windows, spread_over_windows
from .windows import Window2D

__all__ = ["PoolingType", "Subsampling1DLayer", "SubsamplingLayer", "checked_pooling", "norm_slope", "power"]


class PoolingType(enum.Enum):
    """How several elements become one: their largest, their mean, their sum, or (sum |x|^p)^(1/p)."""

    MAX = "max"
    AVG = "avg"
    SUM = "sum"
    PNORM = "pnorm"


def checked_pooling(layer: Any) -> None:
    """Make ``pooling_type`` a PoolingType and check ``pnorm`` and ``eps``. Raises ConfigurationError."""
    layer.pooling_type = enum_option(PoolingType, layer.pooling_type, f"{type(layer).__name__}: pooling_type")
    set_real(layer, "pnorm", lambda p: 1 <= p < math.inf, "a finite number of at least 1")
    set_real(layer, "eps", lambda eps: 0 < eps < math.inf, "a finite number above 0")


@dataclass(kw_only=True)
class _Subsampling(WindowLayer):
    """What pooling of images and of series share."""

    independent_examples: ClassVar[bool] = True

    pooling_type: PoolingType | str = "max"
    pnorm: float = 2.0
    eps: float = 1e-8
    avg_pool_include_pad_in_divisor: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_pooling(self)
        set_flag(self, "avg_pool_include_pad_in_divisor")
        self._check_padding()

    def _check_padding(self) -> None:
        options = (self.per_axis(option) for option in ("kernel_size", "padding", "dilation"))
        for size, pad, step in zip(*options, strict=True):
            if pad >= (reach := step * (size - 1) + 1):
                raise ConfigurationError(
                    f"{type(self).__name__}: padding={self.padding} with kernel_size={self.kernel_size}: a window of "
                    f"{reach} would see nothing but {pad} elements of padding. Use a padding of at most {reach - 1}."
                )

    def output_type(self, input_type: InputType) -> InputType:
        """Return images or series of as many channels. Raises ShapeError where the window does not fit."""
        images = self.image_type(input_type)
        output_type = self.windowed_type(input_type, images.channels)
        if self.pooling_type is PoolingType.MAX and None not in input_type.example_shape():
            window = self.window(images.height, images.width)
            for along, axis in ((window.rows, self.axes[0]), (window.columns, self.axes[-1])):
                if along.sees_nothing:
                    raise ShapeError(
                        f"{type(self).__name__}: {axis}={along.size}, kernel={along.kernel}, "
                        f"dilation={along.dilation}: between the elements of a window lies all there is, so that it "
                        "sees padding alone, which has no largest element. Use a smaller dilation, or another "
                        "pooling_type."
                    )
        return output_type

    @with_small_buffers
    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the pooled windows."""
        images, empty = self.images(x), empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        window = self.window(*images.shape[1:3])
        rows, columns, channels = window.rows.positions, window.columns.positions, images.shape[3]
        out = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (len(x), rows, columns, channels))
        parts, is_max = Parts(images, empty), self.pooling_type is PoolingType.MAX
        powers = empty((parts.most, *images.shape[1:])) if self.pooling_type is PoolingType.PNORM else None
        factors = self._factors(window, channels, empty)
        operation, start = (np.maximum, -math.inf) if is_max else (np.add, 0.0)
        reduction = Reduction(operation, start, window, images, parts.most, empty)
        for examples, part in parts:
            target = out[examples]
            if powers is not None:
                part = power(part, self.pnorm, out=powers[: len(part)])
            reduction.write(part, target)
            if powers is not None:
                power(target, 1.0 / self.pnorm, out=target)
            _multiply(target, factors)
        workspace_mgr.save_for_backprop(x, self.from_images(out))
        return self.from_images(out)

    @with_small_buffers
    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx: epsilon where the largest element was, or its share for every element of the window."""
        if not workspace_mgr.wants_input_gradient:
            return None
        x, out = workspace_mgr.saved()
        images, results, empty = self.images(x), self.images(out), empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        epsilon = in_c_order(self.images(epsilon), ArrayType.BP_WORKING_MEM, workspace_mgr)
        window = self.window(*images.shape[1:3])
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, images.shape)
        if self.pooling_type is PoolingType.MAX:
            _backprop_max(images, results, epsilon, window, d_x, empty)
        elif self.pooling_type is PoolingType.PNORM:
            _backprop_norm((images, results, epsilon, d_x), window, self.pnorm, self.eps, empty)
        else:
            self._backprop_sum(images, epsilon, window, d_x, empty)
        return self.from_images(d_x)

    def _backprop_sum(self, images: Array, epsilon: Array, window: Window2D, d_x: Array, empty: Empty) -> None:
        parts = Parts(images, empty)
        middle = empty((parts.most, images.shape[1], *epsilon.shape[2:]))
        factors = self._factors(window, images.shape[3], empty)
        for examples in parts.examples():
            share = epsilon[examples]
            _multiply(share, factors)
            spread_over_windows(share, window, middle=middle[: len(share)], out=d_x[examples])

    def _factors(self, window: Window2D, channels: int, empty: Empty) -> Array | float | None:
        """Return what a sum is multiplied by: a number, one for every element of an image, or None for nothing."""
        if self.pooling_type is not PoolingType.AVG:
            return None
        if self.avg_pool_include_pad_in_divisor or not window.is_padded:
            return 1.0 / window.taps
        factors = empty((window.rows.positions, window.columns.positions, channels))
        np.copyto(factors, inverse_counts(window, factors.dtype))
        return factors

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the output: the largest that a window sees."""
        return mask_of_windows(mask, self, workspace_mgr)


@dataclass(kw_only=True)
class SubsamplingLayer(ImageWindowLayer, _Subsampling):
    """Pooling of images: y[n, c, i, j] = largest, mean, sum or p-norm of x[n, c] in the window at (i, j).

    Shapes: x (batch, channels, height, width), y (batch, channels, height out, width out), or with the channels last
    where the input type says "NHWC"; extents as for ConvolutionLayer. Padding never is the largest, and does not count
    in the mean unless ``avg_pool_include_pad_in_divisor``; of equal largest elements the first, row by row, gets the
    gradient. ``eps`` is the least norm that "pnorm" divides by; its sums must not overflow: |x|^p times the elements.
    Raises ShapeError where the window does not fit, ConfigurationError for options that cannot be.
    Source: DL4J ``SubsamplingLayer``.
    """

    kernel_size: Any = (2, 2)
    stride: Any = (2, 2)


@dataclass(kw_only=True)
class Subsampling1DLayer(SeriesWindowLayer, _Subsampling):
    """Pooling of series over time: as SubsamplingLayer, with numbers in place of pairs.

    Shapes: x (batch, size, time), y (batch, size, time out), or with the size last where the input type says "NWC".
    Source: DL4J ``Subsampling1DLayer``.
    """

    kernel_size: Any = 2
    stride: Any = 2


def power(x: Array, exponent: float, *, out: Array) -> Array:
    """Return |x|^exponent in ``out``."""
    if exponent == 2.0:
        return np.multiply(x, x, out=out)
    np.absolute(x, out=out)
    if exponent == 0.5:
        return np.sqrt(out, out=out)
    return out if exponent == 1.0 else np.power(out, exponent, out=out)


def norm_slope(x: Array, norm: Array, p: float, *, out: Array) -> Array:
    """Return d norm / dx = sign(x) (|x| / norm)^(p-1) in ``out``, for the norm of all x or less, which is above 0."""
    if p == 1.0:
        return np.sign(x, out=out)
    np.absolute(x, out=out)
    np.divide(out, norm, out=out)
    np.minimum(out, 1.0, out=out)  # where the norm is less than x, its powers were too small for the type
    if p != 2.0:
        np.power(out, p - 1.0, out=out)
    return np.copysign(out, x, out=out)


def _backprop_norm(arrays: Sequence[Array], window: Window2D, p: float, eps: float, empty: Empty) -> None:
    """Write dL/dx = sum of e sign(x) (|x| / y)^(p-1) over the windows of x, for arrays (x, y, e, dL/dx)."""
    images, results, epsilon, d_x = arrays
    parts = Parts(images, empty)
    norms, seen, slopes = (empty((parts.most, *epsilon.shape[1:])) for _ in range(3))
    for examples, part in parts:
        target, n = d_x[examples], len(part)
        target.fill(0.0)
        norm, x, slope = np.maximum(results[examples], eps, out=norms[:n]), seen[:n], slopes[:n]
        for rows, input_rows in window.rows.taps():
            for columns, input_columns in window.columns.taps():
                x.fill(0.0)  # padding
                np.copyto(x[:, rows, columns], part[:, input_rows, input_columns])
                np.multiply(norm_slope(x, norm, p, out=slope), epsilon[examples], out=slope)
                where = target[:, input_rows, input_columns]
                np.add(where, slope[:, rows, columns], out=where)


def _multiply(values: Array, factors: Array | float | None) -> None:
    """Multiply ``values`` (n, rows, columns, channels) by one number, or image by image by many, in place."""
    if factors is None:
        return
    if isinstance(factors, float):
        np.multiply(values, factors, out=values)
        return
    for image in values:
        np.multiply(image, factors, out=image)


def _backprop_max(images: Array, results: Array, epsilon: Array, window: Window2D, d_x: Array, empty: Empty) -> None:
    """Write ``epsilon`` where the first largest element of each window was, zero elsewhere."""
    parts = Parts(images, empty)
    shape = (parts.most, *epsilon.shape[1:])
    memory = empty(shape, np.bool_), empty(shape, np.bool_), empty(shape)
    taps = [(rows, columns) for rows in window.rows.taps() for columns in window.columns.taps()]
    backprop = _backprop_partition if window.is_partition else _backprop_overlapping
    for examples, part in parts:
        hits, taken, share = (array[: len(part)] for array in memory)
        backprop(taps, (part, results[examples], epsilon[examples], d_x[examples]), (hits, taken, share))


def _backprop_partition(taps: Sequence[Any], arrays: Sequence[Array], memory: Sequence[Array]) -> None:
    """Do so where every element is seen once: what no other element of a window took is the last one's."""
    images, results, epsilon, target = arrays
    hits, taken, share = memory
    taken.fill(False)
    for tap, ((_, rows), (_, columns)) in enumerate(taps):
        if tap + 1 == len(taps):
            np.logical_not(taken, out=hits)
        else:
            np.copyto(share, images[:, rows, columns])  # without gaps, NumPy takes no buffers
            np.equal(share, results, out=hits)
            if tap:
                np.greater(hits, taken, out=hits)
            np.logical_or(hits, taken, out=taken)
        np.copyto(share, hits)  # numbers: a product with booleans would take a buffer as well
        np.multiply(share, epsilon, out=share)
        np.copyto(target[:, rows, columns], share)


def _backprop_overlapping(taps: Sequence[Any], arrays: Sequence[Array], memory: Sequence[Array]) -> None:
    """Do so where windows overlap, leave elements out, or see padding."""
    images, results, epsilon, target = arrays
    hits, taken, share = memory
    target.fill(0.0)
    taken.fill(False)
    for (rows, input_rows), (columns, input_columns) in taps:
        share.fill(math.nan)  # padding: equal to nothing
        np.copyto(share[:, rows, columns], images[:, input_rows, input_columns])
        np.equal(share, results, out=hits)
        np.greater(hits, taken, out=hits)
        np.logical_or(hits, taken, out=taken)
        np.copyto(share, hits)
        np.multiply(share, epsilon, out=share)
        where = target[:, input_rows, input_columns]
        np.add(where, share[:, rows, columns], out=where)
