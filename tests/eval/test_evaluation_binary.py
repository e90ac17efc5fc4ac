"""EvaluationBinary: rows 128 to 130 of the specification, options, texts, metadata, errors."""

import math
import re

import numpy as np
import pytest
from evaluations import assert_same, evaluated, joined

from minidl.errors import ConfigurationError, DataError, NotInitializedError, ShapeError
from minidl.eval import Evaluation, EvaluationBinary, EvaluationBinaryMetric, Prediction, ROCBinary

# Row 129: 5 rows, 3 outputs
LABELS_129 = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0], [0, 0, 1], [0, 1, 1]])
PREDICTIONS_129 = np.array([[0.9, 0.8, 0.7], [0.6, 0.2, 0.4], [0.3, 0.9, 0.8], [0.1, 0.9, 0.6], [0.7, 0.1, 0.9]])
MASK_129 = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]])

STATS_129 = """
Label               Accuracy    F1          Precision   Recall      Total   TP     TN     FP     FN
0                   0.6000      0.6667      0.6667      0.6667      5       2      1      1      1
1                   1.0000      1.0000      1.0000      1.0000      3       2      1      0      0
2                   0.0000      NaN         NaN         0.0000      1       0      0      0      1
"""[1:-1]

STATS_WITH_EVERYTHING = """
Label                    Accuracy    F1          Precision   Recall      Total   TP     TN     FP     FN     AUC
a                        0.7500      0.6667      1.0000      0.5000      4       1      2      0      1      0.8750
quite a long name of     0.5000      0.5000      0.5000      0.5000      4       1      1      1      1      0.7500
Per-output decision thresholds: [0.5, 0.25]
"""[1:-1]


def outputs(rng, *shape):
    """Return labels of 0 and 1, and probabilities of eighths, which no dtype rounds; outputs at axis 1."""
    return rng.integers(0, 2, shape), rng.integers(0, 9, shape) / 8


def with_axis_last(a):
    return np.moveaxis(a, 1, -1).reshape(-1, a.shape[1])


def evaluation_of(*counts, **options):
    """Return an EvaluationBinary that counted (tp, fp, tn, fn), all of the same sum, for each output."""
    labels = np.stack([np.repeat([1, 0, 0, 1], column) for column in counts], axis=1)
    predictions = np.stack([np.repeat([0.9, 0.9, 0.1, 0.1], column) for column in counts], axis=1)
    return evaluated(EvaluationBinary(**options), labels, predictions)


@pytest.mark.parametrize("labels_dtype", ["f4", "f8", "i8", "?"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_row_128_evaluation_binary(dtype, labels_dtype, rng):
    labels, predictions = outputs(rng, 50, 4)
    binary = evaluated(EvaluationBinary(), labels.astype(labels_dtype), predictions.astype(dtype))
    assert binary.stats() == evaluated(EvaluationBinary(), labels, predictions).stats()
    for i in range(4):
        column = evaluated(Evaluation(), labels[:, [i]], predictions[:, [i]])
        assert binary.counts(i) == column.counts()[1]
        assert binary.total_count(i) == 50
        for metric in "accuracy", "precision", "recall", "f1":
            of_column = column.accuracy() if metric == "accuracy" else getattr(column, metric)(1)
            assert getattr(binary, metric)(i) == of_column
        for metric in "g_measure", "matthews_correlation", "false_positive_rate", "false_negative_rate":
            assert getattr(binary, metric)(i) == getattr(column, metric)(1)
        assert binary.f_beta(2.5, i) == column.f_beta(2.5, 1)
        assert binary.false_alarm_rate(i) == pytest.approx(column.false_alarm_rate(), rel=1e-15)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "?"])
