"""Runs of lines cut into lanes: any length, any species, and bits that depend on nothing else."""

import pytest
import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, KenCarp4
from tests.compiled.test_run import assert_same, both_ways
from tests.marks import quiet
from tests.registry import ALL_SCHEMES, blocking_cell, f64, times

pytest.importorskip("numba", reason="the compiled kernels need pnpfusion[fast]")
SPAN = times(0, 1e-3, 0.02, 0.1)


def ions(count):
    """Neutral in sum over 1; valences from -2 to 2."""
    kinds = [("a", 1), ("b", -1), ("c", 2), ("d", -2), ("e", 0), ("f", 1), ("g", -1)]
    return [pf.Species(name, z, 0.5 + 0.25 * i) for i, (name, z) in enumerate(kinds[:count])]


def reservoir_cell(n, count, scheme, voltage=1.5):
    return pf.PNP(
        pf.Grid((n,), (2.0,), ("wall",)),
        ions(count),
        permittivity=0.3,
        walls={
            "x-": pf.Wall(potential=voltage, stern=0.05, concentration={"a": 2.0}),
            "x+": pf.Wall(surface_charge=0.1),
        },
        fixed_charge=-1.0 if count == 1 else 0.0,
        scheme=scheme,
    )


@quiet
@pytest.mark.parametrize("n", [1, 6, 7, 14, 15, 40])
def test_lines_of_any_length_take_the_steps_of_torch(n):
    cell, c0 = reservoir_cell(n, 2, "scharfetter-gummel"), torch.ones(2, n, dtype=f64)
    assert_same(*both_ways(cell, c0, SPAN, KenCarp4(1e-4)))


@quiet
@pytest.mark.parametrize("scheme", ALL_SCHEMES)
@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_of_species_takes_the_steps_of_torch(count, scheme):
    cell, c0 = reservoir_cell(24, count, scheme), torch.ones(count, 24, dtype=f64)
    assert_same(*both_ways(cell, c0, SPAN, TRBDF2(1e-3)))


@quiet
@pytest.mark.parametrize("floating", [False, True])
@pytest.mark.parametrize("n", [47, 48, 53, 100])
def test_records_that_places_share_do_not_show(n, floating):
    """A charge too small to count makes a line whose places share none."""
    speck = torch.zeros(n, dtype=f64)
    speck[n // 2] = 1e-290

    def run(charge):
        wall = {} if floating else {"x-": pf.Wall(potential=1.5), "x+": pf.Wall(potential=0.0)}
        grid = pf.Grid((n,), (2.0,), ("wall",))
        cell = pf.PNP(grid, ions(2), permittivity=0.3, walls=wall, fixed_charge=charge)
        return pf.simulate(cell, c0, SPAN)

    bump = 0.5 * torch.cos(torch.pi * pf.Grid((n,), (1.0,), ("wall",)).coordinates(0))
    c0 = torch.stack([1 + bump.to(f64), 1 - bump.to(f64)])
    assert torch.equal(run(0.0).states, run(pf.Field(speck)).states)


def test_lines_too_long_for_the_cache_take_the_steps_of_torch():
    """Their elimination is done twice, block by block."""
    n = 34_000
    cell, c0 = blocking_cell(n), torch.ones(2, n, dtype=f64)
    run, wanted = both_ways(cell, c0, times(0, 1e-3), TRBDF2(0.03))
    assert_same(run, wanted, 1e-9)  # round-off grows with the stiffness
    mass = (run.final * cell.grid.weights).sum(-1) / cell.grid.weights.sum()
    torch.testing.assert_close(mass, torch.ones(2, dtype=f64), rtol=0, atol=1e-12)


@quiet
@pytest.mark.parametrize("method", [TRBDF2, KenCarp4])
def test_steps_a_million_times_as_long_as_diffusion_across_a_cell_keep_mass(method):
    """Their equations are solved to round-off times that number; saved between steps, too."""
    n, generator = 25, torch.Generator().manual_seed(0)
    random = torch.rand(3, n, dtype=f64, generator=generator)
    species = [pf.Species("cation", 2, 3.0), pf.Species("anion", -1, pf.Field(5000 * random[2]))]
    cell = pf.PNP(pf.Grid((n,), (3.0,), ("wall",)), species, permittivity=1e-7)
    c0 = 10 ** (3 * random[:2] - 2)
    c0[1] *= 2 * c0[0].sum() / c0[1].sum()
    run = pf.simulate(cell, c0, times(0, 0.1, 1, 7, 13), stepper=method(1e-2)).require_success()
    assert float(run.ledger.mass_error) <= 1e-14


def test_a_sample_is_the_same_bit_for_bit_in_large_batches_and_on_two_threads(monkeypatch):
    voltage = torch.linspace(0.1, 3, 9, dtype=f64)
    c0 = torch.ones(9, 2, 40, dtype=f64)
    alone = [pf.simulate(blocking_cell(40, voltage=v), c0[0], SPAN) for v in voltage]
    threads = torch.get_num_threads()
    monkeypatch.setattr("pnpfusion.solvers.compiled.run.ENOUGH_FOR_A_THREAD", 40)
    try:
        torch.set_num_threads(2)
        together = pf.simulate(blocking_cell(40, voltage=voltage), c0, SPAN)
    finally:
        torch.set_num_threads(threads)
    for i, run in enumerate(alone):
        assert torch.equal(together.states[:, i], run.states)
        assert torch.equal(together.lowest[:, i], run.lowest)


def test_where_a_run_is_cut_does_not_show(monkeypatch):
    voltage = torch.tensor([0.3, 2.0], dtype=f64)
    cell, c0 = blocking_cell(voltage=voltage), torch.ones(2, 2, 32, dtype=f64)
    whole = pf.simulate(cell, c0, SPAN)
    monkeypatch.setattr("pnpfusion.solvers.compiled.run.MOST_IN_ONE_CALL", 1)
    cut = pf.simulate(cell, c0, SPAN)
    assert torch.equal(cut.states, whole.states)
    assert torch.equal(cut.work.iterations, whole.work.iterations)
    spent = pf.simulate(cell, c0, SPAN, stepper=KenCarp4(max_steps=3))
    assert spent.outcome is pf.Outcome.OUT_OF_STEPS
    assert (spent.work.steps + spent.work.rejected).tolist() == [3, 3]
