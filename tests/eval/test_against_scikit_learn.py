"""Every metric equals scikit-learn's (1.9.1), on data with ties, empty classes, single classes and masks.

Different by definition:

* The area under the precision-recall curve is by trapezoid, ``auc(recall, precision)``, as in DL4J;
  ``average_precision_score`` is a sum of steps.
* 0/0: precision, recall and rates of an ``Evaluation`` are 0 there, those of an ``EvaluationBinary`` NaN (its false
  positive and negative rates 0), where scikit-learn has ``zero_division``. Matthews' correlation is NaN, where
  ``matthews_corrcoef`` gives 0. Recall of a precision-recall curve without positive examples is NaN, not 1.
* F-measures are undefined where precision or recall is, so a class never predicted is left out of the macro mean,
  and the F1 of such an output of an ``EvaluationBinary`` is NaN. scikit-learn computes F from tp, fp and fn, which
  is 0 there and undefined only for a class that occurs neither as label nor as prediction.
* Macro means of precision, recall and F-measures leave undefined classes out: scikit-learn's ``zero_division=nan``,
  where its default counts them as 0. Means over the outputs of an ``EvaluationBinary`` or a ROC are NaN if one is.
* Matthews' correlation of several classes is the mean of those of each class against the rest, not the R_K of
  ``matthews_corrcoef``.
* Top-N accuracy counts a class as right that ties with the N-th; ``top_k_accuracy_score`` ranks ties by class.
* A curve begins at threshold 1 and ends at 0; that of ``roc_curve`` begins at infinity and ends at the lowest score,
  that of ``precision_recall_curve`` lacks the point of threshold 0 and the threshold of its last point. With
  ``threshold_steps``, scores are rounded down to a threshold, and nothing reaches threshold 1.
* R^2 of equal labels is -infinity, or NaN without any error: ``r2_score(force_finite=False)``, but also where the
  computed mean of equal labels is off by rounding, which makes scikit-learn's a number like -1e31.
* Bins are [a, b), where those of ``calibration_curve`` are (a, b].
"""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
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

BETAS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])
EIGHTHS = st.integers(0, 8).map(lambda i: i / 8)  # with many ties, 0 and 1


@st.composite
def masks(draw, *shape):
    """Draw a mask of 0 and 1 that leaves at least one row of each output."""
    mask = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0])))
    mask[draw(st.integers(0, shape[0] - 1))] = 1
    return mask


@st.composite
def classified(draw, classes=None, ties=True):
    """Draw class indices, probabilities and a mask; some classes may occur neither as label nor as prediction."""
    classes, rows = classes or draw(st.integers(2, 5)), draw(st.integers(1, 20))
    subsets = st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes, unique=True)
    actual = np.array(draw(st.lists(st.sampled_from(draw(subsets)), min_size=rows, max_size=rows)))
    if ties:
        weights = np.zeros((rows, classes))
        predictable = draw(subsets)
        weights[:, predictable] = draw(hnp.arrays(np.int64, (rows, len(predictable)), elements=st.integers(1, 3)))
    else:
        weights = np.array(draw(st.lists(st.permutations(range(classes)), min_size=rows, max_size=rows)))
    return actual, weights / weights.sum(axis=1, keepdims=True), draw(masks(rows))


@st.composite
def outputs(draw, count=None, masked=True):
    """Draw labels of 0 and 1, scores with ties, and a mask, all (rows, count)."""
    shape = draw(st.integers(1, 20)), count or draw(st.integers(1, 3))
    labels = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 1)))
    scores = draw(hnp.arrays(np.float64, shape, elements=EIGHTHS))
    return labels, scores, draw(masks(*shape)) if masked else np.ones(shape)


