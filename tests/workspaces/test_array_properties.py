"""Attached arrays against plain ones, bit for bit: every type, memory order, broadcast and axis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.workspaces import Workspace, WorkspaceArray, WorkspaceConfiguration

DTYPES = ["?", "i1", "u1", "i4", "i8", "u8", "f2", "f4", "f8", "c8", ">f4"]
EXTENTS = st.sampled_from([0, 1, 2, 3, 5, 33])
ANY_DTYPE = st.sampled_from(DTYPES)
SHAPES = st.lists(EXTENTS, min_size=1, max_size=4).map(tuple)
UNARY = [np.negative, np.abs, np.exp, np.tanh, np.sqrt, np.square, np.sign, np.isfinite, np.modf, np.logical_not]
BINARY = [
    np.add, np.subtract, np.multiply, np.true_divide, np.power, np.maximum, np.greater, np.equal, np.arctan2,
    np.floor_divide, np.divmod, np.logical_and, np.copysign, np.hypot,
]  # fmt: skip
REDUCING = [np.add, np.multiply, np.maximum, np.logical_or, np.hypot]
SCALARS = [2, -1, 300, 2.5, True, 1j, np.float32(2.5), np.float64(1.5), np.int8(3), np.bool_(True)]

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@st.composite
def arrays(draw, shapes=SHAPES, dtypes=ANY_DTYPE):
    """Draw a plain array: any type, its axes in any order in memory, some with gaps, some backwards."""
    shape, dtype = draw(shapes), np.dtype(draw(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    order = draw(st.permutations(range(len(shape))))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, -1]), min_size=len(shape), max_size=len(shape)))
    memory = rng.normal(size=[shape[axis] * abs(steps[axis]) for axis in order]) * 5
    if dtype.kind == "u":
        memory = np.abs(memory)
    view = memory.astype(dtype).transpose(np.argsort(order))
    return view[tuple([slice(None, None, step) for step in steps])]


def broadcast_of(shape):
    """Draw shapes that broadcast to ``shape``."""
    kept = st.tuples(*[st.sampled_from([extent, extent, 1]) for extent in shape])
    return st.builds(lambda extents, start: extents[start:], kept, st.integers(0, len(shape)))


def attached(workspace, array):
    """Return ``array`` in ``workspace`` with the same strides."""
    spans = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    if array.size == 0:
        return workspace.create(array.shape, array.dtype)
    first = -sum([span for span in spans if span < 0])
    memory = workspace.create(first + sum([span for span in spans if span > 0]) + array.itemsize, np.uint8)
    result = np.ndarray.__new__(WorkspaceArray, array.shape, array.dtype, memory, first, array.strides)
    result[...] = array
    return result


def layout(array):
    return [stride for stride, extent in zip(array.strides, array.shape, strict=True) if extent > 1 and array.size]


def assert_same(function, *operands):
    """Check that ``function`` of attached operands is that of plain ones: values, types, order, or the error."""
    with Workspace(WorkspaceConfiguration(initial_size=1 << 26)) as workspace:
        moved = [attached(workspace, array) if isinstance(array, np.ndarray) else array for array in operands]
        try:
            expected = function(*operands)
        except Exception as error:
            with pytest.raises(type(error)):
                function(*moved)
            return
        results = function(*moved)
        if not isinstance(expected, tuple):
            results, expected = (results,), (expected,)
        for result, plain in zip(results, expected, strict=True):
            assert isinstance(result, np.ndarray) == isinstance(plain, np.ndarray)
            assert result.dtype == plain.dtype
            assert result.shape == plain.shape
            assert layout(np.asarray(result)) == layout(np.asarray(plain))
            assert result.tobytes() == plain.tobytes()


@given(arrays(), st.sampled_from(UNARY))
def test_functions_of_one_array(array, ufunc):
    assert_same(ufunc, array)


@given(st.data(), st.sampled_from(BINARY), st.booleans())
@settings(max_examples=300)
def test_functions_of_two_arrays(data, ufunc, swapped):
    shape = data.draw(SHAPES)
    a, b = data.draw(arrays(st.just(shape))), data.draw(arrays(broadcast_of(shape)))
    assert_same(ufunc, *((b, a) if swapped else (a, b)))


@given(arrays(), st.sampled_from(SCALARS), st.sampled_from(BINARY), st.booleans())
@settings(max_examples=200)
def test_functions_of_array_and_scalar(array, scalar, ufunc, swapped):
    assert_same(ufunc, *((scalar, array) if swapped else (array, scalar)))


@given(st.data(), st.sampled_from(REDUCING), st.booleans(), st.sampled_from([None, None, "f4", "f8"]))
@settings(max_examples=200)
def test_reductions(data, ufunc, keepdims, dtype):
    array = data.draw(arrays())
    axes = st.sets(st.integers(0, array.ndim - 1), min_size=1).map(lambda chosen: tuple(sorted(chosen)))
    axis = data.draw(st.one_of(st.none(), st.integers(-array.ndim, array.ndim - 1), axes))
    assert_same(lambda x: ufunc.reduce(x, axis=axis, keepdims=keepdims, dtype=dtype), array)


@given(st.data(), st.sampled_from([np.mean, np.var, np.std, np.sum, np.max, np.cumsum, np.sort]))
@settings(max_examples=200)
def test_functions_along_an_axis(data, function):
    array = data.draw(arrays())
    axis = data.draw(st.integers(-array.ndim, array.ndim - 1))
    assert_same(lambda x: function(x, axis=axis), array)


@given(st.data())
def test_outputs_of_another_order(data):
    shape = data.draw(SHAPES)
    out = data.draw(arrays(st.just(shape), st.just("f4")))
    a, b = (data.draw(arrays(broadcast_of(shape), st.sampled_from(["f4", "i2"]))) for _ in range(2))
    assert_same(lambda x, y, z: np.add(x, y, out=z), a, b, out)


@given(st.data())
def test_overlapping_operands(data):
    array = data.draw(arrays(st.tuples(st.integers(2, 9), st.integers(2, 9)), st.just("f4")))
    expected = array.copy()
    source = data.draw(st.sampled_from([np.s_[:-1], np.s_[1:], np.s_[:1], np.s_[-1]]))
    expected[1:] += expected[source].copy()
    with Workspace(WorkspaceConfiguration(initial_size=1 << 16)) as workspace:
        x = attached(workspace, array)
        x[1:] += x[source]
        np.testing.assert_array_equal(x, expected)


@given(st.data(), st.sampled_from(["f4", "f8", "i4", "c8"]))
def test_products(data, dtype):
    loop = data.draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    rows, inner, columns = (data.draw(st.sampled_from([0, 1, 2, 5, 17])) for _ in range(3))
    a = data.draw(arrays(broadcast_of(loop).map(lambda shape: (*shape, rows, inner)), st.just(dtype)))
    b = data.draw(arrays(broadcast_of(loop).map(lambda shape: (*shape, inner, columns)), st.just(dtype)))
    assert_same(np.matmul, a, b)
    assert_same(np.matmul, a, b[..., 0] if columns and b.ndim == 2 else b)
    assert_same(np.dot, a, b)
    assert_same(lambda x, y: np.vecdot(x, x), a, b)


@given(st.data())
def test_where_and_concatenate(data):
    shape = data.draw(SHAPES)
    condition = data.draw(arrays(broadcast_of(shape), st.just("?")))
    a, b = data.draw(arrays(st.just(shape))), data.draw(arrays(st.just(shape)))
    axis = data.draw(st.integers(0, len(shape) - 1))
    assert_same(np.where, condition, a, b)
    assert_same(np.where, condition, 2.5, b)
    assert_same(lambda x, y: np.concatenate([x, y], axis), a, b)
    assert_same(lambda x, y: np.stack([x, y], axis), a, b)


@given(st.data(), st.sampled_from(["ij,jk->ik", "ij,jk->ki", "ij,jk->k", "ij,jk->kji"]))
def test_einsum(data, subscripts):
    i, j, k = (data.draw(st.sampled_from([1, 2, 5, 17])) for _ in range(3))
    a, b = (data.draw(arrays(st.just(shape), st.just("f4"))) for shape in ((i, j), (j, k)))
    assert_same(lambda x, y: np.einsum(subscripts, x, y), a, b)
