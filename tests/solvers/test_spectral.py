"""Ions in Fourier and cosine series: closed forms, guarantees, and what is not guaranteed."""

import itertools
import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4
from pnpfusion.solvers.cell import free_energy
from pnpfusion.solvers.transforms import from_modes, to_modes
from tests.registry import f64
from tests.solvers.series import SeriesLaw, box, series_cell, smooth_state

KINDS = ("periodic", "wall")
BOXES = [
    box(shape, boundaries)
    for shape in ((12,), (13,), (8, 9), (6, 7, 8))
    for boundaries in itertools.product(KINDS, repeat=len(shape))
]


def rng():
    return torch.Generator().manual_seed(0)


def name(grid):
    return f"{grid.shape} {grid.boundaries}"


@pytest.mark.parametrize("grid", BOXES, ids=name)
@pytest.mark.parametrize(
    ("valences", "means", "diffusivities"),
    [
        ((1.0, -1.0), (1.0, 1.0), (1.0, 2.0)),
        ((2.0, -1.0), (1.0, 2.0), (0.79, 2.03)),
        ((2.0, 1.0, -1.0), (0.5, 1.0, 2.0), (0.7, 1.3, 2.0)),
    ],
)
def test_waves_relax_at_the_rates_of_linear_theory(grid, valences, means, diffusivities):
    """A rate is quadratic in the state, so half the difference of two is linear, exactly."""
    eps = 0.02
    cell = series_cell(grid, valences=valences, diffusivities=list(diffusivities), permittivity=eps)
    square, wave = 0.0, torch.ones(grid.shape, dtype=f64)
    for axis, boundary in enumerate(grid.boundaries):
        k = (2 if boundary == "periodic" else 1) * math.pi / grid.lengths[axis]
        shape = (-1, *(1,) * (grid.ndim - axis - 1))
        wave = wave * (k * grid.coordinates(axis)).cos().reshape(shape)
        square += k**2
    c, z, d = (torch.tensor(v, dtype=f64) for v in (means, valences, diffusivities))
    matrix = -torch.diag(d) * square - (d * z * c)[:, None] * z / eps
    column = (-1,) + (1,) * grid.ndim
    for i in range(len(valences)):
        bump = torch.zeros(len(valences), dtype=f64)
        bump[i] = 0.3
        up, down = (
            cell.rate((c.reshape(column) + sign * bump.reshape(column) * wave).unsqueeze(0))
            for sign in (1, -1)
        )
        wanted = (matrix @ bump).reshape(column) * wave
        scale = float(wanted.abs().max())
        torch.testing.assert_close((up - down)[0] / 2, wanted, rtol=0, atol=1e-12 * scale)


def test_a_small_wave_decays_by_the_factors_of_linear_theory():
    grid = box((32,), ("periodic",))
    cell = series_cell(grid, permittivity=0.02)
    wave = 1e-5 * (2 * math.pi * grid.coordinates(0)).cos()
    for sign, factor in ((-1, 0.24788653044611472), (1, 0.6738254512314336)):
        c0 = torch.stack([1 + wave, 1 + sign * wave]).unsqueeze(0)
        path = ETDRK4(dt=1e-3).integrate(SeriesLaw(cell), c0, torch.tensor([0, 0.01], dtype=f64))
        left = ((path.states[-1, 0, 0] - 1) * wave).sum() / wave.square().sum()
        assert float(left) == pytest.approx(factor, rel=1e-10)


@pytest.mark.parametrize("dealias", [True, False])
def test_the_manufactured_rate_is_met_to_round_off(dealias):
    grid = box((64,), ("periodic",))
    cell = series_cell(grid, permittivity=0.1, dealias=dealias)
    k, x = 2 * math.pi, grid.coordinates(0)
    a, b = 0.5 * (k * x).cos(), -0.3 * (2 * k * x).cos()
    a_x, b_x = -0.5 * k * (k * x).sin(), 0.6 * k * (2 * k * x).sin()
    phi_x = (a_x / k**2 - b_x / (4 * k**2)) / 0.1
    c = torch.stack([1 + a, 1 + b]).unsqueeze(0)
    second = torch.stack([-(k**2) * a, -4 * k**2 * b])
    drift = (
        torch.stack([a_x, -b_x]) * phi_x
        + torch.tensor([[1.0], [-1.0]], dtype=f64) * c[0] * (b - a) / 0.1
    )
    wanted = second + drift
    assert float((cell.rate(c)[0] - wanted).abs().max() / wanted.abs().max()) <= 2e-12
    phi = (a / k**2 - b / (4 * k**2)) / 0.1
    torch.testing.assert_close(cell.potential(c)[0], phi, rtol=0, atol=1e-14)
    flux = -torch.stack([a_x, b_x]) - torch.tensor([[1.0], [-1.0]], dtype=f64) * c[0] * phi_x
    torch.testing.assert_close(cell.flux_across(c, 0)[0], flux, rtol=0, atol=1e-12)


