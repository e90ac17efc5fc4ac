"""What every evaluation keeps, found by reflection, so that a new class is tested as soon as it exists."""

import copy
import inspect
import pickle
import pkgutil
import re

import numpy as np
import pytest
from evaluations import CLASSES, VARIANTS, assert_same, batch, counted, evaluated, joined, named
from hypothesis import given
from hypothesis import strategies as st

import minidl.eval
from minidl.errors import ConfigurationError, DataError, DtypeError, NotInitializedError, ShapeError
from minidl.eval import (
    BaseEvaluation,
    Evaluation,
    EvaluationBinary,
    EvaluationBinaryMetric,
    RegressionEvaluation,
    RegressionMetric,
    ROCBinary,
    ROCMetric,
)

METRICS_OF_OUTPUTS = {
    ROCBinary: ROCMetric,
    EvaluationBinary: EvaluationBinaryMetric,
    RegressionEvaluation: RegressionMetric,
}

each = pytest.mark.parametrize("template", VARIANTS, ids=named)


def wants_probabilities(template):
    if isinstance(template, Evaluation):
        return template.threshold is not None or template.cost_array is not None
    return type(template).__name__ != "RegressionEvaluation"


def bad_inputs():
    labels, predictions = batch(0, 4)
    nan = np.where(np.arange(8).reshape(4, 2) == 7, np.nan, predictions)
    return {
        "NaN in predictions": (DataError, (labels, nan)),
        "NaN in labels": (DataError, (nan, predictions)),
        "NaN in the mask": (DataError, (labels, predictions, nan[:, 1])),
        "another width": (ShapeError, (np.ones((4, 7)), np.ones((4, 7)))),
        "another batch": (ShapeError, (labels[:3], predictions)),
        "empty": (DataError, (labels[:0], predictions[:0])),
        "another mask": (ShapeError, (labels, predictions, np.ones(3))),
        "a mask per output": (ShapeError, (labels, predictions, np.ones((4, 2)))),
        "rank 1": (ShapeError, (labels[:, 0], predictions[:, 0])),
        "rank 6": (ShapeError, (np.ones((2,) * 6), np.ones((2,) * 6))),
        "above 1": (DataError, (labels, predictions + 1)),
        "below 0": (DataError, (labels, predictions - 1)),
        "complex": (DtypeError, (labels, predictions + 0j)),
        "text": (DtypeError, (labels.astype("U3"), predictions)),
        "ragged": (ShapeError, (labels, [[1, 0], [1]])),
        "class index": (DataError, (np.array([0, 1, 2, 0]), predictions)),
    }


def problems(template):
    """Return the names of the bad inputs that this evaluation must refuse."""
    accepted = template._accepted
    fine = {"a mask per output"} if accepted.output_masks else set()
    return bad_inputs().keys() - fine - (set() if wants_probabilities(template) else {"above 1", "below 0"})


def bad_cases():
    return [
        pytest.param(template, name, id=f"{named(template)}-{name}")
        for template in VARIANTS
        for name in sorted(problems(template))
    ]


def error_of(template, problem):
    error, arguments = bad_inputs()[problem]
    if problem == "class index" and not template._accepted.class_indices:
        error = ShapeError
    return error, arguments


@each
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_merging_any_split_in_any_order_equals_one_pass(template, data, seed):
    """Counts exactly, sums of real numbers to 1e-12; some parts are empty, and merges are nested."""
    labels, predictions = batch(seed)
    order = np.array(data.draw(st.permutations(range(12))))
    cuts = sorted(data.draw(st.lists(st.integers(0, 12), max_size=4)))
    merged, pending = copy.deepcopy(template), copy.deepcopy(template)
    for start, end in zip([0, *cuts], [*cuts, 12], strict=True):
        part, rows = copy.deepcopy(template), order[start:end]
        if len(rows):
            part.eval(labels[rows], predictions[rows])
        if data.draw(st.booleans()):
            pending.merge(part)
        else:
            part.merge(pending)
            merged.merge(part)
            pending = copy.deepcopy(template)
    merged.merge(pending)
    assert_same(merged, evaluated(template, labels, predictions), rel=1e-12)


def test_every_evaluation_class_is_public():
    found = set()
    for module in pkgutil.iter_modules(minidl.eval.__path__, "minidl.eval."):
        members = vars(__import__(module.name, fromlist=["_"])).values()
        found |= {m for m in members if inspect.isclass(m) and issubclass(m, BaseEvaluation)}
    public = {cls for cls in found if not cls.__abstractmethods__}
    assert public == set(CLASSES)
    assert {type(template) for template in VARIANTS} == public


