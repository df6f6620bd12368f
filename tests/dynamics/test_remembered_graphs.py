"""The gradient of a cell that runs again, whose graph is kept: right whatever has changed since."""

import copy
import threading

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, Heun, KenCarp4
from pnpfusion.solvers.nernst_planck import Electrolyte
from tests.dynamics.rebuilt_cells import LEAVES, SPAN, START, cell_with, tensors_in
from tests.registry import blocking_cell, f64, random, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")

WEIGHTS = random(2, 3, 8, seed=5)


def followed_cell(**changes):
    cell, made = cell_with(**changes)
    leaves = tensors_in(made)
    for one in leaves.values():
        one.requires_grad_()
    return cell, made, leaves


def gradient(cell, leaves, start=START, stepper=None, x=None):
    run = pf.simulate(cell, start, SPAN, x=x, stepper=stepper or TRBDF2(rtol=1e-4))
    return torch.autograd.grad((run.final * WEIGHTS).sum(), leaves, allow_unused=True)


def same(mine, theirs):
    return all(
        torch.equal(a, b) if b is not None else a is None for a, b in zip(mine, theirs, strict=True)
    )


def close(mine, theirs):
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)
    return True


def kept_graph(cell):
    """What the gradient of runs goes through, if it has run twice."""
    return vars(cell._memory._last[1]).get("_on_leaves")


def test_the_graph_of_a_cell_is_built_once_and_its_gradient_stays(monkeypatch):
    builds, build = [], Electrolyte.build
    monkeypatch.setattr(Electrolyte, "build", lambda *a, **k: builds.append(1) or build(*a, **k))
    cell, _, leaves = followed_cell()
    builds.clear()
    found = [gradient(cell, list(leaves.values())) for _ in range(4)]
    assert len(builds) == 2
    assert all(one is not None and one.any() for one in found[0])
    assert all(close(one, found[0]) for one in found[1:])
    other = [gradient(cell, list(leaves.values()), 1.01 * START) for _ in range(2)]
    assert len(builds) == 2
    assert not torch.equal(other[0][0], found[0][0])
    assert same(*other)


@pytest.mark.parametrize("how", ["in place", "data", "numpy"])
@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_that_changed_is_seen(name, how):
    cell, made, leaves = followed_cell()
    for _ in range(2):
        before = gradient(cell, list(leaves.values()))
    tensor = leaves[name]
    with torch.no_grad():
        if how == "in place":
            tensor.mul_(1.25)
        elif how == "data":
            tensor.data *= 1.25
        else:
            array = tensor.detach().numpy()
            np.multiply(array, 1.25, out=array)
    fresh, _, theirs = followed_cell(**{name: copy.deepcopy(made[name])})
    wanted = gradient(fresh, list(theirs.values()))
    assert not same(before, wanted)
    for _ in range(3):
        assert close(gradient(cell, list(leaves.values())), wanted)


def test_a_parameter_that_an_optimiser_moves_is_seen():
    cell, _, leaves = followed_cell()
    optimiser = torch.optim.SGD(list(leaves.values()), lr=1e-4)
    for _ in range(3):
        for again in range(2):  # the second time through what is kept
            optimiser.zero_grad()
            final = pf.simulate(cell, START, SPAN, stepper=TRBDF2(rtol=1e-4)).final
            (final * WEIGHTS).sum().backward()
            assert (kept_graph(cell) is not None) == bool(again)
        moved = {name: one.detach().clone() for name, one in leaves.items()}
        moved["fixed_charge"] = pf.Field(moved["fixed_charge"])
        moved["concentration"] = {"cation": moved["concentration"]}
        moved["flux"] = {"anion": moved["flux"]}
        fresh, _, theirs = followed_cell(**moved)
        assert close([one.grad for one in leaves.values()], gradient(fresh, list(theirs.values())))
        optimiser.step()


def test_another_tensor_of_the_same_value_has_the_gradient():
    cell, _, leaves = followed_cell()
    for _ in range(2):
        wanted = gradient(cell, list(leaves.values()))
    other = leaves["permittivity"].detach().clone().requires_grad_()
    cell.permittivity = 1.0 * other  # no leaf: the gradient goes on from it
    (by_other, by_old) = gradient(cell, [other, leaves["permittivity"]])
    assert by_old is None
    close([by_other], wanted[:1])


