"""What every run of a PNP cell must keep: mass, positivity, energy, Boltzmann, symmetry."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers import (
    TRBDF2,
    AsymptoticPreserving,
    BackwardEuler,
    KenCarp4,
)
from tests.dynamics.promises import assert_energy_never_rises, assert_mass_and_positivity
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, blocking_cell, f64, ring, times

MONOTONE = ["scharfetter-gummel", "harmonic"]


@st.composite
def closed_cells(draw, neutral=False):
    """A closed cell over six decades of Debye length, and a state with steep and thin places."""
    cells = draw(st.integers(2, 24))
    boundary = draw(st.sampled_from(["wall", "periodic"]))
    scheme = draw(st.sampled_from(MONOTONE))
    # Harmonic weights saturate: at steps of hundreds of thermal volts between cells Newton's method
    # has no slope to go by (docs/design.md, Limits).
    debye = 10 ** draw(st.floats(-5 if scheme == "scharfetter-gummel" else -2, 1))
    voltage = draw(st.floats(-5, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    valences = draw(st.sampled_from([(1, -1), (2, -1), (1, -1, -2), (1, 1, -1, -1), (1, 0, -1)]))
    diffusivities = [10 ** draw(st.floats(-1, 1)) for _ in valences]
    c0 = 10 ** (3 * torch.rand(2, len(valences), cells, dtype=f64, generator=generator) - 2)
    if neutral:
        z = torch.tensor(valences, dtype=f64)[:, None]
        plus, minus = ((z * sign).clamp_min(0) * c0 for sign in (1, -1))
        c0 = torch.where(z < 0, c0 * (plus.sum(1) / minus.sum(1))[:, None], c0)
    charge = (torch.tensor(valences, dtype=f64)[:, None] * c0).sum(1).mean(-1)
    walls = None
    fixed = -charge
    if boundary == "wall":
        walls = {"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)}
        fixed = 0.0
    cell = pf.PNP(
        pf.Grid((cells,), (1.0,), (boundary,)),
        [
            pf.Species(f"s{i}", z, d)
            for i, (z, d) in enumerate(zip(valences, diffusivities, strict=True))
        ],
        permittivity=2 * debye**2,
        walls=walls,
        fixed_charge=fixed,
        scheme=scheme,
    )
    return cell, c0


@quiet
@settings(max_examples=10, deadline=None)
@given(
    closed_cells(neutral=True),
    st.sampled_from(
        [TRBDF2(1e-3, max_steps=2000), KenCarp4(1e-3, max_steps=2000), BackwardEuler(1e-2)]
    ),
)
def test_closed_cells_keep_mass_and_stay_positive(made, stepper):
    cell, c0 = made
    run = pf.simulate(cell, c0, times(0, 1e-4, 0.01, 0.1), stepper=stepper).require_success()
    assert_mass_and_positivity(run)


@quiet
@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(closed_cells(), st.sampled_from([TRBDF2, KenCarp4, BackwardEuler]))
def test_even_fields_of_a_million_volts_break_neither(made, method):
    """States far from neutral: whether or not the run gets to its end in so few steps."""
    cell, c0 = made
    run = pf.simulate(cell, c0, times(0, 1e-4, 0.1), stepper=method(rtol=1e-2, max_steps=30))
    assert float(run.ledger.mass_error.max()) <= 1e-12
    assert float(run.ledger.min_concentration.min()) >= 0  # e^-1000000 is 0 in float64


@quiet
@pytest.mark.parametrize("method", [TRBDF2, KenCarp4])
@pytest.mark.parametrize("reacts", [False, True])
def test_nor_do_fixed_steps_of_which_no_error_is_measured(method, reacts):
    """Their explicit stage may be 10^8 times the state, and so lose 10^-8 of it to round-off."""
    c0 = 10 ** (3 * torch.rand(2, 3, 23, dtype=f64, generator=torch.Generator().manual_seed(0)) - 2)
    c0[:, 1] *= (c0[:, 0].sum(-1) / c0[:, 1].sum(-1))[:, None]
    c0[1, 2] = 0
    species = [pf.Species("cation", 1, 0.35), pf.Species("anion", -1, 100.0), pf.Species("salt", 0)]
    cell = pf.PNP(
        pf.Grid((23,), (1.4,), ("periodic",)),
        species,
        permittivity=2e-9,
        reactions=[pf.Reaction(["salt"], ["cation", "anion"], 1.0, 1.0)] if reacts else [],
    )
    run = pf.simulate(cell, c0, times(0, 0.01, 0.7), stepper=method(dt=0.07)).require_success()
    assert float(run.ledger.mass_error.max()) <= 1e-13
    assert float(run.ledger.min_concentration.min()) >= 0


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_a_thousand_fixed_steps_lose_no_more_than_one(dtype):
    cell, c0 = blocking_cell(64, voltage=2.0), torch.ones(2, 64, dtype=dtype)
    run = pf.simulate(cell, c0, times(0, 1), stepper=BackwardEuler(dt=1e-3)).require_success()
    assert int(run.work.steps) == 1000
    assert float(run.ledger.mass_error) <= 16 * torch.finfo(dtype).eps


@quiet
@settings(max_examples=40, deadline=None)
@given(closed_cells(neutral=True), st.floats(-6, 3))
def test_the_robust_step_keeps_mass_and_positivity_at_any_step(made, exponent):
    cell, c0 = made
    dt = 10**exponent
    run = pf.simulate(cell, c0, times(0, 3 * dt), stepper=AsymptoticPreserving(dt=dt))
    assert_mass_and_positivity(run)


@quiet
@settings(max_examples=20, deadline=None)
@given(closed_cells(), st.floats(-6, 1))
def test_energy_never_rises_under_backward_euler(made, exponent):
    cell, c0 = made
    assert_energy_never_rises(cell, c0, 10**exponent, steps=5)


@pytest.mark.parametrize("stepper", [TRBDF2(), KenCarp4(), BackwardEuler()])
def test_energy_falls_in_the_reference_cell_under_every_implicit_stepper(stepper):
    c0 = torch.ones(2, 64, dtype=f64)
    run = pf.simulate(
        blocking_cell(64, voltage=2.0), c0, torch.linspace(0, 1, 21).double(), stepper=stepper
    )
    assert float(run.ledger.energy_drop) > 0.1
    assert float(run.ledger.energy_largest_rise) <= 1e-12 * 2


def equilibrium_of(cell, c0):
    """A discrete Boltzmann equilibrium: relaxed by long implicit steps, then by Newton itself."""
    run = pf.simulate(cell, c0, times(0, 1e3), rtol=1e-8)
    return pf.simulate(cell, run.final, times(0, 1e6), stepper=BackwardEuler(dt=1e5)).final


@pytest.mark.parametrize("scheme", MONOTONE)
@pytest.mark.parametrize("voltage", [0.3, 3.0])
def test_boltzmann_equilibria_are_exact(scheme, voltage):
    cell = blocking_cell(64, voltage=voltage, scheme=scheme)
    rest = equilibrium_of(cell, torch.ones(2, 64, dtype=f64))
    phi = cell.potential(rest)
    for species, z in zip(rest, (1, -1), strict=True):
        mu = species.log() + z * phi
        assert float(mu.max() - mu.min()) <= 1e-11
    assert float(cell.flux(rest).abs().max()) <= 1e-10
    for stepper in (None, BackwardEuler(dt=0.1), AsymptoticPreserving(dt=0.1)):
        moved = pf.simulate(cell, rest, times(0, 1.0), stepper=stepper).final
        assert float((moved - rest).abs().max()) <= 1e-13 * float(rest.max())


def test_central_faces_do_not_claim_it():
    cell = blocking_cell(64, voltage=3.0, scheme="central")
    rest = equilibrium_of(cell, torch.ones(2, 64, dtype=f64))
    mu = rest[0].log() + cell.potential(rest)
    assert float(mu.max() - mu.min()) > 1e-6


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_swapping_all_signs_swaps_the_species(scheme):
    run = pf.simulate(blocking_cell(32, scheme=scheme), torch.ones(2, 32, dtype=f64), times(0, 0.3))
    swapped = pf.simulate(
        blocking_cell(32, scheme=scheme, voltage=-1.0), torch.ones(2, 32, dtype=f64), times(0, 0.3)
    )
    torch.testing.assert_close(run.final, swapped.final.flip(0), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_the_mirror_image_runs_as_the_mirror_image(scheme):
    generator = torch.Generator().manual_seed(0)
    c0 = 1 + torch.rand(2, 32, dtype=f64, generator=generator)
    cell = blocking_cell(32, scheme=scheme, debye=0.5)
    mirrored = blocking_cell(32, scheme=scheme, debye=0.5, voltage=-1.0)
    run = pf.simulate(cell, c0, times(0, 0.3))
    image = pf.simulate(mirrored, c0.flip(-1), times(0, 0.3))
    torch.testing.assert_close(run.final, image.final.flip(-1), rtol=1e-10, atol=1e-10)


def test_faster_ions_are_a_faster_clock():
    slow, fast = blocking_cell(32), blocking_cell(32)
    fast.species = tuple(pf.Species(one.name, one.valence, 4.0) for one in fast.species)
    c0 = torch.ones(2, 32, dtype=f64)
    late = pf.simulate(slow, c0, times(0, 0.4), rtol=1e-7).final
    soon = pf.simulate(fast, c0, times(0, 0.1), rtol=1e-7).final
    torch.testing.assert_close(late, soon, rtol=1e-5, atol=1e-5)


def test_an_empty_region_fills_without_clipping():
    """Tails fill empty cells by positive steps, of order 1 where order 2 is not positive."""
    cell = ring(64)
    x = cell.grid.coordinates(0)
    blob = torch.where((x - 0.5).abs() < 0.1, 1.0, 0.0).double()
    run = pf.simulate(cell, torch.stack([blob, blob]), times(0, 1e-4, 0.05)).require_success()
    assert float(run.ledger.min_concentration) >= 0
    assert float(run.ledger.mass_error) <= 1e-12
    assert float(run.final.min()) > 0


def test_single_precision_keeps_mass_to_its_own_round_off():
    c0 = torch.ones(2, 64)
    run = pf.simulate(blocking_cell(64, voltage=2.0), c0, torch.linspace(0, 0.5, 6))
    assert run.states.dtype == torch.float32
    assert float(run.ledger.mass_error) < 1e-5
    double = pf.simulate(blocking_cell(64, voltage=2.0), c0.double(), torch.linspace(0, 0.5, 6))
    assert float((run.final - double.final).abs().max()) < 2e-3


def test_reservoirs_open_the_cell_and_the_ledger_says_so():
    cell = pf.PNP(
        pf.Grid((16,), (1.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=0.5,
        walls={
            "x-": pf.Wall(potential=0.0, concentration={"cation": 2.0, "anion": 2.0}),
            "x+": pf.Wall(potential=0.0),
        },
    )
    run = pf.simulate(cell, torch.ones(2, 16, dtype=f64), times(0, 10.0))
    assert run.ledger.closed == (False, False)
    assert float(run.ledger.mass_error) == 0
    torch.testing.assert_close(run.final, torch.full_like(run.final, 2.0), rtol=1e-6, atol=1e-6)


def test_a_prescribed_flux_brings_in_what_it_says():
    cell = pf.PNP(
        pf.Grid((16,), (1.0,), ("wall",)),
        [pf.Species("neutral", 0)],
        permittivity=1.0,
        walls={"x-": pf.Wall(potential=0.0, flux={"neutral": 0.5})},
    )
    run = pf.simulate(cell, torch.ones(1, 16, dtype=f64), times(0, 2.0), rtol=1e-8)
    assert float(cell.mass(run.final)) == pytest.approx(1 + 0.5 * 2.0, abs=1e-9)
    assert float(cell.flux(run.final)[0, 0]) == 0.5


def test_the_energy_is_the_potential_of_the_motion():
    """dF/dc_i = ln c_i + z_i phi, which is what makes dF/dt <= 0."""
    for cell in (blocking_cell(12), ring(12)):
        c = 1 + 0.3 * torch.rand(2, 12, dtype=f64, generator=torch.Generator().manual_seed(4))
        c[1] *= c[0].sum() / c[1].sum()
        c.requires_grad_()
        (gradient,) = torch.autograd.grad(cell.energy(c), c)
        mu = c.log() + torch.tensor([[1.0], [-1.0]]) * cell.potential(c)
        difference = (gradient / cell.grid.weights - mu).detach()
        floating = not cell.walls
        if floating:  # the energy is defined for neutral states: up to z times a constant
            difference = difference[0] + difference[1]
        assert float(difference.abs().max()) < 1e-12


@quiet
def test_a_fixed_step_whose_equations_have_no_solution_in_reach_falls_back_and_says_so():
    """A charge of a million thermal volts: Newton's method gives up, the robust step does not."""
    c0 = torch.tensor([[8.1, 1.3, 0.2, 5.8, 0.9], [2.4, 0.03, 0.1, 0.6, 0.07]], dtype=f64)
    cell = pf.PNP(
        pf.Grid((5,), (1.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2e-8,
        walls={"x-": pf.Wall(potential=0.0), "x+": pf.Wall(potential=0.0)},
    )
    run = pf.simulate(cell, c0, times(0, 1, 2), stepper=BackwardEuler(dt=1.0)).require_success()
    assert int(run.work.fallbacks) >= 1
    assert float(run.ledger.mass_error) <= 1e-12
    assert float(run.ledger.min_concentration) > 0


def test_long_runs_end_in_the_equilibrium_of_every_stepper():
    c0, cell = torch.ones(2, 32, dtype=f64), blocking_cell(32)
    ends = [
        pf.simulate(cell, c0, times(0, 50.0), stepper=stepper).final
        for stepper in (
            TRBDF2(),
            KenCarp4(),
            BackwardEuler(rtol=1e-3),
            AsymptoticPreserving(dt=0.5),
        )
    ]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-5, atol=1e-5)
    assert math.isclose(float(cell.mass(ends[0])[0]), 2.0, rel_tol=1e-13)
