"""Sweeps that go on: nothing is lost and nothing is run twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.sweeps.cases import Case, name_of
from tests.sweeps.swept import (
    FILES,
    PLAN,
    RATES,
    VOLTAGES,
    Cells,
    change_last_byte,
    content,
    decays,
    run,
)


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


def test_a_part_with_a_changed_byte_is_named(tmp_path: Path) -> None:
    pf.sweep(decays, RATES, tmp_path, stack=1, shard=(0, 1))
    (first, *_) = sorted((tmp_path / "parts").iterdir())
    whole = first.read_bytes()
    change_last_byte(first)
    with pytest.raises(pf.SweepError, match=f"{first.name} is damaged: .* runs its cases"):
        pf.sweep(decays, RATES, tmp_path, stack=1)
    first.write_bytes(whole)
    assert pf.sweep(decays, RATES, tmp_path, stack=1) is not None
