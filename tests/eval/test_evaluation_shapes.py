"""Rows 114 and 115 of the specification, class indices for images, and metadata and metrics of Evaluation."""

import math
import re

import numpy as np
import pytest
from evaluations import VARIANTS, assert_same, batch, counted, evaluated, named

from minidl.errors import DataError, ShapeError
from minidl.eval import (
    ROC,
    Evaluation,
    EvaluationAveraging,
    EvaluationBinary,
    EvaluationCalibration,
    EvaluationMetric,
    Prediction,
    RegressionEvaluation,
    ROCBinary,
    ROCMultiClass,
)

EYE = np.eye(3)
ROW_110 = [[3, 1, 0], [2, 2, 1], [0, 3, 4]]

each_variant = pytest.mark.parametrize("template", VARIANTS, ids=named)


def evaluation_of(matrix, **options):
    """Return an Evaluation that saw ``matrix[actual][predicted]`` examples."""
    matrix = np.asarray(matrix)
    actual, predicted = np.repeat(np.argwhere(matrix >= 0), matrix.ravel(), axis=0).T
    return evaluated(Evaluation(**options), actual, np.eye(len(matrix))[predicted])


def probabilities(rng, *shape):
    """Return probabilities of the classes at the last axis, or of one column."""
    weights = rng.random(shape)
    return weights if shape[-1] == 1 else weights / weights.sum(axis=-1, keepdims=True)


def images(rng, classes):
    """Return labels and predictions (batch, height, width, classes)."""
    indices = rng.integers(0, max(classes, 2), (2, 3, 5))
    return np.eye(max(classes, 2))[indices][..., -classes:], probabilities(rng, 2, 3, 5, classes)


SEGMENTATION = [
    *((template, 4) for template in (Evaluation(), Evaluation(top_n=2), ROCMultiClass(), ROCMultiClass(20))),
    *((template, 4) for template in (ROCBinary(), ROCBinary(20), EvaluationBinary(), EvaluationBinary(4, 0))),
    *((template, 1) for template in (Evaluation(), Evaluation(threshold=0.25), ROC(), ROC(20), ROCBinary())),
    (EvaluationBinary(), 1),
    (EvaluationBinary(roc_binary_steps=20), 1),
    *((EvaluationCalibration(), classes) for classes in (4, 1)),
]


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
@pytest.mark.parametrize(
    ("template", "classes"), SEGMENTATION, ids=[f"{named(template)}-{classes}" for template, classes in SEGMENTATION]
)
def test_row_115_segmentation(template, classes, axis, rng):
    labels, predictions = images(rng, classes)
    rows = evaluated(template, labels.reshape(-1, classes), predictions.reshape(-1, classes))
    options = {**template._options(), "axis": axis}
    given = (np.moveaxis(a, -1, axis) for a in (labels, predictions))
    assert_same(evaluated(type(template)(**options), *given), rows, rel=1e-12)


def test_row_115_all_permutations_of_the_axes(rng):
    labels, predictions = images(rng, 4)
    expected = counted(evaluated(Evaluation(), labels.reshape(-1, 4), predictions.reshape(-1, 4)))
    for order in [(0, 3, 1, 2), (0, 1, 3, 2), (0, 1, 2, 3), (3, 0, 1, 2), (3, 2, 1, 0), (2, 1, 0, 3)]:
        given = (np.ascontiguousarray(a.transpose(order)) for a in (labels, predictions))
        assert counted(evaluated(Evaluation(axis=order.index(3)), *given)) == expected


@pytest.mark.parametrize("kind", ["examples", "places", "channel first"])
@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize("classes", [4, 1])
def test_row_115_masks_of_images(kind, axis, classes, rng):
    labels, predictions = images(rng, classes)
    mask = rng.integers(0, 2, (2, 1, 1) if kind == "examples" else (2, 3, 5))
    mask.flat[:2] = 0, 1
    kept = np.broadcast_to(mask, (2, 3, 5)) == 1
    expected = evaluated(Evaluation(), labels[kept], predictions[kept])
    shape = {"examples": (2,), "places": (2, 3, 5), "channel first": (2, 1, 3, 5)}[kind]
    given = (np.moveaxis(a, -1, axis) for a in (labels, predictions))
    assert_same(evaluated(Evaluation(axis=axis), *given, mask.reshape(shape)), expected)


@pytest.mark.parametrize("classes", [4, 1])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("cls", [Evaluation, ROCMultiClass, EvaluationCalibration])
def test_class_indices_of_images(cls, axis, classes, rng):
    if cls is ROCMultiClass and classes == 1:
        cls = ROC
    labels, predictions = images(rng, classes)
    indices = labels.argmax(axis=-1) if classes > 1 else labels[..., 0].astype(int)
    predictions = np.moveaxis(predictions, -1, axis)
    by_index = evaluated(cls(axis=axis), indices, predictions)
    assert_same(by_index, evaluated(cls(axis=axis), np.moveaxis(labels, -1, axis), predictions))


