"""Measurements on disk: one JSON file a part, so that parts can be measured alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.suite.machine import machine

RESULTS = ROOT / "benchmarks" / "results"


def write(folder: Path, part: str, found: dict[str, Any]) -> Path:
    """Store a part with the machine that it was measured on.

    Rows of a program that is absent now stay as they were, marked by the day they are of.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.json"
    body = {"part": part, "machine": machine(), **found}
    kept = kept_rows(read(folder, part), body.get("absent", {}))
    programs = {row["program"] for row in kept}
    rows = [row for row in body.pop("rows") if row.get("program") not in programs] + kept
    head = json.dumps(body, indent=1, ensure_ascii=False)[:-2]
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f'{head},\n "rows": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    return path


def kept_rows(before: dict[str, Any] | None, absent: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of absent programs from an earlier run, each with the day it was measured."""
    if before is None:
        return []
    day = before["machine"]["date"]
    return [
        row | {"measured": row.get("measured", day)}
        for row in before["rows"]
        if row.get("program") in absent and not {"failed", "absent"} & row.keys()
    ]


def fuller(folder: Path, part: str) -> bool:
    """Whether what is stored of a part is of more than quick rounds."""
    before = read(folder, part)
    return before is not None and not before["quick"]


def read(folder: Path, part: str) -> dict[str, Any] | None:
    """A part as it was stored; None if it was not measured."""
    path = folder / f"{part}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
