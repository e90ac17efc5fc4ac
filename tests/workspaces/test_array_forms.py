"""The functions that put results into the current workspace, in every form: options, types, memory orders, mistakes."""

import itertools

import numpy as np
import pytest
from both_ways import assert_same_both_ways

from minidl import nd
from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration

FLOATS = ["x", "x.T", "x[::-1, ::-1]", "x[:, ::2]", "cube", "cube.transpose(1, 2, 0)", "x[:, :0]", "x[1]", "one"]
TYPES = ["n", "mask", "half", "z", "double", "swapped", "small"]
ARRAYS = FLOATS + TYPES
AXES = ["", ", axis=0", ", axis=-1", ", axis=None", ", axis=(0, 1)", ", axis=7", ", axis=0.5"]


def forms(pattern, *choices):
    """Return ``pattern`` filled with every combination of the choices."""
    return [pattern.format(*chosen) for chosen in itertools.product(*choices)]


FORMS = [
    # mean, var, std
    *forms(
        "np.{}({}{}{})",
        ["mean", "var", "std"],
        ARRAYS,
        AXES,
        ["", ", keepdims=True", ", dtype=np.float64", ", where=mask[:1, :1]"],
    ),
    *forms("{}.{}(0)", ARRAYS, ["mean", "var", "std"]),
    *forms("np.{}(x, {}, ddof=1.5, keepdims=True)", ["var", "std"], [0, 1]),
    *forms("np.{}(x, 0, correction=1)", ["var", "std"]),
    *forms("np.{}(x, 0, mean=x.mean(0, keepdims=True))", ["var", "std"]),
    # sums and running sums
    *forms("np.{}({}{}{})", ["sum", "prod", "max", "all"], ARRAYS, AXES, ["", ", keepdims=True", ", where=mask[:1]"]),
    *forms("{}.{}(0)", ARRAYS, ["sum", "min", "any", "prod", "cumprod"]),
    *forms("np.cumsum({}{}{})", ARRAYS, ["", ", axis=0", ", axis=-1", ", axis=9"], ["", ", dtype=np.float64"]),
    *forms("{}.cumsum({})", ARRAYS, ["", "0", "-1"]),
    # sort, take, clip
    *forms("np.sort({}{}{})", ARRAYS, ["", ", axis=0", ", axis=None", ", axis=9"], ["", ", kind='stable'"]),
    *forms(
        "np.take({}, {}{}{})",
        FLOATS,
        ["[0, -1]", "[[0], [1]]", "index", "0", "[True, False]", "[99]", "[]"],
        ["", ", axis=0", ", axis=-1"],
        ["", ", mode='clip'", ", mode='wrap'"],
    ),
    *forms("{}.take({}{})", ARRAYS, ["[1, 0]", "index", "1"], ["", ", axis=0", ", 0, None, 'clip'"]),
    *forms("np.clip({}, {}, {})", ARRAYS, ["-1", "None", "0.5"], ["1", "None", "np.float64(0.5)"]),
    *forms("{}.clip({})", ARRAYS, ["0, 1", "min=0", "max=2.5", "None, row[0]", "row, row"]),
    *["np.clip(x, row, pos)", "np.clip(x, min=0)", "np.clip(x, -1, 1, dtype=np.float64)"],
    # concatenate, stack, where
    *forms("np.concatenate([{0}, {1}]{2})", ARRAYS, ["x", "n", "z"], ["", ", axis=1", ", axis=None"]),
    *forms("np.concatenate([{0}, {0}], dtype={1}, casting={2})", ["x", "n"], ["'f8'", "'i2'"], ["'unsafe'", "'safe'"]),
    *forms("np.concatenate({})", ["[x, x], out=2", "x", "cube, axis=1", "[x, [[1] * 6]]"]),
    *forms("np.stack([{0}, {0}]{1})", ARRAYS, ["", ", axis=-1", ", axis=1", ", axis=5"]),
    *forms("np.stack([x, {}])", ["n", "z", "half", "row"]),
    *forms("np.stack({})", ["[x, x], dtype='f8'", "x", "[x, x], dtype='i2', casting='unsafe'", "[[1] * 6, row]"]),
    *forms(
        "np.where({}, {}, {})",
        ["mask", "n", "x", "mask[:, :1]", "mask.T"],
        ["x", "n", "2.5", "row", "z", "half", "x[::-1]", "[1] * 6"],
        ["x", "0", "col", "np.float64(1)"],
    ),
    *["np.where(True, x, 0)", "np.where([True] * 6, row, 1)", "np.where(x > 0, big, x)"],
    # products
    *forms("np.dot({}, {})", ARRAYS, ["square", "row", "cube", "2", "x.T", "one", "zsquare", "[1.0] * 6"]),
    *forms("{}.dot({})", ["x", "square", "row", "cube"], ["square", "row", "3", "x.T", "square.T[::-1]"]),
    *forms(
        "{} @ {}",
        ["x", "row", "cube", "square", "stack3", "x[:, ::-1]", "zsquare", "n", "one", "cube[:, None]"],
        ["x", "row", "cube", "square", "x.T", "square[::2].T", "zsquare", "n.T", "2", "square.T"],
    ),
    *forms("np.{}({}, {})", ["vecdot", "matmul"], ["x", "z", "cube", "row"], ["row", "x[:1]", "z", "square"]),
    *forms("np.vecdot({})", ["x, x, axis=0", "z, z, keepdims=True"]),
    *forms("np.matmul(x, square, {})", ["axes=[(0, 1), (1, 0), (0, 1)]", "dtype=np.float64"]),
    *forms(
        "np.einsum({})",
        [
            "'ij,jk', x, square", "'ij->i', x", "'ij->', x", "'ii', square", "'i,i', row, row", "'ij,j->i', x, n[0]",
            "'...j,jk->...k', cube, square", "'bij,jk->bik', cube, square, optimize=True", "'i,j->ij', row, row",
            "'ij,ij->ij', z, x", "'ij,jk,kl->il', x, square, square, optimize='greedy'", "'ij,jk->ik', x, row",
            "x, [0, 1], square, [1, 2], [0, 2]", "'ij,jk->iq', x, square", "'ij,ij', x, x[::-1]",
            "'ij,jk->ik', x, square, dtype=np.float64", "'ij,jk->ik', x, square, order='F'",
        ],
    ),
]  # fmt: skip

