"""The ledger as a picture: its numbers are those of the run."""

from dataclasses import replace

import numpy as np
import torch

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.solution import Solution
from pnpfusion.visualize.style import number
from tests.registry import f64
from tests.visualize.drawn import CELLS, assert_draws, cell, times, titles


def test_the_ledger_says_the_numbers_of_the_run(run: Solution) -> None:
    figure = visualize.plot_ledger(run)
    heading, mass, charge, energy, smallest = titles(figure)
    assert heading.startswith("The books balance")
    assert mass.removeprefix("Mass is kept to ") == number(float(run.ledger.mass_error))
    assert charge.startswith("Net charge is zero to ")
    assert energy == f"Free energy falls by {number(float(run.ledger.energy_drop))}; never rises"
    assert number(float(run.ledger.min_concentration)) in smallest
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), run.ledger.free_energy)
    assert_draws(figure)


def test_the_ledger_of_a_batch_shows_the_worst_sample(batch: Solution) -> None:
    figure = visualize.plot_ledger(batch)
    worst = batch.ledger.smallest.flatten(1).amin(1)
    np.testing.assert_array_equal(figure.axes[3].lines[0].get_ydata(), worst)
    assert "(median)" in titles(figure)[3]
    assert_draws(figure)


def test_an_open_cell_is_said_to_be_open() -> None:
    law = cell(0.5, {"x-": pf.Wall(potential=1.0, concentration={"cation": 1.5})})
    run = pf.simulate(law, torch.ones(2, CELLS, dtype=f64), times(0.2, 5))
    figure = visualize.plot_ledger(run)
    assert "cation may cross the walls" in titles(figure)[0]
    assert "an open cell may do either" in titles(figure)[3]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["cation (crosses walls)", "anion"]
    assert_draws(figure)


def test_broken_promises_are_named(run: Solution) -> None:
    states = run.states.clone()
    states[10:] *= 1.01
    heading, mass, *_ = titles(visualize.plot_ledger(replace(run, states=states)))
    assert heading == "The books do not balance: look at mass and energy"
    assert mass == "Mass is kept to 0.01"
