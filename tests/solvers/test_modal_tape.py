"""The gradient of runs in series, which takes steps again."""

import gc
import weakref

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import ETDRK4, IFRK4
from pnpfusion.solvers.drift_gradient import DriftGradient
from pnpfusion.solvers.plain_steps import FollowedSteps
from pnpfusion.solvers.steppers import modal, modal_tape
from tests.registry import f64
from tests.solvers.series import SeriesLaw, box, recorded, series_cell, smooth_state

SPAN = torch.tensor([0, 0.003, 0.01], dtype=f64)
STEPPERS = [ETDRK4(dt=5e-4), IFRK4(dt=5e-4), ETDRK4(rtol=1e-6)]


def inputs(grid):
    """A start of two samples and parameters of the law, all with a gradient."""
    u0 = torch.cat([smooth_state(grid), smooth_state(grid, 0.05)])
    eps, diffusivity = torch.tensor([0.01, 0.2], dtype=f64), torch.tensor(1.3, dtype=f64)
    charge = 0.1 * torch.cos(3 * torch.pi * grid.coordinates(0))
    charge = (charge - charge.mean()).reshape(-1, *(1,) * (grid.ndim - 1)).expand(grid.shape)
    return [values.clone().requires_grad_() for values in (u0, eps, diffusivity, charge)]


def states(grid, given, stepper, **more):
    u0, eps, diffusivity, charge = given
    ions = [pf.Species("cation", 1, diffusivity), pf.Species("anion", -1)]
    law = pf.PNP(grid, ions, permittivity=eps, fixed_charge=pf.Field(charge), scheme="spectral")
    return pf.simulate(law, u0, SPAN, stepper=stepper, **more).states


