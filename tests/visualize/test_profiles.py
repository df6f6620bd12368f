"""Profiles: the first and the last state, and the means of classes."""

import re

import numpy as np
import pytest
import torch

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.solution import Solution
from tests.registry import f64
from tests.visualize.drawn import CELLS, assert_draws, times, titles


def test_profiles_show_the_first_and_the_last_state(run: Solution) -> None:
    figure = visualize.plot_profiles(run)
    cation, anion, charge, potential = figure.axes
    for index, axes in enumerate((cation, anion)):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), run.final[index].numpy())
        start = axes.patches[0].get_data()  # type: ignore[attr-defined]
        np.testing.assert_array_equal(start.values, run.states[0, index].numpy())
    law = run.dynamics
    assert isinstance(law, pf.PNP)
    np.testing.assert_array_equal(charge.lines[-1].get_ydata(), law.charge(run.final).numpy())
    np.testing.assert_array_equal(potential.lines[-1].get_ydata(), law.potential(run.final).numpy())
    assert potential.get_ylim()[0] == -potential.get_ylim()[1]
    assert_draws(figure)


def test_profiles_of_classes_are_means_with_a_band(batch: Solution) -> None:
    labels = torch.tensor([[0, 1, 0], [1, 1, 0]])
    figure = visualize.plot_profiles(batch, labels=labels, class_names=["sit", "run"])
    panels = np.array(figure.axes).reshape(3, 2)
    group = batch.final[labels == 1][:, 0].numpy()
    np.testing.assert_allclose(panels[0, 1].lines[1].get_ydata(), group.mean(0))
    corners = panels[0, 1].collections[0].get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx((group.mean(0) + group.std(0)).max())
    assert [axes.get_title() for axes in panels[0]] == ["sit\nn = 3", "run\nn = 3"]
    assert re.search(r"Classes differ most in \w+: \d+% of its variance", titles(figure)[0])
    assert_draws(figure)


def test_a_single_species_gets_a_column_of_panels() -> None:
    grid = pf.Grid((CELLS,), (1.0,), ("wall",))
    law = pf.PNP(grid, [pf.Species("ion", -1)], permittivity=0.2, fixed_charge=1.0)
    run = pf.simulate(law, torch.ones(1, CELLS, dtype=f64), times(0.1, 3))
    figure = visualize.plot_profiles(run)
    assert len(figure.axes) == 3
    assert "ion stays even" in titles(figure)
    assert_draws(figure)
