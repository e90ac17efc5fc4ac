"""What a loss is: the score of every example, and its derivatives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ..errors import ConfigurationError, ShapeError
from ..numeric_options import is_rate, real
from ..options import CheckedOptions
from .activation_base import Activation
from .scratch import Empty, broadcast_into_scratch, same_layout, scratch_like

__all__ = ["ElementwiseLoss", "Loss", "sum_per_example", "whole_mask"]


@dataclass(frozen=True)
class Loss(CheckedOptions, ABC):
    """A loss between ``labels`` y and the network's ``output`` a, summed over outputs, and over time.

    It is neither divided by the batch size or time, nor regularised. ``weights`` multiplies the outputs.
    ``fused_with`` names the activations with which dL/dz comes in one stable step. ``label_kind`` says what
    labels hold: "values", "signs" (-1 or 1; the network refuses labels of which the smallest is 0),
    "probabilities" (each in [0, 1]) or "classes" (rows that are one-hot or a distribution; the network also takes
    integer class indices and expands them).

    A class of your own implements ``scores`` and ``gradient``, or is an ``ElementwiseLoss``. It may return
    new arrays instead of writing into ``out``: the caller copies. Built-in classes write into ``out``, return
    it, and take every temporary from ``empty(shape, dtype)``.

    Shapes: labels and output (batch, n_out) or (batch, n_out, time), with any number of axes in place of time, of
    one type; mask None, (batch,), (batch, 1), (batch, time), (batch, 1, time) or (batch, n_out, time), of that type,
    which multiplies the loss of every element. Raises ConfigurationError for weights that are not finite numbers of
    0 or more; ShapeError where weights or mask do not fit.
    """

    weights: tuple[float, ...] | None = None
    fused_with: ClassVar[tuple[type[Activation], ...]] = ()
    label_kind: ClassVar[str] = "values"

    def __post_init__(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "weights", _checked_weights(self.weights))

    @abstractmethod
    def scores(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        """Return the loss of every example, shape (batch,), in ``out``."""

    @abstractmethod
    def gradient(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        """Return dL/da, of the shape of ``output``, in ``out``, which is neither ``labels`` nor ``output``."""

    def score(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> float:
        """Return the sum of the losses of all examples."""
        per_example = empty((len(output),), output.dtype)
        return float(np.add.reduce(self.scores(labels, output, out=per_example, mask=mask, empty=empty)))

    def gradient_at_preactivation(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        """Return dL/dz, of the shape of ``output``, in ``out``; ``output`` = f(z) with f one of ``fused_with``."""
        raise NotImplementedError(
            f"{type(self).__name__} is fused with no activation. Use gradient() and the activation's backward()."
        )

    def weigh(self, values: np.ndarray, *, mask: np.ndarray | None, empty: Empty) -> np.ndarray:
        """Multiply ``values`` (batch, n_out, ...) by the output weights and the mask, in place, and return it."""
        if self.weights is not None:
            row = _weight_row(self.weights, values.dtype)
            if len(row) != values.shape[1]:
                raise ShapeError(
                    f"{type(self).__name__} has {len(row)} weights for {values.shape[1]} outputs. "
                    f"Give one weight for each output."
                )
            column = row if values.ndim == 2 else row.reshape(-1, *[1] * (values.ndim - 2))
            np.multiply(values, broadcast_into_scratch(column, values, empty), out=values)
        if mask is not None:
            np.multiply(values, whole_mask(mask, values, empty), out=values)
        return values


@dataclass(frozen=True)
class ElementwiseLoss(Loss):
    """A loss that is a sum over elements: a subclass gives the element, this class weighs, masks and sums."""

    @abstractmethod
    def element_losses(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        """Return the loss of every element, of the shape of ``output``, in ``out``."""

    @abstractmethod
    def element_gradient(self, labels: np.ndarray, output: np.ndarray, *, out: np.ndarray, empty: Empty) -> np.ndarray:
        """Return the derivative of every element's loss by its output, of the shape of ``output``, in ``out``."""

    def scores(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        labels = same_layout(labels, output, empty)
        losses = scratch_like(output, empty)
        _put(losses, self.element_losses(labels, output, out=losses, empty=empty))
        return sum_per_example(self.weigh(losses, mask=mask, empty=empty), out=out)

    def gradient(
        self,
        labels: np.ndarray,
        output: np.ndarray,
        *,
        out: np.ndarray,
        mask: np.ndarray | None = None,
        empty: Empty = np.empty,
    ) -> np.ndarray:
        labels, output = same_layout(labels, out, empty), same_layout(output, out, empty)
        _put(out, self.element_gradient(labels, output, out=out, empty=empty))
        return self.weigh(out, mask=mask, empty=empty)


def _put(out: np.ndarray, result: np.ndarray) -> None:
    """Make ``out`` hold ``result``: a plain loss may return a new array, or even one of its inputs."""
    if result is not out:
        np.copyto(out, result)


def _checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    given = np.asarray(weights, object)
    numbers = tuple(map(real, given)) if given.ndim == 1 else ()
    if not numbers or not all(map(is_rate, numbers)):
        raise ConfigurationError(
            f"weights={weights!r} must be finite numbers of 0 or more. Give one weight for each output."
        )
    return numbers


@lru_cache(maxsize=64)
def _weight_row(weights: tuple[float, ...], dtype: np.dtype) -> np.ndarray:
    """Return the weights as an array, made once: from the tuple, every call would allocate."""
    row = np.array(weights, dtype)
    row.flags.writeable = False
    return row


def sum_per_example(losses: np.ndarray, *, out: np.ndarray) -> np.ndarray:
    """Return the sum over all axes but the first, shape (batch,), in ``out``."""
    return np.add.reduce(losses, axis=1 if losses.ndim == 2 else tuple(range(1, losses.ndim)), out=out)


def whole_mask(mask: np.ndarray, values: np.ndarray, empty: Empty) -> np.ndarray:
    """Return a mask of any shape that fits, with the shape and the layout of ``values`` (batch, n_out, ...).

    Raises ShapeError that lists what fits.
    """
    if mask.shape == values.shape:
        return same_layout(mask, values, empty)
    return broadcast_into_scratch(mask.reshape(_shape_beside(mask.shape, values.shape)), values, empty)


@lru_cache(maxsize=256)
def _shape_beside(mask: tuple[int, ...], outputs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with which a mask of examples or time steps broadcasts to the shape of the outputs."""
    batch, _, *rest = outputs
    if mask in ((batch, *rest), (batch, 1, *rest)):
        return (batch, 1, *rest)
    if mask in ((batch,), (batch, 1)):
        return (batch, 1, *[1] * len(rest))
    place = "time step" if len(rest) == 1 else "position"
    per_place = f"for each {place}, {(batch, *rest)} or {(batch, 1, *rest)}, " if rest else ""
    raise ShapeError(
        f"a mask of shape {mask} does not fit outputs of shape {outputs}. Give one number for each example, "
        f"shape ({batch},) or ({batch}, 1), {per_place}or for each output, {outputs}."
    )
