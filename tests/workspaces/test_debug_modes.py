"""Debug modes of the process: everything on the heap, or no workspaces at all. Rows are those of workspaces.md."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import re

import numpy as np
import pytest
from networks import data, data_for, in_new_thread, network, workspace_sizes

from minidl import nd
from minidl.errors import ConfigurationError, WorkspaceError
from minidl.workspaces import (
    DebugMode,
    DummyWorkspace,
    Workspace,
    WorkspaceArray,
    WorkspaceConfiguration,
    workspace_manager,
)

F8 = np.float64
MIB = 1 << 20
TEN_MIB = WorkspaceConfiguration(initial_size=10 * MIB, policy_allocation="STRICT")
SPILL, BYPASS = DebugMode.SPILL_EVERYTHING, DebugMode.BYPASS_EVERYTHING


@pytest.fixture(autouse=True)
def _disabled_afterwards():
    yield
    workspace_manager.debug_mode = None


def test_row_32_testDebugMode_1():
    assert workspace_manager.debug_mode is DebugMode.DISABLED
    for mode in DebugMode:
        workspace_manager.debug_mode = mode
        assert workspace_manager.debug_mode is mode
        workspace_manager.debug_mode = mode.name.lower()
        assert workspace_manager.debug_mode is mode
    workspace_manager.debug_mode = None
    assert workspace_manager.debug_mode is DebugMode.DISABLED


def test_row_33_testSpillMode_1():
    workspace_manager.debug_mode = SPILL
    with workspace_manager.get_and_activate_workspace(TEN_MIB, "R") as workspace:
        assert (workspace.current_size, workspace.offset) == (10_485_760, 0)
        array = nd.zeros((10, 10), F8)
        assert array.is_attached
        assert (workspace.offset, workspace.spilled_size) == (0, 800)
    assert workspace.offset == 0


def test_row_34_testSpillMode_2():
    workspace_manager.debug_mode = SPILL
    configuration = WorkspaceConfiguration(max_size=10 * MIB, policy_spill="REALLOCATE")
    with workspace_manager.get_and_activate_workspace(configuration, "R") as workspace:
        assert nd.zeros((10, 10), F8).is_attached
        assert (workspace.current_size, workspace.offset, workspace.spilled_size) == (0, 0, 800)
    with workspace:
        assert (workspace.current_size, workspace.spilled_size) == (0, 0)


def test_row_35_testBypassMode_1():
    workspace_manager.debug_mode = BYPASS
    with workspace_manager.get_and_activate_workspace(TEN_MIB, "R") as workspace:
        assert isinstance(workspace, DummyWorkspace)
        for array in (nd.zeros(10), workspace.create(10), workspace.create_uninitialized((2, 3), F8)):
            assert not nd.is_attached(array)
            assert not nd.is_attached(array + 1)


def test_unknown_mode():
    message = "debug_mode='off' is not known. Choose one of: DISABLED, SPILL_EVERYTHING, BYPASS_EVERYTHING."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        workspace_manager.debug_mode = "off"


# SPILL_EVERYTHING


def test_spilling_starts_and_ends_with_the_mode_also_for_kept_views():
    workspace = Workspace(TEN_MIB, "A")
    counts = []
    for mode in (None, SPILL, None):
        workspace_manager.debug_mode = mode
        with workspace:
            plain = workspace.allocate_plain((10,), np.dtype(F8))
            array = workspace.create(10, F8)
            assert workspace.owns(plain)
            assert workspace.owns(array)
            counts.append((workspace.spilled_count, workspace.offset))
    assert counts == [(0, 160), (2, 0), (0, 160)]


def test_the_mode_reaches_workspaces_that_exist():
    workspaces = [Workspace(TEN_MIB, "A"), workspace_manager.create_new_workspace(TEN_MIB, "B")]
    workspace_manager.debug_mode = SPILL
    for workspace in [*workspaces, Workspace(TEN_MIB, "C")]:
        with workspace:
            workspace.create(10, F8)
            assert workspace.spilled_size == 80


def test_nothing_is_learned_while_everything_is_spilled():
    workspace = Workspace(WorkspaceConfiguration(policy_spill="REALLOCATE", policy_allocation="STRICT"), "A")
    workspace_manager.debug_mode = SPILL
    with workspace:
        workspace.create(10, F8)
    assert (workspace.current_size, workspace.max_cycle_allocations) == (0, 80)
    workspace_manager.debug_mode = None
    with workspace:
        workspace.create(5, F8)
    assert workspace.current_size == 80


# BYPASS_EVERYTHING


def test_workspaces_that_exist_keep_working():
    existing = workspace_manager.create_new_workspace(TEN_MIB, "A")
    workspace_manager.debug_mode = BYPASS
    with workspace_manager.get_and_activate_workspace(TEN_MIB, "A") as workspace:
        assert workspace is existing
        assert nd.zeros(3).is_attached


def test_bypassed_workspace_scopes_out_the_one_around_it():
    with Workspace(TEN_MIB, "A") as outer:
        workspace_manager.debug_mode = BYPASS
        with workspace_manager.get_and_activate_workspace(TEN_MIB, "B") as bypassed:
            assert workspace_manager.current_workspace is None
            assert not nd.is_attached(nd.zeros(3))
            with bypassed, bypassed.scratch(), bypassed.notify_scope_borrowed():
                assert workspace_manager.current_workspace is None
            assert bypassed.is_scope_active
        assert not bypassed.is_scope_active
        assert workspace_manager.current_workspace is outer


def test_real_workspace_takes_the_place_of_a_bypassed_one_after_the_mode():
    workspace_manager.debug_mode = BYPASS
    bypassed = workspace_manager.get_workspace_for_current_thread(TEN_MIB, "A")
    assert workspace_manager.get_workspace_for_current_thread("A") is bypassed
    assert workspace_manager.allocation_statistics_for_current_thread() == []
    workspace_manager.debug_mode = None
    assert not workspace_manager.check_if_workspace_exists("A")
    assert type(workspace_manager.get_workspace_for_current_thread(TEN_MIB, "A")) is Workspace


def test_code_for_workspaces_runs_on_bypassed_ones():
    workspace_manager.debug_mode = BYPASS
    workspace = workspace_manager.create_new_workspace(TEN_MIB, "A")
    numbers = [name for name in dir(Workspace) if isinstance(getattr(Workspace, name), property)]
    for name in [*numbers, "current_size", "generation_id", "spilled_count"]:
        if name != "memory":
            assert hasattr(workspace, name), name
    workspace.cap()
    workspace.initialize_workspace()
    with workspace:
        array = workspace.create((2, 2))
        assert type(array) is WorkspaceArray
        assert np.add(array, 1.0).sum() == 4
    workspace.destroy()
    workspace_manager.destroy_all_workspaces_for_current_thread()


def test_bypassed_scopes_close_in_order():
    workspace_manager.debug_mode = BYPASS
    workspace = workspace_manager.create_new_workspace(TEN_MIB, "A")
    message = "Workspace [A] (bypassed) cannot be closed: it is not the innermost scope in this thread."
    refused = pytest.raises(WorkspaceError, match=re.escape(message))
    with workspace, workspace_manager.scope_out_of_workspaces(), refused:
        workspace.close()
    with pytest.raises(WorkspaceError, match=re.escape(message)):
        workspace.close()


# Networks


@pytest.mark.parametrize("name", ["two layers", "dropout", "custom layers", "custom activation"])
@pytest.mark.parametrize("mode", [SPILL, BYPASS])
def test_networks_compute_the_same_in_every_mode(mode, name):
    def scores():
        model = network(name)
        x, y = data_for(name)
        for _ in range(3):
            model.fit(x, y)
        return model.output(x)

    results = []
    for debug_mode in (None, mode, None):
        workspace_manager.debug_mode = debug_mode
        results.append(in_new_thread(scores))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_network_returns_to_its_workspaces():
    def sizes():
        model, (x, y) = network(), data()
        found = []
        for debug_mode in (BYPASS, None):
            workspace_manager.debug_mode = debug_mode
            model.fit(x, y)
            found.append(bool(workspace_sizes()))
        return found

    assert in_new_thread(sizes) == [False, True]
