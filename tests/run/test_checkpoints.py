"""Gradients of runs that keep few of their states: the same, in bounded memory."""

import gc

import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers import RK4, TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4, Odeint
from tests.marks import quiet
from tests.registry import Decay, Pendulum, blocking_cell, f64, stepper_name, times
from tests.run.followed_runs import SPAN, gradients, parameters


def charging(values, stepper, checkpoints, span=SPAN):
    """A batch of cells that charge, with a gradient in all that a wall and an ion have."""
    cell = pf.PNP(
        pf.Grid((12,), (1.0,), ("wall",)),
        [pf.Species("cation", values["z"], values["d"]), pf.Species("anion", -1)],
        permittivity=values["epsilon"],
        fixed_charge=pf.Field(values["charge"]),
        walls={
            "x-": pf.Wall(potential=values["left"], stern=values["stern"]),
            "x+": pf.Wall(potential=0.0, concentration={"cation": values["reservoir"]}),
        },
    )
    x = {"potential:x+": values["right"]}
    return pf.simulate(cell, values["c0"], span, x=x, stepper=stepper, checkpoints=checkpoints)


@quiet
@pytest.mark.parametrize("checkpoints", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "stepper",
    [
        RK4(dt=2e-4),
        AsymptoticPreserving(dt=2e-4),
        KenCarp4(dt=4e-4),
        BackwardEuler(rtol=1e-3),
        TRBDF2(rtol=1e-4),
        KenCarp4(),
    ],
    ids=stepper_name,
)
def test_the_gradient_is_that_of_the_recorded_run(stepper, checkpoints):
    values = parameters()
    with pytest.MonkeyPatch.context() as patch:  # compiled steps keep few states by themselves
        patch.setattr(BoundPNP, "plain_steps", lambda *_: None)
        recorded = charging(values, stepper, None)
    run = charging(values, stepper, checkpoints)
    assert torch.equal(run.states, recorded.states)
    assert torch.equal(run.lowest, recorded.lowest)
    assert torch.equal(run.work.iterations, recorded.work.iterations)
    wanted = gradients(recorded, list(values.values()))
    for got, same in zip(gradients(run, list(values.values())), wanted, strict=True):
        torch.testing.assert_close(got, same, rtol=0, atol=1e-12 * float(same.abs().max()))


@quiet
def test_steps_that_fell_back_are_taken_again_as_they_were():
    """A voltage that Newton's method cannot follow at this size: the robust step stands."""
    values = parameters()
    values["left"] = torch.tensor([1.0, 400.0], dtype=f64, requires_grad=True)
    recorded, run = (charging(values, KenCarp4(dt=1e-3), n) for n in (None, 2))
    assert run.work.fallbacks.tolist()[1] > 0
    wanted = gradients(recorded, list(values.values()))
    for got, same in zip(gradients(run, list(values.values())), wanted, strict=True):
        torch.testing.assert_close(got, same, rtol=0, atol=1e-12 * float(same.abs().max()))


class Driven(pf.Dynamics):
    """A decay whose rate is a closure over a result of other tensors, with the tensors beside."""

    def __init__(self, k):
        super().__init__()
        self.k, square = k, k**2
        self.of = lambda u: -square * u

    def rate(self, t, u, x=None):
        return self.of(u) - 0.1 * self.k


@pytest.mark.parametrize("stepper", [RK4(dt=0.05), KenCarp4(), TRBDF2(dt=0.05)], ids=stepper_name)
def test_whatever_a_law_depends_on_is_found_and_counted_once(stepper):
    k = torch.tensor(1.3, dtype=f64, requires_grad=True)
    u0, span = torch.ones(3, 1, dtype=f64), times(0, 0.3, 1)
    found = [
        torch.autograd.grad(
            pf.simulate(Driven(k), u0, span, stepper=stepper, checkpoints=n).states.sum(), k
        )[0]
        for n in (None, 3)
    ]
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=0)


def test_a_module_trains_and_a_graph_may_be_used_twice():
    torch.manual_seed(0)

    class Net(pf.Dynamics):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)
            ).double()

        def rate(self, t, u, x=None):
            return self.layers(u)

    net, u0 = Net(), torch.randn(4, 2, dtype=f64)
    pf.simulate(net, u0, times(0, 1), stepper=KenCarp4()).final.square().sum().backward()
    wanted = [p.grad.clone() for p in net.parameters()]
    loss = pf.simulate(net, u0, times(0, 1), stepper=KenCarp4(), checkpoints=2).final.square().sum()
    net.zero_grad()
    loss.backward(retain_graph=True)
    for parameter, same in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, same, rtol=1e-12, atol=1e-14)
    loss.backward()
    for parameter, same in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * same, rtol=1e-12, atol=1e-14)


