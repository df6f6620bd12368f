"""How semi-implicit runs in compiled code end: as in torch, whatever stops them."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import AsymptoticPreserving
from pnpfusion.solvers.asymptotic_preserving import asymptotic_preserving_step
from tests.compiled.semi_implicit_runs import SPAN, electrodes, leaf, simulated
from tests.marks import quiet
from tests.registry import blocking_cell, f64, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
pytestmark = quiet


def test_a_sample_that_breaks_down_ends_as_in_torch_and_spares_its_mates(in_torch):
    """A charge whose currents are beyond single precision."""

    def run():
        c0 = torch.ones(3, 2, 8)
        c0[1, 0] = 1e36
        return simulated(blocking_cell(8), c0)

    found, wanted = run(), in_torch(run)
    assert found.outcome is wanted.outcome is pf.Outcome.NOT_FINITE
    assert found.succeeded.tolist() == wanted.succeeded.tolist() == [True, False, True]
    torch.testing.assert_close(found.states, wanted.states, equal_nan=True)
    assert torch.equal(found.work.rejected, wanted.work.rejected)
    assert torch.equal(found.work.steps, wanted.work.steps)


def test_gradients_of_those_that_go_on_are_untouched_by_one_that_broke_down():
    c0 = torch.ones(3, 2, 8)
    c0[1, 0] = 1e36
    c0.requires_grad_()
    run = simulated(blocking_cell(8), c0)
    (found,) = torch.autograd.grad(run.states[:, [0, 2]].square().sum(), c0)
    whole = torch.ones(3, 2, 8, requires_grad=True)
    run = simulated(blocking_cell(8), whole)
    (wanted,) = torch.autograd.grad(run.states[:, [0, 2]].square().sum(), whole)
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])


def test_what_the_kernel_does_not_know_keeps_its_steps_in_torch():
    cell = blocking_cell(8, scheme="harmonic")
    c0 = leaf(2, 2, 8)
    run = simulated(cell, c0, times(0, 0.01))
    bound = cell.electrolyte((2,), c0, None)
    wanted = asymptotic_preserving_step(bound, c0, torch.full((2,), 0.01, dtype=f64))
    torch.testing.assert_close(run.final, wanted, rtol=0, atol=0)


def test_steps_run_out_as_in_torch(in_torch):
    def run(most):
        stepper = AsymptoticPreserving(dt=0.01, max_steps=most)
        with torch.no_grad():
            return pf.simulate(blocking_cell(8), leaf(2, 2, 8), SPAN, stepper=stepper)

    for most in (1, 3, 4, 10):
        found, wanted = run(most), in_torch(run, most)
        assert found.outcome is wanted.outcome
        assert torch.equal(found.work.steps, wanted.work.steps)
        torch.testing.assert_close(found.states, wanted.states, equal_nan=True)
        torch.testing.assert_close(found.lowest, wanted.lowest)


def test_a_run_goes_on_from_a_part_of_it_bit_for_bit():
    cell, c0 = blocking_cell(8), leaf(2, 2, 8).detach()
    stepper = AsymptoticPreserving(dt=0.0125)
    part = pf.simulate(cell, c0, SPAN[:2], stepper=stepper)
    resumed = pf.simulate(cell, c0, SPAN, stepper=stepper, resume=part)
    assert torch.equal(resumed.states, simulated(cell, c0).states)
    assert torch.equal(resumed.work.steps, simulated(cell, c0).work.steps)


@pytest.mark.parametrize("dtype", [torch.float32, f64])
def test_the_end_alone_is_that_of_the_run_with_its_gradient(dtype):
    found = []
    for alone in (False, True):
        cell, given = electrodes(dtype)
        start, stepper = given["start"].flatten(0, 1), AsymptoticPreserving(dt=0.0125)
        law = cell.bind(given["start"])
        if alone:
            final, good = stepper.end(law, start, SPAN)
            assert good.all()
        else:
            final = stepper.integrate(law, start, SPAN).states[-1]
        found.append((final, *torch.autograd.grad(final.square().sum(), [*given.values()])))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_the_end_of_a_run_that_fails_is_left_to_the_run():
    cell, given = electrodes()
    with torch.no_grad():
        start = given["start"].flatten(0, 1).clone()
        start[3] = torch.nan
        law, stepper = cell.bind(given["start"]), AsymptoticPreserving(dt=0.0125)
        final, good = stepper.end(law, start, SPAN)
        assert good.tolist() == [k != 3 for k in range(len(start))]
        run = stepper.integrate(law, start, SPAN)
        torch.testing.assert_close(final, run.states[-1], rtol=0, atol=0, equal_nan=True)
        short = AsymptoticPreserving(dt=0.0125, max_steps=2)
        assert not short.end(law, start, SPAN)[1].any()
