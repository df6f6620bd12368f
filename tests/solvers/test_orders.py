"""Measured orders, within 0.1 of the stated: of each stepper in time, of each scheme in space."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving, KenCarp4, Odeint
from tests.registry import (
    ADAPTIVE,
    ALL_SCHEMES,
    EXPLICIT,
    FIXED_STEP,
    IMPLICIT,
    Decay,
    Pendulum,
    f64,
    ring,
    slope,
    stepper_name,
    times,
)


@pytest.mark.parametrize("method", FIXED_STEP)
def test_order_in_time_on_a_nonlinear_oscillator(method):
    u0, span = torch.tensor([[1.0, 0.0], [2.0, 0.5]], dtype=f64), times(0, 2)
    exact = pf.simulate(
        Pendulum(), u0, span, stepper=Odeint("dopri8", rtol=1e-13, atol=1e-14)
    ).final
    sizes = [0.1, 0.05, 0.025]
    errors = [
        float((pf.simulate(Pendulum(), u0, span, stepper=method(dt=h)).final - exact).abs().max())
        for h in sizes
    ]
    found = slope(sizes, errors)
    assert found == pytest.approx(method.order, abs=0.1), (
        f"{method.__name__} says `order` {method.order}, measured {found:.2f}; look at its tableau"
    )
    assert errors[-1] < {1: 0.05, 2: 1e-3, 3: 5e-5}.get(method.order, 1e-6)


@pytest.mark.parametrize("method", EXPLICIT)
def test_decay_within_reach_is_followed_and_beyond_it_is_not(method):
    """One step of size 1 of du/dt = -x u: it grows for x beyond the reach."""
    for share, stable in ((0.999, True), (1.001, False)):
        x = torch.tensor([share * method.reach], dtype=f64)
        step = pf.simulate(Decay(), torch.ones_like(x), times(0, 1), x=x, stepper=method(dt=1.0))
        assert (abs(float(step.final)) <= 1) == stable, (
            f"`reach` of {method.__name__} is not {method.reach}: at x = {float(x):.4g} a step "
            f"multiplies by {float(step.final):.6f}"
        )


@pytest.mark.parametrize("method", [*IMPLICIT, AsymptoticPreserving])
def test_order_in_time_on_a_relaxing_cell(method):
    cell = ring(16)
    x = cell.grid.coordinates(0)
    wave = 0.5 * torch.sin(2 * math.pi * x)
    c0 = torch.stack([1 + wave, 1 - 0.6 * wave])
    span = times(0, 0.02)
    exact = pf.simulate(cell, c0, span, stepper=KenCarp4(dt=0.02 / 256)).final
    sizes = [0.02 / n for n in ((40, 80, 160) if method.order == 1 else (8, 16, 32))]
    errors = [
        float((pf.simulate(cell, c0, span, stepper=method(dt=h)).final - exact).abs().max())
        for h in sizes
    ]
    assert slope(sizes, errors) == pytest.approx(method.order, abs=0.1)
    assert errors[-1] < {1: 5e-3, 2: 1e-4, 3: 1e-4}.get(method.order, 2e-7)


@pytest.mark.parametrize("stepper", ADAPTIVE, ids=stepper_name)
def test_a_tighter_tolerance_gives_a_smaller_error(stepper):
    errors = []
    for rtol in (1e-3, 1e-5):
        run = pf.simulate(
            Decay(),
            torch.tensor([[1.0], [2.0]], dtype=f64),
            times(0, 1),
            x=torch.tensor([[1.0], [3.0]], dtype=f64),
            stepper=type(stepper)(rtol=rtol, atol=rtol / 100),
        )
        wanted = torch.tensor([[math.exp(-1)], [2 * math.exp(-3)]], dtype=f64)
        errors.append(float((run.final - wanted).abs().max()))
        assert errors[-1] < 20 * rtol ** (stepper.order / (stepper.order + 1))
    assert errors[1] < errors[0] / 5


def test_saved_times_between_steps_are_as_accurate_as_the_steps():
    """Dense output: 41 saved times must not cost steps, and their errors are the steps' own."""
    u0 = torch.tensor([1.0, 0.0], dtype=f64)
    dense = torch.linspace(0, 4, 41, dtype=f64)
    exact = pf.simulate(Pendulum(), u0, dense, stepper=Odeint("dopri8", rtol=1e-12, atol=1e-13))
    stepper = pf.solvers.KenCarp4(rtol=1e-6)
    run = pf.simulate(Pendulum(), u0, dense, stepper=stepper)
    ends = pf.simulate(Pendulum(), u0, times(0, 4), stepper=stepper)
    assert int(run.work.steps) == int(ends.work.steps)
    assert float((run.states - exact.states).abs().max()) < 2e-5


