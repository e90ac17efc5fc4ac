"""Layers around a layer that have to do with time: the last step alone, a mask of steps, a layer at every step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..functions.scratch import with_small_buffers
from ..inputs import FeedForward, InputType, Recurrent
from ..numeric_options import set_real
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .folding import unfolding_of
from .preprocessors import InputPreProcessor
from .spatial import check_format, in_c_order, plain
from .time_steps import absent_steps, series_of, steps_of, time_first
from .wrapper import WrapperLayer

__all__ = ["LastTimeStep", "MaskZeroLayer", "TimeDistributed"]


@dataclass
class LastTimeStep(WrapperLayer):
    """The last step of a layer's output: y = layer(x)[:, :, t], t the last step that the mask lets see.

    Shapes: x (batch, n_in, time), y (batch, n_out). A mask (batch, time) ends here; y is 0 where it leaves nothing.
    Raises ShapeError for a layer that gives no series. Source: DL4J ``LastTimeStep``.
    """

    format: str | None = None

    def output_type(self, input_type: InputType) -> InputType:
        """Return vectors."""
        return InputType.feed_forward(_series(self, super().output_type(input_type)).size)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the last step."""
        series = self.activate_inner("layer", x, workspace_mgr.mask, training=training, workspace_mgr=workspace_mgr)
        steps = time_first(series.view(np.ndarray), self.format)
        time, batch, n = steps.shape
        last = self._last_steps(time, batch, workspace_mgr)
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (batch, n)).view(np.ndarray)
        if last is None:
            np.copyto(y, steps[-1])
        else:
            for example, step in enumerate(last):
                np.copyto(y[example], steps[step, example] if step >= 0 else 0)
        workspace_mgr.save_for_backprop(time, last)
        return y

    @with_small_buffers
    def _last_steps(self, time: int, batch: int, workspace_mgr: LayerWorkspaceMgr) -> list[int] | None:
        """Return the last step of every example that its mask lets see, -1 for none; None where there is no mask."""
        child = self.child("layer", workspace_mgr)
        mask = child.mask
        if mask is not None or self.layer.makes_mask:
            mask = self.inner["layer"].propagate_mask(mask, workspace_mgr=child)
        if mask is None or mask.shape != (batch, time):
            return None
        empty = plain(workspace_mgr.forward_memory)
        numbers = empty((batch, time))
        numbers.fill(1)
        np.add.accumulate(numbers, axis=1, out=numbers)
        absent = np.equal(mask.view(np.ndarray), 0, out=empty((batch, time), np.bool_))
        np.copyto(numbers, 0, where=absent)
        return [int(number) - 1 for number in np.maximum.reduce(numbers, axis=1, out=numbers[:, 0])]

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx: of the layer inside, for an error at the last step alone."""
        time, last = workspace_mgr.saved()
        epsilon = epsilon.view(np.ndarray)
        d_steps = workspace_mgr.create(ArrayType.BP_WORKING_MEM, (time, *epsilon.shape)).view(np.ndarray)
        if last is None:
            np.copyto(d_steps[-1], epsilon)
        else:
            for example, step in enumerate(last):
                if step >= 0:
                    np.copyto(d_steps[step, example], epsilon[example])
        return self.backprop_inner("layer", series_of(d_steps, self.format), workspace_mgr)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return None, as time ends here; a mask of whole examples stays."""
        return mask if mask is not None and mask.ndim == 1 else None


