"""FiPy: backward Euler, ions and potential as one coupled system, sparse LU: P1, P2, P3.

usage: python -m benchmarks.peers.fipy_cell REQUEST

REQUEST: {"problem": "P1", "options": {"cells": 256, "steps": 100}}

Options: cells an axis, steps (growing geometrically, a hundredfold in cells, twentyfold in boxes)
and systems (P3: how many of the 64 are solved; the time is scaled up). The drift is a diffusion of
the new potential with the old concentration, which is stable; with the old potential, as in
FiPy's own examples of convection, P1 diverges at a hundred steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fipy
import numpy as np
from fipy.solvers.scipy import LinearLUSolver

from benchmarks.peers.problems import Array, Box, Cells
from benchmarks.peers.serve import Reader, Run, serve

SHIFT = ((-1.0,),)  #: the cells of FiPy begin at 0
GAUGE = 1e3  #: holds the potential of one cell where no wall does


def coupled(
    mesh: Any, permittivity: float, start: Array, voltage: float | None
) -> tuple[Any, list[Any]]:
    """The equation of all three fields, and the fields."""
    plus, minus, phi = (
        fipy.CellVariable(mesh=mesh, value=value, hasOld=True) for value in (*start, 0.0)
    )
    inside: Any = 1.0
    if voltage is not None:
        inside = ~mesh.exteriorFaces  # no ion drifts through a wall
        phi.setValue(voltage * mesh.cellCenters[0].value)
        phi.constrain(-voltage, mesh.facesLeft)
        phi.constrain(voltage, mesh.facesRight)
    charge = (
        fipy.DiffusionTerm(permittivity, var=phi)
        + fipy.ImplicitSourceTerm(1.0, var=plus)
        - fipy.ImplicitSourceTerm(1.0, var=minus)
    )
    if voltage is None:
        held = np.zeros(mesh.numberOfCells)
        held[0] = GAUGE
        charge -= fipy.ImplicitSourceTerm(fipy.CellVariable(mesh=mesh, value=held), var=phi)
    ions = [
        fipy.TransientTerm(var=c)
        == fipy.DiffusionTerm(1.0, var=c) + fipy.DiffusionTerm(z * c.faceValue * inside, var=phi)
        for c, z in ((plus, 1.0), (minus, -1.0))
    ]
    return ions[0] & ions[1] & (charge == 0), [plus, minus, phi]


def march(equation: Any, fields: list[Any], lengths: Array) -> tuple[Array, float]:
    """Both concentrations after steps of these lengths, and the smallest after any step."""
    solver, lowest = LinearLUSolver(), np.inf
    for dt in lengths:
        for field in fields:
            field.updateOld()
        equation.sweep(dt=dt, solver=solver)
        lowest = min(lowest, *(float(c.value.min()) for c in fields[:2]))
    return np.stack([c.value for c in fields[:2]]), lowest


def prepare(
    problem: Cells | Box, cells: int, steps: int, systems: int | None = None
) -> Callable[[], Reader]:
    """A run with these options."""
    growth = np.geomspace(1, 20 if isinstance(problem, Box) else 100, steps)
    lengths = growth / growth.sum() * problem.end

    if isinstance(problem, Box):
        if len(problem.plus) != 2:
            raise TypeError("a cube by a sparse LU needs more memory than is reasonable.")
        mesh = fipy.Grid2D(nx=cells, ny=cells, dx=1 / cells, dy=1 / cells)
        start = problem.start_on(cells).transpose(0, 2, 1).reshape(2, -1)  # x is counted fastest

        def run() -> Reader:
            end, lowest = march(*coupled(mesh, problem.permittivity, start, None), lengths)
            return lambda: Run(end.reshape(2, cells, cells).transpose(0, 2, 1), steps, lowest)

        return run

    pairs = list(zip(problem.permittivity, problem.voltage, strict=True))
    chosen = pairs[:systems]
    mesh = fipy.Grid1D(nx=cells, dx=2 / cells) + SHIFT

    def run_cells() -> Reader:
        ends = [march(*coupled(mesh, e, np.ones((2, cells)), v), lengths) for e, v in chosen]
        lowest = min(low for _, low in ends)
        c = np.stack([end for end, _ in ends])
        return lambda: Run(c, steps * len(ends), lowest, share=len(chosen) / len(pairs))

    return run_cells


if __name__ == "__main__":
    serve(f"FiPy {fipy.__version__}", prepare, warm=False)
