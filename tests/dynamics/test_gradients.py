"""Gradients through runs, in every parameter, against finite differences (fixed steps)."""

import math

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import (
    TRBDF2,
    AsymptoticPreserving,
    BackwardEuler,
    Heun,
    KenCarp4,
    Odeint,
)
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, FIXED_STEP, Pendulum, f64, times

CELLS = 4
STEPPERS = [*(method(dt=2e-3) for method in FIXED_STEP), AsymptoticPreserving(dt=2e-3)]


def run_of_everything(stepper, scheme, boundary):
    """A run as a function of the initial state and every parameter, and values for them."""
    c0 = 1 + 0.3 * torch.rand(2, 2, CELLS, dtype=f64, generator=torch.Generator().manual_seed(0))
    values = {
        "c0": c0,
        "d": torch.tensor([1.0, 1.7], dtype=f64),
        "z": torch.tensor(1.0, dtype=f64),
        "epsilon": torch.tensor([0.4, 0.9], dtype=f64),
        "charge": 0.1 * torch.tensor([1.0, -2.0, 0.5, 0.5], dtype=f64),
    }
    if boundary == "wall":
        values |= {
            "left": torch.tensor([0.7, -1.5], dtype=f64),
            "stern": torch.tensor(0.2, dtype=f64),
            "sigma": torch.tensor(0.3, dtype=f64),
            "reservoir": torch.tensor(1.2, dtype=f64),
            "inflow": torch.tensor(0.4, dtype=f64),
        }
    grid = pf.Grid((CELLS,), (1.0,), (boundary,))

    def run(
        c0, d, z, epsilon, charge, left=None, stern=None, sigma=None, reservoir=None, inflow=None
    ):
        if boundary == "periodic":  # stay among neutral states, whatever is varied
            net = (z * c0[:, :1] - c0[:, 1:] + charge).mean((1, 2), keepdim=True)
            c0 = torch.cat([c0[:, :1], c0[:, 1:] + net], 1)
            walls = None
        else:
            walls = {
                "x-": pf.Wall(potential=left, stern=stern, concentration={"cation": reservoir}),
                "x+": pf.Wall(surface_charge=sigma, flux={"anion": inflow}),
            }
        cell = pf.PNP(
            grid,
            [pf.Species("cation", z, d), pf.Species("anion", -1)],
            permittivity=epsilon,
            walls=walls,
            fixed_charge=pf.Field(charge),
            scheme=scheme,
        )
        return pf.simulate(cell, c0, times(0, 4e-3), stepper=stepper).final

    return run, [value.requires_grad_() for value in values.values()]


@quiet
@pytest.mark.parametrize("boundary", ["wall", "periodic"])
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize("stepper", STEPPERS, ids=lambda s: type(s).__name__)
def test_gradcheck_in_every_parameter(stepper, scheme, boundary):
    run, inputs = run_of_everything(stepper, scheme, boundary)
    assert torch.autograd.gradcheck(run, inputs, rtol=1e-4, atol=1e-7, fast_mode=True)


@quiet
def test_gradcheck_of_every_single_entry():
    run, inputs = run_of_everything(TRBDF2(dt=4e-3), "scharfetter-gummel", "wall")
    assert torch.autograd.gradcheck(run, inputs, rtol=1e-4, atol=1e-7)


@quiet
@pytest.mark.parametrize("stepper", [KenCarp4(), TRBDF2(), BackwardEuler(rtol=1e-3), Odeint()])
def test_adaptive_runs_have_gradients_close_to_finite_differences(stepper):
    run, inputs = run_of_everything(stepper, "scharfetter-gummel", "wall")
    direction = [torch.ones_like(value) for value in inputs]
    weights = torch.linspace(-1, 1, 2 * 2 * CELLS, dtype=f64).reshape(2, 2, CELLS)

    def loss(step):
        moved = (v.detach() + step * d for v, d in zip(inputs, direction, strict=True))
        return float((weights * run(*moved)).sum())

    gradients = torch.autograd.grad((weights * run(*inputs)).sum(), inputs)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    assert slope == pytest.approx((loss(1e-3) - loss(-1e-3)) / 2e-3, rel=2e-3)


