"""Limits that a user sets: cap(), max_bytes, shrink(), reset_learning()."""

import re

import numpy as np
import pytest

from minidl.errors import ConfigurationError, WorkspaceError, WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceConfiguration, WorkspaceMgr, workspace_manager
from minidl.workspaces.array_type import ArrayType

F8 = np.float64
CIRCULAR = {"policy_reset": "ENDOFBUFFER_REACHED"}


def made(**options):
    return Workspace(WorkspaceConfiguration(**{"policy_allocation": "STRICT", **options}), "A")


def cycle(workspace, *sizes):
    with workspace:
        return [workspace.create(size, np.uint8) for size in sizes]


def here(function):
    """Return the start of what errors call a line of ``function`` in this file."""
    return f"{function.__code__.co_filename}:"


# cap


def one_too_many(workspace):
    workspace.create(20, F8)


def test_capped_workspace_names_the_place_that_asked():
    workspace = made(policy_spill="REALLOCATE")
    cycle(workspace, 80)
    workspace.cap()
    cycle(workspace, 80)
    line = one_too_many.__code__.co_firstlineno + 1
    message = (
        f"Can't allocate memory: Workspace is full and capped: the array was asked for by {here(one_too_many)}{line}, "
        "in one_too_many. Workspace [A] was asked for 160 bytes (shape (20,), float64) and has 80 of 80 left. Run its "
        "largest cycle before cap(), or lift that with cap(False)."
    )
    with workspace, pytest.raises(WorkspaceFullError, match=re.escape(message)) as caught:
        one_too_many(workspace)
    assert caught.value.code == "E5"
    assert (workspace.current_size, workspace.max_cycle_allocations, workspace.total_spilled_size) == (80, 80, 80)


def test_place_is_the_users_also_through_numpy_and_minidl():
    def compute(array):
        return np.mean(np.tanh(array) @ array.T, axis=0)

    workspace = made(initial_size=80)
    workspace.cap()
    with workspace:
        array = workspace.create((1, 10))
        with pytest.raises(WorkspaceFullError, match=re.escape(here(compute)) + r"\d+, in compute\."):
            compute(array)
        manager = WorkspaceMgr(default=("A", workspace.configuration))
        workspace_manager.set_workspace_for_current_thread(workspace)
        with pytest.raises(WorkspaceFullError, match=re.escape("test_limits.py") + r":\d+, in test_place_is_the_users"):
            manager.create(ArrayType.INPUT, (100,))


def test_cap_is_lifted():
    workspace = made(initial_size=80, policy_spill="REALLOCATE")
    workspace.cap()
    assert workspace.is_capped
    workspace.cap(False)
    cycle(workspace, 160)
    assert workspace.current_size == 160
    assert not workspace.is_capped


def test_capped_workspace_does_not_grow_by_other_means():
    workspace = made(initial_size=80)
    workspace.cap()
    message = "Can't allocate memory: a buffer of 88 bytes was asked for by "
    end = (
        ", in test_capped_workspace_does_not_grow_by_other_means, but it was capped at 80: Workspace [A]. Make it "
        "large enough before cap(), or call cap(False)."
    )
    with pytest.raises(WorkspaceFullError, match=re.escape(message) + ".*" + re.escape(end)):
        workspace.resize(88)
    workspace.resize(40)
    assert workspace.current_size == 40


def test_capped_circular_workspace_neither_pins_nor_spills():
    workspace = made(**CIRCULAR, policy_spill="REALLOCATE")
    cycle(workspace, 80)
    workspace.cap()
    for _ in range(5):
        cycle(workspace, 80)
    with workspace:
        workspace.create(80, np.uint8)
        with pytest.raises(WorkspaceFullError, match=re.escape("Workspace is full and capped")):
            workspace.create(80, np.uint8)
    assert workspace.pinned_count == 0


# max_bytes


