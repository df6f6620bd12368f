"""Batches whose samples differ in kind, walls that change, and what they must not hide."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, KenCarp4
from tests.marks import quiet
from tests.registry import f64, times

pytestmark = quiet
SALT = [pf.Species("salt", 0), pf.Species("cation", 1), pf.Species("anion", -1)]


def line(cells=16, **settings):
    ions = settings.pop("species", SALT[1:])
    return pf.PNP(pf.Grid((cells,), (1.0,), ("wall",)), ions, permittivity=0.1, **settings)


def test_no_concentration_at_rest_is_cut_off():
    """A Boltzmann factor of e^-60 and less is a number, not nothing."""
    walls = {"x-": pf.Wall(potential=-70.0), "x+": pf.Wall(potential=70.0)}
    rest = pf.equilibrium(line(32, walls=walls), torch.ones(2, 32, dtype=f64)).require_success()
    assert 0 < float(rest.final.min()) < 1e-20


def test_a_reaction_runs_both_ways_in_all_samples_or_in_none():
    backward = torch.tensor([0.5, 0.0], dtype=f64)
    cell = line(species=SALT, reactions=[pf.Reaction(["salt"], ["cation", "anion"], 2.0, backward)])
    with pytest.raises(ValueError, match="must be > 0 everywhere or 0 everywhere"):
        pf.simulate(cell, torch.ones(2, 3, 16, dtype=f64), times(0, 0.1))


@pytest.mark.parametrize("axes", [1, 2])
def test_samples_with_and_without_charge_rest_together(axes):
    grid = pf.Grid((6, 5)[:axes], (1.0, 1.0)[:axes], ("periodic", "wall")[:axes])
    ions = [pf.Species("a", torch.tensor([1.0, 0.0], dtype=f64)), pf.Species("b", -1)]
    wave = 1 + 0.3 * torch.sin(2 * math.pi * torch.arange(6) / 6).double()
    a = wave.reshape(6, *(1,) * (axes - 1)).expand(grid.shape)
    b = torch.stack([a, 0 * a])
    cell = pf.PNP(grid, ions, permittivity=1.0)
    rest = pf.equilibrium(cell, torch.stack([torch.stack([a, a]), b], 1)).require_success()
    torch.testing.assert_close(rest.final[:, 0], torch.ones(2, *grid.shape, dtype=f64))


def test_a_reaction_from_one_side_rests_by_whichever_way():
    cell = line(species=SALT, reactions=[pf.Reaction(["salt"], ["cation", "anion"], 2.0, 1.0)])
    c0 = torch.zeros(2, 3, 16, dtype=f64)
    c0[0, 0], c0[1, 1:] = 1.0, 1.0
    rest = pf.equilibrium(cell, c0).require_success()
    x = rest.final[..., 0]
    torch.testing.assert_close(2 * x[:, 0], x[:, 1] * x[:, 2], rtol=1e-8, atol=1e-10)


def test_an_input_of_none_is_refused():
    cell = line(walls={"x-": pf.Wall(potential=1.0)})
    with pytest.raises(ValueError, match="potential:x-"):
        pf.equilibrium(cell, torch.ones(2, 16, dtype=f64), x={"potential:x-": None})


def test_fluxes_of_each_sample_in_a_box_balance_or_say_so():
    inflow = torch.tensor([0.1, 0.2], dtype=f64)
    grid = pf.Grid((5, 4), (1.0, 1.0), ("wall", "wall"))
    for back, balanced in ((-inflow, True), (-0.9 * inflow, False)):
        walls = {
            "x-": pf.Wall(potential=0.1, flux={"cation": inflow}),
            "x+": pf.Wall(potential=0.0, flux={"cation": back}),
        }
        cell = pf.PNP(grid, SALT[1:], permittivity=0.5, walls=walls)
        rest = pf.equilibrium(cell, torch.ones(2, 2, 5, 4, dtype=f64))
        assert rest.succeeded.tolist() == [balanced, balanced]


# ---- walls that change with time


def test_a_parameter_that_acts_only_later_has_its_gradient():
    def final(u):
        walls = {
            "x-": pf.Wall(potential=lambda t: torch.where(t > 0.05, u * (t - 0.05), 0 * t)),
            "x+": pf.Wall(potential=0.0),
        }
        c0, stepper = torch.ones(2, 16, dtype=f64), KenCarp4(dt=5e-3)
        return pf.simulate(line(walls=walls), c0, times(0, 0.1), stepper=stepper).final

    u = torch.tensor(2.0, dtype=f64, requires_grad=True)
    (gradient,) = torch.autograd.grad(final(u)[0, 0], u)
    difference = (final(u + 1e-3) - final(u - 1e-3))[0, 0] / 2e-3
    assert float(gradient) == pytest.approx(float(difference.detach()), rel=1e-2)


def test_a_box_that_does_not_stay_neutral_is_refused():
    cell = line(walls={"x-": pf.Wall(surface_charge=lambda t: t)})
    with pytest.raises(ValueError, match=r"at t = 0.5` carries a net charge of 0.5"):
        pf.simulate(cell, torch.ones(2, 16, dtype=f64), times(0, 0.5, 1.0))


def test_a_run_begins_at_its_own_time():
    walls = {"x-": pf.Wall(potential=torch.log), "x+": pf.Wall(potential=0.0)}
    run = pf.simulate(line(walls=walls), torch.ones(2, 16, dtype=f64), times(1.0, 1.1))
    assert run.outcome is pf.Outcome.REACHED_END
    assert bool(run.ledger.free_energy.isfinite().all())


def test_a_stern_layer_that_changes_has_no_displacement_current_of_ours():
    cell = line(walls={"x-": pf.Wall(potential=1.0, stern=lambda t: 0.1 + t)})
    with pytest.raises(ValueError, match="Stern layers that change with time"):
        cell.displacement_current(torch.ones(2, 16, dtype=f64), t=0.0)


# ---- series


def test_steps_chosen_for_series_keep_their_tolerance():
    """Also where a fixed charge drives the ions quickly."""
    grid = pf.Grid((64,), (1.0,), ("periodic",))
    fixed = pf.Field(20 * torch.cos(2 * math.pi * grid.coordinates(0)))
    cell = pf.PNP(grid, SALT[1:], permittivity=0.1, fixed_charge=fixed, scheme="spectral")
    c0, span = torch.ones(2, 64, dtype=f64), times(0, 5e-3)
    exact = pf.simulate(cell, c0, span, stepper=ETDRK4(dt=2e-6)).final
    for rtol in (1e-3, 1e-5):
        run = pf.simulate(cell, c0, span, rtol=rtol)
        assert float((run.final - exact).abs().max() / exact.abs().max()) < 3 * rtol
    with pytest.raises(ValueError, match="no `atol`"):
        pf.simulate(cell, c0, span, atol=1e-3)


def test_a_state_without_free_energy_is_not_one_whose_energy_never_rises():
    grid = pf.Grid((32,), (1.0,), ("periodic",))
    spike = torch.full((32,), 1e-6, dtype=f64)
    spike[10] = 1.0
    cell = pf.PNP(grid, SALT[1:], permittivity=0.01, scheme="spectral")
    run = pf.simulate(cell, torch.stack([spike, spike]), times(0, 1e-5), stepper=ETDRK4(dt=1e-5))
    assert float(run.ledger.min_concentration) < 0
    assert math.isnan(float(run.ledger.energy_largest_rise))
