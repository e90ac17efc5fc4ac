"""What the tests of evaluations share: every class, found by reflection, with options; batches; what was counted."""

import copy

import numpy as np

import minidl.eval
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
from minidl.eval.states import unpacked

CLASSES = [
    public
    for name in minidl.eval.__all__
    if isinstance(public := getattr(minidl.eval, name), type)
    and issubclass(public, BaseEvaluation)
    and public is not BaseEvaluation
]
VARIANTS = [
    *(cls() for cls in CLASSES),
    Evaluation(top_n=2, labels=["no", "yes"]),
    Evaluation(threshold=0.3, positive_class=0),
    Evaluation(cost_array=[1, 2]),
    EvaluationBinary(2, 0, threshold=[0.25, 0.5], labels=["a", "b"]),
    EvaluationBinary(roc_binary_steps=20),
    EvaluationCalibration(4, 7, False),
    ROC(20),
    ROC(expected_examples=3),
    ROCBinary(20),
    ROCBinary(labels=["a", "b"], remove_redundant=False),
    ROCMultiClass(20),
    RegressionEvaluation(["a", "b"], precision=3),
]


def named(template):
    """Return a name for a case: the class and the options that are not the usual ones."""
    usual = type(template)()._options()
    options = [f"{name}={value}" for name, value in template._options().items() if value != usual[name]]
    return "-".join([type(template).__name__, *options])


def batch(seed, rows=12, classes=2):
    """Return one-hot labels and probabilities, with ties."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 4, (rows, classes))
    return np.eye(classes)[rng.integers(0, classes, rows)], weights / weights.sum(axis=1, keepdims=True)


def joined(*batches):
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def evaluated(template, labels, predictions, mask=None):
    evaluation = copy.deepcopy(template)
    evaluation.eval(labels, predictions, mask)
    return evaluation


def counted(evaluation):
    """Return the report and all that was counted, as flat lists of numbers, whatever the order of the examples."""
    return evaluation.stats(), _numbers(evaluation._state())


def _numbers(state):
    found = {}
    for name, value in state.items():
        if name == "scores":
            pairs = np.stack([unpacked(state, "scores"), unpacked(state, "outcomes")], axis=-1)
            found[name] = [sorted(map(tuple, column.tolist())) for column in pairs]
        elif name.startswith("mean_"):  # kept as a distance from an origin, that of the first batch
            origin = state[name.replace("mean_", "origin_of_")]
            found[name] = [a + b for a, b in zip(origin, value, strict=True)]
        elif name.startswith("origin_of_"):
            continue
        elif isinstance(value, dict):
            if name != "outcomes":
                found[name] = _numbers(value)
        else:
            found[name] = value
    return found


def assert_same(one, other, rel=0.0):
    """Check that two evaluations counted the same: whole numbers exactly, sums of real numbers to ``rel``."""
    (report, numbers), (other_report, other_numbers) = counted(one), counted(other)
    assert report == other_report or rel  # printed digits may turn where sums differ by rounding
    _assert_same_numbers(numbers, other_numbers, rel)


def _assert_same_numbers(mine, theirs, rel):
    assert type(mine) is type(theirs)
    if isinstance(mine, dict):
        assert mine.keys() == theirs.keys()
        for name in mine:
            _assert_same_numbers(mine[name], theirs[name], rel)
    elif isinstance(mine, list) and mine and isinstance(mine[0], float if rel == 0 else float | list):
        np.testing.assert_allclose(mine, theirs, rtol=rel, atol=rel)
    else:
        assert mine == theirs