def test_max_bytes_bounds_buffer_and_spilled_arrays_together():
    with made(initial_size=80, max_bytes=200) as workspace:
        workspace.create(10, F8)
        workspace.create(10, F8)
        message = (
            "Can't allocate memory: Workspace is full: it holds 160 of max_bytes=200, spilled and pinned arrays "
            "included. Workspace [A] was asked for 48 bytes (shape (6,), float64) and has 0 of 80 left. Raise "
            "max_bytes to at least 208, or ask for less."
        )
        with pytest.raises(WorkspaceFullError, match=re.escape(message)) as caught:
            workspace.create(6, F8)
        assert caught.value.code == "E5"
        assert (workspace.spilled_size, workspace.spilled_count, workspace.this_cycle_allocations) == (80, 1, 160)
        workspace.create(5, F8)


def test_learned_buffer_and_its_margin_stay_below_max_bytes():
    workspace = made(policy_allocation="OVERALLOCATE", overallocation_limit=1.0, max_bytes=1000)
    cycle(workspace, 800)
    assert workspace.current_size == 1000
    assert made(policy_allocation="OVERALLOCATE", initial_size=800, max_bytes=900).current_size == 900


def test_max_bytes_of_a_circular_workspace_leaves_room_for_what_is_spilled():
    workspace = made(**CIRCULAR, policy_allocation="OVERALLOCATE", overallocation_limit=3, max_bytes=2000)
    for _ in range(20):
        cycle(workspace, 200, 160)
        assert workspace.current_size + workspace.spilled_size + workspace.pinned_size <= 2000
    with workspace, pytest.raises(WorkspaceFullError, match=re.escape("of max_bytes=2000, spilled and pinned")):
        workspace.create(2000, np.uint8)


def test_max_bytes_of_the_workspace_is_set_at_any_time():
    workspace = made(initial_size=80)
    assert workspace.max_bytes == 0
    workspace.max_bytes = 100
    with workspace, pytest.raises(WorkspaceFullError, match=re.escape("it holds 80 of max_bytes=100")):
        workspace.create(96, np.uint8)
    with pytest.raises(WorkspaceFullError, match=re.escape("but max_bytes=100: Workspace [A]. Raise max_bytes.")):
        workspace.resize(104)
    with pytest.raises(ConfigurationError, match=re.escape("max_bytes=-1 is not a whole number of at least 0.")):
        workspace.max_bytes = -1


def test_growing_takes_room_for_the_old_buffer_and_what_does_not_fit_it():
    workspace = made(policy_spill="REALLOCATE", max_bytes=1200)
    for size in (80, 400, 800):
        cycle(workspace, size)
        assert workspace.current_size == size
    with workspace:
        workspace.create(800, np.uint8)
        with pytest.raises(WorkspaceFullError, match=re.escape("Raise max_bytes to at least 1208, or ask for less.")):
            workspace.create(408, np.uint8)


# shrink


def test_shrinking_to_the_last_cycle():
    workspace = made(policy_spill="REALLOCATE")
    for size in (80, 8000, 160):
        cycle(workspace, size)
    assert workspace.current_size == 8000
    workspace.shrink()
    assert (workspace.current_size, workspace.max_cycle_allocations, workspace.initial_block_size) == (160,) * 3
    cycle(workspace, 400)
    assert workspace.current_size == 400


def test_shrinking_to_the_largest_cycle_and_to_a_size():
    workspace = made(initial_size=8000)
    cycle(workspace, 400)
    cycle(workspace, 80)
    workspace.shrink(workspace.max_cycle_allocations)
    assert workspace.current_size == 400
    workspace.shrink(16)
    assert workspace.current_size == 16


def test_shrinking_never_grows_and_keeps_the_minimum():
    workspace = made(initial_size=800, min_size=400)
    workspace.shrink()
    workspace.shrink(8000)
    assert workspace.current_size == 800
    workspace.shrink(80)
    assert workspace.current_size == 400


