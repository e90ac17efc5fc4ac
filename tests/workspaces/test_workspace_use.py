"""Switching a workspace off, tagging a scope, and where a scope returns to."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minidl.errors import ConfigurationError, StaleArrayError, WorkspaceError
from minidl.workspaces import Workspace, WorkspaceConfiguration, workspace_manager

F8 = np.float64


def made(id="A", **options):
    return Workspace(WorkspaceConfiguration(**{"policy_allocation": "STRICT", **options}), id)


def test_row_20_testToggle1():
    workspace = made()
    with workspace:
        workspace.create(100, F8)
        workspace.toggle_workspace_use(False)
        off = workspace.create(100, F8)
        assert off.is_attached
        assert (workspace.spilled_size, workspace.spilled_count, workspace.this_cycle_allocations) == (800, 1, 800)
        workspace.toggle_workspace_use(True)
        workspace.create(100, F8)
    assert workspace.current_size == 1600
    with workspace:
        workspace.create(100, F8)
        assert workspace.offset == 800
        workspace.create(100, F8)
        assert workspace.offset == 1600
    assert not off.base._alive


@pytest.mark.parametrize("reset", ["BLOCK_LEFT", "ENDOFBUFFER_REACHED"])
def test_switched_off_workspace_counts_nothing_and_owns_its_arrays(reset):
    workspace = made(initial_size=800, policy_learning="NONE", policy_reset=reset)
    with workspace:
        workspace.toggle_workspace_use(False)
        array, plain = workspace.create(10, F8), workspace.allocate_plain((10,), np.dtype(F8))
        assert workspace.owns(array)
        assert workspace.owns(plain)
        assert (workspace.offset, workspace.spilled_size, workspace.total_spilled_size) == (0, 0, 0)
        workspace.toggle_workspace_use(True)
        workspace.create(10, F8)
        assert workspace.offset == 80
    assert workspace.last_cycle_allocations == 80


@pytest.mark.parametrize("reset", ["BLOCK_LEFT", "ENDOFBUFFER_REACHED"])
def test_left_off_it_is_switched_on_with_a_warning(reset, caplog):
    workspace = made(initial_size=800, policy_reset=reset)
    with caplog.at_level(logging.WARNING), workspace:
        workspace.toggle_workspace_use(False)
    assert [record.getMessage() for record in caplog.records] == [
        "workspace [A] was closed while toggle_workspace_use(False) kept its arrays outside; it is switched on."
    ]
    with workspace:
        workspace.create(10, F8)
        assert workspace.offset == 80


def test_every_tenth_array_outside_is_logged(caplog):
    with caplog.at_level(logging.WARNING), made(initial_size=800) as workspace:
        workspace.toggle_workspace_use(False)
        for _ in range(25):
            workspace.create(1)
        workspace.toggle_workspace_use(True)
    assert [record.getMessage() for record in caplog.records] == [
        f"workspace [A]: {number} arrays were made outside of it since toggle_workspace_use(False)."
        for number in (10, 20)
    ]


def test_switched_off_workspace_neither_fails_nor_hits_its_limits():
    with made(initial_size=80, policy_spill="FAIL", max_bytes=80) as workspace:
        workspace.cap()
        workspace.toggle_workspace_use(False)
        assert workspace.create(100).sum() == 0
        workspace.toggle_workspace_use(True)


# Scopes


def test_tagged_scope_survives_one_close():
    workspace = made(initial_size=800)
    with workspace:
        workspace.create(10, F8)
        assert workspace.tag_out_of_scope_use() is workspace
        workspace.close()
        assert workspace.is_scope_active
        assert workspace_manager.current_workspace is workspace
        assert workspace.offset == 80
    assert not workspace.is_scope_active
    assert workspace.cycles_count == 1


def test_closed_workspace_is_not_tagged():
    with pytest.raises(WorkspaceError, match=re.escape("Workspace [A] is not open. Enter it first")) as caught:
        made().tag_out_of_scope_use()
    assert caught.value.code == "E15"


def test_scope_returns_to_the_workspace_that_was_set():
    first, second, third = made("1"), made("2"), made("3")
    with first, second:
        with third:
            assert third.parent_workspace is second
            third.set_previous_workspace(first)
            assert third.parent_workspace is first
        assert third.cycles_count == 1
        assert workspace_manager.current_workspace is first
        with third:
            third.set_previous_workspace(None)
        assert workspace_manager.current_workspace is None
    assert workspace_manager.current_workspace is None


def test_redirection_lasts_for_one_scope_and_the_last_one_wins():
    first, second, third = made("1"), made("2"), made("3")
    with first, second:
        with third:
            third.set_previous_workspace(None)
            third.set_previous_workspace(first)
        with third:
            pass
        assert workspace_manager.current_workspace is second


def test_workspace_that_is_closed_by_then_is_not_returned_to():
    first, second = made("1"), made("2")
    with first:
        with second:
            second.set_previous_workspace(made("3"))
        assert workspace_manager.current_workspace is first


def test_previous_workspace_of_a_closed_scope():
    with pytest.raises(WorkspaceError, match=re.escape("Workspace [A] is not open. Enter it first")):
        made().set_previous_workspace(None)


def test_another_thread_may_read_an_array_but_not_allocate_in_an_open_workspace():
    message = (
        r"^Workspace \[W\] is open in another thread, and only that one may allocate in it\. Enter a workspace in this "
        r"thread: the same id is another workspace in each\.$"
    )
    with Workspace(WorkspaceConfiguration(initial_size=1000), "W") as workspace, ThreadPoolExecutor(1) as pool:
        array = workspace.create(3)
        assert pool.submit(np.add, array, 1).result().tolist() == [1, 1, 1]
        with pytest.raises(WorkspaceError, match=message):
            pool.submit(workspace.create, 3).result()
        assert workspace.offset == 16


def test_a_workspace_made_in_one_thread_may_be_used_in_another():
    workspace = Workspace(WorkspaceConfiguration(initial_size=1000), "W")

    def use():
        with workspace:
            return workspace.create(3).tolist()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(use).result() == [0, 0, 0]


def test_a_buffer_that_is_replaced_forgets_what_was_moved_into_the_closed_workspace():
    target = workspace_manager.get_workspace_for_current_thread(WorkspaceConfiguration(initial_size=1000), "TARGET")
    with Workspace(WorkspaceConfiguration(initial_size=1000), "SOURCE") as source:
        array = source.create(100) + 3
        array.leverage_to("TARGET")
        target.resize(4000)
        moved = array.leverage_to("TARGET")
        assert target.offset == 400
        with pytest.raises(StaleArrayError, match="TARGET"):
            moved + 1
        target.destroy()
        assert array.leverage_to("TARGET") is array


def test_another_thread_can_neither_borrow_nor_scratch():
    message = r"^Workspace \[W\] is open in another thread, and only that one may allocate in it\."
    with Workspace(WorkspaceConfiguration(initial_size=1000), "W") as workspace, ThreadPoolExecutor(1) as pool:
        for attempt in (workspace.notify_scope_borrowed, workspace.scratch().__enter__):
            with pytest.raises(WorkspaceError, match=message):
                pool.submit(attempt).result()
        with workspace.scratch(), workspace.notify_scope_borrowed():
            assert workspace.create(3).sum() == 0


@pytest.mark.parametrize("id", [5, "", b"W"])
def test_an_id_is_text(id):
    message = f'id={id!r} is not a name for a workspace. Use text, such as "LOOP".'
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        Workspace(id=id)


def test_scopes_that_an_interruption_left_open_can_be_closed():
    outer, inner = (
        workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=1000), id) for id in "OI"
    )
    array = inner.create(3)
    inner.scratch().__enter__()
    outer.notify_scope_borrowed()
    workspace_manager.scope_out_of_workspaces()
    workspace_manager.close_all_scopes_for_current_thread()
    assert not workspace_manager.any_workspace_active_for_current_thread()
    assert workspace_manager.current_workspace is None
    with pytest.raises(StaleArrayError, match="no longer open"):
        array + 1
    with outer, inner, outer.notify_scope_borrowed():
        assert (outer.create(3) + 1).tolist() == [1, 1, 1]


def test_an_array_of_a_ring_is_in_scope_as_long_as_it_is_valid():
    ring = Workspace(
        WorkspaceConfiguration(
            initial_size=800,
            policy_reset="ENDOFBUFFER_REACHED",
            policy_allocation="STRICT",
            policy_learning="NONE",
        ),
        "RING",
    )
    with ring:
        array = ring.create(100, F8)
    assert array.in_scope
    with ring:
        ring.create(100, F8)
    assert not array.in_scope
