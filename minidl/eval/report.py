"""The texts of the reports."""

import math
from collections.abc import Sequence

from numpy.typing import NDArray

__all__ = [
    "MAX_PRINTED_CLASSES",
    "confusion_text",
    "decimal",
    "excluded_note",
    "excluded_warning",
    "heading",
    "label_width",
    "scientific",
    "table_row",
]

MAX_PRINTED_CLASSES = 20
LINE_WIDTH = 66


def decimal(value: float) -> str:
    """Return ``value`` with four decimals, or NaN or Infinity as Java prints them."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return f"{value:.4f}"


def scientific(value: float, precision: int) -> str:
    """Return ``value`` as 1.00000e+00, or NaN or Infinity as Java prints them."""
    return f"{value:.{precision}e}" if math.isfinite(value) else decimal(value)


def label_width(names: Sequence[str]) -> int:
    """Return the width of the first column of a table with ``names``."""
    return max([15, *map(len, names)]) + 5


def table_row(cells: Sequence[object], widths: Sequence[int]) -> str:
    """Return ``cells`` left-aligned in columns of ``widths`` characters."""
    return "".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def confusion_text(matrix: NDArray, names: Sequence[str]) -> str:
    """Return a confusion matrix (classes, classes) as text, actual classes down, predicted classes across.

    Columns are digits + 1 wide, digits = ceil(log10(max(largest count, classes))): as in DL4J, a count that
    is an exact power of ten has no blank before it.
    """
    classes = len(matrix)
    width = max(1, math.ceil(math.log10(max(matrix.max(), classes)))) + 1
    lines = ["".join(f"{i:>{width}}" for i in range(classes)), "-" * (width * classes + 1)]
    for i, row in enumerate(matrix):
        lines.append("".join(f"{count:>{width}}" for count in row) + f" | {i} = {names[i]}")
    return "\n".join([*lines, "", "Each row is an actual class, each column a predicted class."])


def heading(title: str = "") -> str:
    """Return a line of ``=`` with ``title`` in the middle."""
    return title.center(LINE_WIDTH, "=")


def excluded_note(classes: int) -> str:
    """Return what follows a mean that leaves out ``classes`` classes."""
    return f"\t({classes} {'class' if classes == 1 else 'classes'} excluded from average)" if classes else ""


def excluded_warning(metric: str, classes: Sequence[int]) -> list[str]:
    """Return the lines that name the ``classes`` left out of the mean of ``metric``."""
    if not classes:
        return []
    noun, verb = ("class", "was") if len(classes) == 1 else ("classes", "were")
    lines = [
        f"Warning: {len(classes)} {noun} {verb} never predicted by the model and {verb} excluded from average {metric}"
    ]
    if len(classes) <= MAX_PRINTED_CLASSES:
        lines.append(f"Classes excluded from average {metric}: {list(classes)}")
    return lines
