"""What evaluations are made from, and what makes two of them equal."""

import re

import numpy as np
import pytest
from evaluations import VARIANTS, batch, evaluated, named

from minidl.errors import ConfigurationError, DataError, DtypeError, ShapeError
from minidl.eval import (
    ROC,
    BaseEvaluation,
    Evaluation,
    EvaluationBinary,
    EvaluationCalibration,
    RegressionEvaluation,
    ROCBinary,
    ROCMultiClass,
)

EXACT = [one for one in VARIANTS if getattr(one, "threshold_steps", 1) == 0]


@pytest.mark.parametrize(
    "made",
    [
        lambda: Evaluation(np.int64(2), top_n=np.int64(2), positive_class=np.int64(0)),
        lambda: Evaluation(threshold=np.float32(0.5)),
        lambda: Evaluation(cost_array=np.array([[1, 2]], np.float32)),
        lambda: Evaluation(labels=np.array(["a", "b"])),
        lambda: EvaluationBinary(np.int64(2), np.int64(3), threshold=np.array([[0.25, 0.5]])),
        lambda: EvaluationCalibration(np.int64(4), np.int32(5), np.bool_(True)),
        lambda: ROC(np.int64(10), remove_redundant=np.bool_(False)),
        lambda: ROC(expected_examples=np.int64(10)),
        lambda: ROCMultiClass(labels=np.array(["a", "b"])),
        lambda: RegressionEvaluation(np.int64(2), np.int64(3)),
        lambda: RegressionEvaluation(np.array(["a", "b"])),
    ],
)
def test_options_of_numpy_are_those_of_python(made):
    evaluation = made()
    labels, predictions = batch(1)
    width = 1 if type(evaluation) is ROC else 2
    evaluation.eval(labels[:, :width], predictions[:, :width])
    assert type(evaluation).from_json(evaluation.to_json()) == evaluation


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Evaluation, {"top_n": 2.5}, "top_n=2.5: expected at least 1."),
        (Evaluation, {"top_n": "3"}, "top_n='3': expected at least 1."),
        (Evaluation, {"num_classes": 2.7}, "num_classes=2.7: expected at least 1."),
        (Evaluation, {"positive_class": True}, "positive_class=True: expected 0, 1 or None."),
        (Evaluation, {"positive_class": 2}, "positive_class=2: expected 0, 1 or None."),
        (Evaluation, {"threshold": "x"}, "threshold='x': expected a probability, 0 to 1."),
        (Evaluation, {"threshold": np.nan}, "threshold=nan: expected a probability, 0 to 1."),
        (Evaluation, {"labels": 5}, "labels=5: expected a list with one name for each class or output."),
        (
            Evaluation,
            {"labels": {"a": 1, 0: 2}},
            "labels have the keys ['a', 0], expected 0 to 1. Name every class once.",
        ),
        (
            Evaluation,
            {"cost_array": [[1, 2], [3, 4]]},
            "cost_array=[[1, 2], [3, 4]]: expected a row of factors, none of them negative.",
        ),
        (Evaluation, {"cost_array": []}, "cost_array=[]: expected a row of factors, none of them negative."),
        (Evaluation, {"cost_array": "ab"}, "cost_array='ab': expected a row of factors, none of them negative."),
        (ROC, {"remove_redundant": 1}, "remove_redundant=1: expected True or False."),
        (EvaluationCalibration, {"exclude_empty_bins": None}, "exclude_empty_bins=None: expected True or False."),
    ],
)
def test_options_that_cannot_work(cls, options, message):
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        cls(**options)


@pytest.mark.parametrize("template", EXACT, ids=named)
def test_the_order_of_the_examples_does_not_matter(template):
    labels, predictions = batch(1)
    assert evaluated(template, labels, predictions) == evaluated(template, labels[::-1], predictions[::-1])
    assert evaluated(template, labels, predictions) != evaluated(template, labels[::-1], predictions)


@pytest.mark.parametrize(
    "template", [ROCBinary(), ROCBinary(10), EvaluationBinary(2, 10), EvaluationBinary()], ids=named
)
def test_what_a_mask_left_out_is_not_compared(template):
    labels, predictions = batch(1)
    mask = np.ones((12, 2))
    mask[6:] = 0
    assert evaluated(template, labels, predictions, mask) == evaluated(template, labels[:6], predictions[:6])


@pytest.mark.parametrize("template", VARIANTS, ids=named)
def test_the_dtype_before_a_reset_is_forgotten(template):
    labels, predictions = (array.astype("f4") for array in batch(1))
    evaluation = evaluated(template, *batch(2))
    evaluation.reset()
    evaluation.eval(labels, predictions)
    assert evaluation == evaluated(template, labels, predictions)


def test_evaluations_without_options_are_equal_to_themselves():
    class Counting(BaseEvaluation):
        """Counts rows, and does not say how to write itself."""

        _check = reset = merge = stats = _accumulate = lambda self, *_: None

    one, other = Counting(), Counting()
    assert one == one  # that is the test
    assert one != other
    message = "Counting cannot be written as JSON: it has no _options(), _state() and _set_state(state). Define them."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        one.to_json()


