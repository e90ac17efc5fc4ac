"""In a ring, making room for a result may end the life of an operand: the numbers are right, or an error says so."""

import numpy as np
import pytest

from minidl.errors import MinidlError
from minidl.workspaces import Workspace, WorkspaceConfiguration

OPERATIONS = {
    "add": lambda x, y: x + y.T,
    "matmul": lambda x, y: x @ y,
    "in place": lambda x, y: np.add(x, y[:1], out=x),
    "concatenate": lambda x, y: np.concatenate([x, y], axis=1),
    "stack": lambda x, y: np.stack([x, y]),
    "append": lambda x, y: np.append(x, y, 0),
    "where": lambda x, y: np.where(x > 0, x, y.T),
    "dot": np.dot,
    "einsum": lambda x, y: np.einsum("ij,jk->ik", x, y),
    "take": lambda x, y: np.take(x, np.arange(len(x))[::-1], axis=0),
    "mean": lambda x, y: x.mean(0),
    "var": lambda x, y: x.var(0),
    "std of all": lambda x, y: np.std(x),
    "sort": lambda x, y: np.sort(x),
    "cumsum": lambda x, y: np.cumsum(x, 0),
    "clip": lambda x, y: np.clip(x, -0.5, 0.5),
    "outer": np.add.outer,
    "reduceat": lambda x, y: np.add.reduceat(x, [0, 1], axis=0),
    "second of two results": lambda x, y: np.divmod(x, y)[1],
    "fractions": lambda x, y: np.modf(x.T)[0],
    "expression": lambda x, y: np.tanh(x) * 2 + y.sum(0),
    "migrate": lambda x, y: x.migrate(),
}


def ring(size):
    return Workspace(
        WorkspaceConfiguration(
            initial_size=size,
            policy_reset="ENDOFBUFFER_REACHED",
            policy_allocation="STRICT",
            policy_learning="NONE",
        )
    )


def filled(workspace, rng, n, cycles):
    """Return the arrays of some cycles, and what was written into them."""
    arrays, written = [], []
    for count in cycles:
        with workspace:
            for _ in range(count):
                arrays.append(workspace.create((n, n), np.float64))
                written.append(rng.normal(size=(n, n)))
                arrays[-1][...] = written[-1]
    return arrays, written


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_in_a_small_ring_give_right_numbers_or_an_error(name):
    rng, right = np.random.default_rng(0), 0
    for _ in range(150):
        workspace, n = ring(int(rng.integers(6, 60)) * 32), int(rng.integers(2, 9))
        try:
            arrays, written = filled(workspace, rng, n, rng.integers(1, 5, 3))
            i, j = rng.integers(0, len(arrays), 2)
            expected = OPERATIONS[name](*[np.array(written[k]) for k in (i, j)]) if name != "migrate" else written[i]
            with workspace:
                result = OPERATIONS[name](arrays[i], arrays[j]).copy()  # raises where the ring was too small
        except MinidlError:
            continue
        np.testing.assert_array_equal(result, expected)
        right += 1
    assert right > 10


def test_a_result_that_takes_the_place_of_its_operand():
    workspace = ring(256)
    with workspace:
        x = workspace.create((4, 4), np.float64)
        x[...] = np.arange(16).reshape(4, 4)
    with workspace:
        workspace.create((4, 4), np.float64)
    with workspace:
        assert x.var(0).tolist() == [20, 20, 20, 20]
