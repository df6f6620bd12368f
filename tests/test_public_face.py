"""The names and signatures that other people's scripts rely on, run as they are written down."""

import inspect

import torch

import pnpfusion as pf


def test_the_physics_example():
    grid = pf.Grid(shape=(256,), lengths=(2.0,), boundaries=("wall",))
    cell = pf.PNP(
        grid,
        species=[
            pf.Species("cation", valence=+1, diffusivity=1.0),
            pf.Species("anion", valence=-1, diffusivity=1.0),
        ],
        permittivity=2 * 0.05**2,
        walls={"x-": pf.Wall(potential=+2.0), "x+": pf.Wall(potential=-2.0)},
    )
    c0 = torch.ones(2, 256, dtype=torch.float64)
    run = pf.simulate(cell, c0, torch.linspace(0, 0.5, 51, dtype=torch.float64), rtol=1e-6)
    assert run.states.shape == (51, 2, 256)
    assert run.final.shape == (2, 256)
    assert run.times.shape == (51,)
    assert run.outcome is pf.Outcome.REACHED_END
    assert run.ledger.mass.shape == (51, 2)
    assert (
        run.ledger.charge.shape
        == run.ledger.free_energy.shape
        == run.ledger.smallest.shape
        == (51,)
    )
    assert float(run.ledger.mass_error) <= 1e-12
    assert cell.potential(run.final).shape == (256,)
    assert cell.energy(run.final).shape == ()
    assert cell.flux(run.final).shape == (2, 257)
    assert grid.coordinates(0).shape == (256,)
    rho = cell.charge(run.final)
    phi = pf.solvers.solve_poisson(rho, grid, permittivity=2 * 0.05**2, walls=cell.walls)
    torch.testing.assert_close(phi, cell.potential(run.final))
    assert cell.grid is grid
    assert [one.name for one in cell.species] == ["cation", "anion"]


def parameters(function):
    return list(inspect.signature(function).parameters)


def test_the_signatures():
    assert parameters(pf.Grid) == ["shape", "lengths", "boundaries", "edges"]
    assert parameters(pf.Species) == ["name", "valence", "diffusivity"]
    assert parameters(pf.Wall) == [
        "potential",
        "surface_charge",
        "stern",
        "concentration",
        "flux",
        "mask",
    ]
    fixed = [
        "grid",
        "species",
        "permittivity",
        "walls",
        "fixed_charge",
        "scheme",
        "steric",
        "reactions",
    ]
    assert parameters(pf.PNP) == fixed
    assert parameters(pf.simulate) == [
        "dynamics",
        "u0",
        "times",
        "x",
        "stepper",
        "rtol",
        "atol",
        "progress",
        "checkpoints",
        "resume",
    ]
    fixed = ["dynamics", "u0", "x", "solver", "tol"]
    assert parameters(pf.equilibrium) == [*fixed, "atol", "gradient"]
    assert parameters(pf.unroll) == ["dynamics", "u0", "rounds", "x", "step"]
    assert inspect.signature(pf.unroll).parameters["step"].default == 1.0


def test_sixty_four_cells_of_sixty_four_points_are_never_misread():
    """A bare tensor is one number per sample, a Field one per cell."""
    grid = pf.Grid((64,), (1.0,), ("wall",))
    values = torch.linspace(0.3, 0.6, 64, dtype=torch.float64)
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    voltages = torch.linspace(0, 1, 64, dtype=torch.float64)
    walls = {"x-": pf.Wall(potential=voltages), "x+": pf.Wall(potential=0.0)}
    c0 = torch.ones(64, 2, 64, dtype=torch.float64)
    span = torch.tensor([0.0, 0.1], dtype=torch.float64)
    by_sample = pf.simulate(pf.PNP(grid, ions, permittivity=values, walls=walls), c0, span)
    by_cell = pf.simulate(pf.PNP(grid, ions, permittivity=pf.Field(values), walls=walls), c0, span)
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=0.0)}
    one = pf.simulate(pf.PNP(grid, ions, permittivity=0.6, walls=walls), c0[63], span)
    torch.testing.assert_close(by_sample.final[63], one.final, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(by_cell.final[63], one.final, rtol=1e-6, atol=1e-6)
