"""What a picture takes for time."""

from dataclasses import replace
from pathlib import Path

import torch

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.visualize.clock import Clock
from tests.marks import quiet
from tests.registry import blocking_cell, f64
from tests.run.three_laws import deep_equilibrium
from tests.visualize.drawn import titles

pytestmark = quiet


def test_the_clock_knows_the_verb(tmp_path: Path) -> None:
    law, u0, x, _ = deep_equilibrium()
    cell, c0 = blocking_cell(8, debye=0.5), torch.ones(2, 8, dtype=f64)
    whole = torch.arange(4.0, dtype=f64)
    runs = [
        (pf.unroll(law, u0, 4, x=x), "rounds"),
        (pf.unroll(law, u0, 1, x=x), "rounds"),
        (pf.equilibrium(law, u0, x=x), "rest"),
        (pf.equilibrium(cell, c0), "rest"),
        (pf.equilibrium(cell, pf.equilibrium(cell, c0).final), "rest"),
        (pf.simulate(law, u0, whole, x=x), "time"),
        (pf.simulate(cell, c0, whole[:2]), "time"),
    ]
    for run, kind in runs:
        assert Clock.of(run).kind == kind
    kept = pf.load(runs[3][0].save(tmp_path / "run"))
    assert Clock.of(kept).kind == "rest"


def test_an_iteration_is_not_taken_for_time() -> None:
    """No title, axis or legend of a state of rest speaks of a time."""
    cell = blocking_cell(8, debye=0.5)
    run = pf.equilibrium(cell, torch.ones(2, 8, dtype=f64))
    for figure in (
        visualize.plot_profiles(run),
        visualize.plot_space_time(run, "cation"),
        visualize.plot_ledger(run),
    ):
        texts = [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]
        assert not [text for text in texts if "time" in text or "t =" in text]
    failed = replace(run, succeeded=torch.tensor(False), outcome=pf.Outcome.NOT_CONVERGED)
    for figure in (visualize.plot_profiles(failed), visualize.plot_ledger(failed)):
        assert " to come to rest: " in titles(figure)[0]
