"""The buffer of a workspace: how large it is, may become, and who may lie in it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..errors import WorkspaceError, WorkspaceFullError
from .configuration import WorkspaceConfiguration, non_negative_int
from .mapped_file import MappedFile
from .memory import Block
from .policies import DebugMode, LearningPolicy, LocationPolicy
from .refusals import asking_place
from .sizing import constructed_size, is_due, learned_size, may_grow

__all__ = ["Buffer", "ViewKey"]

ViewKey = tuple[int, tuple[int, ...], np.dtype[Any], str]
Views = dict[ViewKey, tuple[npt.NDArray[Any], int]]


class Buffer:
    """The memory that a workspace uses again and again, and the rules of its size; Arena hands it out.

    Requests that end beyond ``_limit`` are not for the buffer. It is the size, or 0 while everything goes elsewhere,
    so that an allocation has a single comparison to make.
    """

    poison_recycled_memory: ClassVar[bool] = False
    """Debug switch of the process: fill memory with 0xFF bytes when its scope closes, so that a missing write shows."""

    debug_mode: ClassVar[DebugMode] = DebugMode.DISABLED
    """Set by ``workspace_manager.debug_mode``, which has every workspace ``update_limit``."""

    __slots__ = (
        "_block",
        "_destroyed",
        "_is_capped",
        "_is_used",
        "_limit",
        "_max_bytes",
        "_overallocated",
        "_owned_views",
        "_views",
        "configuration",
        "current_size",
        "cycles_count",
        "id",
        "initial_block_size",
        "is_scope_active",
        "last_cycle_allocations",
        "max_cycle_allocations",
        "spilled_size",
    )

    def __init__(self, configuration: WorkspaceConfiguration, id: str) -> None:
        self.configuration = configuration
        self.id = id
        self.is_scope_active = self._destroyed = self._is_capped = False
        self._is_used = True
        self._max_bytes = configuration.max_bytes
        self.cycles_count = self.last_cycle_allocations = self.max_cycle_allocations = self.initial_block_size = 0
        self.current_size = self.spilled_size = 0
        self._overallocated = False  # whether the size has its margin, which it gets once
        self._owned_views: Views = {}
        self._block: Block | MappedFile = Block(0)
        self._map_first()

    # Readable state

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

    @property
    def max_bytes(self) -> int:
        """The most that buffer, spilled and pinned arrays may hold together; 0: no limit. May be set at any time."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int) -> None:
        self._max_bytes = non_negative_int(value, "max_bytes")

    @property
    def views(self) -> Views:
        """The plain arrays made in the buffer, by offset, shape, type and order; the owner of a loop may swap them."""
        return self._owned_views

    @views.setter
    def views(self, views: Views) -> None:
        for view, _ in views.values():
            if view.base is not self._block.bytes:  # made in an older buffer, as all of them are then
                views.clear()
            break
        self._owned_views = views
        self.update_limit()

    def update_limit(self) -> None:
        """Follow ``debug_mode`` and what else keeps arrays out of the buffer."""
        if self._is_used and self.debug_mode is not DebugMode.SPILL_EVERYTHING:
            self._limit = self.current_size
            self._views = self._owned_views
        else:
            self._limit = 0
            self._views = {}

    # Learning

    def initialize_workspace(self) -> None:
        """Make the buffer from what was learned so far, or a larger one if it may grow.

        Raises WorkspaceError while the scope is open, as its arrays would lose their memory, and when destroyed;
        WorkspaceFullError when it is capped.
        """
        self._check_replaceable()
        configuration, max_cycle = self.configuration, self.max_cycle_allocations
        if configuration.policy_learning is LearningPolicy.NONE:
            return
        if self.current_size and not may_grow(configuration, self.current_size, max_cycle):
            return
        if max_cycle or configuration.min_size:
            learned = learned_size(configuration, max_cycle, self._overallocated)
            self.resize(self._within_max_bytes(learned.size))
            self.initial_block_size, self._overallocated = learned.block, learned.overallocated

    def _is_due(self) -> bool:
        """Tell whether the cycle that was counted last makes the buffer, or a larger one."""
        return self.debug_mode is not DebugMode.SPILL_EVERYTHING and is_due(
            self.configuration, self.cycles_count, self.current_size, self.max_cycle_allocations
        )

    def shrink(self, size: int | None = None) -> None:
        """Cut the buffer to ``size`` bytes, by default what the last cycle needed, and take that for the largest.

        It never grows and does not go below ``min_size``. Where smaller cycles than the largest came last, pass
        ``max_cycle_allocations``. Raises WorkspaceError while the scope is open, when destroyed, and for a file.
        """
        self._check_resizable()
        demand = self.last_cycle_allocations if size is None else non_negative_int(size, "size")
        if demand >= self.current_size or (size is None and self.cycles_count == 0):
            return
        self.max_cycle_allocations = self.initial_block_size = demand
        self.resize(min(max(demand, self.configuration.min_size), self.current_size))

    def reset_learning(self) -> None:
        """Forget what was learned, cap() included, and start again with the buffer of a new workspace.

        Raises WorkspaceError while the scope is open and when destroyed.
        """
        self._check_replaceable()
        self.cycles_count = self.last_cycle_allocations = self.max_cycle_allocations = self.initial_block_size = 0
        self._is_capped = False
        if self.configuration.policy_location is LocationPolicy.RAM:
            self._unmap()
            self._map_first()

    # Size

    def cap(self, capped: bool = True) -> None:
        """From now on raise WorkspaceFullError where an array would spill or the buffer would grow, with the place.

        For a loop that is warm: whatever asks for more than it did before is found. ``cap(False)`` lifts it.
        """
        self._is_capped = capped

    @property
    def is_capped(self) -> bool:
        """Whether ``cap`` forbids to spill and to grow."""
        return self._is_capped

    def resize(self, size: int) -> None:
        """Replace the buffer by one of exactly ``size`` bytes.

        Raises WorkspaceError while the scope is open and for a file, whose size is fixed; WorkspaceFullError when
        ``cap`` or ``max_bytes`` forbid it.
        """
        size = non_negative_int(size, "size")
        self._check_resizable()
        self._check_growth(size)
        self._unmap()
        self._use(Block(size))

    def destroy(self) -> None:
        """Give the memory back for good. Raises WorkspaceError while the scope is open."""
        self._check_closed()
        self._unmap()
        self.spilled_size = 0
        self._destroyed = True

    def _map_first(self) -> None:
        size = self._within_max_bytes(constructed_size(self.configuration))
        if self.configuration.policy_location is LocationPolicy.MMAP:
            path: Any = self.configuration.temp_file_path
            limits = [limit for limit in (self.configuration.max_size, self._max_bytes) if limit]
            self._use(MappedFile(path, size, min(limits, default=0)))
        else:
            self._use(Block(size))
        self._overallocated = self.current_size > 0

    def _unmap(self) -> None:
        """Have no buffer, until there is another, which may fail."""
        self._block.release()
        self.current_size = 0
        self.views = {}

    def _use(self, block: Block | MappedFile) -> None:
        self._block = block
        self.current_size = block.size
        if self.poison_recycled_memory:
            block.poison(0, block.size)
        self.update_limit()

    def _within_max_bytes(self, size: int) -> int:
        if not self._max_bytes:
            return size
        return min(size, max(0, self._max_bytes - self.spilled_size - self.pinned_size))

    def _check_growth(self, size: int) -> None:
        if self._is_capped and size > self.current_size:
            rule, remedy = (
                f"it was capped at {self.current_size}",
                "Make it large enough before cap(), or call cap(False)",
            )
        elif 0 < self._max_bytes < size:
            rule, remedy = f"max_bytes={self._max_bytes}", "Raise max_bytes"
        else:
            return
        raise WorkspaceFullError(
            f"Can't allocate memory: a buffer of {size} bytes was asked for by {asking_place()}, but {rule}: "
            f"Workspace [{self.id}]. {remedy}."
        )

    def _check_resizable(self) -> None:
        self._check_replaceable()
        if self.configuration.policy_location is LocationPolicy.MMAP:
            raise WorkspaceError(
                f"Workspace [{self.id}] is memory-mapped: its size is that of its file. Make a new one."
            )

    def _check_replaceable(self) -> None:
        self._check_not_destroyed()
        self._check_closed()

    def _check_not_destroyed(self) -> None:
        if self._destroyed:
            raise WorkspaceError(
                f"Workspace [{self.id}] was destroyed. Ask the workspace_manager for the id again to get a new one."
            )

    def _check_closed(self) -> None:
        if self.is_scope_active:
            raise WorkspaceError(
                f"Workspace [{self.id}] is open: its buffer cannot be replaced or destroyed under its arrays. "
                "Close its scope first."
            )
