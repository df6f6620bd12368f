"""The compiled gradient of adaptive implicit runs against the one that torch records."""

import gc
import tracemalloc

import pytest
import torch
from hypothesis import given, settings

import pnpfusion as pf
from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers import TRBDF2, BackwardEuler, KenCarp4
from pnpfusion.solvers.compiled import implicit as compiled_implicit
from tests.compiled.test_newton import cells
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, blocking_cell, f64, random, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")


def gradients(run, inputs):
    weights = 0.5 + random(*run.states.shape, seed=1)
    loss = (torch.sin(run.states) * weights).nansum()
    return torch.autograd.grad(loss, inputs, allow_unused=True)


def both_ways(make, inputs):
    """The run in compiled code and in torch, with their gradients."""
    run = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundPNP, "plain_steps", lambda *_: None)
        wanted = make()
        theirs = gradients(wanted, inputs)
    return run, gradients(run, inputs), wanted, theirs


def assert_close(mine, theirs, tolerance=1e-8):
    for got, same in zip(mine, theirs, strict=True):
        if same is None:
            assert got is None or not got.any()
            continue
        size = float(same.abs().max())
        torch.testing.assert_close(got, same, rtol=0, atol=tolerance * size + 1e-11)


def parameters(n=12):
    """Everything that a cell with an electrode, a reservoir, crowding and a reaction has."""
    values = {
        "c0": 1 + 0.3 * random(2, 3, n),
        "z": torch.tensor(1.0, dtype=f64),
        "d": torch.tensor([1.0, 1.7], dtype=f64),
        "d_field": 1 + 0.5 * random(n, seed=2),
        "epsilon": 0.5 + 0.4 * random(2, seed=3),
        "charge": 0.2 * random(n, seed=4),
        "left": torch.tensor([0.7, -2.0], dtype=f64),
        "stern": torch.tensor(0.2, dtype=f64),
        "surface": torch.tensor([0.1, -0.2], dtype=f64),
        "reservoir": torch.tensor([1.2, 0.8], dtype=f64),
        "flux": torch.tensor(0.1, dtype=f64),
        "steric": torch.tensor([0.1, 0.15], dtype=f64),
        "forward": 0.5 + random(n, seed=5),
        "backward": torch.tensor([0.4, 0.9], dtype=f64),
    }
    return {name: value.requires_grad_() for name, value in values.items()}


def everything(v, stepper, *, scheme, crowded, span=(0, 7e-4, 0.01, 0.0101, 0.05)):
    n = v["c0"].shape[-1]
    cell = pf.PNP(
        pf.Grid((n,), (1.0,), ("wall",)),
        [
            pf.Species("cation", v["z"] if not crowded else 1, v["d"]),
            pf.Species("anion", -1, pf.Field(v["d_field"])),
            pf.Species("salt", 0, 1.0),
        ],
        permittivity=v["epsilon"],
        fixed_charge=pf.Field(v["charge"]),
        walls={
            "x-": pf.Wall(potential=v["left"], stern=v["stern"], flux={"anion": v["flux"]}),
            "x+": pf.Wall(surface_charge=v["surface"], concentration={"cation": v["reservoir"]}),
        },
        scheme=scheme,
        steric=v["steric"] if crowded else None,
        reactions=[
            pf.Reaction(["salt"], ["cation", "anion"], pf.Field(v["forward"]), v["backward"])
        ]
        if crowded
        else [],
    )
    return pf.simulate(cell, v["c0"], times(*span), stepper=stepper)


@quiet
@pytest.mark.parametrize("method", [BackwardEuler, TRBDF2, KenCarp4])
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize("crowded", [False, True])
def test_every_parameter_has_the_gradient_of_the_recorded_run(method, scheme, crowded):
    v = parameters()
    rtol = 1e-4 if method is BackwardEuler else 1e-7
    run, mine, wanted, theirs = both_ways(
        lambda: everything(v, method(rtol=rtol), scheme=scheme, crowded=crowded), list(v.values())
    )
    assert torch.equal(run.work.steps, wanted.work.steps)
    assert_close(mine, theirs, 2e-5 if method is BackwardEuler else 1e-8)
    asked = [name for name, grad in zip(v, mine, strict=True) if grad is not None and grad.any()]
    absent = {"z"} if crowded else {"steric", "forward", "backward"}
    assert set(asked) == set(v) - absent


@quiet
@settings(max_examples=25, deadline=None)
@given(cells())
def test_any_cell_has_the_gradient_of_the_recorded_run(made):
    cell, c0, _ = made
    c0.requires_grad_()
    run, mine, wanted, theirs = both_ways(
        lambda: pf.simulate(cell, c0, times(0, 1e-4, 3e-3), stepper=KenCarp4(1e-7, max_steps=300)),
        [c0],
    )
    assert torch.equal(run.work.steps, wanted.work.steps)
    assert_close(mine, theirs)


@quiet
def test_the_gradient_is_the_slope_of_the_run():
    """Central differences of a run whose steps are small beside what the parameters change."""
    v = parameters()

    def loss(values):
        run = everything(values, KenCarp4(rtol=1e-9), scheme="scharfetter-gummel", crowded=True)
        return (torch.sin(run.states) * (0.5 + random(*run.states.shape, seed=1))).sum()

    names = [name for name in v if name != "z"]
    found = dict(zip(names, torch.autograd.grad(loss(v), [v[n] for n in names]), strict=True))
    for name in names:
        way = random(*v[name].shape, seed=7) - 0.3
        with torch.no_grad():
            ends = [loss({**v, name: v[name] + h * way}) for h in (1e-4, -1e-4)]
        slope = float((ends[0] - ends[1]) / 2e-4)
        assert float((found[name] * way).sum()) == pytest.approx(slope, rel=2e-5, abs=1e-6), name


