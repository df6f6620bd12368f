"""Exponential steps: their order, what limits them and what does not, and their gradients."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, IFRK4
from pnpfusion.solvers.phi_functions import apply, doubled, phi_functions
from pnpfusion.solvers.steppers import Semilinear
from tests.registry import f64, slope
from tests.solvers.series import SeriesLaw, box, series_cell, smooth_state

METHODS = [IFRK4, ETDRK4]


class Forced(SeriesLaw):
    """du/dt = -100 (u - cos t) - u² / 2 for pairs u, with -100 u the linear part."""

    def rate(self, t, u):
        return -100 * (u - t[:, None].cos()) - u.square() / 2

    def semilinear(self, u0):
        return Semilinear(
            to_modes=lambda u: u,
            from_modes=lambda v: v,
            linear=-100 * torch.eye(2).to(u0).unsqueeze(0),
            remainder=lambda t, v: 100 * t[:, None].cos() - v.square() / 2,
        )


class Plain(SeriesLaw):
    """A law without a linear part to offer."""

    semilinear = None


class Refusing(SeriesLaw):
    """A law that could have one, but not about this state."""

    def semilinear(self, u0):
        return None


def final(law, u0, end, method, steps):
    path = method(dt=end / steps).integrate(law, u0, torch.tensor([0, end], dtype=u0.dtype))
    assert all(outcome.is_success for outcome in path.outcomes)
    return path.states[-1]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [0.0, 1e-9, 0.3, 5.0, 300.0, 1e5])
def test_phi_functions_are_those_of_the_exponential(size, count):
    """Against the exponential of the matrix that has them in its first row of blocks."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 3, 3, dtype=f64, generator=generator)
    x = -root @ root.mT
    x = size * x / x.abs().sum(2).amax(1).reshape(5, 1, 1)
    big = torch.zeros(5, 3 * (count + 1), 3 * (count + 1), dtype=f64)
    big[:, :3, :3] = x
    for k in range(count):
        big[:, 3 * k : 3 * k + 3, 3 * k + 3 : 3 * k + 6] = torch.eye(3)
    exponential = torch.linalg.matrix_exp(big)
    layout = x.permute(1, 2, 0).unsqueeze(0)
    for k, phi in enumerate(phi_functions(layout, count)):
        wanted = exponential[:, :3, 3 * k : 3 * k + 3]
        torch.testing.assert_close(phi[0].permute(2, 0, 1), wanted, rtol=1e-11, atol=1e-14)
    twice = doubled(phi_functions(layout, count))
    for phi, wanted in zip(twice, phi_functions(2 * layout, count), strict=True):
        torch.testing.assert_close(phi, wanted, rtol=1e-12, atol=1e-15)


def test_phi_functions_of_scalars():
    x = torch.tensor([-1e3, -1.0, -1e-8, 0.0, 0.5], dtype=f64)
    phis = phi_functions(x.reshape(1, 1, 1, -1), 2)
    safe = torch.where(x == 0, 1, x)
    first = torch.where(x == 0, 1, torch.expm1(x) / safe)
    torch.testing.assert_close(phis[0].flatten(), x.exp(), rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(phis[1].flatten(), first, rtol=1e-14, atol=0)
    assert float(phis[2].flatten()[3]) == 0.5
    assert float(phis[0].flatten()[3]) == 1.0


def test_phi_functions_have_gradients_of_every_order():
    x = torch.randn(1, 2, 2, 3, dtype=f64, generator=torch.Generator().manual_seed(0))
    x = (2 * x).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: phi_functions(m, 2), x)
    assert torch.autograd.gradgradcheck(lambda m: phi_functions(m, 1), x)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundaries", [("periodic",), ("wall",), ("wall", "periodic")])
def test_order_on_a_relaxing_cell(method, boundaries):
    grid = box((24,) if len(boundaries) == 1 else (16, 12), boundaries)
    law = SeriesLaw(series_cell(grid, permittivity=0.1, diffusivities=[1.0, 1.7]))
    u0, end = smooth_state(grid), 0.05
    exact = final(law, u0, end, ETDRK4, 640)
    sizes = [end / n for n in (10, 20, 40)]
    errors = [
        float((final(law, u0, end, method, round(end / h)) - exact).abs().max()) for h in sizes
    ]
    assert slope(sizes, errors) == pytest.approx(method.order, abs=0.1)
    assert errors[-1] < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_order_of_a_forced_law_with_small_steps(method):
    u0 = torch.tensor([[1.0, 2.0]], dtype=f64)
    exact = final(Forced(None), u0, 0.1, pf.solvers.RK4, 4000)
    sizes = [0.1 / n for n in (50, 100, 200)]
    errors = [
        float((final(Forced(None), u0, 0.1, method, round(0.1 / h)) - exact).abs().max())
        for h in sizes
    ]
    assert slope(sizes, errors) == pytest.approx(method.order, abs=0.1)
    assert errors[-1] < 1e-7


