"""A warm ``eval`` takes no array memory."""

import numpy as np
import pytest
from allocation import assert_no_allocation, gauges

from minidl import eval as evaluations

ROWS = 1024  # every array of a batch is over the counter's 4096 bytes
EXAMPLES = 200 * ROWS  # more than the gauges call for


def batch(classes, inputs):
    """Return labels, predictions and a mask or None, as ``inputs`` says; for None all that there are, by name."""
    rng = np.random.default_rng(0)
    indices = rng.integers(0, classes, ROWS)
    labels, predictions = np.eye(classes, dtype="f4")[indices], rng.random((ROWS, classes), "f4")
    mask = (rng.random(ROWS) < 0.8).astype("f4")
    series = [a.reshape(64, 16, classes).transpose(0, 2, 1).copy() for a in (labels, predictions)]
    images = [a.reshape(16, 8, 8, classes).transpose(0, 3, 1, 2).copy() for a in (labels, predictions)]
    batches = {
        "plain": (labels, predictions, None),
        "masked": (labels, predictions, mask),
        "masked column": (labels, predictions, mask[:, None]),
        "indices": (indices, predictions, mask),
        "transposed": (labels, np.asfortranarray(predictions), None),
        "float64": (labels.astype("f8"), predictions.astype("f8"), mask.astype("f8")),
        "series": (*series, mask.reshape(64, 16)),
        "series of examples": (*series, mask[:64]),
        "images": (*images, mask.reshape(16, 8, 8)),
        "outputs": (labels, predictions, rng.integers(0, 2, (ROWS, classes)).astype("f4")),
    }
    return batches if inputs is None else batches[inputs]


def measure_eval(name, options, classes, inputs):
    evaluation = getattr(evaluations, name)(**options)
    arguments = batch(classes, inputs)
    return gauges(lambda: evaluation.eval(*arguments))


def measure_eval_with_more_rows_each_time(name, options, classes):
    evaluation = getattr(evaluations, name)(**options)
    labels, predictions, _ = batch(classes, "plain")
    masks = iter(np.tri(ROWS, ROWS, dtype="f4")[::32])  # each leaves 32 rows more
    return gauges(lambda: evaluation.eval(labels, predictions, next(masks)))


def measure_exact_roc_without_expectation():
    roc = evaluations.ROC()
    arguments = batch(2, "plain")
    return gauges(lambda: roc.eval(*arguments))


EACH = pytest.mark.parametrize(
    ("name", "options", "classes"),
    [
        ("Evaluation", {}, 10),
        ("Evaluation", {"top_n": 3}, 10),
        ("Evaluation", {"cost_array": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}, 10),
        ("Evaluation", {"threshold": 0.3}, 2),
        ("ROC", {"threshold_steps": 100}, 2),
        ("ROC", {"expected_examples": EXAMPLES}, 2),
        ("EvaluationBinary", {}, 10),
        ("EvaluationBinary", {"roc_binary_steps": 20, "threshold": [0.1, 0.2]}, 2),
        ("EvaluationBinary", {}, 1000),
        ("EvaluationCalibration", {}, 10),
        ("ROCBinary", {"threshold_steps": 20}, 10),
        ("ROCBinary", {"expected_examples": EXAMPLES}, 10),
        ("RegressionEvaluation", {}, 10),
        ("RegressionEvaluation", {}, 1000),
        ("ROCMultiClass", {"threshold_steps": 100}, 10),
        ("ROCMultiClass", {"expected_examples": EXAMPLES}, 10),
    ],
    ids=str,
)


@EACH
@pytest.mark.parametrize("inputs", batch(2, None))
def test_warm_eval_allocates_nothing(run_under_counter, name, options, classes, inputs):
    accepted = getattr(evaluations, name)._accepted
    if (inputs == "indices" and not accepted.class_indices) or (inputs == "outputs" and not accepted.output_masks):
        return  # what such a class refuses
    measured = run_under_counter(measure_eval, name, options, classes, inputs)
    assert_no_allocation(measured, arrays_alive=6)


@EACH
def test_masks_that_leave_more_and_more_rows_allocate_nothing(run_under_counter, name, options, classes):
    measured = run_under_counter(measure_eval_with_more_rows_each_time, name, options, classes)
    assert_no_allocation(measured, arrays_alive=6)


def test_exact_roc_without_expectation_is_seen_to_grow(run_under_counter):
    assert run_under_counter(measure_exact_roc_without_expectation).native_large_bytes > 0
