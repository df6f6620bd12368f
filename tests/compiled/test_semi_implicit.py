"""Semi-implicit runs in compiled code against the steps in torch: same numbers, same gradients."""

import pytest
import torch

import pnpfusion as pf
from tests.compiled.semi_implicit_runs import electrodes, leaf, simulated
from tests.marks import quiet
from tests.registry import blocking_cell, f64, random, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
pytestmark = quiet


def reservoirs(dtype=f64):
    """Four species, some of which cross a wall, on a graded grid of unlike materials."""
    given = {
        "permittivity": leaf(7, low=0.05, high=0.2, dtype=dtype),
        "surface_charge": leaf(3, 4, low=-0.3, high=0.3, seed=2, dtype=dtype),
        "concentration": leaf(4, seed=3, dtype=dtype),
        "flux": leaf(low=0.1, high=0.2, seed=4, dtype=dtype),
        "diffusivity": leaf(7, seed=5, dtype=dtype),
        "start": leaf(3, 4, 4, 7, seed=6, dtype=dtype),
    }
    edges = torch.cat([torch.zeros(1, dtype=f64), (0.5 + random(7, seed=8)).cumsum(0)])
    cell = pf.PNP(
        pf.Grid((7,), (float(edges[-1]),), ("wall",), edges=(edges,)),
        [
            pf.Species("cation", 1, pf.Field(given["diffusivity"])),
            pf.Species("anion", -1),
            pf.Species("salt", 0, 0.5),
            pf.Species("calcium", 2, 0.8),
        ],
        permittivity=pf.Field(given["permittivity"]),
        walls={
            "x-": pf.Wall(
                potential=-2.0,  # alone, it moves nothing
                concentration={"cation": given["concentration"], "anion": 0.7},
            ),
            "x+": pf.Wall(surface_charge=given["surface_charge"], flux={"salt": given["flux"]}),
        },
    )
    return cell, given


def floating(dtype=f64):
    """Closed and insulated: the potential has no reference."""
    given = {
        "permittivity": leaf(4, low=0.05, high=0.2, dtype=dtype),
        "start": leaf(4, 2, 8, seed=1, dtype=dtype),
    }
    start = given["start"]
    lack = (start[:, :1] - start[:, 1:]).mean(-1, keepdim=True)
    neutral = start + torch.cat([torch.zeros_like(lack), lack], 1)
    cell = pf.PNP(
        pf.Grid((8,), (1.0,), ("wall",)),
        [pf.Species("cation", 1, 0.7), pf.Species("anion", -1)],
        permittivity=given["permittivity"],
    )
    return cell, {**given, "neutral": neutral}


CASES = [electrodes, reservoirs, floating]


