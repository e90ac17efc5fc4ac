"""The options of one workspace."""

import dataclasses
import operator

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

__all__ = ["WorkspaceConfiguration"]

_POLICIES = {
    "policy_allocation": AllocationPolicy,
    "policy_learning": LearningPolicy,
    "policy_spill": SpillPolicy,
    "policy_reset": ResetPolicy,
    "policy_mirroring": MirroringPolicy,
    "policy_location": LocationPolicy,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkspaceConfiguration(CheckedOptions):
    """How large a workspace is, how it learns that, and what it does when it is full.

    Sizes are in bytes. ``initial_size`` 0 means: learn it. ``min_size`` bounds a learned size from below,
    ``max_size`` (0: no limit) any size from above. ``overallocation_limit`` is the margin that OVERALLOCATE
    adds, as a fraction of the size. ``cycles_before_initialization`` is the cycle at whose close OVER_TIME
    creates the buffer. Every request is rounded up to ``alignment``, a power of two. Policies are given as
    members or by name, ``policy_spill="FAIL"``.

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
    alignment: int = 8

    def __post_init__(self) -> None:
        for option, policy in _POLICIES.items():
            object.__setattr__(self, option, enum_option(policy, getattr(self, option), option))
        for option in ("initial_size", "min_size", "max_size", "cycles_before_initialization", "alignment"):
            object.__setattr__(self, option, _non_negative_int(getattr(self, option), option))
        object.__setattr__(self, "overallocation_limit", _fraction(self.overallocation_limit))
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.alignment < 1 or self.alignment & (self.alignment - 1):
            raise ConfigurationError(
                f"alignment={self.alignment} is not a power of two. Use 8, or 64 for a cache line."
            )
        if 0 < self.max_size < self.min_size:
            raise ConfigurationError(
                f"min_size={self.min_size} is above max_size={self.max_size}. Raise max_size, or set it to 0."
            )
        if self.policy_reset is not ResetPolicy.BLOCK_LEFT or self.policy_location is not LocationPolicy.RAM:
            raise ConfigurationError(
                "circular workspaces (ENDOFBUFFER_REACHED) and memory-mapped files (MMAP) are not available in "
                "this version. Use policy_reset=BLOCK_LEFT and policy_location=RAM."
            )


def _non_negative_int(value: object, option: str) -> int:
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
