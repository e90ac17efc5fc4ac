"""The report of an Evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .report import MAX_PRINTED_CLASSES, decimal, excluded_note, excluded_warning, heading

if TYPE_CHECKING:
    from .evaluation import Evaluation

__all__ = ["evaluation_text"]


def evaluation_text(evaluation: Evaluation, *, warns: bool, include_confusion: bool) -> str:
    """Return the report of an evaluation with data; ``warns`` names the classes that averages leave out."""
    undefined = evaluation.undefined_classes()
    lines = ["", heading("Evaluation Metrics"), *_metric_lines(evaluation, undefined), ""]
    if warns:
        lines += excluded_warning("precision", undefined["precision"])
        lines += excluded_warning("recall", undefined["recall"])
    classes = len(evaluation.counts())
    if include_confusion or classes <= MAX_PRINTED_CLASSES:
        lines += [heading("Confusion Matrix"), evaluation.confusion_matrix_text()]
    else:
        lines.append(f"Confusion matrix of {classes} classes left out: stats(include_confusion=True) has it.")
    return "\n".join([*lines, heading()])


def _metric_lines(evaluation: Evaluation, undefined: Mapping[str, Sequence[int]]) -> list[str]:
    classes = len(evaluation.counts())
    lines = [f" # of classes:    {classes}", f" Accuracy:        {decimal(evaluation.accuracy())}"]
    if evaluation.top_n > 1:
        lines.append(f" Top {evaluation.top_n} Accuracy:  {decimal(evaluation.top_n_accuracy())}")
    values = {"precision": evaluation.precision(), "recall": evaluation.recall(), "f1": evaluation.f1()}
    for title, name in ("Precision:", "precision"), ("Recall:", "recall"), ("F1 Score:", "f1"):
        note = excluded_note(len(undefined[name])) if classes > 2 else ""
        lines.append(f" {title:<17}{decimal(values[name])}{note}")
    reported = evaluation.reported_class()
    if reported is None:
        what = f"macro-averaged (equally weighted avg. of {classes} classes)"
    else:
        name = f' - "{evaluation.labels[reported]}"' if evaluation.labels else ""
        what = f"reported for positive class (class {reported}{name}) only"
    lines.append(f"Precision, recall & F1: {what}")
    if evaluation.threshold is not None:
        lines.append(f"Binary decision threshold: {evaluation.threshold}")
    if evaluation.cost_array is not None:
        lines.append(f"Cost array: {list(evaluation.cost_array)}")
    return lines
