"""A cell that is remembered, among threads, copies, transforms and large states."""

import copy
import pickle
import threading

import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2
from tests.dynamics.rebuilt_cells import SPAN, START, cell_with, final
from tests.registry import f64


def test_what_was_made_in_inference_mode_serves_there_only():
    cell, _ = cell_with()
    with torch.inference_mode():
        inside = final(cell)
    start = START.clone().requires_grad_()
    run = pf.simulate(cell, start, SPAN, stepper=TRBDF2(rtol=1e-4))
    torch.testing.assert_close(run.final.detach(), inside)
    (by_start,) = torch.autograd.grad(run.final.sum(), start)
    assert by_start.isfinite().all()


def test_walls_that_change_with_time_are_asked_each_time():
    height = [0.5]
    cell, _ = cell_with(potential=lambda t: height[0] + 0 * t)
    before = final(cell)
    height[0] = 0.9
    assert not torch.equal(final(cell), before)


def test_what_a_transform_of_torch_makes_does_not_outlive_it():
    cell, _ = cell_with()
    wanted = final(cell)
    cell, _ = cell_with()

    def total(shift):
        return cell.rate(torch.zeros(2, dtype=f64), START + shift).sum()

    def bound(shift):
        cell.bind(START + shift)
        return total(shift)

    torch.func.grad(bound)(torch.zeros((), dtype=f64))
    torch.func.jvp(bound, (torch.zeros((), dtype=f64),), (torch.ones((), dtype=f64),))
    assert torch.equal(final(cell), wanted)


def test_copies_and_pickles_remember_nothing_and_run_alike():
    cell, _ = cell_with()
    wanted = final(cell)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert other._memory._last is None
        assert torch.equal(final(other), wanted)
    assert not any("memory" in name for name in cell.state_dict())


def test_threads_share_a_cell():
    cell, _ = cell_with(potential=0.5, diffusivity=1.0)
    starts = [START, START[:1], START.flip(0), START[:1] * 1.5]
    wanted = [final(cell_with(potential=0.5, diffusivity=1.0)[0], one) for one in starts]
    found = [[] for _ in starts]

    def work(i):
        for _ in range(5):
            found[i].append(final(cell, starts[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(starts))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours) == 5
        assert all(torch.equal(one, theirs) for one in ours)


def test_large_states_are_not_remembered(monkeypatch):
    monkeypatch.setattr("pnpfusion.dynamics.pnp_binding.MOST_REMEMBERED", 47)
    cell, _ = cell_with()
    final(cell)
    assert cell._memory._last is None


def test_no_copy_of_a_large_start_is_kept(monkeypatch):
    cell, _ = cell_with()
    final(cell)
    assert cell._memory.is_fit(cell.bind(START), START)
    monkeypatch.setattr("pnpfusion.dynamics.pnp_memory.MOST_COPIED", 47)
    cell, _ = cell_with()
    final(cell)
    assert not cell._memory.is_fit(cell.bind(START), START)
