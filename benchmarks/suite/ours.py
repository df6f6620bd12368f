"""pnpfusion on the problems, through the public `simulate`: P1 to P4.

usage: python -m benchmarks.suite.ours '{"problem": "P1", "options": {"cells": 256, "rtol": 1e-3}}'

Options of cells: cells, rtol, scheme (central, scharfetter-gummel, harmonic, or spectral for
polynomials) and grading (edges at tanh(g s) / tanh(g); 0 is equal cells). Of boxes: cells an axis,
and either steps (equal ones of ETDRK4) or rtol (steps chosen by it). No stepper is named but by the
option of that name.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch

import pnpfusion as pf
from benchmarks.peers.problems import Box, Cells, edges
from benchmarks.peers.serve import Reader, Run, serve
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers.grid import Boundary

IONS = [pf.Species("cation", +1), pf.Species("anion", -1)]


def prepare(
    problem: Cells | Box,
    cells: int,
    rtol: float | None = None,
    scheme: str = "",
    grading: float = 0.0,
    steps: int | None = None,
    stepper: str | None = None,
) -> Callable[[], Reader]:
    """A run with these options."""
    way = getattr(pf.solvers, stepper)(rtol=rtol) if stepper else None
    if isinstance(problem, Box):
        grid = unit_box(cells, len(problem.plus))
        law = pf.PNP(grid, IONS, permittivity=problem.permittivity, scheme="spectral")
        start = torch.from_numpy(problem.start_on(cells))
        way = pf.solvers.ETDRK4(dt=problem.end / steps) if steps else way
        weights = x = None
    else:
        law, start = blocking_cells(problem, cells, scheme, grading)
        x = law.grid.coordinates(0).numpy()
        x = x - x.mean()  # the grid begins at 0 or at -1, the problems at -1
        weights = law.grid.weights.numpy()
    asked = None if way else rtol
    times = torch.tensor([0.0, problem.end], dtype=torch.float64)

    def run() -> Reader:
        found = pf.simulate(law, start, times, stepper=way, rtol=asked).require_success()
        return lambda: read(found)

    def read(found: pf.Solution) -> Run:
        lowest = float(found.ledger.min_concentration.min())
        lost = None
        if weights is not None:
            mass = found.states.numpy() @ weights
            lost = float(np.abs(mass[-1] / mass[0] - 1).max())
        return Run(found.final.numpy(), int(found.work.steps.sum()), lowest, x, lost)

    return run


def unit_box(cells: int, axes: int) -> pf.Grid:
    """A square or cube of equal cells between walls."""
    walls: list[Boundary] = ["wall"] * axes
    return pf.Grid((cells,) * axes, (1.0,) * axes, tuple(walls))


def blocking_cells(
    problem: Cells, cells: int, scheme: str, grading: float
) -> tuple[pf.PNP, torch.Tensor]:
    """The law of P1 or P3, all cells as one batch, and its start."""
    grid = pf.Grid((cells,), (2.0,), ("wall",), edges=(torch.from_numpy(edges(cells, grading)),))
    if scheme == "spectral":
        grid = pf.ChebyshevGrid((cells,), (2.0,))
    voltage = torch.from_numpy(problem.voltage)
    law = pf.PNP(
        grid,
        IONS,
        permittivity=torch.from_numpy(problem.permittivity),
        walls={"x-": pf.Wall(potential=-voltage), "x+": pf.Wall(potential=voltage)},
        scheme=scheme,  # type: ignore[arg-type]
    )
    return law, torch.ones(len(voltage), 2, cells, dtype=torch.float64)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)  # coarse cells are measured too
    serve(f"pnpfusion {pf.__version__}", prepare)
