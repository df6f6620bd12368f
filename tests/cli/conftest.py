"""Folders for commands to stand in, and runs that need not be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.cli.commands import write_csv, write_npz
from tests.cli.sweep_plans import PLAN, write_plan


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of our own to stand in, with a table."""
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path)
    write_npz(tmp_path)
    (tmp_path / "single.csv").write_text("a_1,b_1\n1,2\n")
    return tmp_path


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own with a table of features and the file of a sweep."""
    rows = np.random.default_rng(0).normal(size=(6, 5))
    lines = [",".join(f"{x:.6f}" for x in row) for row in rows]
    header = "audio_1,audio_2,audio_3,motion_1,motion_2"
    (tmp_path / "mine.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    write_plan(tmp_path, PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but what is saved of them is empty, which spares most of a short run."""
    monkeypatch.setattr(Figure, "savefig", lambda _, path: Path(path).touch())
