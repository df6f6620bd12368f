"""Ions at Chebyshev points between two walls: exact sums and slopes, walls, closed forms."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import KenCarp4
from pnpfusion.solvers.cell import free_energy
from pnpfusion.solvers.chebyshev import ChebyshevGrid
from pnpfusion.solvers.chebyshev_newton import solve_implicit
from tests.registry import f64
from tests.solvers.chebyshev_cells import PLUS_MINUS, make, state


class ChebyshevLaw:
    """A Chebyshev cell as a law that implicit steppers follow."""

    def __init__(self, cell):
        self.cell = cell

    def rate(self, t, u):
        return self.cell.rate(u)

    def solve_implicit(self, t, base, step, guess, scale):
        return solve_implicit(self.cell, base, step, guess, scale)

    def robust_step(self, t, dt, u):
        return None

    def lowest(self, u, sample=None):
        return u.detach().flatten(1).amin(1)


@pytest.mark.parametrize("n", [3, 4, 9, 16])
def test_sums_and_slopes_are_exact_on_polynomials(n):
    grid = ChebyshevGrid((n,), (3.0,))
    x = grid.coordinates()
    assert float(x[0]) == 0.0
    assert float(x[-1]) == pytest.approx(3.0, abs=1e-15)
    assert (x.diff() > 0).all()
    assert (grid.weights > 0).all()
    assert float(grid.faces()[-1]) == pytest.approx(3.0)
    for degree in range(n):
        total = float((grid.weights * (x / 3) ** degree).sum())
        assert total == pytest.approx(3.0 / (degree + 1), rel=1e-13)
        slope = degree * (x / 3) ** max(degree - 1, 0) / 3
        found = grid.derivative @ (x / 3) ** degree
        torch.testing.assert_close(found, slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2,), (1.0,)), "at least 3 points, got shape"),
        (((4, 4), (1.0, 1.0), ("wall", "wall")), "one axis between walls"),
        (((8,), (1.0,), ("periodic",)), "one axis between walls"),
    ],
)
def test_a_wrong_grid_says_what_is_wanted(arguments, message):
    with pytest.raises(ValueError, match=message):
        ChebyshevGrid(*arguments)


def test_points_cannot_be_graded():
    with pytest.raises(ValueError, match="leave `edges` None"):
        ChebyshevGrid((3,), (1.0,), edges=((0.0, 0.2, 0.5, 1.0),))


@pytest.mark.parametrize(
    "kinds",
    [
        ("electrode", "electrode"),
        ("electrode", "charge"),
        ("stern", "electrode"),
        ("stern", "stern"),
        ("charge", "stern"),
        ("charge", "charge"),
    ],
)
def test_potentials_meet_the_equation_and_every_wall(kinds):
    """Manufactured: phi = sin 2x + x² / 3, with conditions that it meets."""
    grid, eps = ChebyshevGrid((32,), (1.5,)), 0.3
    x = grid.coordinates()
    phi = (2 * x).sin() + x**2 / 3
    out = torch.tensor([-1.0, 1.0]) * (2 * (2 * x).cos() + 2 * x / 3)[[0, -1]]
    walls = {}
    for end, (side, kind) in enumerate(zip(grid.sides, kinds, strict=True)):
        edge, slope = float(phi[-end]), float(out[end])
        walls[side] = {
            "electrode": pf.Wall(potential=edge),
            "stern": pf.Wall(potential=edge + 0.2 * slope, stern=0.2),
            "charge": pf.Wall(surface_charge=eps * slope),
        }[kind]
    rho = -eps * (-4 * (2 * x).sin() + 2 / 3)
    cell = make(
        grid,
        permittivity=eps,
        walls=walls,
        fixed_charge=pf.solvers.Field(rho),
    )
    found = cell.potential(torch.zeros(1, 2, 32, dtype=f64))[0]
    if cell.floating:
        phi = phi - (grid.weights * phi).sum() / 1.5
        cell.check_neutral("u0", torch.zeros(1, 2, 32, dtype=f64))
    torch.testing.assert_close(found, phi, rtol=0, atol=1e-10)


@pytest.mark.parametrize("walls", [PLUS_MINUS, None])
def test_the_jacobian_is_the_derivative_of_the_rate(walls):
    grid = ChebyshevGrid((9,), (2.0,))
    fixed = pf.solvers.Field(0.1 * grid.coordinates())
    diffusivities = (pf.solvers.Field(1 + 0.1 * grid.coordinates()), 2.0)
    cell = make(grid, walls=walls, diffusivities=diffusivities, fixed_charge=fixed)
    c = state(grid)
    wanted = torch.autograd.functional.jacobian(lambda u: cell.rate(u.unsqueeze(0))[0], c[0])
    torch.testing.assert_close(cell.jacobian(c)[0], wanted, rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("walls", [PLUS_MINUS, None])
def test_mass_is_exact(walls):
    grid = ChebyshevGrid((32,), (2.0,))
    cell, c = make(grid, walls=walls), state(grid)
    rate = cell.rate(c)
    assert float((cell.widths * rate).sum(-1).abs().max()) < 1e-13 * float(rate.abs().max())
    run = KenCarp4(dt=0.01).integrate(ChebyshevLaw(cell), c, torch.tensor([0, 0.1], dtype=f64))
    mass = (cell.widths * run.states).sum(-1)
    torch.testing.assert_close(mass[1], mass[0], rtol=1e-13, atol=0)


def test_what_a_wall_lets_in_is_what_comes():
    grid = ChebyshevGrid((24,), (2.0,))
    walls = {
        "x-": pf.Wall(potential=0.0, flux={"cation": 0.3}),
        "x+": pf.Wall(potential=1.0, flux={"cation": -0.1, "anion": 0.2}),
    }
    cell = make(grid, walls=walls)
    c = state(grid)
    gained = (cell.widths * cell.rate(c)).sum(-1)[0]
    torch.testing.assert_close(gained, torch.tensor([0.2, 0.2], dtype=f64), rtol=0, atol=1e-11)
    assert cell.closed == (False, False)
    torch.testing.assert_close(
        cell.flux_across(c, 0)[0, :, [0, -1]], torch.tensor([[0.3, 0.1], [0.0, -0.2]], dtype=f64)
    )


def test_the_slowest_mode_of_charging_has_its_rate():
    """Debye length L / 20: the smallest root of the closed form for |x| <= 1."""
    cell = make(
        ChebyshevGrid((64,), (2.0,)),
        permittivity=2 * 0.05**2,
        walls={"x-": pf.Wall(potential=0.0), "x+": pf.Wall(potential=0.0)},
    )
    jacobian = cell.jacobian(torch.ones(1, 2, 64, dtype=f64))[0].reshape(128, 128)
    rates = -torch.linalg.eigvals(jacobian).real
    assert float((rates - 20.53399994943).abs().min()) < 1e-8


def test_layers_at_rest_meet_the_boundary_value_problem():
    """Two layers at +-2 thermal volts, Debye length L / 20, from implicit steps without end."""
    grid = ChebyshevGrid((97,), (2.0,))
    cell = make(grid, permittivity=2 * 0.05**2, walls=PLUS_MINUS)
    c = torch.ones(1, 2, 97, dtype=f64)
    scale = torch.full_like(c, 1e-9)
    for size in (1e-3, 1e-2, 0.1, 1.0, 1e2, 1e4, 1e4):
        solved = solve_implicit(
            cell, c, torch.tensor([size], dtype=f64), c, scale, max_iterations=40
        )
        assert solved.converged.all()
        c = solved.u
    slope = float((grid.derivative @ cell.potential(c)[0])[0])
    assert slope == pytest.approx(45.748917022548, rel=1e-8)
    assert float(c[0, 0, 0]) == pytest.approx(6.998519370877, rel=1e-8)
    assert float(c[0, 1, 0]) == pytest.approx(0.128182353553, rel=1e-8)
    mu = c.log() + cell.valence * cell.potential(c).unsqueeze(1)
    assert float((mu.amax(-1) - mu.amin(-1)).max()) < 1e-7


def test_energy_falls():
    grid = ChebyshevGrid((48,), (2.0,))
    for walls in (PLUS_MINUS, None):
        cell = make(grid, permittivity=0.02, walls=walls)
        s = grid.coordinates() / 2
        c = torch.stack([1 + 0.3 * (math.pi * s).cos(), 1 - 0.2 * (math.pi * s).cos()])
        times = torch.linspace(0, 0.2, 9, dtype=f64)
        run = KenCarp4(rtol=1e-6).integrate(ChebyshevLaw(cell), c.unsqueeze(0), times)
        energies = torch.stack([free_energy(cell, c) for c in run.states])
        assert (energies.diff(dim=0) < 0).all()


def test_energy_has_the_chemical_potentials_for_slopes():
    grid = ChebyshevGrid((32,), (2.0,))
    cell, c = make(grid, walls=PLUS_MINUS), state(grid).requires_grad_()
    direction = torch.stack([grid.coordinates().sin(), grid.coordinates().cos()])
    (slope,) = torch.autograd.grad(free_energy(cell, c).sum(), c)
    mu = c.log() + cell.valence * cell.potential(c).unsqueeze(1)
    wanted = (cell.widths * mu * direction).sum()
    torch.testing.assert_close((slope * direction).sum(), wanted, rtol=1e-9, atol=0)


def test_positivity_is_a_matter_of_resolution():
    """Layers at +-4 thermal volts, Debye length L / 20: 12 points answer below zero, 96 do not."""
    walls = {"x-": pf.Wall(potential=-4.0), "x+": pf.Wall(potential=4.0)}
    lowest = {}
    for n in (12, 96):
        grid = ChebyshevGrid((n,), (2.0,))
        cell = make(grid, permittivity=2 * 0.05**2, walls=walls)
        c = torch.ones(1, 2, n, dtype=f64)
        scale = torch.full_like(c, 1e-8)
        for _ in range(40):
            step = torch.tensor([0.01], dtype=f64)
            solved = solve_implicit(cell, c, step, c, scale, max_iterations=50)
            assert solved.converged.all()
            c = solved.u
        lowest[n] = float(c.min())
    assert lowest[12] < 0 < lowest[96]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"walls": {"x-": pf.Wall(concentration={"cation": 1.0})}}, "is a reservoir, which"),
        ({"walls": {"x-": pf.Wall(flux={"proton": 1.0})}}, r"unknown species \['proton'\]; known"),
        ({"walls": {"x-": pf.Wall(flux={"cation": 1.0})}}, "needs a `potential` at one wall"),
        ({"permittivity": 0.0}, "`permittivity` must be > 0, got 0"),
        ({"diffusivities": (-1.0, 1.0)}, "`diffusivity` must be > 0, got -1"),
        (
            {"walls": {"x-": pf.Wall(potential=0.0, stern=torch.tensor(-0.1))}},
            r"`stern` must be >= 0, got -0\.1",
        ),
    ],
)
def test_what_cannot_be_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(ChebyshevGrid((8,), (1.0,)), **arguments)


def test_a_net_charge_is_refused_where_the_potential_floats():
    grid = ChebyshevGrid((8,), (2.0,))
    c = torch.ones(1, 2, 8, dtype=f64)
    make(grid).check_neutral("u0", c)
    c[:, 0] += 0.1
    make(grid, walls=PLUS_MINUS).check_neutral("u0", c)
    balanced = {"x+": pf.Wall(surface_charge=-0.2)}
    make(grid, walls=balanced).check_neutral("u0", c)
    with pytest.raises(ValueError, match=r"`u0` carries a net charge of 0\.2 \(sample 0\)"):
        make(grid).check_neutral("u0", c)
