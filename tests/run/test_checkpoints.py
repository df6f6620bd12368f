"""Gradients of runs that keep few of their states: the same, in bounded memory."""

import gc
import weakref

import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers import RK4, TRBDF2, AsymptoticPreserving, BackwardEuler, KenCarp4, Odeint
from pnpfusion.solvers.steppers import graph_room, march, tape
from tests.marks import quiet
from tests.registry import Decay, Pendulum, blocking_cell, f64, stepper_name, times

SPAN = times(0, 3.3e-4, 1.11e-3, 1.12e-3, 4e-3)  # between the steps, and two within one


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


def parameters():
    generator = torch.Generator().manual_seed(0)
    values = {
        "c0": 1 + 0.3 * torch.rand(2, 2, 12, dtype=f64, generator=generator),
        "z": torch.tensor(1.0, dtype=f64),
        "d": torch.tensor([1.0, 1.7], dtype=f64),
        "epsilon": torch.tensor([0.4, 0.9], dtype=f64),
        "charge": 0.1 * torch.randn(12, dtype=f64, generator=generator),
        "left": torch.tensor([0.7, -5.0], dtype=f64),
        "right": torch.tensor([0.1, 0.2], dtype=f64),
        "stern": torch.tensor(0.2, dtype=f64),
        "reservoir": torch.tensor(1.2, dtype=f64),
    }
    return {name: value.requires_grad_() for name, value in values.items()}


def gradients(run, inputs):
    weights = torch.linspace(0.5, 2, run.states[0].numel(), dtype=f64)
    loss = (run.states.sin().flatten(1) * weights).sum()
    return torch.autograd.grad(loss, inputs)


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


def in_a_square(values, stepper, span):
    """Two boxes with electrodes on two sides, with a gradient in what they are made of."""
    cell = pf.PNP(
        pf.Grid((4, 3), (1.0, 0.8), ("wall", "wall")),
        [pf.Species("cation", values["z"], values["d"]), pf.Species("anion", -1)],
        permittivity=values["epsilon"],
        walls={"x-": pf.Wall(potential=values["left"]), "y+": pf.Wall(potential=0.0)},
    )
    return pf.simulate(cell, values["c0"], span, stepper=stepper)


def of_a_square():
    values = {name: parameters()[name] for name in ("z", "d", "epsilon", "left")}
    generator = torch.Generator().manual_seed(1)
    values["c0"] = 1 + 0.3 * torch.rand(2, 2, 4, 3, dtype=f64, generator=generator)
    return {name: value.detach().requires_grad_() for name, value in values.items()}


@quiet
@pytest.mark.parametrize("room", ["some graphs and all states", "few states"])
def test_long_runs_in_boxes_keep_few_graphs_unasked(room, monkeypatch):
    values, tapes, stepper = of_a_square(), [], AsymptoticPreserving(dt=4e-5)
    recorded = in_a_square(values, stepper, SPAN)
    wanted = gradients(recorded, list(values.values()))

    class Watched(march.Tape):
        def attach(self, *args):
            tapes.append(self)
            return super().attach(*args)

    monkeypatch.setattr(march, "Tape", Watched)
    few = room == "few states"
    monkeypatch.setattr(graph_room, "BYTES_OF_GRAPHS", 1 if few else 2**20)
    monkeypatch.setattr(tape, "BYTES_KEPT", 1 if few else 2**20)
    run = in_a_square(values, stepper, SPAN)
    assert torch.equal(run.states, recorded.states)
    (written,) = tapes
    count = len(written.sweeps)
    assert 50 < count < int(run.work.steps.max())
    if few:
        assert count == int(run.work.steps.max()) - 1
        assert len(written.kept) <= 2 * count**0.5 + 2 < count / 2
    else:
        assert len(written.kept) == count
    for got, same in zip(gradients(run, list(values.values())), wanted, strict=True):
        torch.testing.assert_close(got, same, rtol=0, atol=1e-12 * float(same.abs().max()))


@quiet
def test_a_long_run_in_a_box_can_be_differentiated_twice(monkeypatch):
    span, found = times(0, 3e-4), []
    for room in (graph_room.BYTES_OF_GRAPHS, 1):
        monkeypatch.setattr(graph_room, "BYTES_OF_GRAPHS", room)
        values = of_a_square()
        run = in_a_square(values, AsymptoticPreserving(dt=1e-4), span)
        inputs = [values["epsilon"], values["c0"]]
        once = torch.autograd.grad(run.final.square().sum(), inputs, create_graph=True)
        found.append(torch.autograd.grad(sum(one.square().sum() for one in once), inputs))
    for got, same in zip(*found, strict=True):
        torch.testing.assert_close(got, same, rtol=0, atol=1e-10 * float(same.abs().max()))


