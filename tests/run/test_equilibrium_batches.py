"""Batches of cells at rest: each sample has its own answer, and its own failure."""

import math

import pytest
import torch

import pnpfusion as pf
from tests.marks import quiet
from tests.registry import f64, masked_walls
from tests.run.cells_at_rest import ELECTRODES, MEMBRANE, RESERVOIR, box, line, start


@quiet
def test_a_sample_does_not_depend_on_its_mates_though_their_iterations_differ():
    voltages, counts = torch.tensor([0.01, 3.0, 40.0], dtype=f64), set()
    for make in (
        lambda u: line({"x-": pf.Wall(potential=u), "x+": pf.Wall(potential=0.0)}),
        lambda u: line({"x-": pf.Wall(potential=u), "x+": pf.Wall(potential=0.0)}, steric=0.1),
        lambda u: line(
            {
                "x-": pf.Wall(potential=u / 4, concentration=RESERVOIR),
                "x+": pf.Wall(potential=0.0, concentration={"cation": 0.3, "anion": 0.3}),
            }
        ),
        lambda u: masked_walls(voltage=u),
        lambda u: box({"x-": pf.Wall(potential=u / 10)}, scheme="central"),
    ):
        c0 = start(make(1.0), 3)
        together = pf.equilibrium(make(voltages), c0).require_success()
        counts.add(len(set(together.work.iterations.tolist())))
        for i in range(3):
            alone = pf.equilibrium(make(voltages[i]), c0[i]).require_success()
            torch.testing.assert_close(together.final[i], alone.final, rtol=1e-9, atol=1e-12)
    assert max(counts) > 1


@quiet
def test_success_is_told_for_each_sample():
    """No steady state above the limiting flux 2 D c / L of cations."""
    flux = torch.tensor([0.5, 1.0, 50.0], dtype=f64)
    walls = {
        "x-": pf.Wall(potential=0.0, flux={"cation": flux}),
        "x+": pf.Wall(potential=0.0, flux={"cation": -flux}),
    }
    run = pf.equilibrium(line(walls, permittivity=0.01), torch.ones(3, 2, 12, dtype=f64))
    assert run.succeeded.tolist()[:2] == [True, True]
    assert not bool(run.succeeded[2]) or float(run.final[2].min()) > 0
    if not run.succeeded.all():
        assert run.outcome in (pf.Outcome.NOT_CONVERGED, pf.Outcome.NOT_FINITE)
        with pytest.raises(pf.SolveError, match="1 of 3 samples"):
            run.require_success()
    assert bool(run.final[:2].isfinite().all())


@quiet
def test_what_is_fed_without_balance_never_rests():
    inflow = torch.tensor([0.4, 0.5], dtype=f64)
    walls = {
        "x-": pf.Wall(potential=0.5, flux={"cation": inflow}),
        "x+": pf.Wall(potential=0.0, flux={"cation": -0.4}),
    }
    run = pf.equilibrium(line(walls), start(line(walls), 2))
    assert run.succeeded.tolist() == [True, False]
    assert run.outcome is pf.Outcome.NOT_CONVERGED


@quiet
@pytest.mark.parametrize("flux", [0.25, 0.5, 0.9])
def test_an_applied_current_below_the_limiting_one(flux):
    """L the half width: at fraction j of 2 D c / L the middle of a cell has c = 1 - j x."""
    s = torch.linspace(-1, 1, 129, dtype=f64)
    edges = ((torch.tanh(2.5 * s) / math.tanh(2.5) + 1).tolist(),)
    grid = pf.Grid((128,), (2.0,), ("wall",), edges=edges)
    potential = 2 * math.atanh(flux)
    cell = pf.PNP(
        grid,
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=2e-6,
        walls={
            "x-": pf.Wall(potential=potential, flux={"cation": 2 * flux}),
            "x+": pf.Wall(potential=0.0, flux={"cation": -2 * flux}),
        },
    )
    rest = pf.equilibrium(cell, torch.ones(2, 128, dtype=f64)).require_success().final
    inside = slice(32, 96)
    wanted = 1 - flux * (grid.coordinates(0) - 1)
    torch.testing.assert_close(rest[0][inside], wanted[inside], rtol=2e-3, atol=2e-3)
    drop = cell.potential(rest)[[32, 95]]
    expected = math.log(float(wanted[32] / wanted[95]))
    assert float(drop[0] - drop[1]) == pytest.approx(expected, rel=1e-3)


@quiet
def test_several_batch_axes_and_an_empty_batch():
    voltage = torch.linspace(0, 2, 6, dtype=f64).reshape(2, 3)
    cell = line({"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)})
    run = pf.equilibrium(cell, torch.ones(2, 3, 2, 12, dtype=f64)).require_success()
    assert run.final.shape == (2, 3, 2, 12)
    assert run.succeeded.shape == run.work.iterations.shape == (2, 3)
    for cell in (line(ELECTRODES), line(MEMBRANE)):
        none = pf.equilibrium(cell, torch.ones(0, 2, 12, dtype=f64))
        assert none.states.shape == (2, 0, 2, 12)