@pytest.mark.parametrize("grid", BOXES, ids=name)
def test_products_of_resolved_modes_are_exact(grid):
    """Cut to the modes they keep, the rates of coarse and fine cells agree: nothing is folded."""
    fine = box(tuple(3 * n for n in grid.shape), grid.boundaries)
    cell, wide = series_cell(grid), series_cell(fine)
    generator = torch.Generator().manual_seed(0)
    low = torch.randn((1, 2, *cell.resolved), dtype=f64, generator=generator)
    low[(..., *(0,) * grid.ndim)] = 5.0
    rates = []
    for each in (cell, wide):
        scale = math.sqrt(each.symbol.numel())
        c = from_modes(low, each.bases, each.grid.shape) * scale
        rates.append(to_modes(each.rate(c), each.bases, cell.resolved) / scale)
    torch.testing.assert_close(*rates, rtol=1e-11, atol=1e-9)


def test_products_are_folded_where_nothing_is_left_out():
    """Of 12 cosines the ninth times itself is the 18th, which looks like the 24 - 18 = sixth."""
    grid = box((12,), ("wall",))
    wave = 0.5 * (9 * math.pi * grid.coordinates(0)).cos()
    c = torch.stack([1 + wave, 1 - wave]).unsqueeze(0)
    exact, folded = (
        to_modes(series_cell(grid, dealias=dealias).rate(c), ("cosine",))[0, 0, 6].abs()
        for dealias in (True, False)
    )
    assert float(exact) < 1e-10
    assert float(folded) > 1.0


@pytest.mark.parametrize("grid", BOXES, ids=name)
def test_mass_charge_and_field_are_consistent(grid):
    c = smooth_state(grid) + torch.rand((1, 1, *grid.shape), generator=rng(), dtype=f64)
    cell = series_cell(grid, permittivity=0.02)
    rate = cell.rate(c)
    space = tuple(range(2, c.ndim))
    assert float(rate.mean(space).abs().max()) < 1e-14 * float(rate.abs().max())
    phi = cell.potential(c)
    assert float(phi.mean().abs()) < 1e-14
    modes = to_modes(phi, cell.bases) * cell.symbol * 0.02
    torch.testing.assert_close(modes, to_modes(cell.charge(c), cell.bases), rtol=0, atol=1e-13)
    torch.testing.assert_close(cell.net_charge(c), torch.zeros(1, dtype=f64), rtol=0, atol=1e-14)
    assert cell.closed == (True, True)


@pytest.mark.parametrize("boundary", KINDS)
def test_a_boltzmann_state_rests(boundary):
    """Concentrations exp(-z phi) in the field of a fixed charge made for them."""
    grid = box((64,), (boundary,))
    k, x = (2 if boundary == "periodic" else 1) * math.pi, grid.coordinates(0)
    phi = 0.8 * (k * x).cos()
    c = torch.stack([(-phi).exp(), phi.exp()]).unsqueeze(0)
    fixed = 0.05 * k**2 * phi - (c[0, 0] - c[0, 1])
    cell = series_cell(grid, permittivity=0.05, fixed_charge=pf.solvers.Field(fixed))
    torch.testing.assert_close(cell.potential(c)[0], phi, rtol=0, atol=1e-12)
    assert float(cell.rate(c).abs().max()) < 1e-9
    assert float(cell.flux_across(c, 0).abs().max()) < 1e-10


@pytest.mark.parametrize("shape", [(16, 3), (16, 2, 3)])
def test_a_flat_box_runs_like_its_line(shape):
    line = box((16,), ("wall",))
    flat = box(shape, ("wall", "periodic", "wall")[: len(shape)])
    c = smooth_state(line)
    wide = c.reshape(1, 2, 16, *(1,) * (len(shape) - 1)).expand(1, 2, *shape)
    rate = series_cell(line).rate(c).reshape(1, 2, 16, *(1,) * (len(shape) - 1))
    torch.testing.assert_close(
        series_cell(flat).rate(wide), rate.expand_as(wide), rtol=0, atol=1e-11
    )


def test_energy_is_the_potential_of_the_motion_and_falls():
    grid = box((12, 8), ("wall", "periodic"))
    cell = series_cell(grid)
    c = smooth_state(grid).requires_grad_()
    (slope,) = torch.autograd.grad(free_energy(cell, c).sum(), c)
    wanted = c.log() + cell.valence * cell.potential(c).unsqueeze(1)
    torch.testing.assert_close(slope / float(grid.weights[0, 0]), wanted, rtol=0, atol=1e-12)
    times = torch.linspace(0, 0.1, 21, dtype=f64)
    path = ETDRK4(dt=5e-3).integrate(SeriesLaw(cell), c.detach(), times)
    assert (torch.stack([free_energy(cell, state) for state in path.states]).diff(dim=0) < 0).all()


