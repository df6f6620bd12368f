"""``pnpfusion simulate --sweep`` says no in one line, and leaves nothing behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pnpfusion.cli import main
from pnpfusion.cli.simulate_block import Blocks
from tests.cli.sweep_plans import PLAN, sweep, write_plan

BAD: list[tuple[Any, str, str]] = [
    ("{", "", r"--sweep grid.json is no JSON: Expecting property name"),
    ([1], "", r"--sweep grid.json must hold a JSON object, .* got a list"),
    ({"voltage": 3}, "", r'--sweep grid.json: got neither "grid" nor "cases", but .*voltage'),
    ({"grid": {"voltage": 3}}, "", "must give 'voltage' a list of at least one value, .* got 3"),
    ({"grid": {"volts": [3]}}, "", "case 0 of 1: 'volts' is no option of a run; did you mean 'vol"),
    ({"grid": {"qqq": [3]}}, "", r"'qqq' is no option of a run; wanted one of \['data', "),
    ({"grid": {"out": ["a"]}}, "", "'out' is no option of a run"),
    ({"cases": [{"grid": {}}]}, "", "'grid' is no option of a run; .* stand at the top"),
    (
        {"grid": {"rtol": [0.1, -1]}},
        "",
        "case 1 of 2: argument --rtol: got '-1', wanted a number",
    ),
    ({"grid": {"debye": [[0.1]]}}, "", r"'debye' must be one number or text, got \[0.1\]; several"),
    ({"grid": {"raw": [1]}}, "", "'raw' must be true or false, got 1"),
    ({"grid": {"scheme": ["upwind"]}}, "", "case 0 of 1: argument --scheme: invalid choice"),
    (
        {"grid": {"sample": [0, 99]}},
        "",
        "case 1 of 2: --sample 99 is not there; the set has samples",
    ),
    ({"grid": {"cells": [2]}}, "", "case 0 of 1: `grid` has 2 cells, fewer than the 3 features"),
    ({"grid": {"voltage": [1]}}, "--boundary periodic", "--voltage 1 needs electrodes"),
    ({"grid": {"voltage": [1]}}, "--voltage 2", "--voltage is typed and stands in grid.json too"),
    (PLAN, "--shard 0/2 --overwrite", "--overwrite would take away what other shards have"),
    (PLAN, "--out mine.csv", "--out mine.csv is a file, wanted a folder"),
    (PLAN, "--out .", "--out . is not empty and holds no sweep, wanted a new or empty folder"),
    (PLAN, "--sweep none.json", "--sweep none.json cannot be read: No such file.*; check the path"),
]


@pytest.mark.parametrize(("plan", "options", "message"), BAD, ids=[m for *_, m in BAD])
def test_bad_input_is_one_line(
    planned: Path, capsys: pytest.CaptureFixture[str], plan: Any, options: str, message: str
) -> None:
    write_plan(planned, {"data": "mine.csv", **plan} if isinstance(plan, dict) else plan)
    before = sorted(planned.rglob("*"))
    assert sweep(*options.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("pnpfusion simulate: error: ")
    assert re.search(message, line), line
    assert sorted(planned.rglob("*")) == before  # no empty folder stays behind


@pytest.mark.parametrize("text", ["2/2", "1", "-1/3", "0/0", "a/b"])
def test_a_share_is_counted_from_0(
    planned: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with pytest.raises(SystemExit):
        sweep(f"--shard={text}")
    assert f"argument --shard: got '{text}', wanted K/N" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--shard=0/2", "--shard is a share of a sweep; add --sweep FILE"),
        ("--stack=4", "--stack is how many cases of a sweep are solved in one call; add"),
        ("--strict", "--strict judges the cases of a sweep; add --sweep FILE"),
    ],
)
def test_options_of_sweeps_want_a_sweep(
    planned: Path, capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    assert main(["simulate", option]) == 2
    assert words in capsys.readouterr().err


def test_several_processes_want_a_sweep(
    planned: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["simulate", "--data", "mine.csv"]) == 2
    assert "2 processes were started (WORLD_SIZE), and each would" in capsys.readouterr().err
    assert not (planned / "runs").exists()


def test_a_folder_in_use_is_said(
    planned: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, codes = Blocks.solve, list[int]()

    def solve(self: Blocks, cases: list[dict[str, Any]]) -> Any:
        if not codes:
            codes.append(sweep("--overwrite"))
        return plain(self, cases)

    monkeypatch.setattr(Blocks, "solve", solve)
    assert sweep() == 0
    assert codes == [2]
    (line,) = capsys.readouterr().err.splitlines()
    assert "error: runs/sweep-grid is in use by another sweep, which has not ended" in line
