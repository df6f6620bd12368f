"""``pnpfusion compare``: typed, killed, gone on with, and wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pnpfusion.cli import compare as command
from pnpfusion.cli import main
from pnpfusion.comparison import BASELINES
from pnpfusion.comparison.runner import CELLS
from tests.source_tree import ROOT, environment

SMALL = "interaction:samples=150,width=4"
TYPED = ["--data", SMALL, "--models", "concat,gmf", "--hidden", "8", "--width", "8"]


def compared(*typed: str) -> int:
    return main(["compare", *typed])


def cells(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / CELLS).glob("*.json")}


def numbers(folder: Path) -> object:
    """What must not change from run to run."""
    told = json.loads((folder / "comparison.json").read_text())
    for row in (row for one in told["sets"] for row in one["rows"]):
        for name in ("training_seconds", "ms_per_sample"):
            del row["measures"][name]
    return told


def test_the_help_lists_what_there_is() -> None:
    assert set(command.BASELINES) == set(BASELINES)


def test_a_small_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    typed = [*TYPED, "--seeds", "2", "--epochs", "2", "--tune", "learning-rate=0.001,0.01"]
    assert compared(*typed, "--out", str(out)) == 0
    told = capsys.readouterr().out
    assert "2 seeds: 8 cells." in told
    assert "| gmf " in told
    assert "one of 2 variations (learning_rate 0.001; learning_rate 0.01)" in " ".join(told.split())
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("plan.json", "comparison.json", "table.md", "table.csv", "comparison.png", "cells")
    }
    assert (out / "table.md").read_text() in told
    head, *rows = (out / "table.csv").read_text().splitlines()
    assert head == "set,model,measure,mean,low,high,seeds,p,p_holm"
    assert any(f'"{SMALL}",gmf,accuracy minus concat' in row for row in rows)
    before = cells(out)
    assert compared("--resume", str(out), "--quiet") == 0
    assert cells(out) == before
    assert compared(*typed, "--out", str(out), "--quiet") == 0
    assert cells(out) == before
    assert not capsys.readouterr().out


def test_a_plan_in_a_file_and_a_failing_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = {
        "sets": [SMALL],
        "models": ["constant", "concat"],
        "seeds": 1,
        "recipe": {"epochs": 1, "class_weights": [1, 1, 1]},
    }
    Path("plan.json").write_text(json.dumps(plan))
    assert compared("--plan", "plan.json") == 1
    told = capsys.readouterr()
    assert "concat (0 of 1)" in told.out
    assert "failed: concat on interaction" in told.err
    assert "`class_weights` must be 2 numbers" in told.err
    assert len(cells(Path("runs/compare-001"))) == 1


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--data", "nothing-here"], "no known set"),
        (["--data", SMALL, "--models", "concta"], "did you mean 'concat'"),
        (["--models", "concat,,pnp"], "wanted names by commas"),
        (["--data", SMALL, "--tune", "learning_rate"], "wanted NAME=VALUE"),
        (["--data", SMALL, "--tune", "rate=1"], "has no 'rate'"),
        (["--data", SMALL, "--reference", "pmp"], "`reference` must be among"),
        (["--data", SMALL, "--folds", "999"], "999 folds need"),
        (["--plan", "nowhere.json"], "nowhere.json"),
        (["--plan", "a.json", "--seeds", "3"], "leave out --seeds"),
        (["--resume", "nowhere"], "holds no comparison"),
        (["--resume", "nowhere", "--models", "pnp", "--out", "x"], "leave out --models, --out"),
        (["--workers", "0"], "wanted a whole number >= 1"),
    ],
)
def test_errors_are_one_line(
    typed: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = compared(*typed)
    except SystemExit as end:
        code = int(str(end.code))
    told = capsys.readouterr()
    assert code == 2
    assert words in told.err
    assert told.err.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_folder_with_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert compared(*TYPED, "--out", str(tmp_path)) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def started(*typed: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pnpfusion", "compare", *typed],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )


def wait_for(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(cells(folder)) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert process.poll() is None, "it ended before it was stopped; make it longer"


#: Long enough to be stopped.
LONG = [*TYPED, "--seeds", "5", "--epochs", "40", "--quiet"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed comparison leaves."""
    folder = tmp_path_factory.mktemp("whole")
    assert compared(*LONG, "--out", str(folder)) == 0
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize(
    "how", ["kill", "interrupt", pytest.param("terminate", marks=pytest.mark.slow)]
)
def test_stopped_and_gone_on_with(how: str, whole: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    process = started(*LONG, "--workers", "2", "--out", str(cut))
    wait_for(cut, 3, process)
    if how == "kill":  # its workers have to find out by themselves
        process.kill()
    else:  # as a terminal or a scheduler does it
        os.killpg(process.pid, signal.SIGINT if how == "interrupt" else signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    code = {"kill": -signal.SIGKILL, "interrupt": 130, "terminate": 143}[how]
    assert process.returncode == code, told
    if how != "kill":
        assert told.count("\n") == 1
        assert f"Go on with: pnpfusion compare --resume {cut}" in told
    time.sleep(0.5)  # workers end with it, and write nothing more
    before = cells(cut)
    assert 3 <= len(before) < 10
    time.sleep(1)
    assert cells(cut) == before
    assert compared("--resume", str(cut), "--quiet") == 0
    after = cells(cut)
    assert len(after) == 10
    assert before.items() <= after.items()
    assert not [*cut.rglob(".*.part")]
    assert numbers(cut) == numbers(whole)


def test_one_that_was_killed_in_its_first_moments_is_begun_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (".lock", ".plan.json.4194304.part"):
        (out / name).touch()
    typed = ["--data", SMALL, "--models", "constant", "--seeds", "2", "--out", str(out), "--quiet"]
    assert compared(*typed) == 0
    assert not [*out.glob(".*")]