def test_positivity_is_a_matter_of_resolution():
    """A narrow cloud over next to nothing: eight cells answer below zero, 64 do not."""
    lowest = {}
    for n in (8, 64):
        grid = box((n,), ("wall",))
        cloud = 1e-3 + (-((grid.coordinates(0) - 0.5) ** 2) / (2 * 0.05**2)).exp()
        c0 = torch.stack([cloud, cloud.flip(0)]).unsqueeze(0)
        law = SeriesLaw(series_cell(grid))
        path = ETDRK4(dt=1e-4).integrate(law, c0, torch.tensor([0, 2e-3], dtype=f64))
        lowest[n] = float(path.lowest.min())
    assert lowest[8] < 0 < lowest[64]


def test_samples_do_not_know_each_other():
    grid = box((8, 6), ("wall", "periodic"))
    c = torch.cat([smooth_state(grid), smooth_state(grid, 0.2), smooth_state(grid, 0.7)])
    eps = torch.tensor([0.1, 0.02, 3.0], dtype=f64)
    d = torch.tensor([1.0, 2.0, 0.5], dtype=f64)
    together = series_cell(grid, permittivity=eps, diffusivities=[d, 1.0], batch=(3,)).rate(c)
    for i in range(3):
        cell = series_cell(grid, permittivity=float(eps[i]), diffusivities=[float(d[i]), 1.0])
        torch.testing.assert_close(cell.rate(c[i : i + 1])[0], together[i], rtol=1e-12, atol=1e-12)


def test_gradients_by_every_parameter():
    grid = box((5, 4), ("wall", "periodic"))
    c = torch.cat([smooth_state(grid), smooth_state(grid, 0.2)]).requires_grad_()
    values = [torch.tensor(v, dtype=f64).requires_grad_() for v in ([0.1, 0.3], 1.2, [0.7, 2.0])]
    fixed = torch.randn(grid.shape, dtype=f64, generator=rng())
    fixed = (fixed - fixed.mean()).requires_grad_()

    def every(c, eps, z, d, fixed):
        cell = series_cell(
            grid,
            valences=(z, -1.0),
            diffusivities=[d, 1.0],
            permittivity=eps,
            fixed_charge=pf.solvers.Field(fixed),
            batch=(2,),
        )
        return cell.rate(c), cell.potential(c), cell.flux_across(c, 0), free_energy(cell, c)

    assert torch.autograd.gradcheck(every, (c, *values, fixed))


def test_single_precision_stays_single():
    grid = box((8, 6), ("wall", "periodic"))
    c = smooth_state(grid)
    single = series_cell(grid, dtype=torch.float32).rate(c.float())
    assert single.dtype == torch.float32
    wanted = series_cell(grid).rate(c)
    scale = float(wanted.abs().max())
    torch.testing.assert_close(single.double(), wanted, rtol=0, atol=1e-5 * scale)


def test_a_net_charge_is_refused():
    grid = box((8,), ("wall",))
    cell = series_cell(grid)
    c = smooth_state(grid)
    cell.check_neutral("u0", c)
    c[:, 0] += 0.1
    with pytest.raises(ValueError, match=r"`u0` carries a net charge of 0\.1 \(sample 0\)"):
        cell.check_neutral("u0", c)


@pytest.mark.parametrize(
    ("grid", "arguments", "message"),
    [
        (
            box((8,), ("wall",)),
            {"walls": {"x-": pf.Wall(potential=1.0)}},
            r"`walls\['x-'\]` is Wall\(potential=1.0\), but a cosine series needs walls that",
        ),
        (
            pf.Grid((2,), (1.0,), ("wall",), edges=((0.0, 0.3, 1.0),)),
            {},
            "transforms need equal cells",
        ),
        (
            box((8,), ("wall",)),
            {"diffusivities": [pf.solvers.Field(torch.ones(8)), 1.0]},
            "`diffusivity of 'ion 0'` must be a number or one number per sample",
        ),
        (box((8,), ("wall",)), {"permittivity": -1.0}, "`permittivity` must be > 0, got -1"),
        (box((8,), ("wall",)), {"diffusivities": [1.0, 0.0]}, "`diffusivity` must be > 0, got 0"),
    ],
)
def test_what_series_cannot_do_is_said(grid, arguments, message):
    with pytest.raises(ValueError, match=message):
        series_cell(grid, **arguments)