@pytest.mark.parametrize("method", METHODS)
def test_what_is_linear_is_exact_in_one_step(method):
    """At rest but for a wave too small to see itself; the Debye length is a hundredth of it."""
    grid = box((16,), ("periodic",))
    cell = series_cell(grid, permittivity=2e-4)
    wave = 1e-9 * (2 * math.pi * grid.coordinates(0)).cos()
    u0 = torch.stack([1 + wave, 1 + 0.5 * wave]).unsqueeze(0)
    end = final(SeriesLaw(cell), u0, 0.02, method, 1)[0] - 1
    salt = 0.75 * wave * math.exp(-((2 * math.pi) ** 2) * 0.02)
    torch.testing.assert_close(end, torch.stack([salt, salt]), rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_dielectric_relaxation_of_the_mean_limits_no_step(method):
    """Steps of forty relaxation times of the charge, where explicit ones diverge."""
    grid = box((16,), ("wall",))
    law = SeriesLaw(series_cell(grid, permittivity=1e-3))
    u0 = 1 + 1e-3 * (smooth_state(grid) - 1)
    span = torch.tensor([0, 0.2], dtype=f64)
    path = method(dt=0.02).integrate(law, u0, span)
    assert float((path.states[-1] - 1).abs().max()) < 1e-3
    lost = pf.solvers.RK4(dt=0.02).integrate(law, u0, span).states[-1]
    assert not bool((lost - 1).abs().max() < 1)


def test_what_rests_stays_at_rest_by_exponential_differences_only():
    grid = box((32,), ("wall",))
    phi = (math.pi * grid.coordinates(0)).cos()
    c = torch.stack([(-phi).exp(), phi.exp()]).unsqueeze(0)
    fixed = pf.solvers.Field(0.05 * math.pi**2 * phi - (c[0, 0] - c[0, 1]))
    law = SeriesLaw(series_cell(grid, permittivity=0.05, fixed_charge=fixed))
    moved = [float((final(law, c, 0.2, method, 10) - c).abs().max()) for method in METHODS]
    assert moved[1] < 1e-12 < 1e-6 < moved[0]


@pytest.mark.parametrize("method", METHODS)
def test_mass_is_kept_and_saved_times_change_little(method):
    grid = box((12, 8), ("wall", "periodic"))
    law, u0 = SeriesLaw(series_cell(grid)), smooth_state(grid)
    times = torch.tensor([0, 0.0123, 0.031, 0.05], dtype=f64)
    path = method(dt=1e-3).integrate(law, u0, times)
    mass = path.states.mean((-2, -1))
    torch.testing.assert_close(mass, mass[:1].expand_as(mass), rtol=1e-13, atol=0)
    assert path.lowest.shape == (4, 1)
    assert path.work.steps.tolist() == [13 + 19 + 19]
    torch.testing.assert_close(path.states[-1], final(law, u0, 0.05, method, 50), rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_that_fails_spares_its_batch_mates(method):
    grid = box((12,), ("wall",))
    u0 = torch.cat([smooth_state(grid), 1 + 1e8 * (smooth_state(grid, 0.9) - 1)])
    times = torch.tensor([0, 0.01, 0.02], dtype=f64)
    both = method(dt=1e-3).integrate(SeriesLaw(series_cell(grid, batch=(2,))), u0, times)
    alone = method(dt=1e-3).integrate(SeriesLaw(series_cell(grid)), u0[:1], times)
    assert [o.is_success for o in both.outcomes] == [True, False]
    torch.testing.assert_close(both.states[:, 0], alone.states[:, 0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_through_steps(method):
    grid = box((6,), ("wall",))
    u0 = torch.cat([smooth_state(grid), smooth_state(grid, 0.2)]).requires_grad_()
    values = [torch.tensor(v, dtype=f64).requires_grad_() for v in ([0.1, 0.3], 1.2, [0.7, 2.0])]

    def run(u0, eps, z, d):
        cell = series_cell(
            grid, valences=(z, -1.0), diffusivities=[d, 1.0], permittivity=eps, batch=(2,)
        )
        times = torch.tensor([0, 0.01, 0.02], dtype=f64)
        return method(dt=0.005).integrate(SeriesLaw(cell), u0, times).states[1:]

    assert torch.autograd.gradcheck(run, (u0, *values))


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_stays_single(method):
    grid = box((12,), ("wall",))
    u0 = smooth_state(grid)
    single = final(SeriesLaw(series_cell(grid, dtype=torch.float32)), u0.float(), 0.02, method, 20)
    assert single.dtype == torch.float32
    wanted = final(SeriesLaw(series_cell(grid)), u0, 0.02, method, 20)
    torch.testing.assert_close(single.double(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("law", [Plain, Refusing])
def test_a_law_without_a_linear_part_is_told_so(law):
    grid = box((6,), ("wall",))
    with pytest.raises(ValueError, match=r"`ETDRK4` follows .* this law offers none; use"):
        final(law(series_cell(grid)), smooth_state(grid), 0.1, ETDRK4, 1)


def test_a_step_must_be_positive():
    with pytest.raises(ValueError, match=r"`dt` must be a finite number > 0, got 0\.0"):
        IFRK4(dt=0.0)


def test_matrices_act_mode_by_mode():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(1, 3, 3, 4, 5, dtype=f64, generator=generator)
    v = torch.randn(2, 3, 4, 5, dtype=f64, generator=generator)
    wanted = torch.einsum("ijxy,bjxy->bixy", matrices[0], v)
    torch.testing.assert_close(apply(matrices, v), wanted)
    torch.testing.assert_close(apply(matrices, v, plus=v), wanted + v)
