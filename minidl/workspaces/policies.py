"""The choices that a workspace, or a network that uses workspaces, offers."""

import enum

__all__ = [
    "AllocationPolicy",
    "LearningPolicy",
    "LocationPolicy",
    "MirroringPolicy",
    "ResetPolicy",
    "SpillPolicy",
    "WorkspaceMode",
]


class AllocationPolicy(enum.Enum):
    """How large the buffer is made: exactly as asked or learned, or with a margin."""

    STRICT = "strict"
    OVERALLOCATE = "overallocate"


class LearningPolicy(enum.Enum):
    """When the size is learned: never, from the first cycle, or after a number of cycles."""

    NONE = "none"
    FIRST_LOOP = "first_loop"
    OVER_TIME = "over_time"


class SpillPolicy(enum.Enum):
    """What happens to a request that does not fit.

    EXTERNAL puts it on the heap; REALLOCATE too, and enlarges the buffer when the scope closes; FAIL raises.
    """

    EXTERNAL = "external"
    REALLOCATE = "reallocate"
    FAIL = "fail"


class ResetPolicy(enum.Enum):
    """When the bump pointer returns to the start: when the scope is left, or when the buffer is full."""

    BLOCK_LEFT = "block_left"
    ENDOFBUFFER_REACHED = "endofbuffer_reached"


class LocationPolicy(enum.Enum):
    """Where the buffer lives: in memory, or in a memory-mapped file."""

    RAM = "ram"
    MMAP = "mmap"


class MirroringPolicy(enum.Enum):
    """Whether a device keeps a copy; without effect on a CPU."""

    FULL = "full"
    HOST_ONLY = "host_only"


class WorkspaceMode(enum.Enum):
    """Whether a network works in workspaces. SINGLE and SEPARATE are old names of ENABLED."""

    NONE = "none"
    ENABLED = "enabled"
    SINGLE = "single"
    SEPARATE = "separate"
