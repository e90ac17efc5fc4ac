"""Batch normalisation of vectors, series and images."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..functions import Empty
from ..inputs import InputType, channels_of
from ..numeric_options import is_fraction, set_flag, set_real
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array, Layer, ParamSpec
from .preprocessors import InputPreProcessor, images_of_rows
from .spatial import empty_of, images_of, in_c_order, logical_of
from .unfolding import run_of_positions

__all__ = ["BatchNormalization"]

BLOCK = 32768  # elements: a block and its temporaries stay in the level 2 cache


@dataclass(kw_only=True)
class BatchNormalization(Layer):
    """Normalise every channel: y = gamma (x - m) / sqrt(v + eps) + beta, m and v those of the batch in training.

    Shapes: x and y (batch, n), (batch, n, time) or (batch, n, height, width), or with the channels last; m and v, over
    all axes but the channels, gamma, beta (n,). v is divided by the number of elements. Inference takes running values:
    m_run becomes decay m_run + (1 - decay) m with every step, and v_run alike. They are parameters that are not
    trained, "mean" and "var", or with ``use_log_std``, as in DL4J, "log10stdev", v_run = (10^x)^2.
    ``lock_gamma_beta`` makes constants of ``gamma`` and ``beta``, which otherwise are where the parameters start.
    There is no penalty on the parameters. Masked positions count like all others.
    Raises ConfigurationError for options that cannot be.
    Source: DL4J ``BatchNormalization``; Ioffe and Szegedy (2015), https://arxiv.org/abs/1502.03167.
    """

    format: str | None = None
    decay: float = 0.9
    eps: float = 1e-5
    gamma: float = 1.0
    beta: float = 0.0
    lock_gamma_beta: bool = False
    use_log_std: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        set_real(self, "decay", is_fraction, "at least 0 and less than 1")
        set_real(self, "eps", lambda eps: 0 < eps < math.inf, "a finite number above 0")
        set_real(self, "gamma", math.isfinite, "a finite number")
        set_real(self, "beta", math.isfinite, "a finite number")
        set_flag(self, "lock_gamma_beta")
        set_flag(self, "use_log_std")

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes images of rows of them: every pixel would be a channel."""
        return images_of_rows(input_type)

    def param_specs(self, input_type: InputType) -> tuple[ParamSpec, ...]:
        """Return gamma and beta, unless locked, and the running mean and variance, all (n,)."""
        n = channels_of(input_type)
        specs = []
        if not self.lock_gamma_beta:
            specs.append(ParamSpec("gamma", (n,), self.gamma, regularizable=False, exempt=True))
            specs.append(ParamSpec("beta", (n,), self.beta, regularizable=False, exempt=True))
        specs.append(ParamSpec("mean", (n,), 0.0, regularizable=False, trainable=False))
        name, start = ("log10stdev", 0.0) if self.use_log_std else ("var", 1.0)
        specs.append(ParamSpec(name, (n,), start, regularizable=False, trainable=False))
        return tuple(specs)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the normalised x."""
        empty = empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        images = in_c_order(images_of(x, self.format), ArrayType.FF_WORKING_MEM, workspace_mgr)
        rows, n = _Rows(images, empty), images.shape[-1]
        mean, variance = (workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (n,)) for _ in range(2))
        if training:
            means = rows.moments(images, mean=mean, variance=variance)
        else:
            np.copyto(mean, self.params["mean"])
            means = rows.repeated(mean)
            self._running_variance(out=variance)
        scales = rows.repeated(self._scale(_inverse_deviation(variance, self.eps, empty)))
        offsets = rows.repeated(self.params["beta"]) if "beta" in self.params else None
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, images.shape)
        for block, target in zip(rows.blocks(images), rows.blocks(y), strict=True):
            np.subtract(block, means[: len(block)], out=target)
            np.multiply(target, scales[: len(block)], out=target)
            np.add(target, self.beta if offsets is None else offsets[: len(block)], out=target)
        workspace_mgr.save_for_backprop(x, mean, variance, training)
        return logical_of(y, x.ndim, self.format)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the gradients, and for the running values what they lose, and return dL/dx.

        As m and v depend on x in training, dL/dx = gamma / sqrt(v + eps) (e - mean(e) - x' mean(e x')) with e = dL/dy
        and x' the normalised x.
        """
        x, mean, variance, training = workspace_mgr.saved()
        empty = empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        images = in_c_order(images_of(x, self.format), ArrayType.BP_WORKING_MEM, workspace_mgr)
        epsilon = in_c_order(images_of(epsilon, self.format), ArrayType.BP_WORKING_MEM, workspace_mgr)
        rows = _Rows(images, empty)
        means, sums, products = rows.repeated(mean), empty(mean.shape), empty(mean.shape)
        rows.sums(images, means, epsilon, sums=sums, products=products)
        inverse = _inverse_deviation(variance, self.eps, empty)
        np.multiply(products, inverse, out=products)  # sum of e x'
        if not self.lock_gamma_beta:
            np.copyto(workspace_mgr.gradient("gamma"), products)
            np.copyto(workspace_mgr.gradient("beta"), sums)
        self._write_running(mean, variance, training, workspace_mgr)
        if not workspace_mgr.wants_input_gradient:
            return None
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, images.shape)
        share = 1.0 / rows.count if training else 0.0
        np.multiply(np.multiply(products, inverse, out=products), share, out=products)
        np.multiply(sums, share, out=sums)
        scale = self._scale(inverse)
        _backprop_blocks(rows, (images, epsilon, d_x), [means, *map(rows.repeated, (products, sums, scale))])
        return logical_of(d_x, x.ndim, self.format)

    def _write_running(self, mean: Array, variance: Array, training: bool, workspace_mgr: LayerWorkspaceMgr) -> None:
        """Write what the running values lose: old - (decay old + (1 - decay) new)."""
        lost = workspace_mgr.gradient("mean")
        name = "log10stdev" if self.use_log_std else "var"
        lost_spread = workspace_mgr.gradient(name)
        if not training:
            lost.fill(0.0)
            lost_spread.fill(0.0)
            return
        np.subtract(self.params["mean"], mean, out=lost)
        np.multiply(lost, 1.0 - self.decay, out=lost)
        if not self.use_log_std:
            np.subtract(self.params[name], variance, out=lost_spread)
            np.multiply(lost_spread, 1.0 - self.decay, out=lost_spread)
            return
        new = self._running_variance(out=lost_spread)
        np.multiply(new, self.decay, out=new)
        part = workspace_mgr.backward_memory(variance.shape)
        np.add(new, np.multiply(variance, 1.0 - self.decay, out=part), out=new)
        np.log10(np.maximum(new, float(np.finfo(new.dtype).tiny), out=new), out=new)
        np.subtract(self.params[name], np.multiply(new, 0.5, out=new), out=lost_spread)

    def _running_variance(self, *, out: Array) -> Array:
        if not self.use_log_std:
            np.copyto(out, self.params["var"])
            return out
        np.multiply(self.params["log10stdev"], 2.0 * math.log(10.0), out=out)
        return np.exp(out, out=out)

    def _scale(self, inverse: Array) -> Array:
        """Return gamma / sqrt(v + eps), in the memory of its second factor."""
        return np.multiply(inverse, self.params.get("gamma", self.gamma), out=inverse)