def test_tensors_that_were_one_may_be_two():
    shared = torch.tensor(1.2, dtype=f64, requires_grad=True)
    cell, _ = cell_with(permittivity=shared, forward=shared)
    for _ in range(2):
        both = gradient(cell, [shared])
    alone = shared.detach().clone().requires_grad_()
    cell.permittivity = alone
    each = gradient(cell, [alone, shared])
    assert all(one.any() for one in each)
    close([sum(each)], both)


def test_only_what_is_asked_for_has_a_gradient():
    cell, _, leaves = followed_cell()
    for _ in range(2):
        wanted = dict(zip(leaves, gradient(cell, list(leaves.values())), strict=True))
    for name, one in leaves.items():
        one.requires_grad_(name in ("potential", "steric"))
    asked = [leaves["potential"], leaves["steric"]]
    close(gradient(cell, asked), [wanted["potential"], wanted["steric"]])
    for one in asked:
        one.requires_grad_(False)
    assert not pf.simulate(cell, START, SPAN, stepper=TRBDF2(rtol=1e-4)).final.requires_grad
    start = START.clone().requires_grad_()
    assert gradient(cell, [start], start)[0].any()


def test_what_nothing_depends_on_has_none():
    charge = torch.tensor(0.1, dtype=f64, requires_grad=True)
    cell = blocking_cell(8, debye=1.5)
    cell.fixed_charge = charge
    start = torch.ones(2, 2, 8, dtype=f64, requires_grad=True)
    for _ in range(3):
        run = pf.simulate(cell, start, SPAN, x={"fixed_charge": 0.0})
        found = torch.autograd.grad(run.final.sin().sum(), [charge, start], allow_unused=True)
        assert found[0] is None
        assert found[1].any()


def test_an_input_has_its_gradient_and_what_it_comes_from():
    cell, _ = cell_with()
    raw = torch.tensor([0.1, 0.2], dtype=f64, requires_grad=True)
    found = [gradient(cell, [raw], x={"fixed_charge": raw.exp()})[0] for _ in range(3)]
    assert kept_graph(cell) is not None
    assert found[0].all()
    close(found[1:], [found[0]] * 2)


def test_a_second_backward_and_what_changed_after_the_run():
    cell, _, leaves = followed_cell()
    inputs = list(leaves.values())
    wanted = gradient(cell, inputs)
    run = pf.simulate(cell, START, SPAN, stepper=TRBDF2(rtol=1e-4))
    loss = (run.final * WEIGHTS).sum()
    close(torch.autograd.grad(loss, inputs, retain_graph=True), wanted)
    with torch.no_grad():
        leaves["potential"].mul_(2)  # after the run, whose gradient this is
    close(torch.autograd.grad(loss, inputs), wanted)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, inputs)


