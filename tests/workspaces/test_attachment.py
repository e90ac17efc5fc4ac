"""Detaching, leveraging and migrating: the rules of DL4J, row by row, and every error with its whole text."""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import re

import numpy as np
import pytest

from minidl import nd
from minidl.errors import DtypeError, NoSuchWorkspaceError, StaleArrayError
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration, workspace_manager
from minidl.workspaces.attachment import check_usable, root_of

F8 = np.float64
REMEDY = (
    "Inside the scope, call detach() to keep an independent copy, or leverage_to(id) to move the array to a workspace "
    "that stays open longer."
)
MOVES = {
    "Cannot leverage INDArray to new workspace": [
        nd.leverage,
        lambda array: nd.leverage_to(array, "EXT"),
        lambda array: nd.leverage_or_detach(array, "EXT"),
        nd.migrate,
        lambda array: nd.migrate(array, True),
        WorkspaceArray.leverage,
    ],
    "Cannot detach INDArray": [nd.detach, WorkspaceArray.detach],
    "Cannot duplicate INDArray": [WorkspaceArray.copy, WorkspaceArray.__copy__],
}


def opened(id, **options):
    options = {"initial_size": 1 << 16, "policy_learning": "NONE", "policy_allocation": "STRICT"} | options
    return workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(**options), id)


def one_to_five():
    return nd.array([1, 2, 3, 4, 5], F8)


@pytest.fixture
def ext():
    return opened("EXT")


def test_row_1_testCold():
    array = nd.zeros(10) + 1
    assert array.sum() == 10
    assert not nd.is_attached(array)


def test_row_3_testBreakout1():
    with opened("EXT"):
        array = one_to_five()
    assert nd.is_attached(array)
    assert workspace_manager.current_workspace is None


def test_row_5_testLeverage1(ext):
    with opened("INT") as inner:
        array = one_to_five()
        assert (inner.offset, ext.offset) == (40, 0)
        copy = array.leverage()
        assert (inner.offset, ext.offset) == (40, 40)
    assert copy.is_attached
    assert copy.sum() == 15


def test_row_6_testLeverageTo1(ext):
    one_to_five()
    with opened("INT"):
        one_to_five().leverage_to("EXT")
    assert ext.offset == 80


def test_row_7_testLeverageTo2():
    with opened("EXT", initial_size=0, policy_learning="FIRST_LOOP") as learning:
        with opened("INT"):
            array = one_to_five()
            copy = array.leverage_to("EXT")
            array += 100
        with opened("INT"):
            one_to_five()
        assert (learning.current_size, learning.spilled_count) == (0, 1)
        assert copy.sum() == 15


def test_row_8_testLeverage3(ext):
    with opened("INT"):
        copy = nd.ones((40, 40))[2:3].leverage()
    assert ext.offset == 160
    assert copy.sum() == 40


@pytest.mark.usefixtures("ext")
def test_row_9_testIsAttached2_3():
    array = np.ones(5)
    assert nd.leverage_to(array, "EXT") is array
    assert not nd.is_attached(array)


def test_row_10_testIsAttached1():
    with opened("EXT", initial_size=0) as workspace:
        assert nd.is_attached(one_to_five())
        assert workspace.spilled_count == 1
    assert not nd.is_attached(one_to_five())


def test_row_11_testOutOfScope1(ext):
    first = one_to_five()
    with workspace_manager.scope_out_of_workspaces():
        detached = one_to_five()
    assert not nd.is_attached(detached)
    assert workspace_manager.current_workspace is ext
    assert ext.offset == 40
    total = first + detached
    assert ext.offset == 80
    assert total.sum() == 30


def test_row_12_testCreateDetached1(ext):
    one_to_five()
    with workspace_manager.scope_out_of_workspaces():
        scalar = nd.empty(())
    assert ext.offset == 40
    assert scalar.size == 1


def test_row_13_testDetach1(ext):
    array = one_to_five()
    copy = array.detach()
    assert copy is not array
    assert array.in_scope
    assert array.is_attached
    assert ext.offset == 40
    ext.close()
    assert type(copy) is np.ndarray
    assert copy.sum() == 15


def test_row_14_testScope1():
    with opened("EXT"):
        array = one_to_five()
        assert nd.in_scope(array)
    assert not nd.in_scope(array)


