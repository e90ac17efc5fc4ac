"""Pooling over the whole of an image or a series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import ShapeError
from ..functions import Empty
from ..inputs import Convolutional, InputType, Recurrent, channels_of
from ..numeric_options import set_flag
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, Layer
from .preprocessors import InputPreProcessor, images_of_rows
from .spatial import check_format, empty_of, images_of, logical_of, mask_as_images
from .subsampling import PoolingType, checked_pooling, norm_slope, power
from .window_reductions import Parts

__all__ = ["GlobalPoolingLayer"]


@dataclass(kw_only=True)
class GlobalPoolingLayer(Layer):
    """One number for each channel: the largest, mean, sum or p-norm over all positions that are not masked.

    Shapes: x (batch, n, time) or (batch, n, height, width), or with the channels last; y (batch, n), or with
    ``collapse_dimensions=False`` images of one position, (batch, n, 1, 1), or series of one step. A mask (batch, time)
    or (batch, height, width) leaves positions out, and ends here; where it leaves none, y is 0. Of equal largest
    elements the first gets the gradient. ``eps`` is the least norm that "pnorm" divides by.
    Raises ShapeError for inputs that are neither series nor images, ConfigurationError for options that cannot be.
    Source: DL4J ``GlobalPoolingLayer``.
    """

    independent_examples: ClassVar[bool] = True
    sees_whole_series: ClassVar[bool] = True

    format: str | None = None
    pooling_type: PoolingType | str = "max"
    pnorm: float = 2.0
    eps: float = 1e-8
    collapse_dimensions: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_pooling(self)
        set_flag(self, "collapse_dimensions")

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes images of rows of them."""
        return images_of_rows(input_type)

    def output_type(self, input_type: InputType) -> InputType:
        """Return vectors of one number for each channel. Raises ShapeError for what is neither series nor images."""
        if not isinstance(input_type, Convolutional | Recurrent):
            raise ShapeError(
                f"{type(self).__name__} expects images or series, but its input is {input_type}. Use "
                "InputType.convolutional(height, width, channels) or InputType.recurrent(size)."
            )
        check_format(self, input_type.format)
        channels = channels_of(input_type)
        if self.collapse_dimensions:
            return InputType.feed_forward(channels)
        if isinstance(input_type, Recurrent):
            return InputType.recurrent(channels, 1, input_type.format)
        return InputType.convolutional(1, 1, channels, input_type.format)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the pooled channels."""
        images, empty = images_of(x, self.format), empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        batch, height, width, n = images.shape
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (batch, n))
        seen, memory = (
            _positions_mask(workspace_mgr.mask, self.format, workspace_mgr),
            _Memory(height * width, n, empty),
        )
        for examples, part in Parts(images, empty):
            for index, image in enumerate(part, examples.start):
                self._pool(image.reshape(-1, n), None if seen is None else seen[index], memory, y[index])
        workspace_mgr.save_for_backprop(x, y)
        return self._output(y, x.ndim)

    def _pool(self, positions: Array, mask: Array | None, memory: _Memory, y: Array) -> None:
        """Write one example (positions, n), as far as its mask lets see, into ``y`` (n,)."""
        count = len(positions) if mask is None else np.count_nonzero(mask)
        if count == 0:
            y.fill(0.0)
        elif self.pooling_type is PoolingType.MAX:
            np.maximum.reduce(memory.without_masked(positions, mask, -math.inf), axis=0, out=y)
        else:
            positions = memory.without_masked(positions, mask, 0.0)
            if self.pooling_type is PoolingType.PNORM:
                positions = power(positions, self.pnorm, out=memory.numbers)
            np.add.reduce(positions, axis=0, out=y)
            if self.pooling_type is PoolingType.PNORM:
                power(y, 1.0 / self.pnorm, out=y)
            elif self.pooling_type is PoolingType.AVG:
                np.multiply(y, 1.0 / count, out=y)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx: epsilon where the largest element was, or its share for every position."""
        if not workspace_mgr.wants_input_gradient:
            return None
        x, y = workspace_mgr.saved()
        images, empty = images_of(x, self.format), empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        batch, height, width, n = images.shape
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, images.shape)
        rows = epsilon.reshape(batch, n)
        seen, memory = (
            _positions_mask(workspace_mgr.mask, self.format, workspace_mgr),
            _Memory(height * width, n, empty),
        )
        for examples, part in Parts(images, empty):
            for index, image in enumerate(part, examples.start):
                mask, target = None if seen is None else seen[index], d_x[index].reshape(-1, n)
                self._backprop_one(image.reshape(-1, n), mask, (y[index], rows[index]), memory, target)
        return logical_of(d_x, x.ndim, self.format)

    def _backprop_one(
        self, positions: Array, mask: Array | None, results: tuple[Array, Array], memory: _Memory, target: Array
    ) -> None:
        """Write dL/dx of one example into ``target`` (positions, n)."""
        y, epsilon = results
        count = len(positions) if mask is None else np.count_nonzero(mask)
        if count == 0:
            target.fill(0.0)
            return
        if self.pooling_type is PoolingType.MAX:
            positions = memory.without_masked(positions, mask, -math.inf)
            memory.write_to_first_largest(positions, y, epsilon, target)
            return
        share = memory.row
        np.copyto(share, epsilon)
        if self.pooling_type is PoolingType.AVG:
            np.multiply(share, 1.0 / count, out=share)
        np.copyto(target, share)
        if self.pooling_type is PoolingType.PNORM:
            np.copyto(memory.norms, np.maximum(y, self.eps, out=share))
            slope = norm_slope(positions, memory.norms, self.pnorm, out=memory.numbers)
            np.multiply(target, slope, out=target)
        if mask is not None:
            np.copyto(target, 0.0, where=np.equal(mask[:, np.newaxis], 0.0, out=memory.absent))

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return None, as there are no positions any more; a mask of whole examples stays."""
        return mask if mask_as_images(mask, self.format, workspace_mgr) is None else None

    def _output(self, y: Array, axes: int) -> Array:
        return y if self.collapse_dimensions else logical_of(y[:, np.newaxis, np.newaxis], axes, self.format)


class _Memory:
    """Scratch for one example of (positions, n)."""

    def __init__(self, positions: int, n: int, empty: Empty) -> None:
        self.numbers, self.norms, self.row = empty((positions, n)), empty((positions, n)), empty((n,))
        self.absent = empty((positions, 1), np.bool_)
        self._counts, self._hit, self._first = (empty((positions, n), t) for t in (None, np.bool_, np.bool_))

    def without_masked(self, positions: Array, mask: Array | None, value: float) -> Array:
        """Return ``positions``, or where there is a mask a copy with ``value`` in place of what it leaves out."""
        if mask is None:
            return positions
        np.copyto(self.numbers, positions)
        np.copyto(self.numbers, value, where=np.equal(mask[:, np.newaxis], 0.0, out=self.absent))
        return self.numbers

    def write_to_first_largest(self, positions: Array, largest: Array, epsilon: Array, target: Array) -> None:
        """Write ``epsilon`` (n,) into ``target`` (positions, n) where the first largest element is, zero elsewhere."""
        np.copyto(target, largest)
        np.equal(positions, target, out=self._hit)
        np.copyto(self._counts, self._hit)
        np.add.accumulate(self._counts, axis=0, out=target)  # of the largest, the first is number 1
        np.logical_and(self._hit, np.equal(target, 1.0, out=self._first), out=self._hit)
        np.copyto(self._counts, self._hit)  # numbers: a product with booleans would take a hidden buffer
        np.copyto(target, epsilon)
        np.multiply(target, self._counts, out=target)


def _positions_mask(mask: Array | None, format: str | None, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
    """Return a mask (batch, positions), None where there is none or it is one of whole examples."""
    images = mask_as_images(mask, format, workspace_mgr)
    return None if images is None else images.reshape(len(images), -1)
