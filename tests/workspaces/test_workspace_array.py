"""WorkspaceArray: where results go, what its methods give, and which argument an error names."""

import copy
import pickle
import re
import threading

import numpy as np
import pytest

from minidl import nd
from minidl.errors import StaleArrayError
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration, ufuncs, workspace_manager
from minidl.workspaces.attachment import root_of


def made(id, size=1 << 20):
    return Workspace(WorkspaceConfiguration(initial_size=size, policy_learning="NONE", alignment=64), id)


def home(array):
    """Return the id of the workspace that ``array`` is attached to, or None."""
    root = root_of(array)
    return None if root is None else root._workspace.id


@pytest.fixture
def x():
    made("HERE").notify_scope_entered()
    return nd.array(np.arange(12, dtype="f4").reshape(3, 4))


@pytest.fixture
def stale(x):
    array = x + 0
    root_of(array)._workspace.close()
    return array


# Where results go


def test_results_go_to_the_current_workspace_not_to_that_of_the_operands(x):
    with made("THERE"):
        assert home(x + 1) == "THERE"
        assert home(np.concatenate([x, x])) == "THERE"
    assert home(x + 1) == "HERE"


def test_plain_operands_alone_stay_on_the_heap(x):
    assert type(np.asarray([1.0]) + 1) is np.ndarray
    assert type(np.asarray(x) + 1) is np.ndarray


def test_unattached_array_sends_its_results_to_the_current_workspace(x):
    unattached = np.ones((3, 4), "f4").view(WorkspaceArray)
    assert not unattached.is_attached
    assert unattached.in_scope
    assert home(unattached + 1) == home(unattached[0] @ unattached.T) == home(unattached.mean(0)) == "HERE"
    assert type(unattached[1:]) is type(unattached.conj()) is WorkspaceArray


def test_unattached_array_without_a_workspace_gives_plain_results():
    unattached = np.ones((3, 4), "f4").view(WorkspaceArray)
    for result in (unattached + 1, unattached.sum(0), np.where(unattached > 0, unattached, 0), unattached.var(0)):
        assert type(result) is np.ndarray


