"""A cell that runs again is not built again, unless anything that it is made of has changed."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import TRBDF2, Field
from pnpfusion.solvers.nernst_planck import Electrolyte
from tests.registry import f64, times

SPAN = times(0, 0.05)


def cell_with(**changes):
    """A cell with one parameter of each kind; a test changes one of them."""
    made = {
        "permittivity": torch.tensor(1.0, dtype=f64),
        "potential": torch.tensor([0.5, 0.8], dtype=f64),
        "stern": torch.tensor(0.1, dtype=f64),
        "concentration": {"cation": torch.tensor(1.0, dtype=f64)},
        "flux": {"anion": torch.tensor(0.1, dtype=f64)},
        "fixed_charge": pf.Field(torch.linspace(-0.1, 0.1, 8, dtype=f64)),
        "diffusivity": torch.tensor([1.0, 1.5], dtype=f64),
        "valence": torch.tensor(-1.0, dtype=f64),
        "steric": torch.tensor(0.1, dtype=f64),
        "forward": torch.tensor(0.3, dtype=f64),
    } | changes
    return pf.PNP(
        pf.Grid((8,), (1.0,), ("wall",)),
        [
            pf.Species("cation", 1, made["diffusivity"]),
            pf.Species("anion", made["valence"]),
            pf.Species("salt", 0),
        ],
        permittivity=made["permittivity"],
        walls={
            "x-": pf.Wall(potential=made["potential"], stern=made["stern"]),
            "x+": pf.Wall(potential=0.0, concentration=made["concentration"], flux=made["flux"]),
        },
        fixed_charge=made["fixed_charge"],
        steric=made["steric"],
        reactions=[pf.Reaction(["salt"], ["cation", "anion"], made["forward"], 0.3)],
    ), made


START = torch.linspace(0.5, 1.5, 48, dtype=f64).reshape(2, 3, 8)


def final(cell, start=START, x=None):
    return pf.simulate(cell, start, SPAN, x=x, stepper=TRBDF2(rtol=1e-4)).final


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


LEAVES = [
    "permittivity", "potential", "stern", "fixed_charge", "diffusivity", "steric", "forward",
    "concentration", "flux",
]  # fmt: skip


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