def test_a_gradient_changes_no_bit_of_the_run():
    voltage = torch.tensor([0.3, 1.0, 2.0], dtype=f64)
    c0, span = torch.ones(3, 2, 32, dtype=f64), times(0, 0.05, 0.2)
    plain = pf.simulate(blocking_cell(voltage=voltage), c0, span)
    run = pf.simulate(blocking_cell(voltage=voltage), c0.requires_grad_(), span)
    assert run.states.requires_grad
    assert torch.equal(run.states, plain.states)
    assert torch.equal(run.lowest, plain.lowest)
    assert torch.equal(run.work.iterations, plain.work.iterations)


def charging(voltage, c0, debye=0.3, stepper=None):
    cell = blocking_cell(c0.shape[-1], debye=debye, voltage=voltage)
    return pf.simulate(cell, c0, times(0, 0.05, 0.2), stepper=stepper)


@quiet
def test_a_gradient_is_the_same_bit_for_bit_whatever_its_mates():
    voltage = torch.tensor([0.2, 1.0, 3.0], dtype=f64, requires_grad=True)
    c0 = (1 + 0.1 * random(3, 2, 32)).requires_grad_()

    def found(rows):
        loss = charging(voltage[rows], c0[rows]).states.sin().sum()
        return [grad[rows] for grad in torch.autograd.grad(loss, (voltage, c0))]

    together = found(slice(None))
    for i in range(3):
        alone = found(slice(i, i + 1))
        assert all(torch.equal(a[i], b[0]) for a, b in zip(together, alone, strict=True))


@quiet
def test_steps_taken_again_and_many_calls_make_no_difference(monkeypatch):
    voltage = torch.tensor([0.2, 3.0], dtype=f64, requires_grad=True)
    c0 = (1 + 0.1 * random(2, 2, 16)).requires_grad_()
    stepper = KenCarp4(rtol=1e-7)
    wanted = gradients(charging(voltage, c0, stepper=stepper), (voltage, c0))
    monkeypatch.setattr(compiled_implicit, "ROOM_FOR_STAGES", 20_000)
    monkeypatch.setattr(compiled_implicit, "MOST_IN_ONE_CALL", 2 * 16 * 3)
    run = charging(voltage, c0, stepper=stepper)
    assert int(run.work.steps.min()) > 15
    for got, same in zip(gradients(run, (voltage, c0)), wanted, strict=True):
        torch.testing.assert_close(got, same, rtol=1e-12, atol=1e-14)


@quiet
def test_robust_steps_in_between_are_recorded():
    """Thin layers, steep starts and 40 thermal volts."""
    voltage = torch.tensor([0.1, 5.0, 40.0], dtype=f64, requires_grad=True)
    c0 = (10 ** (3 * random(3, 2, 16) - 2)).requires_grad_()

    def make():
        cell = blocking_cell(16, debye=1e-3, voltage=voltage, scheme="central")
        return pf.simulate(
            cell, c0, times(0, 1e-7, 1e-5, 0.1), stepper=KenCarp4(1e-4, max_steps=80)
        )

    run, mine, wanted, theirs = both_ways(make, (voltage, c0))
    assert len(run.times) > 1
    assert int(run.work.fallbacks.max()) > 0
    assert torch.equal(run.work.fallbacks, wanted.work.fallbacks)
    assert_close(mine, theirs, 1e-5)


@quiet
def test_samples_that_fail_leave_the_gradient_of_their_mates():
    voltage = torch.tensor([0.2, 30.0], dtype=f64, requires_grad=True)
    few, c0 = KenCarp4(max_steps=20), torch.ones(2, 2, 16, dtype=f64)
    run = charging(voltage, c0, stepper=few)
    assert run.succeeded.tolist() == [True, False]
    (grad,) = torch.autograd.grad(run.states.nansum(), voltage)
    alone = charging(voltage[:1], c0[:1], stepper=few)
    assert torch.equal(grad[:1], torch.autograd.grad(alone.states.sum(), voltage)[0][:1])
    assert grad.isfinite().all()


@quiet
def test_it_is_differentiated_once_only():
    c0 = torch.ones(2, 16, dtype=f64, requires_grad=True)
    run = charging(1.0, c0)
    (grad,) = torch.autograd.grad(run.final.square().sum(), c0, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@quiet
def test_a_graph_may_be_used_twice_and_what_changed_since_is_an_error():
    c0 = (1 + 0.1 * random(2, 16)).requires_grad_()
    loss = charging(torch.tensor(1.0, dtype=f64), c0).final.square().sum()
    first = torch.autograd.grad(loss, c0, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(loss, c0, retain_graph=True)[0], first)
    with torch.no_grad():
        c0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_memory_grows_with_the_square_root_of_the_steps(monkeypatch):
    """Bytes of arrays, those of Numba left out, at the end of a run and while it goes back."""
    monkeypatch.setattr(compiled_implicit, "ROOM_FOR_STAGES", 0)
    c0 = (1 + 0.1 * random(2, 512)).requires_grad_()
    states, steps = [], []
    for most in (150, 600, 2400):
        gc.collect()
        tracemalloc.start()
        run = charging(1.0, c0, stepper=BackwardEuler(rtol=1e-9, max_steps=most))
        steps.append(int(run.work.steps))
        del run
        states.append(tracemalloc.get_traced_memory()[1] / c0.nbytes)
        tracemalloc.stop()
    assert steps == [150, 600, 2400]
    assert states[1] < 2.2 * states[0]
    assert states[2] < 2.2 * states[1]
