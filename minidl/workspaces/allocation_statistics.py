"""How many bytes workspaces hold, as rows and as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

__all__ = ["AllocationStatistics", "statistics_table"]

_BANNER = "Workspace statistics: " + "-" * 33
_PREFIXES = "KMGTPE"


@dataclasses.dataclass(frozen=True)
class AllocationStatistics:
    """One workspace, in bytes: its buffer, and its arrays elsewhere, ``spilled`` and ``pinned``."""

    name: str
    allocated: int
    spilled: int
    pinned: int


def statistics_table(rows: Sequence[AllocationStatistics]) -> str:
    """Return the rows as text, sizes both readable and exact. Source: ND4J ``BasicWorkspaceManager``."""
    lines = [
        _BANNER,
        f"Number of workspaces in current thread: {len(rows)}",
        "Workspace name: Allocated / external (spilled) / external (pinned)",
    ]
    for row in rows:
        sizes = (row.allocated, row.spilled, row.pinned)
        readable = " / ".join(f"{_readable(size):>8}" for size in sizes)
        exact = " / ".join(f"{size:>11}" for size in sizes)
        lines.append(f"{row.name + ':':<26} {readable} ({exact})")
    return "\n".join(lines)


def _readable(size: int) -> str:
    """Return ``size`` with two decimals and the largest binary prefix that leaves at least 1, such as 1.50 K."""
    if size < 1024:
        return str(size)
    power = (size.bit_length() - 1) // 10
    number = f"{size / 1024**power:.2f}"
    if number == "1024.00":
        power, number = power + 1, "1.00"
    return f"{number} {_PREFIXES[power - 1]}"
