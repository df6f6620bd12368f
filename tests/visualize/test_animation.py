"""Animations: their frames, and how a failure ends them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pnpfusion import visualize
from pnpfusion.solution import Solution
from pnpfusion.visualize.animation import frame_places
from pnpfusion.visualize.trace import trace


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


def test_animations_that_cannot_be(run: Solution, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in .gif, got .*run.mp4"):
        visualize.animate(run, tmp_path / "run.mp4")
    with pytest.raises(ValueError, match="`frames` must be a whole number >= 2, got 1"):
        visualize.animate(run, tmp_path / "run.gif", frames=1)
    with pytest.raises(ValueError, match="`fps` must be 1 to 50, got 0"):
        visualize.animate(run, tmp_path / "run.gif", fps=0)


def test_a_file_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"`solution` must be a Solution, got str; .* `pf.load`"):
        visualize.animate("run.safetensors", tmp_path / "run.gif")
