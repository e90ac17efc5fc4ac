"""The options of a workspace: defaults, spellings, and what is refused."""

import dataclasses
import os
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
        "temp_file_path": None,
        "steps_number": 2,
        "max_bytes": 0,
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
        (
            {"initial_size": 9, "max_bytes": 8},
            "initial_size=9 is above max_bytes=8, the limit of everything that the workspace holds. Raise max_bytes, "
            "or set it to 0.",
        ),
        (
            {"min_size": 9, "max_bytes": 8},
            "min_size=9 is above max_bytes=8, the limit of everything that the workspace holds. Raise max_bytes, or "
            "set it to 0.",
        ),
        ({"max_bytes": -1}, "max_bytes=-1 is not a whole number of at least 0."),
        ({"steps_number": 1.5}, "steps_number=1.5 is not a whole number of at least 0."),
        ({"policy_location": "MMAP", "temp_file_path": 7}, "temp_file_path=7 is not the path of a file."),
        (
            {"temp_file_path": "buffer"},
            "temp_file_path='buffer' is for memory-mapped workspaces. Set policy_location=MMAP, or leave it out.",
        ),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        WorkspaceConfiguration(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"policy_reset": "ENDOFBUFFER_REACHED"},
            "overallocation_limit=0.3: for a circular workspace (ENDOFBUFFER_REACHED) overallocation should be "
            "positive integral value, the number of extra blocks. Use 1 to keep two cycles, or "
            "policy_allocation=STRICT.",
        ),
        (
            {"policy_location": "MMAP", "policy_learning": "NONE"},
            "policy_location=MMAP: file path should be non-null or workspace initialSize should be >0. Set "
            "initial_size, or temp_file_path to a file that is not empty.",
        ),
        (
            {"policy_location": "MMAP", "initial_size": 80, "policy_learning": "OVER_TIME"},
            "policy_learning=OVER_TIME: a memory-mapped workspace (MMAP) can't have LearningPolicy defined, as its "
            "size is that of its file. Use policy_learning=NONE.",
        ),
    ],
    ids=["E7", "E8", "E9"],
)
def test_illegal_combinations(options, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        WorkspaceConfiguration(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"policy_reset": "ENDOFBUFFER_REACHED", "policy_allocation": "STRICT"},
        {"policy_reset": "ENDOFBUFFER_REACHED", "overallocation_limit": 1.5},
        {"policy_location": "MMAP", "policy_learning": "NONE", "temp_file_path": "buffer"},
        {"policy_location": "MMAP", "policy_learning": "NONE", "initial_size": 8},
        {"policy_mirroring": "HOST_ONLY", "steps_number": 5},
        {"initial_size": 8, "min_size": 8, "max_bytes": 8},
    ],
)
def test_legal_combinations(options):
    assert WorkspaceConfiguration(**options) == WorkspaceConfiguration(**options)


def test_paths_of_any_kind_become_text(tmp_path):
    options = dict(policy_location="MMAP", policy_learning="NONE")
    paths = [tmp_path / "buffer", str(tmp_path / "buffer"), os.fsencode(tmp_path / "buffer")]
    assert {WorkspaceConfiguration(**options, temp_file_path=path).temp_file_path for path in paths} == {paths[1]}
