"""Runs in compiled code against the loop in Python: the same steps, the same answers."""

import pytest
import torch
from hypothesis import given, settings

import pnpfusion as pf
from pnpfusion.dynamics.pnp_bound import BoundPNP
from pnpfusion.solvers import BackwardEuler, KenCarp4
from tests.compiled.test_newton import cells
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, IMPLICIT, blocking_cell, f64, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")


def both_ways(cell, c0, span, stepper):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BoundPNP, "plain_steps", lambda *_: None)
        wanted = pf.simulate(cell, c0, span, stepper=stepper)
    return pf.simulate(cell, c0, span, stepper=stepper), wanted


def assert_same(run, wanted, tolerance=1e-10, which=...):
    """The same outcomes; of the samples ``which`` the same steps and states, too."""
    assert run.outcome is wanted.outcome
    assert torch.equal(run.succeeded, wanted.succeeded)
    for name in ("steps", "rejected", "fallbacks", "iterations"):
        ours, theirs = (getattr(one.work, name)[which] for one in (run, wanted))
        assert torch.equal(ours, theirs), name
    for name in ("states", "lowest"):
        ours, theirs = (getattr(one, name)[:, which] for one in (run, wanted))
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("method", IMPLICIT)
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_the_blocking_cell_takes_the_same_steps(method, scheme):
    voltage = torch.tensor([0.3, 1.0, 2.0], dtype=f64)
    cell = blocking_cell(voltage=voltage, scheme=scheme)
    run, wanted = both_ways(
        cell, torch.ones(3, 2, 32, dtype=f64), torch.linspace(0, 0.5, 23).double(), method(1e-4)
    )
    assert_same(run, wanted)
    assert len(set(run.work.steps.tolist())) > 1


@quiet
@settings(max_examples=25, deadline=None)
@given(cells(crowding_of_each=False))
def test_any_cell_takes_the_same_steps(made):
    cell, c0, _ = made
    run, wanted = both_ways(cell, c0, times(0, 1e-3, 0.01, 0.1), KenCarp4(1e-3, max_steps=200))
    assert_same(run, wanted, which=run.succeeded)  # what fails halves its steps down to round-off


@quiet
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
def test_samples_that_need_the_robust_step_wait_for_it_and_go_on(scheme):
    """Thin layers, steep starts and 40 thermal volts, until the steps run out."""
    voltage = torch.tensor([0.1, 5.0, 40.0], dtype=f64)
    cell = blocking_cell(16, debye=1e-3, voltage=voltage, scheme=scheme)
    generator = torch.Generator().manual_seed(0)
    c0 = 10 ** (3 * torch.rand(3, 2, 16, dtype=f64, generator=generator) - 2)
    run, wanted = both_ways(cell, c0, times(0, 1e-4, 0.1), KenCarp4(1e-2, max_steps=80))
    assert_same(run, wanted)
    if scheme == "central":  # not monotone: positivity costs steps
        assert int(run.work.fallbacks.min()) > 0
        assert run.outcome is pf.Outcome.OUT_OF_STEPS


@pytest.mark.parametrize("steric", [None, 0.1])
def test_many_thousand_steps_lose_no_more_mass_than_one(steric):
    plain = blocking_cell(64, voltage=2.0)
    cell = pf.PNP(plain.grid, plain.species, permittivity=0.18, walls=plain.walls, steric=steric)
    stepper = BackwardEuler(1e-8)
    run = pf.simulate(cell, torch.ones(2, 64, dtype=f64), times(0, 0.1, 1), stepper=stepper)
    assert run.require_success().work.steps > 10_000
    assert float(run.ledger.mass_error) <= 4e-15


def test_a_sample_is_the_same_bit_for_bit_whatever_its_mates():
    voltage = torch.tensor([0.2, 1.0, 3.0], dtype=f64)
    c0, span = torch.ones(3, 2, 32, dtype=f64), times(0, 0.05, 0.2)
    together = pf.simulate(blocking_cell(voltage=voltage), c0, span)
    for i in range(3):
        alone = pf.simulate(blocking_cell(voltage=voltage[i : i + 1]), c0[i : i + 1], span)
        assert torch.equal(together.states[:, i], alone.states[:, 0])
