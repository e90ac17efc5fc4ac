"""Circular workspaces: arrays outlive their cycle until the write position comes round again."""

from __future__ import annotations

import dataclasses
import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arena import Order
from .array import WorkspaceArray
from .attachment import root_of
from .configuration import WorkspaceConfiguration, non_negative_int
from .memory import POISON
from .policies import DebugMode, LearningPolicy, ResetPolicy, SpillPolicy
from .sizing import is_outlived, learned_circle
from .workspace import Workspace

__all__ = ["CircularWorkspace"]


class _Block(NamedTuple):
    """What one cycle wrote without a wrap, from ``start`` to before ``end``, until that is used again."""

    start: int
    end: int
    root: weakref.ref[WorkspaceArray]


@dataclasses.dataclass(slots=True)
class _Outside:
    """One array's memory outside of the buffer, asked for in ``step``.

    ``size`` is what the counters know of it, None while the workspace was switched off. ``is_over`` is set when the
    buffer wraps.
    """

    memory: npt.NDArray[np.uint8]
    root: weakref.ref[WorkspaceArray]
    size: int | None
    step: float
    is_over: bool = False


def _kill(reference: weakref.ref[WorkspaceArray]) -> None:
    root = reference()  # weak, or workspace and root would keep each other, and a dead thread's memory
    if root is not None:
        root._alive = False


