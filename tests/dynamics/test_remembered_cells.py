"""A cell that runs again is not built again, unless anything that it is made of has changed."""

import copy

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import TRBDF2, Field
from pnpfusion.solvers.nernst_planck import Electrolyte
from tests.dynamics.rebuilt_cells import LEAVES, SPAN, START, cell_with, final
from tests.registry import f64


def test_a_cell_that_runs_again_is_the_same_cell():
    cell, _ = cell_with()
    assert cell.bind(START) is cell.bind(START.clone())
    assert cell.bind(START).cell is cell.bind(START, {}).cell
    assert torch.equal(final(cell), final(cell))


def test_checks_of_the_same_state_are_made_once(monkeypatch):
    asked = []

    def seen(cell, c):
        asked.append(c)
        return False

    monkeypatch.setattr("pnpfusion.dynamics.pnp_binding.warn_if_coarse", seen)
    cell, made = cell_with()
    final(cell)
    final(cell, START.clone())
    assert len(asked) == 1
    final(cell, 1.01 * START)
    final(cell)
    assert len(asked) == 3
    made["potential"].mul_(1.25)
    final(cell)
    assert len(asked) == 4
    state = START.clone()
    final(cell, state)
    state[0, 0, 0] = -1
    with pytest.raises(ValueError, match="must be >= 0"):
        final(cell, state)
    with pytest.raises(ValueError, match="must be float32 or float64"):
        final(cell, START.half())


def test_what_was_warned_of_is_warned_of_again():
    cell, _ = cell_with(permittivity=1e-3, steric=None, fixed_charge=0.0)
    cell.warns = False
    final(cell)
    cell.warns = True
    for _ in range(2):
        with pytest.warns(ResolutionWarning, match="coarse for the Debye length"):
            final(cell)


@pytest.mark.parametrize("how", ["in place", "data", "numpy"])
@pytest.mark.parametrize("name", LEAVES)
def test_a_tensor_that_changed_is_seen(name, how):
    cell, made = cell_with()
    before = final(cell)
    value = made[name]
    value = next(iter(value.values())) if isinstance(value, dict) else value
    tensor = value.values if isinstance(value, Field) else value
    if how == "in place":
        tensor.mul_(1.25)
    elif how == "data":  # which leaves the counter of versions as it was
        tensor.data *= 1.25
    else:
        array = tensor.numpy()
        np.multiply(array, 1.25, out=array)
    after, fresh = final(cell), final(cell_with(**{name: value_again(made[name])})[0])
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh)


def value_again(value):
    """The same values in other tensors."""
    return copy.deepcopy(value)


def test_what_was_replaced_is_seen():
    cell, made = cell_with()
    before = final(cell)
    cell.permittivity = 2.0
    assert torch.equal(final(cell), final(cell_with(permittivity=2.0)[0]))
    cell.permittivity = made["permittivity"]
    assert torch.equal(final(cell), before)
    cell.walls["x-"] = pf.Wall(potential=0.1)
    assert not torch.equal(final(cell), before)
    cell, made = cell_with()
    final(cell)
    made["concentration"]["cation"] = 1.4
    assert torch.equal(final(cell), final(cell_with(concentration={"cation": 1.4})[0]))
    cell.species = (*cell.species[:2], pf.Species("salt", 0, 3.0))
    assert not torch.equal(final(cell), before)


def test_another_input_batch_or_precision_is_seen():
    cell, _ = cell_with(potential=0.5, diffusivity=1.0)
    plain, single = final(cell), final(cell, START[:1])
    assert torch.equal(plain[:1], single)
    charged = final(cell, x={"fixed_charge": 0.05})
    assert not torch.equal(charged, plain)
    charge = torch.tensor(0.05, dtype=f64)
    assert torch.equal(final(cell, x={"fixed_charge": charge}), charged)
    charge.mul_(2)
    assert not torch.equal(final(cell, x={"fixed_charge": charge}), charged)
    assert torch.equal(final(cell, x={"potential:x-": 0.5}), plain)
    half = final(cell, START.float())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), plain, rtol=1e-3, atol=1e-3)
    assert torch.equal(final(cell), plain)
    with pytest.raises(ValueError, match="must map names to values"):
        final(cell, x=charge)


def test_a_gradient_that_is_asked_for_is_there():
    cell, made = cell_with()
    plain = final(cell)
    made["potential"].requires_grad_()
    followed = final(cell)
    (by_potential,) = torch.autograd.grad(followed.sum(), made["potential"])
    assert bool((by_potential != 0).all())
    with torch.no_grad():
        assert torch.equal(final(cell), plain)
    assert final(cell).requires_grad
    made["potential"].requires_grad_(False)
    assert torch.equal(final(cell), plain)


@pytest.mark.parametrize("stepper", [TRBDF2(rtol=1e-3), None])
def test_a_run_with_gradient_builds_its_cell_once_and_each_run_its_own(stepper, monkeypatch):
    builds, build = [], Electrolyte.build
    monkeypatch.setattr(Electrolyte, "build", lambda *a, **k: builds.append(1) or build(*a, **k))
    leaf = torch.tensor(1.0, dtype=f64, requires_grad=True)
    cell, _ = cell_with(permittivity=leaf)
    builds.clear()
    runs = [pf.simulate(cell, START, SPAN, stepper=stepper) for _ in range(2)]
    assert len(builds) == 2
    grads = [torch.autograd.grad(run.final.square().sum(), leaf)[0] for run in runs]
    assert torch.equal(*grads)
    with torch.no_grad():
        leaf.mul_(1.25)
    run = pf.simulate(cell, START, SPAN, stepper=stepper)
    fresh, _ = cell_with(permittivity=torch.tensor(1.25, dtype=f64))
    assert torch.equal(run.final, pf.simulate(fresh, START, SPAN, stepper=stepper).final)


def test_what_is_lent_for_a_run_is_not_for_a_changed_parameter():
    leaf = torch.tensor(1.0, dtype=f64, requires_grad=True)
    cell, _ = cell_with(permittivity=leaf)
    cell.check_state("u0", START)
    with torch.no_grad():
        leaf.mul_(2)
    assert float(cell.bind(START).cell.dielectric.permittivity.detach()) == 2.0
    leaf.data.mul_(2)  # which leaves the counter of versions as it was
    cell.check_state("u0", START)
    assert float(cell.bind(START).cell.dielectric.permittivity.detach()) == 4.0
    assert float(cell.bind(START).cell.dielectric.permittivity.detach()) == 4.0


@pytest.mark.parametrize("name", ["check_state", "bind"])
def test_a_method_that_a_subclass_overrides_is_asked(name):
    asked = []

    def own(self, *args):
        asked.append(name)
        return getattr(pf.PNP, name)(self, *args)

    cell, _ = cell_with()
    theirs = type("Mine", (pf.PNP,), {name: own}).from_description(cell.description())
    for _ in range(2):
        asked.clear()
        assert torch.equal(final(theirs), final(cell))
        assert asked
