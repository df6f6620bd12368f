"""Measurements on disk: one JSON file a part, so that parts can be measured alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.suite.machine import machine

RESULTS = Path(__file__).parents[1] / "results"


def write(folder: Path, part: str, found: dict[str, Any]) -> Path:
    """Store a part with the machine that it was measured on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.json"
    body = {"part": part, "machine": machine(), **found}
    rows = body.pop("rows")
    head = json.dumps(body, indent=1, ensure_ascii=False)[:-2]
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    return path


def read(folder: Path, part: str) -> dict[str, Any] | None:
    """A part as it was stored; None if it was not measured."""
    path = folder / f"{part}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
