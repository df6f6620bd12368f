"""The gradient of a state of rest: implicit, in every parameter, by one more solve."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import BackwardEuler
from tests.marks import quiet
from tests.registry import f64, random, times
from tests.run.cells_at_rest import ALL, line, start


def parts_of_a_cell(way):
    """A run to rest as a function of every parameter, and values for them, in two axes."""
    shape, low = (3, 2), torch.tensor([True, False])
    values = {
        "c0": 0.6 + random(3, *shape),
        "d": 0.5 + random(*shape, seed=1),
        "z": torch.tensor(1.0, dtype=f64),
        "epsilon": 0.5 + random(*shape, seed=2),
        "charge": 0.2 * random(*shape, seed=3),
        "u": random(2, seed=4),
        "stern": torch.tensor(0.2, dtype=f64),
        "sigma": torch.tensor(0.3, dtype=f64),
        "k": torch.tensor([2.0, 1.5], dtype=f64),
    }
    if way == "convex":
        values["reservoir"] = torch.tensor(0.8, dtype=f64)
    else:
        values |= {
            "steric": torch.tensor(0.1, dtype=f64),
            "reservoir": random(2, seed=5) + 0.5,
            "inflow": torch.tensor(0.1, dtype=f64),
        }

    def rest(c0, d, z, epsilon, charge, u, stern, sigma, k, *more):
        walls = {
            "x-": [
                pf.Wall(potential=pf.Field(u), stern=stern, mask=low),
                pf.Wall(surface_charge=sigma, mask=~low),
            ],
            "y+": pf.Wall(potential=0.3),
        }
        species = [pf.Species("cation", z, pf.Field(d)), pf.Species("anion", -z)]
        reactions = []
        if way == "convex":
            (held,) = more
            c0 = c0[:2]
            species.append(pf.Species("neutral", 0))
            walls["x+"] = pf.Wall(concentration={"neutral": held}, potential=0.0)
            c0 = torch.cat([c0, 0.5 * c0[:1] * k.sum()])
            extra = {}
        else:
            steric, held, inflow = more
            species.append(pf.Species("salt", 0))
            reactions = [pf.Reaction(["salt"], ["cation", "anion"], k[0], k[1])]
            walls["x+"] = pf.Wall(
                concentration={"cation": pf.Field(held)}, flux={"salt": inflow}, potential=0.0
            )
            walls["y-"] = pf.Wall(concentration={"salt": 0.3})
            extra = {"steric": steric}
        cell = pf.PNP(
            pf.Grid(shape, (0.5, 0.4), ("wall", "wall")),
            species,
            permittivity=pf.Field(epsilon),
            fixed_charge=pf.Field(charge),
            walls=walls,
            reactions=reactions,
            **extra,
        )
        return pf.equilibrium(cell, c0, tol=1e-12).require_success().final

    return rest, [value.requires_grad_() for value in values.values()]


@quiet
@pytest.mark.parametrize("way", ["convex", "general"])
def test_gradients_of_both_ways_in_every_parameter(way):
    rest, inputs = parts_of_a_cell(way)
    assert torch.autograd.gradcheck(rest, inputs, rtol=1e-4, atol=1e-7, eps=1e-5)


@quiet
@pytest.mark.parametrize("name", [n for n in ALL if n != "one cell afloat"])
def test_gradients_in_the_start_and_in_what_drives(name):
    """In the masses through the start, along random neutral directions, and in the charge."""
    cell = ALL[name]
    held = cell.fixed_charge
    fixed = (
        held.values if isinstance(held, pf.Field) else torch.full(cell.grid.shape, held).double()
    )
    c0 = start(cell)
    move, push = random(*c0.shape, seed=8) - 0.5, random(*cell.grid.shape, seed=9) - 0.5
    weights = random(*c0.shape, seed=10) - 0.5
    if cell.bind(c0).cell.dielectric.floating:  # stay among neutral states
        push = push - push.mean()
        z = torch.tensor([float(one.valence) for one in cell.species], dtype=f64)
        move[0] -= torch.einsum("s,s...->...", z, move).mean() / z[0]

    def loss(step, other):
        x = {"fixed_charge": pf.Field(fixed + other * push)}
        return (weights * pf.equilibrium(cell, c0 + step * move, x=x, tol=1e-12).final).sum()

    zero = torch.zeros((), dtype=f64)
    assert torch.autograd.gradcheck(
        loss,
        (zero.clone().requires_grad_(), zero.clone().requires_grad_()),
        rtol=1e-5,
        atol=1e-7,
        eps=1e-4,
    )


@quiet
def test_the_gradient_is_that_of_a_long_run():
    u = torch.tensor(1.5, dtype=f64)

    def cell(u):
        return line({"x-": pf.Wall(potential=u), "x+": pf.Wall(potential=-1.0)})

    c0 = start(cell(1.0))
    at = u.clone().requires_grad_()
    (found,) = torch.autograd.grad(pf.equilibrium(cell(at), c0).final.square().sum(), at)

    def late(u):
        run = pf.simulate(cell(u), c0, times(0, 20.0), rtol=1e-7)
        return pf.simulate(cell(u), run.final, times(0, 1e4), stepper=BackwardEuler(dt=1e3)).final

    wanted = (late(u + 1e-4).square().sum() - late(u - 1e-4).square().sum()) / 2e-4
    assert float(found) == pytest.approx(float(wanted), rel=1e-6)


@quiet
@pytest.mark.parametrize("name", ["closed", "reactions", "membrane", "central"])
def test_the_gradient_takes_one_transposed_solve(name, monkeypatch):
    from pnpfusion.solvers import convex_equilibrium, elliptic, stencil

    monkeypatch.setattr(convex_equilibrium, "knows_rest", lambda *_: False)  # the torch way
    calls = []
    for owner, key in ((elliptic, "_solve_line"), (stencil.Stencil, "_solve")):
        real = getattr(owner, key)
        monkeypatch.setattr(
            owner, key, lambda *a, _r=real, _k=key, **k: calls.append(_k) or _r(*a, **k)
        )
    cell, c0 = ALL[name], start(ALL[name])
    u = torch.tensor(0.7, dtype=f64, requires_grad=True)
    rest = pf.equilibrium(cell, c0, x={"potential:x-": u})
    forward = len(calls)
    assert forward > 1
    rest.final.square().sum().backward()
    assert len(calls) == forward + 1


@quiet
@pytest.mark.parametrize("name", ["closed", "membrane"])
def test_a_second_derivative_is_an_error_not_a_wrong_number(name):
    u = torch.tensor(0.7, dtype=f64, requires_grad=True)
    final = pf.equilibrium(ALL[name], start(ALL[name]), x={"potential:x-": u}).final
    weights = torch.linspace(0, 1, final.numel(), dtype=f64).reshape(final.shape)
    (gradient,) = torch.autograd.grad((weights * final**3).sum(), u, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().backward()
