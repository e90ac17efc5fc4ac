"""EvaluationCalibration: what DL4J recorded, bins, a slow reference, texts, errors.

data/calibration.json was recorded by DL4J, KonduitAI/dl4j-test-resources (dl4j-integration-tests, MLPMoon and
RnnCsvSequenceClassification1), Apache-2.0; its numbers are unchanged.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import test_dl4j_recordings
import test_dl4j_recurrent
from evaluations import evaluated
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ConfigurationError, DataError, NotInitializedError, ShapeError
from minidl.eval import EvaluationCalibration

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "calibration.json").read_text())


def trained(name):
    """Return the network of a recording with DL4J's final parameters, and the test set."""
    if name == "MLPMoon":
        _, test, arrays = test_dl4j_recordings.recording(name)
        return test_dl4j_recordings.network(name, arrays["final_params"]), test
    net, _, test, arrays = test_dl4j_recurrent.charts()
    net.set_params(arrays["final_params"])
    return net, test


def reliability_of(calibration):
    """Return positive counts, total counts and sums of probabilities, each (bins, classes)."""
    state = json.loads(calibration.to_json())["state"]
    counts = np.reshape(state["reliability"], (state["classes"], 2, -1))
    return counts[:, 1].T, counts.sum(axis=1).T, np.reshape(state["sums"], counts[:, 1].T.shape)


