"""Poisson–Boltzmann against closed forms, the cell's own state of rest and finite differences."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import solve_poisson_boltzmann
from tests.marks import quiet
from tests.registry import f64, slope


def test_gouy_and_chapmans_profile_for_four_voltages_at_once():
    errors, sizes = [], [128, 256, 512]
    v = torch.tensor([-1.0, 0.2, 0.5, 1.0], dtype=f64)
    for n in sizes:
        grid = pf.Grid((n,), (20.0,), ("wall",))
        walls = {"x-": pf.Wall(potential=v), "x+": pf.Wall(potential=0.0)}
        phi = solve_poisson_boltzmann(grid, [1, -1], [1.0, 1.0], permittivity=2.0, walls=walls)
        g = torch.tanh(v / 4)[:, None] * torch.exp(-grid.coordinates(0))
        errors.append(float((phi - 2 * torch.log((1 + g) / (1 - g))).abs().max()))
    assert slope(sizes, errors) == pytest.approx(-2, abs=0.1)
    assert errors[-1] < 3e-4


@quiet
@pytest.mark.parametrize("steric", [None, 0.1])
def test_it_is_the_state_of_rest_beside_a_reservoir(steric):
    grid = pf.Grid((12, 5), (3.0, 1.0), ("wall", "periodic"))
    fixed = pf.Field(0.3 * torch.sin(torch.arange(60.0).double()).reshape(12, 5))
    ends = {"cation": 0.5, "anion": 1.0}
    walls = {"x-": pf.Wall(surface_charge=0.4), "x+": pf.Wall(potential=0.0)}
    phi = solve_poisson_boltzmann(
        grid, [2, -1], [0.5, 1.0], walls=walls, fixed_charge=fixed, steric=steric
    )
    cell = pf.PNP(
        grid,
        [pf.Species("cation", 2), pf.Species("anion", -1)],
        permittivity=1.0,
        walls={"x-": walls["x-"], "x+": pf.Wall(potential=0.0, concentration=ends)},
        fixed_charge=fixed,
        steric=steric,
    )
    rest = pf.equilibrium(cell, torch.ones(2, 12, 5, dtype=f64)).require_success()
    torch.testing.assert_close(phi, cell.potential(rest.final), rtol=1e-9, atol=1e-10)


def test_gradients_in_every_parameter():
    grid = pf.Grid((4,), (1.0,), ("wall",))

    def phi(z, c, epsilon, charge, potential, stern, steric):
        walls = {"x-": pf.Wall(potential=potential, stern=stern), "x+": pf.Wall(surface_charge=0.2)}
        return solve_poisson_boltzmann(
            grid,
            [z, -1.0],
            [c, 0.8],
            permittivity=epsilon,
            walls=walls,
            fixed_charge=pf.Field(charge),
            steric=steric,
        )

    generator = torch.Generator().manual_seed(0)
    inputs = [0.5 + torch.rand(2, dtype=f64, generator=generator) for _ in range(3)]
    inputs += [torch.rand(4, dtype=f64, generator=generator)]
    inputs += [torch.tensor(v, dtype=f64) for v in (1.3, 0.1, 0.2)]
    assert torch.autograd.gradcheck(phi, [value.requires_grad_() for value in inputs])


def test_a_hundred_thermal_volts():
    grid = pf.Grid((200,), (10.0,), ("wall",))
    walls = {"x-": pf.Wall(potential=100.0), "x+": pf.Wall(potential=0.0)}
    phi = solve_poisson_boltzmann(grid, [1, -1], [1.0, 1.0], walls=walls, steric=0.05)
    assert bool(phi.isfinite().all())
    assert float(phi.max()) <= 100
    assert bool((phi.diff() <= 1e-12).all())
    assert math.isclose(float(phi[-1]), 0.0, abs_tol=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"concentrations": [1.0]}, "one entry per species, got 2 and 1"),
        ({"concentrations": [1.0, 0.0]}, "must be > 0, got 0; leave a species"),
        ({"steric": 1.0}, "more than the 1 / steric"),
        ({"walls": {"x-": pf.Wall(potential=0.0, flux={"a": 1.0})}}, "the reservoir is outside"),
        ({"valences": [torch.ones(2), torch.ones(3)]}, "do not fit together"),
    ],
)
def test_wrong_input_says_what_is_wanted(given, message):
    grid = pf.Grid((4,), (1.0,), ("wall",))
    settings = {"valences": [1.0, -1.0], "concentrations": [1.0, 1.0]} | given
    with pytest.raises(ValueError, match=message):
        solve_poisson_boltzmann(grid, **settings)
