"""RegressionEvaluation: rows 131 to 136 of the specification, numerical accuracy, texts, errors."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from evaluations import assert_same, evaluated, joined
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ConfigurationError, DataError, NotInitializedError, ShapeError
from minidl.eval import RegressionEvaluation, RegressionMetric

# Row 133, of DL4J's testKnownValues
LABELS_133 = np.array([[1, 2, 3], [0.1, 0.2, 0.3], [6, 5, 4]])
PREDICTIONS_133 = np.array([[2.5, 3.2, 3.8], [2.15, 1.3, -1.2], [7, 4.5, 3]])
KNOWN_133 = {
    "MSE": [2.484167, 0.966667, 1.296667],
    "MAE": [1.516667, 0.933333, 1.1],
    "RMSE": [1.576124, 0.983192, 1.138713],
    "RSE": [0.368814, 0.246599, 0.530937],
    "PC": [0.997013, 0.968620, 0.915603],
    "R2": [0.631186, 0.753401, 0.469063],
}

STATS_133 = """
Column     MSE            MAE            RMSE           RSE            PC             R^2
col_0      2.48417e+00    1.51667e+00    1.57612e+00    3.68814e-01    9.97013e-01    6.31186e-01
col_1      9.66667e-01    9.33333e-01    9.83192e-01    2.46599e-01    9.68620e-01    7.53401e-01
col_2      1.29667e+00    1.10000e+00    1.13871e+00    5.30937e-01    9.15603e-01    4.69063e-01
"""[1:-1]

STATS_WITH_NAMES = """
Column                  MSE            MAE            RMSE           RSE            PC             R^2
a                       5.00e-01       5.00e-01       7.07e-01       2.00e+00       NaN            -1.00e+00
of a constant label     4.00e+00       2.00e+00       2.00e+00       Infinity       NaN            -Infinity
"""[1:-1]


def metrics_of(evaluation):
    """Return all metrics (metrics, columns)."""
    columns = range(evaluation.num_columns)
    return np.array([[evaluation.score_for_metric(metric, c) for c in columns] for metric in RegressionMetric])


def exact_metrics(labels, predictions):
    """Return the metrics of one column in rational numbers, rounded at the end."""
    y, p = ([Fraction(value) for value in values.tolist()] for values in (labels, predictions))
    n, mean_y, mean_p = len(y), sum(y) / len(y), sum(p) / len(p)
    squared = sum((a - b) ** 2 for a, b in zip(y, p, strict=True))
    absolute = sum(abs(a - b) for a, b in zip(y, p, strict=True))
    spread_y, spread_p = sum((a - mean_y) ** 2 for a in y), sum((b - mean_p) ** 2 for b in p)
    joint = sum((a - mean_y) * (b - mean_p) for a, b in zip(y, p, strict=True))
    correlation = float(joint) / math.sqrt(spread_y) / math.sqrt(spread_p)
    rse = squared / spread_y
    return [float(squared / n), float(absolute / n), math.sqrt(squared / n), float(rse), correlation, float(1 - rse)]


def normal_batch(rng, *shape, mean=0.0):
    labels = mean + rng.normal(size=shape)
    return labels, labels + rng.normal(size=shape)


@pytest.mark.parametrize("labels", [np.ones(3), [1.0, 2.0]])
def test_row_131_eval_parameters(labels):
    shape = np.shape(labels)
    message = (
        f"RegressionEvaluation: predictions have shape {shape}, expected (batch, n_out), (batch, n_out, time), or up "
        "to 5 axes. Reshape them, one column with predictions[:, None]."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        RegressionEvaluation(1).eval(labels, labels)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_row_132_perfect_predictions(dtype, rng):
    evaluation = RegressionEvaluation(5)
    for _ in range(3):
        labels = rng.random((20, 5)).astype(dtype)
        evaluation.eval(labels, labels)
    np.testing.assert_allclose(metrics_of(evaluation)[:4], 0, atol=0)
    np.testing.assert_allclose(metrics_of(evaluation)[4:], 1, rtol=1e-14)


@pytest.mark.parametrize("labels_dtype", ["f4", "f8"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_row_133_known_values(dtype, labels_dtype):
    evaluation = RegressionEvaluation(3)
    for _ in range(2):
        evaluation.eval(LABELS_133.astype(labels_dtype), PREDICTIONS_133.astype(dtype))
        assert [metric.name for metric in RegressionMetric] == list(KNOWN_133)
        tolerance = 2e-3 if dtype == "f2" else 1e-6
        np.testing.assert_allclose(metrics_of(evaluation), list(KNOWN_133.values()), rtol=0, atol=tolerance)
        evaluation.reset()


def test_row_133_halves_by_row():
    evaluation = evaluated(RegressionEvaluation(), LABELS_133[:1], PREDICTIONS_133[:1])
    evaluation.eval(LABELS_133[1:], PREDICTIONS_133[1:])
    np.testing.assert_allclose(metrics_of(evaluation), list(KNOWN_133.values()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("merged", [RegressionEvaluation(3), RegressionEvaluation()])
@pytest.mark.parametrize("mean", [0, 1e4])
def test_row_134_regression_evaluation_merging(merged, mean, rng):
    merged.reset()
    parts = [normal_batch(rng, rows, 3, mean=mean) for rows in (7, 1, 20)]
    single = evaluated(RegressionEvaluation(), *joined(*parts))
    for part in parts:
        merged.merge(evaluated(RegressionEvaluation(), *part))
        merged.merge(RegressionEvaluation())
    np.testing.assert_allclose(metrics_of(merged), metrics_of(single), rtol=1e-12, atol=1e-12)  # R^2 too
    assert [merged.total_count(c) for c in range(3)] == [28] * 3


def test_row_134_merging_into_an_uninitialised_instance():
    evaluation = evaluated(RegressionEvaluation(), LABELS_133, PREDICTIONS_133)
    merged = RegressionEvaluation()
    assert merged.num_columns is None
    merged.merge(evaluation)
    assert merged.num_columns == 3
    assert_same(merged, evaluation)
    merged.eval(LABELS_133, PREDICTIONS_133)
    np.testing.assert_allclose(metrics_of(merged), list(KNOWN_133.values()), rtol=0, atol=1e-6)
    assert evaluation.total_count(0) == 3


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "?"])
def test_row_135_per_output_masking(dtype):
    labels = np.array([[1.0, 2, 3], [10, 20, 30], [-5, -10, -20]])
    mask = np.array([[0, 1, 1], [1, 1, 0], [0, 1, 0]], dtype)
    evaluation = evaluated(RegressionEvaluation(), labels, np.zeros((3, 3)), mask)
    assert [evaluation.mean_squared_error(c) for c in range(3)] == [100, 168, 9]
    assert [evaluation.mean_absolute_error(c) for c in range(3)] == [10, 32 / 3, 3]
    assert [evaluation.total_count(c) for c in range(3)] == [1, 3, 1]


def test_row_135_each_column_is_its_unmasked_rows(rng):
    labels, predictions = normal_batch(rng, 40, 3, mean=100)
    mask = rng.integers(0, 2, labels.shape)
    predictions[mask == 0] = np.nan
    metrics = metrics_of(evaluated(RegressionEvaluation(), labels, predictions, mask))
    for c in range(3):
        kept = mask[:, c] == 1
        expected = exact_metrics(labels[kept, c], predictions[kept, c])
        np.testing.assert_allclose(metrics[:, c], expected, rtol=1e-12)


def test_row_136_time_series_split(rng):
    labels, predictions = normal_batch(rng, 4, 3, 10)
    mask = rng.integers(0, 2, (4, 10))
    for of_steps in None, mask:
        whole, split = RegressionEvaluation(), RegressionEvaluation()
        whole.eval(labels, predictions, of_steps)
        for steps in slice(0, 3), slice(3, 4), slice(4, 10):
            split.eval(labels[..., steps], predictions[..., steps], None if of_steps is None else of_steps[:, steps])
        np.testing.assert_allclose(metrics_of(split), metrics_of(whole), rtol=1e-12)


@pytest.mark.parametrize("places", [(4, 3, 6), (4, 3, 2, 5)])
@pytest.mark.parametrize("kind", ["none", "examples", "column of examples", "places", "outputs"])
def test_row_136_series_and_images_equal_their_rows(kind, places, rng):
    labels, predictions = normal_batch(rng, *places)
    of_places = places[:1] + places[2:]
    shapes = {"none": (), "examples": (4,), "column of examples": (4, 1), "places": of_places, "outputs": places}
    mask = rng.integers(0, 2, shapes[kind]) if kind != "none" else None
    rows = [np.moveaxis(a, 1, -1).reshape(-1, 3) for a in (labels, predictions)]
    of_rows = None
    if kind == "outputs":
        of_rows = np.moveaxis(mask, 1, -1).reshape(-1, 3)
    elif mask is not None:
        mask.flat[:2] = 0, 1
        spread = mask if kind == "places" else mask.reshape(4, *[1] * (len(of_places) - 1))
        of_rows = np.broadcast_to(spread, of_places).ravel()
    expected = evaluated(RegressionEvaluation(), *rows, of_rows)
    assert_same(evaluated(RegressionEvaluation(), labels, predictions, mask), expected)


def test_stats_text():
    assert evaluated(RegressionEvaluation(), LABELS_133, PREDICTIONS_133).stats() == STATS_133


def test_stats_text_with_names_and_precision():
    evaluation = RegressionEvaluation(["a", "of a constant label"], precision=2)
    evaluation.eval([[0.0, 1], [1, 1]], [[1.0, 3], [1, 3]])
    assert evaluation.stats() == STATS_WITH_NAMES


@pytest.mark.parametrize("evaluation", [RegressionEvaluation(), RegressionEvaluation(2), RegressionEvaluation("ab")])
def test_stats_without_data(evaluation):
    assert evaluation.stats() == "RegressionEvaluation: No Data"
    evaluation.eval([[1.0, 2]], [[1.0, 2]])
    evaluation.reset()
    assert evaluation.stats() == "RegressionEvaluation: No Data"


def constant_batches(value, rows, columns, pieces, dtype):
    """Return batches of equal labels, and of predictions that differ."""
    predictions = np.random.default_rng(7).random((rows, columns)).astype(dtype)
    return [(np.full(piece.shape, value, dtype), piece) for piece in np.array_split(predictions, pieces)]


@pytest.mark.parametrize("value", [0, 1, 0.1, -1 / 3, 1e8 + 0.1, 1e-30])
@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("pieces", [1, 7, 100])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_constant_labels_or_predictions(value, columns, pieces, dtype):
    of_labels, of_predictions, of_both = (RegressionEvaluation() for _ in range(3))
    for constant, others in constant_batches(value, 1000, columns, pieces, dtype):
        of_labels.eval(constant, others)
        of_predictions.eval(others, constant)
        of_both.eval(constant, constant)
    last = columns - 1
    assert of_labels.relative_squared_error(last) == math.inf
    assert of_labels.r_squared(last) == -math.inf
    assert math.isnan(of_labels.pearson_correlation(last))
    assert math.isnan(of_predictions.pearson_correlation(last))
    assert math.isfinite(of_predictions.r_squared(last))
    assert of_both.relative_squared_error(last) == math.inf
    assert math.isnan(of_both.r_squared(last))
    assert math.isnan(of_both.pearson_correlation(last))


@pytest.mark.parametrize("rows", [10_000, 300_000])
def test_many_constant_labels(rows):
    ((labels, predictions),) = constant_batches(0.1, rows, 2, 1, "f8")
    assert evaluated(RegressionEvaluation(), labels, predictions).r_squared(0) == -math.inf


def test_merged_constant_labels():
    merged = RegressionEvaluation()
    for batch in constant_batches(0.1, 1000, 2, 30, "f8"):
        merged.merge(evaluated(RegressionEvaluation(), *batch))
    assert merged.r_squared(1) == -math.inf


def test_labels_that_differ_by_little_are_not_constant():
    labels = np.array([[1.0], [1 + 1e-12], [1], [1 + 1e-12]])
    evaluation = evaluated(RegressionEvaluation(), labels, labels[::-1])
    assert evaluation.relative_squared_error(0) == pytest.approx(4, rel=1e-3)
    assert evaluation.pearson_correlation(0) == pytest.approx(-1)


def test_large_labels_that_differ_by_whole_numbers_are_not_constant():
    labels = 1e15 + np.arange(4.0)[:, None]  # exact in float64
    evaluation = evaluated(RegressionEvaluation(), labels, labels[::-1])
    assert evaluation.relative_squared_error(0) == pytest.approx(4)
    assert evaluation.pearson_correlation(0) == pytest.approx(-1)


def test_one_example():
    evaluation = evaluated(RegressionEvaluation(), [[3.0]], [[5.0]])
    assert metrics_of(evaluation)[:4, 0].tolist() == [4, 2, 2, math.inf]
    assert evaluation.r_squared(0) == -math.inf
    assert math.isnan(evaluation.pearson_correlation(0))


def test_column_that_is_masked_wholly():
    mask = np.tile([1, 0, 1], (3, 1))
    evaluation = evaluated(RegressionEvaluation(), LABELS_133, PREDICTIONS_133, mask)
    metrics = metrics_of(evaluation)
    assert np.isnan(metrics[:, 1]).all()
    np.testing.assert_allclose(metrics[:, [0, 2]], np.array(list(KNOWN_133.values()))[:, [0, 2]], rtol=0, atol=1e-6)
    assert [evaluation.total_count(c) for c in range(3)] == [3, 0, 3]
    assert math.isnan(evaluation.average_mean_squared_error())
    row = "col_1      NaN            NaN            NaN            NaN            NaN            NaN"
    assert evaluation.stats().splitlines()[2] == row
    evaluation.eval(LABELS_133, PREDICTIONS_133)
    assert metrics_of(evaluation)[:, 1] == pytest.approx([v[1] for v in KNOWN_133.values()], abs=1e-6)


@pytest.mark.parametrize("mean", [1e8, -1e8])
@pytest.mark.parametrize("rows", [1, 10, 64, 1000])
def test_large_means_cost_no_digits(mean, rows, rng):
    labels, predictions = normal_batch(rng, 1000, 2, mean=mean)
    evaluation, merged = RegressionEvaluation(), RegressionEvaluation()
    for start in range(0, 1000, rows):
        evaluation.eval(labels[start : start + rows], predictions[start : start + rows])
        part = evaluated(RegressionEvaluation(), labels[start : start + rows], predictions[start : start + rows])
        merged.merge(part)
    expected = np.transpose([exact_metrics(labels[:, c], predictions[:, c]) for c in range(2)])
    np.testing.assert_allclose(metrics_of(evaluation), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(metrics_of(merged), expected, rtol=1e-9, atol=1e-9)


@given(
    st.lists(st.tuples(*[st.integers(-8, 8)] * 2), min_size=2, max_size=30),
    st.integers(1, 8),
    st.sampled_from(["f4", "f8"]),
)
def test_agrees_with_rational_numbers(pairs, rows, dtype):
    labels, predictions = np.array(pairs, dtype).T
    evaluation = RegressionEvaluation()
    for start in range(0, len(labels), rows):
        evaluation.eval(labels[start : start + rows, None], predictions[start : start + rows, None])
    assert evaluation.total_count(0) == len(pairs)
    if len(set(labels)) > 1 and len(set(predictions)) > 1:
        expected = exact_metrics(labels, predictions)
        np.testing.assert_allclose(metrics_of(evaluation)[:, 0], expected, rtol=1e-12, atol=1e-12)
    else:
        assert math.isnan(evaluation.pearson_correlation(0))


@pytest.mark.parametrize(("bad", "name"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
@pytest.mark.parametrize("which", ["labels", "predictions"])
def test_what_is_no_finite_number(bad, name, which):
    evaluation = evaluated(RegressionEvaluation(), LABELS_133, PREDICTIONS_133)
    arrays = {"labels": LABELS_133.copy(), "predictions": PREDICTIONS_133.copy()}
    arrays[which][1, 2] = bad
    message = f"RegressionEvaluation: {which} contain {name}. Find where it comes from, or mask these rows out."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        evaluation.eval(**arrays)
    assert evaluation.stats() == STATS_133
    evaluation.eval(**arrays, mask=[1, 0, 1])
    mask = np.ones((3, 3))
    mask[1, 2] = 0
    evaluation.eval(**arrays, mask=mask)
    assert [evaluation.total_count(c) for c in range(3)] == [8, 8, 7]


@pytest.mark.parametrize("metric", RegressionMetric)
def test_score_for_metric(metric):
    evaluation = evaluated(RegressionEvaluation(), LABELS_133, PREDICTIONS_133)
    known = KNOWN_133[metric.name]
    for name in metric, metric.name, metric.name.lower():
        assert [evaluation.score_for_metric(name, c) for c in range(3)] == pytest.approx(known, abs=1e-6)
        assert evaluation.score_for_metric(name) == pytest.approx(np.mean(known), abs=1e-6)
    assert getattr(evaluation, f"average_{metric.value}")() == evaluation.score_for_metric(metric)
    assert getattr(evaluation, metric.value)(1) == evaluation.score_for_metric(metric, 1)


def test_minimize():
    smaller_is_better = [metric.name for metric in RegressionMetric if metric.minimize]
    assert smaller_is_better == ["MSE", "MAE", "RMSE", "RSE"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": 0}, "columns=0: expected at least 1, a list of names, or None."),
        ({"columns": 2.0}, "columns=2.0: expected at least 1, a list of names, or None."),
        ({"columns": True}, "columns=True: expected at least 1, a list of names, or None."),
        ({"precision": -1}, "precision=-1: expected a number of decimals, 0 to 17."),
        ({"precision": 18}, "precision=18: expected a number of decimals, 0 to 17."),
        ({"precision": 5.0}, "precision=5.0: expected a number of decimals, 0 to 17."),
    ],
)
def test_options_that_cannot_work(options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        RegressionEvaluation(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"columns": 1},
            "RegressionEvaluation of 1 column got predictions with 3 columns. "
            "Use one RegressionEvaluation per kind of output, or reset() it.",
        ),
        (
            {"columns": ["a", "b"]},
            "RegressionEvaluation with 2 names got predictions with 3 columns. Name every column once.",
        ),
    ],
)
def test_width_that_does_not_fit(options, message):
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        RegressionEvaluation(**options).eval(LABELS_133, PREDICTIONS_133)


def test_extremes_of_masked_batches():
    labels = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 5.0]])
    mask = np.array([[1, 1], [1, 0], [1, 1], [1, 0]])
    evaluation = RegressionEvaluation()
    for rows in (slice(0, 2), slice(2, 4)):
        evaluation.eval(labels[rows], np.zeros((2, 2)), mask[rows])
    assert evaluation.relative_squared_error(0) == pytest.approx(3 / 0.75)
    assert evaluation.relative_squared_error(1) == np.inf  # all that is not masked is 1
    state = evaluation._state()
    assert (state["lowest_labels"], state["highest_labels"]) == ([0, 1], [1, 1])
    assert (state["lowest_predictions"], state["highest_predictions"]) == ([0, 0], [0, 0])


def test_width_after_reset():
    evaluation = evaluated(RegressionEvaluation(), LABELS_133, PREDICTIONS_133)
    evaluation.reset()
    evaluation.eval(LABELS_133[:, :2], PREDICTIONS_133[:, :2])
    assert evaluation.num_columns == 2


def test_labels_of_another_width():
    message = (
        "RegressionEvaluation: labels of shape (3, 2) do not fit predictions of shape (3, 3). "
        "Give one label for each output, in shape (3, 3)."
    )
    evaluation = RegressionEvaluation()
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        evaluation.eval(LABELS_133[:, :2], PREDICTIONS_133)
    assert evaluation.num_columns is None


def test_merge_of_another_width():
    message = (
        "RegressionEvaluation of 3 columns cannot be merged with one with 1 columns. "
        "Use one RegressionEvaluation per kind of output, or reset() it."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        RegressionEvaluation(3).merge(RegressionEvaluation(1))


def test_merge_takes_column_names_if_it_has_none():
    merged = RegressionEvaluation()
    merged.merge(evaluated(RegressionEvaluation("abc"), LABELS_133, PREDICTIONS_133))
    assert merged.column_names == ("a", "b", "c")
    named = RegressionEvaluation("xyz")
    named.merge(merged)
    assert named.column_names == ("x", "y", "z")


@pytest.mark.parametrize("column", [-1, 3, 1.0, True])
def test_column_index_out_of_range(column):
    evaluation = evaluated(RegressionEvaluation(), LABELS_133, PREDICTIONS_133)
    message = f"column index {column!r} is out of range: this evaluation has 3 columns, from 0 on."
    for metric in RegressionMetric:
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            evaluation.score_for_metric(metric, column)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        evaluation.total_count(column)


@pytest.mark.parametrize("evaluation", [RegressionEvaluation(), RegressionEvaluation(3)])
@pytest.mark.parametrize("metric", RegressionMetric)
def test_metric_before_data(evaluation, metric):
    message = "RegressionEvaluation: no evaluation has been performed. Call eval(labels, predictions) first."
    for arguments in (metric,), (metric, 0):
        with pytest.raises(NotInitializedError, match=f"^{re.escape(message)}$"):
            evaluation.score_for_metric(*arguments)
