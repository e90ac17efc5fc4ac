"""Larger images from smaller ones, and more channels from larger images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..functions.scratch import with_small_buffers
from ..inputs import InputType
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .spatial import ImageLayer, check_whole
from .window_reductions import Parts

__all__ = ["SpaceToDepthLayer", "Upsampling2D"]


@dataclass
class Upsampling2D(ImageLayer):
    """Repeat every pixel: y[n, c, i, j] = x[n, c, i // height factor, j // width factor].

    ``size``: (height factor, width factor), or one number for both. Shapes: x (batch, n, height, width), y (batch, n,
    height x factor, width x factor), or with the channels last. A mask of pixels is repeated as well.
    Raises ShapeError for inputs that are not images, ConfigurationError for other sizes. Source: DL4J ``Upsampling2D``.
    """

    independent_examples: ClassVar[bool] = True

    size: Any = (2, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self, "size", 2, 1)

    def output_type(self, input_type: InputType) -> InputType:
        """Return larger images. Raises ShapeError for other inputs."""
        images = self.image_type(input_type)
        return self.type_like(input_type, images.height * self.size[0], images.width * self.size[1], images.channels)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the repeated pixels."""
        return self.from_images(self._repeated(self.images(x), workspace_mgr))

    @with_small_buffers
    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx: for every pixel the sum over its copies."""
        if not workspace_mgr.wants_input_gradient:
            return None
        images, (rows, columns) = self.images(epsilon), self.size
        batch, height, width, channels = images.shape
        height, width, run = height // rows, width // columns, width * channels
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, (batch, height, width, channels))
        parts = Parts(images, workspace_mgr.backward_memory)
        sums = workspace_mgr.backward_memory((parts.most, height, run))
        copies = workspace_mgr.backward_memory((parts.most, height, width, channels))
        for examples, part in parts:
            target, copy = d_x[examples], copies[: len(part)]
            by_row = part.reshape(len(part), height, rows, run)
            of_rows = by_row[:, :, 0]
            for row in range(1, rows):  # long runs first
                of_rows = np.add(of_rows, by_row[:, :, row], out=sums[: len(part)])
            by_column = of_rows.reshape(len(part), height, width, columns, channels)
            np.copyto(target, by_column[..., 0, :])
            for column in range(1, columns):
                np.copyto(copy, by_column[..., column, :])  # without gaps, NumPy takes no buffers
                np.add(target, copy, out=target)
        return self.from_images(d_x)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return a mask of pixels with every pixel repeated; one of examples stays as it is."""
        if mask is None or mask.ndim < 3:
            return mask
        return self._repeated(mask.view(np.ndarray)[..., np.newaxis], workspace_mgr)[..., 0]

    def _repeated(self, images: Array, workspace_mgr: LayerWorkspaceMgr) -> Array:
        batch, height, width, channels = images.shape
        rows, columns = self.size
        shape = (batch, height * rows, width * columns, channels)
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, shape, images.dtype)
        copies = y.reshape(batch, height, rows, width, columns, channels)
        np.copyto(copies, images[:, :, np.newaxis, :, np.newaxis])
        return y


@dataclass
class SpaceToDepthLayer(ImageLayer):
    """Turn blocks of pixels into channels: y[n, (u b + v) C + c, i, j] = x[n, c, i b + u, j b + v].

    ``block_size`` is b. Shapes: x (batch, C, height, width), y (batch, C b b, height / b, width / b), or with the
    channels last; the order of the new channels is the same. A pixel of a mask is there where one of its block was.
    Raises ShapeError for heights or widths that b does not divide. Source: DL4J ``SpaceToDepthLayer``.
    """

    independent_examples: ClassVar[bool] = True

    block_size: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self, "block_size", 1, 1)

    def output_type(self, input_type: InputType) -> InputType:
        """Return smaller images of more channels. Raises ShapeError for a height or width that has no whole blocks."""
        images, block = self.image_type(input_type), self.block_size
        for axis, extent in (("height", images.height), ("width", images.width)):
            if extent % block:
                raise ShapeError(
                    f"{type(self).__name__}: block_size={block} does not divide {axis}={extent}: {extent} / {block} = "
                    f"{extent / block:.4g}. Use another block size, or crop or pad the images in front of it."
                )
        return self.type_like(input_type, images.height // block, images.width // block, images.channels * block**2)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the blocks as channels."""
        images, block = self.images(x), self.block_size
        batch, height, width, channels = images.shape
        shape = (batch, height // block, width // block, block, block, channels)
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, shape)
        np.copyto(y, self._blocks(images))
        return self.from_images(y.reshape(*shape[:3], block * block * channels))

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx: epsilon, the channels as blocks again."""
        if not workspace_mgr.wants_input_gradient:
            return None
        images, block = self.images(epsilon), self.block_size
        batch, height, width, channels = images.shape
        shape = (batch, height * block, width * block, channels // block**2)
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, shape)
        np.copyto(self._blocks(d_x), images.reshape(batch, height, width, block, block, shape[3]))
        return self.from_images(d_x)

    def _blocks(self, images: Array) -> Array:
        """Return images as a view of their blocks, (batch, height / b, width / b, b, b, channels)."""
        block, (batch, height, width, channels) = self.block_size, images.shape
        split = images.reshape(batch, height // block, block, width // block, block, channels)
        return split.transpose(0, 1, 3, 2, 4, 5)

    @with_small_buffers
    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the output: the largest of each block. A mask of examples stays as it is."""
        if mask is None or mask.ndim < 3:
            return mask
        block, plain = self.block_size, mask.view(np.ndarray)
        shape = (len(mask), mask.shape[1] // block, mask.shape[2] // block)
        out = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, shape, mask.dtype)
        np.copyto(out, plain[:, ::block, ::block])
        for start in range(1, block * block):
            np.maximum(out, plain[:, start // block :: block, start % block :: block], out=out)
        return out
