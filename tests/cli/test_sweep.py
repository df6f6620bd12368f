"""`pnpfusion simulate --sweep`: from a file of cases to one result, and how it says no."""

from __future__ import annotations

import csv
import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.cli import main
from pnpfusion.cli.simulate_block import Blocks
from pnpfusion.cli.simulate_cases import cases_of
from pnpfusion.cli.simulate_options import add_options
from tests.source_tree import ROOT

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


#: Cases, and how the same is typed.
ALONE: list[tuple[dict[str, Any], str]] = [
    ({"voltage": 0}, "--voltage 0"),
    ({"voltage": 7.5, "sample": 3}, "--voltage 7.5 --sample 3"),
    ({"voltage": -7.5, "sample": "-1"}, "--voltage -7.5 --sample 5"),
    ({"valence": {"audio": 2}}, "--valence audio=2"),
    ({"valence": "motion=2", "diffusivity": 0.5}, "--valence motion=2 --diffusivity 0.5"),
    ({"sample": "0:2", "voltage": 3}, "--sample 0:2 --voltage 3"),
    ({"sample": "2:4", "voltage": 5}, "--sample 2:4 --voltage 5"),
    ({"raw": True, "label": None}, "--raw"),
    ({"boundary": "periodic", "cells": 64}, "--boundary periodic --cells 64"),
    (
        {"boundary": "periodic", "cells": 64, "sample": "0:2"},
        "--boundary periodic --cells 64 --sample 0:2",
    ),
    (
        {"modality": ["ear=audio_1,audio_2"], "stepper": "tr-bdf2", "max-steps": 1000},
        "--modality ear=audio_1,audio_2 --stepper tr-bdf2 --max-steps 1000",
    ),
    ({"modality": {"ear": ["audio_1", "audio_2"]}}, "--modality ear=audio_1,audio_2"),
]


def test_a_case_is_what_the_command_runs_alone(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pnpfusion.cli.simulate_run.draw", lambda *_, **__: [])  # takes its time
    write_plan(here, {"data": "mine.csv", "cases": [case for case, _ in ALONE]})
    assert sweep("--out", "all") == 0
    assert capsys.readouterr() == ("", "")
    found = pf.Sweep.load(here / "all")
    assert found.succeeded.all()
    for place, (case, words) in enumerate(ALONE):
        folder = here / f"alone{place}"
        made = ["--data", "mine.csv", *QUICK, "--no-gif", "--out", str(folder), *words.split()]
        assert main(["simulate", *made]) == 0
        run = pf.load(folder / "run.safetensors")
        states = found.tensor("states", place)
        torch.testing.assert_close(states, run.states, rtol=1e-9, atol=1e-12, msg=str(case))
        summary = json.loads((folder / "summary.json").read_text())
        row = found.rows[place]
        assert [row[k] for k in ("steps", "outcome", "samples", "succeeded", "end")] == [
            summary[k] for k in ("steps", "outcome", "samples", "succeeded", "end")
        ]
        assert row["energy_drop"] == pytest.approx(summary["energy_drop"], rel=1e-9)
        assert isinstance(run.dynamics, pf.PNP)
        if case.get("boundary") is None:
            charge = run.dynamics.electrode_charge(run.final, "x-").mean()
            assert row["electrode_charge"] == pytest.approx(float(charge), rel=1e-9)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("mini-av-mnist:folder=spoken,train=30", "spoken"),
        ("mini-av-mnist:train=30", "fsdd"),
        ("spoken", "spoken"),
        ("digits:parts=quadrants", None),
    ],
)
def test_a_case_is_known_by_what_its_data_hold(here: Path, text: str, source: str | None) -> None:
    """Also where a folder is an option of a set, and not where it only is called like one."""
    for name in ("spoken", "fsdd", "digits"):
        (here / name).mkdir()
        (here / name / "0_ada_0.wav").write_bytes(b"one")
    write_plan(here, {"data": text, "grid": {"voltage": [0, 10]}})
    parser = ArgumentParser()
    add_options(parser)
    options = parser.parse_args(["--sweep", "grid.json"])
    before, same = cases_of(options), cases_of(options)
    assert before == same
    for name in ("spoken", "fsdd", "digits"):
        (here / name / "0_ada_0.wav").write_bytes(b"two")
        after = cases_of(options)
        assert (after[0].get("data_hash") != before[0].get("data_hash")) == (name == source)
        before = after