def test_row_129_per_output_masking(dtype):
    binary = evaluated(EvaluationBinary(), LABELS_129, PREDICTIONS_129, MASK_129.astype(dtype))
    assert [binary.accuracy(i) for i in range(3)] == [0.6, 1.0, 0.0]
    assert [binary.true_positives(i) for i in range(3)] == [2, 2, 0]
    assert [binary.true_negatives(i) for i in range(3)] == [1, 1, 0]
    assert [binary.false_positives(i) for i in range(3)] == [1, 0, 0]
    assert [binary.false_negatives(i) for i in range(3)] == [1, 0, 1]
    assert [binary.total_count(i) for i in range(3)] == [5, 3, 1]
    assert binary.stats() == STATS_129


def test_row_129_what_is_masked_may_be_nan():
    labels, predictions = (np.where(MASK_129 == 1, a, np.nan) for a in (LABELS_129, PREDICTIONS_129))
    assert evaluated(EvaluationBinary(), labels, predictions, MASK_129).stats() == STATS_129


@pytest.mark.parametrize("steps", [None, 0, 20])
@pytest.mark.parametrize("masked", [False, True])
def test_row_129_merging(steps, masked, rng):
    template = EvaluationBinary(roc_binary_steps=steps)
    parts = [outputs(rng, rows, 3) for rows in (3, 8, 5)]
    masks = [rng.integers(0, 2, labels.shape) if masked else None for labels, _ in parts]
    single = evaluated(template, *joined(*parts), np.concatenate(masks) if masked else None)
    merged = EvaluationBinary(roc_binary_steps=steps)
    for part, mask in zip(parts, masks, strict=True):
        merged.merge(evaluated(template, *part, mask))
        merged.merge(template)
    assert_same(merged, single)


@pytest.mark.parametrize("steps", [None, 0, 20])
@pytest.mark.parametrize("places", [(4, 3, 6), (4, 3, 2, 5)])
def test_row_130_time_series_and_images(places, steps, rng):
    labels, predictions = outputs(rng, *places)
    template = EvaluationBinary(roc_binary_steps=steps)
    rows = evaluated(template, with_axis_last(labels), with_axis_last(predictions))
    assert_same(evaluated(template, labels, predictions), rows)


@pytest.mark.parametrize("steps", [None, 0, 20])
@pytest.mark.parametrize("places", [(4, 3, 6), (4, 3, 2, 5)])
@pytest.mark.parametrize("kind", ["examples", "column of examples", "places", "outputs"])
def test_row_130_masks(kind, places, steps, rng):
    labels, predictions = outputs(rng, *places)
    template = EvaluationBinary(roc_binary_steps=steps)
    axes = {"examples": (2, 1), "column of examples": (2, 1), "places": (1,), "outputs": ()}[kind]
    shape = places[:1] if len(axes) == 2 else tuple(n for axis, n in enumerate(places) if axis not in axes)
    mask = rng.integers(0, 2, shape)
    mask.flat[:2] = 0, 1
    rows = [with_axis_last(labels), with_axis_last(predictions)]
    if kind == "outputs":
        expected = evaluated(template, *rows, with_axis_last(mask))
    else:
        of_places = mask.reshape(mask.shape + (1,) * (len(places) - 1 - mask.ndim))
        kept = np.broadcast_to(of_places, places[:1] + places[2:]).ravel() == 1
        expected = evaluated(template, *(a[kept] for a in rows))
    given = mask[:, None] if kind == "column of examples" else mask
    assert_same(evaluated(template, labels, predictions, given), expected)


@pytest.mark.parametrize("steps", [0, 20])
def test_row_130_nested_roc(steps, rng):
    labels, predictions = outputs(rng, 4, 3, 6)
    mask = rng.integers(0, 2, labels.shape)
    nested = evaluated(EvaluationBinary(3, steps), labels, predictions, mask).roc_binary
    rows = (with_axis_last(a) for a in (labels, predictions, mask))
    assert_same(nested, evaluated(ROCBinary(steps), *rows))
    for i in range(3):
        kept = mask[:, i].ravel() == 1
        column = (a[:, i].ravel()[kept][:, None] for a in (labels, predictions))
        assert nested.calculate_auc(i) == evaluated(ROCBinary(steps), *column).calculate_auc(0)


