"""What all pictures share: runs that failed, looks, and what is no picture."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.solution import Solution
from pnpfusion.visualize.style import DASHES, looks, number
from tests.registry import f64
from tests.visualize.drawn import CELLS, assert_draws, cell, meshes, times, titles


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
