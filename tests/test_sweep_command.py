"""`pnpfusion simulate --sweep`: from a file of cases to one result, and how it says no."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.cli import main
from pnpfusion.cli.simulate_block import Blocks

QUICK = ["--debye", "0.2", "--duration", "0.001", "--times", "4", "--quiet"]
PLAN = {"data": "mine.csv", "grid": {"voltage": [0, 10], "sample": [0, 1, "-1"]}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with a table of features and the file of a sweep."""
    rows = np.random.default_rng(0).normal(size=(6, 5))
    lines = [",".join(f"{x:.6f}" for x in row) for row in rows]
    header = "audio_1,audio_2,audio_3,motion_1,motion_2"
    (tmp_path / "mine.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    write_plan(tmp_path, PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_plan(folder: Path, plan: Any) -> None:
    text = plan if isinstance(plan, str) else json.dumps(plan)
    (folder / "grid.json").write_text(text, encoding="utf-8")


def sweep(*options: str) -> int:
    return main(["simulate", "--sweep", "grid.json", *QUICK, *options])


def counted(monkeypatch: pytest.MonkeyPatch, stop: BaseException | None = None) -> list[int]:
    """How many cases each call gets from now on; the second raises ``stop``."""
    plain, calls = Blocks.solve, list[int]()

    def solve(self: Blocks, cases: list[dict[str, Any]]) -> Any:
        calls.append(len(cases))
        if stop is not None and len(calls) == 2:
            raise stop
        return plain(self, cases)

    monkeypatch.setattr(Blocks, "solve", solve)
    return calls


def test_a_case_is_what_the_command_runs_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"valence": {"audio": 2}, "diffusivity": "motion=0.5", "rtol": 1e-5}
    apart = [
        {"sample": "0:2", "voltage": -3.5},
        {"sample": "2:4", "raw": True},
        {"boundary": "periodic", "cells": 48},
        {"boundary": "periodic", "cells": 48, "sample": "0:2"},
        {"modality": ["ear=audio_1,audio_2"], "stepper": "tr-bdf2", "max-steps": 1000},
        {"modality": {"ear": ["audio_1", "audio_2"]}, "valence": 1},
    ]
    write_plan(here, {**PLAN, **options, "cases": apart})
    assert sweep("--out", "all") == 0
    assert capsys.readouterr() == ("", "")
    found = pf.Sweep.load(here / "all")
    assert len(found.cases) == 12
    assert found.succeeded.all()
    assert found.column("samples").tolist() == [1] * 6 + [2, 2, 1, 2, 1, 1]
    typed = ["--valence", "audio=2", "--diffusivity", "motion=0.5", "--rtol", "1e-5"]
    ear = ["--modality", "ear=audio_1,audio_2"]
    alone = {
        1: ["--voltage", "0", "--sample", "1", *typed],
        5: ["--voltage", "10", "--sample", "5", *typed],
        6: ["--voltage", "-3.5", "--sample", "0:2", *typed],
        7: ["--sample", "2:4", "--raw", *typed],
        8: ["--boundary", "periodic", "--cells", "48", *typed],
        9: ["--boundary", "periodic", "--cells", "48", "--sample", "0:2", *typed],
        11: [*ear, "--diffusivity", "1", "--rtol", "1e-5"],
    }
    for place, words in alone.items():
        folder = here / f"alone{place}"
        if place == 11:
            continue  # names a modality that is not there; see the next test
        made = ["simulate", "--data", "mine.csv", *QUICK, "--no-gif", "--out", str(folder), *words]
        assert main(made) == 0
        run = pf.load(folder / "run.safetensors")
        torch.testing.assert_close(found.tensor("states", place), run.states, rtol=1e-9, atol=1e-12)
        summary = json.loads((folder / "summary.json").read_text())
        row = found.rows[place]
        assert row["steps"] == summary["steps"]
        assert row["outcome"] == summary["outcome"]
        assert row["energy_drop"] == pytest.approx(summary["energy_drop"], rel=1e-9)
