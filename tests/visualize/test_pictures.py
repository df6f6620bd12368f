"""The pictures: what they draw is the run, and what they say is what it did."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.dynamics.resolution import StabilityWarning
from pnpfusion.solution import Solution
from pnpfusion.solvers.steppers import Euler
from pnpfusion.visualize.animation import frame_places
from pnpfusion.visualize.style import DASHES, looks, number
from pnpfusion.visualize.trace import trace
from tests.registry import f64

CELLS = 24


def times(end: float, count: int = 21) -> torch.Tensor:
    return torch.linspace(0, end, count, dtype=f64)


def cell(voltage: float = 2.0, walls: dict[str, pf.Wall] | None = None) -> pf.PNP:
    grid = pf.Grid((CELLS,), (1.0,), ("wall",))
    ends = {"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=-voltage)}
    ions = [pf.Species("cation", valence=+1), pf.Species("anion", valence=-1)]
    return pf.PNP(grid, ions, permittivity=0.1, walls=ends | (walls or {}))


@pytest.fixture(scope="module")
def run() -> Solution:
    return pf.simulate(cell(), torch.ones(2, CELLS, dtype=f64), times(0.5))


@pytest.fixture(scope="module")
def batch() -> Solution:
    generator = torch.Generator().manual_seed(0)
    c0 = 1 + 0.5 * torch.rand(2, 3, 2, CELLS, dtype=f64, generator=generator)
    return pf.simulate(cell(), c0, times(0.1, 11))


@pytest.fixture(scope="module")
def failed() -> Solution:
    """Two of four blow up, one of them with finite values: they diffuse too fast for the step."""
    spread = torch.tensor([1.0, 9.0, 1.0, 5.0], dtype=f64)
    ions = [pf.Species("cation", +1, spread), pf.Species("anion", -1, spread)]
    law = pf.PNP(pf.Grid((CELLS,), (1.0,), ("wall",)), ions, permittivity=0.1)
    c0 = torch.ones(4, 2, CELLS, dtype=f64)
    c0[..., :8] += 0.5
    with pytest.warns(StabilityWarning):
        return pf.simulate(law, c0, times(0.2, 41), stepper=Euler(dt=5e-4))


def titles(figure: Figure) -> list[str]:
    texts = [figure.get_suptitle(), *(axes.get_title(loc="left") for axes in figure.axes)]
    return [text.replace("\n", " ") for text in texts]


def assert_draws(figure: Figure) -> None:
    """It draws without a warning, which pytest makes an error, and pyplot knows nothing of it."""
    figure.draw_without_rendering()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def meshes(figure: Figure) -> list[QuadMesh]:
    return [
        one for axes in figure.axes[:2] for one in axes.collections if isinstance(one, QuadMesh)
    ]


# ---- space and time


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


# ---- profiles


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


# ---- the ledger


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


# ---- failures


def test_a_failure_is_said_and_does_not_set_the_colours(failed: Solution) -> None:
    assert failed.succeeded.tolist() == [True, False, True, True]
    assert failed.states.isnan().any()
    figure = visualize.plot_space_time(failed, "cation", sample=1)
    assert titles(figure)[0].startswith("Failed by t = ")
    assert meshes(figure)[0].norm.vmax == pytest.approx(1.5)
    assert_draws(figure)
    assert_draws(visualize.plot_profiles(failed, sample=1))


def test_the_mean_leaves_failures_out(failed: Solution) -> None:
    figure = visualize.plot_space_time(failed, "cation", sample=None)
    assert "mean of the 2 of 4 samples that have an answer" in titles(figure)[0]
    assert np.isfinite(np.asarray(meshes(figure)[0].get_array())).all()
    labels = torch.tensor([0, 0, 1, 1])
    by_class = visualize.plot_profiles(failed, labels=labels)
    assert "2 without an answer are left out" in titles(by_class)[0]
    assert_draws(by_class)


def test_the_ledger_of_a_failed_run_ends_before_the_failure(failed: Solution) -> None:
    figure = visualize.plot_ledger(failed)
    assert titles(figure)[0].startswith("2 of 4 samples failed by t = ")
    assert "largest rise" not in titles(figure)[3]
    assert figure.axes[0].get_ylim()[1] < 1e-9
    assert_draws(figure)


def test_a_run_of_one_saved_time_can_be_drawn(run: Solution) -> None:
    start = replace(run, times=run.times[:1], states=run.states[:1], lowest=None)
    for figure in (
        visualize.plot_space_time(start, "cation"),
        visualize.plot_profiles(start),
        visualize.plot_ledger(start),
    ):
        assert_draws(figure)


# ---- animation


def test_the_animation_has_its_frames_and_holds_the_last(run: Solution, tmp_path: Path) -> None:
    path = visualize.animate(run, tmp_path / "run.gif", frames=6, fps=5)
    assert path == tmp_path / "run.gif"
    assert path.stat().st_size < 3e6 / 60 * 6
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 6
        assert image.info["loop"] == 0
        durations = []
        for frame in range(6):
            image.seek(frame)
            durations.append(image.info["duration"])
    assert durations[:-1] == [200] * 5
    assert durations[-1] >= 1000


def test_frames_stand_where_equally_much_happens(run: Solution) -> None:
    shown = trace(run)
    places = frame_places(shown, 12)
    assert places[0] == 0
    assert places[-1] == len(run.times) - 1
    done = np.interp(places, np.arange(shown.good), shown.changes)
    assert np.diff(done).max() < 1.3 / 11
    clock = np.interp(places, np.arange(shown.good), shown.times)
    assert clock[6] < 0.2 * shown.times[-1]


def test_an_animated_failure_ends_with_it(failed: Solution, tmp_path: Path) -> None:
    shown = trace(failed, 1)
    assert frame_places(shown, 5)[-1] == shown.good
    assert visualize.animate(failed, tmp_path / "failed.gif", sample=1, frames=3).exists()


# ---- style


def test_signs_and_modalities_have_their_looks() -> None:
    names = ["audio cation", "audio anion", "motion cation", "motion anion", "solvent"]
    valences: list[float | torch.Tensor] = [1, torch.tensor([-1.0, -2.0]), 2, -1, 0]
    found = looks([pf.Species(n, z) for n, z in zip(names, valences, strict=True)])
    red, blue = (np.array([to_rgb(found[n].color)[k] for n in names[:4]]) for k in (0, 2))
    assert ((red > blue) == [True, False, True, False]).all()
    assert len(set(to_rgb(found["solvent"].color))) == 1
    assert [found[n].dashes for n in names[:4]] == [*DASHES[:1] * 2, *DASHES[1:2] * 2]
    assert len({look.color for look in found.values()}) == 5


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (2.2e-16, "2e-16"), (0.4064, "0.406"), (-14.52, "−14.5")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_drawing_leaves_the_settings_of_the_user(run: Solution) -> None:
    with mpl.rc_context({"font.size": 20.0}):
        visualize.plot_profiles(run)
        assert mpl.rcParams["font.size"] == 20.0


# ---- errors


class Decay(pf.Dynamics):
    def rate(self, t: torch.Tensor, u: torch.Tensor, x: object = None) -> torch.Tensor:
        return -u


def test_an_unknown_species_is_answered_with_the_list(run: Solution) -> None:
    with pytest.raises(ValueError, match=r"one of \['cation', 'anion'\], got 'kation'"):
        visualize.plot_space_time(run, "kation")


@pytest.mark.parametrize("sample", [-1, 6])
def test_a_sample_that_is_not_there(batch: Solution, sample: int) -> None:
    with pytest.raises(ValueError, match=f"`sample` must be 0 to 5, .* got {sample}"):
        visualize.plot_profiles(batch, sample=sample)


def test_other_laws_are_refused(run: Solution) -> None:
    for law, got in ((Decay(), "Decay"), (None, "no law")):
        other = replace(run, dynamics=law)
        with pytest.raises(ValueError, match=f"must be a run of a pnpfusion.PNP cell, got {got}"):
            visualize.plot_ledger(other)


def test_labels_that_do_not_fit(run: Solution, batch: Solution) -> None:
    labels = torch.arange(6).reshape(2, 3)
    with pytest.raises(ValueError, match="need a batch"):
        visualize.plot_profiles(run, labels=labels)
    with pytest.raises(ValueError, match=r"batch shape \(2, 3\), got \(6,\)"):
        visualize.plot_profiles(batch, labels=labels.flatten())
    with pytest.raises(ValueError, match="whole numbers"):
        visualize.plot_profiles(batch, labels=labels.double())
    with pytest.raises(ValueError, match="got 2 names"):
        visualize.plot_profiles(batch, labels=labels, class_names=["a", "b"])
    with pytest.raises(ValueError, match="`class_names` needs `labels`"):
        visualize.plot_profiles(batch, class_names=["a", "b"])


def test_more_classes_than_are_legible() -> None:
    many = pf.simulate(cell(), torch.ones(11, 2, CELLS, dtype=f64), times(0.01, 2))
    with pytest.raises(ValueError, match="up to 10 classes, got 11"):
        visualize.plot_profiles(many, labels=torch.arange(11))


def test_animations_that_cannot_be(run: Solution, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in .gif, got .*run.mp4"):
        visualize.animate(run, tmp_path / "run.mp4")
    with pytest.raises(ValueError, match="`frames` must be at least 2, got 1"):
        visualize.animate(run, tmp_path / "run.gif", frames=1)
    with pytest.raises(ValueError, match="`fps` must be 1 to 50, got 0"):
        visualize.animate(run, tmp_path / "run.gif", fps=0)


def epochs(*, validated: bool = True, solved: bool = True) -> list[dict[str, Any]]:
    """Rows as training makes them, best in epoch 2."""
    scores = [0.5, 0.9, 0.8]
    return [
        {
            "epoch": k + 1,
            "score": "accuracy",
            "train": {"task": 1 / (k + 1)},
            "valid": {"accuracy": scores[k], "loss": 0.5} if validated else {},
            "health": {"iterations": 4.0, "unconverged": 0.1 * k} if solved else {},
        }
        for k in range(3)
    ]


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("solved", [True, False])
def test_training_has_a_panel_for_what_there_is(validated: bool, solved: bool) -> None:
    figure = visualize.plot_training(epochs(validated=validated, solved=solved), best_epoch=2)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert ("accuracy on validation" in labels) == validated
    assert ("unconverged samples" in labels) == solved
    heading = figure.get_suptitle()
    assert heading.startswith("Best in epoch 2 of 3: accuracy 0.9" if validated else "3 epochs")
    if solved:
        assert "20.0%" in figure.axes[-2].get_title(loc="left")
    with pytest.raises(ValueError, match="must have a row for each epoch"):
        visualize.plot_training([], best_epoch=1)