def test_it_is_differentiated_once_only():
    cell, _, leaves = followed_cell()
    leaf = leaves["potential"]
    for _ in range(3):
        run = pf.simulate(cell, START, SPAN, stepper=TRBDF2(rtol=1e-4))
        (grad,) = torch.autograd.grad(run.final.sum(), leaf, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            grad.sum().backward()


def test_second_derivatives_through_other_steppers_stay():
    cell, _, leaves = followed_cell()
    leaf, found = leaves["potential"], []
    for _ in range(2):
        run = pf.simulate(cell, START, times(0, 1e-3), stepper=Heun(dt=5e-4))
        (grad,) = torch.autograd.grad((run.final * WEIGHTS).sum(), leaf, create_graph=True)
        found.append(torch.autograd.grad(grad.sum(), leaf)[0])
        gradient(cell, list(leaves.values()))
    assert found[0].any()
    assert torch.equal(*found)


def test_two_cells_by_turns():
    made = [followed_cell(), followed_cell(permittivity=torch.tensor(0.7, dtype=f64))]
    wanted = [gradient(cell, list(leaves.values())) for cell, _, leaves in made]
    assert not same(*wanted)
    for _ in range(3):
        for (cell, _, leaves), theirs in zip(made, wanted, strict=True):
            close(gradient(cell, list(leaves.values())), theirs)


def test_two_values_by_turns_and_runs_without_gradient_between():
    cell, _, leaves = followed_cell()
    leaf, wanted = leaves["potential"], {}
    values = [leaf.detach().clone(), 1.5 * leaf.detach()]
    for turn in range(8):
        with torch.no_grad():
            leaf.copy_(values[turn // 2 % 2])
            plain = pf.simulate(cell, START, SPAN, stepper=TRBDF2(rtol=1e-4)).final
        run = pf.simulate(cell, START, SPAN, stepper=TRBDF2(rtol=1e-4))
        assert torch.equal(run.final, plain)
        grads = torch.autograd.grad(run.final.sin().sum(), list(leaves.values()))
        close(grads, wanted.setdefault(turn // 2 % 2, grads))
    assert not same(*wanted.values())


def test_what_is_kept_is_not_what_the_caller_holds():
    """A cell kept under the value of a tensor that changed since, which another one has now."""
    first = torch.linspace(-0.1, 0.1, 8, dtype=f64)
    second, c0 = first.clone(), torch.ones(2, 8, dtype=f64)
    cell, stepper = blocking_cell(8, debye=1.5), AsymptoticPreserving(dt=0.01)
    cell.fixed_charge = pf.Field(first)
    wanted = pf.simulate(cell, c0, SPAN, stepper=stepper).final
    first.mul_(3)
    cell.fixed_charge = pf.Field(second)
    assert torch.equal(pf.simulate(cell, c0, SPAN, stepper=stepper).final, wanted)


def test_a_kept_graph_serves_no_transform_of_torch():
    cell, _, leaves = followed_cell()
    for _ in range(2):
        gradient(cell, list(leaves.values()))
    zero = torch.zeros(2, dtype=f64)
    wanted = torch.func.jvp(lambda c: cell.rate(zero, c), (START,), (WEIGHTS,))[1]
    fresh = followed_cell()[0]
    theirs = torch.func.jvp(lambda c: fresh.rate(zero, c), (START,), (WEIGHTS,))[1]
    torch.testing.assert_close(wanted, theirs)


def test_threads_share_a_graph():
    leaf = torch.tensor(0.5, dtype=f64, requires_grad=True)
    cell = blocking_cell(16, debye=1.0, voltage=leaf)
    starts = [1 + 0.1 * random(2, 16, seed=seed) for seed in range(4)]

    def found(cell, start):
        run = pf.simulate(cell, start, SPAN, stepper=KenCarp4(rtol=1e-4))
        return torch.autograd.grad(run.final.sin().sum(), leaf)[0]

    wanted = [found(blocking_cell(16, debye=1.0, voltage=leaf), start) for start in starts]
    grads = [[] for _ in starts]

    def work(i):
        for _ in range(6):
            grads[i].append(found(cell, starts[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(starts))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for mine, theirs in zip(grads, wanted, strict=True):
        assert len(mine) == 6
        close(mine, [theirs] * 6)


def test_a_run_that_leaves_the_kernels_keeps_its_gradient():
    """Its robust steps are first taken without recording, after which the cell is known."""
    voltage = torch.nn.Parameter(torch.tensor(60.0, dtype=f64))
    walls = {"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)}
    ions = [pf.Species("a", 1), pf.Species("b", -1)]
    cell = pf.PNP(
        pf.Grid((16,), (1.0,), ("wall",)), ions, permittivity=0.5, scheme="central", walls=walls
    )
    cell.warns = False
    found = []
    for _ in range(3):
        run = pf.simulate(
            cell,
            torch.ones(1, 2, 16, dtype=f64),
            times(0, 0.0002, 0.001, 0.003, 0.01),
            stepper=TRBDF2(rtol=1e-2, max_steps=600),
        )
        assert int(run.work.fallbacks) > 0
        loss = (run.states * torch.arange(16, dtype=f64)).square().sum()
        found.append(float(torch.autograd.grad(loss, voltage)[0]))
    assert found[1:] == pytest.approx([found[0], found[0]], rel=1e-9)
