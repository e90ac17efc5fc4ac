"""Constraints on the parameters of a layer, applied after every update."""

import abc
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigurationError
from ..functions.activation_base import positive_part
from ..functions.scratch import Empty
from ..numeric_options import is_rate, set_real, whole
from ..options import CheckedOptions

__all__ = ["Constraint", "MaxNorm", "MinMaxNorm", "NonNegative", "NormConstraint", "UnitNorm"]

Array = npt.NDArray[Any]
Place = tuple[slice, ...]
EPSILON = 1e-6  # added to a norm before a division by it: DL4J's BaseConstraint.DEFAULT_EPSILON
BLOCK = 16384  # elements that are squared or scaled at once: what stays in the cache, and is little


@dataclass(frozen=True)
class Constraint(CheckedOptions, abc.ABC):
    """What is done to a parameter after every update. Source: DL4J ``LayerConstraint``."""

    @abc.abstractmethod
    def apply(self, parameter: Array, *, empty: Empty = np.empty) -> None:
        """Change ``parameter``, in C or Fortran order, in place.

        Built-in classes call ``empty(shape, dtype)`` at most once.
        """

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ConfigurationError unless the constraint fits a parameter of that shape."""


@dataclass(frozen=True)
class NonNegative(Constraint):
    """max(w, 0). Source: DL4J ``NonNegativeConstraint``."""

    def apply(self, parameter: Array, *, empty: Empty = np.empty) -> None:
        """Make negative elements 0."""
        positive_part(parameter, out=parameter)


class NormConstraint(Constraint):
    """Base of the constraints that multiply w by f(norm of w over some axes).

    ``dimensions`` are the axes that are summed over, as in DL4J: (1,) for the weights (n_in, n_out) of a dense layer,
    (1, 2, 3) for the weights (n_out, n_in, height, width) of a convolution. A vector counts as (1, n), so that
    dimension 1 is all of it.
    """

    dimensions: tuple[int, ...]  # a field of the subclasses, after those that have no default

    @abc.abstractmethod
    def factors(self, norms: Array, *, out: Array) -> None:
        """Write into ``out``, for every norm, what its slice is multiplied by; may overwrite ``norms``."""

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise ConfigurationError unless all dimensions exist."""
        rank = max(2, len(shape))
        if max(self.dimensions) >= rank:
            counted = f", which counts as (1, {shape[0]})" if len(shape) == 1 else ""
            raise ConfigurationError(
                f"{type(self).__name__}: dimensions={self.dimensions} do not fit a parameter of shape "
                f"{shape}{counted}. Choose from 0 to {rank - 1} what the norm is summed over."
            )

    def apply(self, parameter: Array, *, empty: Empty = np.empty) -> None:
        """w f(norm), block by block, each as NumPy takes it without hidden buffers: contiguous, nothing broadcast."""
        if parameter.size == 0:
            return
        w, summed = _slowest_first(np.atleast_2d(parameter), self.dimensions)
        kept = tuple(1 if axis in summed else extent for axis, extent in enumerate(w.shape))
        count, largest = math.prod(kept), min(w.size, BLOCK)
        memory = empty((2 * count + largest + min(count, largest),), w.dtype)
        norms, factors = memory[:count].reshape(kept), memory[count : 2 * count].reshape(kept)
        scratch, sums = memory[2 * count : 2 * count + largest], memory[2 * count + largest :]
        norms.fill(0)
        for place, norms_place in _blocks(w.shape, kept):
            block, of_block = w[place], norms[norms_place]
            squares = np.multiply(block, block, out=_shaped(scratch, block.shape))
            part = np.add.reduce(squares, axis=summed, keepdims=True, out=_shaped(sums, of_block.shape))
            np.add(of_block, part, out=of_block)
        np.sqrt(norms, out=norms)
        self.factors(norms, out=factors)
        for place, norms_place in _blocks(w.shape, kept):
            block = w[place]
            repeated = _shaped(scratch, block.shape)
            np.copyto(repeated, factors[norms_place])
            np.multiply(block, repeated, out=block)


