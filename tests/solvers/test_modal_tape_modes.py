"""The gradient of runs in series whose number of modes changes on the way."""

from dataclasses import replace

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4
from pnpfusion.solvers.drift_gradient import DriftGradient
from pnpfusion.solvers.steppers import modal, modal_tape
from tests.registry import f64
from tests.solvers.series import SeriesLaw, box, recorded, series_cell, smooth_state


def test_more_modes_in_the_middle_of_a_run_keep_the_gradient(monkeypatch):
    grid = box((128,), ("wall",))
    law = SeriesLaw(series_cell(grid, permittivity=0.002))
    turns = []
    backward = modal_tape.ModalTape.backward

    def counted(tape, *grads):
        turns.extend(step.before not in (None, step.law) for step in tape.steps)
        return backward(tape, *grads)

    monkeypatch.setattr(modal_tape.ModalTape, "backward", counted)
    monkeypatch.setattr(modal, "surviving", lambda part, span: part)  # as few as the start needs

    def slope(shift):
        u0 = smooth_state(grid, 0.3 + shift)
        times = torch.tensor([0, 0.02], dtype=f64)
        return ETDRK4(dt=2.5e-4).integrate(law, u0, times).states[-1].square().sum()

    shift = torch.tensor(0.0, dtype=f64, requires_grad=True)
    (found,) = torch.autograd.grad(slope(shift), shift)
    with torch.no_grad():
        wanted = (slope(shift + 1e-5) - slope(shift - 1e-5)) / 2e-5
    assert any(turns)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)


def test_more_modes_where_a_step_is_thrown_away_keep_the_gradient(monkeypatch):
    grid = box((128,), ("wall",))
    law = SeriesLaw(series_cell(grid, permittivity=0.002))
    monkeypatch.setattr(modal, "surviving", lambda part, span: part)  # as few as the start needs
    thrown, tried = [], modal.ModalSteps._tried

    def picky(steps, here, *more):
        after, end, n, verdict = tried(steps, here, *more)
        if after.part is not here.part:
            thrown.append(count := len(after.v[0, 0]))
            assert count > len(here.v[0, 0])
            verdict = replace(verdict, accept=~verdict.accept, ratio=verdict.ratio + 5)
        return after, end, n, verdict

    monkeypatch.setattr(modal.ModalSteps, "_tried", picky)

    def slope():
        shift = torch.tensor(0.0, dtype=f64, requires_grad=True)
        u0, times = smooth_state(grid, 0.3 + shift), torch.tensor([0, 0.05], dtype=f64)
        path = ETDRK4(rtol=1e-8).integrate(law, u0, times)
        return torch.autograd.grad(path.states[-1].square().sum(), shift)[0]

    found = slope()
    assert len(thrown) == 1
    recorded(monkeypatch)
    torch.testing.assert_close(found, slope(), rtol=1e-11, atol=0)


@pytest.mark.parametrize("followed", [False, True], ids=["", "fixed charge"])
@pytest.mark.parametrize("checkpoints", [None, 3])
def test_modes_that_no_gradient_can_tell_are_left_on_the_way(followed, checkpoints, monkeypatch):
    grid, kept = box((96,), ("wall",)), []
    refit = modal_tape.ModalTape.refit

    def counted(tape, part, t, modes):
        refit(tape, part, t, modes)
        kept.append(len(tape.law.part.linear[0, 0, 0]))

    monkeypatch.setattr(modal_tape.ModalTape, "refit", counted)
    x = grid.coordinates(0)
    lump = torch.exp(-(((x - 0.4) / 0.03) ** 2))
    weights = torch.rand(2, 96, dtype=f64, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0, 0.1], dtype=f64)

    def found(**more):
        u0 = torch.stack([1 + lump, 1 + lump.flip(0)]).requires_grad_()
        eps = torch.tensor(0.05, dtype=f64, requires_grad=True)
        charge = (0.1 * torch.cos(torch.pi * x)).requires_grad_(followed)
        ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
        law = pf.PNP(grid, ions, permittivity=eps, fixed_charge=pf.Field(charge), scheme="spectral")
        end = pf.simulate(law, u0, times, stepper=ETDRK4(dt=1e-3), **more).final
        given = [u0, eps, *([charge] if followed else [])]
        return torch.autograd.grad((end * weights).sum() + end.square().sum(), given)

    ours = found(checkpoints=checkpoints)
    assert bool(kept) != followed
    assert kept == sorted(kept, reverse=True)
    recorded(monkeypatch)
    for a, b in zip(ours, found(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(b.abs().max()))


def test_a_stretch_may_end_before_a_law_in_other_modes_takes_a_step(monkeypatch):
    grid, tries, waiting = box((96,), ("wall",)), [], []
    tried, attached = modal.ModalSteps._tried, modal_tape.ModalTape.attached
    monkeypatch.setattr(modal, "MOST_AT_ONCE", 0)  # eight tries a stretch

    def picky(steps, here, *more):
        after, end, n, verdict = tried(steps, here, *more)
        tries.append(len(here.v[0, 0]))
        if len(tries) % 8 == 0:
            verdict = replace(verdict, accept=~verdict.accept, ratio=verdict.ratio + 5)
        return after, end, n, verdict

    def counted(tape, *more):
        waiting.append(tape.entry is not None)
        return attached(tape, *more)

    def wider(drift, *more):
        return drift.law._with((min(96, drift.law.kept[0] + 2),))

    monkeypatch.setattr(modal, "surviving", lambda part, span: part)  # as few as the start needs
    monkeypatch.setattr(DriftGradient, "reduced", wider)
    monkeypatch.setattr(modal, "REDUCED_AFTER", 8)
    monkeypatch.setattr(modal.ModalSteps, "_tried", picky)
    monkeypatch.setattr(modal_tape.ModalTape, "attached", counted)
    x = grid.coordinates(0)
    lump = torch.exp(-(((x - 0.4) / 0.1) ** 2))
    times = torch.tensor([0, 0.005], dtype=f64)

    def found():
        tries.clear()
        start = torch.stack([1 + lump, 1 + lump.flip(0)]).unsqueeze(0).requires_grad_()
        law = SeriesLaw(series_cell(grid, permittivity=0.05))
        end = ETDRK4(rtol=1e-9).integrate(law, start, times).states[-1]
        (first,) = torch.autograd.grad(end.square().sum(), start, create_graph=True)
        return first.detach(), torch.autograd.grad(first.square().sum(), start)[0]

    ours = found()
    assert any(waiting)
    recorded(monkeypatch)
    for a, b in zip(ours, found(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9 * float(b.abs().max()))
