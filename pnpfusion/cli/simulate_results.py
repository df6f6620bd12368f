"""What ``pnpfusion simulate`` makes of a run: pictures, a table, and summary.json."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pnpfusion.cli.messages import FAILED, errors_end_the_command
from pnpfusion.cli.output_folder import save_picture
from pnpfusion.cli.simulate_inputs import Experiment
from pnpfusion.cli.summary import SUMMARY
from pnpfusion.ledger import line
from pnpfusion.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN = "run.safetensors"
#: What may be in the folder, and `--overwrite` may take away.
MADE = (
    SUMMARY,  # first: without it a folder is no finished run
    RUN,
    "space_time_*.png",
    "profiles.png",
    "profiles_by_class.png",
    "ledger.png",
    "animation.gif",
)
MOST_CLASSES = 10  #: in one picture


def draw(solution: Solution, setup: Experiment, folder: Path, *, gif: bool, progress: bool) -> None:
    """Every picture of the run; of a batch the mean, and if it has classes each class."""
    from pnpfusion import visualize

    if len(solution.times) < 2:
        return  # stopped before anything moved
    sample = None if setup.is_batch else 0
    pictures: dict[str, Callable[[], Figure]] = {
        f"space_time_{name}.png": partial(visualize.plot_space_time, solution, one, sample=sample)
        for one, name in _file_names([one.name for one in setup.cell.species]).items()
    }
    pictures["profiles.png"] = partial(visualize.plot_profiles, solution, sample=sample)
    features, labels = setup.features, setup.features.target
    named = setup.is_batch and features.task == "classes"
    if named and labels is not None and 2 <= len(set(labels.tolist())) <= MOST_CLASSES:
        pictures["profiles_by_class.png"] = partial(
            visualize.plot_profiles, solution, labels=labels, class_names=features.class_names
        )
    pictures["ledger.png"] = partial(visualize.plot_ledger, solution)
    for name, plot in pictures.items():
        figure = plot()
        with errors_end_the_command(FAILED):
            save_picture(figure, folder / name)
    if gif:
        with errors_end_the_command(FAILED):
            visualize.animate(solution, folder / "animation.gif", sample=sample, progress=progress)


def table(solution: Solution, seconds: float) -> str:
    """The run in a few numbers, the worst of a batch."""
    batch = solution.succeeded.numel()
    steps = "steps" if batch == 1 else "steps (most of a sample)"
    lines = (line(steps, f"{_steps(solution)}"), line("seconds", f"{seconds:.2f}"))
    return "\n".join([str(solution.ledger), *lines])


def summary_of(
    solution: Solution, setup: Experiment, folder: Path, seconds: float
) -> dict[str, Any]:
    """What summary.json says of the run.

    Of a batch: the largest mass error and rise of energy, the mean drop of energy, the smallest
    concentration, and the steps of the sample that took most.
    """
    ledger = solution.ledger
    return {
        "mass_error": _plain(ledger.mass_error.max()),
        "energy_drop": _plain(ledger.energy_drop.mean()),
        "energy_largest_rise": _plain(ledger.energy_largest_rise.max()),
        "min_concentration": _plain(ledger.min_concentration.min()),
        "steps": _steps(solution),
        "seconds": round(seconds, 3),
        "outcome": solution.outcome.name,
        "meaning": solution.outcome.value,
        "samples": solution.succeeded.numel(),
        "succeeded": int(solution.succeeded.sum()),
        "end": float(solution.times[-1]),
        "settings": setup.settings | {"out": str(folder)},
    }


def _steps(solution: Solution) -> int:
    return int(solution.work.steps.max())


def _plain(value: torch.Tensor) -> float | None:
    """A number for JSON, which has none for infinity and NaN."""
    number = float(value)
    return number if math.isfinite(number) else None


def _file_names(species: list[str]) -> dict[str, str]:
    """For each species a part of a file name, all different."""
    names: dict[str, str] = {}
    for one in species:
        name = re.sub(r"[^\w-]+", "_", one)
        while name.lower() in {taken.lower() for taken in names.values()}:
            name += "_"
        names[one] = name
    return names
