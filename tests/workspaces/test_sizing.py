"""How large a workspace becomes: the decision table."""

import pytest

from minidl.workspaces import WorkspaceConfiguration
from minidl.workspaces.sizing import (
    LearnedSize,
    constructed_size,
    cycles_per_step,
    is_due,
    is_outlived,
    learned_circle,
    learned_size,
    may_grow,
    never_learns,
    rounded_up,
)

CIRCULAR = {"policy_reset": "ENDOFBUFFER_REACHED"}


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 8), (8, 8), (9, 16), (20, 24)])
def test_requests_are_rounded_up_to_the_alignment(size, expected):
    assert rounded_up(size, 8) == expected


def test_alignment_of_a_cache_line():
    assert [rounded_up(size, 64) for size in (1, 64, 65)] == [64, 64, 128]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0),
        ({"initial_size": 81920, "overallocation_limit": 0.1}, 90112),
        ({"initial_size": 1024, "overallocation_limit": 1.0}, 2048),
        ({"initial_size": 1024, "overallocation_limit": 1.0, "policy_allocation": "STRICT"}, 1024),
        ({"initial_size": 1024, "overallocation_limit": 1.0, "max_size": 1500}, 1500),
        ({"initial_size": 1024, "min_size": 4096, "policy_allocation": "STRICT"}, 1024),
        ({"initial_size": 1024, "policy_location": "MMAP", "policy_learning": "NONE"}, 1024),
        ({"initial_size": 1024, "policy_location": "MMAP", "policy_learning": "NONE", "max_size": 512}, 512),
    ],
)
def test_constructed_size(options, expected):
    assert constructed_size(WorkspaceConfiguration(**options)) == expected


@pytest.mark.parametrize(
    ("options", "max_cycle", "overallocated", "expected"),
    [
        ({"overallocation_limit": 0.05}, 1000, False, LearnedSize(1050, 1000, True)),
        ({"overallocation_limit": 0.05}, 2000, True, LearnedSize(2000, 2000, True)),
        ({"overallocation_limit": 0.0}, 800, False, LearnedSize(800, 800, False)),
        ({"policy_allocation": "STRICT"}, 800, False, LearnedSize(800, 800, False)),
        ({"overallocation_limit": 1.0, "min_size": 4096}, 800, False, LearnedSize(4096, 800, True)),
        ({"overallocation_limit": 1.0, "max_size": 1000}, 800, False, LearnedSize(1000, 800, True)),
        ({"overallocation_limit": 1.0, "max_size": 500}, 800, False, LearnedSize(500, 500, True)),
    ],
)
def test_learned_size(options, max_cycle, overallocated, expected):
    assert learned_size(WorkspaceConfiguration(**options), max_cycle, overallocated) == expected


@pytest.mark.parametrize(
    ("options", "max_cycle", "expected"),
    [
        ({"overallocation_limit": 4}, 800, LearnedSize(5240, 1048, True)),
        ({"overallocation_limit": 3}, 819_200, LearnedSize(4_259_872, 1_064_968, True)),
        ({"overallocation_limit": 1.5}, 8, LearnedSize(40, 16, True)),
        ({"policy_allocation": "STRICT"}, 40, LearnedSize(56, 56, True)),
        ({"policy_allocation": "STRICT", "min_size": 4096}, 40, LearnedSize(4096, 56, True)),
        ({"policy_allocation": "STRICT", "alignment": 64}, 40, LearnedSize(64, 64, True)),
        ({"policy_allocation": "STRICT", "alignment": 64}, 640, LearnedSize(896, 896, True)),
        ({"policy_allocation": "STRICT", "max_size": 40}, 80, LearnedSize(40, 56, True)),
    ],
)
def test_learned_circle(options, max_cycle, expected):
    assert learned_circle(WorkspaceConfiguration(**CIRCULAR, **options), max_cycle) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 1),
        ({"overallocation_limit": 3}, 1),
        ({**CIRCULAR, "overallocation_limit": 1}, 2),
        ({**CIRCULAR, "overallocation_limit": 3.7}, 4),
        ({**CIRCULAR, "overallocation_limit": 3, "policy_allocation": "STRICT"}, 1),
        ({**CIRCULAR, "overallocation_limit": 3, "steps_number": 9}, 4),
    ],
)
def test_cycles_per_step(options, expected):
    assert cycles_per_step(WorkspaceConfiguration(**options)) == expected


def test_memory_outside_of_a_circle_lives_for_three_steps():
    assert [is_outlived(5, step) for step in (5, 6, 7, 8)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("options", "current_size", "max_cycle", "expected"),
    [
        ({"policy_spill": "REALLOCATE"}, 800, 808, True),
        ({"policy_spill": "REALLOCATE"}, 800, 800, False),
        ({"policy_spill": "REALLOCATE", "max_size": 1000}, 800, 900, True),
        ({"policy_spill": "REALLOCATE", "max_size": 1000}, 800, 1000, False),
        ({"policy_spill": "EXTERNAL"}, 800, 808, False),
        ({"policy_spill": "FAIL"}, 800, 808, False),
    ],
)
def test_may_grow(options, current_size, max_cycle, expected):
    assert may_grow(WorkspaceConfiguration(**options), current_size, max_cycle) is expected


OVER_TIME_3 = {"policy_learning": "OVER_TIME", "cycles_before_initialization": 3}


@pytest.mark.parametrize(
    ("options", "cycles", "current_size", "max_cycle", "expected"),
    [
        ({"policy_learning": "NONE", "policy_spill": "REALLOCATE"}, 1, 80, 800, False),
        ({"policy_learning": "FIRST_LOOP"}, 1, 0, 800, True),
        ({"policy_learning": "FIRST_LOOP"}, 1, 0, 0, False),
        ({"policy_learning": "FIRST_LOOP"}, 7, 0, 8, True),
        ({"policy_learning": "FIRST_LOOP"}, 2, 80, 800, False),
        ({"policy_learning": "FIRST_LOOP", "policy_spill": "REALLOCATE"}, 2, 80, 800, True),
        (OVER_TIME_3, 2, 0, 800, False),
        (OVER_TIME_3, 3, 0, 800, True),
        (OVER_TIME_3, 4, 0, 800, False),
        ({"policy_learning": "OVER_TIME"}, 1, 0, 800, False),
        ({"policy_learning": "OVER_TIME", "policy_spill": "REALLOCATE"}, 9, 80, 800, True),
    ],
)
def test_is_due(options, cycles, current_size, max_cycle, expected):
    assert is_due(WorkspaceConfiguration(**options), cycles, current_size, max_cycle) is expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"policy_learning": "OVER_TIME"}, True),
        ({"policy_learning": "OVER_TIME", "initial_size": 8}, False),
        (OVER_TIME_3, False),
        ({"policy_learning": "FIRST_LOOP"}, False),
        ({"policy_learning": "NONE"}, False),
    ],
)
def test_never_learns(options, expected):
    assert never_learns(WorkspaceConfiguration(**options)) is expected
