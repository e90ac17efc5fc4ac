"""The memory of one workspace over its cycles: bump allocation, spilling, and learning the size."""

from __future__ import annotations

import logging
import math
import operator
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..errors import WorkspaceError, WorkspaceFullError
from .array import WorkspaceArray, new_root
from .configuration import WorkspaceConfiguration
from .memory import Block
from .policies import LearningPolicy, SpillPolicy
from .sizing import constructed_size, is_due, learned_size, may_grow, never_learns, rounded_up

__all__ = ["Arena", "Order"]

Order = Literal["C", "F"]
RECYCLED_BYTE = 0xFF  # NaN in every float type
ViewKey = tuple[int, tuple[int, ...], np.dtype[Any], str]

_new_array = np.ndarray.__new__
_log = logging.getLogger(__name__)


class Arena:
    """One block of memory that every cycle uses again from its start; Workspace adds the scopes.

    Only ``begin_cycle`` and ``roll_back`` move the bump pointer back, and nothing changes when a request fails.
    Sizes and readable state are those of Workspace.
    """

    poison_recycled_memory: ClassVar[bool] = False
    """Debug switch of the process: fill memory with 0xFF bytes when its scope closes, so that a missing write shows."""

    __slots__ = (
        "__weakref__",
        "_block",
        "_destroyed",
        "_external",
        "_high_water",
        "_mask",
        "_offset",
        "_overallocated",
        "_pad",
        "_root",
        "_spilled_this_cycle",
        "configuration",
        "current_size",
        "cycles_count",
        "generation_id",
        "id",
        "initial_block_size",
        "is_scope_active",
        "last_cycle_allocations",
        "max_cycle_allocations",
        "spilled_count",
        "spilled_size",
        "total_spilled_size",
        "views",
    )

    def __init__(self, configuration: WorkspaceConfiguration, id: str) -> None:
        self.configuration = configuration
        self.id = id
        self._pad = configuration.alignment - 1
        self._mask = -configuration.alignment
        self.is_scope_active = self._destroyed = False
        self._root: WorkspaceArray | None = None
        self._external: list[WorkspaceArray] = []
        self.views: dict[ViewKey, tuple[npt.NDArray[Any], int]] = {}
        self._offset = self._high_water = self._spilled_this_cycle = 0
        self.spilled_size = self.spilled_count = self.total_spilled_size = 0
        self.cycles_count = self.generation_id = 0
        self.last_cycle_allocations = self.max_cycle_allocations = self.initial_block_size = 0
        self.current_size = 0
        self._block = Block(0)
        self.resize(constructed_size(configuration))
        self._overallocated = self.current_size > 0
        if never_learns(configuration):
            _log.warning(
                "workspace [%s] never learns its size: policy_learning=OVER_TIME with cycles_before_initialization=0 "
                "leaves every array on the heap until initialize_workspace() is called.",
                id,
            )

    # Readable state

    @property
    def offset(self) -> int:
        """The bump pointer: bytes of the block used in this cycle."""
        return self._offset

    @property
    def this_cycle_allocations(self) -> int:
        """Bytes asked for in this cycle, spilled ones included."""
        return max(self._offset, self._high_water) + self._spilled_this_cycle

    @property
    def step_number(self) -> int:
        """Full passes over the buffer: one less than the cycles of a scoped workspace."""
        return max(0, self.cycles_count - 1)

    @property
    def pinned_size(self) -> int:
        """Bytes that outlive their cycle because a circular buffer was too small; a scoped workspace has none."""
        return 0

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """The block itself, as plain bytes: the ``base`` of the plain arrays that lie in it."""
        return self._block.bytes

    @property
    def is_destroyed(self) -> bool:
        """Whether the memory was given back for good; such a workspace cannot be entered again."""
        return self._destroyed

    # Cycles

    def begin_cycle(self) -> None:
        """Start a cycle without becoming current, for owners that keep their own order of scopes."""
        if self._root is not None or self.spilled_size:
            self._drop_leftovers()
        self._offset = 0
        self.generation_id += 1
        self.is_scope_active = True

    def _drop_leftovers(self) -> None:
        """Forget what was allocated while closed, and the last cycle's counts, which learning NONE leaves readable."""
        self._root = None
        self._external.clear()
        self._spilled_this_cycle = self.spilled_size = self.spilled_count = 0

    def end_cycle(self) -> None:
        """End a cycle: its arrays become stale, the counters are brought up to date, the size is learned.

        Raises WorkspaceFullError when the learned buffer cannot be had; the workspace then has size 0 and spills.
        """
        used = self._offset
        if self._high_water:
            used = max(used, self._high_water)
            self._high_water = 0
        if self._root is not None:
            self._root._alive = False
            self._root = None  # breaks the cycle workspace <-> root, or a dead thread would keep its memory
        if self._external or (used and self.poison_recycled_memory):
            self._recycle(used)
            used += self._spilled_this_cycle
            self._spilled_this_cycle = 0
        self._offset = 0
        self.is_scope_active = False
        self.cycles_count += 1
        self.last_cycle_allocations = used
        if used > self.max_cycle_allocations:
            self.max_cycle_allocations = used
        if self.max_cycle_allocations > self.current_size and is_due(
            self.configuration, self.cycles_count, self.current_size, self.max_cycle_allocations
        ):
            self.initialize_workspace()

    def _recycle(self, used: int) -> None:
        for root in self._external:
            root._alive = False
            if self.poison_recycled_memory:
                np.ndarray.fill(root, RECYCLED_BYTE)  # its own method would refuse, as it is stale now
        self._external.clear()
        if self.poison_recycled_memory:
            self._block.bytes[:used].fill(RECYCLED_BYTE)
        if self.configuration.policy_learning is not LearningPolicy.NONE:
            self.spilled_size = self.spilled_count = 0

    # Allocation

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order = "C") -> WorkspaceArray:
        """Return an uninitialised attached array, without any check of the request."""
        offset = self._offset
        size = math.prod(shape) * dtype.itemsize
        end = offset + ((size + self._pad) & self._mask)
        if end > self.current_size or size < 0:
            return _new_array(WorkspaceArray, shape, dtype, self._spill(shape, dtype), 0, None, order)
        root = self._root
        if root is None:
            root = self._root = self._new_root(self._block.bytes)
        array = _new_array(WorkspaceArray, shape, dtype, root, offset, None, order)
        self._offset = end
        return array

    def allocate_plain(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order = "C") -> npt.NDArray[Any]:
        """Return uninitialised memory as a plain array, for code that keeps to the scopes by itself.

        A loop asks for the same shapes at the same offsets again and again: the arrays are kept in ``views``, which
        belongs to the owner of the loop.
        """
        key = (self._offset, shape, dtype, order)
        found = self.views.get(key)
        if found is not None:
            self._offset = found[1]
            return found[0]
        size = math.prod(shape) * dtype.itemsize
        end = self._offset + ((size + self._pad) & self._mask)
        if end > self.current_size or size < 0:
            return np.ndarray(shape, dtype, self._spill(shape, dtype).base, 0, None, order)
        view: npt.NDArray[Any] = np.ndarray(shape, dtype, self._block.bytes, self._offset, None, order)
        self.views[key] = (view, end)
        self._offset = end
        return view

    def _spill(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> WorkspaceArray:
        """Return the root of memory on the heap for a request that does not fit."""
        if min(shape, default=0) < 0:  # NumPy would read (-1,) as all that is left of the buffer
            raise ValueError("negative dimensions are not allowed")
        size = rounded_up(math.prod(map(operator.index, shape)) * dtype.itemsize, self.configuration.alignment)
        if self.configuration.policy_spill is SpillPolicy.FAIL:
            raise WorkspaceFullError(
                f"Can't allocate memory: Workspace is full. Workspace [{self.id}] was asked for {size} bytes "
                f"(shape {shape}, {dtype}) and has {self.current_size - self._offset} of {self.current_size} left. "
                "Give it a larger initial_size, or policy_spill EXTERNAL or REALLOCATE.",
                "E5",
            )
        memory = np.empty(size, np.uint8)
        if self.poison_recycled_memory:
            memory.fill(RECYCLED_BYTE)
        root = self._new_root(memory)
        self._external.append(root)
        self.spilled_size += size
        self.total_spilled_size += size
        self.spilled_count += 1
        self._spilled_this_cycle += size
        return root

    def _new_root(self, memory: npt.NDArray[np.uint8]) -> WorkspaceArray:
        root = new_root(memory, self)  # type: ignore[arg-type]  # every arena is a Workspace
        root._alive = self.is_scope_active  # an array may be leveraged to a closed workspace, but not used there
        return root

    def owns(self, array: npt.NDArray[Any]) -> bool:
        """Tell whether ``array``, attached or plain, or a view of one, lies in this cycle's memory."""
        block, root = self._block.bytes, self._root
        base = array.base
        while isinstance(base, np.ndarray):
            if base is block or base is root or any(base is known.base for known in self._external):
                return True
            if isinstance(base, WorkspaceArray) and base.base is block:
                return False  # the root of another cycle
            base = base.base
        return False

    def attach(self, array: npt.NDArray[Any]) -> WorkspaceArray:
        """Return a plain array that lies in this cycle's memory as an attached one, over the same bytes."""
        if self._root is None:
            self._root = self._new_root(self._block.bytes)
        if array.size == 0:
            return _new_array(WorkspaceArray, array.shape, array.dtype, self._root)
        start = array.__array_interface__["data"][0]
        for root in (self._root, *self._external):
            offset = start - root.__array_interface__["data"][0]
            if 0 <= offset < root.nbytes:
                return _new_array(WorkspaceArray, array.shape, array.dtype, root, offset, array.strides)
        raise WorkspaceError(f"the array does not lie in workspace [{self.id}]. Pass one for which owns() is true.")

    def roll_back(self, offset: int) -> None:
        """Give back what was allocated since the bump pointer stood at ``offset``; only scopes may do that."""
        self._high_water = max(self._high_water, self._offset)
        self._offset = offset

    # The buffer

    def initialize_workspace(self) -> None:
        """Make the buffer from what was learned so far, or a larger one if it may grow.

        Raises WorkspaceError while the scope is open, as its arrays would lose their memory, and when destroyed.
        """
        self._check_not_destroyed()
        self._check_closed()
        configuration, max_cycle = self.configuration, self.max_cycle_allocations
        if configuration.policy_learning is LearningPolicy.NONE:
            return
        if self.current_size and not may_grow(configuration, self.current_size, max_cycle):
            return
        if max_cycle or configuration.min_size:
            learned = learned_size(configuration, max_cycle, self._overallocated)
            self.initial_block_size, self._overallocated = learned.block, learned.overallocated
            self.resize(learned.size)

    def resize(self, size: int) -> None:
        """Replace the buffer by one of exactly ``size`` bytes. Raises WorkspaceError while the scope is open."""
        self._check_closed()
        self._block.release()
        self.views = {}
        self.current_size = 0  # until the new block is there, which may fail
        self._block = Block(size)
        self.current_size = size
        if self.poison_recycled_memory:
            self._block.bytes.fill(RECYCLED_BYTE)

    def destroy(self) -> None:
        """Give the memory back for good. Raises WorkspaceError while the scope is open."""
        self.resize(0)
        self.spilled_size = self.spilled_count = 0
        self._destroyed = True

    def _check_closed(self) -> None:
        if self.is_scope_active:
            raise WorkspaceError(
                f"Workspace [{self.id}] is open: its buffer cannot be replaced or destroyed under its arrays. "
                "Close its scope first."
            )

    def _check_not_destroyed(self) -> None:
        if self._destroyed:
            raise WorkspaceError(
                f"Workspace [{self.id}] was destroyed. Ask the workspace_manager for the id again to get a new one."
            )