@pytest.mark.parametrize(("prefix", "move"), [(prefix, move) for prefix in MOVES for move in MOVES[prefix]])
def test_row_29_testInvalidLeverageMigrateDetach(prefix, move):
    with opened("EXT"), opened("INT"):
        array = one_to_five()
    message = (
        f"{prefix}: Array uses leaked workspace pointer from workspace INT (array generation 1, current workspace "
        "generation 1): the array of shape (5,) was made in a scope of it that was left, and the workspace is no "
        f"longer open. All open workspaces: ['EXT']. {REMEDY}"
    )
    with opened("EXT"), pytest.raises(StaleArrayError, match=f"^{re.escape(message)}$") as caught:
        move(array)
    assert caught.value.code == "E3"
    assert array.is_attached


@pytest.mark.parametrize(("prefix", "move"), [(prefix, move) for prefix in MOVES for move in MOVES[prefix]])
def test_row_30_testBadGenerationLeverageMigrateDetach(prefix, move):
    for _ in range(3):
        with opened("EXT"):
            array = one_to_five()
    message = (
        f"{prefix}: Array outdated workspace pointer from workspace EXT (array generation 3, current workspace "
        "generation 4): the array of shape (5,) was made in a scope of it that was left, and the workspace was closed "
        f"and opened again since. All open workspaces: ['EXT']. {REMEDY}"
    )
    with opened("EXT"), pytest.raises(StaleArrayError, match=f"^{re.escape(message)}$") as caught:
        move(array)
    assert caught.value.code == "E4"


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("move", [nd.detach, nd.leverage, nd.migrate, lambda array: nd.leverage_to(array, "EXT")])
@pytest.mark.usefixtures("ext")
def test_row_31_testDtypeLeverage(dtype, move):
    with opened("INT"):
        assert move(nd.ones(10, dtype)).dtype == dtype


@pytest.mark.usefixtures("ext")
def test_row_66_testViewDetach_1():
    view = nd.full((10, 10), 2.0)[:, 3]
    assert view.is_attached
    copy = nd.detach(view)
    assert not nd.is_attached(copy)
    assert copy.flags.c_contiguous
    np.testing.assert_array_equal(copy, np.full(10, 2.0))


def test_row_71_testMigrateToWorkspace():
    array = np.arange(10, dtype=np.int64)
    with workspace_manager.get_and_activate_workspace(id="DEFAULTS"):
        migrated = nd.migrate(array)
        assert nd.is_attached(migrated)
        assert migrated.dtype == np.int64
        np.testing.assert_array_equal(migrated, array)


@pytest.mark.parametrize("move", [nd.detach, nd.leverage, lambda array: nd.leverage_or_detach(array, "EXT")])
@pytest.mark.parametrize("value", [np.ones(3), np.float32(2), 2.5, [1, 2]])
@pytest.mark.usefixtures("ext")
def test_what_is_detached_stays_itself(move, value):
    assert move(value) is value


def test_leverage_without_current_or_parent_detaches(ext):
    array = one_to_five()
    assert not nd.is_attached(nd.leverage(array))
    with workspace_manager.scope_out_of_workspaces():
        assert not nd.is_attached(nd.leverage(array))
    assert ext.offset == 40


@pytest.mark.usefixtures("ext")
def test_what_is_there_already_stays_itself():
    array = one_to_five()
    assert array.leverage_to("EXT") is array
    with opened("INT"):
        assert array.leverage() is array


@pytest.mark.usefixtures("ext")
def test_leverage_to_an_unknown_id():
    array = one_to_five()
    assert array.leverage_to("NOWHERE") is array
    message = (
        "There is no workspace NOWHERE in this thread to leverage an array of shape (5,) to. Its workspaces: ['EXT']."
    )
    with pytest.raises(NoSuchWorkspaceError, match=f"^{re.escape(message)}$") as caught:
        array.leverage_to("NOWHERE", enforce=True)
    assert caught.value.code == "E10"