def assert_recorded(calibration, recorded):
    positive, total, sums = reliability_of(calibration)
    np.testing.assert_array_equal(positive, recorded["rDiagBinPosCount"])
    np.testing.assert_array_equal(total, recorded["rDiagBinTotalCount"])
    np.testing.assert_allclose(sums, recorded["rDiagBinSumPredictions"], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(calibration.label_counts_each_class, recorded["labelCountsEachClass"])
    np.testing.assert_array_equal(calibration.prediction_counts_each_class, recorded["predictionCountsEachClass"])
    residuals, probabilities = (
        calibration.get_residual_plot_all_classes(),
        calibration.get_probability_histogram_all_classes(),
    )
    np.testing.assert_array_equal(residuals.bin_counts, recorded["residualPlotOverall"])
    np.testing.assert_array_equal(probabilities.bin_counts, recorded["probHistogramOverall"])
    for c in range(positive.shape[1]):
        by_class = np.transpose(recorded["residualPlotByLabelClass"])[c]
        np.testing.assert_array_equal(calibration.get_residual_plot(c).bin_counts, by_class)
        by_class = np.transpose(recorded["probHistogramByLabelClass"])[c]
        np.testing.assert_array_equal(calibration.get_probability_histogram(c).bin_counts, by_class)


@pytest.mark.parametrize("name", RECORDED)
def test_calibration_that_dl4j_recorded(name):
    net, test = trained(name)
    (calibration,) = net.do_evaluation(test, EvaluationCalibration())
    assert_recorded(calibration, RECORDED[name])
    in_batches, output = EvaluationCalibration(), net.output(test.features)
    for start in range(0, len(output), 64):
        part = EvaluationCalibration()
        part.eval(test.labels[start : start + 64], output[start : start + 64])
        in_batches.merge(part)
    assert_recorded(in_batches, RECORDED[name])


@pytest.mark.parametrize("name", RECORDED)
def test_reliability_diagrams_that_dl4j_recorded(name):
    net, test = trained(name)
    (calibration,) = net.do_evaluation(test, EvaluationCalibration())
    names = ("rDiagBinPosCount", "rDiagBinTotalCount", "rDiagBinSumPredictions")
    for c, (positive, total, sums) in enumerate(np.transpose([RECORDED[name][key] for key in names], (2, 0, 1))):
        diagram, kept = calibration.get_reliability_diagram(c), total > 0
        np.testing.assert_array_equal(diagram.fraction_of_positives, positive[kept] / total[kept])
        np.testing.assert_allclose(diagram.mean_predicted_value, sums[kept] / total[kept], rtol=0, atol=2e-6)
        error = np.abs(positive - sums).sum() / total.sum()
        assert calibration.expected_calibration_error(c) == pytest.approx(error, abs=1e-5)


def bin_of(value, bins, dtype):
    """Return the bin of a value by the definition; bounds are compared in the dtype of the value."""
    for j in range(bins - 1, 0, -1):
        if value >= dtype(j / bins):
            return j
    return 0


def slow_calibration(labels, predictions, reliability_bins, histogram_bins):
    """Return all that is counted, by loops."""
    rows, classes = predictions.shape
    positive, total, sums = (np.zeros((reliability_bins, classes)) for _ in range(3))
    residuals, probabilities = (np.zeros((2, classes, histogram_bins)) for _ in range(2))  # of label 0, of label 1
    predicted = np.zeros(classes)
    for row in range(rows):
        for c in range(classes):
            y, p = labels[row, c], predictions[row, c]
            j = bin_of(p, reliability_bins, predictions.dtype.type)
            total[j, c] += 1
            positive[j, c] += y
            sums[j, c] += float(p)
            residual = abs(predictions.dtype.type(y) - p)
            residuals[int(y), c, bin_of(residual, histogram_bins, predictions.dtype.type)] += 1
            probabilities[int(y), c, bin_of(p, histogram_bins, predictions.dtype.type)] += 1
        if classes > 1:
            predicted[int(np.argmax(predictions[row]))] += 1
        else:
            predicted[0] += predictions[row, 0] > 0.5
    return positive, total, sums, residuals, probabilities, predicted


@given(
    data=st.data(),
    classes=st.integers(1, 4),
    dtype=st.sampled_from(["f4", "f8"]),
    bins=st.tuples(st.integers(1, 12), st.integers(1, 60)),
    batch=st.integers(1, 12),
)
def test_agrees_with_loops(data, classes, dtype, bins, batch):
    on_bounds = st.sampled_from([n / d for d in (*bins, 20) for n in range(d + 1)])
    drawn = st.one_of(on_bounds, st.floats(0, 1))
    row = st.tuples(*(st.lists(items, min_size=classes, max_size=classes) for items in (st.integers(0, 1), drawn)))
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    labels, predictions = (np.array(part, dtype) for part in zip(*rows, strict=True))
    calibration = EvaluationCalibration(*bins)
    for start in range(0, len(rows), batch):
        calibration.eval(labels[start : start + batch], predictions[start : start + batch])
    positive, total, sums, residuals, probabilities, predicted = slow_calibration(labels, predictions, *bins)
    found = reliability_of(calibration)
    np.testing.assert_array_equal(found[0], positive)
    np.testing.assert_array_equal(found[1], total)
    np.testing.assert_allclose(found[2], sums, rtol=1e-13, atol=1e-300)
    np.testing.assert_array_equal(calibration.prediction_counts_each_class, predicted)
    np.testing.assert_array_equal(calibration.label_counts_each_class, labels.sum(axis=0))
    overall = calibration.get_residual_plot_all_classes(), calibration.get_probability_histogram_all_classes()
    for histogram, expected in zip(overall, (residuals, probabilities), strict=True):
        np.testing.assert_array_equal(histogram.bin_counts, expected.sum(axis=(0, 1)))
    for c in range(classes):
        np.testing.assert_array_equal(calibration.get_residual_plot(c).bin_counts, residuals[1, c])
        np.testing.assert_array_equal(calibration.get_probability_histogram(c).bin_counts, probabilities[1, c])
        expected = np.abs(positive[:, c] - sums[:, c]).sum() / len(rows)
        assert calibration.expected_calibration_error(c) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("bins", [1, 2, 3, 7, 10, 49, 50, 100])
def test_bins_are_closed_below_and_the_last_at_1(bins, dtype):
    bounds = (np.arange(bins) / bins).astype(dtype)
    below = np.nextafter(bounds[1:], -1, dtype=dtype)
    last = np.array([np.nextafter(1, 0, dtype=dtype), 1], dtype)
    calibration = EvaluationCalibration(bins, bins)
    for values, counts in (bounds, [1] * bins), (below, [1] * (bins - 1) + [0]), (last, [0] * (bins - 1) + [2]):
        if len(values):
            calibration.reset()
            calibration.eval(np.ones((len(values), 1)), values[:, None])
            np.testing.assert_array_equal(calibration.get_probability_histogram(0).bin_counts, counts)
            np.testing.assert_array_equal(reliability_of(calibration)[1][:, 0], counts)


def test_float64_after_float32():
    calibration = EvaluationCalibration()
    calibration.eval([[1]], np.array([[0.3]], "f4"))
    calibration.eval([[1], [1]], [[0.3], [np.nextafter(0.3, 0)]])
    np.testing.assert_array_equal(reliability_of(calibration)[1][:, 0], [0, 0, 1, 2, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("exclude", "points"), [(True, [1, 3]), (False, [0, 1, 2, 3])])
def test_exclude_empty_bins(exclude, points):
    calibration = EvaluationCalibration(4, exclude_empty_bins=exclude)
    calibration.eval([[0], [1], [1]], [[0.25], [0.375], [1.0]])
    diagram = calibration.get_reliability_diagram(0)
    np.testing.assert_array_equal(diagram.mean_predicted_value, np.array([np.nan, 0.3125, np.nan, 1])[points])
    np.testing.assert_array_equal(diagram.fraction_of_positives, np.array([np.nan, 0.5, np.nan, 1])[points])


@pytest.mark.parametrize("indices", [False, True])
def test_one_column_is_that_of_class_1(indices):
    labels = np.array([1, 0, 1, 0])
    calibration = EvaluationCalibration(2, 4)
    calibration.eval(labels if indices else labels[:, None], [[0.75], [0.5], [0.25], [0.625]])
    assert calibration.num_classes == 1
    np.testing.assert_array_equal(calibration.label_counts_each_class, [2])
    np.testing.assert_array_equal(calibration.prediction_counts_each_class, [2])  # above 0.5
    np.testing.assert_array_equal(calibration.get_residual_plot(0).bin_counts, [0, 1, 0, 1])
    np.testing.assert_array_equal(calibration.get_residual_plot_all_classes().bin_counts, [0, 1, 2, 1])
    np.testing.assert_array_equal(calibration.get_probability_histogram(0).bin_counts, [0, 1, 0, 1])
    np.testing.assert_array_equal(calibration.get_reliability_diagram(0).mean_predicted_value, [0.25, 0.625])
    np.testing.assert_array_equal(calibration.get_reliability_diagram(0).fraction_of_positives, [1, 1 / 3])


def test_expected_calibration_error():
    calibration = EvaluationCalibration(2)
    calibration.eval([[0], [1], [0], [1], [1]], [[0.125], [0.25], [0.375], [0.625], [1]])
    # lower bin: 3 examples, share 1/3, mean 1/4; upper bin: 2 examples, share 1, mean 13/16
    expected = 3 / 5 * (1 / 3 - 1 / 4) + 2 / 5 * (1 - 13 / 16)
    assert calibration.expected_calibration_error(0) == pytest.approx(expected, rel=1e-15)


def test_perfect_calibration_has_no_error():
    calibration = EvaluationCalibration()
    calibration.eval(np.eye(3), np.eye(3))
    assert [calibration.expected_calibration_error(c) for c in range(3)] == [0, 0, 0]


def test_argmax_takes_the_first_of_ties():
    calibration = EvaluationCalibration()
    calibration.eval(np.array([1, 1]), [[0.5, 0.5], [0.25, 0.75]])
    np.testing.assert_array_equal(calibration.prediction_counts_each_class, [1, 1])


@pytest.mark.parametrize(("options", "bins"), [({}, 10), ({"reliability_bins": 7, "histogram_bins": 3}, 7)])
def test_stats_text(options, bins):
    calibration = EvaluationCalibration(**options)
    assert calibration.stats() == f"EvaluationCalibration(nBins={bins})"
    calibration.eval(np.eye(2), np.eye(2))
    assert calibration.stats() == f"EvaluationCalibration(nBins={bins})"


def titles(calibration, c):
    found = calibration.get_reliability_diagram(c), calibration.get_residual_plot(c)
    return [one.title for one in (*found, calibration.get_probability_histogram(c))]


@pytest.mark.parametrize(
    ("labels", "width", "name"),
    [(["no", "yes"], 2, "yes"), (None, 2, "class 1"), (["rain"], 1, "rain"), (None, 1, "class 1")],
)
def test_titles(labels, width, name):
    calibration = evaluated(EvaluationCalibration(labels=labels), np.eye(2)[:, -width:], np.eye(2)[:, -width:])
    last = width - 1
    assert titles(calibration, last) == [f"Reliability diagram: {name}", f"Residuals: {name}", f"Probabilities: {name}"]
    assert calibration.get_residual_plot_all_classes().title == "Residuals, all classes"
    assert calibration.get_probability_histogram_all_classes().title == "Probabilities, all classes"


def test_merge_takes_label_names_if_it_has_none():
    named = evaluated(EvaluationCalibration(labels=["no", "yes"]), np.eye(2), np.eye(2))
    merged = EvaluationCalibration()
    merged.merge(named)
    assert titles(merged, 0) == titles(named, 0)
    other = EvaluationCalibration(labels=["a", "b"])
    other.merge(named)
    assert titles(other, 0)[1] == "Residuals: a"


def test_range_and_types_of_histograms():
    calibration = evaluated(EvaluationCalibration(), np.eye(2), np.eye(2))
    for histogram in calibration.get_residual_plot(0), calibration.get_probability_histogram_all_classes():
        assert (histogram.lower, histogram.upper, len(histogram.bin_counts)) == (0, 1, 50)
        assert histogram.bin_counts.dtype == np.int64
        histogram.bin_counts[:] = 99
    assert calibration.get_residual_plot(0).bin_counts.sum() == 1


@pytest.mark.parametrize("bins", [0, -1, 2.0, "10", True, None])
@pytest.mark.parametrize("option", ["reliability_bins", "histogram_bins"])
def test_options_that_cannot_work(option, bins):
    message = f"{option}={bins!r}: expected at least 1."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        EvaluationCalibration(**{option: bins})


def test_mask_of_outputs():
    message = (
        "Per-output masking for EvaluationCalibration is not supported: got a mask of shape (3, 2) for predictions of "
        "shape (3, 2). Give a mask of shape (3,) or (3, 1)."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        EvaluationCalibration().eval(np.ones((3, 2)), np.ones((3, 2)), np.ones((3, 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            "EvaluationCalibration of 2 classes got predictions with 3 columns. "
            "Use one EvaluationCalibration per kind of output, or reset() it.",
        ),
        (
            {"labels": ["a", "b"]},
            "EvaluationCalibration with 2 labels got predictions with 3 columns. Name every class once.",
        ),
    ],
)
def test_width_that_does_not_fit(options, message):
    calibration = evaluated(EvaluationCalibration(**options), np.eye(2), np.eye(2))
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        calibration.eval(np.eye(3), np.eye(3))
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        calibration.merge(evaluated(EvaluationCalibration(), np.eye(3), np.eye(3)))


def test_width_after_reset():
    calibration = evaluated(EvaluationCalibration(), np.eye(2), np.eye(2))
    calibration.reset()
    assert calibration.num_classes is None
    calibration.eval(np.eye(3), np.eye(3))
    np.testing.assert_array_equal(calibration.label_counts_each_class, [1, 1, 1])


@pytest.mark.parametrize("label", [0.5, 2, -1])
def test_labels_must_be_binary(label):
    message = (
        "EvaluationCalibration: labels must be 0 or 1, but others were found. "
        "Round them, or mask out what has no label."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        EvaluationCalibration().eval([[label, 1]], [[0.5, 0.5]])


def test_what_is_no_probability():
    message = (
        "EvaluationCalibration: predictions from -1 to 2 are no probabilities. Apply a sigmoid or a softmax to them "
        "first, or give the network an output layer with one."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        EvaluationCalibration().eval([[0, 1]], [[-1.0, 2.0]])


def test_rounding_is_put_into_the_outer_bins():
    calibration = evaluated(EvaluationCalibration(), [[0, 1]], [[-1e-7, 1 + 1e-7]])
    assert calibration.get_probability_histogram_all_classes().bin_counts[[0, -1]].tolist() == [1, 1]
    assert calibration.get_residual_plot_all_classes().bin_counts[0] == 2


@pytest.mark.parametrize("option", ["reliability_bins", "histogram_bins"])
def test_merge_of_other_bins(option):
    mine, usual = EvaluationCalibration(), {"reliability_bins": 10, "histogram_bins": 50}[option]
    message = (
        f"cannot merge EvaluationCalibration with {option}=5 into one with {option}={usual}: "
        f"the counts differ in meaning. Create both with the same {option}."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        mine.merge(EvaluationCalibration(**{option: 5}))


def results(calibration, c):
    return [
        lambda: calibration.get_reliability_diagram(c),
        lambda: calibration.get_residual_plot(c),
        lambda: calibration.get_probability_histogram(c),
        lambda: calibration.expected_calibration_error(c),
    ]


@pytest.mark.parametrize("c", [-1, 2, 0.0, True])
def test_class_index_out_of_range(c):
    calibration = evaluated(EvaluationCalibration(), np.eye(2), np.eye(2))
    message = f"class index {c!r} is out of range: this evaluation has 2 classes, from 0 on."
    for result in results(calibration, c):
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            result()


@pytest.mark.parametrize("calibration", [EvaluationCalibration(), EvaluationCalibration(labels=["a", "b"])])
def test_results_before_data(calibration):
    message = "EvaluationCalibration: no evaluation has been performed. Call eval(labels, predictions) first."
    overall = [calibration.get_residual_plot_all_classes, calibration.get_probability_histogram_all_classes]
    counts = [lambda: calibration.label_counts_each_class, lambda: calibration.prediction_counts_each_class]
    for result in [*results(calibration, 0), *overall, *counts]:
        with pytest.raises(NotInitializedError, match=f"^{re.escape(message)}$"):
            result()
