"""PyBaMM: a model of our own, finite volumes with mean faces, IDAKLU (SUNDIALS IDA, KLU): P1, P3.

usage: python -m benchmarks.peers.pybamm_cell REQUEST

REQUEST: {"problem": "P1", "options": {"cells": 256, "rtol": 1e-4}}

Options: cells, rtol, grading (edges at tanh(g s) / tanh(g); 0 is equal cells), compile (the
equations by the system's C compiler) and loop (P3 by 64 calls instead of one). Building the model
and compiling it count as setting up. Two symbols stand for the potential: `phi`, which has the
electrodes' values at the walls, and `drive`, twice the same, whose slope at the walls is 0, so
that no ion drifts through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pybamm

from benchmarks.peers.problems import Array, Box, Cells, edges
from benchmarks.peers.serve import Reader, Run, serve


def model(cells: int, grading: float) -> pybamm.BaseModel:
    """The discretised equations, with inputs eps and V."""
    made = pybamm.BaseModel("blocking cell")
    plus, minus, phi = (pybamm.Variable(n, domain="cell") for n in ("plus", "minus", "phi"))
    eps, voltage = pybamm.InputParameter("eps"), pybamm.InputParameter("V")
    x = pybamm.SpatialVariable("x", domain=["cell"], coord_sys="cartesian")
    drive = 2 * phi
    slope = pybamm.grad(drive) / 2
    made.rhs = {
        plus: pybamm.div(pybamm.grad(plus) + plus * slope),
        minus: pybamm.div(pybamm.grad(minus) - minus * slope),
    }
    made.algebraic = {phi: pybamm.div(eps * pybamm.grad(phi)) + plus - minus}
    closed = dict.fromkeys(("left", "right"), (pybamm.Scalar(0), "Neumann"))
    made.boundary_conditions = dict.fromkeys((plus, minus, drive), closed) | {
        phi: {"left": (-voltage, "Dirichlet"), "right": (voltage, "Dirichlet")}
    }
    made.initial_conditions = {plus: pybamm.Scalar(1), minus: pybamm.Scalar(1), phi: voltage * x}
    made.variables = {"plus": plus, "minus": minus}
    submesh = pybamm.Uniform1DSubMesh
    if grading:
        places = {"edges": edges(cells, grading)}
        submesh = pybamm.MeshGenerator(pybamm.UserSupplied1DSubMesh, places)
    sides = {"min": pybamm.Scalar(-1), "max": pybamm.Scalar(1)}
    mesh = pybamm.Mesh({"cell": {x: sides}}, {"cell": submesh}, {x: cells})
    pybamm.Discretisation(mesh, {"cell": pybamm.FiniteVolume()}).process_model(made)
    return made


def prepare(
    problem: Cells | Box,
    cells: int,
    rtol: float,
    grading: float = 0.0,
    loop: bool = False,
    compile: bool = False,
) -> Callable[[], Reader]:
    """A run with these options."""
    if isinstance(problem, Box):
        raise TypeError("PyBaMM's finite volumes have one axis; wanted P1 or P3.")
    built, solver = (
        model(cells, grading),
        pybamm.IDAKLUSolver(rtol=rtol, atol=rtol / 100, options={"compile": compile}),
    )
    pairs = zip(problem.permittivity, problem.voltage, strict=True)
    inputs = [{"eps": float(eps), "V": float(voltage)} for eps, voltage in pairs]
    span = [0, problem.end]
    x = edges(cells, grading)
    x = (x[1:] + x[:-1]) / 2

    def run() -> Reader:
        if loop or len(inputs) == 1:
            found = [solver.solve(built, span, inputs=one) for one in inputs]
        else:
            found = solver.solve(built, span, inputs=inputs)
        return lambda: read(found)

    def read(found: list[Any]) -> Run:
        states = [np.asarray(one.y)[: 2 * cells] for one in found]
        c = np.stack([state[:, -1] for state in states]).reshape(-1, 2, cells)
        steps = sum(len(one.t) for one in found)
        return Run(c, steps, min(float(s.min()) for s in states), x, lost(c))

    def lost(c: Array) -> float:
        widths = np.diff(edges(cells, grading)) / 2
        return float(np.abs(c @ widths - 1).max())

    return run


if __name__ == "__main__":
    pybamm.set_logging_level("ERROR")
    serve(f"PyBaMM {pybamm.__version__} IDAKLU", prepare)