def test_results_go_to_the_current_workspace_of_the_calling_thread(x):
    homes = {}

    def work(id):
        barrier.wait()
        with made(id):
            homes[id] = {home(np.tanh(x @ x.T) + index) for index in range(200)}
        homes[id].add(home(x + 1))

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work, args=(f"T{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert homes == {f"T{index}": {f"T{index}", None} for index in range(4)}


def test_results_that_do_not_fit_are_spilled_and_attached():
    with made("SMALL", size=64) as workspace:
        x = workspace.create((4, 4)) + np.arange(4, dtype="f4")
        assert workspace.spilled_count
        assert home(x) == "SMALL"
        assert x.sum() == 24
    with pytest.raises(StaleArrayError, match=re.escape("leaked workspace pointer from workspace [SMALL]")):
        x + 1


@pytest.mark.parametrize(
    ("call", "arrays"),
    [
        (lambda x: x + x[0], 1),
        (lambda x: x > x[:, :1], 1),
        (lambda x: np.arctan2(x[:, :1], x[0]), 1),
        (lambda x: np.add(x, x[0], out=x), 0),
        (lambda x: np.add(x[:, ::2], 1, out=x[:, ::2]), 0),
        (lambda x: x.var(0), 1),
        (lambda x: (x > 3).sum(0), 2),
        (np.modf, 2),
    ],
)
def test_scratch_is_given_back(call, arrays):
    with made("HERE") as workspace:
        x = nd.array(np.arange(4096, dtype="f4").reshape(64, 64))
        before = workspace.offset
        call(x)
        taken = workspace.offset - before
    assert taken <= arrays * x.nbytes
    assert workspace.max_cycle_allocations >= before + taken


def test_forgotten_plans_are_made_again(x, monkeypatch):
    monkeypatch.setattr(ufuncs, "MAX_PLANS", 2)
    for rows in (1, 2, 3, 1, 2, 3):
        np.testing.assert_array_equal(x[:rows] + x[0], np.asarray(x)[:rows] + np.asarray(x)[0])
        assert len(ufuncs._plans) <= 2


@pytest.mark.parametrize("call", [np.negative, lambda x: x + 1, lambda x: x.sum(0), np.add.accumulate])
def test_objects_stay_on_the_heap(call, x):
    result = call(np.array([[1, 2], [3, 4]], object).view(WorkspaceArray))
    assert type(result) is np.ndarray
    assert result.dtype == object


def test_outputs_come_back_as_they_were_given(x):
    plain, attached = np.empty((3, 4), "f4"), nd.empty((3, 4))
    for out in (plain, attached):
        assert np.add(x, 1, out=out) is out
        assert np.add(x, x[0], out=out) is out
        assert np.multiply(x, 2, out=out, where=x > 3) is out
        assert np.cumsum(x, axis=0, out=out) is out
        assert np.clip(x, 0, 3, out=out) is out
        assert np.concatenate([x[:1], x[1:]], out=out) is out
        assert np.concatenate([x[:1], x[1:]], 0, out) is out
    whole, part = np.modf(x, out=(plain, None))[::-1]
    assert part is plain
    assert home(whole) == "HERE"
    assert np.add(x, 1, out=None).is_attached
    assert np.add(x, 1, out=(None,)).is_attached


def test_other_types_keep_their_say(x):
    class Greedy:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "mine"

    assert x + Greedy() == "mine"
    masked = np.ma.masked_array(x, mask=np.asarray(x) > 3) + 1
    assert masked.sum() == 10


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x + np.ones(3),
        lambda x: x @ x,
        lambda x: x.sum(7),
        np.add,
        lambda x: np.concatenate([x, np.ones(3)]),
        lambda x: np.stack([x, x], 9),
        lambda x: np.where(x > 0, x, np.ones(5)),
        lambda x: np.dot(x, x),
        lambda x: np.take(x, [99]),
        lambda x: np.mean(x, 9),
        lambda x: np.sort(x, axis=5),
        lambda x: np.einsum("ij,jk->ik", x, x),
        lambda x: np.add(x, 1, out=np.ones(2)),
        lambda x: x.astype(np.uint8) + 300,
        lambda x: x.view("u1") + 300,
        lambda x: x.reshape(5),
        lambda x: x + None,
        lambda x: x.sum([0]),
        lambda x: np.add(x, np.ones(5), out=x),
        lambda x: np.stack([x, x]) @ np.ones((3, 4, 1)),
        lambda x: np.ones(3) @ x.reshape(2, 6),
        lambda x: np.vecdot(x, x.reshape(2, 6)),
        lambda x: np.dot(x, x[0].astype("U")),
        lambda x: np.einsum("ij,jk->ik", x, x, x),
    ],
)
def test_mistakes_are_reported_as_by_numpy(call, x):
    with pytest.raises(Exception) as expected:  # noqa: PT011
        call(np.asarray(x))
    with pytest.raises(type(expected.value), match=f"^{re.escape(str(expected.value))}$"):
        call(x)


@pytest.mark.parametrize("call", [lambda x: x.var(0, ddof=3), lambda x: np.mean(x[:0], axis=0)])
def test_warnings_are_those_of_numpy(call, x):
    with (
        np.errstate(all="ignore"),
        pytest.warns(RuntimeWarning, match=r"^(Degrees of freedom <= 0 for slice|Mean of empty slice)\.?$"),
    ):
        call(x)


# Text, copies, pickles


def test_text_forms(x):
    assert repr(x[:2, :2]) == "WorkspaceArray([[0., 1.],\n                [4., 5.]], dtype=float32)"
    assert str(x[0]) == "[0. 1. 2. 3.]"
    assert f"{x[0, 1:2].reshape(()):.2f}" == "1.00"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_plain(protocol, x):
    result = pickle.loads(pickle.dumps({"x": x.T}, protocol))["x"]
    assert type(result) is np.ndarray
    np.testing.assert_array_equal(result, x.T)


def test_reduced_form_is_that_of_a_plain_array(x):
    rebuild, arguments, state = x.__reduce__()
    array = rebuild(*arguments)
    array.__setstate__(state)
    assert type(array) is np.ndarray
    assert array.sum() == 66


def test_pickle_buffers_do_not_alias_the_workspace(x):
    buffers = []
    data = pickle.dumps(x, 5, buffer_callback=buffers.append)
    x.fill(0)
    assert pickle.loads(data, buffers=buffers).sum() == 66


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, WorkspaceArray.copy, WorkspaceArray.detach])
def test_copies_are_plain_and_independent(duplicate, x):
    result = duplicate(x)
    x.fill(0)
    assert type(result) is np.ndarray
    assert result.sum() == 66


