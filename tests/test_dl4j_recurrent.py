"""Recurrent networks that DL4J recorded, again. What the files hold is written in data/README.md."""

import functools
from pathlib import Path

import numpy as np
import pytest

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.eval import ROC, Evaluation
from minidl.layers import (
    LSTM,
    Bidirectional,
    GlobalPoolingLayer,
    OutputLayer,
    RnnOutputLayer,
    SimpleRnn,
)
from minidl.training import Adam

CLASSES, MINIBATCH = 6, 10
CONFUSION = [
    [26, 0, 0, 0, 0, 0],
    [19, 8, 2, 0, 0, 0],
    [0, 0, 22, 0, 0, 0],
    [0, 0, 0, 21, 0, 0],
    [6, 0, 11, 0, 13, 0],
    [0, 0, 0, 22, 0, 0],
]
AUC = [1.0, 0.994585351952123, 0.9914772727272727, 0.9889258028792912, 0.8644444444444446, 0.9840198863636364]
AUPRC = [1.0, 0.9790598327745405, 0.9532427757098815, 0.9356239752602302, 0.5019768734295567, 0.9126106736869922]

each_mode = pytest.mark.parametrize("mode", ["NONE", "ENABLED"])
each_format = pytest.mark.parametrize("format", ["NCW", "NWC"])
each_input_type = pytest.mark.parametrize(("format", "timesteps"), [("NCW", 60), ("NCW", None), ("NWC", 60)])


@functools.cache
def recording(name):
    with np.load(Path(__file__).parent / "data" / f"{name}.npz") as file:
        return dict(file)


def network(layers, input_type, parameters, mode="ENABLED", **options):
    conf = NeuralNetConfiguration(training_workspace_mode=mode, inference_workspace_mode=mode, **options)
    return MultiLayerNetwork(conf.list(*layers, input_type=input_type)).init(parameters)


def in_format(series, format):
    return series.transpose(0, 2, 1) if format == "NWC" else series


# Control charts: an LSTM, trained


def charts(format="NCW", timesteps=60, mode="ENABLED"):
    """Return the untrained network of RnnCsvSequenceClassification1, its training and its test set, and the arrays."""
    arrays = recording("RnnCsvSequenceClassification1")
    net = network(
        [
            LSTM(n_out=10, activation="tanh"),
            GlobalPoolingLayer(pooling_type="avg"),
            OutputLayer(n_out=CLASSES, activation="softmax", loss="mcxent"),
        ],
        InputType.recurrent(1, timesteps, format),
        arrays["init_params"],
        mode,
        updater=Adam(0.05),
        l1=1e-3,
        l2=1e-3,
    )
    one_hot = np.eye(CLASSES, dtype=np.float32)
    train, test = (
        DataSet(in_format(arrays[f"{part}_series"], format), one_hot[arrays[f"{part}_labels"]])
        for part in ("train", "test")
    )
    return net, train, test, arrays


@each_mode
@each_input_type
def test_predictions_of_the_untrained_network(format, timesteps, mode):
    net, train, _, arrays = charts(format, timesteps, mode)
    expected = arrays["prediction_0"]
    output = net.output(train.features[: len(expected)])
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-6)