@dataclass(frozen=True)
class MaxNorm(NormConstraint):
    """w min(norm, max_norm) / (norm + 1e-6). Source: DL4J ``MaxNormConstraint``; Srivastava et al. (2014)."""

    max_norm: float
    dimensions: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        set_real(self, "max_norm", lambda value: 0 < value < math.inf, "a finite number above 0, such as 2.0")
        _set_dimensions(self)

    def factors(self, norms: Array, *, out: Array) -> None:
        """min(norm, max_norm) / (norm + 1e-6)."""
        np.minimum(norms, self.max_norm, out=out)
        np.add(norms, EPSILON, out=norms)
        np.divide(out, norms, out=out)


@dataclass(frozen=True)
class MinMaxNorm(NormConstraint):
    """w desired / (norm + 1e-6), desired = rate clip(norm, min_norm, max_norm) + (1 - rate) norm.

    Source: DL4J ``MinMaxNormConstraint``, whose rate, too, is 1 by default.
    """

    min_norm: float = 0.0
    max_norm: float = 1.0
    rate: float = 1.0
    dimensions: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for name in ("min_norm", "max_norm"):
            set_real(self, name, is_rate, "a finite number of at least 0, such as 1.0")
        if self.min_norm > self.max_norm:
            raise ConfigurationError(
                f"MinMaxNorm(min_norm={self.min_norm!r}, max_norm={self.max_norm!r}) allows no norm. Let min_norm be "
                "at most max_norm."
            )
        set_real(self, "rate", lambda value: 0 < value <= 1, "in (0, 1]. 1 means that the bounds hold at once")
        _set_dimensions(self)

    def factors(self, norms: Array, *, out: Array) -> None:
        """(rate clip(norm, min_norm, max_norm) + (1 - rate) norm) / (norm + 1e-6)."""
        np.maximum(norms, self.min_norm, out=out)
        np.minimum(out, self.max_norm, out=out)
        np.subtract(out, norms, out=out)
        np.multiply(out, self.rate, out=out)
        np.add(out, norms, out=out)  # rate (clip(norm) - norm) + norm
        np.add(norms, EPSILON, out=norms)
        np.divide(out, norms, out=out)


@dataclass(frozen=True)
class UnitNorm(NormConstraint):
    """w / norm; a slice of zeros stays as it is. Source: DL4J ``UnitNormConstraint``."""

    dimensions: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        _set_dimensions(self)

    def factors(self, norms: Array, *, out: Array) -> None:
        """1 / norm, and 1 for a norm of 0."""
        np.minimum(norms, 1.0, out=out)
        np.ceil(out, out=out)  # 0 where the norm is 0, 1 elsewhere, without a boolean array
        np.subtract(1.0, out, out=out)
        np.add(norms, out, out=norms)
        np.divide(1.0, norms, out=out)


def _set_dimensions(rule: NormConstraint) -> None:
    given: Any = rule.dimensions
    axes = [whole(axis) for axis in (given if isinstance(given, tuple | list) else (given,))]
    checked = tuple(axis for axis in axes if axis is not None and axis >= 0)
    if not axes or len(set(checked)) != len(axes):
        raise ConfigurationError(
            f"{type(rule).__name__}: dimensions={given!r} are not different whole numbers of at least 0. Use (1,) for "
            "the weights of a dense layer, (1, 2, 3) for those of a convolution."
        )
    object.__setattr__(rule, "dimensions", checked)


def _slowest_first(array: Array, axes: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """Return ``array`` with its axes in the order that they have in memory, and where ``axes`` are then."""
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return array.transpose(order), tuple(order.index(axis) for axis in axes)


def _blocks(shape: tuple[int, ...], kept: tuple[int, ...]) -> Iterator[tuple[Place, Place]]:
    """Yield the places of blocks, which are contiguous in an array in C order, and those of their norms.

    ``kept`` is the shape of the norms: 1 for the axes that are summed over.
    """
    if math.prod(shape) <= BLOCK:
        yield (), ()
        return
    length = max(1, BLOCK // math.prod(shape[1:]))
    for start in range(0, shape[0], length):
        here = slice(start, start + length)
        of_norms = here if kept[0] == shape[0] else slice(None)
        for place, norms_place in _blocks(shape[1:], kept[1:]):
            yield (here, *place), (of_norms, *norms_place)


def _shaped(memory: Array, shape: tuple[int, ...]) -> Array:
    return memory[: math.prod(shape)].reshape(shape)
