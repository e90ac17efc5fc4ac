"""Two recurrent layers, of which one goes through the series from the end."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import ShapeError
from ..functions.scratch import with_small_buffers
from ..inputs import InputType, Recurrent
from ..options import enum_option
from ..workspaces import ArrayType, LayerWorkspaceMgr
from .base import Array
from .spatial import check_format
from .time_steps import series_of, steps_of, time_first
from .wrapper import WrapperLayer

__all__ = ["Bidirectional", "BidirectionalMode"]


class BidirectionalMode(enum.Enum):
    """How the outputs of the two directions become one."""

    CONCAT = "concat"
    ADD = "add"
    MUL = "mul"
    AVERAGE = "average"


@dataclass
class Bidirectional(WrapperLayer):
    """A recurrent layer twice, with weights of their own: y = f(x) with g(x reversed) reversed.

    Shapes: x (batch, n_in, time), y (batch, 2 n_out, time) for ``mode`` "concat" (forward first), else (batch, n_out,
    time): the sum "add", the product "mul", or the "average"; sizes last where the input type says "NWC". The
    parameters are those of ``layer`` with the prefix f, then with b. Needs series from start to end: it cannot be
    stepped, nor trained by truncated backpropagation.
    Raises ShapeError for a layer that gives no series. Source: DL4J ``Bidirectional``; Schuster and Paliwal (1997).
    """

    parts: ClassVar[Mapping[str, str]] = {"fwd": "f", "bwd": "b"}
    sees_whole_series: ClassVar[bool] = True

    mode: BidirectionalMode | str = BidirectionalMode.CONCAT
    format: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.mode = enum_option(BidirectionalMode, self.mode, "Bidirectional: mode")

    def output_type(self, input_type: InputType) -> InputType:
        """Return series of the size of the layer inside, or twice that."""
        series = super().output_type(input_type)
        if not isinstance(series, Recurrent) or not isinstance(input_type, Recurrent):
            raise ShapeError(
                f"Bidirectional stands around a layer from series to series, but {type(self.layer).__name__} makes "
                f"{series} of {input_type}. Use an LSTM, for example, and put LastTimeStep around Bidirectional."
            )
        check_format(self, input_type.format)
        if series.timesteps != input_type.timesteps:
            raise ShapeError(
                f"Bidirectional expects series as long as they were, but {type(self.layer).__name__} makes {series} of "
                f"{input_type}. Use a layer that keeps the length."
            )
        factor = 2 if self.mode is BidirectionalMode.CONCAT else 1
        return InputType.recurrent(factor * series.size, series.timesteps, series.format)

    @with_small_buffers
    def activate(self, x: Array, *, training: bool, workspace_mgr: LayerWorkspaceMgr) -> Array:
        """Return the outputs of both directions as one."""
        mask = workspace_mgr.mask
        turned_mask = mask[:, ::-1] if mask is not None and mask.ndim == 2 else mask
        forward = self.activate_inner("fwd", x, mask, training=training, workspace_mgr=workspace_mgr)
        turned = self._turned(x)
        backward = self.activate_inner("bwd", turned, turned_mask, training=training, workspace_mgr=workspace_mgr)
        f, b = (time_first(series.view(np.ndarray), self.format) for series in (forward, backward))
        b = b[::-1]
        workspace_mgr.save_for_backprop(f, b)
        time, batch, n = f.shape
        width = 2 * n if self.mode is BidirectionalMode.CONCAT else n
        y = workspace_mgr.create_uninitialized(ArrayType.ACTIVATIONS, (time, batch, width)).view(np.ndarray)
        if self.mode is BidirectionalMode.CONCAT:
            np.copyto(y[..., :n], f)
            np.copyto(y[..., n:], b)
        elif self.mode is BidirectionalMode.MUL:
            np.multiply(f, b, out=y)
        else:
            np.add(f, b, out=y)
            if self.mode is BidirectionalMode.AVERAGE:
                np.multiply(y, 0.5, out=y)
        return series_of(y, self.format)

    @with_small_buffers
    def backprop(self, epsilon: Array, *, workspace_mgr: LayerWorkspaceMgr) -> Array | None:
        """Write the gradients of both directions and return the sum of their dL/dx."""
        f, b = workspace_mgr.saved()
        epsilon = steps_of(epsilon.view(np.ndarray), self.format, ArrayType.BP_WORKING_MEM, workspace_mgr)
        by_f, by_b = self._shares(epsilon, f, b, workspace_mgr)
        forward = self.backprop_inner("fwd", series_of(by_f, self.format), workspace_mgr)
        backward = self.backprop_inner("bwd", series_of(by_b[::-1], self.format), workspace_mgr)
        if forward is None or backward is None:
            return None
        return np.add(forward, self._turned(backward), out=forward)

    def _shares(self, epsilon: Array, f: Array, b: Array, workspace_mgr: LayerWorkspaceMgr) -> tuple[Array, Array]:
        """Return dL/df and dL/db (time, batch, n), arrays of their own: a layer may overwrite what it is given."""
        n = f.shape[2]
        if self.mode is BidirectionalMode.CONCAT:
            return epsilon[..., :n], epsilon[..., n:]
        by_f, by_b = (
            workspace_mgr.create_uninitialized(ArrayType.BP_WORKING_MEM, f.shape).view(np.ndarray) for _ in range(2)
        )
        if self.mode is BidirectionalMode.MUL:
            return np.multiply(epsilon, b, out=by_f), np.multiply(epsilon, f, out=by_b)
        np.multiply(epsilon, 0.5 if self.mode is BidirectionalMode.AVERAGE else 1.0, out=by_f)
        np.copyto(by_b, by_f)
        return by_f, by_b

    def _turned(self, x: Array) -> Array:
        return x[:, ::-1] if self.format == "NWC" else x[:, :, ::-1]
