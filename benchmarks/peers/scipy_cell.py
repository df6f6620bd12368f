"""scipy.integrate on Scharfetter-Gummel finite volumes: P1 to P4.

usage: python -m benchmarks.peers.scipy_cell REQUEST

REQUEST: {"problem": "P1", "options": {"cells": 256, "rtol": 1e-5}}

Options: cells an axis, rtol, and the method: LSODA (the default of cells), BDF, Radau, with a dense
analytic Jacobian; RK23 (the default of boxes), RK45. P3's cells are solved one after another.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
import scipy.integrate

from benchmarks.peers.problems import Array, Box, Cells
from benchmarks.peers.scharfetter_gummel import BlockingCell, InsulatedBox
from benchmarks.peers.serve import Reader, Run, serve


def integrate(
    system: BlockingCell | InsulatedBox, state: Array, end: float, method: str, rtol: float
) -> tuple[Array, int, float]:
    """The state at the end, steps, and the smallest value after any step."""
    slope = {"jac": system.jacobian} if isinstance(system, BlockingCell) else {}
    solver = getattr(scipy.integrate, method)(
        system.rate, 0.0, state, end, rtol=rtol, atol=rtol / 100, **slope
    )
    steps, lowest = 0, float(state.min())
    while solver.status == "running":
        message = solver.step()
        steps, lowest = steps + 1, min(lowest, float(solver.y.min()))
    if solver.status == "failed":
        raise RuntimeError(message)
    return solver.y, steps, lowest


def prepare(
    problem: Cells | Box, cells: int, rtol: float, method: str | None = None
) -> Callable[[], Reader]:
    """A run with these options."""
    systems: list[BlockingCell] | list[InsulatedBox]
    if isinstance(problem, Box):
        method = method or "RK23"
        if not method.startswith("RK"):
            raise ValueError(f"`method` of a box must be RK23 or RK45, got {method!r}.")
        systems, start = [InsulatedBox(problem, cells)], problem.start_on(cells)
    else:
        method = method or "LSODA"
        pairs = zip(problem.permittivity, problem.voltage, strict=True)
        systems = [BlockingCell(eps, voltage, cells) for eps, voltage in pairs]
        start = np.ones((2, cells))

    def run() -> Reader:
        ends = [integrate(one, start.ravel(), problem.end, method, rtol) for one in systems]
        return lambda: read(ends)

    def read(ends: list[tuple[Array, int, float]]) -> Run:
        c = np.stack([state.reshape(start.shape) for state, _, _ in ends])
        steps, lowest = sum(end[1] for end in ends), min(end[2] for end in ends)
        return Run(c[0] if isinstance(problem, Box) else c, steps, lowest)

    return run


if __name__ == "__main__":
    serve(f"scipy {scipy.__version__}", prepare)
