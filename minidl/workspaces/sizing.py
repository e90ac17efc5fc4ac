"""How large a workspace becomes: pure decisions on its configuration and what its cycles needed."""

from typing import NamedTuple

from .configuration import WorkspaceConfiguration
from .policies import AllocationPolicy, LearningPolicy, LocationPolicy, ResetPolicy, SpillPolicy

__all__ = [
    "LearnedSize",
    "constructed_size",
    "cycles_per_step",
    "is_due",
    "is_outlived",
    "learned_circle",
    "learned_size",
    "may_grow",
    "never_learns",
    "rounded_up",
]

SPARE_IN_BLOCK = 1.3
STEPS_OUTSIDE = 2


class LearnedSize(NamedTuple):
    """The outcome of learning: the buffer, the part of it that one cycle needs, and whether a margin was added."""

    size: int
    block: int
    overallocated: bool


def rounded_up(size: int, alignment: int) -> int:
    """Return ``size`` in bytes, rounded up to a multiple of ``alignment``, a power of two."""
    return (size + alignment - 1) & -alignment


def _with_margin(size: int, configuration: WorkspaceConfiguration) -> int:
    if configuration.policy_allocation is AllocationPolicy.STRICT:
        return size
    return size + int(size * configuration.overallocation_limit)


def _clipped(size: int, configuration: WorkspaceConfiguration) -> int:
    return min(size, configuration.max_size) if configuration.max_size else size


def constructed_size(configuration: WorkspaceConfiguration) -> int:
    """Return the size in bytes that a new workspace has before it learned anything; a file gets no margin."""
    if configuration.policy_location is LocationPolicy.MMAP:
        return _clipped(configuration.initial_size, configuration)
    return _clipped(_with_margin(configuration.initial_size, configuration), configuration)


def learned_size(configuration: WorkspaceConfiguration, max_cycle: int, overallocated: bool) -> LearnedSize:
    """Return the size after the largest cycle so far, ``max_cycle`` bytes; only the first one gets a margin."""
    block = _clipped(max_cycle, configuration)
    size = block if overallocated else _with_margin(block, configuration)
    size = _clipped(max(size, configuration.min_size), configuration)
    margin = configuration.policy_allocation is AllocationPolicy.OVERALLOCATE
    return LearnedSize(size, block, overallocated or (margin and configuration.overallocation_limit > 0))


def learned_circle(configuration: WorkspaceConfiguration, max_cycle: int) -> LearnedSize:
    """Return the size of a circular workspace: one block for the largest cycle, with room to spare, and the others.

    A block that is aligned already still gets one unit of alignment more, as in ND4J.
    """
    block = int(_clipped(max_cycle, configuration) * SPARE_IN_BLOCK)
    block += configuration.alignment - block % configuration.alignment
    size = _clipped(max(_with_margin(block, configuration), configuration.min_size), configuration)
    return LearnedSize(size, block, True)


def cycles_per_step(configuration: WorkspaceConfiguration) -> int:
    """Return how many cycles one pass over the buffer takes: one, or the number of blocks of a circular workspace."""
    if (
        configuration.policy_reset is ResetPolicy.BLOCK_LEFT
        or configuration.policy_allocation is AllocationPolicy.STRICT
    ):
        return 1
    return int(configuration.overallocation_limit + 1)


def is_outlived(step: float, current_step: int) -> bool:
    """Tell whether memory outside of a circular buffer, asked for in ``step``, is freed in ``current_step``."""
    return step + STEPS_OUTSIDE < current_step


def may_grow(configuration: WorkspaceConfiguration, current_size: int, max_cycle: int) -> bool:
    """Tell whether a buffer that was too small for its largest cycle is thrown away for a larger one."""
    return (
        configuration.policy_spill is SpillPolicy.REALLOCATE
        and current_size < max_cycle
        and (configuration.max_size == 0 or max_cycle < configuration.max_size)
    )


def is_due(configuration: WorkspaceConfiguration, cycles: int, current_size: int, max_cycle: int) -> bool:
    """Tell whether the close of cycle number ``cycles`` creates or enlarges the buffer."""
    if max_cycle == 0 or configuration.policy_learning is LearningPolicy.NONE:
        return False
    if current_size > 0:
        return may_grow(configuration, current_size, max_cycle)
    if configuration.policy_learning is LearningPolicy.FIRST_LOOP:
        return True
    return cycles == configuration.cycles_before_initialization


def never_learns(configuration: WorkspaceConfiguration) -> bool:
    """Tell whether the size is to be learned, but only when ``initialize_workspace`` is called by hand."""
    return (
        configuration.policy_learning is LearningPolicy.OVER_TIME
        and configuration.cycles_before_initialization == 0
        and configuration.initial_size == 0
    )
