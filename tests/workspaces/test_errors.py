"""Errors of workspaces that no other file tests: E11, E25 (which cannot occur) and E26 (which is no error)."""

import re
import threading

import numpy as np
import pytest

from minidl import nd
from minidl.errors import NoSuchWorkspaceError, StaleArrayError, WorkspaceError
from minidl.workspaces import DummyWorkspace, WorkspaceArray, WorkspaceConfiguration, workspace_manager

CONFIGURATION = WorkspaceConfiguration(initial_size=10_000, policy_learning="NONE")


def in_another_thread(work):
    """Return what ``work`` returns, or the error it raises, in a thread of its own."""
    outcome = []

    def run():
        try:
            outcome.append(work())
        except WorkspaceError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


@pytest.fixture
def opened():
    with workspace_manager.get_and_activate_workspace(CONFIGURATION, "A") as workspace:
        yield workspace


@pytest.mark.parametrize("method", ["create", "create_uninitialized"])
def test_e11_a_dummy_allocates_nothing(method):
    message = "DummyWorkspace does not support allocation. Create a detached array, or enter a workspace."
    with pytest.raises(WorkspaceError, match=f"^{re.escape(message)}$") as caught, DummyWorkspace() as dummy:
        getattr(dummy, method)((2, 3), np.float32)
    assert caught.value.code == "E11"


def test_e25_arrays_are_not_closed_one_by_one(opened):
    assert not hasattr(opened.create(3), "close")


def test_e26_another_thread_may_use_an_array_and_its_results_are_its_own(opened):
    array = nd.ones(5)
    before = opened.offset
    result = in_another_thread(lambda: array + 1)
    assert type(result) is np.ndarray
    assert result.tolist() == [2.0] * 5
    assert opened.offset == before


@pytest.mark.usefixtures("opened")
def test_e26_results_go_to_the_current_workspace_of_the_thread_that_computes():
    array = nd.ones(5)

    def work():
        with workspace_manager.get_and_activate_workspace(CONFIGURATION, "A") as own:
            result = array + 1
            return type(result), result.tolist(), own.offset

    assert in_another_thread(work) == (WorkspaceArray, [2.0] * 5, 24)


def test_e26_a_stale_array_is_stale_in_every_thread():
    with workspace_manager.get_and_activate_workspace(CONFIGURATION, "A"):
        array = nd.ones(5)
    error = in_another_thread(lambda: array + 1)
    assert isinstance(error, StaleArrayError)
    assert error.code == "E1"


@pytest.mark.usefixtures("opened")
def test_e26_another_thread_does_not_see_the_workspace_by_its_id():
    array = nd.ones(5)
    assert in_another_thread(lambda: nd.leverage_to(array, "A")) is array
    error = in_another_thread(lambda: nd.leverage_to(array, "A", enforce=True))
    assert isinstance(error, NoSuchWorkspaceError)
    assert error.code == "E10"
