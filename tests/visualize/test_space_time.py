"""Pictures over space and time: what they draw is the run, and what they say is what it did."""

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.solution import Solution
from pnpfusion.visualize.style import number
from tests.registry import f64
from tests.visualize.drawn import CELLS, assert_draws, cell, meshes, times, titles


def test_space_time_shows_the_states_and_the_potential(run: Solution) -> None:
    figure = visualize.plot_space_time(run, "anion")
    concentration, potential = meshes(figure)
    law = run.dynamics
    assert isinstance(law, pf.PNP)
    np.testing.assert_array_equal(np.asarray(concentration.get_array()), run.states[:, 1].numpy())
    np.testing.assert_array_equal(np.asarray(potential.get_array()), law.potential(run.states))
    assert_draws(figure)


def test_the_potential_is_coloured_symmetrically_about_zero() -> None:
    lopsided = cell(walls={"x+": pf.Wall(potential=0.0)})
    run = pf.simulate(lopsided, torch.ones(2, CELLS, dtype=f64), times(0.1, 5))
    norm = meshes(visualize.plot_space_time(run, "cation"))[1].norm
    assert isinstance(norm.vmax, float)
    assert norm.vmin == -norm.vmax
    assert norm.vmax == pytest.approx(float(lopsided.potential(run.states).abs().max()))


def test_the_title_says_where_a_species_gathers_and_by_how_much(run: Solution) -> None:
    peak = float(run.final[0].max() / run.final[0].mean())
    figure = visualize.plot_space_time(run, "cation")
    assert f"cation gathers at the right wall: {peak:.2g}× its mean" in titles(figure)
    assert "anion gathers at the left wall" in titles(visualize.plot_space_time(run, "anion"))[1]


def test_the_title_says_how_far_charges_separate(run: Solution) -> None:
    rho = (run.final[0] - run.final[1]).abs().mean()
    heading = titles(visualize.plot_space_time(run, "cation"))[0]
    assert heading == f"Charges separate: the mean of |ρ| grows from 0 to {number(float(rho))}"


def test_a_wave_on_a_ring_evens_out() -> None:
    grid = pf.Grid((CELLS,), (1.0,), ("periodic",))
    law = pf.PNP(grid, [pf.Species("cation", 1), pf.Species("anion", -1)], permittivity=0.2)
    wave = 0.5 * torch.cos(2 * torch.pi * grid.coordinates(0))
    run = pf.simulate(law, torch.stack([1 + wave, 1 - wave]), times(0.1, 11))
    figure = visualize.plot_space_time(run, "cation")
    assert "cation evens out: its peak falls from 1." in titles(figure)[1]
    assert titles(figure)[0].startswith("Charges neutralise one another")
    assert_draws(figure)
    assert_draws(visualize.plot_profiles(run))


def test_a_small_fall_of_charge_is_not_called_neutralising() -> None:
    grid = pf.Grid((CELLS,), (1.0,), ("periodic",))
    law = pf.PNP(grid, [pf.Species("cation", 1), pf.Species("anion", -1)], permittivity=0.2)
    wave = 0.5 * torch.cos(2 * torch.pi * grid.coordinates(0))
    run = pf.simulate(law, torch.stack([1 + wave, 1 - wave]), times(0.003, 5))
    assert titles(visualize.plot_space_time(run, "cation"))[0].startswith("Charges move and stay")


def test_between_reservoirs_nothing_is_said_of_gathering_or_screening() -> None:
    held = ({"cation": 1.5, "anion": 1.5}, {"cation": 0.5, "anion": 0.5})
    walls = {
        side: pf.Wall(potential=volts, concentration=one)
        for side, volts, one in zip(("x-", "x+"), (2.0, 0.0), held, strict=True)
    }
    law = cell(walls=walls)
    run = pf.simulate(law, torch.ones(2, CELLS, dtype=f64), times(1.0))
    told = " ".join(titles(visualize.plot_profiles(run)))
    assert "cation is highest at the left wall" in told
    assert "With open walls the mean of |ρ| goes" in told
    assert "In the middle half potential differences go" in told
    assert not any(word in told for word in ("gathers", "screened", "separate", "neutralise"))


def test_what_does_not_move_is_not_said_to_gather() -> None:
    grid = pf.Grid((CELLS,), (1.0,), ("wall",))
    ends = [{"cation": c, "anion": c} for c in (1.0, 0.1)]
    walls = {
        side: pf.Wall(potential=0.0, concentration=held)
        for side, held in zip(("x-", "x+"), ends, strict=True)
    }
    ions = [pf.Species("cation", 1), pf.Species("anion", -1)]
    law = pf.PNP(grid, ions, permittivity=0.2, walls=walls)
    rest = pf.equilibrium(law, torch.ones(2, CELLS, dtype=f64)).require_success().final
    run = pf.simulate(law, rest, times(0.1, 3))
    assert "cation stays as it was" in titles(visualize.plot_space_time(run, "cation"))[1]


def test_the_walls_carry_their_potentials(run: Solution) -> None:
    for figure in (visualize.plot_space_time(run, "cation"), visualize.plot_profiles(run)):
        labels = [text.get_text() for axes in figure.axes for text in axes.get_xticklabels()]
        assert {"0\nφ = +2", "1\nφ = −2"} <= set(labels)


def test_a_sample_is_one_of_the_flattened_batch(batch: Solution) -> None:
    shown = meshes(visualize.plot_space_time(batch, "cation", sample=4))[0].get_array()
    np.testing.assert_array_equal(np.asarray(shown), batch.states[:, 1, 1, 0].numpy())
    mean = visualize.plot_space_time(batch, "cation", sample=None)
    wanted = batch.states.mean((1, 2))[:, 0].numpy()
    np.testing.assert_allclose(np.asarray(meshes(mean)[0].get_array()), wanted)
    assert "(mean of 6 samples)" in titles(mean)[0]
