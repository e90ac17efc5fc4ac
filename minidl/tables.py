"""Text tables for reports."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["table"]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: Collection[int] = (0,)) -> list[str]:
    """Return the lines of a table: a head, a rule, the rows; numbers to the right, ``text_columns`` to the left."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = [
        "  ".join(
            cell.ljust(width) if i in text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (columns, *rows)
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]
