"""Sweeps: which cases there are, what is kept of each, and that nothing is lost or run twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.solvers import Heun
from pnpfusion.sweeps.cases import Case, expand, in_blocks, name_of
from tests.registry import Decay, blocking_cell, f64, times

VOLTAGES = [0.0, 0.5, 1.0, 1.5, 2.0]
PLAN = {"duration": 0.02, "grid": {"debye": [0.6, 0.8], "voltage": VOLTAGES}}
FILES = ["sweep.safetensors", "table.csv", "summary.json"]


class Cells:
    """Runs cells that differ in their voltage, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[Case]] = []

    def __call__(self, cases: list[Case]) -> pf.Solution:
        self.calls.append(cases)
        (debye,) = {case["debye"] for case in cases}
        voltage = torch.tensor([case["voltage"] for case in cases], dtype=f64)
        cell = blocking_cell(16, debye=debye, voltage=voltage)
        return pf.simulate(
            cell, torch.ones(len(cases), 2, 16, dtype=f64), times(0, cases[0]["duration"])
        )


def decays(cases: list[Case]) -> pf.Solution:
    """One number that decays, or blows up where the rate is far below 0."""
    rates = torch.tensor([[case["rate"]] for case in cases], dtype=f64)
    return pf.simulate(
        Decay(),
        torch.ones(len(cases), 1, dtype=f64),
        times(0, 1, 2, 3),
        x=rates,
        stepper=Heun(dt=1.0),
    )


def run(folder: Path, plan: Any = PLAN, **settings: Any) -> tuple[pf.Sweep, Cells]:
    cells = Cells()
    found = pf.sweep(cells, plan, folder, alike=["debye"], stack=2, **settings)
    assert found is not None
    return found, cells


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_plan_is_all_combinations_and_then_the_cases() -> None:
    found = expand({"a": 1, "grid": {"b": [1, 2], "c": ["x", None]}, "cases": [{"a": 3}, {"b": 1}]})
    assert found == [
        {"a": 1, "b": 1, "c": "x"},
        {"a": 1, "b": 1, "c": None},
        {"a": 1, "b": 2, "c": "x"},
        {"a": 1, "b": 2, "c": None},
        {"a": 3},
        {"a": 1, "b": 1},
    ]
    assert expand([{"a": 1}]) == [{"a": 1}]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"voltage": [1]}, r'neither "grid" nor "cases", but \[\'voltage\'\]; wanted e.g.'),
        ({"grid": [1]}, r'"grid" must map names to lists .*, got \[1\]'),
        ({"grid": {}}, '"grid" must map names to lists'),
        ({"grid": {"a": 1}}, "\"grid\" must give 'a' a list of at least one value, .* got 1"),
        ({"grid": {"a": []}}, "\"grid\" must give 'a' a list of at least one value"),
        ({"a": 1, "grid": {"a": [1]}}, r"\['a'\] stand both in \"grid\" and beside it"),
        ({"cases": {}}, '"cases" must be a list of at least one case'),
        ({"cases": [1]}, '"cases" must hold dicts .*, got 1 at 0'),
        ([], '"cases" must be a list of at least one case'),
        ([{"a": float("nan")}], "must give 'a' a finite number, .* got nan"),
        ([{"a": torch.ones(2)}], r"got tensor.* \(Tensor\); of tensors and arrays take .tolist"),
        ([{1: 2}], "must have names that are text, got 1"),
    ],
)
def test_a_plan_that_cannot_be_read(tmp_path: Path, plan: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"`cases` cannot be read: .*{message}"):
        pf.sweep(decays, plan, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stack": 0}, "`stack` must be a whole number >= 1, got 0"),
        ({"alike": "rate"}, "`alike` must be a list of names, got 'rate'"),
        ({"shard": (2, 2)}, r"`shard` must be \(k, n\) with 0 <= k < n, got \(2, 2\)"),
        ({"shard": 1}, "`shard` must be"),
        ({"alike": ["cell"]}, r"`alike` must name parameters of cases, \['rate'\], got \['cell'\]"),
        ({"version": 2}, "`version` must be text, got 2"),
        ({"shard": (0, 2), "overwrite": True}, "`overwrite` would take away what other shards"),
    ],
)
def test_wrong_arguments(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pf.sweep(decays, [{"rate": 1.0}], tmp_path, **settings)
    with pytest.raises(ValueError, match="`solve` must be a function, got int"):
        pf.sweep(1, [{"rate": 1.0}], tmp_path)  # type: ignore[arg-type]


def test_blocks_hold_what_is_alike_and_nothing_twice() -> None:
    cases = [{"a": a, "b": b} for b in range(5) for a in (0, 1)] + [{"a": 0, "b": 0}]
    blocks = in_blocks(cases, ["a"], 2)
    assert blocks == [[0, 2], [1, 3], [4, 6], [5, 7], [8], [9]]


def test_a_name_is_that_of_the_parameters_alone() -> None:
    assert name_of({"a": 1, "b": 2}) == name_of({"b": 2, "a": 1})
    assert name_of({"a": 1}) != name_of({"a": 1.5})


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


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=repr)
def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path, error: BaseException) -> None:
    whole, _ = run(tmp_path / "whole")
    cells = Cells()

    def third_time_unlucky(cases: list[Case]) -> pf.Solution:
        if len(cells.calls) == 3:
            raise error
        return cells(cases)

    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else pf.SweepError
    with pytest.raises(wanted) as stop:
        pf.sweep(third_time_unlucky, PLAN, tmp_path / "halves", alike=["debye"], stack=2)
    if wanted is pf.SweepError:
        assert "failed at cases [5, 6] of 10, which begin with {'debye': 0.8, 'voltage'" in str(
            stop.value
        )
        assert "RuntimeError: broken. What was finished is kept: 5 of 10 cases" in str(stop.value)
    assert not (tmp_path / "halves" / "table.csv").exists()
    _, rest = run(tmp_path / "halves")
    asked = [case for call in [*cells.calls, *rest.calls] for case in call]
    assert len(asked) == 10
    assert {name_of(case) for case in asked} == {name_of(case) for case in whole.cases}
    assert content(tmp_path / "halves") == content(tmp_path / "whole")
    _, none = run(tmp_path / "halves")
    assert none.calls == []
    assert content(tmp_path / "halves") == content(tmp_path / "whole")


