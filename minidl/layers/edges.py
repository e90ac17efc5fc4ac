"""Zeros around images and series, and edges cut off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigurationError, ShapeError
from ..inputs import InputType
from ..numeric_options import whole
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .spatial import ImageLayer, SeriesLayer, SpatialLayer, mask_as_images

__all__ = ["Cropping1D", "Cropping2D", "ZeroPadding1DLayer", "ZeroPaddingLayer"]


@dataclass
class _Edges(SpatialLayer):
    """What layers share that add or cut off (top, bottom, left, right)."""

    independent_examples: ClassVar[bool] = True
    option: ClassVar[str] = ""
    sign: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        value = getattr(self, self.option)
        given = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        numbers = tuple(whole(each) for each in given)
        if len(numbers) not in self._forms or any(number is None or number < 0 for number in numbers):
            raise ConfigurationError(
                f"{type(self).__name__}: {self.option}={value!r} is not {self._expected}, each at least 0."
            )
        setattr(self, self.option, numbers if len(numbers) > 1 else numbers * self._forms[1])

    _forms: ClassVar[tuple[int, ...]] = ()
    _expected: ClassVar[str] = ""

    def _sides(self) -> tuple[int, int, int, int]:
        """Return (top, bottom, left, right)."""
        raise NotImplementedError

    def output_type(self, input_type: InputType) -> InputType:
        """Return images or series of the new extents. Raises ShapeError where nothing would be left."""
        images = self.image_type(input_type)
        top, bottom, left, right = self._sides()
        extents: list[int] = []
        for axis, size, before, after in (("height", images.height, top, bottom), ("width", images.width, left, right)):
            new = size + self.sign * (before + after)
            if new < 1 and None not in input_type.example_shape():
                name = axis if isinstance(self, ImageLayer) else "timesteps"
                raise ShapeError(
                    f"{type(self).__name__}: {self.option}={getattr(self, self.option)} of {name}={size} leaves {size} "
                    f"- {before} - {after} = {new}. Cut off less."
                )
            extents.append(max(new, 1))
        height, width = extents
        return self.type_like(input_type, height, width, images.channels)

    def _inner(self, images: Array) -> Array:
        """Return a view of images without their edges."""
        top, bottom, left, right = self._sides()
        _, height, width, _ = images.shape
        return images[:, top : height - bottom, left : width - right]

    def _surrounded(self, images: Array, array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return a copy of images, of their type, with zeros around them."""
        top, bottom, left, right = self._sides()
        batch, height, width, channels = images.shape
        shape = (batch, height + top + bottom, width + left + right, channels)
        padded = workspace_mgr.create_uninitialized(array_type, shape, images.dtype)
        padded.fill(0.0)
        np.copyto(self._inner(padded), images)
        return padded

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the output: what is added is not there. A mask of examples stays as it is."""
        images = mask_as_images(mask, self.format, workspace_mgr)
        if mask is None or images is None:
            return mask
        if self.sign < 0:
            inner = self._inner(images)
            copy = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, inner.shape, mask.dtype)
            np.copyto(copy, inner)
        else:
            copy = self._surrounded(images, ArrayType.ACTIVATIONS, workspace_mgr)
        return copy.reshape(len(mask), -1) if mask.ndim == 2 else copy[..., 0]


@dataclass
class _Padding(_Edges):
    option: ClassVar[str] = "padding"

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x with zeros around it."""
        return self.from_images(self._surrounded(self.images(x), ArrayType.ACTIVATIONS, workspace_mgr))

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return epsilon without the edges."""
        if not workspace_mgr.wants_input_gradient:
            return None
        inner = self._inner(self.images(epsilon))
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, inner.shape)
        np.copyto(d_x, inner)
        return self.from_images(d_x)


@dataclass
class _Cropping(_Edges):
    option: ClassVar[str] = "cropping"
    sign: ClassVar[int] = -1

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return x without the edges: a copy, as a view with gaps would cost the layers behind more."""
        inner = self._inner(self.images(x))
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, inner.shape)
        np.copyto(y, inner)
        return self.from_images(y)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return epsilon with zeros around it."""
        if not workspace_mgr.wants_input_gradient:
            return None
        return self.from_images(self._surrounded(self.images(epsilon), ArrayType.ACTIVATION_GRAD, workspace_mgr))


@dataclass
class _ImageEdges(ImageLayer, _Edges):
    _forms: ClassVar[tuple[int, ...]] = (1, 2, 4)
    _expected: ClassVar[str] = "a whole number, (height, width) or (top, bottom, left, right)"

    def _sides(self) -> tuple[int, int, int, int]:
        sides = getattr(self, self.option)
        return sides if len(sides) == 4 else (sides[0], sides[0], sides[1], sides[1])


@dataclass
class _SeriesEdges(SeriesLayer, _Edges):
    _forms: ClassVar[tuple[int, ...]] = (1, 2)
    _expected: ClassVar[str] = "a whole number or (left, right)"

    def _sides(self) -> tuple[int, int, int, int]:
        return (*getattr(self, self.option), 0, 0)


@dataclass
class ZeroPaddingLayer(_ImageEdges, _Padding):
    """Put zeros around images.

    ``padding``: one number for all sides, (height, width), or (top, bottom, left, right). Shapes: x (batch, n, height,
    width), y (batch, n, height + top + bottom, width + left + right), or with the channels last. In a mask of pixels
    what is added is not there. Raises ConfigurationError for other padding. Source: DL4J ``ZeroPaddingLayer``.
    """

    padding: Any = (1, 1)


@dataclass
class Cropping2D(_ImageEdges, _Cropping):
    """Cut the edges of images off.

    ``cropping``: one number for all sides, (height, width), or (top, bottom, left, right). Shapes: x (batch, n, height,
    width), y (batch, n, height - top - bottom, width - left - right), or with the channels last.
    Raises ShapeError where nothing is left, ConfigurationError for other cropping. Source: DL4J ``Cropping2D``.
    """

    cropping: Any = (0, 0)


@dataclass
class ZeroPadding1DLayer(_SeriesEdges, _Padding):
    """Put steps of zeros before and behind series.

    ``padding``: one number for both ends, or (left, right). Shapes: x (batch, n, time), y (batch, n, time + left +
    right), or with the sizes last. In a mask of steps what is added is not there.
    Raises ConfigurationError for other padding. Source: DL4J ``ZeroPadding1DLayer``.
    """

    padding: Any = 1


@dataclass
class Cropping1D(_SeriesEdges, _Cropping):
    """Cut steps off both ends of series.

    ``cropping``: one number for both ends, or (left, right). Shapes: x (batch, n, time), y (batch, n, time - left -
    right), or with the sizes last. Raises ShapeError where nothing is left, ConfigurationError for other cropping.
    Source: DL4J ``Cropping1D``.
    """

    cropping: Any = 0
