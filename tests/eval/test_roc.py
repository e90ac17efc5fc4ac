"""ROC and ROCMultiClass: DL4J's recorded cases (by row of the specification), scikit-learn, errors."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from minidl.errors import ConfigurationError, DataError, NotInitializedError, ShapeError
from minidl.eval import ROC, ROCBinary, ROCMultiClass

# Row 124: scores and labels of scikit-learn's own example, drawn with numpy.random.RandomState(12345)
SCORES_124 = [
    0.92961609, 0.31637555, 0.18391881, 0.20456028, 0.56772503, 0.59554470, 0.96451452, 0.65317710, 0.74890664,
    0.65356987, 0.74771481, 0.96130674, 0.00838830, 0.10644438, 0.29870371, 0.65641118, 0.80981255, 0.87217591,
    0.96464760, 0.72368535, 0.64247533, 0.71745362, 0.46759901, 0.32558468, 0.43964461, 0.72968908, 0.99401459,
    0.67687371, 0.79082252, 0.17091426,
]  # fmt: skip
LABELS_124 = [1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1]

MODES = [ROC(), ROC(20), ROC(expected_examples=10), ROC(remove_redundant=False)]
EXAMPLES = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1)


def like(roc):
    return ROC(roc.threshold_steps, roc.expected_examples, remove_redundant=roc.remove_redundant)


def evaluated(roc, labels, scores):
    roc.eval(np.asarray(labels)[:, None], np.asarray(scores)[:, None])
    return roc


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_row_118_roc_basic(width, dtype):
    positive = 0.001 + 0.1 * np.arange(10)
    predictions = np.stack([1 - positive, positive], axis=1).astype(dtype)[:, -width:]
    labels = np.repeat([[1, 0], [0, 1]], 5, axis=0)[:, -width:]
    roc = ROC(10)
    for _ in range(2):
        roc.eval(labels, predictions)
        curve = roc.get_roc_curve()
        np.testing.assert_array_equal(curve.thresholds, np.arange(11) / 10)
        np.testing.assert_array_equal(curve.true_positive_rate, [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0])
        np.testing.assert_array_equal(curve.false_positive_rate, [1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0, 0, 0])
        assert roc.calculate_auc() == pytest.approx(1.0)
        roc.reset()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_row_119_roc(dtype):
    scores = np.array([0.5, 0.8, 0.1, 0.2, 0.6], dtype)  # on thresholds
    roc = evaluated(ROC(10), [1, 1, 0, 0, 0], scores)
    curve = roc.get_precision_recall_curve()
    np.testing.assert_array_equal(curve.true_positives, [2, 2, 2, 2, 2, 2, 1, 1, 1, 0, 0])
    np.testing.assert_array_equal(curve.false_positives, [3, 3, 2, 1, 1, 1, 1, 0, 0, 0, 0])
    assert roc.calculate_auc() == pytest.approx(5 / 6)


def test_thresholds_count_what_reaches_them_except_at_one():
    curve = evaluated(ROC(2), [1, 1, 1, 1, 1], [0.0, 0.0, 0.5, 1.0, 1.0]).get_precision_recall_curve()
    np.testing.assert_array_equal(curve.true_positives, [5, 3, 0])


@pytest.mark.parametrize("steps", [0, 2])
def test_rounding_is_put_back_into_the_range(steps):
    rounded, exact = ([0, 1, 1, 0], [-1e-7, 1 + 1e-7, 0.5, 1]), ([0, 1, 1, 0], [0, 1, 0.5, 1])
    curves = [evaluated(ROC(steps), *examples).get_precision_recall_curve() for examples in (rounded, exact)]
    np.testing.assert_array_equal(curves[0].thresholds, curves[1].thresholds)
    np.testing.assert_array_equal(curves[0].true_positives, curves[1].true_positives)


@pytest.mark.parametrize("evaluation_class", [ROC, ROCBinary, ROCMultiClass])
@pytest.mark.parametrize("scores", [[[0.0, 1.5]], [[-0.25, 1.0]]])
def test_what_is_no_probability(evaluation_class, scores):
    low, high = scores[0]
    message = (
        f"{evaluation_class.__name__}: predictions from {low:g} to {high:g} are no probabilities. Apply a sigmoid or a "
        "softmax to them first, or give the network an output layer with one."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        evaluation_class().eval(np.array([[0, 1]]), np.array(scores))


@given(st.integers(1, 300), st.sampled_from(["f4", "f8"]), st.integers(0, 2**32))
def test_thresholded_counts_agree_with_comparison(steps, dtype, seed):
    rng = np.random.default_rng(seed)
    thresholds = (np.arange(steps) / steps).astype(dtype)
    scores = np.concatenate([rng.random(20, dtype), thresholds, np.nextafter(thresholds[1:], -1, dtype=dtype)])
    curve = evaluated(ROC(steps), np.ones(len(scores), int), scores).get_precision_recall_curve()
    np.testing.assert_array_equal(curve.true_positives[:-1], [sum(scores >= t) for t in thresholds])


@pytest.mark.parametrize("roc", [ROC(), ROC(20)])
def test_row_120_roc_time_series(roc, rng):
    labels, predictions = rng.integers(0, 2, (6, 1, 5)), rng.random((6, 1, 5))
    mask = rng.integers(0, 2, (6, 5))
    flat, masked = like(roc), like(roc)
    roc.eval(labels, predictions)
    evaluated(flat, labels.ravel(), predictions.ravel())
    assert roc.stats() == flat.stats()
    masked.eval(labels, predictions, mask)
    kept = mask.ravel() == 1
    assert masked.stats() == evaluated(like(roc), labels.ravel()[kept], predictions.ravel()[kept]).stats()


@pytest.mark.parametrize("steps", [0, 20])
def test_row_121_compare_roc_and_roc_multi_class(steps, rng):
    labels, predictions = np.eye(2)[rng.integers(0, 2, 30)], softmax(rng.normal(size=(30, 2)))
    binary, multi = ROC(steps), ROCMultiClass(steps)
    binary.eval(labels, predictions)
    multi.eval(labels, predictions)
    assert multi.calculate_auc(1) == binary.calculate_auc()
    assert multi.calculate_auc_pr(1) == binary.calculate_auc_pr()


@pytest.mark.parametrize("steps", [0, 20])
def test_row_121_two_against_three_classes(steps, rng):
    labels, predictions = np.eye(3)[rng.integers(0, 3, 30)], softmax(rng.normal(size=(30, 3)))
    three, two = ROCMultiClass(steps), ROCMultiClass(steps)
    three.eval(labels, predictions)
    joined = [np.stack([a[:, 0] + a[:, 1], a[:, 2]], axis=1) for a in (labels, predictions)]
    two.eval(*joined)
    one, other = three.get_roc_curve(2), two.get_roc_curve(1)
    np.testing.assert_array_equal(one.thresholds, other.thresholds)
    np.testing.assert_array_equal(one.true_positive_rate, other.true_positive_rate)
    np.testing.assert_array_equal(one.false_positive_rate, other.false_positive_rate)


@pytest.mark.parametrize("template", MODES)
def test_row_122_roc_merging(template, rng):
    labels, scores = rng.integers(0, 2, 64), rng.random(64)
    single, merged = evaluated(like(template), labels, scores), like(template)
    for part in slice(0, 10), slice(10, 37), slice(37, 64):
        merged.calculate_auc()
        merged.merge(evaluated(like(template), labels[part], scores[part]))
    assert merged.calculate_auc() == single.calculate_auc()
    np.testing.assert_array_equal(merged.get_roc_curve().true_positive_rate, single.get_roc_curve().true_positive_rate)
    np.testing.assert_array_equal(
        merged.get_precision_recall_curve().precision, single.get_precision_recall_curve().precision
    )


@pytest.mark.parametrize(("steps", "tolerance"), [(0, 1e-8), (10, 1e-4)])
@pytest.mark.parametrize(("scores", "area"), [([0.1, 0.4, 0.35, 0.8], 0.7916666667), ([0.1, 0.2, 0.7, 0.8], 1)])
def test_row_123_auc_precision_recall(steps, tolerance, scores, area):
    roc = evaluated(ROC(steps), [0, 0, 1, 1], scores)
    assert roc.calculate_auc_pr() == pytest.approx(area, abs=tolerance)


@pytest.mark.parametrize(("remove_redundant", "points"), [(True, 15), (False, 32)])
def test_row_124_roc_auc_exact(remove_redundant, points):
    roc = evaluated(ROC(remove_redundant=remove_redundant), LABELS_124, SCORES_124)
    assert len(roc.get_roc_curve().thresholds) == points
    assert roc.calculate_auc() == pytest.approx(0.459330143541, abs=1e-12)
    assert roc.calculate_auc_pr() == pytest.approx(0.398963619227, abs=1e-12)


def test_row_124_perfect_classifier():
    roc = evaluated(ROC(), [0, 0, 1, 1, 1], [0.1, 0.2, 0.5, 0.8, 0.9])
    assert (roc.calculate_auc(), roc.calculate_auc_pr()) == (1.0, 1.0)


def test_row_125_exact_with_more_examples_than_expected():
    labels, scores = np.tile(LABELS_124, 10), np.tile(SCORES_124, 10)
    roc = ROC(expected_examples=50)
    for start in range(0, 300, 100):
        evaluated(roc, labels[start : start + 100], scores[start : start + 100])
    assert roc.count_positive + roc.count_negative == 300
    assert roc.calculate_auc() == evaluated(ROC(), labels, scores).calculate_auc()


def test_curves_start_at_threshold_one_and_end_at_zero():
    curve = evaluated(ROC(remove_redundant=False), [1, 0, 1], [0.2, 0.6, 0.6]).get_roc_curve()
    np.testing.assert_array_equal(curve.thresholds, [1, 0.6, 0.2, 0])
    np.testing.assert_array_equal(curve.false_positive_rate, [0, 1, 1, 1])
    np.testing.assert_array_equal(curve.true_positive_rate, [0, 0.5, 1, 1])


@pytest.mark.parametrize("labels", [[0, 1], [1, 0]])
def test_tied_examples_of_both_classes_give_half(labels):
    assert evaluated(ROC(), labels, [0.5, 0.5]).calculate_auc() == 0.5


@pytest.mark.parametrize("steps", [0, 10])
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_gives_nan(steps, label):
    roc = evaluated(ROC(steps), [label, label], [0.3, 0.7])
    assert math.isnan(roc.calculate_auc())
    assert "AUC:    NaN\n" in roc.stats()


def test_area_pr_of_one_class_only():
    assert evaluated(ROC(), [1, 1], [0.3, 0.7]).calculate_auc_pr() == 1.0
    assert math.isnan(evaluated(ROC(), [0, 0], [0.3, 0.7]).calculate_auc_pr())
    assert evaluated(ROC(10), [0, 0], [0.3, 0.7]).get_precision_recall_curve().recall.min() == 1.0


@pytest.mark.parametrize("steps", [0, 10])
def test_no_examples_give_nan(steps):
    assert math.isnan(ROC(steps).calculate_auc())
    assert math.isnan(ROC(steps).calculate_auc_pr())


@given(EXAMPLES, st.sampled_from(["f4", "f8"]), st.booleans())
def test_exact_area_agrees_with_scikit_learn(examples, dtype, remove_redundant):
    labels, scores = np.array(examples).T
    scores = (scores / 8).astype(dtype)
    ours = evaluated(ROC(remove_redundant=remove_redundant), labels, scores).calculate_auc()
    if len(set(labels)) == 2:
        assert ours == pytest.approx(sk.roc_auc_score(labels, scores), rel=1e-14)
    else:
        assert math.isnan(ours)


@given(EXAMPLES)
def test_precision_recall_points_agree_with_scikit_learn(examples):
    labels, scores = np.array([(True, 3), *examples]).T
    precision, recall, thresholds = sk.precision_recall_curve(labels, scores / 8)
    curve = evaluated(ROC(remove_redundant=False), labels, scores / 8).get_precision_recall_curve()
    np.testing.assert_array_equal(curve.thresholds[1:-1], thresholds)
    np.testing.assert_allclose(curve.precision[1:], precision)
    np.testing.assert_allclose(curve.recall[1:], recall)


@given(EXAMPLES)
def test_area_is_the_share_of_pairs_in_order(examples):
    positive = [score for label, score in examples if label]
    negative = [score for label, score in examples if not label]
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    labels, scores = np.array(examples).T
    if positive and negative:
        area = evaluated(ROC(), labels, scores / 8).calculate_auc()
        assert area == pytest.approx(wins / (len(positive) * len(negative)))


@pytest.mark.parametrize("steps", [0, 5])
def test_class_indices_equal_one_hot(steps, rng):
    indices, predictions = rng.integers(0, 3, 20), softmax(rng.normal(size=(20, 3)))
    by_index, one_hot = ROCMultiClass(steps), ROCMultiClass(steps)
    by_index.eval(indices, predictions)
    one_hot.eval(np.eye(3)[indices], predictions)
    assert by_index.stats() == one_hot.stats()
    for width in 1, 2:
        binary, columns = ROC(steps), ROC(steps)
        binary.eval(indices % 2, predictions[:, :width])
        columns.eval(np.eye(2)[indices % 2, -width:], predictions[:, :width])
        assert binary.stats() == columns.stats()


def test_multi_class_areas_agree_with_scikit_learn(rng):
    indices, predictions = rng.integers(0, 4, 50), softmax(rng.normal(size=(50, 4)))
    roc = ROCMultiClass()
    roc.eval(indices, predictions)
    areas = sk.roc_auc_score(np.eye(4)[indices], predictions, average=None)
    np.testing.assert_allclose([roc.calculate_auc(c) for c in range(4)], areas, rtol=1e-14)
    assert roc.calculate_average_auc() == pytest.approx(areas.mean())
    assert roc.calculate_average_auc_pr() == np.mean([roc.calculate_auc_pr(c) for c in range(4)])
    assert roc.count_positive(2) == 50 - roc.count_negative(2) == sum(indices == 2)
    np.testing.assert_array_equal(roc.get_precision_recall_curve(2).thresholds[[0, -1]], [0, 1])


def test_float64_scores_after_float32_keep_their_precision():
    roc = evaluated(ROC(), [1], np.array([0.5], np.float32))
    evaluated(roc, [0, 1], [0.5 - 1e-12, 0.5 + 1e-12])
    assert roc.calculate_auc() == 1.0


def test_stats_text():
    text = "AUC:    0.7500\nAUPRC:  0.7917\n# Pos:  2\n# Neg:  2"
    assert evaluated(ROC(), [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).stats() == text
    note = "\nNote: areas from 20 threshold steps are less accurate than exact ones."
    assert evaluated(ROC(20), [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).stats() == text + note
    assert ROC().stats() == "-- No Data --"


def test_multi_class_stats_text():
    roc = ROCMultiClass(labels=["setosa", "a very long name", "c"])
    header = "Label                AUC         # Pos     # Neg"
    assert roc.stats() == header + "\n-- No Data --"
    roc.eval(np.array([0, 1, 1]), np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]))
    assert roc.stats().splitlines() == [
        header,
        "setosa               0.7500      1         2",
        "a very long name     0.7500      2         1",
        "c                    NaN         0         3",
        "Average AUC: NaN",
    ]


@pytest.mark.parametrize("evaluation_class", [ROC, ROCMultiClass])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold_steps": -1}, "threshold_steps=-1: expected 0 (exact) or more."),
        ({"expected_examples": 0}, "expected_examples=0: expected at least 1, or None."),
    ],
)
def test_options_that_cannot_work(evaluation_class, options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        evaluation_class(**options)


@pytest.mark.parametrize("evaluation_class", [ROC, ROCMultiClass])
def test_labels_must_be_binary(evaluation_class):
    name = evaluation_class.__name__
    message = f"{name}: labels must be 0 or 1, but others were found. Round them, or mask out what has no label."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        evaluation_class().eval(np.array([[0.1, 0.9]]), np.array([[0.5, 0.5]]))


def test_roc_of_three_columns():
    message = (
        "ROC expects predictions with 1 or 2 columns, got 3. Use ROCMultiClass for classes, ROCBinary for independent "
        "outputs."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        ROC().eval(np.eye(3)[:1], np.eye(3)[:1])


@pytest.mark.parametrize(
    ("labels", "width", "message"),
    [
        (None, 1, "ROCMultiClass expects predictions with 2 columns or more, got 1. Use ROC."),
        (
            ["a", "b"],
            3,
            "ROCMultiClass with 2 labels got predictions with 3 columns. Name every class once.",
        ),
        (
            None,
            3,
            "ROCMultiClass of 2 classes got predictions with 3 columns. "
            "Use one ROCMultiClass per kind of output, or reset() it.",
        ),
    ],
)
def test_multi_class_width_that_does_not_fit(labels, width, message):
    roc = ROCMultiClass(labels=labels)
    roc.eval(np.eye(2), np.eye(2))
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        roc.eval(np.ones((1, width)), np.ones((1, width)))


def test_multi_class_takes_another_width_after_reset():
    roc = ROCMultiClass()
    roc.eval(np.eye(2), np.eye(2))
    roc.reset()
    roc.eval(np.eye(3), np.eye(3))
    assert roc.num_classes == 3


@pytest.mark.parametrize("evaluation_class", [ROC, ROCMultiClass])
def test_merge_of_other_threshold_steps(evaluation_class):
    name = evaluation_class.__name__
    message = (
        f"cannot merge {name} with threshold_steps=10 into one with threshold_steps=0: "
        "the counts differ in meaning. Create both with the same threshold_steps."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        evaluation_class().merge(evaluation_class(10))


def test_multi_class_without_data():
    message = "ROCMultiClass: no evaluation has been performed. Call eval(labels, predictions) first."
    for metric in ROCMultiClass().calculate_auc, ROCMultiClass().get_roc_curve:
        with pytest.raises(NotInitializedError, match=f"^{re.escape(message)}$"):
            metric(0)


@pytest.mark.parametrize("c", [-1, 2])
def test_multi_class_index_out_of_range(c):
    roc = ROCMultiClass()
    roc.eval(np.eye(2), np.eye(2))
    message = f"class index {c} is out of range: this evaluation has 2 classes, from 0 on."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        roc.calculate_auc(c)
