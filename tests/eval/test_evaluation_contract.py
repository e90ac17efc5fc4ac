"""What every evaluation keeps, found by reflection, so that a new class is tested as soon as it exists."""

import copy
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ConfigurationError, DataError, DtypeError, ShapeError
from minidl.eval import ROC, BaseEvaluation, Evaluation, ROCMultiClass


def subclasses(cls):
    return {cls} | {deeper for child in cls.__subclasses__() for deeper in subclasses(child)}


CLASSES = sorted(
    (cls for cls in subclasses(BaseEvaluation) if cls.__module__.startswith("minidl.")),
    key=lambda cls: cls.__name__,
)
CLASSES.remove(BaseEvaluation)
VARIANTS = [
    *(cls() for cls in CLASSES),
    Evaluation(top_n=2),
    ROC(20),
    ROC(expected_examples=3),
    ROCMultiClass(20),
]


def named(template):
    return "-".join([type(template).__name__, *(str(v) for v in vars(template).values() if type(v) is int)])


each = pytest.mark.parametrize("template", VARIANTS, ids=named)


def batch(seed, rows=12):
    """Return one-hot labels and probabilities, with ties, of two classes."""
    rng = np.random.default_rng(seed)
    positive = rng.integers(0, 9, rows) / 8
    return np.eye(2)[rng.integers(0, 2, rows)], np.stack([1 - positive, positive], axis=1)


def joined(*batches):
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def evaluated(template, labels, predictions, mask=None):
    evaluation = copy.deepcopy(template)
    evaluation.eval(labels, predictions, mask)
    return evaluation


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
        "rank 4": (ShapeError, (np.ones((2, 2, 2, 2)), np.ones((2, 2, 2, 2)))),
        "complex": (DtypeError, (labels, predictions + 0j)),
        "text": (DtypeError, (labels.astype("U3"), predictions)),
        "ragged": (ShapeError, (labels, [[1, 0], [1]])),
        "class index": (DataError, (np.array([0, 1, 2, 0]), predictions)),
    }


@each
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 11))
def test_merge_equals_one_pass(template, seed, cut):
    labels, predictions = batch(seed)
    merged = copy.deepcopy(template)
    for part in slice(0, cut), slice(cut, None):
        merged.merge(evaluated(template, labels[part], predictions[part]))
    assert merged.stats() == evaluated(template, labels, predictions).stats()


@each
def test_batches_equal_one_pass(template):
    labels, predictions = batch(1)
    evaluation = copy.deepcopy(template)
    for row in range(12):
        evaluation.eval(labels[row : row + 1], predictions[row : row + 1])
    assert evaluation.stats() == evaluated(template, labels, predictions).stats()


@each
def test_merge_leaves_the_other_as_it_is_and_shares_nothing(template):
    merged, other = copy.deepcopy(template), evaluated(template, *batch(1))
    before = other.stats()
    merged.merge(other)
    assert merged.stats() == other.stats() == before
    merged.eval(*batch(2))
    assert other.stats() == before
    other.eval(*batch(3))
    assert merged.stats() == evaluated(template, *joined(batch(1), batch(2))).stats()


@each
def test_merge_of_no_data_changes_nothing(template):
    evaluation = evaluated(template, *batch(1))
    before = evaluation.stats()
    evaluation.merge(copy.deepcopy(template))
    assert evaluation.stats() == before


@each
def test_merge_with_itself_counts_twice(template):
    evaluation, twice = evaluated(template, *batch(1)), evaluated(template, *batch(1))
    evaluation.merge(evaluation)
    twice.eval(*batch(1))
    assert evaluation.stats() == twice.stats()


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
    before = evaluation.stats()
    evaluation.reset()
    assert evaluation.stats() == empty.stats() != before
    evaluation.eval(*batch(1))
    assert evaluation.stats() == before


@each
@pytest.mark.parametrize("problem", bad_inputs())
def test_bad_input_raises_and_changes_nothing(template, problem):
    error, arguments = bad_inputs()[problem]
    evaluation = evaluated(template, *batch(1))
    before = evaluation.stats()
    with pytest.raises(error, match=rf"^.*\b{type(template).__name__}\b.*\.$"):
        evaluation.eval(*arguments)
    assert evaluation.stats() == before
    evaluation.eval(*batch(2))
    assert evaluation.stats() == evaluated(template, *joined(batch(1), batch(2))).stats()


@each
@pytest.mark.parametrize("problem", sorted(bad_inputs().keys() - {"another width"}))
def test_bad_first_input_leaves_no_trace(template, problem):
    error, arguments = bad_inputs()[problem]
    evaluation = copy.deepcopy(template)
    with pytest.raises(error, match=rf"^.*\b{type(template).__name__}\b.*\.$"):
        evaluation.eval(*arguments)
    assert evaluation.stats() == copy.deepcopy(template).stats()


@each
def test_nothing_is_kept_of_what_was_handed_in(template):
    labels, predictions = batch(1)
    evaluation = evaluated(template, labels, predictions)
    before = evaluation.stats()
    labels[:], predictions[:] = np.nan, np.nan
    assert evaluation.stats() == before


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
    assert evaluated(template, labels, predictions, mask.reshape(shape)).stats() == kept.stats()


@each
def test_fully_masked_batch_changes_nothing(template):
    evaluation, empty = copy.deepcopy(template), copy.deepcopy(template)
    evaluation.eval(*batch(1), np.zeros(12))
    assert evaluation.stats() == empty.stats()


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
    expected = evaluated(template, labels, predictions).stats()
    assert evaluated(template, changed(labels), changed(predictions)).stats() == expected


@each
@pytest.mark.parametrize("masked", [False, True])
def test_series_equal_their_rows(template, masked):
    labels, predictions = batch(1)
    series = [a.reshape(4, 3, 2).transpose(0, 2, 1) for a in (labels, predictions)]
    mask = np.arange(12).reshape(4, 3) % 3 if masked else None  # 2 is not exactly 1
    kept = slice(None) if mask is None else mask.ravel() == 1
    expected = evaluated(template, labels[kept], predictions[kept])
    assert evaluated(template, *series, mask).stats() == expected.stats()


@each
def test_class_indices_equal_one_hot_labels(template):
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
        parts.append((labels, predictions))
        evaluation.eval(labels.astype(dtype), predictions.astype(dtype))
    assert evaluation.stats() == evaluated(template, *joined(*parts)).stats()