def test_class_indices_of_images_with_a_mask(rng):
    labels, predictions = images(rng, 4)
    indices, mask = labels.argmax(axis=-1), rng.integers(0, 2, (2, 3, 5))
    expected = evaluated(Evaluation(), indices[mask == 1], predictions[mask == 1])
    indices[mask == 0] = -1
    assert_same(evaluated(Evaluation(axis=-1), indices, predictions, mask), expected)


def test_class_indices_of_another_shape(rng):
    message = (
        "Evaluation: labels of shape (2, 5, 3) do not fit predictions of shape (2, 4, 3, 5). "
        "Give labels of shape (2, 4, 3, 5), or integer class indices of shape (2, 3, 5)."
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        Evaluation().eval(np.zeros((2, 5, 3), int), rng.random((2, 4, 3, 5)))


@each_variant
@pytest.mark.parametrize("which", ["labels", "predictions"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_row_114_evaluation_of_nan(template, which, dtype):
    labels, predictions = (a.astype(dtype) for a in batch(1))
    evaluation = evaluated(template, labels, predictions)
    before = counted(evaluation)
    arrays = {"labels": labels.copy(), "predictions": predictions.copy()}
    arrays[which][3, 1] = np.nan
    message = f"{type(template).__name__}: {which} contain NaN. Find where it comes from, or mask these rows out."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        evaluation.eval(**arrays)
    assert counted(evaluation) == before
    mask = np.arange(len(labels)) != 3
    evaluation.eval(**arrays, mask=mask)
    kept = evaluated(template, labels, predictions)
    kept.eval(labels[mask], predictions[mask])
    assert_same(evaluation, kept)


@each_variant
def test_row_114_mask_of_nan(template):
    mask = np.ones(12)
    mask[5] = np.nan
    message = f"{type(template).__name__}: the mask contains NaN. Use 1 for rows that count, 0 for the others."
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        evaluated(template, *batch(1), mask)


# Names that came by a merge


NAMED = [
    *(cls(labels=list("abc")) for cls in (Evaluation, EvaluationBinary, EvaluationCalibration)),
    *(cls(labels=list("abc")) for cls in (ROCBinary, ROCMultiClass)),
    RegressionEvaluation(list("abc")),
]
each_named = pytest.mark.parametrize("template", NAMED, ids=lambda template: type(template).__name__)


@each_named
def test_names_that_came_by_a_merge_hold_for_later_batches(template):
    """They stay after ``reset``, so other widths raise, as where the names were given at first."""
    merged = type(template)()
    merged.merge(evaluated(template, EYE, EYE))
    merged.reset()
    with pytest.raises(ShapeError):
        merged.eval(np.eye(4), np.eye(4))


@each_named
def test_json_of_names_that_came_by_a_merge(template):
    merged = type(template)()
    merged.merge(evaluated(template, EYE, EYE))
    assert type(template).from_json(merged.to_json()) == merged


# Metadata


ACTUAL, PREDICTED = np.array([0, 1, 2, 1, 0]), np.array([0, 2, 2, 1, 1])
EXAMPLES = [Prediction(int(a), int(p), m) for a, p, m in zip(ACTUAL, PREDICTED, "vwxyz", strict=True)]


@pytest.fixture
def recorded():
    """Return an Evaluation with metadata."""
    evaluation = Evaluation()
    evaluation.eval(EYE[ACTUAL], EYE[PREDICTED], metadata=list("vwxyz"))
    return evaluation


def test_prediction_errors(recorded):
    assert recorded.get_prediction_errors() == [EXAMPLES[1], EXAMPLES[4]]


def test_predictions_by_class(recorded):
    of_actual = [recorded.get_predictions_by_actual_class(c) for c in range(3)]
    assert of_actual == [[EXAMPLES[0], EXAMPLES[4]], [EXAMPLES[1], EXAMPLES[3]], [EXAMPLES[2]]]
    of_predicted = [recorded.get_prediction_by_predicted_class(c) for c in range(3)]
    assert of_predicted == [[EXAMPLES[0]], [EXAMPLES[3], EXAMPLES[4]], [EXAMPLES[1], EXAMPLES[2]]]


def test_predictions_of_a_cell(recorded):
    assert recorded.get_predictions(1, 2) == [EXAMPLES[1]]
    assert recorded.get_predictions(actual=0, predicted=1) == [EXAMPLES[4]]
    assert recorded.get_predictions(2, 0) == []
    for actual in range(3):
        for predicted in range(3):
            count = recorded.confusion_matrix[actual, predicted]
            assert len(recorded.get_predictions(actual, predicted)) == count


def queries(evaluation):
    return [
        evaluation.get_prediction_errors(),
        evaluation.get_predictions_by_actual_class(0),
        evaluation.get_prediction_by_predicted_class(1),
        evaluation.get_predictions(0, 1),
    ]


def test_predictions_without_metadata(recorded):
    assert queries(evaluated(Evaluation(), EYE, EYE)) == [None] * 4
    assert queries(Evaluation(3)) == [None] * 4
    recorded.reset()
    recorded.eval(EYE, EYE)
    assert queries(recorded) == [None] * 4


def test_batches_without_metadata_are_not_recorded(recorded):
    recorded.eval(EYE, EYE[::-1])
    assert recorded.row_count == 8
    assert recorded.get_prediction_errors() == [EXAMPLES[1], EXAMPLES[4]]


def test_metadata_that_is_empty_of_errors():
    evaluation = Evaluation()
    evaluation.eval(EYE, EYE, metadata=[None, None, None])
    assert evaluation.get_prediction_errors() == []
    assert evaluation.get_predictions_by_actual_class(2) == [Prediction(2, 2, None)]


@pytest.mark.parametrize("threshold", [None, 0.25])
def test_metadata_of_a_single_column_is_of_its_own_row(threshold):
    evaluation = Evaluation(threshold=threshold)
    labels, predictions = np.array([[1], [0], [1], [0]]), np.array([[0.9], [0.9], [0.1], [0.1]])
    evaluation.eval(labels, predictions, metadata=["tp", "fp", "fn", "tn"])
    cells = [evaluation.get_predictions(actual, predicted) for actual in (0, 1) for predicted in (0, 1)]
    assert [[one.metadata for one in cell] for cell in cells] == [["tn"], ["fp"], ["fn"], ["tp"]]
    assert evaluation.get_prediction_errors() == [Prediction(0, 1, "fp"), Prediction(1, 0, "fn")]


@pytest.mark.parametrize("mask", [[0, 1, 0, 1, 1], [[0], [1], [0], [1], [1]], [False, True, False, True, True]])
def test_metadata_with_a_mask(mask):
    evaluation = Evaluation()
    evaluation.eval(ACTUAL, EYE[PREDICTED], mask, list("vwxyz"))
    assert evaluation.get_prediction_errors() == [EXAMPLES[1], EXAMPLES[4]]
    assert evaluation.get_predictions_by_actual_class(1) == [EXAMPLES[1], EXAMPLES[3]]
    assert evaluation.get_predictions_by_actual_class(2) == []


def test_metadata_of_a_fully_masked_batch():
    evaluation = Evaluation(3)
    evaluation.eval(ACTUAL, EYE[PREDICTED], np.zeros(5), list("vwxyz"))
    assert evaluation == Evaluation(3)


def test_metadata_of_series():
    actual, predicted = np.array([[0, 1, 2], [2, 1, 0]]), np.array([[0, 2, 2], [1, 1, 0]])
    evaluation, masked = Evaluation(), Evaluation()
    arrays = [EYE[indices].transpose(0, 2, 1) for indices in (actual, predicted)]
    evaluation.eval(*arrays, metadata=["first", "second"])
    assert evaluation.get_prediction_errors() == [Prediction(1, 2, "first"), Prediction(2, 1, "second")]
    assert [one.metadata for one in evaluation.get_predictions_by_actual_class(0)] == ["first", "second"]
    masked.eval(*arrays, [[1, 0, 0], [1, 1, 0]], ["first", "second"])
    assert masked.get_prediction_errors() == [Prediction(2, 1, "second")]
    assert masked.get_predictions(0, 0) == [Prediction(0, 0, "first")]


@pytest.mark.parametrize("axis", [1, 3])
def test_metadata_of_images(axis, rng):
    labels, predictions = images(rng, 4)
    evaluation = Evaluation(axis=axis)
    evaluation.eval(*(np.moveaxis(a, -1, axis) for a in (labels, predictions)), metadata=["first", "second"])
    for c in range(4):
        found = [one.metadata for one in evaluation.get_predictions_by_actual_class(c)]
        counts = [int(labels[example, ..., c].sum()) for example in range(2)]
        assert found == ["first"] * counts[0] + ["second"] * counts[1]


def test_merged_metadata(recorded):
    merged, other = Evaluation(), Evaluation()
    merged.merge(Evaluation(3))
    assert merged.get_prediction_errors() is None
    other.eval(EYE[:2], EYE[[1, 1]], metadata=["a", "b"])
    for part in recorded, other:
        merged.merge(part)
    assert merged.get_prediction_errors() == [EXAMPLES[1], EXAMPLES[4], Prediction(0, 1, "a")]
    merged.merge(evaluated(Evaluation(), EYE, EYE))
    assert len(merged.get_prediction_errors()) == 3
    assert len(recorded.get_prediction_errors()) == 2
    assert other.get_prediction_errors() == [Prediction(0, 1, "a")]


def test_metadata_is_no_part_of_equality_nor_of_json(recorded):
    plain = evaluated(Evaluation(), EYE[ACTUAL], EYE[PREDICTED])
    assert recorded == plain
    assert Evaluation.from_json(recorded.to_json()) == plain
    assert Evaluation.from_json(recorded.to_json()).get_prediction_errors() is None


@pytest.mark.parametrize("count", [0, 4, 6])
@pytest.mark.parametrize("mask", [None, [0, 1, 1, 1, 1]])
def test_metadata_of_another_length(count, mask, recorded):
    before = counted(recorded)
    message = f"Evaluation: metadata has {count} items for 5 examples. Give one for each example, masked ones included."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        recorded.eval(ACTUAL, EYE[PREDICTED], mask, ["m"] * count)
    assert counted(recorded) == before
    assert recorded.get_prediction_errors() == [EXAMPLES[1], EXAMPLES[4]]


@pytest.mark.parametrize("c", [-1, 3])
def test_class_index_of_predictions_out_of_range(c, recorded):
    message = f"class index {c} is out of range: this evaluation has 3 classes, from 0 on."
    calls = [
        lambda: recorded.get_predictions_by_actual_class(c),
        lambda: recorded.get_prediction_by_predicted_class(c),
        lambda: recorded.get_predictions(c, 0),
        lambda: recorded.get_predictions(0, c),
    ]
    for call in calls:
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            call()


# Metrics


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("ACCURACY", 0.5625),
        ("F1", 0.56566),
        ("PRECISION", 0.57778),
        ("RECALL", 0.57381),
        ("GMEASURE", (math.sqrt(0.6 * 0.75) + math.sqrt(0.4 / 3) + math.sqrt(0.8 * 4 / 7)) / 3),
        ("MCC", 0.35747),
    ],
)
def test_score_for_metric(metric, value):
    evaluation = evaluation_of(ROW_110)
    for name in metric, metric.lower(), EvaluationMetric[metric]:
        assert evaluation.score_for_metric(name) == pytest.approx(value, abs=5e-6)
    assert evaluation.score_for_metric(metric) == getattr(evaluation, EvaluationMetric[metric].value)()


def test_every_metric_is_tested():
    (cases,) = (mark.args[1] for mark in test_score_for_metric.pytestmark)
    assert [name for name, _ in cases] == [metric.name for metric in EvaluationMetric]


@pytest.mark.parametrize(("positive_class", "precision"), [(1, 7 / 8), (0, 3 / 8), (None, 5 / 8)])
def test_score_for_metric_of_two_classes(positive_class, precision):
    evaluation = evaluation_of([[3, 1], [5, 7]], positive_class=positive_class)
    assert evaluation.score_for_metric("PRECISION") == precision
    assert evaluation.score_for_metric("GMEASURE") == evaluation.g_measure(averaging=EvaluationAveraging.MACRO)
    assert evaluation.score_for_metric("MCC") == pytest.approx(evaluation.matthews_correlation(0), rel=1e-15)


@pytest.mark.parametrize(
    ("matrix", "precision", "recall", "f1"),
    [
        (ROW_110, 0, 0, 0),
        ([[2, 0, 0], [1, 0, 0], [0, 0, 1]], 1, 0, 1),  # class 1 is never predicted
        ([[2, 1, 0], [0, 0, 0], [0, 0, 1]], 0, 1, 1),  # class 1 does not occur
        ([[2, 0, 0], [0, 0, 0], [0, 0, 1]], 1, 1, 1),
        ([[0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]], 3, 2, 4),
        ([[3, 0], [0, 0]], 1, 1, 1),
    ],
)
def test_classes_that_averages_leave_out(matrix, precision, recall, f1):
    evaluation = evaluation_of(matrix)
    assert evaluation.average_precision_num_classes_excluded() == precision
    assert evaluation.average_recall_num_classes_excluded() == recall
    assert evaluation.average_f1_num_classes_excluded() == f1
    assert evaluation.average_f_beta_num_classes_excluded() == f1
    classes = range(len(matrix))
    defined = [c for c in classes if not math.isnan(evaluation.precision(c, undefined=math.nan))]
    assert len(defined) == len(matrix) - precision
    mean = np.mean([evaluation.precision(c) for c in defined])
    assert evaluation.precision(averaging="macro") == pytest.approx(mean)
