"""Every metric equals scikit-learn's (1.9), on data with ties, single classes, empty classes and masks.

Different by definition:

* the area under the precision-recall curve is by trapezoid, ``auc(recall, precision)``, and not the sum of steps of
  ``average_precision_score``;
* a curve begins at threshold 1, not at infinity;
* Matthews' correlation is NaN at 0/0, where scikit-learn gives 0; areas and curves of a single class are NaN without a
  warning; R^2 of constant labels is -infinity or NaN, as ``force_finite=False`` has it, and NaN in place of 1;
* macro precision, recall and F-measures leave out classes where they are 0/0, where scikit-learn takes 0 or 1;
* top-N counts ties with the N-th class as right, where scikit-learn takes the later class.
"""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from minidl.eval import (
    ROC,
    Evaluation,
    EvaluationBinary,
    EvaluationCalibration,
    RegressionEvaluation,
    ROCBinary,
    ROCMultiClass,
)

seeds, sizes, class_counts = st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 6)
beta_values = st.sampled_from([0.5, 1.0, 2.0, 3.5])


def drawn(seed, rows, classes, *, ties=True):
    """Return class indices that may leave classes out, probabilities, and a mask that leaves at least one row."""
    rng = np.random.default_rng(seed)
    present = rng.permutation(classes)[: rng.integers(1, classes + 1)]
    weights = rng.integers(1, 5, (rows, classes)) if ties else rng.random((rows, classes)) + 0.01
    mask = rng.random(rows) < 0.7
    mask[rng.integers(rows)] = True
    return rng.choice(present, rows), weights / weights.sum(axis=1, keepdims=True), mask


