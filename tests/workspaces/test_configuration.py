"""The options of a workspace: defaults, spellings, and what is refused."""

import dataclasses
import re

import pytest

from minidl.errors import ConfigurationError
from minidl.workspaces import (
    AllocationPolicy,
    LearningPolicy,
    LocationPolicy,
    MirroringPolicy,
    ResetPolicy,
    SpillPolicy,
    WorkspaceConfiguration,
)


def test_defaults_are_those_of_dl4j():
    assert dataclasses.asdict(WorkspaceConfiguration()) == {
        "initial_size": 0,
        "min_size": 0,
        "max_size": 0,
        "policy_allocation": AllocationPolicy.OVERALLOCATE,
        "overallocation_limit": 0.3,
        "policy_learning": LearningPolicy.FIRST_LOOP,
        "cycles_before_initialization": 0,
        "policy_spill": SpillPolicy.EXTERNAL,
        "policy_reset": ResetPolicy.BLOCK_LEFT,
        "policy_mirroring": MirroringPolicy.FULL,
        "policy_location": LocationPolicy.RAM,
        "alignment": 8,
    }


def test_policies_are_given_as_members_or_by_name():
    configuration = WorkspaceConfiguration(policy_spill="fail", policy_learning="OVER_TIME", policy_allocation="Strict")
    assert configuration == WorkspaceConfiguration(
        policy_spill=SpillPolicy.FAIL,
        policy_learning=LearningPolicy.OVER_TIME,
        policy_allocation=AllocationPolicy.STRICT,
    )


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError, match=re.escape("cannot assign to field 'initial_size'")):
        WorkspaceConfiguration().initial_size = 8


NOT_AVAILABLE = (
    "circular workspaces (ENDOFBUFFER_REACHED) and memory-mapped files (MMAP) are not available in this version. "
    "Use policy_reset=BLOCK_LEFT and policy_location=RAM."
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_size": -1}, "initial_size=-1 is not a whole number of at least 0."),
        ({"min_size": 1.5}, "min_size=1.5 is not a whole number of at least 0."),
        ({"max_size": "1k"}, "max_size='1k' is not a whole number of at least 0."),
        (
            {"cycles_before_initialization": None},
            "cycles_before_initialization=None is not a whole number of at least 0.",
        ),
        ({"alignment": 12}, "alignment=12 is not a power of two. Use 8, or 64 for a cache line."),
        ({"alignment": 0}, "alignment=0 is not a power of two. Use 8, or 64 for a cache line."),
        ({"overallocation_limit": -0.1}, "overallocation_limit=-0.1 is not a fraction. Use 0.3 to add 30 %."),
        ({"overallocation_limit": float("inf")}, "overallocation_limit=inf is not a fraction. Use 0.3 to add 30 %."),
        ({"overallocation_limit": float("nan")}, "overallocation_limit=nan is not a fraction. Use 0.3 to add 30 %."),
        ({"overallocation_limit": "much"}, "overallocation_limit='much' is not a fraction. Use 0.3 to add 30 %."),
        (
            {"min_size": 10, "max_size": 5},
            "min_size=10 is above max_size=5. Raise max_size, or set it to 0.",
        ),
        (
            {"policy_spill": "overflow"},
            "policy_spill='overflow' is not known. Choose one of: EXTERNAL, REALLOCATE, FAIL.",
        ),
        ({"policy_reset": ResetPolicy.ENDOFBUFFER_REACHED}, NOT_AVAILABLE),
        ({"policy_location": "MMAP"}, NOT_AVAILABLE),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        WorkspaceConfiguration(**options)
