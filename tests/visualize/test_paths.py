"""Paths of any law's run: its parts, and how near they come."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.visualize.style import number
from tests.marks import quiet
from tests.registry import blocking_cell, f64, random
from tests.run.three_laws import cell_and_deq, deep_equilibrium, feedback
from tests.visualize.drawn import assert_draws
from tests.visualize.panels import ALONG, FACTORS, Turn, below, crosses, named, panel, title

pytestmark = quiet


@pytest.mark.parametrize("verb", ["simulate", "unroll"])
def test_paths_of_every_law_show_its_parts(verb: str) -> None:
    law, u0 = cell_and_deq()
    laws = {
        "DEQ": (*deep_equilibrium()[:3], ["$z_1$", "$z_2$", "$z_f$"]),
        "Progressive": (*feedback()[:3], ["the state"]),
        "Coupled": (law, u0, None, ["cell", "deq"]),
        "PNP": (blocking_cell(8, debye=0.5), 1 + 0.1 * random(2, 2, 8), None, None),
    }
    for dynamics, start, x, wanted in laws.values():
        with torch.no_grad():
            if verb == "simulate":
                run = pf.simulate(dynamics, start, ALONG, x=x)
            else:
                run = pf.unroll(dynamics, start, 10, x=x, step=1e-3)
        axes = visualize.plot_path(panel(), run, sample=1)
        names = wanted or [one.name for one in dynamics.species]
        assert [*named(axes)] == names
        assert axes.get_xlabel().startswith("round" if verb == "unroll" else "time")
        assert axes.get_yscale() == "log"
        assert "(sample 1 of " in title(axes)


def test_distances_are_those_of_each_block_to_the_goal() -> None:
    law, u0, x, _ = deep_equilibrium()
    with torch.no_grad():
        run, rest = pf.unroll(law, u0, 12, x=x), pf.equilibrium(law, u0, x=x, tol=1e-13).final
    away = (run.states - rest).square().mean(3).sqrt().numpy()
    for sample, wanted in ((2, away[:, 2]), (None, np.median(away, 1))):
        axes = visualize.plot_path(panel(), run, to=rest, sample=sample)
        for block, line in enumerate(named(axes).values()):
            np.testing.assert_allclose(below(line), wanted[:, block])
    own = visualize.plot_path(panel(), run, sample=2)
    to_last = (run.states - run.final).square().mean(3).sqrt().numpy()[:, 2, 0]
    np.testing.assert_allclose(below(own.lines[0])[:-1], to_last[:-1])
    assert np.isnan(below(own.lines[0])[-1])


def test_the_title_says_by_what_factor_rounds_come_near() -> None:
    u0, x = torch.zeros(2, dtype=f64), FACTORS[0]
    run = pf.unroll(Turn(), u0, 20, x=x)
    axes = visualize.plot_path(panel(), run, to=torch.full_like(u0, 2.0))
    words = f"The distance falls, from 2 to {number(2 * 0.5**20)} after 20 rounds"
    assert title(axes) == f"{words}, by a factor of 0.5 a round"
    still = pf.unroll(Turn(), torch.full_like(u0, 2.0), 3, x=x)
    assert title(visualize.plot_path(panel(), still)) == "Nothing moves"


def test_components_are_numbers_of_the_state() -> None:
    law, u0, x, _ = deep_equilibrium()
    with torch.no_grad():
        run = pf.simulate(law, u0, ALONG, x=x)
    axes = visualize.plot_path(panel(), run, components=[0, 11], sample=1)
    for index, line in zip((0, 11), named(axes).values(), strict=True):
        np.testing.assert_allclose(below(line), run.states[:, 1].flatten(1)[:, index])
    assert axes.get_yscale() == "linear"
    assert title(axes).startswith("Component ")


def test_a_path_that_fails_ends_in_a_cross() -> None:
    run = pf.unroll(Turn(), torch.zeros(3, 2, dtype=f64), 700, x=FACTORS * 1.5)
    assert run.succeeded.tolist() == [True, True, False]
    axes = visualize.plot_path(panel(), run, sample=None)
    (cross,) = crosses(axes)
    good = int(run.states[:, 2].isfinite().all(1).sum())
    away = (run.states[:, 2] - run.states[0, 2]).abs()[:, 0].numpy()  # it has no last state
    assert below(cross) == pytest.approx(away[int(np.asarray(cross.get_xdata())[0])])
    assert 1e4 < below(cross)[0] / away[1] < 1e7
    assert isinstance(axes.figure, Figure)
    assert_draws(axes.figure)
    assert title(axes) == f"1 of 3 samples fail by round {good}: {run.outcome.value}"


def test_paths_that_cannot_be() -> None:
    law, u0, x, _ = deep_equilibrium()
    run = pf.unroll(law, u0, 3, x=x)
    with pytest.raises(ValueError, match=r"must have a path.* `plot_residuals`"):
        visualize.plot_path(panel(), pf.equilibrium(law, u0, x=x))
    with pytest.raises(ValueError, match=r"must have a path.* got 1 states"):
        visualize.plot_path(panel(), pf.unroll(law, u0, 0, x=x))
    with pytest.raises(ValueError, match=r"`to` must have the shape .*\(3, 3, 4\), got \(3, 4\)"):
        visualize.plot_path(panel(), run, to=u0[0])
    with pytest.raises(ValueError, match=r"`components` must be 0 to 11, got \[12\]"):
        visualize.plot_path(panel(), run, components=[0, 12])
