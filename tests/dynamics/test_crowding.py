"""Crowding: particles leave no more room than there is, and layers saturate as Bikerman's do."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4
from tests.marks import quiet
from tests.registry import blocking_cell, f64, random, times

MONOTONE = ["scharfetter-gummel", "harmonic"]


def crowded(
    voltage, *, steric=0.2, cells=24, scheme="scharfetter-gummel", permittivity=0.1, stern=None
):
    s = torch.linspace(-1, 1, cells + 1, dtype=f64)
    edges = (torch.tanh(2.5 * s) / math.tanh(2.5) + 1,)
    return pf.PNP(
        pf.Grid((cells,), (2.0,), ("wall",), edges=edges),
        [pf.Species("cation", 1), pf.Species("anion", -1, 1.5)],
        permittivity=permittivity,
        walls={
            "x-": pf.Wall(potential=voltage / 2, stern=stern),
            "x+": pf.Wall(potential=-voltage / 2, stern=stern),
        },
        steric=steric,
        scheme=scheme,
    )


def room(states, steric):
    return float((1 - steric * states.sum(-2)).min())


@quiet
@pytest.mark.parametrize("scheme", MONOTONE)
@pytest.mark.parametrize("voltage", [1.0, 10.0, 50.0])
@pytest.mark.parametrize("stepper", [KenCarp4(), TRBDF2(), BackwardEuler(rtol=1e-3)], ids=str)
def test_runs_leave_room(stepper, voltage, scheme):
    cell = crowded(voltage, scheme=scheme)
    run = pf.simulate(cell, torch.ones(2, 24, dtype=f64), times(0, 1e-3, 0.1, 3.0), stepper=stepper)
    run.require_success()
    assert room(run.states, 0.2) > 0
    assert float(run.ledger.min_concentration) >= 0
    assert float(run.ledger.mass_error) <= 1e-12
    if voltage == 50.0:
        assert room(run.final, 0.2) < 1e-3  # it was needed


@quiet
@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10**6),
    st.floats(-50, 50),
    st.floats(0.02, 0.3),
    st.floats(-1.3, 0.5),
    st.sampled_from(MONOTONE),
    st.booleans(),
)
def test_equilibria_leave_room_and_keep_mass(seed, voltage, steric, debye, scheme, field):
    cell = crowded(voltage, steric=steric, scheme=scheme, permittivity=2 * 100**debye)
    if field:
        cell.fixed_charge = pf.Field(3 * random(24, seed=seed) - 1.5)
    c0 = 0.3 + random(2, 24, seed=seed)
    rest = pf.equilibrium(cell, c0).require_success()
    assert room(rest.final, steric) > 0
    assert float(rest.final.min()) > 0
    torch.testing.assert_close(cell.mass(rest.final), cell.mass(c0), rtol=1e-9, atol=0)


@quiet
def test_a_robust_step_that_is_too_long_fails_and_says_so_or_leaves_room():
    c0 = torch.ones(2, 24, dtype=f64)
    for dt in (1e-4, 1e-2, 1.0):
        stepper = AsymptoticPreserving(dt=dt)
        run = pf.simulate(crowded(50.0), c0, times(0, 3 * dt), stepper=stepper)
        if bool(run.succeeded.all()):
            assert room(run.states, 0.2) > 0
        else:
            assert run.outcome in (pf.Outcome.NOT_FINITE, pf.Outcome.STEP_TOO_SMALL)
    short = pf.simulate(crowded(2.0), c0, times(0, 0.01), stepper=AsymptoticPreserving(dt=1e-3))
    assert room(short.require_success().states, 0.2) > 0


def test_crowding_goes_away_with_the_volume_of_the_particles():
    c0, span = torch.ones(2, 32, dtype=f64), times(0, 0.3)
    points = blocking_cell(32, voltage=2.0, debye=0.5)
    wanted, rest = pf.simulate(points, c0, span).final, pf.equilibrium(points, c0).final
    gaps, rests = [], []
    for steric in (1e-2, 1e-3, 1e-4):
        cell = blocking_cell(32, voltage=2.0, debye=0.5)
        cell.steric = steric
        gaps.append(float((pf.simulate(cell, c0, span).final - wanted).abs().max()))
        rests.append(float((pf.equilibrium(cell, c0).final - rest).abs().max()))
    for errors in (gaps, rests):
        assert errors[0] < 1.0
        assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)
        assert errors[2] == pytest.approx(errors[1] / 10, rel=0.2)


@pytest.mark.parametrize("scheme", MONOTONE)
@pytest.mark.parametrize(
    ("nu", "v", "sigma"),
    [
        (0.1, 1.0, 1.0284423927),
        (0.1, 4.0, 5.0783056672),
        (0.01, 1.0, 1.0407797744),
        (0.01, 4.0, 6.8345449887),
    ],
)
def test_the_charge_of_a_layer_is_bikermans(nu, v, sigma, scheme):
    """nu = 2 a^3 c_0; lengths in Debye lengths, so permittivity 2; a reservoir far away.

    The differential capacitance is the derivative of sigma = sqrt(2 / nu ln(1 + 2 nu sinh^2 v/2)).
    """
    n, length = 400, 15.0
    s = torch.linspace(0, 1, n + 1, dtype=f64)
    edges = length * torch.sinh(5 * s) / math.sinh(5)
    voltage = torch.tensor(v, dtype=f64, requires_grad=True)
    cell = pf.PNP(
        pf.Grid((n,), (length,), ("wall",), edges=(edges,)),
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=2.0,
        walls={
            "x-": pf.Wall(potential=voltage),
            "x+": pf.Wall(potential=0.0, concentration={"cation": 1.0, "anion": 1.0}),
        },
        steric=nu / 2,
        scheme=scheme,
    )
    rest = pf.equilibrium(cell, torch.ones(2, n, dtype=f64)).require_success().final
    charge = cell.electrode_charge(rest, "x-") / 2  # in eps V_T / lambda_D
    assert float(charge.detach()) == pytest.approx(sigma, rel=2e-4)
    (capacitance,) = torch.autograd.grad(charge, voltage)
    wanted = math.sinh(v) / (1 + 2 * nu * math.sinh(v / 2) ** 2) / sigma
    assert float(capacitance) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("scheme", MONOTONE)
def test_the_equilibria_of_boltzmann_and_bikerman_are_exact(scheme):
    cell = crowded(6.0, scheme=scheme, permittivity=0.8)
    rest = pf.equilibrium(cell, torch.ones(2, 24, dtype=f64), tol=1e-13).require_success().final
    free = torch.log1p(-0.2 * rest.sum(0))
    for species, z in zip(rest, (1, -1), strict=True):
        mu = species.log() + z * cell.potential(rest) - free
        assert float(mu.max() - mu.min()) <= 1e-12
    assert float(cell.flux(rest).abs().max()) <= 1e-11
    for stepper in (None, TRBDF2(), BackwardEuler(dt=0.1), AsymptoticPreserving(dt=0.1)):
        moved = pf.simulate(cell, rest, times(0, 1.0), stepper=stepper).require_success().final
        # The robust step solves for the state, not for its change: round-off times dt D / h^2.
        allowed = 5e-13 if isinstance(stepper, AsymptoticPreserving) else 1e-13
        assert float((moved - rest).abs().max()) <= allowed * float(rest.max()), stepper


@pytest.mark.parametrize("stepper", [KenCarp4(), TRBDF2(), BackwardEuler(dt=0.02)], ids=str)
def test_energy_falls(stepper):
    cell, c0 = crowded(8.0, permittivity=0.8), torch.ones(2, 24, dtype=f64)
    run = pf.simulate(cell, c0, torch.linspace(0, 1, 21).double(), stepper=stepper)
    assert float(run.ledger.energy_drop) > 0.1
    assert float(run.ledger.energy_largest_rise) <= 1e-12 * 8


def test_the_energy_is_the_potential_of_the_motion():
    cell, c = crowded(2.0), (0.5 + random(2, 24)).requires_grad_()
    (gradient,) = torch.autograd.grad(cell.energy(c), c)
    mu = c.log() + torch.tensor([[1.0], [-1.0]]) * cell.potential(c)
    mu = mu - torch.log1p(-0.2 * c.sum(0))
    torch.testing.assert_close(gradient / cell.grid.weights, mu, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("steric", "c0", "message"),
    [
        (0.2, torch.full((2, 24), 3.0, dtype=f64), "leaves no room"),
        (0.0, torch.ones(2, 24, dtype=f64), "`steric` must be > 0"),
        (float("nan"), torch.ones(2, 24, dtype=f64), "`steric` must be finite"),
        (pf.Field(torch.ones(24)), torch.ones(2, 24, dtype=f64), "`steric` must be a number"),
    ],
)
def test_what_cannot_be_says_so(steric, c0, message):
    with pytest.raises(ValueError, match=message):
        pf.simulate(crowded(1.0, steric=steric), c0, times(0, 0.1))


def test_a_reservoir_that_leaves_no_room_says_so():
    reservoir = pf.Wall(potential=0.0, concentration={"cation": 3.0, "anion": 3.0})
    grid, ions = (
        pf.Grid((8,), (1.0,), ("wall",)),
        [pf.Species("cation", 1), pf.Species("anion", -1)],
    )
    with pytest.raises(ValueError, match="leave no room"):
        pf.PNP(grid, ions, permittivity=1.0, walls={"x-": reservoir}, steric=0.2)


def test_single_precision():
    cell = crowded(4.0, permittivity=0.8)
    double = pf.simulate(cell, torch.ones(2, 24, dtype=f64), times(0, 0.5)).final
    run = pf.simulate(cell, torch.ones(2, 24), torch.tensor([0.0, 0.5])).require_success()
    torch.testing.assert_close(run.final.double(), double, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("recorded", [False, True])  # recorded runs are not compiled
def test_each_sample_has_its_own_crowding(recorded):
    steric = torch.tensor([0.05, 0.1, 0.2], dtype=f64)
    c0, span = 0.6 + random(3, 2, 24), times(0, 1e-3, 0.05, 0.3)
    c0 = c0.requires_grad_(recorded)
    together = pf.simulate(crowded(4.0, steric=steric, permittivity=0.8), c0, span)
    for i in range(3):
        cell = crowded(4.0, steric=float(steric[i]), permittivity=0.8)
        alone = pf.simulate(cell, c0[i], span)
        torch.testing.assert_close(together.final[i], alone.final, rtol=1e-9, atol=1e-10)