@each
def test_batches_equal_one_pass(template):
    labels, predictions = batch(1)
    evaluation = copy.deepcopy(template)
    for row in range(12):
        evaluation.eval(labels[row : row + 1], predictions[row : row + 1])
    assert_same(evaluation, evaluated(template, labels, predictions), rel=1e-12)


@each
def test_merge_leaves_the_other_as_it_is_and_shares_nothing(template):
    merged, other = copy.deepcopy(template), evaluated(template, *batch(1))
    before = counted(other)
    merged.merge(other)
    assert counted(merged) == counted(other) == before
    merged.eval(*batch(2))
    assert counted(other) == before
    other.eval(*batch(3))
    assert_same(merged, evaluated(template, *joined(batch(1), batch(2))), rel=1e-12)


@each
def test_merge_of_no_data_changes_nothing(template):
    evaluation = evaluated(template, *batch(1))
    before = counted(evaluation)
    evaluation.merge(copy.deepcopy(template))
    assert counted(evaluation) == before


@each
def test_merge_with_itself_counts_twice(template):
    evaluation, twice = evaluated(template, *batch(1)), evaluated(template, *batch(1))
    evaluation.merge(evaluation)
    twice.eval(*batch(1))
    assert_same(evaluation, twice, rel=1e-12)


@each
def test_merge_of_another_class(template):
    class Another(type(template)):
        """Not of the same class."""

    name = type(template).__name__
    message = f"cannot merge Another into {name}. Merge evaluations of one class only."
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        copy.deepcopy(template).merge(Another())


@each
def test_reset_and_the_same_data_give_the_same_report(template):
    evaluation, empty = evaluated(template, *batch(1)), copy.deepcopy(template)
    before = counted(evaluation)
    evaluation.reset()
    assert counted(evaluation) == counted(empty) != before
    evaluation.eval(*batch(1))
    assert counted(evaluation) == before


@pytest.mark.parametrize(("template", "problem"), bad_cases())
def test_bad_input_raises_and_changes_nothing(template, problem):
    error, arguments = error_of(template, problem)
    evaluation = evaluated(template, *batch(1))
    before = counted(evaluation)
    with pytest.raises(error, match=rf"^.*\b{type(template).__name__}\b.*\.$"):
        evaluation.eval(*arguments)
    assert counted(evaluation) == before
    evaluation.eval(*batch(2))
    assert_same(evaluation, evaluated(template, *joined(batch(1), batch(2))), rel=1e-12)


@pytest.mark.parametrize(("template", "problem"), [case for case in bad_cases() if case.values[1] != "another width"])
def test_bad_first_input_leaves_no_trace(template, problem):
    error, arguments = error_of(template, problem)
    evaluation = copy.deepcopy(template)
    with pytest.raises(error, match=rf"^.*\b{type(template).__name__}\b.*\.$"):
        evaluation.eval(*arguments)
    assert counted(evaluation) == counted(copy.deepcopy(template))


@each
@pytest.mark.parametrize("metric", ["accurracy", "AUC of ROC", None])
def test_unknown_metric(template, metric):
    if not hasattr(template, "score_for_metric"):
        assert type(template).__name__ == "EvaluationCalibration"
        return
    evaluation = evaluated(template, *batch(1))
    with pytest.raises(ConfigurationError, match=rf"^metric={metric!r} is not known\. Choose one of: [A-Z0-9, ]+\.$"):
        evaluation.score_for_metric(metric)


RESULTS = {
    "Evaluation": [("accuracy",), ("f1",), ("counts",), ("score_for_metric", "MCC"), ("plot_confusion_matrix",)],
    "EvaluationBinary": [("accuracy", 0), ("average_f1",), ("score_for_metric", "FAR"), ("counts", 0)],
    "EvaluationCalibration": [
        ("get_reliability_diagram", 0),
        ("get_residual_plot_all_classes",),
        ("expected_calibration_error", 0),
        ("plot_reliability_diagram",),
        ("plot_residuals",),
        ("plot_probabilities", 0),
    ],
    "ROCBinary": [("calculate_auc", 0), ("calculate_average_auc",), ("plot",), ("plot_precision_recall",)],
    "ROCMultiClass": [("calculate_auc_pr", 0), ("score_for_metric", "AUPRC"), ("plot",), ("get_roc_curve", 0)],
    "RegressionEvaluation": [("mean_squared_error", 0), ("average_r_squared",), ("score_for_metric", "PC", 0)],
}


@each
def test_results_before_data(template):
    name = type(template).__name__
    message = f"^{name}: no evaluation has been performed\\. Call eval\\(labels, predictions\\) first\\.$"
    if name == "ROC":  # as in DL4J
        assert np.isnan([template.calculate_auc(), template.calculate_auc_pr()]).all()
        return
    for method, *arguments in RESULTS[name]:
        with pytest.raises(NotInitializedError, match=message):
            getattr(template, method)(*arguments)


