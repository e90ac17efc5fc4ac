"""What the tests of workspaces share."""

import pytest

from minidl.workspaces import workspace_manager
from minidl.workspaces.thread_state import unwind_scopes


@pytest.fixture(autouse=True)
def _no_workspace_is_left():
    """Leave every test without scopes and workspaces."""
    yield
    unwind_scopes(0)
    for workspace in workspace_manager.get_all_workspaces_for_current_thread():
        workspace_manager.destroy_workspace(workspace)  # destroying all at once would collect garbage each time