def quietly(metric, *arguments, **options):
    """Return what scikit-learn gives, without its warnings about classes that do not occur."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(*arguments, **options)


def mean_of_defined(values):
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


@given(seed=seeds, rows=sizes, classes=class_counts, beta=beta_values)
def test_classes(seed, rows, classes, beta):
    actual, probabilities, mask = drawn(seed, rows, classes)
    evaluation, names = Evaluation(positive_class=None), range(classes)
    evaluation.eval(actual, probabilities, mask)
    y, p = actual[mask], probabilities.argmax(axis=1)[mask]
    np.testing.assert_array_equal(evaluation.confusion_matrix, sk.confusion_matrix(y, p, labels=names))
    weighted = sk.confusion_matrix(actual, probabilities.argmax(axis=1), labels=names, sample_weight=mask)
    np.testing.assert_array_equal(evaluation.confusion_matrix, weighted)
    assert evaluation.accuracy() == pytest.approx(sk.accuracy_score(y, p), rel=1e-14)
    scores = quietly(sk.precision_recall_fscore_support, y, p, beta=beta, labels=names, zero_division=np.nan)
    for metric, expected in zip((evaluation.precision, evaluation.recall), scores[:2], strict=True):
        np.testing.assert_allclose([metric(c, undefined=np.nan) for c in names], expected, rtol=1e-13)
        np.testing.assert_allclose(metric(averaging="macro"), mean_of_defined(expected), rtol=1e-13)
    micro = sk.precision_recall_fscore_support(y, p, beta=beta, labels=names, average="micro")
    assert evaluation.precision(averaging="micro") == pytest.approx(micro[0], rel=1e-13)
    assert evaluation.recall(averaging="micro") == pytest.approx(micro[1], rel=1e-13)
    assert evaluation.f_beta(beta, averaging="micro") == pytest.approx(micro[2], rel=1e-13)
    zeros = quietly(sk.fbeta_score, y, p, beta=beta, labels=names, average=None, zero_division=0)
    np.testing.assert_allclose([evaluation.f_beta(beta, c) for c in names], zeros, rtol=1e-13)
    assert [evaluation.class_count(c) for c in names] == scores[3].tolist()


@given(seed=seeds, rows=sizes, classes=class_counts)
def test_rates_and_correlations_of_each_class(seed, rows, classes):
    actual, probabilities, mask = drawn(seed, rows, classes)
    evaluation = Evaluation()
    evaluation.eval(actual, probabilities, mask)
    y, p = actual[mask], probabilities.argmax(axis=1)[mask]
    for c, (tn, fp, fn, tp) in enumerate(sk.multilabel_confusion_matrix(y, p, labels=range(classes)).reshape(-1, 4)):
        assert evaluation.counts()[c] == (tp, fp, tn, fn)
        assert evaluation.false_positive_rate(c) == (fp / (fp + tn) if fp + tn else 0)
        assert evaluation.false_negative_rate(c) == (fn / (fn + tp) if fn + tp else 0)
        both = len(set(y == c)) == len(set(p == c)) == 2
        expected = quietly(sk.matthews_corrcoef, y == c, p == c) if both else math.nan
        np.testing.assert_allclose(evaluation.matthews_correlation(c), expected, atol=1e-13)


@given(seed=seeds, rows=sizes, classes=class_counts, n=st.integers(1, 4))
def test_top_n(seed, rows, classes, n):
    assume(n < classes)
    actual, probabilities, mask = drawn(seed, rows, classes, ties=False)
    evaluation = Evaluation(top_n=n)
    evaluation.eval(actual, probabilities, mask)
    expected = sk.top_k_accuracy_score(
        actual[mask], probabilities[mask] if classes > 2 else probabilities[mask, 1], k=n, labels=range(classes)
    )
    assert evaluation.top_n_accuracy() == pytest.approx(expected, rel=1e-14)


@given(seed=seeds, rows=sizes, threshold=st.sampled_from([0.25, 0.5, 0.7]))
def test_thresholds_and_costs_are_those_of_the_predictions_made_with_them(seed, rows, threshold):
    actual, probabilities, mask = drawn(seed, rows, 2)
    for evaluation, predicted in (
        (Evaluation(threshold=threshold), probabilities[:, 1] > threshold),
        (Evaluation(cost_array=[1, 3]), 3 * probabilities[:, 1] > probabilities[:, 0]),
    ):
        evaluation.eval(actual, probabilities, mask)
        y, p = actual[mask], predicted[mask]
        assert evaluation.f1() == pytest.approx(quietly(sk.f1_score, y, p, zero_division=0), rel=1e-14)
        assert evaluation.precision() == pytest.approx(quietly(sk.precision_score, y, p, zero_division=0), rel=1e-14)


@given(seed=seeds, rows=sizes, outputs=st.integers(1, 4), beta=beta_values)
def test_binary_outputs_with_masks_of_outputs(seed, rows, outputs, beta):
    rng = np.random.default_rng(seed)
    labels, scores = rng.integers(0, 2, (rows, outputs)), rng.integers(0, 9, (rows, outputs)) / 8
    mask, thresholds = rng.random((rows, outputs)) < 0.7, rng.integers(1, 8, outputs) / 8
    mask[0] = True
    evaluation, roc = EvaluationBinary(threshold=thresholds, roc_binary_steps=0), ROCBinary()
    for one in evaluation, roc:
        one.eval(labels, scores, mask)
    for i in range(outputs):
        y, s = labels[mask[:, i], i], scores[mask[:, i], i]
        p = s > thresholds[i]
        assert evaluation.accuracy(i) == pytest.approx(sk.accuracy_score(y, p), rel=1e-14)
        options = dict(zero_division=np.nan)
        np.testing.assert_allclose(evaluation.precision(i), quietly(sk.precision_score, y, p, **options))
        np.testing.assert_allclose(evaluation.recall(i), quietly(sk.recall_score, y, p, **options))
        if not math.isnan(evaluation.precision(i) + evaluation.recall(i)):
            assert evaluation.f_beta(beta, i) == pytest.approx(sk.fbeta_score(y, p, beta=beta, zero_division=0))
        if len(set(y)) == len(set(p)) == 2:
            assert evaluation.matthews_correlation(i) == pytest.approx(sk.matthews_corrcoef(y, p), abs=1e-14)
        if len(set(y)) == 2:
            assert roc.calculate_auc(i) == pytest.approx(sk.roc_auc_score(y, s), rel=1e-14)
        np.testing.assert_equal(evaluation.roc_binary.calculate_auc(i), roc.calculate_auc(i))


@given(seed=seeds, rows=sizes, masked=st.booleans())
def test_curves_and_areas_of_a_binary_output(seed, rows, masked):
    actual, probabilities, mask = drawn(seed, rows, 2)
    mask = mask if masked else np.ones(rows, bool)
    assume(len(set(actual[mask])) == 2)
    roc = ROC(remove_redundant=False)
    roc.eval(actual, probabilities, mask)
    y, s = actual[mask], probabilities[mask, 1]
    false_positive_rate, true_positive_rate, thresholds = sk.roc_curve(y, s, drop_intermediate=False)
    curve = roc.get_roc_curve()
    np.testing.assert_array_equal(curve.thresholds[1:-1], thresholds[1:])
    np.testing.assert_allclose(curve.false_positive_rate[:-1], false_positive_rate, rtol=1e-14)
    np.testing.assert_allclose(curve.true_positive_rate[:-1], true_positive_rate, rtol=1e-14)
    precision, recall, thresholds = sk.precision_recall_curve(y, s)
    curve = roc.get_precision_recall_curve()
    np.testing.assert_array_equal(curve.thresholds[1:-1], thresholds)
    np.testing.assert_allclose(curve.precision[1:], precision, rtol=1e-14)
    np.testing.assert_allclose(curve.recall[1:], recall, rtol=1e-14)
    assert roc.calculate_auc() == pytest.approx(sk.roc_auc_score(y, s), rel=1e-13)
    weighted = sk.roc_auc_score(actual, probabilities[:, 1], sample_weight=mask.astype(float))
    assert roc.calculate_auc() == pytest.approx(weighted, rel=1e-13)
    assert roc.calculate_auc_pr() == pytest.approx(sk.auc(recall, precision), rel=1e-13)


def test_the_area_by_trapezoid_is_not_the_average_precision():
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    roc = ROC()
    roc.eval(labels[:, None], scores[:, None])
    assert roc.calculate_auc_pr() == pytest.approx(0.7916666666666666, rel=1e-15)
    assert sk.average_precision_score(labels, scores) == pytest.approx(0.8333333333333333, rel=1e-15)


@given(seed=seeds, rows=st.integers(6, 40), classes=class_counts)
def test_areas_of_every_class_against_all_others(seed, rows, classes):
    actual, probabilities, mask = drawn(seed, rows, classes)
    roc = ROCMultiClass()
    roc.eval(actual, probabilities, mask)
    y, p = actual[mask], probabilities[mask]
    for c in range(classes):
        if len(set(y == c)) == 2:
            assert roc.calculate_auc(c) == pytest.approx(sk.roc_auc_score(y == c, p[:, c]), rel=1e-13)
            precision, recall, _ = sk.precision_recall_curve(y == c, p[:, c])
            assert roc.calculate_auc_pr(c) == pytest.approx(sk.auc(recall, precision), rel=1e-13)
        else:
            assert math.isnan(roc.calculate_auc(c))
    if len(set(y)) == classes > 2:
        assert roc.calculate_average_auc() == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"), rel=1e-13)


@given(
    seed=seeds,
    rows=st.integers(2, 40),
    columns=st.integers(1, 3),
    mean=st.sampled_from([0.0, 1e6, -1e9]),
    data=st.data(),
)
def test_regression_with_masks_of_outputs(seed, rows, columns, mean, data):
    rng = np.random.default_rng(seed)
    labels = mean + rng.standard_normal((rows, columns))
    predictions = labels + rng.standard_normal((rows, columns)) * data.draw(st.sampled_from([0.1, 1.0, 10.0]))
    mask = rng.random((rows, columns)) < 0.8
    mask[:2] = True
    evaluation = RegressionEvaluation()
    for part in np.array_split(np.arange(rows), data.draw(st.integers(1, 3))):
        if len(part):
            evaluation.eval(labels[part], predictions[part], mask[part])
    for c in range(columns):
        y, p = labels[mask[:, c], c], predictions[mask[:, c], c]
        found = [evaluation.score_for_metric(metric, c) for metric in ("MSE", "MAE", "RMSE", "RSE", "R2", "PC")]
        r2 = sk.r2_score(y, p, force_finite=False)
        mse = sk.mean_squared_error(y, p)
        correlation = np.corrcoef(y - mean, p - mean)[0, 1]
        expected = [mse, sk.mean_absolute_error(y, p), sk.root_mean_squared_error(y, p), 1 - r2, r2, correlation]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("predictions", [[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
def test_regression_of_constant_labels(predictions):
    labels = np.full((3, 1), 2.0)
    evaluation = RegressionEvaluation()
    evaluation.eval(labels, np.array(predictions)[:, None])
    expected = quietly(sk.r2_score, labels, np.array(predictions)[:, None], force_finite=False)
    np.testing.assert_equal(evaluation.r_squared(0), expected)


@given(seed=seeds, rows=sizes, classes=class_counts, bins=st.sampled_from([4, 5, 10]))
def test_reliability(seed, rows, classes, bins):
    """On a bound scikit-learn takes the lower bin, so the probabilities lie off the bounds."""
    actual, probabilities, mask = drawn(seed, rows, classes, ties=False)
    probabilities = np.clip(np.round(probabilities * 40) / 40 + 0.0125, 0, 1)
    evaluation = EvaluationCalibration(bins)
    evaluation.eval(actual, probabilities, mask)
    for c in range(classes):
        diagram = evaluation.get_reliability_diagram(c)
        shares, means = calibration_curve(actual[mask] == c, probabilities[mask, c], n_bins=bins, pos_label=True)
        np.testing.assert_allclose(diagram.fraction_of_positives, shares, rtol=1e-12)
        np.testing.assert_allclose(diagram.mean_predicted_value, means, rtol=1e-12)
