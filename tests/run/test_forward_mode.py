"""Forward derivatives (torch.func.jvp) against central differences, and what vmap says."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, RK4, TRBDF2, AsymptoticPreserving, KenCarp4, solve_poisson
from tests.marks import quiet
from tests.registry import f64, times

#: torch's own first use of forward mode compiles decompositions in a deprecated way.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
GRIDS = [
    pf.Grid((6,), (1.0,), ("wall",)),
    pf.Grid((5, 4), (1.0, 1.2), ("wall", "periodic")),
]


def check(function, at):
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(at.shape, dtype=f64, generator=generator)
    _, found = torch.func.jvp(function, (at,), (direction,))
    step = 1e-6
    wanted = (function(at + step * direction) - function(at - step * direction)) / (2 * step)
    assert float(wanted.abs().max()) > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)


def cell(grid, voltage, scheme="scharfetter-gummel"):
    walls = {"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)}
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    return pf.PNP(grid, ions, permittivity=0.3, walls=walls, scheme=scheme)


def start(grid):
    generator = torch.Generator().manual_seed(0)
    return 0.5 + torch.rand(2, 2, *grid.shape, dtype=f64, generator=generator)


VOLTAGE = torch.tensor([0.5, 1.0], dtype=f64)


@pytest.mark.parametrize("method", [None, "conjugate-gradients"])
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"{grid.ndim}-D")
def test_poisson(grid, method):
    walls = {"x-": pf.Wall(potential=1.0)}
    rho = torch.ones(2, *grid.shape, dtype=f64)
    check(lambda e: solve_poisson(rho, grid, permittivity=e, walls=walls, method=method), VOLTAGE)


@quiet
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"{grid.ndim}-D")
@pytest.mark.parametrize(
    "stepper",
    [KenCarp4(dt=0.01), TRBDF2(dt=0.01), RK4(dt=1e-3), AsymptoticPreserving(dt=2e-3)],
    ids=str,
)
def test_runs(grid, stepper):
    c0 = start(grid)

    def final(voltage):
        return pf.simulate(cell(grid, voltage), c0, times(0, 0.02), stepper=stepper).final

    check(final, VOLTAGE)


@quiet
@pytest.mark.parametrize("scheme", ["scharfetter-gummel", "central"])
@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"{grid.ndim}-D")
def test_equilibria(grid, scheme):
    c0 = start(grid)
    check(lambda voltage: pf.equilibrium(cell(grid, voltage, scheme), c0).final, VOLTAGE)


@quiet
def test_series():
    grid = pf.Grid((8, 6), (1.0, 1.0), ("wall", "periodic"))
    x = grid.coordinates(0)[:, None].expand(8, 6)
    wave = torch.stack([1 + 0.2 * torch.cos(3.14159 * x), torch.ones(8, 6)]).double()
    wave = wave / wave.mean((1, 2), keepdim=True)

    def final(permittivity):
        ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
        law = pf.PNP(grid, ions, permittivity=permittivity, scheme="spectral")
        return pf.simulate(law, wave, times(0, 0.05), stepper=ETDRK4(dt=5e-3)).final

    check(final, torch.tensor(0.2, dtype=f64))


@quiet
def test_vmap_is_refused_and_a_batch_does_it():
    """What is done depends on the data (checks, convergence), which vmap does not allow."""
    grid = GRIDS[0]

    def final(voltage):
        return pf.equilibrium(cell(grid, voltage), start(grid)[:1]).final

    with pytest.raises(RuntimeError):
        torch.func.vmap(final)(VOLTAGE)
    both = pf.equilibrium(cell(grid, VOLTAGE), start(grid)[:1].expand(2, -1, -1)).final
    one = torch.cat([pf.equilibrium(cell(grid, v), start(grid)[:1]).final for v in VOLTAGE])
    torch.testing.assert_close(both, one, rtol=1e-9, atol=1e-12)
