"""The memory of one workspace over its cycles: bump allocation, spilling, and what is counted."""

from __future__ import annotations

import logging
import math
import operator
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import WorkspaceError, WorkspaceFullError
from .array import WorkspaceArray, new_root
from .buffer import Buffer
from .configuration import WorkspaceConfiguration
from .memory import POISON
from .policies import LearningPolicy, SpillPolicy
from .refusals import asking_place, refusal
from .sizing import cycles_per_step, never_learns, rounded_up

__all__ = ["Arena", "Order"]

Order = Literal["C", "F"]

_new_array = np.ndarray.__new__
_log = logging.getLogger(__name__)


class Mark(NamedTuple):
    """Where an arena stood when a scratch scope was entered."""

    offset: int
    root: WorkspaceArray | None
    outside: int
    externals: int
    spilled_size: int
    spilled_count: int


class Arena(Buffer):
    """One block of memory that every cycle uses again from its start; Workspace adds the scopes.

    Only ``begin_cycle``, ``roll_back`` and the end of a scratch scope move the bump pointer back, and nothing changes
    when a request fails. Sizes and readable state are those of Workspace.
    """

    __slots__ = (
        "__weakref__",
        "_cycles_per_step",
        "_disabled_count",
        "_external",
        "_high_water",
        "_mask",
        "_offset",
        "_outside",
        "_pad",
        "_root",
        "_scratches",
        "generation_id",
        "spilled_count",
        "total_spilled_size",
    )

    is_circular: ClassVar[bool] = False
    """Whether the write position runs in a circle, so that an allocation may end the life of older arrays."""

    def __init__(self, configuration: WorkspaceConfiguration, id: str) -> None:
        self._pad = configuration.alignment - 1
        self._mask = -configuration.alignment
        self._cycles_per_step = cycles_per_step(configuration)
        self._root: WorkspaceArray | None = None
        self._external: list[WorkspaceArray] = []
        self._scratches: list[Mark] = []
        self._offset = self._high_water = self._outside = self._disabled_count = 0
        self.spilled_count = self.total_spilled_size = self.generation_id = 0
        super().__init__(configuration, id)
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
        """The most bytes that this cycle held at one time so far, spilled ones included."""
        return max(self._offset + self._outside, self._high_water)

    @property
    def step_number(self) -> int:
        """Full passes over the buffer: one less than the cycles of a scoped workspace."""
        return max(0, self.cycles_count - 1) // self._cycles_per_step

    @property
    def pinned_count(self) -> int:
        """Arrays that make up ``pinned_size``."""
        return 0

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
        self._outside = self.spilled_size = self.spilled_count = 0

    def end_cycle(self) -> None:
        """End a cycle: its arrays become stale, the counters are brought up to date, the size is learned.

        Raises WorkspaceFullError when the learned buffer cannot be had; the workspace then has size 0 and spills.
        """
        used = self._offset
        if self._root is not None:
            self._root._alive = False
            self._root = None  # breaks the cycle workspace <-> root, or a dead thread would keep its memory
        if self._external or not self._is_used or (used and self.poison_recycled_memory):
            self._recycle(max(used, self._high_water))
            used += self._outside
            self._outside = 0
        if self._high_water:
            used = max(used, self._high_water)
            self._high_water = 0
        self._offset = 0
        self.is_scope_active = False
        self.cycles_count += 1
        self.last_cycle_allocations = used
        if used > self.max_cycle_allocations:
            self.max_cycle_allocations = used
        if self.max_cycle_allocations > self.current_size and self._is_due():
            self.initialize_workspace()

    def _recycle(self, used: int) -> None:
        if not self._is_used:
            self._use_again()
        self._free_external(0)
        if self.poison_recycled_memory:
            self._block.poison(0, used)
        if self.configuration.policy_learning is not LearningPolicy.NONE:
            self.spilled_size = self.spilled_count = 0

    def _use_again(self) -> None:
        _log.warning(
            "workspace [%s] was closed while toggle_workspace_use(False) kept its arrays outside; it is switched on.",
            self.id,
        )
        self._is_used = True
        self.update_limit()

    def _free_external(self, start: int) -> None:
        """Let go of the memory outside of the buffer, but for the first ``start`` arrays."""
        for root in self._external[start:]:
            root._alive = False
            if self.poison_recycled_memory:
                np.ndarray.fill(root, POISON)  # its own method would refuse, as it is stale now
        del self._external[start:]

    def _unmap(self) -> None:
        super()._unmap()
        self._root = None  # of arrays that were moved into the closed workspace
        self._offset = 0

    def destroy(self) -> None:
        """Give the memory back for good. Raises WorkspaceError while the scope is open."""
        super().destroy()
        self._free_external(0)
        self.spilled_count = 0

    # Allocation

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order = "C") -> WorkspaceArray:
        """Return an uninitialised attached array, without any check of the request."""
        offset = self._offset
        size = math.prod(shape) * dtype.itemsize
        end = offset + ((size + self._pad) & self._mask)
        if end > self._limit or size < 0:
            return self._allocate_beyond(shape, dtype, order)
        root = self._root
        if root is None:
            root = self._root = self._new_root(self._block.bytes)
        array = _new_array(WorkspaceArray, shape, dtype, root, offset, None, order)
        self._offset = end
        return array

    def _allocate_beyond(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order) -> WorkspaceArray:
        """Return an array that the limit keeps out of the rest of the buffer."""
        return _new_array(WorkspaceArray, shape, dtype, self._spill(shape, dtype), 0, None, order)

    def allocate_plain(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order = "C") -> npt.NDArray[Any]:
        """Return uninitialised memory as a plain array, for code that keeps to the scopes by itself.

        A loop asks for the same shapes at the same offsets again and again: the arrays are kept in ``views``, which
        belongs to the owner of the loop.
        """
        key = (self._offset, shape, dtype, order)
        found = self._views.get(key)
        if found is not None:
            self._offset = found[1]
            return found[0]
        size = math.prod(shape) * dtype.itemsize
        end = self._offset + ((size + self._pad) & self._mask)
        if end > self._limit or size < 0:
            return np.ndarray(shape, dtype, self._spill(shape, dtype).base, 0, None, order)
        view: npt.NDArray[Any] = np.ndarray(shape, dtype, self._block.bytes, self._offset, None, order)
        self._views[key] = (view, end)
        self._offset = end
        return view

    def _spill(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> WorkspaceArray:
        """Return the root of memory on the heap for a request that does not fit."""
        size = self._size_of(shape, dtype)
        if self._is_used:
            self._check_may_spill(size, shape, dtype)
        root = self._new_root(self._memory_outside(size))
        self._external.append(root)
        if self._is_used:
            self.spilled_size += size
            self.spilled_count += 1
            self._outside += size
        return root

    def _size_of(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        if min(shape, default=0) < 0:  # NumPy would read (-1,) as all that is left of the buffer
            raise ValueError("negative dimensions are not allowed")
        return rounded_up(math.prod(map(operator.index, shape)) * dtype.itemsize, self.configuration.alignment)

    def _check_may_spill(self, size: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        held = self.current_size + self.spilled_size + self.pinned_size
        if self.configuration.policy_spill is SpillPolicy.FAIL:
            reason = ""
            remedy = "Give it a larger initial_size, or policy_spill EXTERNAL or REALLOCATE."
        elif self._is_capped:
            reason = f" and capped: the array was asked for by {asking_place()}"
            remedy = "Run its largest cycle before cap(), or lift that with cap(False)."
        elif 0 < self._max_bytes < held + size:
            reason = f": it holds {held} of max_bytes={self._max_bytes}, spilled and pinned arrays included"
            remedy = f"Raise max_bytes to at least {held + size}, or ask for less."
        else:
            return
        raise refusal(self, size, shape, dtype, reason, remedy)

    def _memory_outside(self, size: int) -> npt.NDArray[np.uint8]:
        try:
            memory = np.empty(size, np.uint8)
        except MemoryError as error:
            raise WorkspaceFullError(
                f"Can't allocate memory: Workspace [{self.id}] was asked for {size} bytes beyond its buffer of "
                f"{self.current_size}, which the system does not have: {error}. Ask for less, or free memory.",
                "E5",
            ) from error
        if self.poison_recycled_memory:
            memory.fill(POISON)
        if self._is_used:
            self.total_spilled_size += size
            return memory
        self._disabled_count += 1
        if self._disabled_count % 10 == 0:
            _log.warning(
                "workspace [%s]: %d arrays were made outside of it since toggle_workspace_use(False).",
                self.id,
                self._disabled_count,
            )
        return memory

    def _new_root(self, memory: npt.NDArray[np.uint8]) -> WorkspaceArray:
        root = new_root(memory, self)  # type: ignore[arg-type]  # every arena is a Workspace
        root._alive = self.is_scope_active  # an array may be leveraged to a closed workspace, but not used there
        return root

    def roll_back(self, offset: int) -> None:
        """Give back what was allocated since the bump pointer stood at ``offset``; only scopes may do that."""
        self._high_water = max(self._high_water, self._offset + self._outside)
        self._offset = offset

    # Scratch scopes

    def _begin_scratch(self) -> None:
        self._scratches.append(
            Mark(
                self._offset,
                self._root,
                self._outside,
                len(self._external),
                self.spilled_size,
                self.spilled_count,
            )
        )
        self._root = None  # what is made from here on has a root of its own

    def _end_scratch(self) -> None:
        mark = self._scratches.pop()
        if self._root is not None:
            self._root._alive = False
        self._root = mark.root
        self._free_external(mark.externals)
        if self.poison_recycled_memory:
            self._block.poison(mark.offset, self._offset)
        self.roll_back(mark.offset)
        self._outside, self.spilled_size, self.spilled_count = mark.outside, mark.spilled_size, mark.spilled_count

    # Belonging

    def owns(self, array: npt.NDArray[Any]) -> bool:
        """Tell whether ``array``, attached or plain, or a view of one, lies in this cycle's memory."""
        block, root = self._block.bytes, self._root
        base = array.base
        while isinstance(base, np.ndarray):
            if base is block or base is root or any(base is known.base for known in self._external):
                return True
            if isinstance(base, WorkspaceArray) and base.base is block:  # the root of another cycle or scope
                return base._alive and base._generation == self.generation_id
            base = base.base
        return False

    def attach(self, array: npt.NDArray[Any]) -> WorkspaceArray:
        """Return a plain array that lies in this cycle's memory as an attached one, over the same bytes."""
        roots = self._roots_around(array)
        if array.size == 0 and roots:
            return _new_array(WorkspaceArray, array.shape, array.dtype, roots[0])
        start = array.__array_interface__["data"][0]
        for root in roots:
            offset = start - root.__array_interface__["data"][0]
            if 0 <= offset < root.nbytes:
                return _new_array(WorkspaceArray, array.shape, array.dtype, root, offset, array.strides)
        raise WorkspaceError(f"the array does not lie in workspace [{self.id}]. Pass one for which owns() is true.")

    def _roots_around(self, array: npt.NDArray[Any]) -> list[WorkspaceArray]:
        """Return the roots that ``array`` may lie in."""
        if self._root is None:
            self._root = self._new_root(self._block.bytes)
        return [self._root, *self._external]
