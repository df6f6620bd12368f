"""PyBaMM's own cost of forward sensitivities to two inputs, for gradient_cost.py.

usage: PATH/TO/PYTHON -m benchmarks.pybamm_sensitivities [--rounds 5]

For an interpreter that can import pybamm; needs nothing of pnpfusion. The blocking cells P1 and P3
of peers.py on equal cells, by IDAKLU (SUNDIALS), without sensitivities and with those to the
permittivity (eps2) and the voltage (V). One JSON line per problem: seconds of each round.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import count
from benchmarks.script import options, say


def build(cells: int) -> Any:
    """The cell on [-1, 1] with finite volumes; faces take arithmetic means."""
    import pybamm

    model, domain = pybamm.BaseModel("pnp"), "cell"
    plus, minus, phi = (pybamm.Variable(name, domain=domain) for name in ("plus", "minus", "phi"))
    eps2, voltage = pybamm.InputParameter("eps2"), pybamm.InputParameter("V")
    x = pybamm.SpatialVariable("x", domain=[domain], coord_sys="cartesian")
    walled = 2 * phi  # a second symbol, which has no slope at walls, so that drift stays inside
    slope = pybamm.grad(walled) / 2
    model.rhs = {
        plus: pybamm.div(pybamm.grad(plus) + plus * slope),
        minus: pybamm.div(pybamm.grad(minus) - minus * slope),
    }
    model.algebraic = {phi: pybamm.div(eps2 * pybamm.grad(phi)) + plus - minus}
    zero = pybamm.Scalar(0)
    no_flux = {"left": (zero, "Neumann"), "right": (zero, "Neumann")}
    model.boundary_conditions = {
        phi: {"left": (-voltage, "Dirichlet"), "right": (voltage, "Dirichlet")},
        walled: no_flux,
        plus: no_flux,
        minus: no_flux,
    }
    one = pybamm.Scalar(1)
    model.initial_conditions = {plus: one, minus: one, phi: voltage * x}
    model.variables = {"plus": plus, "minus": minus, "phi": phi}
    geometry = {domain: {x: {"min": pybamm.Scalar(-1), "max": one}}}
    mesh = pybamm.Mesh(geometry, {domain: pybamm.Uniform1DSubMesh}, {x: cells})
    pybamm.Discretisation(mesh, {domain: pybamm.FiniteVolume()}).process_model(model)
    return model


def main() -> None:
    """Print one line per problem."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=count, default=5)
    rounds = parser.parse_args().rounds
    import numpy as np
    import pybamm

    pybamm.set_logging_level("ERROR")
    order = np.random.default_rng(0).permutation(64)
    cells = zip(np.linspace(0.05, 0.1, 64), np.linspace(0.5, 3.0, 64)[order], strict=True)
    many = [{"eps2": 2 * debye**2, "V": volts} for debye, volts in cells]
    settings = {
        "P1, 256 equal cells": (256, 1e-4, [{"eps2": 0.005, "V": 2.0}]),
        "P3, 128 equal cells": (128, 1e-3, many),
    }
    for name, (n, rtol, inputs) in settings.items():
        model = build(n)
        seconds: tuple[list[float], list[float]] = ([], [])
        given = inputs if len(inputs) > 1 else inputs[0]
        solvers = [pybamm.IDAKLUSolver(rtol=rtol, atol=rtol * 1e-2) for _ in range(2)]
        for turn in range(rounds + 1):  # the first one builds
            for solver, names, taken in zip(solvers, ([], ["eps2", "V"]), seconds, strict=True):
                begin = time.process_time()
                asked = {"calculate_sensitivities": names} if names else {}
                solver.solve(model, [0, 0.5], inputs=given, **asked)
                if turn:
                    taken.append(time.process_time() - begin)
        row = {"problem": name, "program": "pybamm"}
        say({**row, "forward": seconds[0], "with_gradient": seconds[1]})


if __name__ == "__main__":
    main()
