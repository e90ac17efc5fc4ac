"""The pictures of evaluations, on matplotlib axes that are given or new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .calibration import Histogram, ReliabilityDiagram
    from .curves import PrecisionRecallCurve, RocCurve

__all__ = [
    "plot_confusion_matrix",
    "plot_histogram",
    "plot_precision_recall",
    "plot_reliability",
    "plot_roc",
]

MAX_LEGEND = 12
MAX_NUMBERS = 30  # classes whose counts can still be read
DIAGONAL: dict[str, Any] = {"color": "0.6", "linestyle": ":", "linewidth": 1, "zorder": 0}


def plot_confusion_matrix(matrix: NDArray, names: Sequence[str], normalize: bool, ax: Axes | None) -> Axes:
    """Draw counts (classes, classes), or shares of the actual classes, and return the axes."""
    classes = len(matrix)
    size = max(3.6, 0.45 * classes + 1.6)
    ax = _axes(ax, (size, size))
    per_class = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, per_class, out=np.zeros(matrix.shape), where=per_class > 0)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if classes <= MAX_NUMBERS:
        ticks = range(classes)
        ax.set_xticks(ticks, names, rotation=45 if max(map(len, names)) > 3 else 0)
        ax.set_yticks(ticks, names)
        for (row, column), count in np.ndenumerate(matrix):
            text = f"{shares[row, column]:.2f}" if normalize else str(count)
            color = "white" if shares[row, column] > 0.5 else "0.65" if count == 0 else "black"
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize="small")
    ax.set(xlabel="predicted class", ylabel="actual class", title="Confusion matrix")
    return ax


def plot_roc(curves: Sequence[tuple[str, RocCurve]], ax: Axes | None) -> Axes:
    """Draw ROC curves with their names and areas, and return the axes."""
    ax = _axes(ax)
    ax.plot([0, 1], [0, 1], **DIAGONAL)
    for name, curve in curves:
        label = _shown(f"{name}  AUC {curve.calculate_auc():.3f}")
        ax.plot(curve.false_positive_rate, curve.true_positive_rate, label=label)
    ax.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    return _finished(ax, len(curves), "best")


def plot_precision_recall(curves: Sequence[tuple[str, PrecisionRecallCurve]], ax: Axes | None) -> Axes:
    """Draw precision-recall curves with their names and areas, and return the axes."""
    ax = _axes(ax)
    for name, curve in curves:
        label = _shown(f"{name}  AUPRC {curve.calculate_auc():.3f}")
        ax.plot(curve.recall, curve.precision, label=label)
    ax.set(xlabel="recall", ylabel="precision", title="Precision and recall")
    return _finished(ax, len(curves), "lower left")


def plot_reliability(diagrams: Sequence[tuple[str, ReliabilityDiagram]], ax: Axes | None) -> Axes:
    """Draw reliability diagrams beside the diagonal of perfect calibration, and return the axes."""
    ax = _axes(ax)
    ax.plot([0, 1], [0, 1], **DIAGONAL)
    for name, diagram in diagrams:
        ax.plot(diagram.mean_predicted_value, diagram.fraction_of_positives, marker=".", label=_shown(name))
    ax.set(xlabel="mean probability", ylabel="share of positives", title="Reliability")
    return _finished(ax, len(diagrams), "best")


def plot_histogram(histogram: Histogram, quantity: str, ax: Axes | None) -> Axes:
    """Draw a histogram of ``quantity``, and return the axes."""
    ax = _axes(ax)
    edges = np.linspace(histogram.lower, histogram.upper, len(histogram.bin_counts) + 1)
    ax.bar(edges[:-1], histogram.bin_counts, width=np.diff(edges), align="edge")
    ax.set(xlabel=quantity, ylabel="count", title=histogram.title, xlim=(histogram.lower, histogram.upper))
    return ax


def _shown(label: str) -> str:
    """Return a label that matplotlib shows: it leaves out those that begin with an underscore."""
    return " " + label if label.startswith("_") else label.strip()


def _finished(ax: Axes, curves: int, corner: Any) -> Axes:
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if curves <= MAX_LEGEND:
        ax.legend(loc=corner, fontsize="small")
    return ax


def _axes(ax: Axes | None, size: tuple[float, float] = (4.5, 4.5)) -> Axes:
    """Return ``ax``, or those of a new figure. Raises ConfigurationError without matplotlib."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ConfigurationError(
            "pictures need matplotlib, which is not installed. Install it with: pip install 'minidl[plot]'."
        ) from error
    return plt.subplots(figsize=size, layout="constrained")[1]
