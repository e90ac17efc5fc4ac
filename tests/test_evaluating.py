"""The network's methods of evaluation: what they give, whatever the layout, and piece by piece."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges
from evaluations import CLASSES, VARIANTS, assert_same, counted, named
from hypothesis import given
from hypothesis import strategies as st
from networks import assert_nothing_open, in_new_thread, workspace_sizes
from recurrent_networks import MODES, PIECES, in_format, one_hot, series, series_network

from minidl import DataSet, InputType, MultiLayerNetwork, NeuralNetConfiguration
from minidl.data import ArrayDataSetIterator
from minidl.errors import DataError, ShapeError
from minidl.eval import (
    ROC,
    Evaluation,
    EvaluationBinary,
    EvaluationCalibration,
    RegressionEvaluation,
    ROCBinary,
    ROCMultiClass,
)
from minidl.layers import LSTM, Bidirectional, CnnLossLayer, ConvolutionLayer, DenseLayer, OutputLayer, RnnOutputLayer

each_mode = pytest.mark.parametrize("mode", MODES)
MANY = 2048  # examples, or steps, for the gauges


def dense(outputs=2, mode="ENABLED", activation="softmax", loss="mcxent"):
    configuration = NeuralNetConfiguration(seed=3, training_workspace_mode=mode, inference_workspace_mode=mode)
    layers = DenseLayer(n_out=8, activation="tanh"), OutputLayer(n_out=outputs, activation=activation, loss=loss)
    return MultiLayerNetwork(configuration.list(*layers, input_type=InputType.feed_forward(5))).init()


def rows(count=30, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.eye(outputs, dtype="f4")[rng.integers(0, outputs, count)]
    return rng.standard_normal((count, 5)).astype("f4"), labels


def segmenter(format, mode="ENABLED"):
    configuration = NeuralNetConfiguration(seed=3, training_workspace_mode=mode, inference_workspace_mode=mode)
    layers = ConvolutionLayer(n_out=2, kernel_size=3, convolution_mode="same"), CnnLossLayer(activation="softmax")
    return MultiLayerNetwork(
        configuration.list(*layers, input_type=InputType.convolutional(6, 5, 1, format=format))
    ).init()


def pixels(format):
    rng = np.random.default_rng(1)
    x, labels = rng.standard_normal((4, 1, 6, 5)), np.eye(2)[rng.integers(0, 2, (4, 6, 5))].transpose(0, 3, 1, 2)
    mask = (rng.random((4, 6, 5)) < 0.7).astype("f4")
    arrays = (a.astype("f4") for a in (x, labels))
    return *(a.transpose(0, 2, 3, 1) if format == "NHWC" else a for a in arrays), mask


def truncated(mode="ENABLED", hidden="LSTM", forward=PIECES, **options):
    return series_network(hidden, mode=mode, backprop_type="truncated_bptt", tbptt_fwd_length=forward, **options)


# What they give


@each_mode
@pytest.mark.parametrize("template", VARIANTS, ids=named)
def test_what_do_evaluation_counts_is_that_of_the_output(template, mode):
    net, (x, y) = dense(mode=mode), rows()
    expected = type(template)(**template._options())
    expected.eval(y, net.output(x))
    by_batch, at_once = (type(template)(**template._options()) for _ in range(2))
    assert net.do_evaluation(ArrayDataSetIterator(x, y, 7), by_batch) == (by_batch,)
    net.do_evaluation((x, y), at_once)
    assert_same(at_once, expected, rel=1e-12)
    assert_same(by_batch, expected, rel=1e-6)
    assert_nothing_open()


def test_evaluate_regression():
    net, (x, _) = dense(outputs=3, activation="identity", loss="mse"), rows()
    y = np.random.default_rng(5).standard_normal((30, 3))
    found = net.evaluate_regression(x, y, column_names=["a", "b", "c"])
    errors = net.output(x) - y.astype("f4")
    np.testing.assert_allclose([found.mean_squared_error(c) for c in range(3)], (errors**2).mean(axis=0), rtol=1e-6)
    assert found.stats().splitlines()[1].startswith("a     ")
    assert net.evaluate_regression(ArrayDataSetIterator(x, y, 8)).num_columns == 3


@pytest.mark.parametrize("threshold_steps", [0, 20])
def test_evaluate_roc(threshold_steps):
    net, (x, y) = dense(outputs=1, activation="sigmoid", loss="xent"), rows()
    expected = ROC(threshold_steps)
    expected.eval(y[:, 1:], net.output(x))
    for data in (x, y[:, 1:]), (ArrayDataSetIterator(x, y[:, 1:], 9),):
        found = net.evaluate_roc(*data, threshold_steps=threshold_steps)
        assert found.calculate_auc() == pytest.approx(expected.calculate_auc(), rel=1e-12)
        assert found.threshold_steps == threshold_steps


@pytest.mark.parametrize("threshold_steps", [0, 20])
def test_evaluate_roc_multi_class(threshold_steps):
    net, (x, y) = dense(outputs=3), rows(outputs=3)
    expected = ROCMultiClass(threshold_steps)
    expected.eval(y, net.output(x))
    source = ArrayDataSetIterator(x, y, 9)
    source.labels = ["a", "b", "c"]
    found = net.evaluate_roc_multi_class(source, threshold_steps=threshold_steps)
    assert found.calculate_average_auc() == pytest.approx(expected.calculate_average_auc(), rel=1e-12)
    assert found.labels == ("a", "b", "c")
    assert net.evaluate_roc_multi_class(x, y, class_names="xyz").labels == ("x", "y", "z")


def test_evaluate_with_names_and_top_n():
    net, (x, y) = dense(outputs=3), rows(outputs=3)
    evaluation = net.evaluate(x, y, class_names=["a", "b", "c"], top_n=2)
    assert evaluation.class_label(2) == "c"
    highest = np.argsort(net.output(x), axis=1)[:, 1:]
    assert evaluation.top_n_accuracy() == pytest.approx(np.mean((highest == y.argmax(axis=1)[:, None]).any(axis=1)))


@pytest.mark.parametrize("method", ["evaluate", "evaluate_roc", "evaluate_roc_multi_class"])
def test_a_number_where_labels_would_stand(method):
    message = (
        "data is a ArrayDataSetIterator, which gives batches with their own labels, but labels are given too, a int. "
        "Leave them out. Name an option: epochs=10, or threshold_steps=10."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        getattr(dense(), method)(ArrayDataSetIterator(*rows(), 8), 10)


def test_progress_is_shown_on_demand(capsys):
    net, data = dense(), ArrayDataSetIterator(*rows(), 10)
    net.do_evaluation(data, Evaluation())
    assert capsys.readouterr().err == ""
    net.do_evaluation(data, Evaluation(), progress=True)
    assert re.search(r"evaluate: 100%.* 3/3 ", capsys.readouterr().err)


# Layouts


@each_mode
@pytest.mark.parametrize("format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_pixels_of_any_format_for_evaluations_of_any_axis(cls, axis, format, mode):
    net, (x, labels, mask) = segmenter(format, mode), pixels(format)
    found, expected, kept = cls(axis=axis), cls(), mask.ravel() == 1
    net.do_evaluation(DataSet(x, labels, labels_mask=mask), found)
    last = [a if format == "NHWC" else a.transpose(0, 2, 3, 1) for a in (labels, net.output(x))]
    expected.eval(*(a.reshape(-1, 2)[kept] for a in last))
    assert_same(found, expected, rel=1e-12)


def test_an_axis_that_the_output_has_not():
    message = "Evaluation: axis=2 cannot be the axis of the classes in predictions of shape (30, 2), expected 1."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)} Create it with the axis of your data: "):
        dense().do_evaluation(rows(), Evaluation(axis=2))


@pytest.mark.parametrize("cls", [EvaluationBinary, ROCBinary, RegressionEvaluation], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("axis", [1, 2])
def test_a_mask_of_the_outputs_of_series(cls, axis):
    (x, classes), rng = series(5, 6, 0), np.random.default_rng(2)
    y = one_hot(classes)
    mask = rng.integers(0, 2, y.shape).astype("f4")
    net, found, expected = series_network("LSTM"), cls(axis=axis), cls()
    net.do_evaluation(DataSet(x, y, labels_mask=mask), found)
    expected.eval(y, net.output(x), mask)
    assert_same(found, expected, rel=1e-12)


# Piece by piece


@each_mode
@pytest.mark.parametrize("format", ["NCW", "NWC"])
@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not ROC], ids=lambda cls: cls.__name__)
@given(data=st.data(), steps=st.integers(1, 11), forward=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_series_in_pieces_count_as_whole_ones(cls, format, mode, data, steps, forward, seed):
    x, classes = series(5, steps, seed)
    indices = cls._accepted.class_indices and data.draw(st.booleans())
    mask = None
    if data.draw(st.booleans()):
        mask = (np.random.default_rng(seed).random((5, steps)) < 0.6).astype("f4")
        mask[0, 0] = 1
    labels = classes if indices else in_format(one_hot(classes), format)
    dataset = DataSet(in_format(x, format), labels, labels_mask=mask)
    in_pieces, whole, options = cls(), cls(), dict(format=format, dtype="float64")
    net = truncated(mode, "GravesLSTM", forward, **options)
    net.do_evaluation(dataset, in_pieces)
    series_network("GravesLSTM", mode=mode, **options).do_evaluation(dataset, whole)
    assert_same(in_pieces, whole, rel=1e-10)
    net.do_evaluation(dataset, in_pieces)  # begins anew, not where the last call ended
    whole.merge(whole)
    assert_same(in_pieces, whole, rel=1e-10)
    assert_nothing_open()


class Watching(Evaluation):
    """Notes the number of steps of what it is given, and fails, or evaluates in turn, on demand."""

    def __init__(self, then=lambda: None):
        super().__init__()
        self.steps, self.then = [], then

    def eval(self, labels, predictions, mask=None, metadata=None):
        super().eval(labels, predictions, mask, metadata)
        self.steps.append(predictions.shape[-1])
        self.then()


def whole_series_only():
    configuration = NeuralNetConfiguration(backprop_type="truncated_bptt", tbptt_fwd_length=4).list(
        Bidirectional(LSTM(n_out=4)),
        RnnOutputLayer(n_out=4),
        input_type=InputType.recurrent(3),
        validate_tbptt_config=False,
    )
    return MultiLayerNetwork(configuration).init()


def test_how_series_are_cut():
    x, classes = series(5, 10)
    for net, expected in (
        (truncated(), [4, 4, 2]),
        (series_network("LSTM"), [10]),
        (truncated(forward=12), [10]),
        (whole_series_only(), [10]),
    ):
        watching = Watching()
        net.do_evaluation((x, one_hot(classes)), watching)
        assert watching.steps == expected


def test_pieces_take_the_memory_of_a_piece():
    def run():
        net = truncated(timesteps=100, forward=10)
        x, classes = series(5, 100)
        net.do_evaluation((x.astype("f4"), one_hot(classes, "f4")), Evaluation())
        pieces = workspace_sizes()
        net.output(x.astype("f4"))
        return sum(pieces.values()), sum(workspace_sizes().values())

    pieces, whole = in_new_thread(run)
    assert pieces < 0.3 * whole


def test_an_evaluation_that_evaluates_the_same_network():
    x, classes = series(5, 10)
    net, data = truncated(), (x, one_hot(classes))
    expected, inner = net.evaluate(*data).stats(), []
    watching = Watching(lambda: inner.append(net.evaluate(*data).stats()))
    net.do_evaluation(data, watching)
    assert watching.stats() == expected
    assert inner == [expected] * 3


def test_a_failure_in_a_piece_leaves_nothing_behind():
    x, classes = series(5, 10)
    net, data = truncated(), (x, one_hot(classes))
    before, calls = net.evaluate(*data).stats(), []

    def fail_in_the_second():
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("planted")

    with pytest.raises(ValueError, match=r"^planted$"):
        net.do_evaluation(data, Watching(fail_in_the_second))
    assert_nothing_open()
    assert net.evaluate(*data).stats() == before


@pytest.mark.parametrize("make", [truncated, lambda: series_network("LSTM")], ids=["pieces", "whole"])
@pytest.mark.parametrize("wrong", [np.nan, 0.5])
def test_no_evaluation_counts_a_batch_that_one_of_them_refuses(make, wrong):
    x, classes = series(5, 10)
    y, evaluations = (
        one_hot(classes),
        [Evaluation(), EvaluationBinary(roc_binary_steps=0), ROCMultiClass(20), Watching()],
    )
    net = make()
    net.do_evaluation((x, y), *evaluations)
    before, y[0, 0, 9] = [counted(evaluation) for evaluation in evaluations[:3]], wrong
    with pytest.raises(DataError, match=r"^[A-Za-z]+: labels (contain NaN|must be 0 or 1, but others were found)\. "):
        net.do_evaluation((x, y), *evaluations)
    assert [counted(evaluation) for evaluation in evaluations[:3]] == before


def test_no_evaluation_counts_a_batch_whose_width_one_of_them_refuses():
    net, evaluation = dense(outputs=3), Evaluation()
    with pytest.raises(ShapeError, match=r"^ROC expects predictions with 1 or 2 columns, got 3\. "):
        net.do_evaluation(rows(outputs=3), evaluation, ROC())
    assert evaluation.row_count == 0


def test_features_that_are_not_finite_are_found_before_a_piece_is_counted():
    (x, classes), evaluation = series(5, 10), Evaluation()
    x[0, 0, 9] = np.nan
    with pytest.raises(DataError, match=r"^features: "):
        truncated().do_evaluation((x, one_hot(classes)), evaluation)
    assert evaluation.row_count == 0


def test_a_class_that_does_not_exist_is_found_before_a_piece_is_counted():
    x, classes = series(5, 10)
    classes[2, 9] = 4
    evaluation = Evaluation()
    message = r"^labels: 4 at \(2, 9\) is no number of 4 classes, which are counted from 0\. The parameters were not"
    with pytest.raises(DataError, match=rf"{message} changed by this batch\.$"):
        truncated().do_evaluation((x, classes), evaluation)
    assert evaluation.num_classes is None


def test_many_threads_evaluate_one_network_in_pieces():
    net, data = truncated(), [(x, one_hot(classes)) for x, classes in (series(5, 10, seed) for seed in range(4))]
    expected = [net.evaluate(*one).stats() for one in data]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: net.evaluate(*data[n % 4]).stats(), range(80)))
    assert found == expected * 20


# Memory


def all_evaluations(count):
    return [
        Evaluation(top_n=2),
        EvaluationBinary(roc_binary_steps=20),
        EvaluationCalibration(),
        RegressionEvaluation(),
        ROCBinary(20),
        ROCMultiClass(20),
        ROCMultiClass(expected_examples=100 * count),
        *([ROC(20), ROC(expected_examples=100 * count)] if count == MANY else []),
    ]


def measure_dense(axis):
    net, data = dense(), DataSet(*rows(MANY))
    evaluations = all_evaluations(MANY)
    return gauges(lambda: net.do_evaluation(data, *evaluations))


def measure_pixels(format):
    net, (x, labels, mask) = segmenter(format), pixels(format)
    data = DataSet(*(np.tile(a, (20, 1, 1, 1)[: a.ndim]) for a in (x, labels)), labels_mask=np.tile(mask, (20, 1, 1)))
    evaluations = all_evaluations(2400)
    return gauges(lambda: net.do_evaluation(data, *evaluations))


def measure_pieces(indices):
    net, (x, classes) = truncated(forward=16), series(64, 48)
    data = DataSet(x.astype("f4"), classes if indices else one_hot(classes, "f4"))
    evaluations = all_evaluations(64 * 48)
    evaluations = [e for e in evaluations if not indices or e._accepted.class_indices]
    return gauges(lambda: net.do_evaluation(data, *evaluations))


@pytest.mark.parametrize(
    ("measured", "argument"),
    [
        (measure_dense, 1),
        (measure_pixels, "NCHW"),
        (measure_pixels, "NHWC"),
        (measure_pieces, False),
        (measure_pieces, True),
    ],
)
def test_a_warm_evaluation_allocates_nothing(run_under_counter, measured, argument):
    assert_no_allocation(run_under_counter(measured, argument), arrays_alive=24)
