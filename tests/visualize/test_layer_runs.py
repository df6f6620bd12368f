"""Pictures of a fusion layer's run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pnpfusion as pf
from pnpfusion import visualize
from pnpfusion.solution import Solution
from pnpfusion.visualize.clock import Clock
from tests.marks import quiet
from tests.registry import f64
from tests.visualize.drawn import assert_draws, meshes, titles

pytestmark = quiet


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
