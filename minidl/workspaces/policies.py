"""The choices that a workspace, or a network that uses workspaces, offers."""

import enum

__all__ = [
    "AllocationPolicy",
    "DebugMode",
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
    """When the bump pointer returns to the start.

    BLOCK_LEFT: when the scope is left, which ends the life of its arrays. ENDOFBUFFER_REACHED: when the buffer is
    full, so that the last few cycles stay valid; such a workspace is called circular.
    """

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


class DebugMode(enum.Enum):
    """A switch of the process for finding errors in the use of workspaces.

    SPILL_EVERYTHING gives every array memory of its own on the heap; BYPASS_EVERYTHING makes every new workspace one
    without memory, whose arrays are detached; workspaces that exist already keep working.
    """

    DISABLED = "disabled"
    SPILL_EVERYTHING = "spill_everything"
    BYPASS_EVERYTHING = "bypass_everything"


class WorkspaceMode(enum.Enum):
    """Whether a network works in workspaces. SINGLE and SEPARATE are old names of ENABLED."""

    NONE = "none"
    ENABLED = "enabled"
    SINGLE = "single"
    SEPARATE = "separate"