@quiet
def test_a_run_in_a_box_that_nobody_holds_is_freed():
    def start():
        values = of_a_square()
        run = in_a_square(values, AsymptoticPreserving(dt=1e-4), times(0, 3e-4))
        assert run.final.requires_grad
        return weakref.ref(values["c0"])

    gc.collect()
    gc.disable()
    try:
        assert start()() is None
    finally:
        gc.enable()


@quiet
def test_counting_what_graphs_hold_changes_nothing_and_may_be_forbidden():
    def found():
        values = of_a_square()
        run = in_a_square(values, AsymptoticPreserving(dt=1e-4), times(0, 3e-4))
        inputs = list(values.values())
        once = torch.autograd.grad(run.final.square().sum(), inputs, create_graph=True)
        twice = torch.autograd.grad(sum(one.square().sum() for one in once), inputs)
        return [run.final, *once, *twice]

    counted = found()
    assert all(one.any() for one in counted)
    with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
        plain = found()
    assert all(torch.equal(a, b) for a, b in zip(counted, plain, strict=True))


def driven_square(left, c0, span, **more):
    """A box with an electrode that swings."""
    cell = pf.PNP(
        pf.Grid((4, 3), (1.0, 0.8), ("wall", "wall")),
        [pf.Species("cation", 1), pf.Species("anion", -1)],
        permittivity=0.4,
        walls={
            "x-": pf.Wall(potential=lambda t: left * torch.cos(40 * t)),
            "x+": pf.Wall(potential=0.0),
        },
    )
    stepper = AsymptoticPreserving(dt=1e-3)
    return cell, pf.simulate(cell, c0, span, stepper=stepper, **more)


@quiet
@pytest.mark.parametrize("lost", [False, True], ids=["", "one sample is lost"])
@pytest.mark.parametrize("checkpoints", [None, 2])
def test_a_run_with_gradient_ends_with_the_slope_there(checkpoints, lost, monkeypatch):
    def admissible(stepper, law, plan, before, after):
        return torch.tensor([True, not lost or bool((plan.ends < 5.5e-3).all())])

    monkeypatch.setattr(AsymptoticPreserving, "admissible", admissible)
    left = torch.tensor(0.7, dtype=f64, requires_grad=True)
    c0 = of_a_square()["c0"].detach()
    cell, run = driven_square(left, c0, times(0, 6e-3), checkpoints=checkpoints)
    assert run.final.requires_grad
    assert run.succeeded.tolist() == [True, not lost]
    here = run.standing
    slope = cell.bind(c0).rate(here.t, here.u).detach()
    torch.testing.assert_close(here.slope, slope, rtol=1e-12, atol=1e-12 * float(slope.abs().max()))


@quiet
def test_recorded_steps_have_the_bits_of_others_with_reactions_too(monkeypatch):
    rate = torch.tensor(2.0, dtype=f64)

    def states(reactants, products):
        ions = [pf.Species("a", 1), pf.Species("b", -1), pf.Species("n", 0)]
        cell = pf.PNP(
            pf.Grid((4, 3), (1.0, 1.0), ("wall", "wall")),
            ions,
            permittivity=0.1,
            walls={"x-": pf.Wall(potential=1.0), "x+": pf.Wall(potential=0.0)},
            reactions=[pf.Reaction(reactants, products, rate, 0.5)],
        )
        generator = torch.Generator().manual_seed(0)
        c0 = 1 + 0.3 * torch.rand(2, 3, 4, 3, dtype=f64, generator=generator)
        stepper = AsymptoticPreserving(dt=1e-3)
        return pf.simulate(cell, c0, times(0, 0.05), stepper=stepper).final

    for sides in ((["a", "b"], ["n"]), (["n"], ["n", "n"])):
        rate.requires_grad_(False)
        plain = states(*sides)
        rate.requires_grad_()
        for room in (graph_room.BYTES_OF_GRAPHS, 1):
            monkeypatch.setattr(graph_room, "BYTES_OF_GRAPHS", room)
            recorded = states(*sides)
            assert recorded.requires_grad
            assert torch.equal(recorded, plain)


@quiet
def test_of_a_step_that_does_not_stand_nothing_is_known(monkeypatch):
    known, attempt = [], AsymptoticPreserving.attempt

    def watched(stepper, law, start):
        known.extend(start.stages)
        return attempt(stepper, law, start)

    def admissible(stepper, law, plan, before, after):
        return torch.tensor([True, False])

    monkeypatch.setattr(AsymptoticPreserving, "attempt", watched)
    monkeypatch.setattr(AsymptoticPreserving, "admissible", admissible)
    in_a_square(of_a_square(), AsymptoticPreserving(dt=1e-4), times(0, 1e-4))
    (change,) = known
    assert change.shape == (2, 1, 4, 3)
    assert change[0].any()
    assert not change[1].any()