def manufactured(n):
    """Concentrations and potential of a periodic wave, and the divergence of the cation flux.

    c+ = 1 + .5 cos kx, c- = 1 - .3 cos 2kx, k = 2 pi, permittivity .1, and phi solves Poisson.
    """
    grid = pf.Grid((n,), (1.0,), ("periodic",))
    x, k, epsilon = grid.coordinates(0), 2 * math.pi, 0.1
    a, b = 0.5 * torch.cos(k * x), 0.3 * torch.cos(2 * k * x)
    c = torch.stack([1 + a, 1 - b])
    phi = (a / k**2 + b / (2 * k) ** 2) / epsilon
    x = x.clone().requires_grad_()

    def flux(x):
        cation = 1 + 0.5 * torch.cos(k * x)
        slope_c = -0.5 * k * torch.sin(k * x)
        slope_phi = (-0.5 * torch.sin(k * x) / k - 0.3 * torch.sin(2 * k * x) / (2 * k)) / epsilon
        return -(slope_c + cation * slope_phi)

    (divergence,) = torch.autograd.grad(flux(x).sum(), x)
    return grid, epsilon, c, phi, divergence


@pytest.mark.parametrize(
    ("scheme", "finest"),
    [("scharfetter-gummel", 3.618e-4), ("central", 3.618e-4), ("harmonic", 3.7e-4)],
)
def test_order_in_space_of_the_flux_divergence(scheme, finest):
    sizes, errors = [32, 64, 128], []
    for n in sizes:
        grid, epsilon, c, phi, divergence = manufactured(n)
        cell = pf.PNP(
            grid,
            [pf.Species("cation", +1), pf.Species("anion", -1)],
            permittivity=epsilon,
            scheme=scheme,
        )
        bound = cell.bind(c).cell
        flux = bound.fluxes(bound.faces(c[None], phi[None]))[0][0, 0]
        found = flux.diff() / grid.widths(0)
        errors.append(float((found - divergence).abs().max() / divergence.abs().max()))
    assert slope(sizes, errors) == pytest.approx(-2, abs=0.1)
    assert errors[-1] == pytest.approx(finest, rel=0.03)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_order_in_space_of_a_whole_run(scheme, graded):
    """A blocking cell while it charges, against its own solution on a four times finer grid.

    Cell averages of the fine run are compared, which differ from centre values by order 2.
    """

    def charge(n):
        s = torch.linspace(-1, 1, n + 1, dtype=f64)
        edges = (torch.tanh(1.2 * s) / math.tanh(1.2) + 1,) if graded else None
        cell = pf.PNP(
            pf.Grid((n,), (2.0,), ("wall",), edges=edges),
            [pf.Species("cation", +1), pf.Species("anion", -1)],
            permittivity=2 * 0.4**2,
            walls={"x-": pf.Wall(potential=-0.5), "x+": pf.Wall(potential=0.5)},
            scheme=scheme,
        )
        run = pf.simulate(cell, torch.ones(2, n, dtype=f64), times(0, 0.2), rtol=1e-7)
        return run.final, cell.grid.widths(0)

    finest, widths = charge(384)
    sizes, errors = [24, 48, 96], []
    for n in sizes:
        coarse, own = charge(n)
        mean = (finest * widths).reshape(2, n, -1).sum(-1) / own
        errors.append(float((coarse - mean).abs().max()))
    assert slope(sizes, errors) == pytest.approx(-2, abs=0.1)
    assert errors[-1] < 2e-3