def test_shards_make_the_same_file(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    for k in (2, 0, 1):
        cells = Cells()
        made = pf.sweep(cells, PLAN, tmp_path / "n", alike=["debye"], stack=2, shard=(k, 3))
        assert made is None
        assert len(cells.calls) == 2
    _, last = run(tmp_path / "n")
    assert last.calls == []
    assert content(tmp_path / "n") == content(tmp_path / "whole")


def test_a_longer_list_runs_what_is_new_and_another_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "grows"
    run(folder)
    longer = {**PLAN, "cases": [{"debye": 0.6, "voltage": 0.25}, {"debye": 0.6, "voltage": 0.5}]}
    found, cells = run(folder, longer)
    assert [[case["voltage"] for case in call] for call in cells.calls] == [[0.25]]
    assert found.column("voltage").tolist() == [*VOLTAGES, *VOLTAGES, 0.25, 0.5]
    assert torch.equal(found.tensor("states", 11), found.tensor("states", 1))
    before, shorter = content(folder), [{"debye": 0.6, "voltage": 1.0, "duration": 0.02}]
    with pytest.raises(pf.SweepError, match="another sweep: 10 of its 12 cases are not among"):
        run(folder, shorter)
    assert content(folder) == before
    alone, cells = run(folder, shorter, overwrite=True)
    assert (len(alone.cases), len(cells.calls)) == (1, 1)
    assert sorted(content(folder)) == sorted(FILES)


def test_one_sweep_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    def within(shard: tuple[int, int] | None) -> Any:
        def solve(cases: list[Case]) -> pf.Solution:
            pf.sweep(decays, [{"rate": 1.0}, {"rate": 2.0}], tmp_path / "a", stack=1, shard=shard)
            return decays(cases)

        return solve

    plan = [{"rate": 1.0}]
    for inner, outer in ((None, None), (None, (0, 1)), ((0, 2), None)):
        with pytest.raises(pf.SweepError, match="a is in use by another sweep"):
            pf.sweep(within(inner), plan, tmp_path / "a", shard=outer)
    pf.sweep(within((1, 2)), plan, tmp_path / "a", shard=(0, 1))  # shares may
    assert pf.sweep(decays, [{"rate": 1.0}, {"rate": 2.0}], tmp_path / "a") is not None
    assert sorted(content(tmp_path / "a")) == sorted(FILES)


def test_what_finished_cases_lack_is_said(tmp_path: Path) -> None:
    def last(solution: pf.Solution) -> dict[str, Tensor]:
        return {"last": solution.final[:, 0]}

    def more(solution: pf.Solution) -> dict[str, Tensor]:
        return last(solution) | {"twice": 2 * solution.final[:, 0]}

    plan, longer = [{"rate": 1.0}], [{"rate": 1.0}, {"rate": 0.5}]
    pf.sweep(decays, plan, tmp_path / "a")
    with pytest.warns(UserWarning, match="cases without what `observe` gives, and finished"):
        pf.sweep(decays, plan, tmp_path / "a", observe=last)
    pf.sweep(decays, plan, tmp_path / "b", observe=last)
    pf.sweep(decays, plan, tmp_path / "b", observe=last)
    with pytest.warns(UserWarning, match=r"cases without \['twice'\], and finished"):
        pf.sweep(decays, longer, tmp_path / "b", observe=more)
    with pytest.raises(pf.SweepError, match="another sweep: 2 of its 2 cases"):
        pf.sweep(decays, longer, tmp_path / "b", observe=more, version="2")
    found = pf.sweep(decays, longer, tmp_path / "b", observe=more, version="2", overwrite=True)
    assert found is not None
    assert torch.equal(found.column("twice"), 2 * found.column("last"))
    assert [case["version"] for case in found.cases] == ["2", "2"]


def test_what_is_observed_of_a_case_without_an_answer_is_blank(tmp_path: Path) -> None:
    plan = {"grid": {"rate": [1.0, -1e200]}}
    found = pf.sweep(decays, plan, tmp_path, observe=lambda run: {"one": torch.ones(2)})
    assert found is not None
    assert [row["one"] for row in found.rows] == [1.0, None]
    for case in (2, -3, 99, 0.5):
        with pytest.raises(ValueError, match=f"`case` must be .* 2 cases, 0 to 1, got {case}"):
            found.tensor("states", case)  # type: ignore[arg-type]


def test_a_damaged_part_is_run_again(tmp_path: Path) -> None:
    run(tmp_path / "whole")
    for k in (0, 1):
        pf.sweep(Cells(), PLAN, tmp_path / "n", alike=["debye"], stack=2, shard=(k, 2))
    part = sorted((tmp_path / "n" / "parts").iterdir())[0]
    part.write_bytes(part.read_bytes()[:100])
    with pytest.warns(UserWarning, match="is damaged: .* Its cases are run again"):
        _, cells = run(tmp_path / "n")
    assert len(cells.calls) == 1
    assert content(tmp_path / "n") == content(tmp_path / "whole")


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
