"""WorkspaceMgr: from what an array is for to where it lives."""

import re

import numpy as np
import pytest

from minidl.errors import ConfigurationError, WorkspaceError
from minidl.workspaces import ArrayType, WorkspaceConfiguration, WorkspaceMgr, workspace_manager
from minidl.workspaces.attachment import is_attached

CONFIGURATION = WorkspaceConfiguration(initial_size=10_000)
INPUT, ACTIVATIONS, WORKING = ArrayType.INPUT, ArrayType.ACTIVATIONS, ArrayType.FF_WORKING_MEM


@pytest.fixture
def mgr():
    """INPUT in workspace I, ACTIVATIONS in A, working memory detached, nothing else known."""
    return WorkspaceMgr({INPUT: ("I", CONFIGURATION), ACTIVATIONS: ("A", CONFIGURATION)}, scoped_out=[WORKING])


def test_the_map_is_readable(mgr):
    assert mgr.workspace_name(INPUT) == "I"
    assert mgr.configuration(INPUT) is CONFIGURATION
    assert mgr.is_scoped_out(WORKING)
    assert mgr.workspace_name(WORKING) is None
    assert mgr.configuration(WORKING) is None
    assert [mgr.has_configuration(kind) for kind in (INPUT, WORKING, ArrayType.FF_CACHE)] == [True, True, False]


def test_a_default_serves_the_types_that_are_not_named():
    mgr = WorkspaceMgr({INPUT: ("I", CONFIGURATION)}, default=("D", CONFIGURATION), scoped_out=[WORKING])
    assert [mgr.workspace_name(kind) for kind in (INPUT, ACTIVATIONS, WORKING)] == ["I", "D", None]


def test_mapped_and_scoped_out_at_once_is_refused():
    message = "INPUT: mapped to a workspace and scoped out. Choose one of the two."
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        WorkspaceMgr({INPUT: ("I", CONFIGURATION)}, scoped_out=[INPUT])


def test_e14_a_type_that_nobody_mapped(mgr):
    message = "No workspace configuration for arrayType: FF_CACHE. Map it or scope it out."
    with pytest.raises(WorkspaceError, match=re.escape(message)) as caught:
        mgr.create(ArrayType.FF_CACHE, (2,))
    assert caught.value.code == "E14"


def test_e15_a_closed_workspace(mgr):
    message = (
        'Workspace "A" for array type ACTIVATIONS is not open. Enter it first: '
        "notify_scope_entered(ArrayType.ACTIVATIONS). Open workspaces: []."
    )
    for call in (mgr.create, lambda kind, _: mgr.notify_scope_borrowed(kind)):
        with pytest.raises(WorkspaceError, match=re.escape(message)) as caught:
            call(ACTIVATIONS, (2,))
        assert caught.value.code == "E15"


def test_arrays_land_where_their_type_lives_whatever_is_current(mgr):
    with mgr.notify_scope_entered(ACTIVATIONS) as a, mgr.notify_scope_entered(INPUT) as i:
        assert workspace_manager.current_workspace is i
        array = mgr.create(ACTIVATIONS, (4, 2), np.float64)
        assert (a.offset, i.offset) == (64, 0)
        assert not mgr.create(ACTIVATIONS, (3,)).any()
        assert not is_attached(mgr.create(WORKING, (3,)))
        copy = mgr.dup(INPUT, array)
        assert i.owns(copy)
        np.testing.assert_array_equal(copy, array)


def test_several_scopes_close_in_reverse_order_with_one_call(mgr):
    with mgr.notify_scope_entered(INPUT, ACTIVATIONS):
        assert workspace_manager.current_workspace.id == "A"
    assert not workspace_manager.any_workspace_active_for_current_thread()


def test_entering_several_when_one_fails_leaves_none_open(mgr):
    with pytest.raises(WorkspaceError, match="No workspace configuration for arrayType: FF_CACHE"):
        mgr.notify_scope_entered(INPUT, ArrayType.FF_CACHE)
    assert not workspace_manager.any_workspace_active_for_current_thread()


def test_a_scoped_out_type_scopes_out(mgr):
    with mgr.notify_scope_entered(INPUT):
        with mgr.notify_scope_entered(WORKING):
            assert workspace_manager.current_workspace is None
        with mgr.notify_scope_borrowed(WORKING):
            assert workspace_manager.current_workspace is None
        assert workspace_manager.current_workspace.id == "I"