@quiet
def test_the_implicit_gradient_is_that_of_the_unrolled_iteration():
    """One implicit step against autograd through a fixed number of its own Newton iterations."""
    run, inputs = run_of_everything(BackwardEuler(dt=4e-3), "scharfetter-gummel", "wall")
    implicit = torch.autograd.grad(run(*inputs).square().sum(), inputs)

    def unrolled(*values):
        """Backward Euler by many small relaxation sweeps u <- u - w (u - h f(u) - u0)."""
        c0, d, z, epsilon, charge, left, stern, sigma, reservoir, inflow = values
        cell = pf.PNP(
            pf.Grid((CELLS,), (1.0,), ("wall",)),
            [pf.Species("cation", z, d), pf.Species("anion", -1)],
            permittivity=epsilon,
            walls={
                "x-": pf.Wall(potential=left, stern=stern, concentration={"cation": reservoir}),
                "x+": pf.Wall(surface_charge=sigma, flux={"anion": inflow}),
            },
            fixed_charge=pf.Field(charge),
        )
        u = c0
        for _ in range(200):
            u = u - 0.5 * (u - 4e-3 * cell.rate(torch.zeros(()), u) - c0)
        return u

    explicit = torch.autograd.grad(unrolled(*inputs).square().sum(), inputs)
    for a, b in zip(implicit, explicit, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_generic_laws_have_gradients_through_implicit_steps():
    u0 = torch.tensor([[1.0, 0.2]], dtype=f64, requires_grad=True)
    for stepper in (BackwardEuler(dt=0.1), TRBDF2(dt=0.1), KenCarp4(dt=0.2), Heun(dt=0.1)):
        assert torch.autograd.gradcheck(
            lambda u, s=stepper: pf.simulate(Pendulum(), u, times(0, 0.4), stepper=s).final, u0
        )


@quiet
def test_saved_states_between_steps_carry_gradients():
    c0 = torch.ones(2, 2, CELLS, dtype=f64, requires_grad=True)
    cell = pf.PNP(
        pf.Grid((CELLS,), (1.0,), ("wall",)),
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=0.5,
        walls={"x-": pf.Wall(potential=1.0)},
    )
    path = pf.simulate(cell, c0, torch.linspace(0, 0.1, 9, dtype=f64)).states
    (gradient,) = torch.autograd.grad(path[4].square().sum(), c0)

    def loss(c):
        return pf.simulate(cell, c, torch.linspace(0, 0.1, 9, dtype=f64)).states[4].square().sum()

    with torch.no_grad():
        bump = torch.zeros_like(c0)
        bump[0, 1, 2] = 1e-4
        difference = (loss(c0 + bump) - loss(c0 - bump)) / 2e-4
    assert float(gradient[0, 1, 2]) == pytest.approx(float(difference), rel=1e-3)


@quiet
def test_parameters_of_the_law_learn():
    """Optimisers find nn.Parameters, and a wrong diffusivity is recovered from a profile."""
    grid = pf.Grid((16,), (1.0,), ("wall",))
    walls = {"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=-1.0)}
    c0, span = torch.ones(2, 16, dtype=f64), times(0, 0.05)

    def cell(d):
        ions = [pf.Species("cation", 1, d), pf.Species("anion", -1)]
        return pf.PNP(grid, ions, permittivity=0.1, walls=walls)

    seen = pf.simulate(cell(2.0), c0, span).final
    model = cell(torch.nn.Parameter(torch.tensor(1.0, dtype=f64)))
    assert [name for name, _ in model.named_parameters()] == ["diffusivity:cation"]
    optimiser = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=15)

    def closure():
        optimiser.zero_grad()
        loss = (pf.simulate(model, c0, span).final - seen).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert float(model.species[0].diffusivity.detach()) == pytest.approx(2.0, rel=1e-3)


@quiet
def test_a_second_derivative_through_an_implicit_step_is_an_error_not_a_wrong_number():
    run, inputs = run_of_everything(BackwardEuler(dt=4e-3), "central", "wall")
    (gradient,) = torch.autograd.grad(run(*inputs).square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@quiet
def test_without_grad_nothing_is_recorded():
    run, inputs = run_of_everything(TRBDF2(dt=2e-3), "central", "wall")
    with torch.no_grad():
        assert not run(*inputs).requires_grad


@quiet
@pytest.mark.parametrize("stepper", [None, TRBDF2(), BackwardEuler(rtol=1e-3)], ids=str)
def test_gradients_from_a_state_at_rest(stepper):
    """At zero voltage nothing moves: the size of the first step must not enter the gradient."""

    def final(voltage):
        cell = pf.PNP(
            pf.Grid((8,), (1.0,), ("wall",)),
            [pf.Species("cation", 1), pf.Species("anion", -1)],
            permittivity=0.5,
            walls={"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)},
        )
        c0 = torch.ones(2, 8, dtype=f64)
        return pf.simulate(cell, c0, times(0, 0.01, 0.02), stepper=stepper).final[0, 0]

    voltage = torch.tensor(0.0, dtype=f64, requires_grad=True)
    (gradient,) = torch.autograd.grad(final(voltage), voltage)
    with torch.no_grad():
        difference = (final(voltage + 0.1) - final(voltage - 0.1)) / 0.2
    assert float(gradient) == pytest.approx(float(difference), rel=0.15)


@pytest.mark.parametrize("stepper", [Heun(dt=0.01), KenCarp4(), Odeint()], ids=str)
def test_tensors_that_are_no_parameters_have_gradients_too(stepper):
    class Decay(pf.Dynamics):
        def __init__(self, k):
            super().__init__()
            self.k = k

        def rate(self, t, u, x=None):
            return -self.k * u

    k = torch.tensor(1.0, dtype=f64, requires_grad=True)
    run = pf.simulate(Decay(k), torch.ones(1, dtype=f64), times(0, 1), stepper=stepper)
    (gradient,) = torch.autograd.grad(run.final.sum(), k)
    assert float(gradient) == pytest.approx(-math.exp(-1), rel=1e-3)
