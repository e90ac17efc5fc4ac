"""Rows of the conformance table that concern arrays, long loops and networks; the other rows are in tests/workspaces.

Rows 77 (preprocessors), 78, 79 and 82 (recurrent layers) wait for those layers.
"""

# ruff: noqa: N802  (rows carry the names of their tests upstream)

import pickle

import numpy as np
import pytest
from networks import data, network

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration, WorkspaceMode, nd
from minidl.layers import OutputLayer
from minidl.workspaces import Workspace, WorkspaceConfiguration, memory_manager, workspace_manager

each_mode = pytest.mark.parametrize("mode", ["NONE", "ENABLED"])


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    assert not workspace_manager.any_workspace_active_for_current_thread()
    workspace_manager.destroy_all_workspaces_for_current_thread()


def fixed(size, id):
    return Workspace(WorkspaceConfiguration(initial_size=size, policy_allocation="STRICT"), id)


def test_row_16_testNoShape1():
    with fixed(2 << 20, "W") as workspace:
        array = workspace.create((64, 50, 8, 8), np.float64)
        assert tuple(step // 8 for step in array.strides) == (3200, 64, 8, 1)
        matrix = array.reshape(50, 4096)
        assert np.shares_memory(matrix, array)
        assert matrix.is_attached
        assert workspace.offset == array.nbytes


def test_row_41_testWorkspacesSerde1_to_3():
    with fixed(1000, "W") as workspace:
        written = pickle.dumps(workspace.create(5, np.float64) + 3)
        offset = workspace.offset
        read = pickle.loads(written)
        assert not nd.is_attached(read)  # decided: a pickle gives a detached array, migrate() puts it into a workspace
        assert workspace.offset == offset
        assert nd.migrate(read).sum() == 15
        assert workspace.offset == offset + 40
    with workspace, workspace_manager.scope_out_of_workspaces():
        assert nd.migrate(pickle.loads(written)).sum() == 15
        assert workspace.offset == 0


@pytest.mark.parametrize("size", [4000, 0])
def test_row_74_endless_loops(size):
    configuration = WorkspaceConfiguration(initial_size=size, policy_learning="NONE", policy_allocation="STRICT")
    outer, inner = Workspace(configuration, "OUTER"), Workspace(configuration, "INNER")
    memory_manager.toggle_periodic_gc(False)
    try:
        for _ in range(300):
            with outer:
                one = outer.create(100, np.float64) + 1
                assert one.mean() == 1
                with inner:
                    assert (one + 1).mean() == 2
            assert (outer.current_size, inner.current_size) == (size, size)
            assert outer.last_cycle_allocations == 1600
    finally:
        memory_manager.toggle_periodic_gc(None)


@each_mode
def test_row_75_checkScopesTestCGAS(mode):
    net = network(mode=mode, strict=True)
    for _ in range(3):
        assert np.isfinite(net.compute_gradient_and_score(*data()))


def test_row_76_testWorkspaceIndependence():
    x, _ = data()
    nets = [network(mode=mode) for mode in ("NONE", "ENABLED")]
    first, second = (net.output(x) for net in nets)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(nets[0].output(x), first)


@each_mode
def test_row_80_testScalarOutputCase(mode):
    configuration = NeuralNetConfiguration(seed=1, inference_workspace_mode=mode).list(
        OutputLayer(n_out=1, activation="sigmoid", loss="xent"), input_type=InputType.feed_forward(10)
    )
    net, x = MultiLayerNetwork(configuration).init(), np.ones((1, 10), np.float32)
    first, second = net.output(x), net.output(x)
    assert first == second
    assert not nd.is_attached(first)
    assert not nd.is_attached(second)
    workspace_manager.destroy_all_workspaces_for_current_thread()
    assert net.output(x) == first


@each_mode
def test_row_81_testWorkspaceSetting(mode):
    options = {"training_workspace_mode": mode, "inference_workspace_mode": mode.lower()}
    conf = NeuralNetConfiguration(**options).list(OutputLayer(n_in=2, n_out=2))
    assert conf.training_workspace_mode is conf.inference_workspace_mode is WorkspaceMode[mode]


def test_row_83_testOutputWorkspace(capsys):
    net, (x, _) = network(), data()
    expected = net.output(x)
    for _ in range(3):
        with workspace_manager.get_and_activate_workspace(id="OUT") as workspace:
            output = net.output(x, workspace="OUT")
            assert output.is_attached
            assert workspace.owns(output)
            np.testing.assert_array_equal(output.detach(), expected)
        assert not workspace.is_scope_active
    workspace_manager.print_allocation_statistics_for_current_thread()
    assert "OUT:" in capsys.readouterr().out


def test_row_84_testSimpleOutputWorkspace():
    conf = NeuralNetConfiguration(seed=1).list(OutputLayer(n_in=4, n_out=3))
    net, x = MultiLayerNetwork(conf).init(), np.ones((2, 4), np.float32)
    with Workspace(WorkspaceConfiguration(), "EXTERNAL") as workspace:
        np.testing.assert_array_equal(net.output(x, workspace=workspace).detach(), net.output(x))


@each_mode
def test_row_85_checkScoreScopeOutMLN(mode):
    net = network(mode=mode)
    expected = net.score(data())
    for _ in range(10):
        with fixed(1000, "W") as workspace, workspace_manager.scope_out_of_workspaces():
            assert net.score(data()) == expected
        assert workspace.last_cycle_allocations == 0
