"""Evaluation: DL4J's recorded cases (by row of the specification), scikit-learn, options, texts."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from minidl.errors import ConfigurationError, DataError, NotInitializedError, ShapeError
from minidl.eval import Evaluation, EvaluationAveraging

ROW_110 = [[3, 1, 0], [2, 2, 1], [0, 3, 4]]
TOP_3 = np.array(  # actual class 1; rank of its probability: 1, 2, 3, 4, 1, 2, 3, 5
    [
        [0.1, 0.6, 0.1, 0.1, 0.1],
        [0.5, 0.3, 0.1, 0.1, 0.0],
        [0.4, 0.2, 0.3, 0.1, 0.0],
        [0.3, 0.1, 0.3, 0.2, 0.1],
        [0.2, 0.4, 0.2, 0.1, 0.1],
        [0.1, 0.3, 0.6, 0.0, 0.0],
        [0.3, 0.2, 0.1, 0.1, 0.3],
        [0.3, 0.0, 0.3, 0.2, 0.2],
    ]
)

STATS_OF_ROW_110 = """
========================Evaluation Metrics========================
 # of classes:    3
 Accuracy:        0.5625
 Precision:       0.5778
 Recall:          0.5738
 F1 Score:        0.5657
Precision, recall & F1: macro-averaged (equally weighted avg. of 3 classes)

=========================Confusion Matrix=========================
 0 1 2
-------
 3 1 0 | 0 = 0
 2 2 1 | 1 = 1
 0 3 4 | 2 = 2

Each row is an actual class, each column a predicted class.
=================================================================="""

STATS_WITH_EVERYTHING = """
========================Evaluation Metrics========================
 # of classes:    4
 Accuracy:        0.3333
 Top 2 Accuracy:  1.0000
 Precision:       0.5000\t(2 classes excluded from average)
 Recall:          0.3333\t(1 class excluded from average)
 F1 Score:        1.0000\t(3 classes excluded from average)
Precision, recall & F1: macro-averaged (equally weighted avg. of 4 classes)
Cost array: [1.0, 1.0, 2.0, 1.0]

Warning: 2 classes were never predicted by the model and were excluded from average precision
Classes excluded from average precision: [1, 3]
Warning: 1 class was never predicted by the model and was excluded from average recall
Classes excluded from average recall: [2]
=========================Confusion Matrix=========================
 0 1 2 3
---------
 1 0 0 0 | 0 = a
 0 0 1 0 | 1 = b
 0 0 0 0 | 2 = c
 0 0 1 0 | 3 = d