def _inverse_deviation(variance: Array, eps: float, empty: Empty) -> Array:
    """Return 1 / sqrt(v + eps)."""
    inverse = np.add(variance, eps, out=empty(variance.shape))
    np.sqrt(inverse, out=inverse)
    return np.divide(1.0, inverse, out=inverse)


class _Rows:
    """Channels-last images as rows of a run of positions, block by block, and vectors (n,) repeated to such blocks."""

    def __init__(self, images: Array, empty: Empty) -> None:
        batch, height, width, self._n = images.shape
        self.count = batch * height * width  # elements of a channel
        run = run_of_positions(height * width, self._n)
        self._shape = self.count // run, run * self._n
        self._empty = empty
        self._block = max(1, BLOCK // self._shape[1])
        self._row, self._sum, self._squares = (empty((self._shape[1],)) for _ in range(3))
        self._scratch = empty((self._block, self._shape[1]))

    def blocks(self, images: Array) -> Iterator[Array]:
        """Yield some rows after the other."""
        matrix = images.reshape(self._shape)
        for start in range(0, len(matrix), self._block):
            yield matrix[start : start + self._block]

    def scratch(self, block: Array) -> Array:
        """Return memory for a block, the same every time."""
        return self._scratch[: len(block)]

    def repeated(self, vector: Array) -> Array:
        """Return ``vector`` (n,) for every element of a block: NumPy would take a hidden buffer for a broadcast."""
        block = self._empty((self._block, self._shape[1]))
        np.copyto(block.reshape(-1, self._n), vector)
        return block

    def moments(self, images: Array, *, mean: Array, variance: Array) -> Array:
        """Write mean and variance of every channel, (n,), and return the mean, repeated.

        One pass: of the distances to the mean of the first block, which is near enough for nothing to cancel.
        """
        first = next(self.blocks(images))
        np.add.reduce(first, axis=0, out=self._row)
        self._fold(self._row, mean)
        np.multiply(mean, self._n / first.size, out=mean)
        near = self.repeated(mean)
        self._sum.fill(0.0)
        self._squares.fill(0.0)
        for block in self.blocks(images):
            distance = np.subtract(block, near[: len(block)], out=self.scratch(block))
            np.add(self._sum, np.add.reduce(distance, axis=0, out=self._row), out=self._sum)
            np.multiply(distance, distance, out=distance)
            np.add(self._squares, np.add.reduce(distance, axis=0, out=self._row), out=self._squares)
        shift = self._empty((self._n,))
        self._fold(self._sum, shift)
        self._fold(self._squares, variance)
        np.multiply(shift, 1.0 / self.count, out=shift)
        np.multiply(variance, 1.0 / self.count, out=variance)
        np.add(mean, shift, out=mean)
        np.subtract(variance, np.multiply(shift, shift, out=shift), out=variance)
        np.maximum(variance, 0.0, out=variance)
        np.copyto(near.reshape(-1, self._n), mean)
        return near

    def sums(self, images: Array, means: Array, epsilon: Array, *, sums: Array, products: Array) -> None:
        """Write the sums of e and of (x - mean) e of every channel, (n,)."""
        self._sum.fill(0.0)
        self._squares.fill(0.0)
        for block, given in zip(self.blocks(images), self.blocks(epsilon), strict=True):
            np.add(self._sum, np.add.reduce(given, axis=0, out=self._row), out=self._sum)
            distance = np.subtract(block, means[: len(block)], out=self.scratch(block))
            np.multiply(distance, given, out=distance)
            np.add(self._squares, np.add.reduce(distance, axis=0, out=self._row), out=self._squares)
        self._fold(self._sum, sums)
        self._fold(self._squares, products)

    def _fold(self, row: Array, out: Array) -> None:
        np.add.reduce(row.reshape(-1, self._n), axis=0, out=out)


def _backprop_blocks(rows: _Rows, arrays: tuple[Array, Array, Array], repeated: list[Array]) -> None:
    """Write dL/dx = scale (e - sums - (x - mean) products) block by block, for arrays (x, e, dL/dx)."""
    means, products, sums, scales = repeated
    for block, given, target in zip(*map(rows.blocks, arrays), strict=True):
        n = len(block)
        part = np.subtract(block, means[:n], out=rows.scratch(block))
        np.multiply(part, products[:n], out=part)
        np.subtract(given, part, out=target)
        np.subtract(target, sums[:n], out=target)
        np.multiply(target, scales[:n], out=target)