def test_methods_of_moving_are_those_of_nd(x):
    with workspace_manager.get_and_activate_workspace(WorkspaceConfiguration(initial_size=1 << 12), "INNER"):
        assert home(x.migrate()) == "INNER"
        assert home(x.leverage_to("INNER")) == home(x.leverage_or_detach("INNER")) == "INNER"
        assert home((x + 1).leverage()) == "HERE"


# Stale arrays


@pytest.mark.parametrize(
    ("call", "operation", "argument"),
    [
        (lambda s, p: s + p, "add", "X"),
        (lambda s, p: p + s, "add", "Y"),
        (lambda s, p: np.clip(p, 0, s), "clip", "input 3"),
        (lambda s, p: np.add(p, p, out=s), "add", "Z"),
        (lambda s, p: np.modf(p, out=(p, s)), "modf", "Z"),
        (lambda s, p: np.add(p, p, out=p, where=s), "add", "where"),
        (lambda s, p: np.add.reduce(p, out=s), "add", "Z"),
        (lambda s, p: np.add(p, [[s], [p]]), "add", "Y"),
        (lambda s, p: np.add.at(p, [0], s), "add", "input 3"),
        (lambda s, p: np.concatenate([p, (s,)]), "concatenate", "X"),
        (lambda s, p: np.where(p > 0, p, s), "where", "input 3"),
        (lambda s, p: np.mean(p, out=s), "mean", "Z"),
        (lambda s, p: np.copyto(p, s), "copyto", "Y"),
        (lambda s, p: np.average(p, weights=s), "average", "weights"),
        (lambda s, p: p.take(s), "take", "Y"),
        (lambda s, p: p[s], "getitem", "Y"),
        (lambda s, p: p.__setitem__(s, 1), "setitem", "Y"),
        (lambda s, p: p.__setitem__((0, s), 1), "setitem", "Y"),
        (lambda s, p: p.__setitem__(0, s), "setitem", "X"),
        (lambda s, p: p.__setitem__(0, [s]), "setitem", "X"),
        (lambda s, p: s.__setitem__(0, 1), "setitem", "Z"),
        (lambda s, p: p.fill(s), "fill", "Y"),
        (lambda s, p: s.T, "T", "X"),
        (lambda s, p: repr(s), "repr", "X"),
        (lambda s, p: p + np.asarray(s).T.T, "add", "Y"),
        (lambda s, p: np.add(p, p, out=np.asarray(s)), "add", "Z"),
        (lambda s, p: next(iter(s)), "getitem", "X"),
        (lambda s, p: nd.array(s), "array", "X"),
    ],
)
def test_error_names_the_operation_and_the_argument(call, operation, argument, stale):
    fresh = np.ones((3, 4), "f4").view(WorkspaceArray)
    message = f"Op [{operation}] {argument} argument uses leaked workspace pointer from workspace [HERE]: the array of"
    with pytest.raises(StaleArrayError, match=f"^{re.escape(message)}") as caught:
        call(stale, fresh)
    assert caught.value.code == "E1"


def test_indices_of_a_reopened_workspace_raise_too(x):
    workspace = root_of(x)._workspace
    workspace.close()
    with workspace:
        with pytest.raises(StaleArrayError, match=re.escape("Op [getitem] X argument uses outdated workspace pointer")):
            x[0]
        assert (nd.zeros(3) + 1).sum() == 3


@pytest.mark.parametrize("index", [[0, 1], [1], 1])
@pytest.mark.parametrize("key", [lambda i: i, lambda i: (i, 0), lambda i: (0, i), lambda i: (..., i, None)])
def test_stale_index_among_others_raises(index, key, x):
    with made("INDICES"):
        rows = nd.array(index, np.intp)
    for name, use in (("getitem", lambda: x[key(rows)]), ("setitem", lambda: x.__setitem__(key(rows), 0))):
        message = f"Op [{name}] Y argument uses leaked workspace pointer from workspace [INDICES]"
        with pytest.raises(StaleArrayError, match=f"^{re.escape(message)}"):
            use()


def test_stale_arrays_can_still_be_described(stale):
    assert (stale.shape, stale.dtype, stale.ndim, stale.nbytes) == ((3, 4), np.float32, 2, 48)
    assert stale.is_attached
    assert not stale.in_scope