def quietly(metric, *arguments, **options):
    """Return what scikit-learn or SciPy gives, without its warnings about 0/0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return metric(*arguments, **options)


def evaluated(evaluation, *batch):
    evaluation.eval(*batch)
    return evaluation


def assert_equal(found, expected, rel=1e-12):
    np.testing.assert_allclose(found, expected, rtol=rel, atol=1e-14)


def of_each_class(metric, data, **options):
    """Return a metric of scikit-learn for every class of the kept rows."""
    actual, probabilities, mask = data
    kept, classes = mask == 1, range(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    return quietly(metric, actual[kept], predicted[kept], labels=classes, **{"average": None, **options})


# Evaluation


@given(classified())
def test_confusion_matrix_and_accuracy(data):
    actual, probabilities, mask = data
    predicted, classes = probabilities.argmax(axis=1), range(probabilities.shape[1])
    evaluation = evaluated(Evaluation(), *data)
    weighted = sk.confusion_matrix(actual, predicted, labels=classes, sample_weight=mask)
    np.testing.assert_array_equal(evaluation.confusion_matrix, weighted)
    assert_equal(evaluation.accuracy(), sk.accuracy_score(actual, predicted, sample_weight=mask))
    assert_equal(evaluation.accuracy(), sk.accuracy_score(actual[mask == 1], predicted[mask == 1]))


@given(classified(), BETAS)
def test_precision_recall_and_f_measure_of_each_class(data, beta):
    evaluation, classes = evaluated(Evaluation(), *data), range(data[1].shape[1])
    for undefined in 0.0, 1.0, math.nan:
        options = {"zero_division": undefined}
        expected = of_each_class(sk.precision_score, data, **options)
        assert_equal([evaluation.precision(c, undefined=undefined) for c in classes], expected)
        expected = of_each_class(sk.recall_score, data, **options)
        assert_equal([evaluation.recall(c, undefined=undefined) for c in classes], expected)
    expected = of_each_class(sk.f1_score, data, zero_division=0)
    assert_equal([evaluation.f1(c) for c in classes], expected)
    expected = of_each_class(sk.fbeta_score, data, beta=beta, zero_division=0)
    assert_equal([evaluation.f_beta(beta, c) for c in classes], expected)


@given(classified(), BETAS)
def test_macro_means_over_the_classes_where_they_are_defined(data, beta):
    evaluation = evaluated(Evaluation(), *data)
    options = {"average": "macro", "zero_division": np.nan}
    assert_equal(evaluation.precision(averaging="macro"), of_each_class(sk.precision_score, data, **options))
    assert_equal(evaluation.recall(averaging="macro"), of_each_class(sk.recall_score, data, **options))
    actual, predicted = data[0][data[2] == 1], data[1].argmax(axis=1)[data[2] == 1]
    assert_equal(evaluation.recall(averaging="macro"), quietly(sk.balanced_accuracy_score, actual, predicted))
    both = np.intersect1d(actual, predicted)
    expected = math.nan
    if len(both):
        expected = sk.fbeta_score(actual, predicted, beta=beta, labels=both, average="macro", zero_division=0)
    assert_equal(evaluation.f_beta(beta, averaging="macro"), expected)


def test_macro_f1_leaves_out_a_class_that_is_never_predicted():
    actual, predicted = np.array([0, 0, 1]), np.array([0, 0, 0])
    evaluation = evaluated(Evaluation(positive_class=None), actual, np.eye(2)[predicted])
    assert evaluation.f1() == 0.8
    assert sk.f1_score(actual, predicted, average="macro", zero_division=np.nan) == 0.4


@given(classified(), BETAS)
def test_micro_means(data, beta):
    evaluation, options = evaluated(Evaluation(), *data), {"average": "micro"}
    recall = of_each_class(sk.recall_score, data, **options)
    assert_equal(evaluation.precision(averaging="micro"), of_each_class(sk.precision_score, data, **options))
    assert_equal(evaluation.recall(averaging="micro"), recall)
    assert_equal(evaluation.false_negative_rate(averaging="micro"), 1 - recall)
    f_beta = of_each_class(sk.fbeta_score, data, beta=beta, zero_division=0, **options)
    assert_equal(evaluation.f_beta(beta, averaging="micro"), f_beta)


@given(classified())
def test_rates_of_each_class(data):
    evaluation = evaluated(Evaluation(), *data)
    actual, predicted, mask = data[0], data[1].argmax(axis=1), data[2]
    matrices = sk.multilabel_confusion_matrix(actual, predicted, labels=range(data[1].shape[1]), sample_weight=mask)
    rates = []
    for c, ((tn, fp), (fn, tp)) in enumerate(matrices):
        assert evaluation.counts()[c] == (tp, fp, tn, fn)
        rates.append((fp / (fp + tn) if fp + tn else 0, fn / (fn + tp) if fn + tp else 0))
        assert_equal((evaluation.false_positive_rate(c), evaluation.false_negative_rate(c)), rates[c])
        precision, recall = evaluation.precision(c), evaluation.recall(c)
        assert_equal(evaluation.g_measure(c), math.sqrt(precision * recall))
        if {c} < set(actual[mask == 1]):
            specificity = sk.recall_score(actual == c, predicted == c, pos_label=False, sample_weight=mask)
            assert_equal(evaluation.false_positive_rate(c), 1 - specificity)
    assert_equal((evaluation.false_positive_rate(), evaluation.false_negative_rate()), np.mean(rates, axis=0))
    assert_equal(evaluation.false_alarm_rate(), np.mean(rates))


@given(classified())
def test_matthews_correlation_of_each_class(data):
    evaluation, kept = evaluated(Evaluation(), *data), data[2] == 1
    actual, predicted = data[0][kept], data[1].argmax(axis=1)[kept]
    for c in range(data[1].shape[1]):
        found = evaluation.matthews_correlation(c)
        if len(set(actual == c)) == len(set(predicted == c)) == 2:
            assert_equal(found, sk.matthews_corrcoef(actual == c, predicted == c))
        else:
            assert math.isnan(found)
            assert quietly(sk.matthews_corrcoef, actual == c, predicted == c) == 0


@given(classified(classes=2))
def test_matthews_correlation_of_two_classes(data):
    evaluation = evaluated(Evaluation(), *data)
    actual, predicted, kept = data[0], data[1].argmax(axis=1), data[2] == 1
    assume(len(set(actual[kept])) == len(set(predicted[kept])) == 2)
    assert_equal(evaluation.matthews_correlation(), sk.matthews_corrcoef(actual, predicted, sample_weight=data[2]))


def test_matthews_correlation_of_more_classes_is_not_r_k():
    actual, predicted = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 2, 2, 2])
    evaluation = evaluated(Evaluation(), actual, np.eye(3)[predicted])
    of_each = [sk.matthews_corrcoef(actual == c, predicted == c) for c in range(3)]
    assert_equal(evaluation.matthews_correlation(), np.mean(of_each))
    assert abs(evaluation.matthews_correlation() - sk.matthews_corrcoef(actual, predicted)) > 0.005


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("positive_class", [0, 1])
@given(data=classified(classes=2), threshold=EIGHTHS, beta=BETAS)
def test_positive_class_and_threshold(width, positive_class, data, threshold, beta):
    actual, probabilities, mask = data
    evaluation = Evaluation(threshold=threshold, positive_class=positive_class)
    evaluation.eval(np.eye(2)[actual][:, -width:], probabilities[:, -width:], mask)
    kept = mask == 1
    y, p = actual[kept], (probabilities[:, 1] > threshold)[kept].astype(int)
    np.testing.assert_array_equal(evaluation.confusion_matrix, sk.confusion_matrix(y, p, labels=[0, 1]))
    options = {"pos_label": positive_class, "zero_division": 0}
    assert_equal(evaluation.precision(), quietly(sk.precision_score, y, p, **options))
    assert_equal(evaluation.recall(), quietly(sk.recall_score, y, p, **options))
    assert_equal(evaluation.f1(), quietly(sk.f1_score, y, p, **options))
    assert_equal(evaluation.f_beta(beta), quietly(sk.fbeta_score, y, p, beta=beta, **options))


@given(classified(classes=3), st.lists(st.sampled_from([0.0, 0.5, 1.0, 4.0]), min_size=3, max_size=3))
def test_cost_array(data, costs):
    actual, probabilities, mask = data
    evaluation = evaluated(Evaluation(cost_array=costs), *data)
    predicted = (probabilities * costs).argmax(axis=1)
    expected = sk.confusion_matrix(actual, predicted, labels=range(3), sample_weight=mask)
    np.testing.assert_array_equal(evaluation.confusion_matrix, expected)


@given(classified(ties=False), st.integers(1, 5))
def test_top_n_accuracy_without_ties(data, n):
    actual, probabilities, mask = data
    classes = probabilities.shape[1]
    scores = probabilities[:, 1] if classes == 2 else probabilities
    options = {"k": n, "labels": range(classes), "sample_weight": mask}
    expected = quietly(sk.top_k_accuracy_score, actual, scores, **options)
    assert_equal(evaluated(Evaluation(top_n=n), *data).top_n_accuracy(), expected)


def test_top_n_accuracy_counts_ties_as_right():
    actual, tied = np.array([0, 1, 2]), np.full((3, 3), 1 / 3)
    assert evaluated(Evaluation(top_n=2), actual, tied).top_n_accuracy() == 1
    assert sk.top_k_accuracy_score(actual, tied, k=2) == pytest.approx(2 / 3)


# EvaluationBinary


@given(outputs(), st.data(), BETAS)
def test_metrics_of_binary_outputs(data, drawn, beta):
    labels, scores, mask = data
    count = labels.shape[1]
    thresholds = drawn.draw(st.none() | EIGHTHS | st.lists(EIGHTHS, min_size=count, max_size=count))
    evaluation = evaluated(EvaluationBinary(threshold=thresholds), *data)
    predicted = scores > (0.5 if thresholds is None else thresholds)
    for i in range(count):
        kept = mask[:, i] == 1
        y, p = labels[kept, i], predicted[kept, i].astype(int)
        (tn, fp), (fn, tp) = sk.confusion_matrix(y, p, labels=[0, 1])
        assert evaluation.counts(i) == (tp, fp, tn, fn)
        weighted = sk.accuracy_score(labels[:, i], predicted[:, i], sample_weight=mask[:, i])
        assert_equal(evaluation.accuracy(i), weighted)
        precision = quietly(sk.precision_score, y, p, zero_division=np.nan)
        recall = quietly(sk.recall_score, y, p, zero_division=np.nan)
        defined = not math.isnan(precision + recall)
        assert_equal((evaluation.precision(i), evaluation.recall(i)), (precision, recall))
        assert_equal(evaluation.f1(i), sk.f1_score(y, p, zero_division=0) if defined else math.nan)
        assert_equal(evaluation.f_beta(beta, i), quietly(sk.fbeta_score, y, p, beta=beta) if defined else math.nan)
        assert_equal(evaluation.g_measure(i), math.sqrt(precision * recall))
        rates = (fp / (fp + tn) if fp + tn else 0, fn / (fn + tp) if fn + tp else 0)
        assert_equal((evaluation.false_positive_rate(i), evaluation.false_negative_rate(i)), rates)
        assert_equal(evaluation.false_alarm_rate(i), np.mean(rates))
        both = len(set(y)) == len(set(p)) == 2
        assert_equal(evaluation.matthews_correlation(i), sk.matthews_corrcoef(y, p) if both else math.nan)


@given(outputs(masked=False))
def test_averages_over_binary_outputs(data):
    labels, scores, _ = data
    predicted = (scores > 0.5).astype(int)
    evaluation = evaluated(EvaluationBinary(), labels, scores)
    assert_equal(evaluation.average_accuracy(), 1 - sk.hamming_loss(labels, predicted))
    for name, metric in ("precision", sk.precision_score), ("recall", sk.recall_score):
        if labels.shape[1] == 1:  # scikit-learn takes one column for classes, of which it does not see all
            continue
        expected = np.mean(quietly(metric, labels, predicted, average=None, zero_division=np.nan))
        assert_equal(getattr(evaluation, f"average_{name}")(), expected)


def test_f1_of_an_output_that_is_never_predicted_is_undefined():
    labels, scores = np.array([[0], [1]]), np.array([[0.1], [0.2]])
    assert math.isnan(evaluated(EvaluationBinary(), labels, scores).f1(0))
    assert sk.f1_score(labels, scores > 0.5, zero_division=np.nan) == 0


# ROC, ROCBinary, ROCMultiClass


def assert_curves_equal(roc, index, y, s):
    """Check all points and areas of the exact curves of one output with both classes; its scores are ``s``."""
    index = () if index is None else (index,)
    false_positive_rate, true_positive_rate, thresholds = sk.roc_curve(y, s, drop_intermediate=False)
    assert math.isinf(thresholds[0])
    curve = roc.get_roc_curve(*index)
    np.testing.assert_array_equal(curve.thresholds, [1, *thresholds[1:], 0])
    assert_equal(curve.false_positive_rate, [*false_positive_rate, 1])
    assert_equal(curve.true_positive_rate, [*true_positive_rate, 1])
    precision, recall, thresholds = sk.precision_recall_curve(y, s)
    curve = roc.get_precision_recall_curve(*index)
    np.testing.assert_array_equal(curve.thresholds, [0, *thresholds, 1])
    assert_equal(curve.precision, [np.mean(y), *precision])
    assert_equal(curve.recall, [1, *recall])
    assert_equal(roc.calculate_auc(*index), sk.roc_auc_score(y, s))
    assert_equal(roc.calculate_auc_pr(*index), sk.auc(recall, precision))


def assert_undefined(roc, index, y, s):
    """Check the areas and curves of one output with a single class."""
    assert len(set(y)) == 1
    index = () if index is None else (index,)
    assert math.isnan(roc.calculate_auc(*index))
    assert math.isnan(quietly(sk.roc_auc_score, y, s))
    curve = roc.get_precision_recall_curve(*index)
    precision, recall, _ = quietly(sk.precision_recall_curve, y, s)
    assert_equal(curve.precision[1:], precision)
    if y[0]:
        assert_equal(curve.recall[1:], recall)
        assert_equal(roc.calculate_auc_pr(*index), sk.auc(recall, precision))
    else:
        assert np.isnan(curve.recall).all()
        assert (recall[:-1] == 1).all()
        assert math.isnan(roc.calculate_auc_pr(*index))


def assert_as_scikit_learn(roc, index, y, s):
    (assert_curves_equal if len(set(y)) == 2 else assert_undefined)(roc, index, y, s)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=outputs(1))
def test_roc_of_one_output(width, dtype, data):
    labels, scores, mask = (a[:, 0] for a in data)
    roc = ROC(remove_redundant=False)
    columns = np.stack([1 - scores, scores], axis=1)[:, -width:].astype(dtype)
    roc.eval(np.eye(2)[labels][:, -width:], columns, mask)
    kept = mask == 1
    assert_as_scikit_learn(roc, None, labels[kept], scores[kept])
    if len(set(labels[kept])) == 2:
        assert_equal(roc.calculate_auc(), sk.roc_auc_score(labels, scores, sample_weight=mask))


@given(outputs())
def test_roc_of_binary_outputs(data):
    labels, scores, mask = data
    roc = evaluated(ROCBinary(remove_redundant=False), *data)
    beside = evaluated(EvaluationBinary(roc_binary_steps=0), *data).roc_binary
    for i in range(labels.shape[1]):
        kept = mask[:, i] == 1
        assert_as_scikit_learn(roc, i, labels[kept, i], scores[kept, i])
        assert_equal(beside.calculate_auc(i), roc.calculate_auc(i))


@given(outputs(masked=False))
def test_mean_area_of_binary_outputs(data):
    labels, scores, _ = data
    expected = quietly(sk.roc_auc_score, labels, scores, average="macro")
    assert_equal(evaluated(ROCBinary(), labels, scores).calculate_average_auc(), expected)


@given(classified())
def test_roc_of_each_class_against_the_rest(data):
    actual, probabilities, mask = data
    roc = evaluated(ROCMultiClass(remove_redundant=False), *data)
    y, p = actual[mask == 1], probabilities[mask == 1].astype(np.float64)
    for c in range(p.shape[1]):
        assert_as_scikit_learn(roc, c, (y == c).astype(int), p[:, c])
    if p.shape[1] > 2 and len(set(y)) == p.shape[1]:
        assert_equal(roc.calculate_average_auc(), sk.roc_auc_score(y, p, multi_class="ovr"))
    elif p.shape[1] > 2:
        assert math.isnan(roc.calculate_average_auc())


@given(outputs(1, masked=False))
def test_points_that_are_left_out_change_no_area(data):
    labels, scores, _ = data
    roc, y = evaluated(ROC(), labels, scores), labels[:, 0]
    assume(len(set(y)) == 2)
    precision, recall, _ = sk.precision_recall_curve(y, scores[:, 0])
    assert_equal(roc.calculate_auc(), sk.roc_auc_score(y, scores[:, 0]))
    assert_equal(roc.calculate_auc_pr(), sk.auc(recall, precision))


@given(outputs(1, masked=False))
def test_outcomes_at_each_threshold(data):
    labels, scores, _ = data
    curve = evaluated(ROC(remove_redundant=False), labels, scores).get_precision_recall_curve()
    outcomes = quietly(sk.confusion_matrix_at_thresholds, labels[:, 0], scores[:, 0])
    for tn, fp, fn, tp, threshold in zip(*outcomes, strict=True):
        if math.isinf(threshold):
            continue
        found = curve.get_confusion_matrix_at_threshold(threshold)
        counts = found.true_negatives, found.false_positives, found.false_negatives, found.true_positives
        expected = tn, fp, fn, tp
        assert counts == expected
        assert found.point.threshold == threshold


@given(outputs(1), st.sampled_from([1, 2, 4, 5, 7]))
def test_thresholded_roc_is_that_of_scores_rounded_down(data, steps):
    labels, scores, mask = (a[:, 0] for a in data)
    roc = evaluated(ROC(steps), labels[:, None], scores[:, None], mask)
    y, s = labels[mask == 1], np.minimum(np.floor(scores[mask == 1] * steps), steps - 1) / steps
    assume(len(set(y)) == 2)
    assert_equal(roc.calculate_auc(), sk.roc_auc_score(y, s))
    precision, recall, thresholds = sk.precision_recall_curve(y, s)
    curve = roc.get_precision_recall_curve()
    drawn = np.searchsorted(curve.thresholds, thresholds)
    np.testing.assert_array_equal(curve.thresholds[drawn], thresholds)
    assert_equal(curve.precision[drawn], precision[:-1])
    assert_equal(curve.recall[drawn], recall[:-1])
    assert_equal(roc.calculate_auc_pr(), sk.auc(recall, precision))


def test_area_by_trapezoid_is_not_the_average_precision():
    y, s = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    precision, recall, _ = sk.precision_recall_curve(y, s)
    area = evaluated(ROC(), y[:, None], s[:, None]).calculate_auc_pr()
    assert area == pytest.approx(sk.auc(recall, precision), rel=1e-15)
    assert area == pytest.approx(19 / 24, rel=1e-15)
    assert sk.average_precision_score(y, s) == pytest.approx(5 / 6, rel=1e-15)


# RegressionEvaluation


@st.composite
def regressions(draw, mean=0.0, masked=True):
    """Draw labels and predictions in 64ths around a mean, and a mask of outputs, all (rows, columns)."""
    shape = draw(st.integers(2, 15)), draw(st.integers(1, 3))
    noise = hnp.arrays(np.int64, shape, elements=st.integers(-200, 200))
    labels, predictions = (mean + draw(noise) / 64 for _ in range(2))
    return labels, predictions, draw(masks(*shape)) if masked else np.ones(shape)


@pytest.mark.parametrize("mean", [0.0, 1e6, -1e9])
@given(data=st.data(), batches=st.integers(1, 3))
def test_regression_metrics_of_each_column(mean, data, batches):
    labels, predictions, mask = data.draw(regressions(mean))
    evaluation = RegressionEvaluation()
    hidden = np.where(mask == 1, predictions, np.nan)
    for rows in np.array_split(np.arange(len(labels)), batches):
        if len(rows):
            evaluation.eval(labels[rows], hidden[rows], mask[rows])
    for c in range(labels.shape[1]):
        y, p = labels[mask[:, c] == 1, c], predictions[mask[:, c] == 1, c]
        assert evaluation.total_count(c) == len(y)
        assert_equal(evaluation.mean_squared_error(c), sk.mean_squared_error(y, p))
        assert_equal(evaluation.mean_absolute_error(c), sk.mean_absolute_error(y, p))
        assert_equal(evaluation.root_mean_squared_error(c), sk.root_mean_squared_error(y, p))
        weighted = sk.mean_squared_error(labels[:, c], predictions[:, c], sample_weight=mask[:, c])
        assert_equal(evaluation.mean_squared_error(c), weighted)
        if len(set(y)) > 1:
            r2 = sk.r2_score(y - mean, p - mean, force_finite=False)  # exact differences, so no digits are lost
            assert_equal(evaluation.r_squared(c), r2, rel=1e-9)
            assert_equal(evaluation.relative_squared_error(c), 1 - r2, rel=1e-9)
        if len(set(y)) > 1 and len(set(p)) > 1:
            expected = scipy.stats.pearsonr(y - mean, p - mean).statistic
            assert_equal(evaluation.pearson_correlation(c), expected, rel=1e-9)
        else:
            assert math.isnan(evaluation.pearson_correlation(c))
        assert_equal(evaluation.score_for_metric("MSE", c), evaluation.mean_squared_error(c))


def test_regression_of_noise_around_a_large_mean(rng):
    labels = 1e6 + rng.standard_normal((1000, 2))
    predictions = labels + 0.1 * rng.standard_normal((1000, 2))
    evaluation = evaluated(RegressionEvaluation(), labels, predictions)
    for c in range(2):
        y, p = labels[:, c], predictions[:, c]
        assert_equal(evaluation.r_squared(c), sk.r2_score(y, p), rel=1e-10)
        assert_equal(evaluation.mean_squared_error(c), sk.mean_squared_error(y, p), rel=1e-10)
        assert_equal(evaluation.pearson_correlation(c), scipy.stats.pearsonr(y, p).statistic, rel=1e-10)


@given(regressions(masked=False))
def test_mean_regression_metrics_of_all_columns(data):
    labels, predictions, _ = data
    evaluation = evaluated(RegressionEvaluation(), labels, predictions)
    assert_equal(evaluation.average_mean_squared_error(), sk.mean_squared_error(labels, predictions))
    assert_equal(evaluation.average_mean_absolute_error(), sk.mean_absolute_error(labels, predictions))
    assert_equal(evaluation.average_root_mean_squared_error(), sk.root_mean_squared_error(labels, predictions))
    if all(len(set(column)) > 1 for column in labels.T):
        assert_equal(evaluation.average_r_squared(), sk.r2_score(labels, predictions), rel=1e-9)


@pytest.mark.parametrize("predictions", [[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]])
def test_r_squared_of_equal_labels(predictions):
    y, p = np.full((3, 1), 2.0), np.array(predictions)[:, None]
    expected = quietly(sk.r2_score, y, p, force_finite=False)
    np.testing.assert_equal(evaluated(RegressionEvaluation(), y, p).r_squared(0), expected)
    assert not math.isfinite(expected)


def test_r_squared_of_equal_labels_whose_mean_is_rounded():
    y, p = np.full((3, 1), 0.1), np.array([[0.1], [0.2], [0.3]])
    assert evaluated(RegressionEvaluation(), y, p).r_squared(0) == -math.inf
    assert -math.inf < sk.r2_score(y, p, force_finite=False) < -1e30


# EvaluationCalibration


def assert_diagram_equals(evaluation, c, y, p, bins):
    diagram = evaluation.get_reliability_diagram(c)
    shares, means = calibration_curve(y, p, n_bins=bins, strategy="uniform", pos_label=1)
    assert_equal(diagram.fraction_of_positives, shares)
    assert_equal(diagram.mean_predicted_value, means)
    sizes = np.bincount(np.minimum((p * bins).astype(int), bins - 1), minlength=bins)
    error = np.average(np.abs(shares - means), weights=sizes[sizes > 0])
    assert_equal(evaluation.expected_calibration_error(c), error)


@given(outputs(1), st.sampled_from([1, 2, 3, 5, 10]))
def test_reliability_diagram_off_the_bounds_of_bins(data, bins):
    labels, scores, mask = (a[:, 0] for a in data)
    y, p = labels, 0.004 + 0.99 * scores  # on no multiple of 1 / bins
    evaluation = evaluated(EvaluationCalibration(bins), y, np.stack([1 - p, p], axis=1), mask)
    kept = mask == 1
    assert_diagram_equals(evaluation, 1, y[kept], p[kept], bins)
    assert_diagram_equals(evaluation, 0, 1 - y[kept], 1 - p[kept], bins)


@given(outputs(1, masked=False), st.sampled_from([1, 2, 4, 8]))
def test_reliability_diagram_on_the_bounds_of_bins(data, bins):
    """Bins [a, b) of p are bins (1 - b, 1 - a] of 1 - p, as scikit-learn has them; eighths are exact."""
    labels, scores, _ = data
    diagram = evaluated(EvaluationCalibration(bins), labels, scores).get_reliability_diagram(0)
    shares, means = calibration_curve(1 - labels[:, 0], 1 - scores[:, 0], n_bins=bins, pos_label=1)
    assert_equal(diagram.fraction_of_positives, 1 - shares[::-1])
    assert_equal(diagram.mean_predicted_value, 1 - means[::-1])


def test_a_probability_on_a_bound_is_in_the_upper_bin():
    y, p = np.array([[0], [1]]), np.array([[0.25], [0.5]])
    diagram = evaluated(EvaluationCalibration(2), y, p).get_reliability_diagram(0)
    assert diagram.mean_predicted_value.tolist() == [0.25, 0.5]
    assert calibration_curve(y[:, 0], p[:, 0], n_bins=2)[1].tolist() == [0.375]


@given(classified(), st.sampled_from([1, 2, 4, 8, 16]))
def test_histograms_of_probabilities_and_residuals(data, bins):
    """Bins are those of NumPy, whose bounds are exact for powers of two."""
    actual, probabilities, mask = data
    evaluation = evaluated(EvaluationCalibration(10, bins), *data)
    kept = mask == 1
    y, p = np.eye(probabilities.shape[1])[actual[kept]], probabilities[kept]
    bounds = {"bins": bins, "range": (0, 1)}
    expected = np.histogram(p, **bounds)[0]
    np.testing.assert_array_equal(evaluation.get_probability_histogram_all_classes().bin_counts, expected)
    expected = np.histogram(np.abs(y - p), **bounds)[0]
    np.testing.assert_array_equal(evaluation.get_residual_plot_all_classes().bin_counts, expected)
    for c in range(p.shape[1]):
        own = p[y[:, c] == 1, c]
        expected = np.histogram(own, **bounds)[0]
        np.testing.assert_array_equal(evaluation.get_probability_histogram(c).bin_counts, expected)
        expected = np.histogram(1 - own, **bounds)[0]
        np.testing.assert_array_equal(evaluation.get_residual_plot(c).bin_counts, expected)
    np.testing.assert_array_equal(evaluation.label_counts_each_class, y.sum(axis=0))
