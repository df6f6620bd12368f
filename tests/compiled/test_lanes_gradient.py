"""The gradient of runs in lanes against the one that goes cell by cell."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import KenCarp4
from pnpfusion.solvers.compiled import followed as compiled_followed
from pnpfusion.solvers.compiled import implicit as compiled_implicit
from pnpfusion.solvers.compiled import run as compiled_run
from tests.compiled.test_implicit import assert_close, gradients
from tests.compiled.test_lanes import ions
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, f64, random, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
SPAN = times(0, 1e-3, 0.02, 0.1)


def given(n, count, batch=2):
    values = {
        "c0": 1 + 0.2 * random(batch, count, n),
        "d": 0.5 + random(count, n, seed=1),
        "z": torch.tensor(1.0, dtype=f64),
        "epsilon": 0.3 + 0.3 * random(n, seed=2),
        "charge": 0.2 * random(n, seed=3) - int(count == 1),
        "voltage": torch.linspace(0.5, 2.0, batch, dtype=f64),
        "stern": torch.tensor(0.05, dtype=f64),
        "surface": torch.tensor(0.1, dtype=f64),
        "reservoir": 1.5 + 0.5 * random(batch, seed=4),
        "flux": torch.tensor(0.1, dtype=f64),
    }
    return {name: value.requires_grad_() for name, value in values.items()}


def reservoir_cell(v, n, count, scheme, *, electrodes=False):
    """A cell with an electrode and a reservoir, opposite a surface charge or another electrode."""
    species = [
        pf.Species(one.name, v["z"] if i == 0 else one.valence, pf.Field(v["d"][i]))
        for i, one in enumerate(ions(count))
    ]
    last = species[-1].name
    return pf.PNP(
        pf.Grid((n,), (2.0,), ("wall",)),
        species,
        permittivity=pf.Field(v["epsilon"]),
        walls={
            "x-": pf.Wall(
                potential=v["voltage"], stern=v["stern"], concentration={"a": v["reservoir"]}
            ),
            "x+": pf.Wall(
                **({"potential": 0.0} if electrodes else {"surface_charge": v["surface"]}),
                flux={last: v["flux"]},
            ),
        },
        fixed_charge=pf.Field(v["charge"]),
        scheme=scheme,
    )


def cell_by_cell(run):
    """What ``run`` returns without lanes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_run, "MOST_SPECIES", 0)
        return run()


def assert_same(make, inputs):
    run = make()
    mine, wanted = gradients(run, inputs), cell_by_cell(make)
    assert torch.equal(run.work.steps, wanted.work.steps)
    assert_close(mine, gradients(wanted, inputs))
    assert all(grad is None or grad.isfinite().all() for grad in mine)
    return mine


def all_count(v, found, but=("voltage", "stern")):
    """Whether all do but electrodes opposite a surface charge, which shift all potentials alike."""
    sizes = {
        name: float(one.abs().max()) for name, one in zip(v, found, strict=True) if name not in but
    }
    return min(sizes.values()) > 1e-3 * max(sizes.values())


@quiet
@pytest.mark.parametrize("n", [1, 6, 7, 14, 15, 40])
def test_lines_of_any_length(n):
    v = given(n, 2)
    cell = reservoir_cell(v, n, 2, "scharfetter-gummel")
    found = assert_same(
        lambda: pf.simulate(cell, v["c0"], SPAN, stepper=KenCarp4(1e-6)), list(v.values())
    )
    assert n == 1 or all_count(v, found)


@quiet
@pytest.mark.parametrize("n", [7, 14])
def test_electrodes_on_both_sides(n):
    v = given(n, 2)
    del v["surface"]
    cell = reservoir_cell(v, n, 2, "scharfetter-gummel", electrodes=True)
    found = assert_same(
        lambda: pf.simulate(cell, v["c0"], SPAN, stepper=KenCarp4(1e-6)), list(v.values())
    )
    assert all_count(v, found, but=())


@quiet
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize("count", [1, 3, 6])
def test_any_number_of_species_and_all_faces(count, scheme):
    v = given(17, count)
    cell = reservoir_cell(v, 17, count, scheme)
    found = assert_same(
        lambda: pf.simulate(cell, v["c0"], SPAN, stepper=KenCarp4(1e-6)), list(v.values())
    )
    assert all_count(v, found)


@quiet
@pytest.mark.parametrize("room", [0, 100_000, 16_000_000])
def test_floating_cells_and_steps_taken_again(room, monkeypatch):
    monkeypatch.setattr(compiled_implicit, "ROOM_FOR_STAGES", room)
    epsilon = 0.1 + 0.2 * random(3, seed=1)
    start = 0.5 + random(3, 1, 20)
    start, epsilon = (value.requires_grad_() for value in (start, epsilon))

    def make():
        cell = pf.PNP(pf.Grid((20,), (1.0,), ("wall",)), ions(2), permittivity=epsilon)
        c0 = torch.cat([start, start.flip(-1) * start.sum(-1, True) / start.sum(-1, True)], 1)
        return pf.simulate(cell, c0, SPAN, stepper=KenCarp4(1e-7))

    assert_same(make, [start, epsilon])


@quiet
def test_a_line_too_long_for_the_cache():
    n = 34_000
    voltage = torch.tensor(0.5, dtype=f64, requires_grad=True)
    c0 = torch.ones(2, n, dtype=f64, requires_grad=True)

    def make():
        cell = pf.PNP(
            pf.Grid((n,), (2.0,), ("wall",)),
            ions(2),
            permittivity=0.3,
            walls={"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=0.0)},
        )
        return pf.simulate(cell, c0, times(0, 1e-3), stepper=KenCarp4(0.03))

    mine, theirs = (gradients(run, (voltage, c0)) for run in (make(), cell_by_cell(make)))
    assert_close(mine, theirs, 1e-6)  # round-off grows with the stiffness


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setattr(compiled_run, "ENOUGH_FOR_A_THREAD", 30)
    monkeypatch.setattr(compiled_followed, "ENOUGH_FOR_A_THREAD", 30)
    v = given(30, 2, batch=9)
    cell = reservoir_cell(v, 30, 2, "scharfetter-gummel")
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(gradients(pf.simulate(cell, v["c0"], SPAN), list(v.values())))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
