"""Inner scopes that give their bytes back."""

import re

import numpy as np
import pytest

from minidl import nd
from minidl.errors import ShapeError, StaleArrayError, WorkspaceError
from minidl.workspaces import Workspace, WorkspaceConfiguration, workspace_manager
from minidl.workspaces.thread_state import unwind_scopes

F8 = np.float64


def made(id="A", **options):
    return Workspace(WorkspaceConfiguration(**{"policy_allocation": "STRICT", "initial_size": 800, **options}), id)


def test_bytes_come_back_and_are_counted_once():
    with made() as workspace:
        workspace.create(5, F8)
        for _ in range(100):
            with workspace.scratch() as same:
                assert same is workspace
                workspace.create(10, F8)
                assert workspace.offset == 120
            assert workspace.offset == 40
    assert (workspace.last_cycle_allocations, workspace.total_spilled_size) == (120, 0)


def test_arrays_made_inside_become_stale_and_those_outside_stay():
    with made() as workspace:
        before = workspace.create(5, F8)
        with workspace.scratch():
            inside = workspace.create(5, F8)
            result = np.add(before, inside, out=before)
        after = workspace.create(5, F8)
        assert inside.base is not before.base is after.base
        assert result.sum() == after.sum() == 0
        with pytest.raises(StaleArrayError, match=re.escape("Op [add] X argument uses leaked workspace pointer")) as c:
            inside + 1
        assert c.value.code == "E1"


def test_stale_scratch_array_does_not_come_to_life_again():
    with made() as workspace:
        with workspace.scratch():
            first = workspace.create(5, F8)[1:]
        with workspace.scratch():
            second = workspace.create(5, F8)
            assert not first.base._alive
            assert second.base._alive


def test_nested_scratch():
    with made() as workspace:
        with workspace.scratch():
            outer = workspace.create(5, F8)
            with workspace.scratch():
                inner = workspace.create(5, F8)
            assert (outer.base._alive, inner.base._alive, workspace.offset) == (True, False, 40)
        assert (outer.base._alive, workspace.offset) == (False, 0)


def test_spilled_arrays_of_a_loop_are_freed_and_learned_once():
    workspace = made(initial_size=0, policy_spill="REALLOCATE")
    with workspace:
        workspace.create(5, F8)
        for _ in range(100):
            with workspace.scratch():
                workspace.create(10, F8)
                assert (workspace.spilled_size, workspace.spilled_count) == (120, 2)
            assert (workspace.spilled_size, workspace.spilled_count) == (40, 1)
    assert workspace.current_size == workspace.last_cycle_allocations == 120


def test_results_go_to_the_workspace_of_the_scratch():
    with made("OUTER") as outer, made("INNER"), outer.scratch():
        assert workspace_manager.current_workspace is outer
        assert outer.owns(nd.ones(3) * 2)


def test_array_from_outside_still_belongs_inside():
    with made() as workspace:
        array = workspace.create(5, F8)
        plain = workspace.allocate_plain((5,), np.dtype(F8))
        with workspace.scratch():
            workspace.create(5, F8)
            assert workspace.owns(array)
            assert workspace.owns(plain)


def with_failing_scratch(workspace):
    with workspace.scratch():
        workspace.create(5, F8)
        workspace.create(-1)


def test_exception_gives_the_bytes_back_too():
    with made() as workspace:
        with pytest.raises(ShapeError, match=re.escape("shape -1 in order 'C' does not make an array")):
            with_failing_scratch(workspace)
        assert workspace.offset == 0
        assert workspace_manager.current_workspace is workspace


def test_closed_workspace_has_no_scratch():
    message = "Workspace [A] is not open. Enter it first: `with workspace: ...`."
    with pytest.raises(WorkspaceError, match=re.escape(message)), made().scratch():
        pass


def test_scratch_that_is_not_innermost_cannot_be_left():
    with made() as workspace, made("B") as other:
        scratch = workspace.scratch()
        scratch.__enter__()
        with other.scratch():
            message = "Workspace [A] cannot be closed: it is not the current workspace in this thread"
            with pytest.raises(WorkspaceError, match=re.escape(message)):
                scratch.__exit__(None, None, None)
        scratch.__exit__(None, None, None)


def test_unwinding_leaves_scratch_scopes():
    with made() as workspace:
        workspace.create(5, F8)
        workspace.scratch().__enter__()
        workspace.create(5, F8)
        unwind_scopes(1)
        assert workspace.offset == 40


def test_entering_again_and_borrowing_inside():
    with made() as workspace, workspace.scratch():
        with workspace:
            array = workspace.create(5, F8)
        with workspace.notify_scope_borrowed():
            workspace.create(5, F8)
        assert array.base._alive
        assert workspace.offset == 80


@pytest.mark.parametrize("size", [800, 0])
def test_poison_shows_reads_after_the_scratch(monkeypatch, size):
    monkeypatch.setattr(Workspace, "poison_recycled_memory", True)
    with made(initial_size=size) as workspace:
        kept = workspace.create(5, F8)
        with workspace.scratch():
            plain = workspace.allocate_plain((10,), np.dtype(F8))
            plain[:] = 1.0
        assert np.isnan(plain).all()
        assert kept.sum() == 0


def test_leveraging_out_of_a_scratch():
    with made("OUTER") as outer, made() as workspace:
        with workspace.scratch():
            array = workspace.create(5, F8) + 1
            moved, copied = array.leverage(), array.detach()
        assert outer.owns(moved)
        assert moved.sum() == copied.sum() == 5
