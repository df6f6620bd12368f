"""Gradients of long runs in boxes, which keep few of their graphs unasked."""

import gc
import weakref

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving
from pnpfusion.solvers.steppers import graph_room, march, tape
from tests.marks import quiet
from tests.registry import f64, times
from tests.run.followed_runs import SPAN, gradients, parameters


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
