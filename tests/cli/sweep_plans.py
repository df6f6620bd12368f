"""Files of cases, and the command that runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pnpfusion.cli import main

QUICK = ["--debye", "0.2", "--duration", "0.001", "--times", "4", "--quiet"]
PLAN = {"data": "mine.csv", "grid": {"voltage": [0, 10], "sample": [0, 1, "-1"]}}


def write_plan(folder: Path, plan: Any) -> None:
    text = plan if isinstance(plan, str) else json.dumps(plan)
    (folder / "grid.json").write_text(text, encoding="utf-8")


def sweep(*options: str) -> int:
    return main(["simulate", "--sweep", "grid.json", *QUICK, *options])