@each
def test_json_gives_an_equal_evaluation_that_goes_on(template):
    evaluation = evaluated(template, *batch(1))
    for original in copy.deepcopy(template), evaluation:
        for base in type(template), BaseEvaluation:
            read = base.from_json(original.to_json())
            assert read == original
            assert read.axis == original.axis
            assert counted(read) == counted(original)
    read.eval(*batch(2))
    evaluation.eval(*batch(2))
    assert read == evaluation
    assert read.to_json() == evaluation.to_json()
    assert pickle.loads(pickle.dumps(evaluation)) == evaluation


@each
def test_evaluations_of_other_counts_or_options_differ(template):
    evaluation = evaluated(template, *batch(1))
    assert evaluation != copy.deepcopy(template)
    assert evaluation != evaluated(template, *batch(2))
    assert evaluation != "an evaluation"
    assert [one for one in VARIANTS if one == copy.deepcopy(template)] == [template]
    moved = copy.deepcopy(evaluation)
    moved.axis = -1
    assert moved == evaluation


@each
def test_damaged_json(template):
    text = evaluated(template, *batch(1)).to_json()
    name = type(template).__name__
    for damaged in (
        re.sub(r'"state": .*', '"state": {"classes": 2}}', text),
        text.replace('"axis": 1', '"axes": 1'),
        re.sub(r"\[\d+", "[-1", text),
        re.sub(r'"base64": "..', '"base64": "', text).replace('": [', '": [[],'),
    ):
        assert damaged != text
        with pytest.raises(ConfigurationError, match=r"^.*\.$"):
            type(template).from_json(damaged)
    for no_json in None, "", "[1]", '{"class": 3}', "{" * 10**5, text[:-1]:
        with pytest.raises(ConfigurationError, match=r"^this is not the JSON of an evaluation \(.*\)\. Pass the text"):
            type(template).from_json(no_json)
    for no_name in "[]", "{}", "null", "7":
        with pytest.raises(ConfigurationError, match=r"^this JSON holds .*, expected one of: "):
            type(template).from_json(text.replace(f'"{name}"', no_name))
    known = r"\. Import the module that defines it first, or call BaseEvaluation\.from_json\(\)\.$"
    with pytest.raises(ConfigurationError, match=rf"^this JSON holds 'Other', expected one of: .*{name}.*{known}"):
        type(template).from_json(text.replace(name, "Other"))


@each
@pytest.mark.parametrize("axis", [1.0, "1", 5, -5, True, None])
def test_axis_that_is_none(template, axis):
    message = (
        f"axis={axis!r} is no axis of the classes. Use 1 for (batch, classes, ...), or -1 where the classes are last."
    )
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        type(template)(axis=axis)


@each
def test_axis_out_of_range(template):
    name = type(template).__name__
    for axis, shape, fitting in (
        (2, (4, 2), "1"),
        (0, (4, 2), "1"),
        (3, (4, 2, 3), "0 to 2"),
        (-4, (4, 2, 3), "0 to 2"),
    ):
        evaluation = type(template)(axis=axis)
        message = (
            f"{name}: axis={axis} cannot be the axis of the classes in predictions of shape {shape}, expected "
            f"{fitting}. Create it with the axis of your data: {name}(axis=1), for example."
        )
        with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
            evaluation.eval(np.ones(shape), np.ones(shape))


@each
@pytest.mark.parametrize("places", [(2, 3), (2, 3, 5), (2, 3, 2, 2)], ids=["series", "images", "volumes"])
@pytest.mark.parametrize("masked", ["no", "examples", "places"])
def test_any_axis_equals_the_rows(template, places, masked):
    labels, predictions = batch(1, rows=int(np.prod(places)))
    keep = np.ones(places, bool)
    if masked == "examples":
        keep[1] = False
    elif masked == "places":
        keep.reshape(-1)[::2] = False
    mask = {"no": None, "examples": keep.reshape(2, -1)[:, 0].astype("f4"), "places": keep.astype("f4")}[masked]
    expected = evaluated(template, labels[keep.ravel()], predictions[keep.ravel()])
    for axis in [*range(len(places) + 1), -1]:
        evaluation = copy.deepcopy(template)
        evaluation.axis = axis
        arrays = [np.moveaxis(a.reshape(*places, 2), -1, axis) for a in (labels, predictions)]
        evaluation.eval(*arrays, mask)
        assert_same(evaluation, expected, rel=1e-12)


