"""What NumPy does with an attached array, call by call: the numbers of plain arrays, and errors once it is stale."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from both_ways import assert_same

from minidl import nd
from minidl.errors import StaleArrayError
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration, workspace_manager

# Where the result of a call is: in the workspace, newly made or as a view of an operand, or plain. Small letters are
# floats of shape (6,), (4, 1), (6, 6) ...; see `operands`.
IN_WORKSPACE = [
    # elementwise
    "-x", "abs(x)", "np.exp(x)", "np.tanh(x)", "np.isfinite(x)", "np.sqrt(pos)", "~mask", "np.invert(n)",
    "x + y", "x - row", "x * col", "row / pos", "x // 2", "x % 3", "pos ** y", "x ** 2", "2.0 * x", "1 - x", "x + 1j",
    "x + True", "x * np.float32(3)", "x * np.float64(3)", "x + n", "x.T + y.T", "x.T + y.reshape(6, 4)", "cube + row",
    "x[::2] + y[1::2]", "x[:, ::2] * row[::2]", "np.add(x, [1, 2, 3, 4, 5, 6])", "np.add(x, y, dtype=np.float64)",
    "np.subtract(x, y, casting='same_kind')", "plain + x", "x + plain", "np.maximum(x, 0.0)", "np.arctan2(x, y)",
    "np.hypot(x, col)", "np.logaddexp(x, row)", "np.float_power(pos, 2)", "np.copysign(x, y)", "np.ldexp(x, n)",
    "x > 0", "x <= row", "x == y", "x != 2", "mask & (x > y)", "mask | mask", "mask ^ mask", "np.logical_not(x)",
    "np.clip(x, -1, 1)", "x.clip(-1, row)", "np.clip(x, None, 0.5)", "n << 1", "n & 3",
    # reductions and running results
    "x.sum(0)", "x.sum(axis=1, keepdims=True)", "x.sum(keepdims=True)", "np.sum(x, axis=-1)", "cube.sum((0, 2))",
    "x.T.sum(0)", "x.max(0)", "x.min(axis=1)", "np.max(x, axis=0)", "np.amin(x, axis=1)", "x.prod(0)", "np.prod(n, 0)",
    "mask.sum(0)", "n.sum(1)", "mask.any(0)", "x.all(1)", "np.any(mask, axis=1)", "np.all(x, axis=0)",
    "np.add.reduce(x)", "np.maximum.reduce(x, axis=1)", "np.add.reduce(x, where=mask)", "x.sum(0, initial=2.0)",
    "x.sum(0, dtype=np.float64)", "x.cumsum(0)", "np.cumsum(x, axis=1)", "x.cumprod(1)", "np.add.accumulate(x)",
    "x.mean(0)", "np.mean(x, axis=1, keepdims=True)", "cube.mean((0, 1))", "x.var(0)", "np.var(x, axis=1, ddof=1)",
    "x.T.var(0)", "x.std(1, keepdims=True)", "np.std(cube, axis=(0, 2))", "np.ptp(x, axis=0)", "np.diff(x)",
    # products
    "x @ square", "square @ row", "row @ square", "x @ x.T", "plain @ square", "cube @ square", "stack3 @ cube",
    "np.matmul(x, square)", "np.dot(x, square)", "x.dot(row)", "x.dot(square)", "cube.dot(square)", "np.vecdot(x, y)",
    "np.einsum('ij,jk->ik', x, square)", "np.einsum('ij,ij->j', x, y)", "np.einsum('bij,jk->bki', cube, square)",
    "np.multiply.outer(row, col)", "np.add.outer(row, 2)",
    # rearranging
    "np.concatenate([x, y])", "np.concatenate((x, plain), axis=1)", "np.concatenate([x.T, y.T])", "np.append(x, y)",
    "np.stack([x, y])", "np.stack([x, y], axis=1)", "np.stack([x.T, y.T], -1)", "np.vstack([x, row])",
    "np.hstack([x, col])", "np.column_stack([row, row])", "np.where(mask, x, y)", "np.where(mask, x, 0.0)",
    "np.where(x > 0, row, col)", "np.take(x, [[0, -1]], axis=1)", "np.take(x, index)", "np.sort(x)", "np.sort(x.T, 0)",
    "x.take([0, 1])", "np.add.reduceat(x, [0, 2])", "np.mean(n, axis=0)", "x[::-1].sum(0)",
    "x.var(0, dtype='f8')", "np.var(n, 1)", "x[:, ::2].std(0)", "np.einsum('ij->i', x)", "np.concatenate([x, y], None)",
]  # fmt: skip
VIEWS = [
    "x[1]", "x[1:3]", "x[...]", "x[:, None]", "x[::-1, 1:4]", "x.T", "cube.mT", "x.reshape(6, 4)", "x.ravel()",
    "x.transpose(1, 0)", "x.swapaxes(0, 1)", "col.squeeze()", "square.diagonal()", "x.view(np.int32)", "x.real",
    "z.imag", "x.conj()", "np.reshape(x, -1)", "np.transpose(x)", "np.squeeze(col)", "np.expand_dims(x, 0)",
    "np.moveaxis(cube, 0, -1)", "np.rollaxis(cube, 2)", "np.flip(x)", "np.rot90(x)", "np.split(x, 2)[1]",
    "np.array_split(x, 3)[0]", "np.hsplit(x, 2)[1]", "np.atleast_3d(x)", "np.diagonal(square)",
    "np.broadcast_to(row, (3, 6))",
    "np.broadcast_arrays(x, row)[1]", "np.lib.stride_tricks.sliding_window_view(row, 3)",
    "np.meshgrid(row, row, copy=False)[0]",
    "x.astype(np.float32, copy=False)", "np.einsum('ij->ji', x)", "np.einsum('ii->i', square)",
]  # fmt: skip
PLAIN = [
    "x.copy()", "x.T.copy('K')", "np.copy(x)", "x.astype(np.float64)", "x.flatten()",
    "x.repeat(2, 0)",
    "x[[0, 2]]", "x[mask]", "x[x > 0]", "x[index, :]", "x[:, [0, 1]]", "x[np.ix_([0, 1], [2, 3])]", "x.T.reshape(-1)",
    "x.T.ravel()", "np.ravel(x.T)", "x.flat[1:3]", "x.argmax(0)", "x.argmin(1)", "x.argsort()", "x.argpartition(2)",
    "x.nonzero()[0]", "x.compress([True, False], 0)", "index.choose([row, row])", "x.round(1)", "np.round(x, 1)",
    "row.searchsorted(col)", "x.byteswap()", "np.argsort(x)", "np.argmax(x, axis=1)",
    "np.nonzero(x)[1]",
    "np.zeros_like(x)", "np.full_like(x, 3)", "np.pad(x, 1)", "np.tile(x, 2)", "np.repeat(x, 2)", "np.roll(x, 1)",
    "np.unique(n)", "np.bincount(n[0])", "np.histogram(x)[0]", "np.percentile(x, 30, axis=0)", "np.median(x, axis=0)",
    "np.cov(x)", "np.inner(x, y)", "np.outer(row, row)", "np.tensordot(x, square, 1)", "np.kron(row, row)",
    "np.linalg.norm(x, axis=0)", "np.linalg.inv(square)", "np.linalg.qr(x)[0]", "np.fft.rfft(x)",
    "np.interp(row, row, row)",
    "np.nan_to_num(x)", "np.isclose(x, y)", "np.tril(square)", "np.select([mask], [x], 0)", "np.digitize(row, row)",
    "np.delete(x, 0, axis=0)", "np.insert(x, 0, 1, axis=0)",
    "np.apply_along_axis(np.sum, 0, x)",
    "x * big", "np.partition(x, 2)", "np.take_along_axis(x, n % 4, axis=0)",
]  # fmt: skip
SCALARS = [
    "x.sum()", "x.max()", "x.mean()", "x.var()", "np.std(x)", "np.mean(x)", "x.any()", "x[1, 2]", "x.item(3)",
    "row @ row",
    "np.dot(row, row)", "np.vdot(x, y)", "np.trace(square)", "square.trace()", "x.argmax()", "np.linalg.norm(x)",
    "np.linalg.det(square)", "np.allclose(x, y)", "np.array_equal(x, y)", "2.5 in x", "float(x[0, :1].reshape(()))",
    "int(n[0, :1].reshape(()))", "bool(mask[0, :1].reshape(()))", "complex(z[0, :1].reshape(()))",
    "range(10)[n[0, :1].reshape(())]", "x.tolist()", "x.tobytes()", "str(x)", "format(x[0, :1].reshape(()), '.2f')",
    "[row.sum() for row in x]", "list(row)", "np.array2string(x)", "np.shape(x)",
    "np.count_nonzero(mask)", "np.add.reduce(x, axis=None)", "x.flat[3]", "np.result_type(x, 2)", "len(x.data)",
]  # fmt: skip
IN_PLACE = [
    "x += 1", "x -= row", "x *= y", "x /= col", "square @= square", "n <<= 1", "x[1] = 5", "x[...] = y", "x[mask] = 0",
    "x[:, [0, 1]] = 7", "x[1, 2] = x[2, 1]", "x.fill(3)", "x.sort()", "x.sort(0)", "x.partition(2)", "x.put([0, 1], 9)",
    "x.T[...] = square[:6, :4]", "x.flat[2] = 4", "x.flat = 1", "x.real = 2", "z.imag = x", "np.copyto(x, row)",
    "np.put(x, [1], 2)", "np.place(x, mask, [1, 2])", "np.putmask(x, mask, y)", "np.fill_diagonal(square, 0)",
    "np.add.at(row, [0, 0, 1], 1)", "np.add(x, y, out=x)", "np.add(x, row, out=x)", "np.add(x, y, x)",
    "np.multiply(x, col, out=x[::-1])", "np.add(x[:, :3], row[:3], out=x[:, 3:])", "np.add(x, y, out=x, where=mask)",
    "np.modf(y, out=(x, x.copy()))", "np.matmul(x, square, out=y)", "np.sum(y, axis=0, out=row)", "y.sum(0, out=row)",
    "np.add.accumulate(x, out=y)", "np.add.reduceat(x, [0, 1, 2, 3], out=y)", "np.dot(x, square, out=y)",
    "x.dot(square, y)",
    "np.mean(x, axis=0, out=row)", "np.clip(x, 0, 1, out=x)", "np.concatenate([x[:2], y[:2]], out=x)",
    "x.byteswap(True)",
    "np.einsum('ij,jk->ik', x, square, out=y)", "np.take(x, [3, 2, 1, 0], axis=0, out=y)", "np.cumsum(x, 0, out=y)",
]  # fmt: skip

STALE = re.compile(
    r"(Op \[\S+\] (X|Y|Z|input \d|\w+) argument uses leaked workspace pointer from workspace \[TABLE\]: the array|"
    r"Cannot duplicate INDArray: Array uses leaked workspace pointer from workspace TABLE \(array generation 1, "
    r"current workspace generation 1\): the array) of shape \([\d, ]*\) was made in a scope of it that was left, and "
    r"the workspace is no longer open\. .*All open workspaces: \[\]\. Inside the scope, call detach\(\) to keep an "
    r"independent copy, or leverage_to\(id\) to move the array to a workspace that stays open longer\."
)


def operands():
    rng = np.random.default_rng(7)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    x = normal(4, 6)
    return {
        "x": x, "y": normal(4, 6), "row": np.sort(normal(6)), "col": normal(4, 1), "square": normal(6, 6),
        "cube": normal(2, 5, 6), "stack3": normal(2, 3, 5), "pos": np.abs(normal(4, 6)) + 1, "mask": normal(4, 6) > 0,
        "n": rng.integers(1, 9, (4, 6)).astype(np.int32), "index": np.array([1, 0, 1, 0, 1, 0]), "z": x * (1 + 2j),
    }  # fmt: skip


@pytest.fixture
def case():
    """Return the open workspace, and the same operands plain and attached."""
    plain = operands()
    unattached = {"np": np, "plain": plain["x"] * 2, "big": np.ones((4, 6), object)}
    workspace = Workspace(WorkspaceConfiguration(initial_size=1 << 20), "TABLE").notify_scope_entered()
    attached = {name: nd.array(array) for name, array in plain.items()}
    return SimpleNamespace(workspace=workspace, plain=unattached | plain, attached=unattached | attached)


@pytest.mark.parametrize("call", IN_WORKSPACE)
def test_result_is_made_in_the_workspace(call, case):
    expected = eval(call, case.plain)
    before = case.workspace.offset
    result = eval(call, case.attached)
    assert type(result) is WorkspaceArray
    assert result.is_attached
    assert case.workspace.offset > before
    assert_same(result, expected)


@pytest.mark.parametrize("call", VIEWS)
def test_view_is_attached(call, case):
    expected = eval(call, case.plain)
    before = case.workspace.offset
    result = eval(call, case.attached)
    assert type(result) is WorkspaceArray
    assert result.is_attached
    assert case.workspace.offset == before
    assert_same(result, expected)


@pytest.mark.parametrize("call", PLAIN)
def test_result_is_plain(call, case):
    expected = eval(call, case.plain)
    result = eval(call, case.attached)
    assert type(result) is np.ndarray
    assert not nd.is_attached(result)
    assert_same(result, expected)


@pytest.mark.parametrize("call", SCALARS)
def test_scalar_is_that_of_plain_arrays(call, case):
    result, expected = eval(call, case.attached), eval(call, case.plain)
    assert type(result) is type(expected)
    assert result == expected


@pytest.mark.parametrize("statement", IN_PLACE)
def test_writing_in_place(statement, case):
    names = operands()
    exec(statement, case.plain)
    exec(statement, case.attached)
    for name in names:
        assert type(case.attached[name]) is WorkspaceArray
        assert case.attached[name].tobytes() == case.plain[name].tobytes()


@pytest.mark.parametrize("call", IN_WORKSPACE + VIEWS + PLAIN + SCALARS + IN_PLACE)
def test_stale_array_raises(call, case):
    case.workspace.close()
    with pytest.raises(StaleArrayError, match=STALE) as caught:
        exec(call, case.attached)
    assert caught.value.code in {"E1", "E3"}


@pytest.mark.parametrize("call", IN_WORKSPACE + PLAIN)
def test_without_a_current_workspace_results_are_plain(call, case):
    expected = eval(call, case.plain)
    with workspace_manager.scope_out_of_workspaces():
        before = case.workspace.offset
        result = eval(call, case.attached)
    assert not nd.is_attached(result)
    assert case.workspace.offset == before
    np.testing.assert_array_equal(result, expected)


def test_table_is_large():
    assert len(IN_WORKSPACE + VIEWS + PLAIN + SCALARS + IN_PLACE) > 250
