"""Normalisation of every channel by its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import ConfigurationError
from ..functions import Empty
from ..inputs import InputType
from ..numeric_options import set_real, whole
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .spatial import ImageLayer, empty_of, in_c_order
from .window_reductions import Parts

__all__ = ["LocalResponseNormalization"]


@dataclass(kw_only=True)
class LocalResponseNormalization(ImageLayer):
    """Divide by the energy of neighbouring channels: y_c = x_c s_c^-beta, s_c = k + alpha sum_{j=c-h}^{c+h} x_j^2.

    h = n // 2, and alpha is not divided by n, as in DL4J. Shapes: x and y (batch, channels, height, width), or with the
    channels last. Raises ShapeError for inputs that are not images, ConfigurationError for options that cannot be.
    Source: DL4J ``LocalResponseNormalization``; Krizhevsky et al. (2012), section 3.3.
    """

    independent_examples: ClassVar[bool] = True

    k: float = 2.0
    n: float = 5.0
    alpha: float = 1e-4
    beta: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        set_real(self, "k", lambda k: 0 < k < math.inf, "a finite number above 0")
        set_real(self, "alpha", lambda alpha: 0 <= alpha < math.inf, "a finite number of at least 0")
        set_real(self, "beta", math.isfinite, "a finite number")
        n = whole(self.n) or 0
        if n < 1:
            raise ConfigurationError(f"{type(self).__name__}: n={self.n!r} is not a whole number of at least 1.")
        self.n = float(n)

    def output_type(self, input_type: InputType) -> InputType:
        """Return the input type. Raises ShapeError unless it is images."""
        return self.image_type(input_type)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the normalised x."""
        images, empty = self.images(x), empty_of(ArrayType.FF_WORKING_MEM, workspace_mgr)
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, images.shape)
        parts = Parts(images, empty)
        neighbours = _Neighbours(int(self.n) // 2, images, parts.most, empty)
        for examples, part in parts:
            scale = self._energy(part, neighbours, y[examples])
            np.power(scale, -self.beta, out=scale)
            np.multiply(scale, part, out=scale)
        workspace_mgr.save_for_backprop(x)
        return self.from_images(y)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx_c = e_c s_c^-beta - 2 alpha beta x_c sum_{j=c-h}^{c+h} e_j x_j s_j^(-beta-1)."""
        if not workspace_mgr.wants_input_gradient:
            return None
        (x,) = workspace_mgr.saved()
        images, empty = self.images(x), empty_of(ArrayType.BP_WORKING_MEM, workspace_mgr)
        epsilon = in_c_order(self.images(epsilon), ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_x = workspace_mgr.create_uninitialized(ArrayType.ACTIVATION_GRAD, images.shape)
        parts = Parts(images, empty)
        neighbours = _Neighbours(int(self.n) // 2, images, parts.most, empty)
        powers = empty((parts.most, *images.shape[1:]))
        for examples, part in parts:
            given, target, power = epsilon[examples], d_x[examples], powers[: len(part)]
            energy = self._energy(part, neighbours, target)
            np.power(energy, -self.beta, out=power)
            np.multiply(given, power, out=given)  # e s^-beta
            np.multiply(given, part, out=power)
            np.divide(power, energy, out=power)  # e x s^(-beta-1)
            neighbours.sums(power, target)
            np.multiply(target, part, out=target)
            np.multiply(target, -2.0 * self.alpha * self.beta, out=target)
            np.add(target, given, out=target)
        return self.from_images(d_x)

    def _energy(self, part: Array, neighbours: _Neighbours, out: Array) -> Array:
        """Return s in ``out``."""
        neighbours.sums(part, out, squared=True)
        np.multiply(out, self.alpha, out=out)
        return np.add(out, self.k, out=out)


class _Neighbours:
    """Sums over each channel and those up to ``reach`` away, of at most ``most`` images.

    Copied with zeros between the positions, all channels of all of them are shifted together: in one long run, which
    takes a quarter of the time of a short one for each position.
    """

    def __init__(self, reach: int, images: Array, most: int, empty: Empty) -> None:
        _, height, width, self._channels = images.shape
        self._reach = min(reach, self._channels - 1)
        self._pitch = self._channels + self._reach
        length = most * height * width * self._pitch
        self._spaced = empty((length + 2 * self._reach,), images.dtype)
        self._spaced.fill(0.0)
        self._sums = empty((length,), images.dtype)

    def sums(self, values: Array, out: Array, *, squared: bool = False) -> None:
        """Write the sums of ``values``, or of their squares, (n, height, width, channels), into ``out``."""
        places = (*values.shape[:3], self._pitch)
        sums = self._sums[: math.prod(places)]
        spaced = self._spaced[: len(sums) + 2 * self._reach]
        inside = spaced[self._reach : self._reach + len(sums)]
        np.copyto(inside.reshape(places)[..., : self._channels], values)
        if squared:
            np.multiply(inside, inside, out=inside)
        np.copyto(sums, spaced[: len(sums)])
        for shift in range(1, 2 * self._reach + 1):
            np.add(sums, spaced[shift : shift + len(sums)], out=sums)
        np.copyto(out, sums.reshape(places)[..., : self._channels])
