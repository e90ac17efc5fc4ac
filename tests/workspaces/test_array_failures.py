"""An operation that fails, or that a full workspace cannot hold, leaves nothing behind in a scope that stays open."""

import re

import numpy as np
import pytest

from minidl import nd
from minidl.errors import StaleArrayError, WorkspaceFullError
from minidl.workspaces import Workspace, WorkspaceConfiguration

BIG = 64
FAILING = {
    "overflow": "np.exp(x)",
    "overflow of a staged operand": "np.multiply(x, row)",
    "overflow in place": "np.multiply(x, row, out=x)",
    "overflow into a strided output": "np.multiply(x, row, out=x.T)",
    "overflow of a sum": "np.add.reduce(x)",
    "overflow of a running sum": "np.add.accumulate(x)",
    "overflow of an outer product": "np.multiply.outer(row, row)",
    "overflow of a segment": "np.add.reduceat(x, [0, 9])",
    "invalid mean": "infinite.mean(0)",
    "invalid variance": "infinite.var(0)",
    "invalid deviation": "np.std(infinite, 1)",
    "overflow of a difference": "np.diff(waves, n=2, axis=0)",
    "shapes": "np.concatenate([x, row[:5]])",
    "axis": "np.stack([x, x], axis=7)",
    "index": "np.take(x, [0, 99], axis=0)",
    "labels": "np.einsum('ij,jk->iq', x, x)",
    "choice": "np.where(mask, x, row[:5])",
    "order": "np.sort(x, order='a')",
    "dot": "np.dot(x, row[:5])",
    "clip": "np.clip(x, row[:5], 1)",
    "type": "x.take(None)",
    "value": "nd.full((64, 64), 'a')",
}


@pytest.fixture
def names():
    Workspace(WorkspaceConfiguration(initial_size=1 << 22), "LONG").notify_scope_entered()
    large = nd.full((BIG, BIG), 3e38)
    waves = nd.array(np.where(np.arange(BIG)[:, None] % 2, 1e38, -1e38), "f4")
    infinite = nd.full((BIG, BIG), np.inf)
    infinite[0] = -np.inf
    return {
        "np": np,
        "nd": nd,
        "x": large,
        "row": large[0] * 1,
        "waves": waves,
        "infinite": infinite,
        "mask": large > 0,
    }


def workspace_of(array):
    return array.base._workspace


@pytest.mark.parametrize("name", FAILING)
def test_a_failed_operation_leaves_nothing(name, names):
    workspace = workspace_of(names["x"])
    code = compile(FAILING[name], name, "eval")
    before = workspace.offset
    with np.errstate(all="raise"), pytest.raises((ValueError, IndexError, TypeError, FloatingPointError)):
        eval(code, names)
    assert workspace.offset == before
    assert workspace.spilled_count == 0


@pytest.mark.parametrize(
    "call", ["infinite - infinite", "infinite.mean(0)", "infinite.var(0)", "np.diff(infinite, n=2)"]
)
def test_warnings_turned_into_errors_leave_nothing(call, names):
    workspace = workspace_of(names["x"])
    before = workspace.offset
    with pytest.raises(RuntimeWarning, match=re.escape("invalid value encountered in")):
        eval(call, names)
    assert workspace.offset == before


def test_a_full_workspace_keeps_what_it_has():
    operations = [lambda x: x + x[0], lambda x: x.var(0), lambda x: np.add(x, x[0], out=x.T), lambda x: np.diff(x, 2)]
    with Workspace(WorkspaceConfiguration(initial_size=20_000, policy_spill="FAIL"), "FULL") as workspace:
        x = nd.ones((BIG, BIG))
        before = workspace.offset
        for operation in operations:
            with pytest.raises(WorkspaceFullError, match=re.escape("Can't allocate memory: Workspace is full.")):
                operation(x)
            assert workspace.offset == before
        assert x.sum() == BIG * BIG


def test_scratch_that_does_not_fit_is_freed_at_once():
    with Workspace(WorkspaceConfiguration(initial_size=3 << 14, policy_learning="NONE"), "TIGHT") as workspace:
        x, out = nd.ones((BIG, BIG)), nd.empty((BIG, BIG))
        row = np.arange(BIG, dtype="f4")
        for _ in range(50):
            np.arctan2(row[:, None], row, out=out)
            np.add(x, row, out=x.T)
        assert workspace.spilled_count == 0
        assert workspace.offset == 2 * x.nbytes
        np.testing.assert_array_equal(out, np.arctan2(row[:, None], row))


def test_learned_size_holds_one_scratch_whatever_the_number_of_operations():
    workspace = Workspace(WorkspaceConfiguration(policy_learning="FIRST_LOOP"), "LEARNING")
    for _ in range(2):
        with workspace:
            x = nd.ones((BIG, BIG))
            for _ in range(20):
                np.add(x, x[0], out=x)
    assert 2 * x.nbytes <= workspace.current_size <= 3 * x.nbytes
    assert workspace.spilled_count == 0


def test_scratch_and_failures_in_a_circular_workspace_never_give_wrong_numbers():
    configuration = WorkspaceConfiguration(
        initial_size=60_000, policy_reset="ENDOFBUFFER_REACHED", overallocation_limit=2
    )
    workspace, held, stale = Workspace(configuration, "RING"), [], 0
    for cycle in range(40):
        with workspace:
            x = nd.full((BIG, 3 * BIG // 4), cycle % 7 + 1.0)
            results = [np.add(x, x[0], out=x), x[::-1] * x[0], x.var(0), x.T + x[:, 0]]
            with np.errstate(all="raise"), pytest.raises(FloatingPointError, match=re.escape("overflow encountered")):
                np.multiply(x, np.full(3 * BIG // 4, 1e38, "f4") * 3)
        held = held[-40:] + [(result, result.copy()) for result in results]
        for result, expected in held:
            if not is_stale(result):
                np.testing.assert_array_equal(result, expected)
            else:
                stale += 1
    assert stale > 0
    assert workspace.spilled_count == 0


def is_stale(array):
    try:
        array.sum()
    except StaleArrayError:
        return True
    return False
