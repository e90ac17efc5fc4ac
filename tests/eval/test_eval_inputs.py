"""The messages of the common input handling; what it accepts is in test_evaluation_contract.py."""

import re

import numpy as np
import pytest

from minidl.errors import DataError, DtypeError, ShapeError
from minidl.eval import Evaluation

EYE = np.eye(3)
NAN = np.where(EYE == 1, np.nan, EYE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (np.ones(3), np.ones(3)),
            "Evaluation: predictions have shape (3,), expected (batch, n_out), (batch, n_out, time), or up to 5 axes. "
            "Reshape them, one column with predictions[:, None].",
        ),
        (
            (EYE[:2], EYE),
            "Evaluation: labels of shape (2, 3) do not fit predictions of shape (3, 3). "
            "Give labels of shape (3, 3), or integer class indices of shape (3,).",
        ),
        (
            (EYE, EYE, np.ones(2)),
            "Evaluation: the mask does not fit: got a mask of shape (2,) for predictions of shape (3, 3). "
            "Give a mask of shape (3,) or (3, 1).",
        ),
        (
            (EYE, EYE, EYE),
            "Per-output masking for Evaluation is not supported: got a mask of shape (3, 3) for predictions of "
            "shape (3, 3). Give a mask of shape (3,) or (3, 1).",
        ),
        (
            (np.ones((2, 3, 4)), np.ones((2, 3, 4)), np.ones(4)),
            "Evaluation: the mask does not fit: got a mask of shape (4,) for predictions of shape (2, 3, 4). "
            "Give a mask of shape (2,) or (2, 1) or (2, 4).",
        ),
    ],
)
def test_shape_errors(arguments, message):
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        Evaluation().eval(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (EYE[:0], EYE[:0]),
            "Evaluation: predictions of shape (0, 3) are empty. Leave empty batches out.",
        ),
        (
            (EYE, NAN),
            "Evaluation: predictions contain NaN. Find where it comes from, or mask these rows out.",
        ),
        ((NAN, EYE), "Evaluation: labels contain NaN. Find where it comes from, or mask these rows out."),
        (
            (EYE, EYE, NAN[0]),
            "Evaluation: the mask contains NaN. Use 1 for rows that count, 0 for the others.",
        ),
        (
            (np.array([-1, 0, 3]), EYE),
            "Evaluation: class indices from -1 to 3 do not fit predictions with 3 classes. "
            "Use 0 to 2, and mask out rows without a class.",
        ),
    ],
)
def test_data_errors(arguments, message):
    """Row 114 is among them: the text contains NaN."""
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        Evaluation().eval(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (EYE, EYE * 1j),
            "Evaluation: predictions have dtype complex128, expected real numbers. "
            "Convert them, for example with astype('float32').",
        ),
        (
            (np.zeros(3), EYE),
            "Evaluation: labels of shape (3,) are class indices, but have dtype float64. "
            "Convert them with labels.astype(int).",
        ),
    ],
)
def test_dtype_errors(arguments, message):
    with pytest.raises(DtypeError, match=f"^{re.escape(message)}$"):
        Evaluation().eval(*arguments)


def test_masked_rows_may_have_any_class_index():
    evaluation = Evaluation()
    evaluation.eval(np.array([0, -1, 99]), EYE, mask=[1, 0, 0])
    assert evaluation.row_count == 1
