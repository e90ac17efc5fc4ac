"""The options of one workspace."""

import dataclasses
import operator
import os

from ..errors import ConfigurationError
from ..options import CheckedOptions, enum_option
from .policies import (
    AllocationPolicy,
    LearningPolicy,
    LocationPolicy,
    MirroringPolicy,
    ResetPolicy,
    SpillPolicy,
)

__all__ = ["WorkspaceConfiguration", "non_negative_int"]

_POLICIES = {
    "policy_allocation": AllocationPolicy,
    "policy_learning": LearningPolicy,
    "policy_spill": SpillPolicy,
    "policy_reset": ResetPolicy,
    "policy_mirroring": MirroringPolicy,
    "policy_location": LocationPolicy,
}


_WHOLE_NUMBERS = (
    "initial_size",
    "min_size",
    "max_size",
    "cycles_before_initialization",
    "steps_number",
    "max_bytes",
    "alignment",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkspaceConfiguration(CheckedOptions):
    """How large a workspace is, how it learns that, and what it does when it is full.

    Sizes are in bytes. ``initial_size`` 0 means: learn it. ``min_size`` bounds a learned size from below,
    ``max_size`` (0: no limit) any size from above. ``overallocation_limit`` is the margin that OVERALLOCATE
    adds, as a fraction of the size; in a circular workspace it is the number of blocks, one for each cycle, that the
    buffer has besides the first, at least 1. ``cycles_before_initialization`` is the cycle at whose close OVER_TIME
    creates the buffer. ``max_bytes`` (0: no limit) bounds buffer, spilled and pinned arrays together: a request
    beyond it raises. Every request is rounded up to ``alignment``, a power of two. Policies are given as members or
    by name, ``policy_spill="FAIL"``.

    ``policy_location="MMAP"`` puts the buffer into the file ``temp_file_path``, by default a temporary one, where
    its content stays from cycle to cycle. ``policy_mirroring`` and ``steps_number`` are without effect: there is no
    device, and the cycles of one pass over a circular buffer follow from ``overallocation_limit``.

    Raises ConfigurationError for values and combinations that cannot work.
    Source: ND4J ``WorkspaceConfiguration``.
    """

    initial_size: int = 0
    min_size: int = 0
    max_size: int = 0
    policy_allocation: AllocationPolicy = AllocationPolicy.OVERALLOCATE
    overallocation_limit: float = 0.3
    policy_learning: LearningPolicy = LearningPolicy.FIRST_LOOP
    cycles_before_initialization: int = 0
    policy_spill: SpillPolicy = SpillPolicy.EXTERNAL
    policy_reset: ResetPolicy = ResetPolicy.BLOCK_LEFT
    policy_mirroring: MirroringPolicy = MirroringPolicy.FULL
    policy_location: LocationPolicy = LocationPolicy.RAM
    temp_file_path: str | os.PathLike[str] | None = None
    steps_number: int = 2
    max_bytes: int = 0
    alignment: int = 8

    def __post_init__(self) -> None:
        for option, policy in _POLICIES.items():
            object.__setattr__(self, option, enum_option(policy, getattr(self, option), option))
        for option in _WHOLE_NUMBERS:
            object.__setattr__(self, option, non_negative_int(getattr(self, option), option))
        object.__setattr__(self, "overallocation_limit", _fraction(self.overallocation_limit))
        object.__setattr__(self, "temp_file_path", _path(self.temp_file_path))
        self._check_sizes()
        self._check_circular()
        self._check_mapped()

    def _check_sizes(self) -> None:
        if self.alignment < 1 or self.alignment & (self.alignment - 1):
            raise ConfigurationError(
                f"alignment={self.alignment} is not a power of two. Use 8, or 64 for a cache line."
            )
        if 0 < self.max_size < self.min_size:
            raise ConfigurationError(
                f"min_size={self.min_size} is above max_size={self.max_size}. Raise max_size, or set it to 0."
            )
        for option in ("initial_size", "min_size"):
            if 0 < self.max_bytes < getattr(self, option):
                raise ConfigurationError(
                    f"{option}={getattr(self, option)} is above max_bytes={self.max_bytes}, the limit of everything "
                    "that the workspace holds. Raise max_bytes, or set it to 0."
                )

    def _check_circular(self) -> None:
        if (
            self.policy_reset is ResetPolicy.ENDOFBUFFER_REACHED
            and self.policy_allocation is AllocationPolicy.OVERALLOCATE
            and self.overallocation_limit < 1
        ):
            raise ConfigurationError(
                f"overallocation_limit={self.overallocation_limit}: for a circular workspace (ENDOFBUFFER_REACHED) "
                "overallocation should be positive integral value, the number of extra blocks. Use 1 to keep two "
                "cycles, or policy_allocation=STRICT."
            )

    def _check_mapped(self) -> None:
        if self.policy_location is LocationPolicy.RAM:
            if self.temp_file_path is not None:
                raise ConfigurationError(
                    f"temp_file_path={self.temp_file_path!r} is for memory-mapped workspaces. Set "
                    "policy_location=MMAP, or leave it out."
                )
            return
        if self.policy_learning is not LearningPolicy.NONE:
            raise ConfigurationError(
                f"policy_learning={self.policy_learning.name}: a memory-mapped workspace (MMAP) can't have "
                "LearningPolicy defined, as its size is that of its file. Use policy_learning=NONE."
            )
        if self.temp_file_path is None and self.initial_size == 0:
            raise ConfigurationError(
                "policy_location=MMAP: file path should be non-null or workspace initialSize should be >0. Set "
                "initial_size, or temp_file_path to a file that is not empty."
            )


def non_negative_int(value: object, option: str) -> int:
    """Return ``value`` if it is a whole number of at least 0. Raises ConfigurationError that names ``option``."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # a TypeError is the answer for anything else
    except TypeError:
        number = -1
    if number < 0:
        raise ConfigurationError(f"{option}={value!r} is not a whole number of at least 0.") from None
    return number


def _fraction(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # a TypeError is the answer for anything else
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigurationError(f"overallocation_limit={value!r} is not a fraction. Use 0.3 to add 30 %.")
    return number


def _path(value: object) -> str | None:
    try:
        return None if value is None else os.fsdecode(value)  # type: ignore[arg-type]  # as above
    except TypeError:
        raise ConfigurationError(f"temp_file_path={value!r} is not the path of a file.") from None
