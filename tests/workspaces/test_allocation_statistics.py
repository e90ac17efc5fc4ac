"""What the workspaces of a thread hold, as rows and as text."""

import numpy as np
import pytest

from minidl.workspaces import AllocationStatistics, DummyWorkspace, WorkspaceConfiguration, workspace_manager
from minidl.workspaces.allocation_statistics import statistics_table
from minidl.workspaces.thread_state import state

STRICT_2000 = WorkspaceConfiguration(initial_size=2000, policy_allocation="STRICT", policy_learning="NONE")


def test_rows_are_the_workspaces_of_this_thread():
    with workspace_manager.get_and_activate_workspace(STRICT_2000, "LOOP") as workspace:
        workspace.create(250, np.float64)
        workspace.create(3, np.float64)
        workspace_manager.get_workspace_for_current_thread("EMPTY")
        assert workspace_manager.allocation_statistics_for_current_thread() == [
            AllocationStatistics("LOOP", allocated=2000, spilled=24, pinned=0),
            AllocationStatistics("EMPTY", allocated=0, spilled=0, pinned=0),
        ]


def test_dummies_are_skipped(monkeypatch):
    monkeypatch.setitem(state.workspaces, "NONE", DummyWorkspace())
    assert workspace_manager.allocation_statistics_for_current_thread() == []
    workspace_manager.print_allocation_statistics_for_current_thread()


def test_layout(capsys):
    with workspace_manager.get_and_activate_workspace(STRICT_2000, "LOOP") as workspace:
        workspace.create(251, np.float64)
        workspace_manager.print_allocation_statistics_for_current_thread()
    banner, count, legend, row = capsys.readouterr().out.splitlines()
    assert set(banner.removeprefix("Workspace statistics: ")) == {"-"}
    assert count == "Number of workspaces in current thread: 1"
    assert legend == "Workspace name: Allocated / external (spilled) / external (pinned)"
    assert row == "LOOP:                        1.95 K /   1.96 K /        0 (       2000 /        2008 /           0)"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.00 K"),
        (1536, "1.50 K"),
        (1024**2 - 1, "1.00 M"),
        (1024**2, "1.00 M"),
        (10 * 1024**2, "10.00 M"),
        (3 * 1024**3 // 2, "1.50 G"),
        (1024**4, "1.00 T"),
    ],
)
def test_readable_sizes(size, text):
    row = statistics_table([AllocationStatistics("A", size, 0, 0)]).splitlines()[-1]
    assert row[27:].startswith(f"{text:>8} / ")
