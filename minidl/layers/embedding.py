"""Embeddings: every index of the input stands for a row of the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np

from ..errors import ConfigurationError, DataError, ShapeError
from ..functions import Activation, Empty, Identity
from ..inputs import FeedForward, InputType, Recurrent
from ..workspaces import ArrayType, CarriedState, LayerWorkspaceMgr
from .base import Array, ParamSpec, filled_in
from .feed_forward import WeightLayer, add_bias
from .folding import RnnToFeedForwardPreProcessor
from .kernels import activate_positions, backprop_positions
from .preprocessors import InputPreProcessor
from .row_steps import EmbeddingRow
from .spatial import SeriesLayer, images_of, in_c_order, plain
from .unfolding import column_sums

__all__ = ["EmbeddingLayer", "EmbeddingSequenceLayer"]

BLOCK = 8192
"""Elements that are gathered, or whose places are worked out, at a time: what stays in the cache."""

FEW_ROWS = 512
"""Rows up to which it is faster to add all columns of some of them at once than all rows of one column."""

SMALL_WEIGHTS = 10_000
"""Elements of weights up to which it is faster to gather rows of a copy in C order, but for a single one."""

WHOLE_IN_FLOAT32 = 1 << 24  # beyond it there are whole numbers that float32 does not have


@dataclass(kw_only=True)
class _Embedding(WeightLayer):
    """What embeddings of one index and of series of them share: inside, both are (batch, time, 1, n_out) in C order."""

    independent_examples: ClassVar[bool] = True
    takes_indices: ClassVar[bool] = True
    default_activation: ClassVar[Activation] = Identity()

    has_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_in is None:  # or it would be taken from the input type, which does not know it
            raise ConfigurationError(
                f"{type(self).__name__} needs n_in, the size of the vocabulary: n_in=10000 for indices from 0 to 9999."
            )
        if self.dropout is None:
            self.dropout = 1.0  # or it would be that of the network

    def images(self, x: Array) -> Array:
        """Return ``x`` (batch, n), or series, as a view (batch, time, 1, n)."""
        return images_of(x, None)

    def from_images(self, y: Array) -> Array:
        """Return (batch, time, 1, n) as a view with the axes of the network."""
        return y[:, 0, 0]

    def checked_n_out(self) -> int:
        """Return n_out. Raises ConfigurationError where it is not set."""
        if self.n_out is None:
            raise ConfigurationError(f"{type(self).__name__} needs n_out, the number of its outputs: n_out=10.")
        return self.n_out

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return W (n_in, n_out), in Fortran order as in DL4J, and b (n_out,) where the layer has one."""
        n_in, n_out = filled_in(self.n_in, "n_in"), filled_in(self.n_out, "n_out")
        init = filled_in(self.weight_init, "weight_init")
        weights = ParamSpec("W", (n_in, n_out), init, order="F", fan_in=n_in, fan_out=n_out)
        if not self.has_bias:
            return (weights,)
        return (weights, ParamSpec("b", (n_out,), filled_in(self.bias_init, "bias_init"), regularizable=False))

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return f(W[x] + b). Raises DataError for what is no index."""
        x, empty = x.view(np.ndarray), plain(workspace_mgr.forward_memory)
        weights = self.params["W"].view(np.ndarray)
        numbers = in_c_order(self._numbers(x), ArrayType.FF_WORKING_MEM, workspace_mgr).view(np.ndarray)
        self._check_indices(numbers, len(weights), empty)
        n_out = weights.shape[1]
        z = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (*numbers.shape, 1, n_out))
        rows = z.view(np.ndarray).reshape(-1, n_out)
        gather_rows(weights, indices_of(numbers, empty), rows, empty)
        if self.has_bias:
            add_bias(rows, self.params["b"], workspace_mgr)
        kept, out = activate_positions(self.activation, z, workspace_mgr, training)
        factors = factors_of(workspace_mgr.mask, numbers.shape, empty)
        if factors is not None:
            if self._needs_unmasked(workspace_mgr):
                unmasked, out = out, workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, out.shape)
                np.copyto(out, unmasked)
            scale_rows(out.view(np.ndarray).reshape(-1, n_out), factors, empty)
        workspace_mgr.save_for_backprop(x, kept)
        return self.from_images(out)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write dL/dW, in which rows add up whose index is the same, and dL/db; dL/dx is 0."""
        x, kept = workspace_mgr.saved()
        empty = plain(workspace_mgr.backward_memory)
        numbers = in_c_order(self._numbers(x), ArrayType.BP_WORKING_MEM, workspace_mgr).view(np.ndarray)
        images = in_c_order(self.images(epsilon), ArrayType.BP_WORKING_MEM, workspace_mgr)
        n_out = images.shape[3]
        factors = factors_of(workspace_mgr.mask, numbers.shape, empty)
        if factors is not None:
            scale_rows(images.view(np.ndarray).reshape(-1, n_out), factors, empty)
        d_z = backprop_positions(self.activation, kept, images, workspace_mgr).view(np.ndarray)
        if self.has_bias:
            column_sums(d_z, workspace_mgr.gradient("b").view(np.ndarray), empty)
        d_weights = workspace_mgr.gradient("W").view(np.ndarray)
        d_weights.fill(0)
        add_rows(d_weights, indices_of(numbers, empty), d_z.reshape(-1, n_out), empty)
        if not workspace_mgr.wants_input_gradient:
            return None
        return workspace_mgr.create(ArrayType.ACTIVATION_GRAD, x.shape)

    def row_step(self, index: int, states: CarriedState) -> EmbeddingRow:
        """Return what takes a step of one example."""
        size = len(self.params["W"])
        return EmbeddingRow(self, lambda x, empty: self._check_indices(x, size, empty))

    def _numbers(self, x: Array) -> Array:
        """Return the indices as a view (batch, time)."""
        return x if x.ndim == 2 else self.images(x)[:, :, 0, 0]

    def _needs_unmasked(self, workspace_mgr: LayerWorkspaceMgr) -> bool:
        """Tell whether backprop needs the activations as they were before the mask, which may be any number."""
        activation = filled_in(self.activation, "activation")
        return workspace_mgr.call.keeps and activation.keeps == "output" and not isinstance(activation, Identity)

    def _check_indices(self, numbers: Array, size: int, empty: Empty) -> None:
        """Raise DataError unless all numbers (batch, time) are indices of ``size`` rows."""
        if size > WHOLE_IN_FLOAT32 and numbers.dtype == np.float32:
            raise ConfigurationError(
                f"{type(self).__name__}: n_in={size}, but float32 has not all whole numbers above {WHOLE_IN_FLOAT32}. "
                "Use dtype='float64'."
            )
        whole = np.trunc(numbers, out=empty(numbers.shape, numbers.dtype))
        differs = np.not_equal(numbers, whole, out=empty(numbers.shape, np.bool_))
        least, largest = np.minimum.reduce(numbers.reshape(-1)), np.maximum.reduce(numbers.reshape(-1))
        if not (least >= 0 and largest < size) or np.logical_or.reduce(differs.reshape(-1)):  # NaN is neither
            self._raise_at_first(numbers, ~((numbers >= 0) & (numbers < size)) | differs, size)

    def _raise_at_first(self, numbers: Array, is_wrong: Array, size: int) -> NoReturn:
        example, step = (int(place) for place in np.argwhere(is_wrong)[0])
        where = f"row {example}" if numbers.shape[1] == 1 else f"row {example}, step {step},"
        raise DataError(
            f"{type(self).__name__}: the index {numbers[example, step]:.9g} in {where} of its input is not a whole "
            f"number from 0 to {size - 1}. Number what is embedded from 0, or set n_in to the size of the vocabulary."
        )


