"""PrecisionRecallCurve: points and confusion matrices on it."""

import re

import numpy as np
import pytest

from minidl.errors import DataError
from minidl.eval import ROC, PrecisionRecallCurve, PrecisionRecallPoint


@pytest.fixture
def diagonal():
    """Return a curve whose precision rises and whose recall falls with the threshold, in steps of 0.01."""
    t = np.arange(101) / 100
    counts = np.zeros(101, int)
    return PrecisionRecallCurve(t, t, 1 - t, counts, counts, counts, 0)


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("threshold", 0.05),
        ("threshold", 0.0495),
        ("precision", 0.05),
        ("precision", 0.0495),
        ("recall", 0.95),
        ("recall", 0.9495),
    ],
)
def test_row_126_get_point(diagonal, method, value):
    point = getattr(diagonal, f"get_point_at_{method}")(value)
    assert point == PrecisionRecallPoint(5, 0.05, 0.05, 0.95)


def test_point_at_recall_has_the_best_precision_of_equals():
    counts = np.zeros(4, int)
    precision, recall = np.array([0.4, 0.8, 0.8, 0.6]), np.array([1.0, 0.5, 0.5, 0.5])
    curve = PrecisionRecallCurve(np.array([0, 0.2, 0.4, 0.6]), precision, recall, counts, counts, counts, 0)
    assert curve.get_point_at_recall(0.5).index == 2


@pytest.mark.parametrize("steps", [0, 10])
def test_row_127_confusion(steps, rng):
    roc = ROC(steps)
    roc.eval(rng.integers(0, 2, (40, 1)), rng.random((40, 1)))
    curve = roc.get_precision_recall_curve()
    for index in range(len(curve.thresholds)):
        c = curve.get_confusion_matrix_at_point(index)
        predicted = c.true_positives + c.false_positives
        assert c.point.precision == (c.true_positives / predicted if predicted else 1.0)
        assert c.point.recall == c.true_positives / (c.true_positives + c.false_negatives)
        assert predicted + c.false_negatives + c.true_negatives == 40


def test_confusion_at_threshold():
    roc = ROC()
    roc.eval(np.array([[0], [0], [1], [1]]), np.array([[0.1], [0.4], [0.35], [0.8]]))
    c = roc.get_precision_recall_curve().get_confusion_matrix_at_threshold(0.3)
    assert (c.point.threshold, c.true_positives, c.false_positives) == (0.35, 2, 1)
    assert (c.false_negatives, c.true_negatives) == (0, 1)


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("get_point_at_threshold", 2, "threshold 2 is above all of the curve. Ask for at most 1.0."),
        ("get_point_at_precision", 2, "no point has a precision of 2. Ask for at most 1.0."),
        ("get_point_at_recall", 2, "no point has a recall of 2. Ask for at most 1.0."),
        ("get_confusion_matrix_at_point", 101, "point 101 does not exist: the curve has 101, from 0 on."),
    ],
)
def test_point_that_does_not_exist(diagonal, method, value, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        getattr(diagonal, method)(value)