def test_shrinking_a_circular_workspace_makes_new_blocks():
    workspace = made(**CIRCULAR, policy_allocation="OVERALLOCATE", overallocation_limit=3)
    cycle(workspace, 8000)
    cycle(workspace, 80)
    workspace.shrink()
    assert (workspace.initial_block_size, workspace.current_size, workspace.offset) == (112, 448, 0)
    workspace.shrink(8000)
    assert workspace.current_size == 448


@pytest.mark.parametrize("method", ["shrink", "reset_learning"])
@pytest.mark.parametrize("reset", ["BLOCK_LEFT", "ENDOFBUFFER_REACHED"])
def test_open_and_destroyed_workspaces_are_left_alone(method, reset):
    workspace = made(initial_size=80, policy_reset=reset)
    with workspace, pytest.raises(WorkspaceError, match=re.escape("Workspace [A] is open: its buffer cannot be")):
        getattr(workspace, method)()
    workspace.destroy()
    with pytest.raises(WorkspaceError, match=re.escape("Workspace [A] was destroyed.")):
        getattr(workspace, method)()


# reset_learning


def test_learning_starts_again():
    workspace = made(policy_learning="OVER_TIME", cycles_before_initialization=2)
    sizes = []
    for _ in range(2):
        for _ in range(3):
            cycle(workspace, 80)
            sizes.append(workspace.current_size)
        workspace.cap()
        workspace.reset_learning()
        assert (workspace.cycles_count, workspace.max_cycle_allocations, workspace.initial_block_size) == (0, 0, 0)
    assert sizes == [0, 80, 80] * 2
    assert workspace.generation_id == 6


def test_margin_is_given_again():
    workspace = made(policy_allocation="OVERALLOCATE", overallocation_limit=1.0)
    for size in (80, 800):
        cycle(workspace, size)
        assert workspace.current_size == 2 * size
        workspace.reset_learning()
        assert workspace.current_size == 0


def test_fixed_size_comes_back():
    workspace = made(initial_size=80, policy_spill="REALLOCATE")
    cycle(workspace, 800)
    workspace.reset_learning()
    assert workspace.current_size == 80


def test_views_of_an_older_buffer_are_forgotten():
    """The owner of a loop may hand back the views that it kept."""
    workspace = made(initial_size=800)
    with workspace:
        workspace.allocate_plain((10,), np.dtype(F8))
    kept = workspace.views
    workspace.shrink()
    workspace.views = kept
    with workspace:
        assert workspace.owns(workspace.allocate_plain((10,), np.dtype(F8)))


def test_an_error_in_the_scope_is_not_replaced_by_one_of_learning():
    workspace = Workspace(WorkspaceConfiguration(), "W")

    def use():
        with workspace:
            workspace.create(100)
            workspace.cap()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        use()
    assert not workspace.is_scope_active


def test_a_margin_is_not_lost_when_a_cap_forbade_to_grow():
    workspace = Workspace(WorkspaceConfiguration(), "W")
    workspace.notify_scope_entered()
    workspace.create(100)
    workspace.cap()
    with pytest.raises(WorkspaceFullError, match=r"^Can't"):
        workspace.close()
    workspace.cap(False)
    with workspace:
        workspace.create(100)
    assert workspace.current_size == 520


@pytest.mark.parametrize("size", [-1, 10.5, "a", None])
def test_a_bad_size_leaves_the_buffer_alone(size):
    workspace = Workspace(WorkspaceConfiguration(initial_size=1000, policy_allocation="STRICT"), "W")
    with pytest.raises(ConfigurationError, match=f"^size={size!r} is not a whole number of at least 0\\.$"):
        workspace.resize(size)
    assert workspace.current_size == 1000


def test_memory_that_the_system_does_not_have():
    message = "Can't allocate memory: Workspace [W] was asked for 70368744177664 bytes beyond its buffer of 1000, which"
    with Workspace(WorkspaceConfiguration(initial_size=1000, policy_allocation="STRICT"), "W") as workspace:
        with pytest.raises(WorkspaceFullError, match=re.escape(message)):
            workspace.create(1 << 44)
        assert workspace.offset == 0
