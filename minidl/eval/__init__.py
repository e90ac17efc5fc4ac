"""Evaluation of predictions: counts that accumulate over batches, metrics, curves, reports and pictures."""

from .base import BaseEvaluation, check_evaluations, check_labels, eval_together
from .binary import EvaluationBinary
from .calibration import EvaluationCalibration, Histogram, ReliabilityDiagram
from .confusion import EvaluationMetric
from .curves import BinaryConfusion, PrecisionRecallCurve, PrecisionRecallPoint, RocCurve
from .evaluation import Evaluation
from .metrics import BinaryCounts, EvaluationAveraging
from .output_metrics import EvaluationBinaryMetric
from .predictions import Prediction
from .regression import RegressionEvaluation, RegressionMetric
from .roc import ROC, ROCMetric
from .roc_columns import ROCBinary, ROCMultiClass

__all__ = [
    "BaseEvaluation",
    "BinaryConfusion",
    "BinaryCounts",
    "Evaluation",
    "EvaluationAveraging",
    "EvaluationBinary",
    "EvaluationBinaryMetric",
    "EvaluationCalibration",
    "EvaluationMetric",
    "Histogram",
    "PrecisionRecallCurve",
    "PrecisionRecallPoint",
    "Prediction",
    "ROC",
    "ROCBinary",
    "ROCMetric",
    "ROCMultiClass",
    "RegressionEvaluation",
    "RegressionMetric",
    "ReliabilityDiagram",
    "RocCurve",
    "check_evaluations",
    "check_labels",
    "eval_together",
]
