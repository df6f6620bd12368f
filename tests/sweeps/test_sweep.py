"""Sweeps: what is kept of each case, and how it says no."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.sealed_file import write_tensors
from pnpfusion.sweeps.cases import Case
from tests.registry import blocking_cell, f64, times
from tests.sweeps.swept import FILES, RATES, VOLTAGES, Cells, change_last_byte, content, decays, run


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stack": 0}, "`stack` must be a whole number >= 1, got 0"),
        ({"alike": "rate"}, "`alike` must be a list of names, got 'rate'"),
        ({"shard": (2, 2)}, r"`shard` must be \(k, n\) with 0 <= k < n, got \(2, 2\)"),
        ({"shard": 1}, "`shard` must be"),
        ({"alike": ["cell"]}, r"`alike` has unknown .* of cases \['cell'\]; known are \['rate'\]"),
        ({"version": 2}, "`version` must be text, got 2"),
        ({"shard": (0, 2), "overwrite": True}, "`overwrite` would take away what other shards"),
    ],
)
def test_wrong_arguments(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pf.sweep(decays, [{"rate": 1.0}], tmp_path, **settings)
    with pytest.raises(ValueError, match="`solve` must be a function, got int"):
        pf.sweep(1, [{"rate": 1.0}], tmp_path)  # type: ignore[arg-type]


def test_a_sweep_holds_what_each_run_alone_gives(tmp_path: Path) -> None:
    found, cells = run(tmp_path / "all")
    assert [len(call) for call in cells.calls] == [2, 2, 1, 2, 2, 1]
    assert len(found.cases) == 10
    assert found.succeeded.all()
    assert found.column("voltage").tolist() == VOLTAGES * 2
    states = found.tensor("states")
    assert states.shape == (10, 2, 2, 16)
    for place, case in enumerate(found.cases):
        alone = Cells()([case])
        assert torch.equal(alone.states[:, 0], states[place])
        assert torch.equal(found.tensor("states", place), states[place])
        row = found.rows[place]
        assert row["outcome"] == "REACHED_END"
        assert row["end"] == 0.02
        assert row["steps"] == int(alone.work.steps)
        assert row["energy_drop"] == float(alone.ledger.energy_drop)
        assert row["mass_error"] == float(alone.ledger.mass_error)
        assert row["min_concentration"] == float(alone.ledger.min_concentration)
    assert sorted(content(tmp_path / "all")) == sorted(FILES)
    with (tmp_path / "all" / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(line["energy_drop"]) for line in table] == found.column("energy_drop").tolist()
    assert [float(line["voltage"]) for line in table] == VOLTAGES * 2
    assert "duration" not in table[0]
    summary = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert (summary["cases"], summary["succeeded"]) == (10, 10)
    assert summary["common"] == {"duration": 0.02}
    again = pf.Sweep.load(tmp_path / "all")
    assert again.rows == found.rows
    assert "10 cases, 10 solved" in repr(again)


def test_a_case_without_an_answer_is_a_row(tmp_path: Path) -> None:
    found = pf.sweep(decays, {"grid": {"rate": [1.0, -1e200, 0.5]}}, tmp_path)
    assert found is not None
    assert [row["outcome"] for row in found.rows] == ["REACHED_END", "NOT_FINITE", "REACHED_END"]
    assert found.succeeded.tolist() == [True, False, True]
    assert found.rows[1]["end"] < 3
    states = found.tensor("states")
    assert states.shape == (3, 4, 1)
    assert states[1, -1].isnan().all()
    assert torch.equal(found.tensor("states", 1), states[1, : len(found.tensor("times", 1))])
    assert states[0, -1].item() == 0.5**3  # Heun: 1 - 1 + 1/2


def test_what_is_observed_is_kept(tmp_path: Path) -> None:
    def observe(solution: pf.Solution) -> dict[str, Tensor]:
        assert isinstance(solution.dynamics, pf.PNP)
        phi = solution.dynamics.potential(solution.final)
        return {"highest": phi.amax(-1), "potential": phi}

    found, _ = run(tmp_path, observe=observe)
    assert torch.equal(found.column("highest"), found.tensor("potential").amax(-1))
    assert (found.column("highest").diff()[:4] > 0).all()
    with pytest.raises(ValueError, match=r"`name` must be one of .*'highest'.*, got 'higest'"):
        found.column("higest")
    with pytest.raises(ValueError, match="'outcome' does not hold numbers, but 'REACHED_END'"):
        found.column("outcome")
    with pytest.raises(ValueError, match=r"`name` must be one of \['potential', 'states', 'times'"):
        found.tensor("phi")


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        ({"a": torch.ones(3)}, r"'a' a tensor \(2, ...\), an entry for each case, got \(3,\)"),
        ({"a": 1.0}, "got float"),
        ({"steps": torch.ones(2)}, "returns 'steps', a name that is taken"),
        (1, "`observe` must return a dict of tensors, got int"),
    ],
)
def test_what_cannot_be_kept_is_said(tmp_path: Path, observed: Any, message: str) -> None:
    with pytest.raises(pf.SweepError, match=message):
        run(tmp_path, observe=lambda solution: observed)


def test_what_is_no_run_of_the_cases_is_said(tmp_path: Path) -> None:
    with pytest.raises(pf.SweepError, match="first batch axis is that of its 2 cases, got"):
        pf.sweep(lambda cases: decays(cases[:1]), [{"rate": 1.0}, {"rate": 2.0}], tmp_path)
    with pytest.raises(pf.SweepError, match="`solve` must return a Solution, got float"):
        pf.sweep(lambda cases: 1.0, [{"rate": 1.0}], tmp_path)  # type: ignore[arg-type, return-value]


def test_what_is_observed_of_a_case_without_an_answer_is_blank(tmp_path: Path) -> None:
    plan = {"grid": {"rate": [1.0, -1e200]}}
    found = pf.sweep(decays, plan, tmp_path, observe=lambda run: {"one": torch.ones(2)})
    assert found is not None
    assert [row["one"] for row in found.rows] == [1.0, None]
    for case in (2, -3, 99, 0.5):
        with pytest.raises(ValueError, match=f"`case` must be .* 2 cases, 0 to 1, got {case}"):
            found.tensor("states", case)  # type: ignore[arg-type]


def test_what_is_no_sweep_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*sweep\.safetensors"):
        pf.Sweep.load(tmp_path)
    (tmp_path / "sweep.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a file of a sweep, or is damaged"):
        pf.Sweep.load(tmp_path)
    run_ = blocking_cell(16, debye=0.6)
    path = pf.simulate(run_, torch.ones(2, 16, dtype=f64), times(0, 0.01)).save(
        tmp_path / "run.safetensors"
    )
    with pytest.raises(ValueError, match="is not a file of a sweep"):
        pf.Sweep.load(path)


def test_a_changed_byte_is_seen(tmp_path: Path) -> None:
    found = pf.sweep(decays, RATES, tmp_path)
    assert found is not None
    content = found.path.read_bytes()
    change_last_byte(found.path)
    with pytest.raises(ValueError, match=r"is damaged: .* is not what was written"):
        [found.tensor(name) for name in ("states", "times")]
    at = content.index(b"REACHED_END")
    found.path.write_bytes(content[:at] + b"S" + content[at + 1 :])
    with pytest.raises(ValueError, match=r"or is damaged: its header is not what was written"):
        pf.Sweep.load(tmp_path)


@pytest.mark.parametrize("depth", [0, 300, 100_000])
def test_a_header_that_python_cannot_read_is_named_with_its_file(
    tmp_path: Path, depth: int
) -> None:
    found = pf.sweep(decays, RATES, tmp_path)
    assert found is not None
    told = "[" * depth + "9" * (1 if depth else 5000) + "]" * depth
    text = json.dumps({"format": 1, "names": "HERE"}).replace('"HERE"', told)
    write_tensors(found.path, {}, "pnpfusion_sweep", text)
    with pytest.raises(ValueError, match=r"safetensors is not a file of a sweep, or is damaged"):
        pf.Sweep.load(tmp_path)


def test_equilibria_are_swept_too(tmp_path: Path) -> None:
    def at_rest(cases: list[Case]) -> pf.Solution:
        voltage = torch.tensor([case["voltage"] for case in cases], dtype=f64)
        u0 = torch.ones(len(cases), 2, 16, dtype=f64)
        return pf.equilibrium(blocking_cell(16, debye=0.6, voltage=voltage), u0)

    found = pf.sweep(at_rest, {"grid": {"voltage": VOLTAGES}}, tmp_path)
    assert found is not None
    assert {row["outcome"] for row in found.rows} == {"CONVERGED"}
    excess = found.tensor("states")[:, -1, 0, 0]
    assert (excess.diff() > 0).all()
