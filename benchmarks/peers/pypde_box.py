"""py-pde: a PDE class of our own, explicit adaptive RK23 by scipy: P1, P2, P4.

usage: python -m benchmarks.peers.pypde_box REQUEST

REQUEST: {"problem": "P2", "options": {"cells": 64, "rtol": 1e-4}}

Options: cells an axis, rtol. Boxes: lap c + z (grad c . grad phi + c lap phi), smooth, loses mass.
Cells: div of fluxes at cell centres, since the former form does not come to an end; this keeps
mass and decouples odd from even cells. The potential is a sparse LU made once: py-pde's own Poisson
solver builds its matrix anew at each call, a second each for P2.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pde
import scipy.sparse as sparse
from scipy.sparse.linalg import splu

from benchmarks.peers.problems import Array, Box, Cells
from benchmarks.peers.serve import Reader, Run, serve

GAUGE = 1e4  #: holds the potential of one cell where no wall does


class Ions(pde.PDEBase):
    """Both concentrations; the potential follows from them."""

    def __init__(self, grid: Any, permittivity: float, voltage: float | None) -> None:
        super().__init__()
        self.permittivity, self.voltage = permittivity, voltage
        self.lowest, self.calls = np.inf, 0
        self.walls: Any = {"derivative": 0}
        if voltage is not None:
            self.walls = [[{"value": -voltage}, {"value": voltage}]]
        end = -1.0 if voltage is None else -3.0
        matrix: Any = sparse.csr_matrix((1, 1))
        for n, h in zip(grid.shape, grid.discretization, strict=True):
            middle = np.full(n, -2.0)
            middle[[0, -1]] = end
            bands: Any = [middle, np.ones(n - 1), np.ones(n - 1)]
            line = sparse.diags(bands, [0, 1, -1]) / h**2
            matrix = sparse.kronsum(line, matrix)
        self.applied = np.zeros(grid.shape)
        if voltage is None:
            corner: Any = ([GAUGE], ([0], [0]))
            matrix = matrix - sparse.coo_matrix(corner, matrix.shape)
        else:
            self.applied[[0, -1]] = np.array([-1, 1]) * 2 * voltage / grid.discretization[0] ** 2
        self.solved = splu(matrix.tocsc())

    def evolution_rate(self, state: Any, t: float = 0) -> Any:
        """dc/dt, as py-pde asks for it."""
        self.calls += 1
        self.lowest = min(self.lowest, *(float(c.data.min()) for c in state))
        charge = (state[0] - state[1]) / self.permittivity
        inside = self.solved.solve((-charge.data - self.applied).ravel())
        slope = pde.ScalarField(state.grid, inside.reshape(state.grid.shape)).gradient(self.walls)
        rates = []
        for c, z in zip(state, (1, -1), strict=True):
            if self.voltage is None:
                flat = {"derivative": 0}
                drift = c.gradient(flat).dot(slope) - c * charge
                rates.append(c.laplace(flat) + z * drift)
            else:
                flux = c.gradient({"curvature": 0}) + z * c * slope
                rates.append(flux.divergence({"value": 0}))
        return pde.FieldCollection(rates)


def prepare(problem: Cells | Box, cells: int, rtol: float) -> Callable[[], Reader]:
    """A run with these options."""
    if isinstance(problem, Box):
        grid = pde.CartesianGrid([[0, 1]] * len(problem.plus), cells)
        law = Ions(grid, problem.permittivity, None)
        start: Array = problem.start_on(cells)
    elif len(problem.voltage) == 1:
        grid = pde.CartesianGrid([[-1, 1]], cells)
        law = Ions(grid, float(problem.permittivity[0]), float(problem.voltage[0]))
        start = np.ones((2, cells))
    else:
        raise TypeError("py-pde runs one cell at a time; wanted P1, P2 or P4.")
    fields = pde.FieldCollection([pde.ScalarField(grid, c) for c in start])

    def run() -> Reader:
        law.lowest, law.calls = np.inf, 0
        end = law.solve(
            fields, t_range=problem.end, solver="scipy", backend="numpy", method="RK23",
            rtol=rtol, atol=rtol / 100, tracker=None,
        )  # fmt: skip
        c = np.stack([field.data for field in end])
        return lambda: Run(c if isinstance(problem, Box) else c[None], law.calls, law.lowest)

    return run


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of explicit steps
    serve(f"py-pde {pde.__version__}", prepare, warm=False)