@pytest.mark.parametrize(
    "cls", [Evaluation, EvaluationBinary, EvaluationCalibration, ROCBinary, ROCMultiClass], ids=lambda cls: cls.__name__
)
def test_names_are_taken_from_an_evaluation_without_data(cls):
    labels, predictions = batch(1, classes=3)
    evaluation = evaluated(cls(), labels, predictions)
    evaluation.merge(cls(labels=list("abc")))
    assert evaluation.labels == ("a", "b", "c")
    other = evaluated(cls(), labels, predictions)
    with pytest.raises(ShapeError, match=r"^.* (2 classes|2 outputs|2 columns)\b.*\.$"):
        other.merge(cls(labels=list("ab")))
    assert other.labels == ()


@pytest.mark.parametrize(("names", "told"), [("a", "1 label"), ("ab", "2 labels")])
def test_names_for_another_number_of_classes(names, told):
    message = f"Evaluation with {told} got predictions with 3 columns. Name every class once."
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        Evaluation(labels=list(names)).eval(*batch(1, classes=3))


def test_names_reach_the_nested_roc():
    evaluation = evaluated(EvaluationBinary(roc_binary_steps=0), *batch(1))
    evaluation.merge(EvaluationBinary(roc_binary_steps=0, labels=["a", "b"]))
    assert evaluation.roc_binary.labels == ("a", "b")


def test_queries_of_metadata_before_data_give_none():
    evaluation = Evaluation()
    assert evaluation.get_predictions_by_actual_class(0) is None
    assert evaluation.get_prediction_by_predicted_class(0) is None
    assert evaluation.get_predictions(0, 1) is None
    assert evaluation.get_prediction_errors() is None
    assert EvaluationBinary().get_prediction_errors(0) is None


def test_metadata_may_be_any_iterable_but_must_be_one():
    labels, predictions = batch(1)
    evaluation = Evaluation()
    evaluation.eval(labels, predictions, metadata=(str(row) for row in range(12)))
    assert len(evaluation.get_predictions_by_actual_class(0)) == (labels[:, 0] == 1).sum()
    with pytest.raises(DtypeError, match=r"^Evaluation: metadata=5 is no list\. Give one item for each example\.$"):
        evaluation.eval(labels, predictions, metadata=5)
    assert evaluation.row_count == 12


@pytest.mark.parametrize("metric", ["precision", "recall", "f1", "matthews_correlation", "g_measure"])
@pytest.mark.parametrize("arguments", [(), (0,)])
def test_an_unknown_average(metric, arguments):
    evaluation = evaluated(Evaluation(), *batch(1))
    with pytest.raises(ConfigurationError, match=r"^averaging='bogus' is not known\. Choose one of: MACRO, MICRO\.$"):
        getattr(evaluation, metric)(*arguments, averaging="bogus")


@pytest.mark.parametrize("beta", [-2, np.nan, np.inf, 1e200])
def test_a_beta_that_cannot_be(beta):
    message = f"beta={beta!r}: expected a number of at least 0, such as 1 for F1."
    for measure in evaluated(Evaluation(), *batch(1)).f_beta, evaluated(EvaluationBinary(), *batch(1)).f_beta:
        with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
            measure(beta, 0)


def test_wide_floats_are_doubles():
    labels, predictions = batch(1)
    evaluation = evaluated(ROCMultiClass(), labels, predictions.astype(np.longdouble))
    assert ROCMultiClass.from_json(evaluation.to_json()) == evaluated(ROCMultiClass(), labels, predictions)


@pytest.mark.parametrize(
    ("template", "damage"),
    [
        (Evaluation(), ('"classes": 2', '"classes": 2.0')),
        (RegressionEvaluation(), ('"spread_of_labels": [', '"spread_of_labels": [-')),
        (ROCBinary(), ('"columns": 2', '"columns": 2.0')),
        (EvaluationBinary(), ('"outputs": 2', '"outputs": 2.0')),
        (EvaluationCalibration(), ('"classes": 2', '"classes": 2.0')),
    ],
    ids=["Evaluation", "Regression", "ROCBinary", "Binary", "Calibration"],
)
def test_states_that_cannot_be(template, damage):
    text = evaluated(template, *batch(1)).to_json()
    assert damage[0] in text
    with pytest.raises(
        ConfigurationError, match=r"^this JSON of \w+ is damaged \(ValueError: .*\)\. Pass the text that"
    ):
        type(template).from_json(text.replace(*damage))


def test_points_that_are_not_there():
    roc = ROC()
    roc.eval(np.zeros((3, 1)), np.array([[0.1], [0.2], [0.3]]))
    curve = roc.get_precision_recall_curve()
    with pytest.raises(
        DataError, match=r"^the curve has no recall, as no example is positive\. Evaluate some that are\.$"
    ):
        curve.get_point_at_recall(0.5)
    with pytest.raises(DataError, match=r"^threshold is NaN\. Ask for a probability, 0 to 1\.$"):
        curve.get_point_at_threshold(np.nan)
