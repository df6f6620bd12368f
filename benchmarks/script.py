"""What scripts have around their measurements: options, a JSON line for each row, a table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def options(about: str | None, prog: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help is the script's own docstring."""
    return argparse.ArgumentParser(
        prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def say(row: Row) -> None:
    """Print a row as a line of JSON, at once."""
    print(json.dumps(row, ensure_ascii=False), flush=True)


def rows_in(text: str) -> list[dict[str, Any]]:
    """The rows that a script has printed; other lines are for people."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def significant(value: float, digits: int = 4) -> float:
    """``value`` to so many digits."""
    return float(f"{float(value):.{digits}g}")


def shown(value: object) -> str:
    """A cell of a table: three digits of a number, a range as such, nothing for None."""
    if isinstance(value, list | tuple):
        return " to ".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


def show(rows: Sequence[Row], columns: Sequence[str] = ()) -> None:
    """Print rows as a table, after a blank line: the entries of these names, or all of them."""
    from pnpfusion.text_table import aligned

    names = columns or [*dict.fromkeys(name for row in rows for name in row)]
    lines = [[shown(row.get(name)) for name in names] for row in rows]
    print(f"\n{aligned([[name.replace('_', ' ') for name in names], *lines])}")