def test_parameters_changed_before_the_gradient_are_an_error():
    k = torch.tensor(1.0, dtype=f64, requires_grad=True)
    run = pf.simulate(
        Driven(k), torch.ones(1, dtype=f64), times(0, 1), stepper=RK4(dt=0.1), checkpoints=2
    )
    with torch.no_grad():
        k.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        run.final.sum().backward()


def held_after(stepper, checkpoints):
    """How many tensors of the size of a state live on when a run is over, beside that run."""
    u0 = torch.ones(1, 1009, dtype=f64, requires_grad=True)
    run = pf.simulate(Decay(), u0, times(0, 1), stepper=stepper, checkpoints=checkpoints)
    gc.collect()
    return sum(
        type(thing) is torch.Tensor and thing.shape == u0.shape for thing in gc.get_objects()
    ), run


def test_the_states_held_are_as_many_as_asked_however_long_the_run():
    few = held_after(RK4(dt=1 / 20), 4)[0]
    many, run = held_after(RK4(dt=1 / 150), 4)
    assert int(run.work.steps) == 150
    assert many <= few + 4
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        (run.final.sum() * 1).backward()
    assert len(saved) > 150  # steps are taken again by the backward pass


def test_a_sample_that_fails_leaves_the_gradient_of_its_mates():
    class Explosion(pf.Dynamics):
        def rate(self, t, u, x=None):
            return u**2  # infinite at t = 1 / u0

    found = []
    for n in (None, 3):
        u0 = torch.tensor([[0.1], [1.0]], dtype=f64, requires_grad=True)
        run = pf.simulate(
            Explosion(), u0, times(0, 0.5, 2), stepper=TRBDF2(rtol=1e-3), checkpoints=n
        )
        assert run.succeeded.tolist() == [True, False]
        found.append(torch.autograd.grad(run.states[:, 0].sum() + run.states[1, 1].sum(), u0)[0])
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=0)


def test_an_interrupted_run_has_the_gradient_of_what_it_saved(monkeypatch):
    u0 = torch.tensor([[1.0, 0.0]], dtype=f64, requires_grad=True)
    span, calls = times(0, 0.1, 0.2, 0.3, 0.4), []

    def rate(self, t, u, x=None):
        calls.append(None)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return Pendulum().rate(t, u)

    law = type("Interrupting", (pf.Dynamics,), {"rate": rate})()
    with pytest.raises(pf.Interrupted) as stopped:
        pf.simulate(law, u0, span, stepper=RK4(dt=0.02), checkpoints=2)
    run = stopped.value.solution
    assert 1 < len(run.times) < 5
    (got,) = torch.autograd.grad(run.states.sum(), u0)
    same = pf.simulate(Pendulum(), u0, run.times, stepper=RK4(dt=0.02)).states.sum()
    torch.testing.assert_close(got, torch.autograd.grad(same, u0)[0], rtol=1e-12, atol=0)


def test_without_a_gradient_nothing_is_kept():
    run = pf.simulate(blocking_cell(), torch.ones(2, 32).double(), times(0, 0.1), checkpoints=3)
    assert not run.states.requires_grad


@pytest.mark.parametrize("checkpoints", [0, -1, 2.0, "sqrt", True])
def test_what_is_no_number_of_states_is_refused(checkpoints):
    with pytest.raises(ValueError, match="`checkpoints` must be a whole number >= 1 or None"):
        pf.simulate(blocking_cell(), torch.ones(2, 32), times(0, 1), checkpoints=checkpoints)


def test_odeint_says_that_it_keeps_no_checkpoints():
    with pytest.raises(ValueError, match=r"`checkpoints` needs a stepper of pnpfusion"):
        pf.simulate(Decay(), torch.ones(1), times(0, 1), stepper=Odeint(), checkpoints=3)


def test_a_second_derivative_is_an_error():
    u0 = torch.ones(1, dtype=f64, requires_grad=True)
    run = pf.simulate(Decay(), u0, times(0, 1), stepper=RK4(dt=0.1), checkpoints=2)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(run.final.square().sum(), u0, create_graph=True)


def test_a_tensor_that_no_operation_sees_is_refused():
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u, k):
            ctx.save_for_backward(u, k)
            return -k * u

        @staticmethod
        def backward(ctx, grad):
            u, k = ctx.saved_tensors
            return -k * grad, (-u * grad).sum()

    class Law(pf.Dynamics):
        def rate(self, t, u, x=None):
            return Scaled.apply(u, x)

    k = torch.tensor(1.0, dtype=f64, requires_grad=True)
    with pytest.raises(ValueError, match=r"give it tensor.view_as\(tensor\) there"):
        pf.simulate(
            Law(), torch.ones(1, dtype=f64), times(0, 1), x=k, stepper=RK4(dt=0.1), checkpoints=2
        )
