"""devsim: symbolic edge models with the Bernoulli function, Newton, fixed steps: P1, P2.

usage: python -m benchmarks.peers.devsim_cell REQUEST

REQUEST: {"problem": "P1", "options": {"cells": 256, "steps": 100}}

Options: cells an axis, steps (growing geometrically as FiPy's) and method, tr (trapezoidal, the
default) or bdf1. Nodes are vertices, walls included. devsim needs a BLAS and LAPACK from outside:
the variable DEVSIM_MATH_LIBS names one; without it the OpenBLAS of pybammsolvers is taken.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.problems import Array, Box, Cells
from benchmarks.peers.serve import Reader, Run, serve

NAMES = count()
HOLD = 1e12  #: holds the ions where they start while the potential is found
NEWTON = {"absolute_error": 1e-7, "relative_error": 1e-4, "maximum_iterations": 40}


def with_lapack() -> Any:
    """The module, told where LAPACK is."""
    if "DEVSIM_MATH_LIBS" not in os.environ:
        found = importlib.util.find_spec("pybammsolvers")
        if found is None or not found.submodule_search_locations:
            raise ImportError("set DEVSIM_MATH_LIBS to a LAPACK library, or install pybammsolvers")
        libraries = Path(found.submodule_search_locations[0]).parent / "pybammsolvers.libs"
        for name in ("libquadmath*", "libgfortran*", "libopenblas*"):
            for path in libraries.glob(name):
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
                os.environ["DEVSIM_MATH_LIBS"] = str(path)
    import devsim

    return devsim


ds = with_lapack()


class Device:
    """One problem on one mesh; ``put`` and ``get`` are of node values."""

    def __init__(self, problem: Cells | Box, cells: int) -> None:
        self.name = f"device{next(NAMES)}"
        self.where = {"device": self.name, "region": "inside"}
        one = isinstance(problem, Cells)
        self.mesh(cells) if one else self.square(cells)
        ds.finalize_mesh(mesh=self.name)
        ds.create_device(mesh=self.name, device=self.name)
        permittivity = (
            problem.permittivity[0] if isinstance(problem, Cells) else problem.permittivity
        )
        self.equations(float(permittivity), ("left", "right") if one else ())

    def mesh(self, cells: int) -> None:
        """[-1, 1] between two contacts."""
        ds.create_1d_mesh(mesh=self.name)
        for at, side in ((-1.0, "left"), (1.0, "right")):
            ds.add_1d_mesh_line(mesh=self.name, pos=at, ps=2 / cells, tag=side)
            ds.add_1d_contact(mesh=self.name, name=side, tag=side, material="metal")
        ds.add_1d_region(mesh=self.name, material="w", region="inside", tag1="left", tag2="right")

    def square(self, cells: int) -> None:
        """The unit square."""
        ds.create_2d_mesh(mesh=self.name)
        for axis in "xy":
            for at in (0, 1):
                ds.add_2d_mesh_line(mesh=self.name, dir=axis, pos=at, ps=1 / (cells - 1))
        ds.add_2d_region(mesh=self.name, material="w", region="inside")

    def get(self, name: str) -> Array:
        """Node values."""
        return np.array(ds.get_node_model_values(**self.where, name=name))

    def put(self, name: str, values: Array) -> None:
        """Set them."""
        ds.set_node_values(**self.where, name=name, values=[float(v) for v in values])

    def numbers(self, **values: float) -> None:
        """Set parameters."""
        for name, value in values.items():
            ds.set_parameter(device=self.name, name=name, value=value)

    def equations(self, permittivity: float, contacts: tuple[str, ...]) -> None:
        """Poisson and two ions, with all derivatives by hand."""
        self.numbers(eps=permittivity, hold=HOLD, left=0.0, right=0.0)
        for name in ("phi", "plus", "minus", "plus0", "minus0", "pin"):
            ds.node_solution(**self.where, name=name)
        for name in ("phi", "plus", "minus"):
            ds.edge_from_node_model(**self.where, node_model=name)
        inverse = "EdgeInverseLength"
        edges = {
            "field": f"eps*(phi@n0-phi@n1)*{inverse}",
            "field:phi@n0": f"eps*{inverse}",
            "field:phi@n1": f"-eps*{inverse}",
            "u": "phi@n1-phi@n0",
            "ahead": "B(u)",
            "back": "B(-u)",
            "ahead_": "dBdx(u)",
            "back_": "dBdx(-u)",
        }
        nodes = {"rho": "minus-plus+pin*phi", "rho:plus": "-1", "rho:minus": "1", "rho:phi": "pin"}
        for c, a, b, sign in (("plus", "ahead", "back", ""), ("minus", "back", "ahead", "-")):
            slope = f"({a}_*{c}@n0+{b}_*{c}@n1)*{inverse}"
            edges |= {
                f"flux{c}": f"({a}*{c}@n0-{b}*{c}@n1)*{inverse}",
                f"flux{c}:{c}@n0": f"{a}*{inverse}",
                f"flux{c}:{c}@n1": f"-{b}*{inverse}",
                f"flux{c}:phi@n1": f"{sign}1*{slope}",
                f"flux{c}:phi@n0": f"{'' if sign else '-'}1*{slope}",
            }
            nodes |= {
                f"held{c}": f"hold*({c}-{c}0)",
                f"held{c}:{c}": "hold",
                f"amount{c}": c,
                f"amount{c}:{c}": "1",
            }
        for name, equation in edges.items():
            ds.edge_model(**self.where, name=name, equation=equation)
        for name, equation in nodes.items():
            ds.node_model(**self.where, name=name, equation=equation)
        given = self.where | {"variable_update": "default"}
        for c in ("plus", "minus"):
            ds.equation(
                **given, name=f"of{c}", variable_name=c, node_model=f"held{c}",
                edge_model=f"flux{c}", time_node_model=f"amount{c}",
            )  # fmt: skip
        ds.equation(**given, name="of", variable_name="phi", node_model="rho", edge_model="field")
        for side in contacts:
            at = {"device": self.name, "contact": side}
            ds.contact_node_model(**at, name=f"at{side}", equation=f"phi-{side}")
            ds.contact_node_model(**at, name=f"at{side}:phi", equation="1")
            ds.contact_equation(**at, name="of", node_model=f"at{side}")


def prepare(
    problem: Cells | Box, cells: int, steps: int, method: str = "tr"
) -> Callable[[], Reader]:
    """A run with these options."""
    one = isinstance(problem, Cells)
    if (len(problem.voltage) > 1) if isinstance(problem, Cells) else (len(problem.plus) > 2):
        raise TypeError("measured are one cell and the square; wanted P1 or P2.")
    device = Device(problem, cells)
    x = device.get("x")
    y = np.zeros_like(x) if one else device.get("y")
    start = np.ones((2, len(x))) if isinstance(problem, Cells) else problem.start(x, y)
    volume = device.get("NodeVolume")
    growth = np.geomspace(1, 100 if one else 20, steps)
    lengths = growth / growth.sum() * problem.end
    voltage = float(problem.voltage[0]) if isinstance(problem, Cells) else 0.0

    def begin() -> None:
        """The potential of the start, with the ions held."""
        device.numbers(hold=HOLD, left=0.0, right=0.0)
        pin = np.zeros_like(x) if one else np.where((x < 1e-9) & (y < 1e-9), 1e3, 0.0)
        named = {"plus": start[0], "minus": start[1], "plus0": start[0], "minus0": start[1]}
        for name, values in (named | {"phi": 0 * x, "pin": pin}).items():
            device.put(name, values)
        ds.solve(type="transient_dc", **NEWTON)
        device.numbers(hold=0.0, left=-voltage, right=voltage)

    def run() -> Reader:
        begin()
        lowest = np.inf
        for i, dt in enumerate(lengths):
            kind = "transient_bdf1" if i == 0 else f"transient_{method}"
            ds.solve(type=kind, tdelta=float(dt), charge_error=1e30, gamma=1.0, **NEWTON)
            lowest = min(lowest, device.get("plus").min(), device.get("minus").min())
        return lambda: read(lowest)

    def read(lowest: float) -> Run:
        c = np.stack([device.get("plus"), device.get("minus")])
        lost = float(np.abs((c * volume).sum(1) / (start * volume).sum(1) - 1).max())
        nodes = x if one else np.stack([x, y], 1)
        return Run(c[None] if one else c, steps, float(lowest), nodes, lost)

    return run


if __name__ == "__main__":
    serve(f"devsim {ds.__version__}", prepare, warm=False)
