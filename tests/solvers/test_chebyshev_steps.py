"""Implicit steps of ions at Chebyshev points: each sample's equation, and its gradient."""

import torch

import pnpfusion as pf
from pnpfusion.solvers.cell import free_energy
from pnpfusion.solvers.chebyshev import ChebyshevGrid
from pnpfusion.solvers.chebyshev_newton import solve_implicit
from tests.registry import f64
from tests.solvers.chebyshev_cells import PLUS_MINUS, make, state


def test_an_implicit_step_solves_its_equation_for_each_sample():
    grid = ChebyshevGrid((16,), (2.0,))
    voltage = torch.tensor([0.5, 2.0, 4.0], dtype=f64)
    eps = torch.tensor([0.1, 0.02, 0.05], dtype=f64)
    stern = torch.tensor([0.0, 0.1, 0.3], dtype=f64)
    walls = {"x-": pf.Wall(potential=voltage, stern=stern)}
    cell = make(grid, permittivity=eps, walls=walls, batch=(3,))
    c = state(grid).expand(3, -1, -1)
    step = torch.tensor([1e-3, 1e-2, 1e-1], dtype=f64)
    solved = solve_implicit(cell, c, step, c, torch.full_like(c, 1e-10))
    assert solved.converged.all()
    left = solved.u - step[:, None, None] * cell.rate(solved.u) - c
    assert float(left.abs().max()) < 1e-10
    for i in range(3):
        walls = {"x-": pf.Wall(potential=float(voltage[i]), stern=float(stern[i]))}
        own = make(grid, permittivity=float(eps[i]), walls=walls)
        alone = solve_implicit(own, c[:1], step[i : i + 1], c[:1], torch.full_like(c[:1], 1e-10))
        torch.testing.assert_close(alone.u[0], solved.u[i], rtol=1e-11, atol=1e-12)
        assert int(alone.iterations) == int(solved.iterations[i])


def test_a_sample_without_a_solution_is_named_and_spares_the_others():
    grid = ChebyshevGrid((12,), (2.0,))
    cell = make(grid, walls=PLUS_MINUS, batch=(2,))
    c = state(grid).expand(2, -1, -1).clone()
    c[1] = torch.nan
    step = torch.tensor([0.01, 0.01], dtype=f64)
    solved = solve_implicit(cell, c, step, c, torch.full_like(c, 1e-9))
    assert solved.converged.tolist() == [True, False]
    assert solved.u[0].isfinite().all()


def test_gradients_of_the_rate_and_of_an_implicit_step():
    grid = ChebyshevGrid((6,), (2.0,))
    base = state(grid).expand(2, -1, -1).clone().requires_grad_()
    inputs = [
        torch.tensor(v, dtype=f64).requires_grad_()
        for v in ([0.1, 0.3], 1.2, [0.7, 2.0], [0.5, 1.0], [0.1, 0.2], 0.3)
    ]

    def cell_of(eps, z, d, voltage, stern, charge):
        walls = {
            "x-": pf.Wall(potential=voltage, stern=stern),
            "x+": pf.Wall(surface_charge=charge),
        }
        return make(
            grid,
            valences=(z, -1.0),
            diffusivities=(d, 1.0),
            permittivity=eps,
            walls=walls,
            batch=(2,),
        )

    def explicit(base, *parameters):
        cell = cell_of(*parameters)
        return (
            cell.rate(base),
            cell.potential(base),
            cell.flux_across(base, 0),
            free_energy(cell, base),
        )

    def implicit(base, *parameters):
        step = torch.full((2,), 0.02, dtype=f64)
        exact = torch.full_like(base, 1e-12).detach()
        return solve_implicit(cell_of(*parameters), base, step, base.detach(), exact).u

    assert torch.autograd.gradcheck(explicit, (base, *inputs))
    assert torch.autograd.gradcheck(implicit, (base, *inputs))


def test_single_precision_stays_single():
    grid = ChebyshevGrid((16,), (2.0,))
    cell, c = make(grid, walls=PLUS_MINUS, dtype=torch.float32), state(grid)
    step = torch.tensor([0.01])
    solved = solve_implicit(cell, c.float(), step, c.float(), torch.full((1, 2, 16), 1e-4))
    assert solved.u.dtype == cell.potential(c.float()).dtype == torch.float32
    wanted = solve_implicit(
        make(grid, walls=PLUS_MINUS), c, step.double(), c, torch.full_like(c, 1e-9)
    )
    torch.testing.assert_close(solved.u.double(), wanted.u, rtol=0, atol=1e-3)
