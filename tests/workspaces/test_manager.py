"""The workspaces of a thread, by id."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import re
import threading

import pytest

from minidl.errors import ConfigurationError, WorkspaceError
from minidl.workspaces import Workspace, WorkspaceConfiguration, workspace_manager

STRICT_80 = WorkspaceConfiguration(initial_size=80, policy_allocation="STRICT", policy_learning="NONE")


def in_threads(count, work):
    """Run ``work`` in threads that are all alive at once, and return its results."""
    results, barrier = [], threading.Barrier(count)

    def run():
        results.append(work())
        barrier.wait()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_row_38_testMultithreading1():
    workspaces = in_threads(20, workspace_manager.get_workspace_for_current_thread)
    assert len({id(workspace) for workspace in workspaces}) == 20
    assert len({workspace.thread_id for workspace in workspaces}) == 20


def test_row_64_testNewWorkspace1():
    first = workspace_manager.get_workspace_for_current_thread()
    assert workspace_manager.get_workspace_for_current_thread() is first


def test_row_73_testWorkspaceGc_1():
    configuration = WorkspaceConfiguration(initial_size=1 << 20, policy_learning="NONE")

    def work():
        for _ in range(10):
            with workspace_manager.get_and_activate_workspace(configuration, "GC") as workspace:
                workspace.create(1000)[:] = 1.0
        return workspace.generation_id, workspace.spilled_count

    assert in_threads(10, work) == [(10, 0)] * 10


def test_configuration_of_a_known_id_is_ignored():
    first = workspace_manager.get_workspace_for_current_thread(STRICT_80, "A")
    assert workspace_manager.get_workspace_for_current_thread(WorkspaceConfiguration(), "A") is first
    assert workspace_manager.get_workspace_for_current_thread("A") is first
    assert first.current_size == 80


def test_default_configuration_is_for_workspaces_without_one(monkeypatch):
    monkeypatch.setattr(workspace_manager, "default_configuration", STRICT_80)
    assert workspace_manager.get_workspace_for_current_thread("A").current_size == 80


def test_new_workspace_takes_the_place_of_the_old_one():
    first = workspace_manager.get_workspace_for_current_thread(STRICT_80, "A")
    second = workspace_manager.create_new_workspace(STRICT_80, "A")
    assert workspace_manager.get_workspace_for_current_thread("A") is second is not first
    assert not first.is_destroyed


def test_ids_are_made_up_for_workspaces_without_one():
    ids = {workspace_manager.create_new_workspace().id for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch(r"Workspace_\d+", id) for id in ids)
    assert set(workspace_manager.get_all_workspaces_ids_for_current_thread()) == ids


def test_workspace_is_found_under_the_id_it_is_set_to():
    workspace = Workspace(STRICT_80, "A")
    workspace_manager.set_workspace_for_current_thread(workspace)
    workspace_manager.set_workspace_for_current_thread(workspace, "B")
    assert workspace_manager.get_workspace_for_current_thread("A") is workspace
    assert workspace_manager.get_workspace_for_current_thread("B") is workspace
    workspace_manager.destroy_workspace(workspace)
    assert workspace_manager.get_all_workspaces_for_current_thread() == []


def test_existing_and_active_are_told_apart():
    assert not workspace_manager.check_if_workspace_exists("A")
    assert not workspace_manager.check_if_workspace_exists_and_active("A")
    with workspace_manager.get_and_activate_workspace(STRICT_80, "A"):
        assert workspace_manager.check_if_workspace_exists_and_active("A")
        assert workspace_manager.any_workspace_active_for_current_thread()
    assert workspace_manager.check_if_workspace_exists("A")
    assert not workspace_manager.check_if_workspace_exists_and_active("A")
    assert not workspace_manager.any_workspace_active_for_current_thread()


def test_destroyed_id_gives_a_fresh_workspace():
    first = workspace_manager.get_workspace_for_current_thread(STRICT_80, "A")
    first.destroy()
    assert not workspace_manager.check_if_workspace_exists("A")
    message = "Workspace [A] was destroyed. Ask the workspace_manager for the id again to get a new one."
    with pytest.raises(WorkspaceError, match=re.escape(message)):
        first.notify_scope_entered()
    with workspace_manager.get_and_activate_workspace(STRICT_80, "A") as second:
        assert second is not first
        assert second.current_size == 80


def test_destroying_without_argument_destroys_the_default_one():
    workspace = workspace_manager.get_workspace_for_current_thread()
    workspace_manager.destroy_workspace()
    assert workspace.is_destroyed
    assert workspace_manager.get_all_workspaces_for_current_thread() == []
    workspace_manager.destroy_workspace()  # there is none now, which is fine


def test_destroying_all_destroys_none_while_one_is_open():
    closed = workspace_manager.get_workspace_for_current_thread(STRICT_80, "A")
    message = "workspaces cannot be destroyed while one is open: close its scope first - Open/active workspaces: ['B']"
    with workspace_manager.get_and_activate_workspace(STRICT_80, "B") as opened:
        with pytest.raises(WorkspaceError, match=re.escape(message)):
            workspace_manager.destroy_all_workspaces_for_current_thread()
        assert not closed.is_destroyed
    workspace_manager.destroy_all_workspaces_for_current_thread()
    assert closed.is_destroyed
    assert opened.is_destroyed


def test_assert_no_workspaces_open():
    workspace_manager.assert_no_workspaces_open("here")
    with workspace_manager.get_and_activate_workspace(STRICT_80, "A"), workspace_manager.scope_out_of_workspaces():
        workspace_manager.assert_no_workspaces_open("here", allow_scoped_out=True)
        with pytest.raises(WorkspaceError, match=re.escape("here - Open/active workspaces: ['A']")) as caught:
            workspace_manager.assert_no_workspaces_open("here")
    assert caught.value.code == "E12"


def test_assert_open_active_and_current():
    not_open = re.escape("here - workspace is not open and active")
    not_current = re.escape("here - not the current workspace (current workspace: B)")
    with pytest.raises(WorkspaceError, match=not_open):
        workspace_manager.assert_open_and_active("A", "here")
    with workspace_manager.get_and_activate_workspace(STRICT_80, "A"):
        workspace_manager.assert_open_active_and_current("A", "here")
        with workspace_manager.get_and_activate_workspace(STRICT_80, "B"):
            workspace_manager.assert_open_and_active("A", "here")
            with pytest.raises(WorkspaceError, match=not_current) as caught:
                workspace_manager.assert_open_active_and_current("A", "here")
    assert caught.value.code == "E13"


def test_only_a_configuration_configures():
    message = (
        "a workspace is made from a WorkspaceConfiguration, got 80. "
        "Pass Workspace(WorkspaceConfiguration(initial_size=...), id)."
    )
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        workspace_manager.create_new_workspace(80, "A")


def test_poison_switch_is_one_for_the_process(monkeypatch):
    monkeypatch.setattr(Workspace, "poison_recycled_memory", False)
    workspace_manager.poison_recycled_memory = True
    assert Workspace.poison_recycled_memory
    assert workspace_manager.poison_recycled_memory