GETTING = [
    "{}[0]", "{}[-1:]", "{}[[0, 1]]", "{}[index]", "{}[..., 0]", "{}[None, 1]", "{}[0, [1, 0]]", "{}[[0, 1], [1, 0]]",
    "{}[one.astype(int)]", "{}[one.astype(int), 0]", "{}[0, one.astype(int)]", "{}[..., one.astype(int)]", "{}[True]",
    "{}[::-1, index]", "{}[index[:1] > 0]", "{}[99]", "{}['a']", "{}[0.5]", "{}[:, :, :, 0]", "{}[()]", "{}[[]]",
    "{}[np.ix_([0, 1], [1])]", "{}[{} > 0]", "{}[one > 0]", "{}[row[:1].astype(int)]",
]  # fmt: skip
SETTING = [
    "{}[0] = 1", "{}[...] = 2.7", "{}[[0, 1]] = row[0]", "{}[{} > 0] = 0", "{}[index] = 3", "{}[1:] = {}[:-1]",
    "{}[:-1] = {}[1:]", "{}[::-1] = {}", "{}[0] = {}[1]", "{}[[1, 0]] = {}[[0, 1]]", "{}[0, one.astype(int)] = 5",
    "{}[99] = 1", "{}[0] = [1, 2, 3, 4, 5, 6, 7, 8]", "{}[0] = 'a'", "{}[:] = None", "{} += 1", "{} -= 0.5", "{} *= {}",
    "{} /= 2", "{} //= 2", "{} **= 2", "{} %= 2", "{} @= square", "{} += {}[::-1]", "{} += {}[0]", "{} |= {}",
    "{} <<= 1",
    "{}[1:] += {}[:-1]", "{}[:-1] *= {}[1:]", "np.add({}[1:], 1, out={}[:-1])", "np.add({}, {}[::-1], out={})",
    "np.add({}[:1], {}, out={})", "np.add({}, {}, out={}, where={} > 0)", "np.cumsum({}, 0, out={})", "{}.sort(0)",
    "np.multiply({}, 2.5, out={})", "np.multiply({}, 2.5, out={}, casting='unsafe')", "np.sum({}, 0, out={}[0])",
    "np.maximum({}[:, ::-1], {}, out={})", "np.add.accumulate({}, out={})", "np.clip({}, 0, {}[::-1], out={})",
    "np.matmul(square, square, out=square)", "np.add(square, square.T, out=square)", "np.add(square.T, 1, out=square)",
    "np.subtract(square[1:], square[:-1], out=square[1:])", "np.exp(square[:, ::-1], out=square)", "one[...] = 4",
    "np.add(one, 1, out=one)", "square += square.T", "square *= square[:, :1]", "square @= square.T",
    "np.where({} > 0, {}, 0)[...] = 9", "{}.T[...] += 1", "{}[..., 0] += {}[..., 1]", "np.copyto({}, {}[::-1])",
]  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def operands():
    rng = np.random.default_rng(11)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    x = normal(4, 6)
    return {
        "x": x, "row": normal(6), "col": normal(4, 1), "square": normal(6, 6), "cube": normal(2, 5, 6), "pos": x**2,
        "stack3": normal(2, 3, 5), "mask": normal(4, 6) > 0, "n": rng.integers(1, 9, (4, 6)).astype(np.int32),
        "index": np.array([1, 0, 1, 0, 1, 0]), "z": x * (1 + 2j), "half": normal(4, 6).astype(np.float16),
        "double": rng.normal(size=(4, 6)), "swapped": normal(4, 6).astype(">f4"), "one": np.array(1, np.float32),
        "big": np.ones((4, 6), object), "small": rng.integers(0, 99, (4, 6)).astype(np.uint8),
        "zsquare": normal(6, 6) * (2 - 1j),
    }  # fmt: skip