def gradients(cell, given):
    run = simulated(cell, given.get("neutral", given["start"]))
    weights = random(*run.states.shape, seed=9).to(run.states.dtype)
    leaves = [value for name, value in given.items() if name != "neutral"]
    found = torch.autograd.grad((weights * run.states.exp()).sum(), leaves)
    return run, dict(zip((n for n in given if n != "neutral"), found, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_states_and_gradients_are_those_of_the_steps_in_torch(case, in_torch):
    run, mine = gradients(*case())
    wanted, theirs = in_torch(gradients, *case())
    torch.testing.assert_close(run.states, wanted.states, rtol=1e-12, atol=0)
    torch.testing.assert_close(run.lowest, wanted.lowest, rtol=1e-12, atol=0)
    torch.testing.assert_close(run.standing.slope, wanted.standing.slope, rtol=1e-9, atol=1e-9)
    assert run.outcome is wanted.outcome is pf.Outcome.REACHED_END
    for name in ("steps", "rejected", "fallbacks", "iterations", "rate_calls"):
        assert torch.equal(getattr(run.work, name), getattr(wanted.work, name)), name
    for name, gradient in theirs.items():
        size = float(gradient.abs().max())
        assert size > 0, name
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-9 * size)


@pytest.mark.parametrize("case", CASES)
def test_without_a_gradient_states_are_the_same_bit_for_bit(case):
    cell, given = case()
    start = given.get("neutral", given["start"])
    followed = simulated(cell, start)
    with torch.no_grad():
        plain = simulated(cell, start)
    assert torch.equal(plain.states, followed.states)
    assert not plain.states.requires_grad


@pytest.mark.parametrize("case", CASES)
def test_in_single_precision(case):
    run, mine = gradients(*case(torch.float32))
    wanted, theirs = gradients(*case())
    assert run.states.dtype == torch.float32
    torch.testing.assert_close(run.states.double(), wanted.states, rtol=3e-5, atol=3e-5)
    for name, gradient in theirs.items():
        size = float(gradient.abs().max())
        torch.testing.assert_close(mine[name].double(), gradient, rtol=1e-3, atol=1e-3 * size)


def small(start, permittivity, voltage, charge, reservoir):
    cell = pf.PNP(
        pf.Grid((3,), (1.0,), ("wall",)),
        [pf.Species("cation", 1), pf.Species("anion", -1, 0.5)],
        permittivity=permittivity,
        walls={
            "x-": pf.Wall(potential=voltage, concentration={"anion": reservoir}),
            "x+": pf.Wall(potential=0.0),
        },
        fixed_charge=pf.Field(charge),
    )
    return simulated(cell, start, times(0, 0.1), dt=0.04).final


def test_gradcheck_once_and_twice():
    values = leaf(2, 2, 3), leaf(2, low=0.1, high=0.3), leaf(), leaf(2, 3), leaf(2)
    assert torch.autograd.gradcheck(small, values)
    assert torch.autograd.gradgradcheck(small, values)


def test_a_cell_of_one_point(in_torch):
    cell = blocking_cell(1)
    c0 = leaf(3, 2, 1)
    found = [
        torch.autograd.grad(simulated(cell, c0).final.square().sum(), c0)[0],
        in_torch(lambda: torch.autograd.grad(simulated(cell, c0).final.square().sum(), c0)[0]),
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [f64, torch.float32])
def test_a_sample_is_the_same_bit_for_bit_whatever_its_mates(dtype):
    voltage = torch.linspace(0, 20, 150, dtype=dtype)
    c0 = leaf(150, 2, 16, dtype=dtype)
    together = simulated(blocking_cell(16, voltage=voltage), c0)
    (by_all,) = torch.autograd.grad(together.states.square().sum(), c0)
    for i in (0, 63, 64, 149):
        alone = simulated(blocking_cell(16, voltage=voltage[i : i + 1]), c0[i : i + 1])
        (by_one,) = torch.autograd.grad(alone.states.square().sum(), c0)
        assert torch.equal(together.states[:, i], alone.states[:, 0])
        assert torch.equal(by_all[i], by_one[i])


@pytest.mark.parametrize(("dtype", "longest"), [(f64, 1e6), (torch.float32, 1e2)])
def test_mass_and_positivity_hold_at_any_step_and_voltage(dtype, longest):
    voltage = torch.tensor([0.1, 10.0, 300.0], dtype=dtype)
    c0 = leaf(3, 2, 32, low=0.0, high=2.0, dtype=dtype).detach()
    for dt in (1e-6, 1.0, longest):
        cell = blocking_cell(32, debye=0.02, voltage=voltage)
        run = simulated(cell, c0, times(0, 3 * dt), dt=dt).require_success()
        precision = 20 * torch.finfo(dtype).eps
        torch.testing.assert_close(cell.mass(run.final), cell.mass(c0), rtol=precision, atol=0)
        assert run.lowest.min() >= 0
        assert run.final.min() >= 0
        assert (run.final - c0).abs().max() > 1e-3


def test_runs_in_many_calls_are_those_in_one(monkeypatch):
    cell, given = electrodes()
    run, wanted = gradients(cell, given)
    monkeypatch.setattr("pnpfusion.solvers.compiled.semi_implicit.MOST_IN_ONE_CALL", 1)
    again, found = gradients(cell, given)
    assert torch.equal(again.states, run.states)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_a_step_of_another_size_for_each_sample(case, in_torch):
    cell, given = case()
    start = given.get("neutral", given["start"])
    flat = start.reshape(-1, *start.shape[-2:])
    dt = torch.linspace(0, 0.1, len(flat), dtype=f64)

    def step():
        new = cell.bind(start).robust_step(torch.zeros_like(dt), dt, flat)
        leaves = [value for name, value in given.items() if name != "neutral"]
        return new, torch.autograd.grad(new.exp().square().sum(), leaves)

    (new, mine), (wanted, theirs) = step(), in_torch(step)
    torch.testing.assert_close(new, wanted, rtol=1e-12, atol=0)
    for gradient, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))