@dataclass(kw_only=True)
class EmbeddingLayer(_Embedding):
    """A vector for each index: a[b] = f(W[x[b]] + b), as a DenseLayer gives for one-hot rows.

    Shapes: x (batch, 1), whole numbers in [0, n_in); W (n_in, n_out), b (n_out,) with ``has_bias``, a (batch, n_out).
    Series of one index a step come step by step. ``n_in``, the size of the vocabulary, must be given. f is identity,
    unless the network or the layer was given another activation. An example whose mask is 0 gives 0. There is no
    dropout of indices: that of the network does not count here.
    Raises DataError for what is no index, ShapeError for inputs of more than one number, ConfigurationError for options
    that cannot be. Source: DL4J ``EmbeddingLayer``.
    """

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes rows of the steps of series."""
        return RnnToFeedForwardPreProcessor(format=input_type.format) if isinstance(input_type, Recurrent) else None

    def output_type(self, input_type: InputType) -> InputType:
        """Return vectors of n_out. Raises ShapeError unless the input is one number."""
        if input_type != InputType.feed_forward(1):
            raise ShapeError(
                f"{type(self).__name__} expects one index for each example, (batch, 1), but its input is {input_type}. "
                "Use InputType.feed_forward(1), or an EmbeddingSequenceLayer for several."
            )
        return InputType.feed_forward(self.checked_n_out())


@dataclass(kw_only=True)
class EmbeddingSequenceLayer(SeriesLayer, _Embedding):
    """A vector for each index of a series: a[b, :, t] = f(W[x[b, 0, t]] + b).

    Shapes: x (batch, 1, time), whole numbers in [0, n_in); W (n_in, n_out), b (n_out,) with ``has_bias``, a (batch,
    n_out, time), or with the sizes last where the input type says "NWC". Vectors (batch, time) are such series, too,
    and ``format`` says how a comes then. ``n_in``, the size of the vocabulary, must be given. f is identity, unless the
    network or the layer was given another activation. Steps whose mask (batch, time) is 0 give 0, but their indices
    must be some. There is no dropout of indices: that of the network does not count here.
    Raises DataError for what is no index, ShapeError for series of more than one number a step, ConfigurationError for
    options that cannot be. Source: DL4J ``EmbeddingSequenceLayer``.
    """

    example_of_input: ClassVar[str] = "InputType.recurrent(1, timesteps)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format is not None:
            self.format = InputType.recurrent(1, None, self.format).format

    def output_type(self, input_type: InputType) -> InputType:
        """Return series of n_out, as long as the input. Raises ShapeError unless the input is one number a step."""
        if isinstance(input_type, FeedForward):
            return InputType.recurrent(self.checked_n_out(), input_type.size, self.format or "NCW")
        series = self.series_type(input_type)
        if series.size != 1:
            raise ShapeError(
                f"{type(self).__name__} expects one index at each step, but its input is {input_type}. Use "
                "InputType.recurrent(1, timesteps), with the numbers of the classes in place of one-hot vectors."
            )
        return InputType.recurrent(self.checked_n_out(), series.timesteps, series.format)


def indices_of(numbers: Array, empty: Empty) -> Array:
    """Return whole numbers in C order as indices (m,)."""
    indices = empty((numbers.size,), np.intp)
    np.copyto(indices, numbers.reshape(-1), casting="unsafe")
    return indices


def gather_rows(weights: Array, indices: Array, out: Array, empty: Empty) -> None:
    """Write the rows of ``weights`` (size, n), in Fortran order, at ``indices`` (m,) into ``out`` (m, n).

    NumPy copies all weights, in every call, to take their rows; the columns of the transpose it takes as they lie.
    """
    if weights.size <= SMALL_WEIGHTS:
        by_rows = empty(weights.shape, weights.dtype)
        np.copyto(by_rows, weights)
        np.take(by_rows, indices, axis=0, out=out, mode="clip")  # mode "raise" would go through a copy of ``out``
        return
    n = out.shape[1]
    block = max(1, BLOCK // n)
    memory = empty((block * n,), out.dtype)
    for start in range(0, len(out), block):
        chosen = indices[start : start + block]
        columns = memory[: n * len(chosen)].reshape(n, len(chosen))
        np.take(weights.T, chosen, axis=1, out=columns, mode="clip")
        np.copyto(out[start : start + block], columns.T)


def add_rows(target: Array, indices: Array, rows: Array, empty: Empty) -> None:
    """Add ``rows`` (m, n), one after the other, to the rows of ``target`` (size, n), in Fortran order, at ``indices``.

    Either way takes the rows of one index in the same order. The working memory is the same for every batch.
    """
    size, n = target.shape
    memory = empty((max(BLOCK, n),), np.intp)
    if len(rows) > FEW_ROWS:
        for column, numbers in zip(target.T, rows.T, strict=True):
            np.add.at(column, indices, numbers)
        return
    flat, block = target.T.reshape(-1), max(1, BLOCK // n)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        places = memory[: part.size].reshape(part.shape)
        places.fill(size)  # columns lie so far apart
        np.copyto(places[:, 0], indices[start : start + block])
        np.add.accumulate(places, axis=1, out=places)
        np.add.at(flat, places.reshape(-1), part.reshape(-1))


def factors_of(mask: Array | None, shape: tuple[int, ...], empty: Empty) -> Array | None:
    """Return the mask of indices (batch, time) as numbers (batch x time,), None for none or one of whole series."""
    if mask is None or mask.size != shape[0] * shape[1]:
        return None
    factors = empty(shape)
    np.copyto(factors, mask.view(np.ndarray).reshape(shape))
    return factors.reshape(-1)


def scale_rows(rows: Array, factors: Array, empty: Empty) -> None:
    """Multiply every row of ``rows`` (m, n) by its own of ``factors`` (m,), in place, block by block."""
    n = rows.shape[1]
    block = max(1, BLOCK // n)
    repeated = empty((block, n), rows.dtype)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        spread = repeated[: len(part)]
        np.copyto(spread, factors[start : start + block, np.newaxis])
        np.multiply(part, spread, out=part)