def moved(array):
    return array.view(WorkspaceArray) if array.dtype.hasobject else nd.array(array)


@pytest.fixture
def both():
    """Return the same operands plain and attached, and their workspace, which is open."""
    plain = operands()
    workspace = Workspace(WorkspaceConfiguration(initial_size=1 << 26), "TABLE").notify_scope_entered()
    return {"np": np} | plain, {"np": np} | {name: moved(array) for name, array in plain.items()}, workspace


@pytest.mark.parametrize("call", FORMS)
def test_forms_of_functions(call, both):
    with np.errstate(all="ignore"):
        assert_same_both_ways(lambda names: eval(call, names), *both)


@pytest.mark.parametrize("array", ["x", "x.T", "cube", "n", "z"])
@pytest.mark.parametrize("pattern", GETTING)
def test_elements(pattern, array, both):
    plain, attached, _ = both
    call = pattern.replace("{}", array)
    try:
        expected = eval(call, plain)
    except Exception as error:
        with pytest.raises(type(error)):
            eval(call, attached)
        return
    result = eval(call, attached)
    assert isinstance(result, np.ndarray) == isinstance(expected, np.ndarray)
    assert (type(result) is WorkspaceArray) == nd.is_attached(result)
    assert nd.is_attached(result) == (
        isinstance(expected, np.ndarray) and np.may_share_memory(expected, eval(array, plain))
    )
    np.testing.assert_array_equal(result, expected, strict=True)


@pytest.mark.parametrize("array", ["x", "half", "cube", "n", "z", "mask"])
@pytest.mark.parametrize("pattern", SETTING)
def test_writing(pattern, array, both):
    plain, attached, workspace = both
    names = dict(attached)
    statement = pattern.replace("{}", array)
    before = workspace.offset
    try:
        with np.errstate(all="ignore"):
            exec(statement, plain)
    except Exception as error:
        with pytest.raises(type(error)):
            exec(statement, attached)
    else:
        exec(statement, attached)
    for name in operands():
        assert attached[name] is names[name]
        assert attached[name].tobytes() == plain[name].tobytes()
    assert workspace.offset <= before + 3 * attached["cube"].nbytes


def test_indices_of_a_condition_are_attached(both):
    plain, attached, _ = both
    for mine, theirs in zip(np.where(attached["mask"]), np.where(plain["mask"]), strict=True):
        assert mine.is_attached
        np.testing.assert_array_equal(mine, theirs, strict=True)
    assert attached["x"][np.where(attached["mask"])].sum() == plain["x"][np.where(plain["mask"])].sum()


def test_the_table_is_large():
    assert len(FORMS) > 4000
