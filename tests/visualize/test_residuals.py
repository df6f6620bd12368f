"""Residuals of any law's run: how fast it converges, and who does not."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.solvers import Anderson, NewtonKrylov, Picard
from pnpfusion.visualize.style import number
from tests.marks import quiet
from tests.registry import blocking_cell, f64
from tests.run.three_laws import deep_equilibrium
from tests.visualize.drawn import assert_draws
from tests.visualize.panels import ALONG, FACTORS, Turn, below, crosses, named, panel, title

pytestmark = quiet


def test_residuals_are_the_history_by_median_and_range() -> None:
    law, u0, x, _ = deep_equilibrium()
    run = pf.equilibrium(law, u0, x=x, tol=1e-10)
    axes = visualize.plot_residuals(panel(), run)
    assert axes.get_yscale() == "log"
    assert run.history is not None
    held = np.fmin.accumulate(run.history.numpy(), 0)
    (line,) = named(axes).values()
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(held) + 1))
    np.testing.assert_allclose(below(line), np.median(held, 1))
    corners = axes.collections[0].get_paths()[0].vertices
    assert isinstance(corners, np.ndarray)
    assert corners[:, 1].max() == pytest.approx(held.max())
    assert corners[:, 1].min() == pytest.approx(held.min())
    count = float(run.work.rate_calls.double().median())
    assert title(axes) == f"The run converges in {count:g} evaluations (median)"
    assert not crosses(axes)
    assert isinstance(axes.figure, Figure)
    assert_draws(axes.figure)


def test_rounds_and_picard_have_the_same_curve() -> None:
    law, u0, x, _ = deep_equilibrium()
    picard = pf.equilibrium(law, u0, x=x, solver=Picard(), tol=1e-9)
    assert picard.history is not None
    with torch.no_grad():
        rounds = pf.unroll(law, u0, len(picard.history), x=x)
    axes = visualize.plot_residuals(panel(), {"Picard": picard, "rounds": rounds})
    one, other = (below(line) for line in named(axes).values())
    whole = ~picard.history.isnan().any(1).numpy()
    np.testing.assert_allclose(one[whole], other[whole], rtol=1e-6)
    sizes = rounds.states[1:].square().mean((2, 3)).sqrt()
    np.testing.assert_allclose(other, (rounds.residuals / sizes).median(1).values, rtol=1e-6)
    assert axes.get_xlabel() == "iteration or round"
    assert f"Rounds changes by {number(other[-1])}" in title(axes).replace("rounds", "Rounds")


def test_who_does_not_converge_is_seen_and_counted() -> None:
    u0 = torch.zeros(3, 2, dtype=f64)
    runs = {
        "Picard": pf.equilibrium(Turn(), u0, x=FACTORS, solver=Picard(), tol=1e-10),
        "Newton": pf.equilibrium(Turn(), u0, x=FACTORS, solver=NewtonKrylov(), tol=1e-10),
    }
    assert runs["Picard"].succeeded.tolist() == [True, True, False]
    axes = visualize.plot_residuals(panel(), runs)
    (cross,) = crosses(axes)
    history = runs["Picard"].history
    assert history is not None
    assert below(cross) == pytest.approx([float(np.nanmin(history[:, 2]))])
    assert cross.get_xdata() == pytest.approx([len(history)])
    lines = named(axes)
    assert [*lines] == ["Picard (1 of 3 fail)", "Newton"]
    picard = below(lines["Picard (1 of 3 fail)"])
    good = np.fmin.accumulate(history[:, :2].numpy(), 0)
    assert np.nanmin(picard) == pytest.approx(np.median(good[-1]))
    assert title(axes).startswith("Newton converges in ")
    assert title(axes).endswith("(median); no convergence in 1 of 3 samples by Picard")


def test_a_method_that_solves_nothing_is_in_the_legend_too() -> None:
    u0, x = torch.zeros(2, 2, dtype=f64), FACTORS[2:].expand(2, 1)
    run = pf.equilibrium(Turn(), u0, x=x, solver=Picard())
    axes = visualize.plot_residuals(panel(), {"Picard": run, "again": run})
    assert [*named(axes)] == ["Picard (2 of 2 fail)", "again (2 of 2 fail)"]
    assert len(crosses(axes)) == 4


def test_rounds_that_blow_up_end_in_a_cross() -> None:
    run = pf.unroll(Turn(), torch.zeros(3, 2, dtype=f64), 400, x=1e3 * FACTORS)
    assert not run.succeeded.any()
    axes = visualize.plot_residuals(panel(), run)
    assert len(crosses(axes)) == 3
    assert title(axes) == "The rounds blow up in 3 of 3 samples"


def test_one_sample_and_exact_zeros() -> None:
    run = pf.unroll(Turn(), torch.ones(2, dtype=f64), 5, x=torch.zeros(1, dtype=f64))
    axes = visualize.plot_residuals(panel(), run)
    (line,) = named(axes).values()
    assert (below(line) == 1e-17).all()
    single = pf.equilibrium(Turn(), torch.ones(2, dtype=f64), x=FACTORS[0], solver=Anderson())
    words = title(visualize.plot_residuals(panel(), single))
    assert words == f"The run converges in {int(single.work.rate_calls)} evaluations"


def test_runs_without_iterations_are_refused() -> None:
    cell = blocking_cell(8, debye=0.5)
    rest = pf.equilibrium(cell, torch.ones(2, 8, dtype=f64))
    path = pf.simulate(Turn(), torch.zeros(2, dtype=f64), ALONG, x=FACTORS[0])
    with pytest.raises(ValueError, match=r"of this run draw .* `plot_profiles`"):
        visualize.plot_residuals(panel(), rest)
    for run in (rest, path):
        with pytest.raises(ValueError, match=r"`runs\['a'\]` has no iterations .* `unroll`"):
            visualize.plot_residuals(panel(), {"a": run})
    with pytest.raises(ValueError, match="at least one run"):
        visualize.plot_residuals(panel(), {})