def test_without_nested_roc():
    assert EvaluationBinary().roc_binary is None


@pytest.mark.parametrize(
    ("threshold", "predicted"),
    [
        (None, [0, 0, 1]),
        (0.5, [0, 0, 1]),
        (0.25, [0, 1, 1]),
        (0, [1, 1, 1]),
        (1, [0, 0, 0]),
        ([0.2, 0.6, 0.75], [1, 0, 0]),
        ((0.2, 0.4, 0.7), [1, 1, 1]),
        ([[0.25, 0.5, 0.5]], [0, 0, 1]),
        (np.array([[0.2, 0.5, 0.75]]), [1, 0, 0]),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_threshold(threshold, predicted, dtype):
    predictions = np.array([[0.25, 0.5, 0.75]], dtype)
    binary = evaluated(EvaluationBinary(threshold=threshold), np.ones((1, 3)), predictions)
    assert [binary.true_positives(i) for i in range(3)] == predicted


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("threshold", [0.3, [0.3]])
def test_probability_at_its_threshold_counts_as_0(dtype, threshold):
    binary = evaluated(EvaluationBinary(threshold=threshold), [[1], [1]], np.array([[0.3], [0.30001]], dtype))
    assert binary.counts(0) == (1, 0, 0, 1)


@pytest.mark.parametrize("options", [{"num_outputs": 2}, {"labels": ["a", "b"]}, {"threshold": [0.5, 0.5]}])
def test_options_that_tell_the_number_of_outputs(options):
    binary = EvaluationBinary(**options)
    assert binary.num_outputs == 2
    message = (
        "EvaluationBinary of 2 outputs got predictions with 3 columns. "
        "Use one EvaluationBinary per kind of output, or reset() it."
    )
    if "labels" in options:
        message = "EvaluationBinary with 2 labels got predictions with 3 columns. Name every output once."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        binary.eval(LABELS_129, PREDICTIONS_129)
    binary.reset()
    assert binary.num_outputs == 2


def test_number_of_outputs_of_the_first_batch():
    binary = EvaluationBinary()
    assert binary.num_outputs is None
    binary.eval(LABELS_129, PREDICTIONS_129)
    assert binary.num_outputs == 3
    message = (
        "EvaluationBinary of 3 outputs got predictions with 1 columns. "
        "Use one EvaluationBinary per kind of output, or reset() it."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        binary.eval(LABELS_129[:, :1], PREDICTIONS_129[:, :1])
    binary.reset()
    binary.eval(LABELS_129[:, :1], PREDICTIONS_129[:, :1])
    assert binary.num_outputs == 1


def test_stats_text_with_everything():
    labels = ["a", "quite a long name of"]
    binary = EvaluationBinary(2, 0, threshold=[0.5, 0.25], labels=labels)
    predictions = [[0.9, 0.9], [0.5, 0.2], [0.5, 0.5], [0.1, 0.1]]
    binary.eval(np.array([[1, 1], [1, 1], [0, 0], [0, 0]]), np.array(predictions))
    assert binary.stats() == STATS_WITH_EVERYTHING


def test_stats_without_data():
    header = "Label               Accuracy    F1          Precision   Recall      Total   TP     TN     FP     FN"
    assert EvaluationBinary().stats() == f"{header}\n-- No Data --"
    assert EvaluationBinary(2, threshold=[0.1, 0.2]).stats() == f"{header}\n-- No Data --"
    assert EvaluationBinary(roc_binary_steps=0).stats() == f"{header}     AUC\n-- No Data --"
    binary = evaluated(EvaluationBinary(), LABELS_129, PREDICTIONS_129)
    binary.reset()
    assert binary.stats() == f"{header}\n-- No Data --"


def test_zero_divided_by_zero():
    binary = evaluation_of((0, 0, 4, 0), (0, 0, 0, 4), (0, 4, 0, 0), (4, 0, 0, 0))
    precision, recall, f1 = ([getattr(binary, name)(i) for i in range(4)] for name in ("precision", "recall", "f1"))
    np.testing.assert_array_equal(precision, [np.nan, np.nan, 0, 1])
    np.testing.assert_array_equal(recall, [np.nan, 0, np.nan, 1])
    np.testing.assert_array_equal(f1, [np.nan, np.nan, np.nan, 1])
    np.testing.assert_array_equal([binary.g_measure(i) for i in range(4)], [np.nan, np.nan, np.nan, 1])
    assert all(math.isnan(binary.matthews_correlation(i)) for i in range(4))
    assert [binary.false_positive_rate(i) for i in range(4)] == [0, 0, 1, 0]
    assert [binary.false_negative_rate(i) for i in range(4)] == [0, 1, 0, 0]
    assert [binary.false_alarm_rate(i) for i in range(4)] == [0, 0.5, 0.5, 0]
    assert binary.average_accuracy() == 0.5
    for average in binary.average_precision, binary.average_recall, binary.average_f1:
        assert math.isnan(average())


def test_output_that_a_mask_leaves_out():
    binary = evaluated(EvaluationBinary(), [[1, 1]], [[0.9, np.nan]], [[1, 0]])
    assert binary.counts(1) == (0, 0, 0, 0)
    assert binary.total_count(1) == 0
    assert math.isnan(binary.accuracy(1))
    assert binary.accuracy(0) == 1


def test_averages_are_plain_means():
    binary = evaluation_of((3, 1, 4, 2), (1, 3, 5, 1))
    assert binary.average_accuracy() == pytest.approx((0.7 + 0.6) / 2)
    assert binary.average_precision() == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert binary.average_recall() == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert binary.average_f1() == pytest.approx((2 / 3 + 1 / 3) / 2)


@pytest.mark.parametrize(
    ("metric", "first", "second"),
    [
        ("ACCURACY", 0.7, 0.6),
        ("F1", 2 / 3, 1 / 3),
        ("PRECISION", 3 / 4, 1 / 4),
        ("RECALL", 3 / 5, 1 / 2),
        ("GMEASURE", math.sqrt(9 / 20), math.sqrt(1 / 8)),
        ("MCC", 10 / math.sqrt(4 * 5 * 5 * 6), 2 / math.sqrt(4 * 2 * 8 * 6)),
        ("FAR", (1 / 5 + 2 / 5) / 2, (3 / 8 + 1 / 2) / 2),
        ("DR", 3 / 5, 1 / 2),
    ],
)
def test_score_for_metric(metric, first, second):
    binary = evaluation_of((3, 1, 4, 2), (1, 3, 5, 1))
    for name in metric, metric.lower(), EvaluationBinaryMetric[metric]:
        assert binary.score_for_metric(name, 0) == pytest.approx(first, rel=1e-15)
        assert binary.score_for_metric(name, 1) == pytest.approx(second, rel=1e-15)
        assert binary.score_for_metric(name) == pytest.approx((first + second) / 2, rel=1e-15)


def test_every_metric_is_tested():
    (cases,) = (mark.args[1] for mark in test_score_for_metric.pytestmark)
    assert [name for name, *_ in cases] == [metric.name for metric in EvaluationBinaryMetric]


def test_counts():
    binary = evaluation_of((3, 1, 4, 2), (1, 3, 5, 1))
    assert binary.counts(1) == (1, 3, 5, 1)
    assert binary.counts(1).true_negatives == binary.true_negatives(1) == 5
    assert all(type(count) is int for count in binary.counts(0))


def test_prediction_errors():
    binary = EvaluationBinary()
    assert evaluated(binary, LABELS_129, PREDICTIONS_129).get_prediction_errors(0) is None
    binary.eval(LABELS_129, PREDICTIONS_129, metadata=list("abcde"))
    assert binary.get_prediction_errors(0) == [Prediction(1, 0, "c"), Prediction(0, 1, "e")]
    assert binary.get_prediction_errors(1) == [Prediction(0, 1, "d"), Prediction(1, 0, "e")]
    assert binary.get_prediction_errors(2) == [Prediction(0, 1, "a"), Prediction(1, 0, "b"), Prediction(0, 1, "c")]
    binary.reset()
    binary.eval(LABELS_129, PREDICTIONS_129)
    assert binary.get_prediction_errors(0) is None


def test_prediction_errors_with_masks():
    per_row, per_output = EvaluationBinary(), EvaluationBinary()
    per_row.eval(LABELS_129, PREDICTIONS_129, [0, 1, 0, 1, 1], list("abcde"))
    assert per_row.get_prediction_errors(0) == [Prediction(0, 1, "e")]
    assert per_row.get_prediction_errors(2) == [Prediction(1, 0, "b")]
    per_output.eval(LABELS_129, PREDICTIONS_129, MASK_129, list("abcde"))
    assert per_output.get_prediction_errors(0) == [Prediction(1, 0, "c"), Prediction(0, 1, "e")]
    assert per_output.get_prediction_errors(1) == []
    assert per_output.get_prediction_errors(2) == [Prediction(1, 0, "b")]


def test_prediction_errors_of_a_series():
    labels, predictions = np.array([[[1, 1, 0]], [[0, 1, 0]]]), np.array([[[0.9, 0.1, 0.9]], [[0.9, 0.9, 0.1]]])
    binary = EvaluationBinary()
    binary.eval(labels, predictions, [[1, 1, 0], [1, 1, 1]], ["first", "second"])
    assert binary.get_prediction_errors(0) == [Prediction(1, 0, "first"), Prediction(0, 1, "second")]


def test_merged_prediction_errors():
    merged, other = EvaluationBinary(), EvaluationBinary()
    other.eval(LABELS_129, PREDICTIONS_129, metadata=list("abcde"))
    for times in 1, 2:
        merged.merge(other)
        assert merged.get_prediction_errors(0) == [Prediction(1, 0, "c"), Prediction(0, 1, "e")] * times
    assert len(other.get_prediction_errors(0)) == 2
    other.merge(EvaluationBinary())
    assert len(other.get_prediction_errors(0)) == 2


def test_metadata_of_another_length():
    message = "EvaluationBinary: metadata has 4 items for 5 examples. Give one for each example, masked ones included."
    binary = EvaluationBinary()
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        binary.eval(LABELS_129, PREDICTIONS_129, MASK_129, list("abcd"))
    assert binary == EvaluationBinary()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_outputs": 0}, "num_outputs=0: expected at least 1, or None."),
        ({"num_outputs": 2.0}, "num_outputs=2.0: expected at least 1, or None."),
        ({"num_outputs": True}, "num_outputs=True: expected at least 1, or None."),
        ({"roc_binary_steps": -1}, "threshold_steps=-1: expected 0 (exact) or more."),
        ({"threshold": 1.5}, "threshold=1.5: expected a probability, 0 to 1, or a list with one for each output."),
        (
            {"threshold": [0.5, -0.1]},
            "threshold=[0.5, -0.1]: expected a probability, 0 to 1, or a list with one for each output.",
        ),
        ({"threshold": []}, "threshold=[]: expected a probability, 0 to 1, or a list with one for each output."),
        (
            {"threshold": [[0.5], [0.5]]},
            "threshold=[[0.5], [0.5]]: expected a probability, 0 to 1, or a list with one for each output.",
        ),
        ({"threshold": "a"}, "threshold='a': expected a probability, 0 to 1, or a list with one for each output."),
        (
            {"threshold": math.nan},
            "threshold=nan: expected a probability, 0 to 1, or a list with one for each output.",
        ),
        (
            {"num_outputs": 3, "labels": ["a", "b"]},
            "the options are for different numbers of outputs: num_outputs for 3, labels for 2. Make them agree.",
        ),
        (
            {"num_outputs": 2, "labels": ["a", "b"], "threshold": [0.5]},
            "the options are for different numbers of outputs: num_outputs for 2, labels for 2, threshold for 1. "
            "Make them agree.",
        ),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        EvaluationBinary(**options)


@pytest.mark.parametrize("label", [0.5, 2, -1, np.inf])
def test_labels_must_be_binary(label):
    message = (
        "EvaluationBinary: labels must be 0 or 1, but others were found. Round them, or mask out what has no label."
    )
    binary = EvaluationBinary()
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        binary.eval([[1, label]], [[0.5, 0.5]])
    binary.eval([[1, label]], [[0.5, 0.5]], [[1, 0]])
    assert [binary.total_count(i) for i in range(2)] == [1, 0]


def test_labels_of_another_shape():
    message = (
        "EvaluationBinary: labels of shape (5,) do not fit predictions of shape (5, 3). "
        "Give one label for each output, in shape (5, 3)."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        EvaluationBinary().eval(LABELS_129[:, 0], PREDICTIONS_129)


def test_mask_of_another_shape():
    message = (
        "EvaluationBinary: the mask does not fit: got a mask of shape (4,) for predictions of shape (5, 3). "
        "Give a mask of shape (5,) or (5, 1) or (5, 3)."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        EvaluationBinary().eval(LABELS_129, PREDICTIONS_129, np.ones(4))


def test_what_is_no_probability():
    message = (
        "EvaluationBinary: predictions from -2 to 3 are no probabilities. Apply a sigmoid or a softmax to them first, "
        "or give the network an output layer with one."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        EvaluationBinary().eval([[1, 0]], [[3.0, -2.0]])


@pytest.mark.parametrize("output", [-1, 3, 1.0, True])
def test_output_index_out_of_range(output):
    binary = evaluated(EvaluationBinary(), LABELS_129, PREDICTIONS_129)
    message = f"output index {output!r} is out of range: this evaluation has 3 outputs, from 0 on."
    for method in binary.accuracy, binary.counts, binary.total_count, binary.get_prediction_errors:
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            method(output)


@pytest.mark.parametrize("binary", [EvaluationBinary(), EvaluationBinary(3)])
def test_metric_before_data(binary):
    message = "EvaluationBinary: no evaluation has been performed. Call eval(labels, predictions) first."
    calls = [lambda: binary.accuracy(0), lambda: binary.counts(0), binary.average_f1]
    for call in [*calls, lambda: binary.score_for_metric("MCC")]:
        with pytest.raises(NotInitializedError, match=f"^{re.escape(message)}$"):
            call()


def test_merge_of_what_does_not_fit():
    message = "cannot merge an EvaluationBinary of 1 output into one of 3. Merge evaluations of the same outputs only."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        EvaluationBinary(3).merge(EvaluationBinary(1))
    message = (
        "cannot merge EvaluationBinary with threshold=(0.5, 0.25) into one with threshold=None: the counts differ in "
        "meaning. Create both with the same threshold."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        EvaluationBinary().merge(EvaluationBinary(threshold=[0.5, 0.25]))
    message = (
        "cannot merge EvaluationBinary with roc_binary_steps=0 into one with roc_binary_steps=None: the counts differ "
        "in meaning. Create both with the same roc_binary_steps."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        EvaluationBinary().merge(EvaluationBinary(roc_binary_steps=0))


@pytest.mark.parametrize("steps", [None, 0])
def test_merge_takes_label_names_if_it_has_none(steps):
    named = evaluated(EvaluationBinary(3, steps, labels=list("abc")), LABELS_129, PREDICTIONS_129)
    merged = EvaluationBinary(roc_binary_steps=steps)
    merged.merge(named)
    assert merged.stats() == named.stats()
    other = EvaluationBinary(3, steps, labels=list("xyz"))
    other.merge(named)
    assert other.labels == ("x", "y", "z")