Each row is an actual class, each column a predicted class.
=================================================================="""


def one_hot(indices, classes, dtype=np.float32):
    return np.eye(classes, dtype=dtype)[np.asarray(indices)]


def evaluation_of(matrix, **options):
    """Return an Evaluation that saw ``matrix[actual][predicted]`` examples."""
    matrix = np.asarray(matrix)
    actual, predicted = np.repeat(np.argwhere(matrix >= 0), matrix.ravel(), axis=0).T
    evaluation = Evaluation(**options)
    evaluation.eval(one_hot(actual, len(matrix)), one_hot(predicted, len(matrix)))
    return evaluation


def test_row_98_eval():
    evaluation = Evaluation(5)
    evaluation.eval(one_hot([0], 5), one_hot([0], 5))
    assert evaluation.f1() == 1.0
    evaluation.eval(one_hot([1], 5), one_hot([0], 5))
    counts = evaluation.counts()[0]
    assert counts == (1, 1, 0, 0)
    assert (evaluation.positive()[0], evaluation.negative()[0]) == (1, 1)
    assert evaluation.accuracy() == 0.5
    assert evaluation.f1(0) == pytest.approx(2 / 3)


@pytest.mark.parametrize("labels_dtype", ["f2", "f4", "f8", "i8", "?"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_row_99_eval2(dtype, labels_dtype):
    evaluation = Evaluation()
    actual, predicted = np.repeat([0, 0, 1, 1], [20, 3, 10, 5]), np.repeat([0, 1, 0, 1], [20, 3, 10, 5])
    evaluation.eval(one_hot(actual, 2, labels_dtype), one_hot(predicted, 2, dtype))
    assert evaluation.counts()[0] == (20, 10, 5, 3)
    assert evaluation.accuracy() == 25 / 38
    assert evaluation.stats() == evaluation_of([[20, 3], [10, 5]]).stats()


@pytest.mark.parametrize("labels", [["a", "b", "c"], {2: "c", 0: "a", 1: "b"}])
def test_row_100_string_list_labels(labels):
    assert Evaluation(labels=labels).class_label(0) == "a"
    assert Evaluation(3).class_label(0) == "0"


def test_row_101_eval_masking(rng):
    actual, predicted = rng.integers(0, 3, (2, 10))
    plain, padded = Evaluation(), Evaluation()
    plain.eval(one_hot(actual, 3), one_hot(predicted, 3))
    series = np.full((2, 2, 3, 7), 0.5)  # labels and predictions, 5 steps each and 2 steps of padding
    series[0, :, :, :5] = one_hot(actual, 3).reshape(2, 5, 3).transpose(0, 2, 1)
    series[1, :, :, :5] = one_hot(predicted, 3).reshape(2, 5, 3).transpose(0, 2, 1)
    padded.eval(*series, mask=np.repeat([[1, 0], [1, 0]], [5, 2], axis=1))
    assert padded.counts() == plain.counts()
    assert padded.stats() == plain.stats()


def test_row_102_false_perfect_recall():
    evaluation = evaluation_of([[10, 0], [10, 0]])
    assert evaluation.recall() == 0.0
    assert evaluation.recall(averaging="macro") == 0.5


def test_row_103_evaluation_merging(rng):
    actual, predicted = rng.integers(0, 3, (2, 30))
    single, merged = Evaluation(), Evaluation()
    single.eval(one_hot(actual, 3), one_hot(predicted, 3))
    for part in slice(0, 8), slice(8, 20), slice(0, 0), slice(20, 30):
        other = Evaluation()
        if part.stop:
            other.eval(one_hot(actual[part], 3), one_hot(predicted[part], 3))
        merged.merge(other)
    np.testing.assert_array_equal(merged.confusion_matrix, single.confusion_matrix)
    assert merged.stats() == single.stats()


def test_row_104_single_class_binary_classification():
    evaluation = Evaluation(1)
    for _ in range(2):
        evaluation.eval(np.array([[1.0], [1], [0], [1]]), np.array([[0.9], [0.6], [0.2], [0.5]]))
        assert evaluation.accuracy() == 0.75
        assert evaluation.true_positives() == {0: 1, 1: 2}
        assert evaluation.false_negatives()[1] == 1
        evaluation.reset()


def test_row_105_eval_invalid():
    evaluation = evaluation_of([[1, 0, 0], [1, 0, 0], [0, 0, 0]])
    assert evaluation.stats().isascii()


def test_row_106_eval_methods():
    by_index = Evaluation(4)
    for predicted, actual in [(0, 0), (2, 0), (2, 0), (2, 1), (3, 3), (0, 3), (0, 3)]:
        by_index.eval_index(predicted, actual)
    by_array = evaluation_of([[1, 0, 2, 0], [0, 0, 1, 0], [0, 0, 0, 0], [2, 0, 0, 1]])
    np.testing.assert_array_equal(by_index.confusion_matrix, by_array.confusion_matrix)
    assert by_index.stats() == by_array.stats()


def test_row_107_top_n_accuracy():
    evaluation = Evaluation(top_n=3)
    seen = []
    for row in TOP_3:
        evaluation.eval(one_hot([1], 5), row[None])
        seen.append((evaluation.top_n_accuracy(), evaluation.accuracy()))
    top_3 = [1, 1, 1, 0.75, 0.8, 5 / 6, 6 / 7, 0.75]
    top_1 = [1, 0.5, 1 / 3, 0.25, 0.4, 2 / 6, 2 / 7, 0.25]
    np.testing.assert_allclose(seen, np.transpose([top_3, top_1]), rtol=1e-15)


def test_row_108_top_n_accuracy_merging():
    merged, other = Evaluation(top_n=3), Evaluation(top_n=3)
    for evaluation, rows in (merged, TOP_3[:4]), (other, TOP_3[4:]):
        evaluation.eval(np.ones(4, int), rows)
        assert evaluation.top_n_accuracy() == 0.75
    merged.merge(other)
    assert merged.top_n_accuracy() == 6 / 8
    assert merged.accuracy() == 2 / 8


def test_row_109_binary_case():
    evaluation = Evaluation()
    labels = np.repeat([1, 1, 0, 0], [10, 3, 4, 2])[:, None]
    evaluation.eval(labels, np.repeat([0.7, 0.3, 0.7, 0.3], [10, 3, 4, 2])[:, None])
    assert evaluation.accuracy() == 12 / 19
    assert evaluation.counts() == [(2, 3, 10, 4), (10, 4, 2, 3)]


def test_row_110_f1_f_beta_micro_macro_averaging():
    e = evaluation_of(ROW_110)
    per_class = {
        e.precision: [0.6, 0.3333, 0.8],
        e.recall: [0.75, 0.4, 0.5714],
        e.f1: [0.6667, 0.3636, 0.6667],
        (lambda c: e.f_beta(3.5, c)): [0.7361, 0.3941, 0.5840],
        e.matthews_correlation: [0.5449, 0.0348, 0.4927],
    }
    for metric, expected in per_class.items():
        np.testing.assert_allclose([metric(c) for c in range(3)], expected, atol=5e-5)


@pytest.mark.parametrize(
    ("metric", "macro", "micro"),
    [
        ("precision", 0.57778, 0.5625),
        ("recall", 0.57381, 0.5625),
        ("f1", 0.56566, 0.5625),
        ("matthews_correlation", 0.35747, 0.34375),
        ("false_negative_rate", 0.42619, 0.4375),
        ("false_positive_rate", 0.21380, 0.21875),
        ("g_measure", 0.57070, 0.5625),
    ],
)
def test_row_110_averages(metric, macro, micro):
    method = getattr(evaluation_of(ROW_110), metric)
    assert method() == pytest.approx(macro, abs=5e-6)
    assert method(averaging=EvaluationAveraging.MACRO) == method()
    assert method(averaging="micro") == pytest.approx(micro, rel=1e-15)


def test_row_110_f_beta_averages():
    evaluation = evaluation_of(ROW_110)
    assert evaluation.f_beta(3.5) == pytest.approx(0.57140, abs=5e-6)
    assert evaluation.f_beta(3.5, averaging="MICRO") == pytest.approx(0.5625)


def test_row_111_confusion_matrix_stats():
    text = evaluation_of([[0, 0, 3], [2, 0, 0], [1, 1, 0]]).stats()
    assert " 0 0 3 | 0 = 0\n" in text
    assert " 2 0 0 | 1 = 1\n" in text


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("positive_class", [0, 1])
def test_row_112_eval_binary_metrics(width, positive_class):
    actual = np.repeat([1, 1, 0, 0], [7, 5, 3, 1])  # tp, fn, tn, fp of the positive class
    predicted = np.repeat([1, 0, 0, 1], [7, 5, 3, 1])
    if positive_class == 0:
        actual, predicted = 1 - actual, 1 - predicted
    evaluation = Evaluation(positive_class=positive_class)
    evaluation.eval(one_hot(actual, 2)[:, -width:], one_hot(predicted, 2)[:, -width:])
    assert (evaluation.accuracy(), evaluation.precision()) == (0.625, 0.875)
    assert evaluation.recall() == pytest.approx(0.58333, abs=5e-6)
    assert evaluation.f1() == pytest.approx(0.7)


def test_row_112_without_positive_class():
    evaluation = evaluation_of([[3, 1], [5, 7]], positive_class=None)
    assert evaluation.precision() == 0.625
    assert evaluation.recall() == pytest.approx(0.66667, abs=5e-6)
    assert "macro-averaged (equally weighted avg. of 2 classes)" in evaluation.stats()


def test_row_113_confusion_matrix_string():
    evaluation = evaluation_of([[0, 2, 0], [0, 0, 0], [0, 0, 3]], labels=["a", "b", "c"])
    assert evaluation.confusion_matrix_text() == (
        " 0 1 2\n-------\n 0 2 0 | 0 = a\n 0 0 0 | 1 = b\n 0 0 3 | 2 = c\n\n"
        "Each row is an actual class, each column a predicted class."
    )


def test_row_113_many_classes():
    evaluation = Evaluation(21)
    assert evaluation.confusion_matrix_text() == "Confusion matrix: <no data>"
    evaluation.eval_index(0, 20)
    note = "Confusion matrix of 21 classes left out: stats(include_confusion=True) has it."
    assert note in evaluation.stats()
    assert note not in evaluation.stats(include_confusion=True)
    assert "  1  0  0" in evaluation.stats(include_confusion=True)


def test_count_of_a_power_of_ten_has_no_blank_before_it():
    assert "10 0 | 0 = 0" in evaluation_of([[10, 0], [0, 9]]).confusion_matrix_text()
    assert " 11  0 | 0 = 0" in evaluation_of([[11, 0], [0, 9]]).confusion_matrix_text()


def test_row_116_label_reset():
    evaluation = evaluation_of(ROW_110, labels=["a", "b", "c"])
    before = evaluation.stats()
    evaluation.reset()
    assert evaluation.stats() == "Evaluation: No data available (no evaluation has been performed)"
    evaluation.merge(evaluation_of(ROW_110))
    assert evaluation.stats() == before


def test_row_117_eval_stats_binary_case():
    lines = evaluation_of([[4, 1], [2, 3]], labels=["no", "yes"], threshold=0.5).stats().splitlines()
    assert lines[4:9] == [
        " Precision:       0.7500",
        " Recall:          0.6000",
        " F1 Score:        0.6667",
        'Precision, recall & F1: reported for positive class (class 1 - "yes") only',
        "Binary decision threshold: 0.5",
    ]


def test_stats_text():
    assert evaluation_of(ROW_110).stats() == STATS_OF_ROW_110


def test_stats_text_with_everything():
    evaluation = Evaluation(labels="abcd", top_n=2, cost_array=[1, 1, 2, 1])
    probabilities = [[0.7, 0.1, 0.1, 0.1], [0.1, 0.4, 0.3, 0.2], [0.1, 0.1, 0.5, 0.3]]
    evaluation.eval(np.array([0, 1, 3]), np.array(probabilities))
    assert evaluation.stats() == STATS_WITH_EVERYTHING
    assert "Warning" not in evaluation.stats(suppress_warnings=True)


def test_zero_divided_by_zero():
    evaluation = evaluation_of([[3, 0], [0, 0]])
    assert (evaluation.precision(), evaluation.recall(), evaluation.f1()) == (0, 0, 0)
    assert evaluation.precision(1, undefined=0.5) == 0.5
    assert (evaluation.false_positive_rate(1), evaluation.false_negative_rate(1)) == (0, 0)
    assert evaluation.g_measure(1) == 0
    assert math.isnan(evaluation.matthews_correlation(1))
    assert math.isnan(evaluation_of([[0, 2], [0, 0]]).f1(averaging="macro"))


def test_false_alarm_rate():
    assert evaluation_of([[4, 1], [2, 3]]).false_alarm_rate() == pytest.approx((1 / 5 + 2 / 5) / 2)


def test_threshold_and_width():
    evaluation = Evaluation(threshold=0.3)
    for predictions in (np.array([[0.3], [0.31]]), np.array([[0.7, 0.3], [0.69, 0.31]])):
        evaluation.eval(np.array([0, 1]), predictions)
    np.testing.assert_array_equal(evaluation.confusion_matrix, [[2, 0], [0, 2]])


def test_confusion_matrix_is_a_copy():
    evaluation = evaluation_of(ROW_110)
    evaluation.confusion_matrix[:] = 0
    assert evaluation.confusion_matrix.dtype == np.int64
    assert evaluation.row_count == evaluation.confusion_matrix.sum() == 16


@given(st.integers(2, 6), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_agrees_with_scikit_learn(classes, pairs):
    actual, predicted = np.array(pairs).T % classes
    evaluation = Evaluation(positive_class=None)
    evaluation.eval(actual, one_hot(predicted, classes))
    names = range(classes)
    np.testing.assert_array_equal(evaluation.confusion_matrix, sk.confusion_matrix(actual, predicted, labels=names))
    p, r, f, n = sk.precision_recall_fscore_support(actual, predicted, labels=names, zero_division=0)
    np.testing.assert_allclose([evaluation.precision(c) for c in names], p)
    np.testing.assert_allclose([evaluation.recall(c) for c in names], r)
    np.testing.assert_allclose([evaluation.f1(c) for c in names], f)
    np.testing.assert_array_equal([evaluation.class_count(c) for c in names], n)
    assert evaluation.accuracy() == pytest.approx(sk.accuracy_score(actual, predicted))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_matthews_correlation_agrees_with_scikit_learn(pairs):
    actual, predicted = np.array(pairs).T
    evaluation = Evaluation()
    evaluation.eval(actual[:, None], predicted[:, None])
    ours = evaluation.matthews_correlation()
    if len(set(actual)) == len(set(predicted)) == 2:
        assert ours == pytest.approx(sk.matthews_corrcoef(actual, predicted))
    else:
        assert math.isnan(ours)


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_top_n_agrees_with_counting(seed, top_n):
    rng = np.random.default_rng(seed)
    actual, scores = rng.integers(0, 4, 9), rng.integers(0, 3, (9, 4))  # with ties
    evaluation = Evaluation(top_n=top_n)
    evaluation.eval(actual, scores)
    right = sum(sum(s > row[c] for s in row) < top_n for c, row in zip(actual, scores, strict=True))
    expected = right / 9 if top_n > 1 else np.mean(scores.argmax(axis=1) == actual)
    assert evaluation.top_n_accuracy() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes=0: expected at least 1."),
        ({"top_n": 0}, "top_n=0: expected at least 1."),
        ({"positive_class": 2}, "positive_class=2: expected 0, 1 or None."),
        ({"threshold": 1.5}, "threshold=1.5: expected a probability, 0 to 1."),
        (
            {"threshold": 0.5, "cost_array": [1, 2]},
            "threshold and cost_array exclude each other. Give one of them.",
        ),
        ({"num_classes": 3, "threshold": 0.5}, "threshold needs two classes, but there are 3."),
        ({"cost_array": [1, -2]}, "cost_array=[1, -2]: expected a row of factors, none of them negative."),
        ({"num_classes": 3, "cost_array": [1, 2]}, "cost_array has 2 factors for 3 classes."),
        (
            {"num_classes": 3, "labels": ["a", "b"]},
            "2 labels were given for 3 classes. Name every class once.",
        ),
        (
            {"labels": {1: "a", 2: "b"}},
            "labels have the keys [1, 2], expected 0 to 1. Name every class once.",
        ),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        Evaluation(**options)


@pytest.mark.parametrize(
    ("options", "width", "message"),
    [
        (
            {"num_classes": 3},
            4,
            "Evaluation of 3 classes got predictions with 4 columns. "
            "Use one Evaluation per kind of output, or reset() it.",
        ),
        (
            {"threshold": 0.25},
            3,
            "Evaluation with threshold=0.25 got predictions with 3 columns. "
            "A threshold tells two classes apart: leave it out.",
        ),
        (
            {"cost_array": [1, 2]},
            3,
            "Evaluation with 2 factors in cost_array got predictions with 3 columns. Give one factor per column.",
        ),
    ],
)
def test_width_that_does_not_fit(options, width, message):
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        Evaluation(**options).eval(np.ones((2, width)), np.ones((2, width)))


def test_merge_of_what_does_not_fit():
    message = (
        "cannot merge Evaluation with top_n=2 into one with top_n=1: the counts differ in meaning. "
        "Create both with the same top_n."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        Evaluation().merge(Evaluation(top_n=2))
    message = "cannot merge an Evaluation of 3 classes into one of 2. Merge evaluations of the same output only."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        Evaluation(2).merge(Evaluation(3))


def test_merge_takes_label_names_if_it_has_none():
    evaluation = Evaluation(labels=["a", "b"])
    evaluation.merge(Evaluation(labels=["c", "d"]))
    assert evaluation.class_label(0) == "a"
    evaluation = Evaluation(2)
    evaluation.merge(Evaluation(labels=["c", "d"]))
    assert evaluation.class_label(0) == "c"


@pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1", "matthews_correlation"])
def test_metric_before_data(metric):
    message = "Evaluation: no evaluation has been performed. Call eval(labels, predictions) first."
    with pytest.raises(NotInitializedError, match=f"^{re.escape(message)}$"):
        getattr(Evaluation(3), metric)()


@pytest.mark.parametrize("c", [-1, 3])
def test_class_index_out_of_range(c):
    evaluation = evaluation_of(ROW_110)
    message = f"class index {c} is out of range: this evaluation has 3 classes, from 0 on."
    for method in evaluation.precision, evaluation.class_label, evaluation.class_count:
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            method(c)


def test_eval_index_needs_the_number_of_classes():
    message = "eval_index needs the number of classes. Create Evaluation(num_classes=...)."
    with pytest.raises(NotInitializedError, match=f"^{re.escape(message)}$"):
        Evaluation().eval_index(0, 1)


def test_unknown_averaging():
    message = "averaging='median' is not known. Choose one of: MACRO, MICRO."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        evaluation_of(ROW_110).f1(averaging="median")
