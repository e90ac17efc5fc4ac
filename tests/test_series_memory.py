"""What recurrent networks need is known before they run, to the byte, and is not far from the least possible."""

import numpy as np
import pytest
from networks import recorded_spills

from minidl import InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.layers import LSTM, Bidirectional, DenseLayer, GravesLSTM, RnnOutputLayer, SimpleRnn
from minidl.workspaces import workspace_manager

STEPS, BATCH = 24, 6
TRUNCATED = {"backprop_type": "truncated_bptt", "tbptt_fwd_length": 8, "tbptt_back_length": 5}
LAYERS = {
    "LSTM": [LSTM(n_out=20), LSTM(n_out=20)],
    "GravesLSTM": [GravesLSTM(n_out=20), DenseLayer(n_out=9), SimpleRnn(n_out=8, has_layer_norm=True)],
    "Bidirectional": [Bidirectional(LSTM(n_out=12)), SimpleRnn(n_out=8)],
}


@pytest.fixture(autouse=True)
def only_this_network():
    workspace_manager.destroy_all_workspaces_for_current_thread()


def network(name, length, options):
    conf = NeuralNetConfiguration(seed=1, updater="adam", **options)
    layers = (*LAYERS[name], RnnOutputLayer(n_out=3))
    return MultiLayerNetwork(conf.list(*layers, input_type=InputType.recurrent(5, length))).init()


def data(steps=STEPS):
    rng = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (BATCH, steps))].transpose(0, 2, 1)
    return rng.standard_normal((BATCH, 5, steps)).astype(np.float32), np.ascontiguousarray(labels)


@pytest.mark.parametrize("length", [STEPS, None])
@pytest.mark.parametrize(
    ("name", "options"), [(name, {}) for name in LAYERS] + [("LSTM", TRUNCATED), ("GravesLSTM", TRUNCATED)]
)
def test_the_report_is_what_the_workspaces_have(name, length, options):
    net = network(name, length, options)
    report = net.memory_report(BATCH, timesteps=None if length else STEPS)
    for _ in range(3):
        net.fit(*data())
    net.evaluate(*data())
    net.output(data()[0])  # of whole series, where training and evaluation go piece by piece
    mapped = workspace_manager.get_all_workspaces_for_current_thread()
    assert report.workspaces == {workspace.id: workspace.current_size for workspace in mapped if workspace.current_size}
    assert report.workspaces["WS_RNN_LOOP_WORKING_MEM"] > 0
    assert all(workspace.total_spilled_size == 0 for workspace in mapped)


def test_truncated_backpropagation_needs_the_memory_of_a_piece():
    whole, piece = (network("LSTM", STEPS, options).memory_report(BATCH) for options in ({}, TRUNCATED))
    assert piece.workspace_bytes < 0.75 * whole.workspace_bytes
    assert piece.workspaces["WS_ALL_LAYERS_ACT"] < 0.4 * whole.workspaces["WS_ALL_LAYERS_ACT"]


def test_the_benchmark_network_stays_near_the_bound():
    layers = (LSTM(n_out=200), LSTM(n_out=200), RnnOutputLayer(n_out=77))
    conf = NeuralNetConfiguration(seed=1).list(*layers, input_type=InputType.recurrent(77, 50))
    report = MultiLayerNetwork(conf).init().memory_report(32)
    assert report.workspace_bytes <= 1.65 * report.liveness_bound


def test_pieces_of_class_indices_are_planned():
    net = network("LSTM", None, TRUNCATED)
    with recorded_spills() as spilled:
        net.fit(data()[0], np.random.default_rng(1).integers(0, 3, (BATCH, STEPS)))
    assert spilled == []


@pytest.mark.parametrize("masked", [False, True])
def test_inference_with_a_mask_is_planned_and_gives_what_the_series_give_alone(masked):
    net = network("Bidirectional", None, {})
    x, mask = data()[0], np.ones((BATCH, STEPS), np.float32)
    if masked:
        mask[:, 20:] = 0
    expected = net.output(x[:, :, : 20 if masked else STEPS])
    with recorded_spills() as spilled:
        found = net.output(x, features_mask=mask)
    assert spilled == []
    np.testing.assert_allclose(found[:, :, : expected.shape[2]], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(net.feed_forward(x, features_mask=mask)[-1], found)
