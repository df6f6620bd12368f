"""The potential in boxes of one to three axes: Gauss' law, symmetry and electrodes in parts."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pnpfusion as pf
from pnpfusion.solvers.dielectric import Dielectric
from pnpfusion.solvers.elliptic import apply_elliptic, conjugate_gradients
from tests.registry import f64, random, times


@st.composite
def grids(draw):
    """Boxes of one to three axes of one to five cells, some of them graded."""
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 5)) for _ in range(ndim))
    boundaries = tuple(draw(st.sampled_from(["wall", "periodic"])) for _ in range(ndim))
    lengths = tuple(draw(st.floats(0.3, 3)) for _ in range(ndim))
    edges = []
    for axis, (n, length) in enumerate(zip(shape, lengths, strict=True)):
        widths = 0.2 + random(n, seed=draw(st.integers(0, 99)) + 100 * axis)
        inner = (widths.cumsum(0) * length / widths.sum())[:-1].tolist()
        edges.append([0.0, *inner, length] if draw(st.booleans()) else None)
    return pf.Grid(shape, lengths, boundaries, edges=edges)


@st.composite
def media(draw, batch=2):
    """A dielectric with a permittivity over two decades and walls of every kind, in parts."""
    grid, seed = draw(grids()), draw(st.integers(0, 10**6))

    def field(shape, k):
        return pf.Field(random(batch, *shape, seed=seed + k))

    walls = {}
    for side in grid.sides:
        axis = "xyz".index(side[0])
        over = grid.shape[:axis] + grid.shape[axis + 1 :]
        kinds = [
            pf.Wall(),
            pf.Wall(potential=field(over, 1)),
            pf.Wall(potential=field(over, 2), stern=field(over, 3)),
            pf.Wall(surface_charge=field(over, 4)),
        ]
        first, second = draw(st.sampled_from(kinds)), draw(st.sampled_from(kinds))
        walls[side] = first
        if grid.ndim > 1 and draw(st.booleans()):
            mask = random(*over, seed=seed + 5) < 0.5
            walls[side] = [
                pf.Wall(first.potential, first.surface_charge, first.stern, mask=mask),
                pf.Wall(second.potential, second.surface_charge, second.stern, mask=~mask),
            ]
    epsilon = pf.Field(10 ** (2 * random(batch, *grid.shape, seed=seed + 6) - 1))
    like = torch.zeros((), dtype=f64)
    medium = Dielectric.build(grid, epsilon, walls, (batch,), like)
    without = {
        side: [
            pf.Wall(potential=None if w.potential is None else 0.0, stern=w.stern, mask=w.mask)
            for w in (parts if isinstance(parts, list) else [parts])
        ]
        for side, parts in walls.items()
    }
    rho = torch.randn(
        2, batch, *grid.shape, dtype=f64, generator=torch.Generator().manual_seed(seed)
    )
    return medium, Dielectric.build(grid, epsilon, without, (batch,), like), rho


def neutral(medium, rho):
    """``rho`` with what floats made neutral, walls included."""
    if not medium.floating:
        return rho
    charge = medium.total(rho)
    for line in medium.lines:
        charge = charge + (line.surface_charge * torch.ones_like(line.areas)[..., None]).flatten(
            1
        ).sum(1)
    wide = (-1, *(1 for _ in rho.shape[1:]))
    return rho - (charge / medium.volumes.sum()).reshape(wide)


@settings(max_examples=60, deadline=None)
@given(media())
def test_gauss_law_holds_in_every_cell(made):
    medium, _, rho = made
    load = neutral(medium, rho[0])
    through = medium.displacement(medium.potential(load))
    gap = medium.leaving(through) - medium.volumes * load
    size = max(float(one.abs().max()) for one in through)
    size = max(size, float((medium.volumes * rho[0]).abs().max()))
    assert float(gap.abs().max()) <= 1e-11 * size


@settings(max_examples=40, deadline=None)
@given(media())
def test_the_potential_is_self_adjoint_in_the_charge(made):
    _, medium, (a, b) = made
    a, b = neutral(medium, a), neutral(medium, b)
    left, right = medium.total(medium.potential(a) * b), medium.total(a * medium.potential(b))
    size = (medium.total(medium.potential(a) * a) * medium.total(medium.potential(b) * b)).sqrt()
    assert bool(((left - right).abs() <= 1e-11 * size).all())


@settings(max_examples=15, deadline=None)
@given(media(batch=1))
def test_the_potential_has_its_finite_differences(made):
    medium, _, rho = made
    grid, lines = medium.grid, medium.lines
    load = neutral(medium, rho[0]).requires_grad_()
    scale = random(*medium.volumes.shape, seed=1).add(0.5).requires_grad_()

    def phi(load, scale):
        shift = medium.total(load) / medium.volumes.sum() if medium.floating else 0.0
        conductances = []
        for line in lines:  # each face by the mean of its two cells
            cells = scale.movedim(line.axis - grid.ndim, -1)
            ends = cells[..., [-1, 0]] if line.periodic else cells[..., [0, -1]]
            beside = torch.cat([ends[..., :1], cells, ends[..., 1:]], -1)
            conductances.append(line.conductance * (beside[..., 1:] + beside[..., :-1]) / 2)
        return medium.solve(tuple(conductances), medium.volumes * (load - shift))

    if medium.floating and load.numel() == 1:
        return  # zero, whatever is given

    assert torch.autograd.gradcheck(phi, [load, scale], rtol=1e-4, atol=1e-5, fast_mode=True)


def test_a_part_that_covers_no_face_is_no_electrode():
    grid = pf.Grid((3, 2), (1.0, 1.0), ("wall", "wall"))
    none = torch.zeros(2, dtype=torch.bool)
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]

    def cell(*parts):
        return pf.PNP(grid, ions, permittivity=40.0, walls={"x-": list(parts)})

    empty = pf.Wall(potential=1.0, concentration={"cation": 2.0}, mask=none)
    whole = pf.Wall(surface_charge=0.3, mask=~none)
    c0 = torch.stack([1 + random(3, 2, seed=1), 1.3 + random(3, 2, seed=2)])
    c0[1] += (c0[0] - c0[1]).mean() + 0.3
    alone = pf.simulate(cell(whole), c0, times(0, 0.1)).require_success()
    run = pf.simulate(cell(empty, whole), c0, times(0, 0.1)).require_success()
    assert torch.equal(run.final, alone.final)
    assert run.ledger.closed == (True, True)
    with pytest.raises(ValueError, match="net charge"):
        pf.simulate(cell(empty), c0, times(0, 0.1))


@pytest.mark.parametrize("spread", [1.0, 3.0, 10.0])
def test_conjugate_gradients_do_not_feel_the_grid(spread):
    """Iterations for a smooth permittivity 1 ... spread in a box with one electrode, n x n cells.

    ======  ====  ====  ====
    spread  n=16  n=32  n=64
    ======  ====  ====  ====
    1         1     1     1
    3        24    25    25
    10       44    49    51
    ======  ====  ====  ====
    """
    table = {1.0: (1, 1, 1), 3.0: (24, 25, 25), 10.0: (44, 49, 51)}
    counts = []
    for n in (16, 32, 64):
        grid = pf.Grid((n, n), (1.0, 1.0), ("wall", "wall"))
        x, y = grid.coordinates(0)[:, None], grid.coordinates(1)
        wave = (1 + torch.sin(2 * math.pi * x) * torch.sin(2 * math.pi * y)) / 2
        medium = Dielectric.build(
            grid,
            pf.Field(spread**wave),
            {"x-": pf.Wall(potential=0.0)},
            (),
            torch.zeros((), dtype=f64),
        )
        load = medium.volumes * (random(1, n, n) - 0.5)
        conductances = tuple(line.conductance for line in medium.lines)
        found, iterations = conjugate_gradients(grid, conductances, None, load)
        left = apply_elliptic(grid, conductances, None, found) - load
        assert float(left.norm()) <= 1e-13 * float(load.norm()) * n
        counts.append(int(iterations))
    assert counts == pytest.approx(table[spread], abs=3)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
@pytest.mark.parametrize("size", [1e-16, 0.7, 3e5])
def test_an_even_charge_that_is_neutralised_leaves_no_potential(dtype, size):
    """What its neutralisation leaves is round-off, and not neutral itself."""
    edges = [None, (0.0, 0.32358802672664416, 0.5183731873743744)]
    grid = pf.Grid((5, 2), (1.44, edges[1][-1]), ("periodic", "wall"), edges=edges)
    cell = pf.PNP(grid, [pf.Species("ion", 1)], permittivity=pf.Field(1 + random(5, 2)))
    tilt = torch.tensor([1.0, 1 + 1e-5], dtype=dtype)
    c = size * torch.ones(2, 1, 5, 2, dtype=dtype)
    even, tilted = cell.potential(c * torch.stack([tilt**0, tilt]).reshape(2, 1, 1, 2))
    assert torch.equal(even, torch.zeros_like(even))
    assert 1e-7 * size < float(tilted.abs().max()) < 1e-5 * size
