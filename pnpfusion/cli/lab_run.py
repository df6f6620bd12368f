"""What ``pnpfusion lab --run`` plays: a saved run, or the cells of a trained layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pnpfusion.cli.messages import CommandError, errors_end_the_command
from pnpfusion.cli.simulate_results import RUN
from pnpfusion.dynamics.pnp import PNP as CellLaw
from pnpfusion.fusion.pnp import PNP
from pnpfusion.fusion.pnp_migration import MigratingIons
from pnpfusion.run.simulate import simulate
from pnpfusion.training.model import FusionModel
from pnpfusion.visualize.lab.page import lab_page

if TYPE_CHECKING:
    from pnpfusion.data.feature_set import Features
    from pnpfusion.solution import Solution

#: How long a cell of a resting layer is followed, in L²/D: its slowest mode decays by e^-10.
TO_REST = 4.0


def played(path: Path, samples: int | None, usual: int) -> str:
    """The page that plays what is at ``path``; ``usual`` samples of a layer, if none are asked.

    Raises:
        CommandError: there is nothing that can be played.
    """
    if path.is_dir() and (path / "config.json").is_file():
        return _trained(path, samples or usual)
    if path.is_dir():
        if not (path / RUN).is_file():
            raise CommandError(
                f"--run {path} holds neither {RUN}, which `pnpfusion simulate` writes, nor a model "
                f"of `pnpfusion train`; name a file that `Solution.save` wrote."
            )
        path = path / RUN
    if samples is not None:
        raise CommandError(f"--samples is of a trained layer; --run {path} is a run: leave it out.")
    from pnpfusion.storage import load

    with errors_end_the_command():
        run = load(path)
        _check(path, run)
        return lab_page(run, title=f"{_short(path)}: {run.outcome.value}.")


def _check(path: Path, run: Solution) -> None:
    law = run.dynamics
    if not isinstance(law, CellLaw):
        got = "no law" if law is None else type(law).__name__
        raise CommandError(
            f"--run {path} must be a run of a PNP cell, got one of {got}; the page plays what "
            f"`pnpfusion simulate` writes."
        )
    if law.grid.ndim != 1:
        raise CommandError(
            f"--run {path} must have one axis of space, got a grid of shape {law.grid.shape}; play "
            f"a run along one axis, such as `pnpfusion simulate` makes."
        )


def _trained(folder: Path, count: int) -> str:
    """The page that plays the cells of a trained layer, for the first samples of its test split."""
    from pnpfusion.cli.train_setup import read_settings, set_up

    with errors_end_the_command():
        model = FusionModel.from_pretrained(folder)
        layer = model.fusion
        if not isinstance(layer, PNP):
            raise CommandError(
                f"--run {folder} holds the model {model.config.model!r}, whose layer has no PNP "
                f"cells to play; train one by `pnpfusion train --model pnp`."
            )
        data = set_up(read_settings(folder, "--run")).data
        part = "test" if "test" in data.splits else "train"
        rows = data.splits[part][:count]
        run = _followed(model, layer, data.samples(rows))
        cells = [*torch.ones(run.succeeded.shape[1:]).nonzero().tolist()]
        names = [
            f"{part} sample {int(row)}{_class_of(data, int(row))}, cell {', '.join(map(str, cell))}"
            for row in rows
            for cell in cells
        ]
        return lab_page(run, title=f"{_short(folder)}: {_words(layer)}", samples=names)


def _followed(model: FusionModel, layer: PNP, data: Features) -> Solution:
    """The layer's cells on these samples, followed in time."""
    with torch.no_grad():
        _, info = model(data.modalities, data.present, return_info=True)
        own = info.solution
        if isinstance(layer.cells, MigratingIons):  # as the layer itself steps
            times = torch.linspace(
                0, layer.cells.duration, layer.cells.steps + 1, dtype=torch.float64
            )
            return simulate(
                own.dynamics, own.states[0], times, x=own.x, stepper=layer.cells.stepper
            )
        times = TO_REST * torch.linspace(0, 1, 61, dtype=torch.float64) ** 2
        return simulate(own.dynamics, own.states[0], times, x=own.x)


def _class_of(data: Features, row: int) -> str:
    """What the sample is, where it is one of some classes."""
    if data.target is None or data.target.dtype != torch.int64 or data.target.ndim != 1:
        return ""
    return f" ({data.class_names[int(data.target[row])]})" if data.class_names else ""


def _short(path: Path) -> Path:
    """The end of a path: pages are shown to others."""
    return Path(*path.parts[-2:])


def _words(layer: PNP) -> str:
    if isinstance(layer.cells, MigratingIons):
        return "the ions of a trained layer, at every step that it takes."
    return (
        "cells of a trained layer, charged by its features, on their way to the rest that it "
        "finds at once."
    )