def test_borrowing_makes_the_mapped_workspace_current(mgr):
    with mgr.notify_scope_entered(ACTIVATIONS, INPUT), mgr.notify_scope_borrowed(ACTIVATIONS):
        assert workspace_manager.current_workspace.id == "A"


def test_e19_assertions(mgr):
    mgr.assert_open(WORKING)
    mgr.assert_not_open(WORKING)
    mgr.assert_current_workspace(WORKING)
    mgr.assert_not_open(INPUT)
    text = "Assertion failed: expected workspace for array type INPUT to be open"
    with pytest.raises(WorkspaceError, match=text):
        mgr.assert_open(INPUT)
    with mgr.notify_scope_entered(INPUT):
        mgr.assert_open(INPUT)
        mgr.assert_current_workspace(INPUT)
        with pytest.raises(WorkspaceError, match=text.replace("to be", "to not be")):
            mgr.assert_not_open(INPUT)
        message = (
            'Assertion failed: expected current workspace to be "A" (for array type ACTIVATIONS) - actual current '
            "workspace is I"
        )
        with pytest.raises(WorkspaceError, match=re.escape(message)) as caught:
            mgr.assert_current_workspace(ACTIVATIONS)
        assert caught.value.code == "E19"


def test_leverage_to_moves_attached_arrays_only(mgr):
    with mgr.notify_scope_entered(ACTIVATIONS) as a, mgr.notify_scope_entered(INPUT) as i:
        array, plain = i.create(3), np.ones(3)
        assert mgr.leverage_to(ACTIVATIONS, plain) is plain
        moved = mgr.leverage_to(ACTIVATIONS, array)
        assert a.owns(moved)
        assert mgr.leverage_to(ACTIVATIONS, moved) is moved
        assert not is_attached(mgr.leverage_to(WORKING, array))
        mgr.set_no_leverage_override("I")
        assert mgr.leverage_to(ACTIVATIONS, array) is array


def test_cast_to(mgr):
    with mgr.notify_scope_entered(ACTIVATIONS) as a, mgr.notify_scope_entered(INPUT) as i:
        array, plain = i.create(3), np.arange(3, dtype=np.float32)
        assert mgr.cast_to(ACTIVATIONS, np.float32, plain) is plain
        assert a.owns(mgr.cast_to(ACTIVATIONS, np.float32, array))
        assert a.owns(mgr.cast_to(ACTIVATIONS, np.float32, plain, dup_if_correct_type=True))
        as_double = mgr.cast_to(ACTIVATIONS, np.float64, plain)
        assert as_double.dtype == np.float64
        np.testing.assert_array_equal(np.asarray(as_double), [0, 1, 2])


def test_validate_array_location_accepts_what_is_in_place(mgr):
    with mgr.notify_scope_entered(ACTIVATIONS) as a, mgr.notify_scope_entered(INPUT) as i:
        array, plain = a.create(3), np.ones(3)
        assert mgr.validate_array_location(ACTIVATIONS, array) is array
        assert mgr.validate_array_location(ACTIVATIONS, plain) is plain
        assert mgr.validate_array_location(WORKING, plain, exception_if_detached=True) is plain
        assert i.owns(mgr.validate_array_location(INPUT, array, migrate_if_invalid=True))
        mgr.set_no_leverage_override("A")
        assert mgr.validate_array_location(INPUT, array) is array


@pytest.mark.parametrize(
    ("array_type", "place", "code", "message"),
    [
        (WORKING, "A", "E16", "Array of type FF_WORKING_MEM should be detached (no workspace) but is in workspace: A."),
        (INPUT, None, "E17", 'Array of type INPUT should be in workspace "I" but is detached.'),
        (INPUT, "A", "E18", 'Array of type INPUT should be in workspace "I" but is in workspace "A".'),
    ],
)
def test_validate_array_location_refuses_what_is_not(mgr, array_type, place, code, message):
    with mgr.notify_scope_entered(INPUT, ACTIVATIONS):
        array = np.ones(3) if place is None else mgr.create(ACTIVATIONS, (3,))
        pattern = re.escape(f"Array workspace validation failed: {message}")
        with pytest.raises(WorkspaceError, match=pattern) as caught:
            mgr.validate_array_location(array_type, array, exception_if_detached=True)
        assert caught.value.code == code
