"""What a layer is handed for one call: where its arrays live, and what belongs to this call alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import LayerError, PlacementWarning, WorkspaceError
from .array import WorkspaceArray
from .array_type import ArrayType
from .layer_call import Draws, LayerCall
from .layout import memory_order
from .manager import ScopedOut
from .workspace import Order, Workspace
from .workspace_mgr import Target, WorkspaceMgr

__all__ = ["LayerWorkspaceMgr"]

# reading a member of an enum takes a tenth of a microsecond, every time
FF_WORKING_MEM, BP_WORKING_MEM = ArrayType.FF_WORKING_MEM, ArrayType.BP_WORKING_MEM
ACTIVATION_GRAD = ArrayType.ACTIVATION_GRAD


class LayerWorkspaceMgr(WorkspaceMgr):
    """A WorkspaceMgr with what one layer call owns: saved arrays, gradients, mask, random generator.

    ``workspaces`` fixes the workspaces by id beforehand, and names those that a layer may be handed arrays from;
    without it they are looked up in the calling thread. Source: DL4J ``LayerWorkspaceMgr``.
    """

    def __init__(
        self,
        where: Mapping[ArrayType, Target] | None = None,
        *,
        default: Target | None = None,
        scoped_out: Collection[ArrayType] = (),
        dtype: npt.DTypeLike = np.float32,
        call: LayerCall | None = None,
        workspaces: Mapping[str, Workspace] | None = None,
    ) -> None:
        super().__init__(where, default=default, scoped_out=scoped_out, dtype=dtype)
        self.call = call or LayerCall()
        self._known: list[Workspace | None] | None = None
        self._members = tuple((workspaces or {}).values())
        self._children: dict[str, LayerWorkspaceMgr] = {}
        if workspaces is not None:
            self._known = [workspaces[target[0]] if target else None for target in self._targets]

    @classmethod
    def no_workspaces(cls, dtype: npt.DTypeLike = np.float32) -> LayerWorkspaceMgr:
        """Return a manager under which every array is detached, for trying out a layer by hand."""
        return cls(scoped_out=frozenset(ArrayType), dtype=dtype)

    def _workspace(self, array_type: ArrayType) -> Workspace | None:
        if self._known is not None:
            workspace = self._known[array_type]
            if (workspace is not None and workspace.is_scope_active) or array_type in self._scoped_out:
                return workspace
        return super()._workspace(array_type)

    def _entered(self, array_type: ArrayType) -> Workspace | ScopedOut:
        workspace = self._known[array_type] if self._known is not None else None
        return super()._entered(array_type) if workspace is None else workspace.notify_scope_entered()

    # Arrays

    def create_uninitialized(
        self, array_type: ArrayType, shape: Sequence[int], dtype: npt.DTypeLike | None = None, order: Order = "C"
    ) -> npt.NDArray[Any]:
        """Return an array where this type lives, holding anything. Raises WorkspaceError (E14, E15)."""
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        workspace = self._known[array_type] if self._known is not None else None
        if workspace is None or not workspace.is_scope_active:
            workspace = self._workspace(array_type)
        if workspace is None:
            array: npt.NDArray[Any] = np.empty(shape, dtype, order)
            return array.view(WorkspaceArray) if self.call.user_code else array
        if self.call.user_code:
            return workspace.create_uninitialized(shape, dtype, order)
        return workspace.allocate_plain(shape, dtype, order)  # type: ignore[arg-type]  # built-in layers pass tuples

    def create_like(self, array_type: ArrayType, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array that holds anything, with the axes of ``array`` in the same order in memory.

        In another order, later sums would differ in their last bits. Raises WorkspaceError (E14, E15).
        """
        if array.flags.forc:
            return self.create_uninitialized(array_type, array.shape, order="F" if array.flags.fnc else "C")
        order = memory_order(array)
        block = self.create_uninitialized(array_type, tuple([array.shape[axis] for axis in order]))
        return block.transpose([order.index(axis) for axis in range(array.ndim)])

    def forward_memory(self, shape: tuple[int, ...], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
        """Return uninitialised working memory of a forward pass."""
        return self.create_uninitialized(FF_WORKING_MEM, shape, dtype)

    def backward_memory(self, shape: tuple[int, ...], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
        """Return uninitialised working memory of a backward pass."""
        return self.create_uninitialized(BP_WORKING_MEM, shape, dtype)

    def attached(self, array: npt.NDArray[Any]) -> WorkspaceArray:
        """Return ``array`` as user code is handed it: attached where it lies in a workspace of this manager."""
        if isinstance(array, WorkspaceArray):
            return array
        for workspace in self._members:
            if workspace.owns(array):
                return workspace.attach(array)
        return array.view(WorkspaceArray)

    def handed(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return ``array`` as the layer is handed it: attached for users' code, plain for minidl's own."""
        if self.call.user_code:
            return self.attached(array)
        return array if type(array) is np.ndarray else array.view(np.ndarray)

    def handed_input(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return ``x`` as the layer is handed it: for users' code read-only, as a caller's array may lie under it."""
        x = self.handed(x)
        if self.call.user_code:
            x = x.view()
            x.flags.writeable = False
        return x

    # What belongs to the call

    @property
    def mask(self) -> npt.NDArray[Any] | None:
        """The mask of this layer's input, or None."""
        mask = self.call.mask
        return mask if mask is None else self.handed(mask)

    @property
    def wants_input_gradient(self) -> bool:
        """False for the first layer: ``backprop`` may return None and save the product."""
        return self.call.wants_input_gradient

    @property
    def rng(self) -> np.random.Generator:
        """A generator that starts at the same place for the same (seed, iteration, layer, shard)."""
        return self.rng_for(Draws.LAYER)

    def rng_for(self, purpose: Draws) -> np.random.Generator:
        """Return the generator of this call for one purpose; ``rng`` is the one of the layer's own code."""
        call = self.call
        key = np.array([call.seed & 0xFFFFFFFFFFFFFFFF, call.index << 32 | call.shard], np.uint64)
        counter = np.array([0, call.branch, purpose, call.iteration], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def gradient(self, name: str) -> npt.NDArray[Any]:
        """Return the view that ``backprop`` writes dL/dparameter into, whole. Raises LayerError for other names."""
        try:
            gradient = self.call.gradients[name]
        except KeyError:
            raise LayerError(
                f"{self.call.label} asked for the gradient of {name!r}, but declares the parameters "
                f"{list(self.call.gradients)}. Declare it in param_specs()."
            ) from None
        return gradient.view(WorkspaceArray) if self.call.user_code else gradient

    def child(self, name: str, *, prefix: str = "", user_code: bool = False) -> LayerWorkspaceMgr:
        """Return the manager for a layer inside this one: own saved arrays, mask, state and generator.

        Its gradients are those of this layer whose names begin with ``prefix``. ``user_code`` tells whether the inner
        layer is a user's. The mask of its input is set with ``child.call.mask = mask``.
        """
        child = self._children.get(name)
        if child is None:
            child = self._children[name] = copy.copy(self)
            child._children = {}
        child.call = self.call.child(name, prefix, user_code)
        return child

    @property
    def backward_steps(self) -> int | None:
        """Through how many of the last steps of the series errors go back, ``tbptt_back_length``; None for all."""
        return self.call.backward_steps

    @property
    def carries_state(self) -> bool:
        """Whether what ``state`` returns is kept for the next call."""
        return self.call.states is not None

    def state(self, name: str, shape: Sequence[int]) -> npt.NDArray[Any]:
        """Return what the layer left under this name in the call before, zeros at the start; write the new state in it.

        What is written counts only if the whole call of the network succeeds. Outside of ``rnn_time_step`` and of
        truncated backpropagation nothing is carried, and every call begins with zeros.
        Raises ShapeError for another shape than that of the stored state.
        """
        call = self.call
        if call.states is None:
            return self.create(FF_WORKING_MEM, shape)
        array = call.states.working((*call.path, name), tuple(shape), self.dtype)
        return array.view(WorkspaceArray) if call.user_code else array

    def state_pair(self, name: str, shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
        """Return the state before, to be read, and where the one after belongs; for minidl's own layers.

        As ``state``, without a copy; None where nothing is carried.
        """
        call = self.call
        return None if call.states is None else call.states.pair((*call.path, name), shape, self.dtype)

    def sum_over_shards(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sum ``array`` over the shards of a batch, in place; with one shard there is nothing to do."""
        return array

    def save_for_backprop(self, *arrays: Any) -> None:
        """Keep what ``backprop`` needs, once per call; at inference do nothing.

        An array in working memory is moved to ACTIVATIONS, as working memory is recycled after the call.
        Raises LayerError when called twice.
        """
        call = self.call
        if not call.keeps:
            return
        if call.saved is not None:
            raise LayerError(
                f"{call.label} called save_for_backprop twice in one forward pass. Save everything in one call."
            )
        call.saved = tuple([self._kept(array) for array in arrays])

    def saved(self) -> tuple[Any, ...]:
        """Return what ``save_for_backprop`` kept. Raises LayerError when nothing was saved."""
        if self.call.saved is None:
            raise LayerError(
                f"{self.call.label} asked for saved() but saved nothing in its forward pass. Call "
                "workspace_mgr.save_for_backprop(...) in activate()."
            )
        return self.call.saved

    def _kept(self, array: Any) -> Any:
        if self._known is None or not isinstance(array, np.ndarray):
            return array
        working = self._known[ArrayType.FF_WORKING_MEM]
        if working is None or not working.owns(array):
            return array
        moved = self.dup(ArrayType.ACTIVATIONS, array)
        self.call.moved.append((array, moved))
        return moved

    # Results

    def settle(self, array_type: ArrayType, result: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        """Return a layer's result where ``array_type`` lives, copied there if the layer left it elsewhere.

        A copy out of a workspace, or of the layer's own input, is silent. A heap array is counted and warned about
        once, and under ``strict`` raises WorkspaceError (E20). Raises LayerError for what is no array.
        """
        if not isinstance(result, np.ndarray):
            raise LayerError(
                f"{self.call.label} returned {type(result).__name__} instead of an array. Return the activations from "
                "activate(), and dL/dinput from backprop()."
            )
        workspace = self._workspace(array_type)
        will_be_written = array_type is ACTIVATION_GRAD and self.call.user_code
        is_own = not will_be_written or (result.flags.forc and result.flags.writeable)
        if is_own and workspace is not None and result.dtype is self.dtype and workspace.owns(result):
            return result
        for original, moved in self.call.moved:
            if original is result:
                return moved
        if workspace is None:
            # what a user's backprop returns may be kept, shared or read-only, and the layer below writes into it
            return np.array(result, self.dtype, subok=False) if will_be_written else self._settle_detached(result)
        if not self._is_placed(result):
            self._report_heap_array(array_type, workspace, result)
        copy = self.create_like(array_type, result)
        np.copyto(copy, result, casting="unsafe")
        return copy

    def _settle_detached(self, result: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if result.dtype == self.dtype and not self._is_in_workspace(result):
            return result
        return np.array(result, self.dtype, subok=False)

    def _is_in_workspace(self, array: npt.NDArray[Any]) -> bool:
        return any(workspace.owns(array) for workspace in self._members)

    def _is_placed(self, result: npt.NDArray[Any]) -> bool:
        if self._is_in_workspace(result):
            return True
        return self.call.input is not None and np.may_share_memory(result, self.call.input)

    def _report_heap_array(self, array_type: ArrayType, workspace: Workspace, result: npt.NDArray[Any]) -> None:
        call = self.call
        problem = (
            f"{call.label}: array ({array_type.name}) workspace validation failed: it should be in workspace "
            f'"{workspace.id}" but is detached, so it was allocated on the heap. Compute it from the arrays that the '
            f"layer is handed, or create it with workspace_mgr.create(ArrayType.{array_type.name}, shape)."
        )
        if call.strict:
            raise WorkspaceError(problem, "E20")
        call.copied_in += 1
        if call.copied_in == 1:
            warnings.warn(f"{problem} minidl copies it in, every time.", PlacementWarning, stacklevel=2)