class CircularWorkspace(Workspace, policy_reset=ResetPolicy.ENDOFBUFFER_REACHED):
    """A buffer with room for several cycles, for handing batches from thread to thread.

    Each cycle takes the next block; at the end of the buffer the write position returns to the start. The arrays of a
    cycle stay valid, in every thread, until the write position enters their block again; what does not fit a block is
    *pinned*, and what does not fit the buffer *spilled*, on the heap, where it lives for three passes over the buffer.
    A pass is a step. With SpillPolicy.REALLOCATE a cycle larger than a block has everything pinned for these three
    steps; then the buffer is learned anew. Source: ND4J ``Nd4jWorkspace``, ENDOFBUFFER_REACHED.
    """

    is_circular = True

    __slots__ = ("_blocks", "_pinned", "_pinned_size", "_scratch_starts", "_spilled", "_start", "_trimmed_at")

    def __init__(self, configuration: WorkspaceConfiguration, id: str | None = None) -> None:
        self._blocks: list[_Block] = []
        self._pinned: list[_Outside] = []
        self._spilled: list[_Outside] = []
        self._scratch_starts: list[tuple[int, int]] = []
        self._start = self._pinned_size = 0
        self._trimmed_at: int | None = None
        super().__init__(configuration, id)

    # Readable state

    @property
    def this_cycle_allocations(self) -> int:
        """The most bytes that this cycle held at one time so far, spilled and pinned ones included."""
        return max(self._demand(), self._high_water)

    @property
    def pinned_size(self) -> int:
        """Bytes on the heap of cycles that were larger than a block, or that ran while one was."""
        return self._pinned_size

    @property
    def pinned_count(self) -> int:
        """Arrays that make up ``pinned_size``."""
        return len(self._pinned)

    def _demand(self) -> int:
        return self._offset - self._start + self._outside

    # Cycles

    def begin_cycle(self) -> None:
        """Start a cycle where the last one ended."""
        self._close_block(self._offset)  # what was allocated while closed
        self._free(lambda outside: outside.is_over)
        self._start_cycle()
        self.generation_id += 1
        self.is_scope_active = True

    def _start_cycle(self) -> None:
        self._start = self._offset
        self._outside = self._high_water = 0
        self.update_limit()

    def end_cycle(self) -> None:
        """End a cycle: count, free what was outlived, learn the size; the arrays stay valid.

        Raises WorkspaceFullError when the learned buffer cannot be had; the workspace then has size 0 and spills.
        """
        used = self.this_cycle_allocations
        self.is_scope_active = False
        self.cycles_count += 1
        if not self._is_used:
            self._use_again()
        self._finish_block(used)
        self.last_cycle_allocations = used
        self.max_cycle_allocations = max(self.max_cycle_allocations, used)
        self._start_cycle()
        step = self.step_number
        learns = self.configuration.policy_learning is not LearningPolicy.NONE
        self._free(lambda outside: is_outlived(outside.step, step) or (learns and outside.is_over))
        self._learn_if_due()

    def _finish_block(self, used: int) -> None:
        """Leave the block: every cycle takes a whole one."""
        rest = self.initial_block_size - used
        if self.current_size and rest > 0 and self._trimmed_at is None and self._offset > 0:
            self._enter(self._offset + rest)
            self._close_block(self._offset + rest)
            self._offset += rest
        else:
            self._close_block(self._offset)

    def _learn_if_due(self) -> None:
        was_too_small = self._trimmed_at is not None and is_outlived(self._trimmed_at, self.step_number)
        if was_too_small or (self.current_size == 0 and self._is_due()):
            self._learn()

    # Learning

    def initialize_workspace(self) -> None:
        """Make the buffer from what was learned so far, if there is none; a circular one does not grow by this.

        Raises WorkspaceError while the scope is open and when destroyed.
        """
        self._check_replaceable()
        learns = self.configuration.policy_learning is not LearningPolicy.NONE
        if learns and self.current_size == 0 and self.max_cycle_allocations:
            self._learn()

    def shrink(self, size: int | None = None) -> None:
        """Make the buffer anew, for cycles of ``size`` bytes, by default the last one's; every array becomes stale.

        It never grows. Raises WorkspaceError while the scope is open, when destroyed, and for a file.
        """
        self._check_resizable()
        demand = self.last_cycle_allocations if size is None else non_negative_int(size, "size")
        if demand and learned_circle(self.configuration, demand).size < self.current_size:
            self.max_cycle_allocations = demand
            self._learn()

    def reset_learning(self) -> None:
        """Forget what was learned, cap() included, and start again as a new workspace; every array becomes stale."""
        super().reset_learning()
        self._trimmed_at = None
        self._free(lambda _: True)
        self.update_limit()

    def _learn(self) -> None:
        learned = learned_circle(self.configuration, self.max_cycle_allocations)
        self._trimmed_at, self.initial_block_size = None, 0
        self.resize(self._within_max_bytes(learned.size))
        self.initial_block_size = self.max_cycle_allocations = learned.block
        for outside in self._spilled:
            outside.step = math.inf  # to be freed when the buffer wraps, and not before
        self.update_limit()

    def _unmap(self) -> None:
        for block in self._blocks:
            _kill(block.root)
        self._blocks = []
        self._root = None
        self._offset = self._start = 0
        super()._unmap()

    def destroy(self) -> None:
        """Give the memory back for good, spilled and pinned too. Raises WorkspaceError while the scope is open."""
        super().destroy()
        self._free(lambda _: True)

    # Blocks

    def update_limit(self) -> None:
        """Set how far the bump pointer may go without a look: to the next block, or to the end of this one."""
        super().update_limit()
        if self._trimmed_at is not None:
            self._limit = 0
        if self._limit == 0:
            return
        ahead = [block.start for block in self._blocks if block.start >= self._offset]
        if self.initial_block_size:
            ahead.append(self._offset - self._demand() + self.initial_block_size)
        self._limit = min(self._limit, *ahead) if ahead else self._limit

    def _enter(self, end: int) -> None:
        """Move on to before ``end``: the blocks on the way become stale."""
        left = []
        for block in self._blocks:
            if block.start < end and block.end > self._offset:
                _kill(block.root)
                if self.poison_recycled_memory:
                    self._block.poison(block.start, block.end)
            elif block.root() is not None:
                left.append(block)
        self._blocks = left

    def _close_block(self, end: int) -> None:
        root, self._root = self._root, None
        if root is not None and end > self._start:
            self._blocks.append(_Block(self._start, end, weakref.ref(root)))

    def _wrap(self) -> None:
        self._close_block(self._offset)
        self._outside = self._demand()
        self._offset = self._start = 0
        for outside in self._spilled:
            outside.is_over = True

    # Allocation

    def _allocate_beyond(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order) -> WorkspaceArray:
        size = self._size_of(shape, dtype)
        if not self._fits(size):
            return super()._allocate_beyond(shape, dtype, order)
        if self._offset + size > self.current_size:
            self._wrap()
        self._enter(self._offset + size)
        self.update_limit()
        return self.allocate(shape, dtype, order)

    def _fits(self, size: int) -> bool:
        if not self._is_used or self.debug_mode is DebugMode.SPILL_EVERYTHING or self._exceeds_block(size):
            return False
        # a scratch scope has to find its way back
        room = self.current_size - self._offset if self._scratches else self.current_size
        return size <= room

    def _exceeds_block(self, size: int) -> bool:
        block = self.initial_block_size
        return self._trimmed_at is not None or 0 < block < self._demand() + size

    def allocate_plain(self, shape: tuple[int, ...], dtype: np.dtype[Any], order: Order = "C") -> npt.NDArray[Any]:
        """Return uninitialised memory as a plain array; none is kept, as the offsets do not repeat."""
        return self.allocate(shape, dtype, order).view(np.ndarray)

    def _spill(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> WorkspaceArray:
        size = self._size_of(shape, dtype)
        is_pinned = self._is_used and self._exceeds_block(size)
        if self._is_used:
            self._check_may_spill(size, shape, dtype)
        memory = self._memory_outside(size)
        root = self._new_root(memory)
        outside = _Outside(memory, weakref.ref(root), size if self._is_used else None, self.step_number)
        (self._pinned if is_pinned else self._spilled).append(outside)
        if is_pinned and self._trimmed_at is None and self.configuration.policy_spill is SpillPolicy.REALLOCATE:
            self._trimmed_at = self.step_number
        if self._is_used:
            self._outside += size
        self._count()
        self.update_limit()
        return root

    def _new_root(self, memory: npt.NDArray[np.uint8]) -> WorkspaceArray:
        root = super()._new_root(memory)
        root._alive = True  # also while the workspace is closed
        return root

    def _free(self, is_over: Callable[[_Outside], bool]) -> None:
        if not self._spilled and not self._pinned:
            return
        for outside in self._spilled + self._pinned:
            if is_over(outside):
                _kill(outside.root)
                if self.poison_recycled_memory:
                    outside.memory.fill(POISON)
        self._spilled = [outside for outside in self._spilled if not is_over(outside)]
        self._pinned = [outside for outside in self._pinned if not is_over(outside)]
        self._count()

    def _count(self) -> None:
        sizes = [outside.size for outside in self._spilled if outside.size is not None]
        self.spilled_size, self.spilled_count = sum(sizes), len(sizes)
        self._pinned_size = sum(outside.memory.nbytes for outside in self._pinned)

    # Scratch scopes

    def roll_back(self, offset: int) -> None:
        """Give back what was allocated since the bump pointer stood at ``offset``, unless it has wrapped since."""
        self._high_water = max(self._high_water, self._demand())
        if self._start <= offset <= self._offset:
            self._offset = offset

    def _begin_scratch(self) -> None:
        super()._begin_scratch()
        self._scratch_starts.append((len(self._spilled), len(self._pinned)))

    def _end_scratch(self) -> None:
        spilled, pinned = self._scratch_starts.pop()
        inside = [*self._spilled[spilled:], *self._pinned[pinned:]]
        super()._end_scratch()
        self._free(lambda outside: any(outside is one for one in inside))
        self.update_limit()

    # Belonging

    def owns(self, array: npt.NDArray[Any]) -> bool:
        """Tell whether ``array``, attached or plain, or a view of one, lies in this cycle's memory."""
        root = root_of(array)
        return root is not None and root._alive and root._workspace is self and root._generation == self.generation_id

    def _roots_around(self, array: npt.NDArray[Any]) -> list[WorkspaceArray]:
        root = root_of(array)
        return [root] if root is not None and root._workspace is self else []
