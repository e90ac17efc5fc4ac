"""Inference: the part of a network that only reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import check_mask_values, check_out, checked_features, checked_features_mask, write_classes
from .frames import output_workspace
from .network_base import ParameterizedNetwork
from .placement import Place
from .workspaces import Workspace

__all__ = ["InferringNetwork"]

Array = npt.NDArray[Any]
# reading a member of an enum takes a tenth of a microsecond, every time
TO_ACT, TO_HEAP = Place.ACT, Place.DETACHED


class InferringNetwork(ParameterizedNetwork):
    """A network with parameters that gives outputs; safe in several threads at once."""

    def output(
        self,
        x: npt.ArrayLike,
        *,
        out: Array | None = None,
        workspace: Workspace | str | None = None,
        train: bool = False,
        features_mask: npt.ArrayLike | None = None,
    ) -> Array:
        """Return the activations of the last layer, (batch, n_out).

        A new, detached array; with ``out`` they are copied there, and nothing is allocated; with ``workspace``, an open
        one or its id, the result is attached to it. ``train`` applies dropout, with another mask in every call.
        ``features_mask`` (batch, time) or (batch, height, width) leaves steps or pixels out.
        Raises ShapeError, DtypeError and DataError for input or ``out`` that do not fit, WorkspaceError (E23, E24).
        """
        x, mask = self._checked_input(x, features_mask)
        frame, plan = self._frames.inference(x, train, mask)
        if out is not None:
            check_out(out, self._model.output_shape(x), self._dtype, x)
        target = None if workspace is None else output_workspace(workspace, self.conf.inference_workspace_mode, out)
        place = TO_HEAP if out is None and target is None else TO_ACT
        iteration = self._frames.next_random_call() if train else None
        with frame.opened(plan):
            y = frame.inference(x, mask, place, iteration)[0].view(np.ndarray)
            if target is not None:
                out = target.allocate(y.shape, y.dtype)
            if out is not None:
                np.copyto(out, y)
            else:
                y = frame.independent(y, len(self.layers) - 1, x)
        return y if out is None else out

    def predict(
        self, x: npt.ArrayLike, *, out: Array | None = None, features_mask: npt.ArrayLike | None = None
    ) -> Array:
        """Return the class of every example, (batch,): the largest output, or output > 0.5 where there is one.

        With ``out`` (batch,) of type np.intp the classes are written there, and nothing is allocated.
        """
        x, mask = self._checked_input(x, features_mask)
        frame, plan = self._frames.inference(x, mask=mask)
        if out is not None:
            check_out(out, (len(x),), np.dtype(np.intp), x)
        out = np.empty(len(x), np.intp) if out is None else out
        with frame.opened(plan):
            write_classes(frame.inference(x, mask, TO_ACT)[0].view(np.ndarray), out)
        return out

    def feed_forward(
        self, x: npt.ArrayLike, *, train: bool = False, features_mask: npt.ArrayLike | None = None
    ) -> list[Array]:
        """Return the input and the activations of every layer, all detached."""
        return self.feed_forward_to_layer(len(self.layers) - 1, x, train=train, features_mask=features_mask)

    def feed_forward_to_layer(
        self, layer: int, x: npt.ArrayLike, *, train: bool = False, features_mask: npt.ArrayLike | None = None
    ) -> list[Array]:
        """Return the input and the activations of the layers 0 to ``layer``, all detached."""
        self._check_layer(layer)
        x, mask = self._checked_input(x, features_mask)
        frame, plan = self._frames.inference(x, train, mask)
        with frame.opened(plan):
            return frame.all_activations(x, mask, layer + 1, self._frames.next_random_call() if train else None)

    # Inside

    def _checked_input(self, x: npt.ArrayLike, mask: npt.ArrayLike | None) -> tuple[Array, Array | None]:
        """Return features and their mask, of the network's type, as the layers take them."""
        self._initialized()
        x = checked_features(x, self._input_types[0])
        if mask is None:
            return x, None
        checked = np.ascontiguousarray(checked_features_mask(mask, x, self._input_types[0]), self._dtype)
        check_mask_values("features_mask", checked)
        return x, checked