def gradients(grid, stepper, **more):
    given = inputs(grid)
    found = states(grid, given, stepper, **more)
    weights = torch.rand(found.shape, dtype=f64, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad((found * weights).sum(), given)


@pytest.mark.parametrize("stepper", STEPPERS, ids=str)
@pytest.mark.parametrize("shape", [(16,), (12, 9), (16, 16)], ids=str)
def test_the_gradient_is_that_of_the_recorded_run(stepper, shape, monkeypatch):
    square = shape == (16, 16)  # whose modes of one wave length share their coefficients
    grid = box(shape, ("wall", "wall") if square else ("wall", "periodic")[: len(shape)])
    assert (series_cell(grid).semilinear(smooth_state(grid)).alike is not None) == square
    found = [gradients(grid, stepper, checkpoints=n) for n in (None, 1, 3)]
    recorded(monkeypatch)
    wanted = gradients(grid, stepper)
    for one in found:
        for a, b in zip(one, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13 * float(b.abs().max()))


@pytest.mark.parametrize("stepper", STEPPERS, ids=str)
def test_charges_count_and_one_may_be_zero(stepper, monkeypatch):
    grid = box((12, 9), ("wall", "wall"))
    valences = torch.tensor([1.0, -2.0, 0.0], dtype=f64)
    pair = smooth_state(grid)
    start = torch.cat([pair, pair[:, :1].roll(2, -1)], 1) * torch.tensor([1, 0.5, 1]).reshape(
        3, 1, 1
    )
    start[:, 0] -= (start * valences.reshape(3, 1, 1)).sum(1).mean((1, 2), keepdim=True)

    def found():
        z, u0 = valences.clone().requires_grad_(), start.clone().requires_grad_()
        ions = [pf.Species(name, z[i], 1 + 0.2 * i) for i, name in enumerate("abc")]
        law = pf.PNP(grid, ions, permittivity=0.05, scheme="spectral")
        loss = pf.simulate(law, u0, SPAN, stepper=stepper).final.exp().square().sum()
        return torch.autograd.grad(loss, [z, u0])

    ours = found()
    recorded(monkeypatch)
    for a, b in zip(ours, found(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13 * float(b.abs().max()))


def test_second_derivatives_are_those_of_the_recorded_run(monkeypatch):
    grid = box((12,), ("wall",))

    def second():
        given = inputs(grid)
        found = states(grid, given, ETDRK4(dt=2e-3))
        first = torch.autograd.grad(found.square().sum(), given[1], create_graph=True)[0]
        return torch.autograd.grad(first.square().sum(), given)

    found = second()
    recorded(monkeypatch)
    for a, b in zip(found, second(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_traces_kept_fit_into_their_room_and_change_nothing(monkeypatch):
    grid, kept = box((12, 9), ("wall", "periodic")), []
    backward = modal_tape.ModalTape.backward

    def counted(tape, *grads):
        held = {key: size for trace in tape.traces.values() for key, size in trace.storages.items()}
        kept.append((len(tape.steps), len(tape.traces), sum(held.values())))
        return backward(tape, *grads)

    monkeypatch.setattr(modal_tape.ModalTape, "backward", counted)
    found = []
    for room in (0, 400_000, 2**28):
        monkeypatch.setattr(modal, "ROOM_FOR_TRACES", room)
        found.append(gradients(grid, ETDRK4(dt=5e-4)))
        assert kept[-1][2] <= room
    steps = kept[0][0]
    assert kept[0][1] == 0 < kept[1][1] < kept[2][1] == steps
    for one in found[1:]:
        for a, b in zip(one, found[0], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-15)


def test_places_kept_grow_as_the_root_of_the_number_of_steps(monkeypatch):
    monkeypatch.setattr(modal_tape, "BYTES_KEPT", 0)
    grid, kept = box((16,), ("wall",)), []
    backward = modal_tape.ModalTape.backward

    def counted(tape, *grads):
        kept.append((len(tape.steps), len(tape.kept)))
        return backward(tape, *grads)

    monkeypatch.setattr(modal_tape.ModalTape, "backward", counted)
    for dt in (1e-3, 1e-4, 1e-5):
        gradients(grid, ETDRK4(dt=dt))
    for steps, places in kept:
        assert places <= 2 * steps**0.5 + 2
    assert kept[-1][0] == 1000


def test_steps_in_modes_carry_the_gradient():
    law = SeriesLaw(series_cell(box((16,), ("wall",))))
    stepper = ETDRK4(dt=1e-3)
    u0 = smooth_state(box((16,), ("wall",)))
    split = modal.Split(law, law.semilinear(u0))
    assert isinstance(stepper.plain_steps(split, stepper.control(u0, SPAN)), FollowedSteps)


@pytest.mark.parametrize("used", [False, True], ids=["", "backward"])
def test_laws_in_modes_are_freed_with_their_run(used, monkeypatch):
    laws, of = [], modal_tape.SeparateLaw

    def watched(*args):
        law = of(*args)
        laws.append(weakref.ref(law))
        return law

    monkeypatch.setattr(modal_tape, "SeparateLaw", watched)

    def run():
        given = inputs(grid)
        loss = states(grid, given, ETDRK4(dt=1e-3)).sum()
        if used:
            loss.backward()

    grid = box((12,), ("wall",))
    gc.collect()
    gc.disable()
    try:
        run()
        assert laws
        assert all(law() is None for law in laws)
    finally:
        gc.enable()


def test_a_backward_pass_that_stops_leaves_nothing_to_the_next(monkeypatch):
    grid, back = box((16,), ("wall",)), DriftGradient.back
    given, calls = inputs(grid), []
    loss = states(grid, given, ETDRK4(dt=5e-4)).square().sum()
    wanted = torch.autograd.grad(loss, given, retain_graph=True)

    def stopped(*args):
        calls.append(1)
        if len(calls) == 30:
            raise KeyboardInterrupt
        return back(*args)

    monkeypatch.setattr(DriftGradient, "back", stopped)
    with pytest.raises(KeyboardInterrupt):
        torch.autograd.grad(loss, given, retain_graph=True)
    for a, b in zip(torch.autograd.grad(loss, given), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=0)
