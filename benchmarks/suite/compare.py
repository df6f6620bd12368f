"""Who is faster at equal error, from the rows of a problem."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.suite.contestants import PNPFUSION
from benchmarks.suite.rounds import EQUAL, ratios

Row = dict[str, Any]


def seconds(row: Row) -> float:
    """The median over rounds."""
    return statistics.median(s for s in row["seconds"] if s is not None)


def measured(rows: Sequence[Row]) -> list[Row]:
    """Those that came to an end."""
    return [row for row in rows if any(s is not None for s in row.get("seconds", []))]


def ours(rows: Sequence[Row]) -> list[Row]:
    """Pnpfusion's rows."""
    return [row for row in measured(rows) if row["program"] == PNPFUSION]


def others(rows: Sequence[Row]) -> list[Row]:
    """Everyone else's, quickest first."""
    found = [row for row in measured(rows) if row["program"] != PNPFUSION]
    return sorted(found, key=seconds)


def quickest(rows: Sequence[Row], error: float, same_cells: int | None = None) -> Row | None:
    """Pnpfusion's quickest at this error or less; with ``same_cells`` on as many equal cells."""
    able = [row for row in ours(rows) if row["error"] <= EQUAL * error]
    if same_cells is not None:
        able = [row for row in able if row["cells"] == same_cells and not graded(row)]
    return min(able, key=seconds, default=None)


def graded(row: Row) -> bool:
    """Whether its cells are of unequal widths."""
    return bool(row["options"].get("grading")) or row["options"].get("scheme") == "spectral"


def speed(peer: Row, own: Row) -> dict[str, float] | None:
    """The peer's time over ours, round by round; of medians where the peer ran another day."""
    if "measured" in peer:
        middle = seconds(peer) / seconds(own)
        return {"median": middle, "min": middle, "max": middle}
    return ratios(peer["seconds"], own["seconds"])


def find(rows: Sequence[Row], program: str, label: str) -> Row | None:
    """A row by name, if it was measured."""
    named = (row for row in measured(rows) if (row["program"], row["label"]) == (program, label))
    return next(named, None)
