"""The pictures of any law's run, and those of a fusion layer's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.solution import Solution
from pnpfusion.solvers import Anderson, NewtonKrylov, Picard
from pnpfusion.visualize.clock import Clock
from pnpfusion.visualize.style import number
from tests.marks import quiet
from tests.registry import blocking_cell, f64, random
from tests.run.test_roads import cell_and_deq, deep_equilibrium, feedback
from tests.visualize.test_pictures import assert_draws, meshes, titles

pytestmark = quiet
ALONG = torch.linspace(0, 10, 11, dtype=f64)


def panel() -> Axes:
    return Figure(figsize=(6, 4)).subplots()


def title(axes: Axes) -> str:
    return axes.get_title(loc="left").replace("\n", " ")


def named(axes: Axes) -> dict[str, Line2D]:
    return {
        str(one.get_label()): one for one in axes.lines if not str(one.get_label()).startswith("_")
    }


def crosses(axes: Axes) -> list[Line2D]:
    return [one for one in axes.lines if one.get_marker() == "X"]


def below(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata())


class Turn(pf.Dynamics):
    """A map that multiplies each sample's state by x: rounds and Picard's iteration may grow."""

    def rate(self, t: torch.Tensor, u: torch.Tensor, x: object = None) -> torch.Tensor:
        assert isinstance(x, torch.Tensor)
        return x * u + 1 - u


FACTORS = torch.tensor([[0.5], [-0.25], [-2.0]], dtype=f64)


# ---- residuals


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


# ---- paths


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


def test_the_clock_knows_the_verb(tmp_path: Path) -> None:
    law, u0, x, _ = deep_equilibrium()
    cell, c0 = blocking_cell(8, debye=0.5), torch.ones(2, 8, dtype=f64)
    whole = torch.arange(4.0, dtype=f64)
    runs = [
        (pf.unroll(law, u0, 4, x=x), "rounds"),
        (pf.unroll(law, u0, 1, x=x), "rounds"),
        (pf.equilibrium(law, u0, x=x), "rest"),
        (pf.equilibrium(cell, c0), "rest"),
        (pf.equilibrium(cell, pf.equilibrium(cell, c0).final), "rest"),
        (pf.simulate(law, u0, whole, x=x), "time"),
        (pf.simulate(cell, c0, whole[:2]), "time"),
    ]
    for run, kind in runs:
        assert Clock.of(run).kind == kind
    kept = pf.load(runs[3][0].save(tmp_path / "run"))
    assert Clock.of(kept).kind == "rest"


# ---- runs of fusion layers


@pytest.fixture(scope="module", params=["equilibrium", "transient"])
def layer_run(request: pytest.FixtureRequest) -> Solution:
    torch.manual_seed(0)
    layer = pf.fusion.PNP({"audio": 5, "motion": 3}, 4, run=request.param, channels=4)
    inputs = {"audio": torch.randn(6, 5), "motion": torch.randn(6, 3)}
    _, info = layer(inputs, return_info=True)
    run = info.solution
    assert isinstance(run, Solution)
    assert run.states.requires_grad
    assert run.states.shape == (2, 6, 4, 2, 16)
    return run


def test_every_plot_applies_to_a_layers_run(layer_run: Solution, tmp_path: Path) -> None:
    rest = Clock.of(layer_run).kind == "rest"
    end = "at rest" if rest else "at t = 0.3"
    labels = torch.arange(6) % 2
    profiles = visualize.plot_profiles(layer_run, sample=(2, 1))
    assert [t.get_text() for t in profiles.legends[0].get_texts()][-1] == end
    by_class = visualize.plot_profiles(layer_run, labels=labels, sample=(None, 1))
    assert f"(6 samples {end}, (:, 1) of the batch)" in titles(by_class)[0]
    ledger = visualize.plot_ledger(layer_run)
    ticks = [text.get_text() for text in ledger.axes[2].get_xticklabels()]
    assert (ticks == ["start", "at rest"]) is rest
    space_time = visualize.plot_space_time(layer_run, "cation", sample=(2, 1))
    assert (space_time.axes[0].get_ylabel() == "") is rest
    for figure in (profiles, by_class, ledger, space_time):
        assert_draws(figure)
    path = visualize.animate(layer_run, tmp_path / "run.gif", sample=(2, 1), frames=3)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3


def test_a_sample_is_a_row_and_a_channel(layer_run: Solution) -> None:
    states = layer_run.states.detach().double().numpy()
    for sample, wanted, who in (
        ((2, 1), states[:, 2, 1], "sample (2, 1) of 6 × 4"),
        (9, states[:, 2, 1], "sample (2, 1) of 6 × 4"),
        ((None, 1), states[:, :, 1].mean(1), "mean of 6 samples, (:, 1) of 6 × 4"),
        ((2, None), states[:, 2].mean(1), "mean of 4 samples, (2, :) of 6 × 4"),
        (None, states.mean((1, 2)), "mean of 24 samples"),
    ):
        figure = visualize.plot_space_time(layer_run, "anion", sample=sample)
        np.testing.assert_allclose(np.asarray(meshes(figure)[0].get_array()), wanted[:, 1])
        assert titles(figure)[0].endswith(f"({who})")
    figure = visualize.plot_profiles(layer_run, sample=(None, 1))
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert isinstance(corners, np.ndarray)
    last = states[-1, :, 1, 0]
    assert corners[:, 1].max() == pytest.approx((last.mean(0) + last.std(0)).max())


def test_classes_of_rows_in_one_channel(layer_run: Solution) -> None:
    labels = torch.tensor([0, 1, 1, 0, 1, 1])
    figure = visualize.plot_profiles(layer_run, labels=labels, sample=(None, 3))
    panels = np.array(figure.axes).reshape(3, 2)
    wanted = layer_run.final.detach().double()[labels == 1, 3, 1].mean(0)
    np.testing.assert_allclose(panels[1, 1].lines[1].get_ydata(), wanted)


def test_an_iteration_is_not_taken_for_time() -> None:
    """No title, axis or legend of a state of rest speaks of a time."""
    cell = blocking_cell(8, debye=0.5)
    run = pf.equilibrium(cell, torch.ones(2, 8, dtype=f64))
    for figure in (
        visualize.plot_profiles(run),
        visualize.plot_space_time(run, "cation"),
        visualize.plot_ledger(run),
    ):
        texts = [text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))]
        assert not [text for text in texts if "time" in text or "t =" in text]
    failed = replace(run, succeeded=torch.tensor(False), outcome=pf.Outcome.NOT_CONVERGED)
    for figure in (visualize.plot_profiles(failed), visualize.plot_ledger(failed)):
        assert " to come to rest: " in titles(figure)[0]


def test_samples_and_labels_that_do_not_fit(layer_run: Solution) -> None:
    for sample in ((6, 0), (0,), (0, -1)):
        with pytest.raises(ValueError, match=r"for each axis of the batch \(6, 4\), got \("):
            visualize.plot_profiles(layer_run, sample=sample)
    with pytest.raises(ValueError, match=r"got \(6,\); .* `sample=\(None, 0\)`"):
        visualize.plot_profiles(layer_run, labels=torch.arange(6))


def test_a_resting_layer_can_be_followed_in_time() -> None:
    """The law and the start of a layer's run, and more times: its course."""
    torch.manual_seed(0)
    layer = pf.fusion.PNP({"a": 3}, 2, run="transient", channels=2)
    with torch.no_grad():
        _, info = layer({"a": torch.randn(4, 3)}, return_info=True)
        run = info.solution
        along = torch.linspace(0, 0.3, 13, dtype=f64)
        course = pf.simulate(layer.dynamics, run.states[0], along, x=run.x)
    figure = visualize.plot_space_time(course, "cation", sample=(0, 1))
    assert meshes(figure)[0].get_array().shape == (13, 16)
