"""What the tests of workspaces share."""

import pytest

from minidl.workspaces import workspace_manager
from minidl.workspaces.thread_state import unwind_scopes


@pytest.fixture(autouse=True)
def _no_workspace_is_left():
    """Give every test a thread without scopes and workspaces, and leave it like that."""
    _clean_up()
    yield
    _clean_up()


def _clean_up():
    unwind_scopes(0)
    for workspace in workspace_manager.get_all_workspaces_for_current_thread():
        workspace_manager.destroy_workspace(workspace)  # destroying all at once would collect garbage each time
