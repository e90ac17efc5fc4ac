"""Workspaces of all threads, and that nothing of them is left behind."""

import contextlib
import gc
import threading

import numpy as np
import psutil
import pytest

from minidl.workspaces import Workspace, WorkspaceConfiguration, live_workspaces, workspace_manager

MIB = 1 << 20
CONFIGURATION = WorkspaceConfiguration(initial_size=MIB, policy_allocation="STRICT", policy_learning="NONE")
LEARNING = WorkspaceConfiguration(policy_spill="REALLOCATE")


@pytest.fixture
def before():
    """Return the workspaces that other tests of this process left alive."""
    gc.collect()
    return live_workspaces()


@pytest.fixture
def _no_collector():
    gc.disable()
    yield
    gc.enable()


def resident():
    return psutil.Process().memory_info().rss


def run(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def new(before):
    return {workspace.id for workspace in live_workspaces() if workspace not in before}


def test_a_workspace_lives_until_it_is_destroyed_or_dropped(before):
    kept = workspace_manager.create_new_workspace(CONFIGURATION, "KEPT")
    workspace_manager.create_new_workspace(CONFIGURATION, "REPLACED")
    workspace_manager.create_new_workspace(CONFIGURATION, "REPLACED")
    assert new(before) == {"KEPT", "REPLACED"}
    assert len(live_workspaces()) == len(before) + 2
    workspace_manager.destroy_workspace(kept)
    assert new(before) == {"REPLACED"}
    workspace_manager.destroy_all_workspaces_for_current_thread()
    assert new(before) == set()


def test_those_of_other_threads_are_found_while_these_live(before):
    def work():
        workspace_manager.get_workspace_for_current_thread(CONFIGURATION, "OTHER")
        found.append(new(before))

    found = []
    run(work)
    assert found == [{"OTHER"}]
    assert new(before) == set()


def test_a_workspace_without_manager_is_found(before):
    workspace = Workspace(CONFIGURATION, "OWN")
    assert new(before) == {"OWN"}
    del workspace
    assert new(before) == set()


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("configuration", [CONFIGURATION, LEARNING], ids=["fixed", "learning"])
def test_a_thousand_short_threads_leave_nothing(before, configuration):
    def work():
        for _ in range(2):
            with workspace_manager.get_and_activate_workspace(configuration, "SHORT") as workspace:
                array = workspace.create_uninitialized(MIB // 4)
                array.fill(1)
                np.add(array[:10], 1.0)

    for _ in range(20):
        run(work)
    resident_before = resident()
    for _ in range(1000):
        run(work)
    assert new(before) == set()
    assert resident() - resident_before < 16 * MIB  # what they touched is 1 GB


def test_threads_that_end_with_an_exception_in_a_scope_leave_nothing(before):
    def work():
        with (
            contextlib.suppress(ZeroDivisionError),
            workspace_manager.get_and_activate_workspace(CONFIGURATION, "SHORT") as workspace,
        ):
            workspace.create(10)
            _ = 1 / 0

    for _ in range(3):
        run(work)
    assert new(before) == set()


def test_a_gigabyte_comes_and_goes_a_hundred_times():
    gigabyte = WorkspaceConfiguration(initial_size=1 << 30, policy_allocation="STRICT", policy_learning="NONE")
    start, most = resident(), 0
    for _ in range(100):
        with workspace_manager.get_and_activate_workspace(gigabyte, "LARGE") as workspace:
            array = workspace.create_uninitialized((1 << 30,), np.uint8)
            array[:: 256 * MIB] = 1  # one page, huge or not, in each quarter
            most = max(most, resident() - start)
        workspace_manager.destroy_workspace(workspace)
    assert most < 32 * MIB
    assert resident() - start < 16 * MIB


def test_destroying_all_collects_garbage_once(monkeypatch):
    calls = []
    monkeypatch.setattr(gc, "collect", lambda: calls.append(1))
    for id in "AB":
        workspace_manager.get_workspace_for_current_thread(CONFIGURATION, id)
    workspace_manager.destroy_all_workspaces_for_current_thread()
    assert calls == [1]
    workspace_manager.destroy_all_workspaces_for_current_thread()  # there is none left
    assert calls == [1]
