"""Evaluation of predictions: counts that accumulate over batches, metrics, curves and reports."""

from .base import BaseEvaluation, check_evaluations
from .curves import BinaryConfusion, PrecisionRecallCurve, PrecisionRecallPoint, RocCurve
from .evaluation import Evaluation
from .metrics import EvaluationAveraging
from .roc import ROC, ROCMultiClass

__all__ = [
    "BaseEvaluation",
    "BinaryConfusion",
    "Evaluation",
    "EvaluationAveraging",
    "PrecisionRecallCurve",
    "PrecisionRecallPoint",
    "ROC",
    "ROCMultiClass",
    "RocCurve",
    "check_evaluations",
]
