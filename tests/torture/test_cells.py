"""The short form of made cells, and that what looks at them can see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import pnpfusion as pf
from tests.registry import blocking_cell, f64
from tests.torture import cells
from tests.torture.guarantees import kept
from tests.torture.made_cells import Case
from tests.torture.report import Report


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_made_cells_keep_what_is_promised(seed: int) -> None:
    assert cells.main(["--count", "30", "--seed", str(seed)]) == 0


def test_a_few_made_cells_keep_what_is_promised() -> None:
    assert cells.main(["--count", "6", "--seed", "3"]) == 0


def test_what_a_run_breaks_is_seen() -> None:
    cell, c0 = blocking_cell(8, debye=1.0), torch.ones(2, 2, 8, dtype=f64)
    times = torch.tensor([0.0, 0.1, 0.2], dtype=f64)
    run = pf.simulate(cell, c0, times)
    case = Case(cell, c0, times, None, "simulate", "a cell")
    assert not [*kept(case, run)]
    lost = run.states.clone()
    lost[-1] *= 1 - 1e-9
    below = run.states.clone()
    below[-1, 0, 0, 0] -= 5
    below[-1, 0, 0, 1] += 5
    torn = run.states.clone()
    torn[-1, 0, 0, 0] = torch.nan
    for states, what in ((lost, "mass"), (below, "smallest"), (torn, "not finite")):
        assert any(what in why for why in kept(case, replace(run, states=states)))


def test_a_state_that_is_not_at_rest_is_seen() -> None:
    cell, c0 = blocking_cell(8, debye=1.0), torch.ones(2, 2, 8, dtype=f64)
    run = pf.equilibrium(cell, c0)
    case = Case(cell, c0, torch.zeros(1), None, "equilibrium", "a cell")
    assert not [*kept(case, run)]
    tilt = 1 + 1e-4 * torch.linspace(-1, 1, 8, dtype=f64)
    moved = replace(run, states=run.states * tilt)
    assert any("the rate at rest" in why for why in kept(case, moved))


def test_a_report_counts_and_says_how_to_try_again(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("cells", 7)
    report.passed()
    report.passed("gave up honestly")
    assert report.close() == 0
    report.failed(12, "it broke")
    assert report.close() == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "cells: 2 tried, 0 failed, 1 gave up honestly, seed 7"
    assert "python -m tests.torture.cells --seed 7 --case 12" in said[2]
    assert said[-1] == "cells: 3 tried, 1 failed, 1 gave up honestly, seed 7"
    assert Report("cells", 7).close() == 1  # nothing was tried