@each
def test_masks_of_outputs(template):
    """What they leave out counts for nothing, and may be NaN. Where they cannot be, they are among the bad inputs."""
    if not template._accepted.output_masks:
        return
    labels, predictions = batch(1)
    for mask in np.ones((12, 2)), np.arange(24).reshape(12, 2) % 3 > 0, np.tile([1, 0], (12, 1)), np.zeros((12, 2)):
        evaluation = evaluated(template, labels, predictions, mask)
        labels_with_gaps, predictions_with_gaps = (np.where(mask, a, np.nan) for a in (labels, predictions))
        assert counted(evaluated(template, labels_with_gaps, predictions_with_gaps, mask)) == counted(evaluation)
        series = [a.reshape(4, 3, 2).transpose(0, 2, 1) for a in (labels_with_gaps, predictions_with_gaps, mask)]
        assert_same(evaluated(template, *series), evaluation, rel=1e-12)
        for output in range(2):
            kept = mask[:, output] != 0
            if kept.any():
                alone = evaluated(template, labels[kept], predictions[kept])
                for metric in METRICS_OF_OUTPUTS[type(template)]:
                    ours, expected = (e.score_for_metric(metric, output) for e in (evaluation, alone))
                    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@each
def test_nothing_is_kept_of_what_was_handed_in(template):
    labels, predictions = batch(1)
    evaluation = evaluated(template, labels, predictions)
    before = counted(evaluation)
    labels[:], predictions[:] = np.nan, np.nan
    assert counted(evaluation) == before


@each
def test_inputs_are_not_written(template):
    arrays = [*batch(1), np.arange(12) % 3]
    for array in arrays:
        array.flags.writeable = False
    copies = [array.copy() for array in arrays]
    evaluated(template, *arrays)
    for array, before in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, before)


@each
@pytest.mark.parametrize("shape", [(12,), (12, 1)])
@pytest.mark.parametrize("dtype", ["f4", "i8", "?"])
def test_masked_rows_are_left_out(template, shape, dtype):
    labels, predictions = batch(1)
    mask = (np.arange(12) % 3 > 0).astype(dtype)
    kept = evaluated(template, labels[mask != 0], predictions[mask != 0])
    labels[mask == 0], predictions[mask == 0] = np.nan, np.nan
    assert counted(evaluated(template, labels, predictions, mask.reshape(shape))) == counted(kept)


@each
def test_fully_masked_batch_changes_nothing(template):
    evaluation, empty = copy.deepcopy(template), copy.deepcopy(template)
    evaluation.eval(*batch(1), np.zeros(12))
    assert counted(evaluation) == counted(empty)


@each
@pytest.mark.parametrize("view", ["F", "strided", "reversed", "lists"])
def test_any_memory_order_gives_the_same(template, view):
    def changed(a):
        wide = np.repeat(np.repeat(a, 2, axis=0), 2, axis=1)
        views = {
            "F": np.asfortranarray(a),
            "strided": wide[::2, ::2],
            "reversed": a[::-1, ::-1].copy()[::-1, ::-1],
            "lists": a.tolist(),
        }
        return views[view]

    labels, predictions = batch(1)
    expected = evaluated(template, labels, predictions)
    assert counted(evaluated(template, changed(labels), changed(predictions))) == counted(expected)


@each
@pytest.mark.parametrize("masked", [False, True])
def test_series_equal_their_rows(template, masked):
    labels, predictions = batch(1)
    series = [a.reshape(4, 3, 2).transpose(0, 2, 1) for a in (labels, predictions)]
    mask = np.arange(12).reshape(4, 3) % 3 if masked else None  # 2 is not exactly 1
    kept = slice(None) if mask is None else mask.ravel() == 1
    expected = evaluated(template, labels[kept], predictions[kept])
    assert counted(evaluated(template, *series, mask)) == counted(expected)


@each
def test_class_indices_equal_one_hot_labels(template):
    if not template._accepted.class_indices:
        return
    labels, predictions = batch(1)
    expected = evaluated(template, labels, predictions).stats()
    for indices in labels.argmax(axis=1), labels.argmax(axis=1).astype("u1"), labels[:, 1].astype(bool):
        assert evaluated(template, indices, predictions).stats() == expected
    series = predictions.reshape(4, 3, 2).transpose(0, 2, 1)
    assert evaluated(template, labels.argmax(axis=1).reshape(4, 3), series).stats() == expected


@each
def test_batches_of_any_size_and_dtype_in_turn(template):
    evaluation, parts = copy.deepcopy(template), []
    for seed, (rows, dtype) in enumerate([(3, "f4"), (9, "f8"), (1, "f4"), (20, "f2")]):
        labels, predictions = batch(seed, rows)
        predictions = np.round(predictions * 8) / 8  # the same number in every dtype
        parts.append((labels, predictions))
        evaluation.eval(labels.astype(dtype), predictions.astype(dtype))
    assert_same(evaluation, evaluated(template, *joined(*parts)), rel=1e-12)