def test_cases_that_differ_in_numbers_are_one_call(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    assert sweep("--out", "all", "--stack", "4") == 0
    assert calls == [4, 2]
    with (here / "all" / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(line["voltage"], line["sample"]) for line in table] == [
        (voltage, sample) for voltage in ("0.0", "10.0") for sample in ("0", "1", "-1")
    ]
    summary = json.loads((here / "all" / "summary.json").read_text())
    assert summary["common"]["debye"] == 0.2


def test_the_command_again_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("--out", "whole", "--stack", "2") == 0
    with monkeypatch.context() as patch:
        counted(patch, KeyboardInterrupt())
        assert sweep("--stack", "2") == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "pnpfusion simulate: the sweep was interrupted; 2 of 6 cases are finished and kept in "
        "runs/sweep-grid. The same command again goes on from there.\n"
    )
    with monkeypatch.context() as patch:
        counted(patch, MemoryError("nothing left"))
        assert sweep("--stack", "2") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(
        r"pnpfusion simulate: error: .*MemoryError: nothing left\. .*4 of 6 cases", line
    )
    calls = counted(monkeypatch)
    assert sweep("--stack", "2") == 0
    assert calls == [2]
    for name in ("sweep.safetensors", "table.csv", "summary.json"):
        same = (here / "whole" / name).read_bytes()
        assert (here / "runs" / "sweep-grid" / name).read_bytes() == same
    assert sweep("--stack", "2", "--overwrite") == 0
    assert calls == [2, 2, 2, 2]


def test_a_changed_data_file_is_another_case(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = counted(monkeypatch)
    assert sweep() == 0
    data = here / "mine.csv"
    data.write_text(data.read_text().replace("-", ""), encoding="utf-8")
    assert sweep() == 2
    assert "holds the results of another sweep: 6 of its 6 cases" in capsys.readouterr().err
    assert sweep("--overwrite") == 0
    assert calls == [6, 6]


def test_shares_are_joined_at_the_end(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loud = ["simulate", "--sweep", "grid.json", *QUICK[:-1], "--stack", "2"]
    assert main([*loud, "--shard", "1/2"]) == 0
    out = capsys.readouterr().out
    assert "6 cases of grid.json, share 1 of 2." in out
    assert "share 1 of 2 is finished; once all are, the command without --shard joins them." in out
    assert not (here / "runs" / "sweep-grid" / "sweep.safetensors").exists()
    assert main([*loud, "--shard", "0/2"]) == 0
    assert "2 are finished already in runs/sweep-grid" in capsys.readouterr().out
    assert main(loud) == 0
    assert "6 cases, all solved; in runs/sweep-grid: sweep.safetensors" in capsys.readouterr().out


def test_a_case_that_fails_is_a_row(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plan(here, {"data": "mine.csv", "cases": [{"max-steps": 1}, {"voltage": 3}]})
    assert main(["simulate", "--sweep", "grid.json", *QUICK[:-1]]) == 0
    assert "2 cases, 1 without an answer, see `outcome` in table.csv" in capsys.readouterr().out
    found = pf.Sweep.load(here / "runs" / "sweep-grid")
    assert [row["outcome"] for row in found.rows] == ["OUT_OF_STEPS", "REACHED_END"]
    assert found.column("voltage").tolist() == [40.0, 3.0]
    assert found.column("electrode_charge").isnan().tolist() == [True, False]
    assert sweep("--strict") == 1
    alone = ["simulate", "--data", "mine.csv", *QUICK, "--no-gif", "--max-steps", "1"]
    assert main([*alone, "--out", "alone"]) == 1
    assert "raise `--max-steps` or loosen `--rtol`" in capsys.readouterr().err
    summary = json.loads((here / "alone" / "summary.json").read_text())
    assert [found.rows[0][k] for k in ("steps", "end")] == [summary[k] for k in ("steps", "end")]


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
    here: Path, capsys: pytest.CaptureFixture[str], plan: Any, options: str, message: str
) -> None:
    write_plan(here, {"data": "mine.csv", **plan} if isinstance(plan, dict) else plan)
    before = sorted(here.rglob("*"))
    assert sweep(*options.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("pnpfusion simulate: error: ")
    assert re.search(message, line), line
    assert sorted(here.rglob("*")) == before  # no empty folder stays behind


@pytest.mark.parametrize("text", ["2/2", "1", "-1/3", "0/0", "a/b"])
def test_a_share_is_counted_from_0(
    here: Path, capsys: pytest.CaptureFixture[str], text: str
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
    here: Path, capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    assert main(["simulate", option]) == 2
    assert words in capsys.readouterr().err


def test_several_processes_want_a_sweep(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["simulate", "--data", "mine.csv"]) == 2
    assert "2 processes were started (WORLD_SIZE), and each would" in capsys.readouterr().err
    assert not (here / "runs").exists()


def test_a_folder_in_use_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
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


def test_the_snippets_of_the_page_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (plan,) = re.findall(r"^```json\n(.*?)^```", page, re.M | re.S)
    write_plan(tmp_path, plan)
    (command,) = re.findall(r"^pnpfusion (simulate --sweep grid.json --out sweep)  ", page, re.M)
    assert main([*command.split(), "--quiet"]) == 0
    names: dict[str, Any] = {"__name__": "__main__"}
    *blocks, ray = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    assert "import ray" in ray  # which is not among what the tests install
    for block in blocks:
        exec(block, names)
        if "charge" in names:  # of the first one
            assert names["charge"].shape == (14,)
            assert names["states"].shape == (61, 4, 192)
            del names["charge"]
    assert names["result"].succeeded.all()
    assert (names["result"].column("charge") > 0).all()
