"""Every ufunc of NumPy and SciPy, found by reflection, with all its methods: the results of plain arrays, attached."""

import re
import warnings

import numpy as np
import pytest
import scipy.special
from both_ways import assert_same_both_ways

from minidl import nd
from minidl.errors import StaleArrayError
from minidl.workspaces import Workspace, WorkspaceConfiguration

DTYPES = ["?", "i1", "i4", "u8", "f2", "f4", "f8", "c8", ">f4"]
MASK = np.arange(24).reshape(4, 6) % 3 > 0
CALLS = {
    "call": lambda f, *a: f(*a),
    "broadcast": lambda f, a, *b: f(a, *[other[:1] for other in b]),
    "transposed": lambda f, *a: f(*[one.T for one in a]),
    "backward": lambda f, *a: f(*[one[::-1, ::-2] for one in a]),
    "scalar": lambda f, a, *b: f(a, *[2] * len(b)),
    "0-d": lambda f, *a: f(*[one[1, 1:2].reshape(()) for one in a]),
    "empty": lambda f, *a: f(*[one[:, :0] for one in a]),
    "dtype": lambda f, *a: f(*a, dtype=np.float64),
    "safe casting": lambda f, *a: f(*a, dtype=np.float32, casting="safe"),
    "square": lambda f, *a: f(*[one[:, :4] for one in a]),
    "bad shape": lambda f, a, *b: f(a, *[other[:, :5] for other in b]),
}
METHODS = {
    "reduce": lambda f, a: f.reduce(a),
    "reduce rows": lambda f, a: f.reduce(a, axis=-1, keepdims=True),
    "reduce all": lambda f, a: f.reduce(a, axis=None),
    "reduce all, keepdims": lambda f, a: f.reduce(a, axis=(0, 1), keepdims=True),
    "reduce backward": lambda f, a: f.reduce(a[:, ::-2], axis=1),
    "reduce where": lambda f, a: f.reduce(a, axis=1, where=MASK, initial=1),
    "reduce dtype": lambda f, a: f.reduce(a.T, axis=1, dtype=np.float64),
    "accumulate": lambda f, a: f.accumulate(a),
    "accumulate rows": lambda f, a: f.accumulate(a[:, ::-1], axis=1),
    "reduceat": lambda f, a: f.reduceat(a, [0, 2, 1]),
    "reduceat rows": lambda f, a: f.reduceat(a.T, [3, 1], axis=0),
    "outer": lambda f, a: f.outer(a, a[0]),
    "outer, scalar": lambda f, a: f.outer(a, 2),
    "bad axis": lambda f, a: f.reduce(a, axis=5),
}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def ufuncs_of(module):
    return {name: function for name, function in vars(module).items() if isinstance(function, np.ufunc)}


NUMPY, SCIPY = ufuncs_of(np), ufuncs_of(scipy.special)


def values(dtype, count):
    """Return ``count`` arrays of that type, both signs where it has them, none of them zero."""
    rng = np.random.default_rng(3)
    numbers = [rng.uniform(0.6, 5, (4, 6)) * rng.choice([1, -1], (4, 6)) for _ in range(count)]
    return [(np.abs(number) if np.dtype(dtype).kind == "u" else number).astype(dtype) for number in numbers]


@pytest.fixture
def workspace():
    return Workspace(WorkspaceConfiguration(initial_size=1 << 22), "TABLE").notify_scope_entered()


def compare(call, ufunc, arrays, workspace, **options):
    attached = [nd.array(array) for array in arrays]
    return assert_same_both_ways(lambda operands: call(ufunc, *operands), arrays, attached, workspace, **options)


@pytest.mark.parametrize("name", NUMPY)
def test_calls(name, workspace):
    ufunc = NUMPY[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = [
            compare(call, ufunc, values(dtype, ufunc.nin), workspace) for dtype in DTYPES for call in CALLS.values()
        ]
    assert not all(isinstance(result, Exception) for result in done) or name == "isnat"


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("method", METHODS)
def test_methods(name, method, workspace):
    for dtype in DTYPES:
        compare(METHODS[method], NUMPY[name], values(dtype, 1), workspace)


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")
@pytest.mark.parametrize("name", [name for name, ufunc in NUMPY.items() if ufunc.signature is None])
def test_masked_calls(name, workspace):
    ufunc = NUMPY[name]
    for dtype in DTYPES:
        arrays = values(dtype, ufunc.nin)
        compare(lambda f, *a: f(*a, where=MASK), ufunc, arrays, workspace, where=MASK)
        compare(lambda f, *a: f(*[one[:1] for one in a], where=MASK), ufunc, arrays, workspace, where=MASK)


@pytest.mark.parametrize("name", NUMPY)
def test_adding_at_places(name, workspace):
    ufunc = NUMPY[name]
    for dtype in DTYPES:
        operands = [array[0] for array in values(dtype, 1)]
        plain, attached = operands[0].copy(), nd.array(operands[0])
        rest = [2] * (ufunc.nin - 1)
        try:
            ufunc.at(plain, [0, 0, 3], *rest)
        except Exception as error:
            with pytest.raises(type(error), match=re.escape(str(error))):
                ufunc.at(attached, [0, 0, 3], *rest)
        else:
            ufunc.at(attached, [0, 0, 3], *rest)
        assert attached.tobytes() == plain.tobytes()


@pytest.mark.parametrize("name", NUMPY)
def test_floating_point_errors_leave_nothing_behind(name, workspace):
    ufunc = NUMPY[name]
    with np.errstate(all="raise"):
        for dtype in ("f4", "f8", "c8", "i4"):
            arrays = [array * np.array([[0], [1], [1], [1]], dtype) for array in values(dtype, ufunc.nin)]
            compare(CALLS["call"], ufunc, arrays, workspace)
            compare(CALLS["broadcast"], ufunc, arrays, workspace)


@pytest.mark.parametrize("name", SCIPY)
def test_special_functions(name, workspace):
    ufunc = SCIPY[name]
    for dtype in ("f4", "f8", "i4"):
        arrays = [np.abs(array) for array in values(dtype, ufunc.nin)]
        compare(CALLS["call"], ufunc, arrays, workspace)
        compare(CALLS["broadcast"], ufunc, arrays, workspace)


@pytest.mark.parametrize("name", NUMPY)
def test_stale_operands_raise(name, workspace):
    ufunc = NUMPY[name]
    arrays = [nd.array(array) for array in values("f4", ufunc.nin)]
    workspace.close()
    message = re.escape(f"Op [{ufunc.__name__}] X argument uses leaked workspace pointer from workspace [TABLE]")
    with pytest.raises(StaleArrayError, match=f"^{message}"):
        ufunc(*arrays)


@pytest.mark.parametrize("method", METHODS)
def test_stale_operands_of_methods_raise(method, workspace):
    array = nd.ones((4, 6))
    workspace.close()
    with pytest.raises(
        StaleArrayError, match=re.escape("argument uses leaked workspace pointer from workspace [TABLE]")
    ):
        METHODS[method](np.add, array)


def test_the_ufuncs_are_found():
    assert len(NUMPY) > 90
    assert len(SCIPY) > 200
