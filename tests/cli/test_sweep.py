"""``pnpfusion simulate --sweep``: from a file of cases to one result."""

from __future__ import annotations

import csv
import json
import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import torch

import pnpfusion as pf
from pnpfusion.cli import main
from pnpfusion.cli.simulate_block import Blocks
from pnpfusion.cli.simulate_cases import cases_of
from pnpfusion.cli.simulate_options import add_options
from tests.cli.sweep_plans import QUICK, sweep, write_plan
from tests.source_tree import ROOT


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
    planned: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pnpfusion.cli.simulate_run.draw", lambda *_, **__: [])  # takes its time
    write_plan(planned, {"data": "mine.csv", "cases": [case for case, _ in ALONE]})
    assert sweep("--out", "all") == 0
    assert capsys.readouterr() == ("", "")
    found = pf.Sweep.load(planned / "all")
    assert found.succeeded.all()
    for place, (case, words) in enumerate(ALONE):
        folder = planned / f"alone{place}"
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
def test_a_case_is_known_by_what_its_data_hold(
    planned: Path, text: str, source: str | None
) -> None:
    """Also where a folder is an option of a set, and not where it only is called like one."""
    for name in ("spoken", "fsdd", "digits"):
        (planned / name).mkdir()
        (planned / name / "0_ada_0.wav").write_bytes(b"one")
    write_plan(planned, {"data": text, "grid": {"voltage": [0, 10]}})
    parser = ArgumentParser()
    add_options(parser)
    options = parser.parse_args(["--sweep", "grid.json"])
    before, same = cases_of(options), cases_of(options)
    assert before == same
    for name in ("spoken", "fsdd", "digits"):
        (planned / name / "0_ada_0.wav").write_bytes(b"two")
        after = cases_of(options)
        assert (after[0].get("data_hash") != before[0].get("data_hash")) == (name == source)
        before = after


def test_cases_that_differ_in_numbers_are_one_call(
    planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch)
    assert sweep("--out", "all", "--stack", "4") == 0
    assert calls == [4, 2]
    with (planned / "all" / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [(line["voltage"], line["sample"]) for line in table] == [
        (voltage, sample) for voltage in ("0.0", "10.0") for sample in ("0", "1", "-1")
    ]
    summary = json.loads((planned / "all" / "summary.json").read_text())
    assert summary["common"]["debye"] == 0.2


def test_the_command_again_goes_on(
    planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
        same = (planned / "whole" / name).read_bytes()
        assert (planned / "runs" / "sweep-grid" / name).read_bytes() == same
    assert sweep("--stack", "2", "--overwrite") == 0
    assert calls == [2, 2, 2, 2]


def test_a_changed_data_file_is_another_case(
    planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = counted(monkeypatch)
    assert sweep() == 0
    data = planned / "mine.csv"
    data.write_text(data.read_text().replace("-", ""), encoding="utf-8")
    assert sweep() == 2
    assert "holds the results of another sweep: 6 of its 6 cases" in capsys.readouterr().err
    assert sweep("--overwrite") == 0
    assert calls == [6, 6]


def test_shares_are_joined_at_the_end(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loud = ["simulate", "--sweep", "grid.json", *QUICK[:-1], "--stack", "2"]
    assert main([*loud, "--shard", "1/2"]) == 0
    out = capsys.readouterr().out
    assert "6 cases of grid.json, share 1 of 2." in out
    assert "share 1 of 2 is finished; once all are, the command without --shard joins them." in out
    assert not (planned / "runs" / "sweep-grid" / "sweep.safetensors").exists()
    assert main([*loud, "--shard", "0/2"]) == 0
    assert "2 are finished already in runs/sweep-grid" in capsys.readouterr().out
    assert main(loud) == 0
    assert "6 cases, all solved; in runs/sweep-grid: sweep.safetensors" in capsys.readouterr().out


def test_a_case_that_fails_is_a_row(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plan(planned, {"data": "mine.csv", "cases": [{"max-steps": 1}, {"voltage": 3}]})
    assert main(["simulate", "--sweep", "grid.json", *QUICK[:-1]]) == 0
    assert "2 cases, 1 without an answer, see `outcome` in table.csv" in capsys.readouterr().out
    found = pf.Sweep.load(planned / "runs" / "sweep-grid")
    assert [row["outcome"] for row in found.rows] == ["OUT_OF_STEPS", "REACHED_END"]
    assert found.column("voltage").tolist() == [40.0, 3.0]
    assert found.column("electrode_charge").isnan().tolist() == [True, False]
    assert sweep("--strict") == 1
    alone = ["simulate", "--data", "mine.csv", *QUICK, "--no-gif", "--max-steps", "1"]
    assert main([*alone, "--out", "alone"]) == 1
    assert "raise `--max-steps` or loosen `--rtol`" in capsys.readouterr().err
    summary = json.loads((planned / "alone" / "summary.json").read_text())
    assert [found.rows[0][k] for k in ("steps", "end")] == [summary[k] for k in ("steps", "end")]


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