@pytest.mark.usefixtures("ext")
def test_target_need_not_be_open_but_its_array_cannot_be_read_until_then():
    with opened("TARGET"):
        pass
    moved = one_to_five().leverage_to("TARGET")
    assert moved.is_attached
    assert not moved.in_scope
    with pytest.raises(StaleArrayError, match=re.escape("leaked workspace pointer from workspace [TARGET]")):
        moved + 1
    with opened("TARGET") as target:
        assert one_to_five().sum() == 15
        assert target.offset == 40


@pytest.mark.usefixtures("ext")
def test_leverage_or_detach_wants_an_open_target():
    with opened("TARGET"):
        assert root_of(one_to_five().leverage_or_detach("EXT"))._workspace.id == "EXT"
    assert not nd.is_attached(one_to_five().leverage_or_detach("TARGET"))
    assert not nd.is_attached(one_to_five().leverage_or_detach("NOWHERE"))


def test_migrate_always_copies(ext):
    array = one_to_five()
    copy = array.migrate()
    assert copy is not array
    assert ext.offset == 80
    with workspace_manager.scope_out_of_workspaces():
        assert nd.migrate(array) is array
        assert not nd.is_attached(nd.migrate(array, detach_on_no_workspace=True))


@pytest.mark.usefixtures("ext")
def test_objects_do_not_migrate():
    message = (
        "an array of shape (2,) and dtype object holds Python objects, which cannot live in recycled memory: it cannot "
        "move to workspace [EXT]. Leave it detached."
    )
    with pytest.raises(DtypeError, match=f"^{re.escape(message)}$"):
        nd.migrate(np.array([1, None]))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("move", [nd.detach, nd.migrate])
def test_order_is_kept(order, move, ext):
    copy = move(ext.create((3, 4), order=order))
    assert copy.flags[f"{order}_CONTIGUOUS"]


@pytest.mark.parametrize(
    "alias",
    [
        np.asarray,
        lambda x: np.asarray(x)[1:],
        lambda x: np.asarray(x[1:]).T,
        lambda x: np.asarray(x)[1:].view(WorkspaceArray),
        lambda x: np.frombuffer(x, np.uint8),
        lambda x: memoryview(x[1:]),
        lambda x: np.asarray(memoryview(x))[::2],
        lambda x: np.lib.stride_tricks.as_strided(x, (2, 2), (8, 8)),
    ],
)
def test_plain_aliases_are_attached(alias):
    with opened("EXT") as workspace:
        array = alias(workspace.create((3, 4)))
        assert nd.is_attached(array)
        assert nd.in_scope(array)
    assert nd.is_attached(array)
    assert not nd.in_scope(array)
    with pytest.raises(StaleArrayError, match=re.escape("Cannot detach INDArray: Array uses leaked workspace pointer")):
        nd.detach(array)


def test_message_of_an_operation_on_a_closed_workspace():
    with opened("EXT"):
        array = nd.zeros((2, 3))
    message = (
        "Op [multiply] Y argument uses leaked workspace pointer from workspace [EXT]: the array of shape (3, 2) was "
        "made in a scope of it that was left, and the workspace is no longer open. Array WS iteration: 1, Workspace "
        f"current iteration: 1. All open workspaces: ['INT']. {REMEDY}"
    )
    with opened("INT"), pytest.raises(StaleArrayError, match=f"^{re.escape(message)}$") as caught:
        check_usable(np.asarray(array).T, "multiply", "Y")
    assert caught.value.code == "E1"


def test_message_of_an_operation_on_a_reopened_workspace():
    with opened("EXT"):
        array = nd.zeros((2, 3))
    message = (
        "Op [multiply] Y argument uses outdated workspace pointer from workspace [EXT]: the array of shape (2, 3) was "
        "made in a scope of it that was left, and the workspace was closed and opened again since. Array WS iteration: "
        f"1, Workspace current iteration: 2. All open workspaces: ['EXT']. {REMEDY}"
    )
    with opened("EXT"), pytest.raises(StaleArrayError, match=f"^{re.escape(message)}$") as caught:
        np.multiply(2, array)
    assert caught.value.code == "E2"


def test_array_of_a_destroyed_workspace():
    workspace = Workspace(WorkspaceConfiguration(initial_size=1024), "GONE")
    with workspace:
        array = nd.zeros(3)
    workspace.destroy()
    with pytest.raises(StaleArrayError, match=re.escape("leaked workspace pointer from workspace [GONE]")):
        array + 1