@each_mode
@each_input_type
def test_gradient_of_the_untrained_network(format, timesteps, mode):
    net, train, _, arrays = charts(format, timesteps, mode)
    net.compute_gradient_and_score(train.features[:10], train.labels[:10])
    expected = arrays["gradient"]
    np.testing.assert_allclose(net.gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@each_mode
@each_input_type
def test_training_on_control_charts(format, timesteps, mode):
    net, train, test, arrays = charts(format, timesteps, mode)
    batches = [
        DataSet(train.features[start : start + MINIBATCH], train.labels[start : start + MINIBATCH])
        for start in range(0, len(train), MINIBATCH)
    ]
    scores = [net.fit(batch).score() for batch in batches]
    np.testing.assert_allclose(scores, arrays["scores"], rtol=1e-5)
    np.testing.assert_allclose(net.params, arrays["final_params"], rtol=0, atol=2e-5)
    (evaluation,) = net.do_evaluation(test, Evaluation())
    np.testing.assert_array_equal(evaluation.confusion_matrix, CONFUSION)
    output = net.output(test.features)
    for column, (auc, auprc) in enumerate(zip(AUC, AUPRC, strict=True)):
        roc = ROC()
        roc.eval(test.labels[:, [column]], output[:, [column]])
        assert roc.calculate_auc() == pytest.approx(auc, abs=1e-12)
        assert roc.calculate_auc_pr() == pytest.approx(auprc, abs=1e-12)


# Characters: two LSTMs, and stepping through them


def characters(format="NCW", mode="ENABLED"):
    """Return the network of CharacterLSTM, its input and DL4J's output, both (batch, 77, time) or in the format."""
    arrays = recording("CharacterLSTM")
    parameters = np.ascontiguousarray(arrays["params_bytes"].T).view("<f4").ravel()
    net = network(
        [
            LSTM(n_out=200, activation="tanh"),
            LSTM(n_out=200, activation="tanh"),
            RnnOutputLayer(n_out=77, activation="softmax", loss="mcxent"),
        ],
        InputType.recurrent(77, None, format),
        parameters,
        mode,
        updater=Adam(0.005),
        l2=1e-4,
    )
    return net, in_format(arrays["x"], format), in_format(arrays["output"], format)


@each_mode
@each_format
def test_output_of_two_layers_for_whole_series(format, mode):
    net, x, expected = characters(format, mode)
    np.testing.assert_allclose(net.output(x), expected, rtol=0, atol=1e-6)


@each_mode
@each_format
@pytest.mark.parametrize("examples", [3, 1])
def test_output_step_by_step(format, mode, examples):
    net, x, expected = characters(format, mode)
    time = 1 if format == "NWC" else 2
    for _ in range(2):
        for t in range(x.shape[time]):
            output = net.rnn_time_step(x[:examples].take(t, time))
            np.testing.assert_allclose(output, expected[:examples].take(t, time), rtol=0, atol=1e-6)
        net.rnn_clear_previous_state()


@each_mode
@each_format
@pytest.mark.parametrize("ends", [(10,), (5, 10), (1, 4, 10), (3, 6, 9, 10)])
def test_output_piece_by_piece(format, mode, ends):
    net, x, expected = characters(format, mode)
    time = 1 if format == "NWC" else 2
    pieces = [net.rnn_time_step(piece) for piece in np.split(x, ends[:-1], axis=time)]
    assert [piece.shape[time] for piece in pieces] == np.diff([0, *ends]).tolist()
    np.testing.assert_allclose(np.concatenate(pieces, axis=time), expected, rtol=0, atol=1e-6)


# A graph of two bidirectional layers


@each_mode
@each_format
def test_output_of_two_bidirectional_layers_side_by_side(format, mode):
    """DL4J's graph forks and joins; here each branch is a network, and so is what stands behind the join."""
    arrays = recording("BidirectionalRnn")
    x, series = in_format(arrays["x"], format), InputType.recurrent(10, 10, format)
    ends = np.cumsum([2 * (10 * 64 + 16 * 64 + 64), 2 * (10 * 16 + 16 * 16 + 16)])
    of_lstm, of_simple, of_output = np.split(arrays["params"], ends)
    branches = [
        network([Bidirectional(layer, mode="concat")], series, parameters, mode).output(x)
        for layer, parameters in (
            (LSTM(n_out=16, activation="relu"), of_lstm),
            (SimpleRnn(n_out=16, activation="relu"), of_simple),
        )
    ]
    joined = network(
        [
            GlobalPoolingLayer(pooling_type="max"),
            OutputLayer(n_out=3, activation="softmax", loss="mcxent"),
        ],
        InputType.recurrent(64, 10, format),
        of_output,
        mode,
    )
    output = joined.output(np.concatenate(branches, axis=2 if format == "NWC" else 1))
    np.testing.assert_allclose(output, arrays["output"], rtol=0, atol=1e-6)
