"""How well the equations inside a model are solved, beside how well it learns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from pnpfusion.fusion.layer import FusionInfo, FusionLayer
from pnpfusion.fusion.pnp import PNP
from pnpfusion.fusion.pnp_migration import MigratingIons
from pnpfusion.solvers.callers import users_level
from pnpfusion.solvers.faq import Faq
from pnpfusion.training.tally import Tally

#: What is told of solves: means over samples, and largest values.
MEANS, PEAKS = (
    ("iterations", "unconverged", "gradient_unconverged"),
    ("iterations_max", "residual_max"),
)
#: Shares of samples without an answer that are worth a warning when they are first exceeded.
MARKS = (0.01, 0.05, 0.2, 0.5)


class HealthWarning(UserWarning):
    """The solves inside a model got worse as it learned."""


def watch(tally: Tally, info: FusionInfo) -> None:
    """Count what one call tells of its solves: iterations, residuals, samples without an answer."""
    run = info.solution
    if run is None:
        return
    rows = info.succeeded.numel()
    failed = float((~info.succeeded).double().mean())
    tally.add("iterations", float(info.iterations.double().mean()), rows)
    tally.peak("iterations_max", float(info.iterations.max()))
    tally.add("unconverged", failed, rows)
    if run.rest_rates is not None:  # at rest: how far from it, and not of what never got there
        left = run.rest_rates.detach()[-1].double()
        left = left[left.isfinite()]
        if left.numel():
            tally.peak("residual_max", float(left.max()))
    if run.backward is not None and run.backward.converged is not None:
        lost = float((~run.backward.converged).double().mean())
        tally.add("gradient_unconverged", lost, rows)


def to_numbers(tally: Tally) -> list[float]:
    """What :func:`watch` has counted, as many numbers whatever it was."""
    found = [found.get(name, 0.0) for name in MEANS for found in (tally.sums, tally.weights)]
    return found + [tally.peaks.get(name, -1.0) for name in PEAKS]


def from_numbers(numbers: Sequence[float]) -> Tally:
    """The inverse; of peaks those that were there, none of which is below 0."""
    sums, weights = numbers[0 : 2 * len(MEANS) : 2], numbers[1 : 2 * len(MEANS) : 2]
    told = [place for place, weight in enumerate(weights) if weight > 0]
    return Tally(
        {MEANS[place]: sums[place] for place in told},
        {MEANS[place]: weights[place] for place in told},
        {
            name: value
            for name, value in zip(PEAKS, numbers[2 * len(MEANS) :], strict=True)
            if value >= 0
        },
    )


@torch.no_grad()
def cell_figures(layer: FusionLayer) -> dict[str, float]:
    r"""What grid and steps of the PNP cells in a layer resolve, of the worst channel.

    ``debye_cells`` is the smallest Debye length in grid cells, :math:`\lambda / h`: below 1 the
    double layer is not resolved. Of cells in time, ``diffusion_number`` is
    :math:`D \Delta t / h^2`, and ``courant`` the drift of an ion in the applied field alone,
    :math:`D |V| \Delta t / h`, in cells a step: their steps are stable at any, accurate at small.
    """
    found: dict[str, float] = {}
    for one in pnp_layers(layer):
        width = 1.0 / one.cells.law.grid.shape[-1]
        figures = {"debye_cells": float(one.debye_length.min()) / width}
        if isinstance(one.cells, MigratingIons) and one.diffusivity is not None:
            dt = one.cells.duration / one.cells.steps
            fastest = one.diffusivity.amax(1)
            drift = fastest * one.applied_potential.abs()
            figures["diffusion_number"] = float(fastest.max()) * dt / width**2
            figures["courant"] = float(drift.max()) * dt / width
        for name, value in figures.items():
            better = min if name == "debye_cells" else max
            found[name] = better(found.get(name, value), value)
    return found


def pnp_layers(layer: FusionLayer) -> list[PNP]:
    """The PNP layers that a layer is or holds."""
    return [one for one in layer.modules() if isinstance(one, PNP)]


def warn_if_worse(history: Sequence[dict[str, Any]]) -> None:
    """Warn if in the last epoch more samples had no answer than ever before, by a mark.

    Warns:
        HealthWarning: that share was above one of :data:`MARKS` for the first time.
    """
    shares = [_unsolved(row) for row in history]
    if not shares:
        return
    now, before = shares[-1], max(shares[:-1], default=0.0)
    if not any(before < mark <= now for mark in MARKS):
        return
    row = history[-1]
    was = "" if len(shares) == 1 else f" ({before:.1%} at most before)"
    warnings.warn(
        f"in epoch {row['epoch']} {now:.1%} of samples had no converged solve or gradient{was}, "
        f"after {row['health'].get('iterations', 0):.0f} iterations on average; a lower "
        f'`learning_rate`, a larger `loss_weights["jacobian"]` or the model "deq", whose cell '
        f"always contracts, help {Faq.UNSOLVED_IN_TRAINING}.",
        HealthWarning,
        stacklevel=users_level(),
    )


def _unsolved(row: dict[str, Any]) -> float:
    health = row["health"]
    return max(float(health.get(name, 0.0)) for name in ("unconverged", "gradient_unconverged"))