@dataclass
class MaskZeroLayer(WrapperLayer):
    """A layer that does not see the steps at which all inputs are ``masking_value``, as if a mask left them out.

    Shapes: as those of ``layer``; the mask (batch, time) that comes in leaves out more, and what both leave is the mask
    of the layers behind. (In DL4J those get the mask that came in.) Source: DL4J ``MaskZeroLayer``.
    """

    makes_mask: ClassVar[bool] = True

    masking_value: float = 0.0
    format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        set_real(self, "masking_value", math.isfinite, "a finite number")

    def output_type(self, input_type: InputType) -> InputType:
        """Return that of the layer inside. Raises ShapeError unless the input is series."""
        _series(self, input_type, "its input is")
        return super().output_type(input_type)

    @with_small_buffers
    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the activations of the layer inside."""
        mask = self._mask(x.view(np.ndarray), workspace_mgr)
        return self.activate_inner("layer", x, mask, training=training, workspace_mgr=workspace_mgr)

    def _mask(self, x: Array, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return 1 for the steps that are there, else 0, (batch, time)."""
        steps = steps_of(x, self.format, ArrayType.FF_WORKING_MEM, workspace_mgr)
        time, batch, _ = steps.shape
        empty = plain(workspace_mgr.forward_memory)
        differs = np.not_equal(steps, self.masking_value, out=empty(steps.shape, np.bool_))
        seen = np.logical_or.reduce(differs, axis=2, out=empty((time, batch), np.bool_))
        absent = absent_steps(workspace_mgr, (time, batch), ArrayType.FF_WORKING_MEM)
        if absent is not None:
            np.copyto(seen, False, where=absent[..., 0])
        mask = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (batch, time)).view(np.ndarray)
        np.copyto(mask, seen.T)
        return mask

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx of the layer inside."""
        return self.backprop_inner("layer", epsilon, workspace_mgr)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return what the layer inside makes of its mask."""
        child = self.child("layer", workspace_mgr)
        return self.inner["layer"].propagate_mask(child.call.mask, workspace_mgr=child)


@dataclass
class TimeDistributed(WrapperLayer):
    """A layer without time at every step of series: y[:, :, t] = layer(x[:, :, t]), with the same weights.

    Shapes: x (batch, n_in, time), y (batch, n_out, time), or with the sizes last where the input type says "NWC". A
    DenseLayer between layers of series does the same by itself. Raises ShapeError for inputs that are not series, and
    for a layer that does not make vectors of vectors. Source: DL4J ``TimeDistributed``.
    """

    format: str | None = None

    def preprocessor_for(self, input_type: InputType) -> InputPreProcessor | None:
        """Return what makes series again of rows or images that were the steps of series."""
        return unfolding_of(input_type)

    def inner_type(self, input_type: InputType) -> InputType:
        """Return vectors, one for each step."""
        return InputType.feed_forward(_series(self, input_type, "its input is").size)

    def output_type(self, input_type: InputType) -> InputType:
        """Return series as long as the input."""
        series = _series(self, input_type, "its input is")
        vectors = super().output_type(input_type)
        if not isinstance(vectors, FeedForward):
            raise ShapeError(
                f"TimeDistributed stands around a layer from vectors to vectors, but {type(self.layer).__name__} makes "
                f"{vectors} of vectors. Use a DenseLayer, for example."
            )
        return InputType.recurrent(vectors.size, series.timesteps, series.format)

    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the activations of every step."""
        steps = steps_of(x.view(np.ndarray), self.format, ArrayType.ACTIVATIONS, workspace_mgr)
        rows = steps.reshape(-1, steps.shape[2])
        y = self.activate_inner("layer", rows, None, training=training, workspace_mgr=workspace_mgr)
        return self._series_of_rows(y, len(x), ArrayType.ACTIVATIONS, workspace_mgr)

    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return dL/dx."""
        steps = steps_of(epsilon.view(np.ndarray), self.format, ArrayType.BP_WORKING_MEM, workspace_mgr)
        d_x = self.backprop_inner("layer", steps.reshape(-1, steps.shape[2]), workspace_mgr)
        if d_x is None:
            return None
        return self._series_of_rows(d_x, len(epsilon), ArrayType.ACTIVATION_GRAD, workspace_mgr)

    def _series_of_rows(
        self, rows: Array, batch: int, array_type: ArrayType, workspace_mgr: LayerWorkspaceMgr
    ) -> Array:
        rows = in_c_order(rows.view(np.ndarray), array_type, workspace_mgr)
        return series_of(rows.reshape(-1, batch, rows.shape[1]), self.format)

    def propagate_mask(self, mask: Array | None, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Return the mask of the steps as it is."""
        return mask


def _series(wrapper: Any, input_type: InputType, what: str = "the layer inside gives") -> Recurrent:
    """Return ``input_type``. Raises ShapeError unless it is series."""
    if not isinstance(input_type, Recurrent):
        raise ShapeError(
            f"{type(wrapper).__name__} expects series, but {what} {input_type}. Use InputType.recurrent(size, "
            "timesteps), and layers that keep the time."
        )
    check_format(wrapper, input_type.format)
    return input_type
