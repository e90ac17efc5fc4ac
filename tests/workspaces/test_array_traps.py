"""The traps of arrays in workspaces that an experiment found, each as a test named after it.

Traps 8 to 13, 18 and 19, which are those of memory and scopes, are in test_memory.py, test_scopes.py and
test_workspace.py.
"""

import copy
import re
import warnings

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl import nd
from minidl.errors import DtypeError, StaleArrayError
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration

LEAKED = re.escape("X argument uses leaked workspace pointer from workspace [TRAP]: the array of shape")


@pytest.fixture
def workspace():
    return Workspace(
        WorkspaceConfiguration(initial_size=1 << 20, policy_learning="NONE"), "TRAP"
    ).notify_scope_entered()


@pytest.fixture
def poisoned(monkeypatch):
    monkeypatch.setattr(Workspace, "poison_recycled_memory", True)


@pytest.mark.parametrize(
    "make_copy",
    [
        WorkspaceArray.copy,
        copy.copy,
        copy.deepcopy,
        lambda x: x[[0, 1]],
        lambda x: x[x > 0],
        lambda x: x.astype("f8"),
        lambda x: x.T.reshape(-1),
    ],
)
def test_trap_1_copies_are_not_attached(make_copy, workspace):
    result = make_copy(workspace.create((3, 4)) + 1)
    workspace.close()
    assert not nd.is_attached(result)
    assert (result == 1).all()


@pytest.mark.parametrize("call", [lambda x: x.dot(x), lambda x: x.argmax(0), lambda x: x.take([0])])
def test_trap_2_methods_of_the_c_level_are_checked(call, workspace):
    x = workspace.create((3, 3))
    assert call(x).base is x.base or type(call(x)) is np.ndarray
    workspace.close()
    with pytest.raises(StaleArrayError, match=LEAKED):
        call(x)


def measure_broadcasts(rows, columns):
    workspace = Workspace(WorkspaceConfiguration(initial_size=1 << 28))
    x, row, column = np.ones((rows, columns), "f4"), np.ones(columns, "f4"), np.ones((rows, 1), "f4")

    def step():
        with workspace:
            z = x.view(WorkspaceArray)
            z = z - column > row
            z = x.view(WorkspaceArray) + row
            z += column
            z *= row
            z /= z[:, :1]

    return gauges(step)


@pytest.mark.parametrize("columns", [10, 1000, 8192, 8193])
def test_trap_3_broadcasts_take_no_hidden_buffer(columns, run_under_counter):
    assert_no_allocation(run_under_counter(measure_broadcasts, 1024, columns), arrays_alive=10)


def test_trap_4_objects_do_not_enter(workspace):
    with pytest.raises(DtypeError, match=re.escape("dtype object holds Python objects, which cannot live in recycled")):
        workspace.create(3, object)
    x = workspace.create(3)
    result = np.frompyfunc(lambda value: [value], 1, 1)(x)
    assert type(result) is np.ndarray
    assert type(x * np.ones(3, object)) is np.ndarray


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_trap_5_order_of_results_is_that_of_numpy(axes, workspace, rng):
    plain = rng.normal(size=(7, 9, 11)).astype("f4").transpose(axes)
    x = nd.array(plain.transpose(np.argsort(axes))).transpose(axes)
    expected, result = np.tanh(plain) + plain, np.tanh(x) + x
    assert result.strides == expected.strides
    assert result.sum(0).tobytes() == expected.sum(0).tobytes()


def test_trap_6_no_output_is_given_by_position(workspace):
    x = workspace.create((40, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.maximum(x, 0.0, out=x)
        np.minimum(x, x[0])
        np.maximum.outer(x[0], x[1])
        x.clip(0, 1)


@pytest.mark.parametrize(
    "alias", [lambda x: np.asarray(x)[1:], lambda x: np.asarray(x[1:]).T, lambda x: x[1:].T[:, 1:]]
)
def test_trap_7_views_of_plain_aliases_are_found(alias, workspace):
    plain, other = alias(workspace.create((4, 4))), workspace.create(())
    workspace.close()
    assert nd.is_attached(plain)
    with (
        workspace,
        pytest.raises(StaleArrayError, match=re.escape("Op [add] Y argument uses outdated workspace pointer")),
    ):
        workspace.create(()) + plain
    assert other.is_attached


def test_trap_14_temporaries_of_a_loop_do_not_pile_up_in_inner_scopes(workspace):
    x = workspace.create(100)
    inner = Workspace(WorkspaceConfiguration(initial_size=1 << 16, policy_spill="FAIL"), "INNER")
    for _ in range(1000):
        with inner:
            np.add(np.tanh(x * 2.0), 1.0, out=x)
    assert workspace.offset == 400
    assert inner.max_cycle_allocations == 2 * 400


def test_trap_15_masked_results_show_no_recycled_numbers(poisoned):
    workspace = Workspace(WorkspaceConfiguration(initial_size=1 << 12, policy_learning="NONE"))
    mask = np.array([True, False])
    with workspace:
        workspace.create(1024)[...] = 7
    with workspace:
        x, out = workspace.create(2), workspace.create(2)
        assert np.add(x, 1, where=mask, out=out).tolist() == [1, 0]
        assert np.isnan(workspace.create_uninitialized(2)).all()
        assert x.sum(where=mask) == 0


def test_trap_16_staleness_does_not_rest_on_poison(poisoned):
    workspace = Workspace(WorkspaceConfiguration(initial_size=1 << 12, policy_learning="NONE"), "TRAP")
    with workspace:
        arrays = [workspace.create(3, dtype) for dtype in ("i4", "?", "f4")]
    for array in arrays:
        with pytest.raises(StaleArrayError, match=LEAKED):
            array.argmax()


@pytest.mark.parametrize("escape", [np.from_dlpack, np.asarray])
def test_trap_17_escaped_aliases_read_poison(escape, poisoned):
    workspace = Workspace(WorkspaceConfiguration(initial_size=1 << 12, policy_learning="NONE"))
    with workspace:
        alias = escape(workspace.create(3))
    assert type(alias) is np.ndarray
    assert np.isnan(alias).all()


def test_trap_17_tensors_share_the_memory(poisoned):
    torch = pytest.importorskip("torch")
    workspace = Workspace(WorkspaceConfiguration(initial_size=1 << 12, policy_learning="NONE"))
    with workspace:
        tensor = torch.from_numpy(workspace.create(3))
        assert tensor.sum() == 0
    assert torch.isnan(tensor).all()
