"""The steady p-n junction and its gradient beside deltapv (∂PV, JAX).

usage: python -m benchmarks.junction_gradient [--rounds 9] [--deltapv-python PATH]

`peers/junction.py` says what is solved: at rest the field where the doping changes sign, at a
forward bias of .5 V the current, each with its gradient by the doping of every cell and by the
permittivity, the run included. pnpfusion solves on cells; deltapv on their centres, in a process
of its own, in turn. Errors are relative: at rest from the first integral, under bias from
pnpfusion on 2048 cells, to which deltapv tends too, at order 1; that of the gradient is the largest
of its derivatives by acceptors, donors and permittivity.

`extra_solves` are the linear solves of pnpfusion's gradient beyond those of its run, counted on the
way that torch takes, without the one of reading field or current from the concentrations; the
compiled way solves the same equations.

With --deltapv-python, an interpreter that can import deltapv (`make peers`). Times are milliseconds
of the processor on one thread, without compiling; a ratio is that of a run with its gradient over
the run in the same round, median and range. One JSON line per row, then a table.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count
from benchmarks.clock import seconds
from benchmarks.gradient_cost import summary
from benchmarks.peers import junction
from benchmarks.script import options, say, show, significant
from benchmarks.suite.process import Absent, Worker
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import convex_equilibrium, elliptic, stencil
from pnpfusion.units import V_per_cm, per_cm3, um

F64 = torch.float64
SCALES = pf.Scales(
    length=um,
    concentration=junction.DONORS * per_cm3,
    temperature=junction.TEMPERATURE,
    relative_permittivity=junction.PERMITTIVITY,
    diffusivity=1e-4 * junction.ELECTRONS,
)
CELLS, FINE = (128, 256), 2048


class Junction:
    """One problem on so many cells, and what is asked of it, in the units of ``SCALES``."""

    def __init__(self, problem: str, cells: int) -> None:
        edges = torch.from_numpy(junction.edges(cells))
        width = float(edges[-1] - edges[0])
        self.grid = pf.Grid((cells,), (width,), ("wall",), edges=(edges,))
        self.left = (edges[1:] + edges[:-1]) / 2 < 0
        self.bias = junction.BIAS[problem] / SCALES.potential
        self.middle = cells // 2
        doped = -junction.ACCEPTORS / junction.DONORS, 1.0
        below, above = (torch.tensor(value, dtype=F64) for value in doped)
        doping = torch.where(self.left, below, above)
        self.given = doping, torch.tensor(SCALES.permittivity, dtype=F64)

    def at_rest(self, doping: Tensor, permittivity: Tensor) -> tuple[pf.PNP, Tensor]:
        """The junction and its concentrations where nothing changes any more."""
        intrinsic = junction.INTRINSIC / junction.DONORS
        walls = {}
        for name, net, applied in (("x-", doping[0], self.bias), ("x+", doping[-1], 0.0)):
            potential = torch.asinh(net / (2 * intrinsic))
            held = {"hole": (-potential).exp(), "electron": potential.exp()}
            walls[name] = pf.Wall(
                potential=potential + applied,
                concentration={carrier: intrinsic * held[carrier] for carrier in held},
            )
        diffusivity = junction.HOLES / junction.ELECTRONS
        cell = pf.PNP(
            self.grid,
            [pf.Species("hole", +1, diffusivity), pf.Species("electron", -1)],
            permittivity=permittivity,
            fixed_charge=pf.Field(doping),
            walls=walls,
        )
        start = torch.stack([(-self.given[0]).clamp(min=1e-12), self.given[0].clamp(min=1e-12)])
        return cell, pf.equilibrium(cell, start).require_success().final

    def read(self, cell: pf.PNP, c: Tensor) -> Tensor:
        """The field, towards the acceptors, or the current where the doping changes sign."""
        if not self.bias:
            return -cell.field(c)[self.middle]
        holes, electrons = cell.flux(c)[:, self.middle]
        return holes - electrons

    def value(self, doping: Tensor, permittivity: Tensor) -> Tensor:
        """What is asked."""
        return self.read(*self.at_rest(doping, permittivity))

    def with_gradient(self) -> tuple[float, list[float]]:
        """It in V/cm or A/cm², and its derivatives; see `junction.py`."""
        given = [values.clone().requires_grad_() for values in self.given]
        value = self.value(*given)
        by_doping, by_permittivity = torch.autograd.grad(value, given)
        unit = SCALES.to_si("field", 1.0) / V_per_cm
        if self.bias:
            per_cm2 = junction.ELECTRONS * junction.DONORS / 1e-4  # a µm in cm
            unit = junction.ELEMENTARY_CHARGE * per_cm2
        by_charge = unit / junction.DONORS
        relative = SCALES.permittivity / junction.PERMITTIVITY
        return unit * float(value.detach()), [
            -by_charge * float(by_doping[self.left].sum()),
            by_charge * float(by_doping[~self.left].sum()),
            unit * relative * float(by_permittivity),
        ]

    def extra_solves(self) -> int:
        """Linear solves of the gradient beyond those of the run and of what is read from it."""
        solves: list[int] = []

        def counted(owner: Any, name: str) -> Any:
            real = getattr(owner, name)

            def noted(*arguments: Any, **options: Any) -> Any:
                solves.append(1)
                return real(*arguments, **options)

            return patch.object(owner, name, noted)

        with ExitStack() as stack:
            stack.enter_context(patch.object(convex_equilibrium, "knows_rest", lambda *_: False))
            for owner, name in ((elliptic, "_solve_line"), (stencil.Stencil, "_solve")):
                stack.enter_context(counted(owner, name))
            given = [values.clone().requires_grad_() for values in self.given]
            _, c = self.at_rest(*given)
            before = len(solves)
            torch.autograd.grad(c.square().sum(), given)
        return len(solves) - before


def ours(problem: str, cells: int) -> tuple[dict[str, Any], Callable[[], tuple[float, float]]]:
    """What is true of our answer, and what takes one turn: seconds of a run without, with."""
    one = Junction(problem, cells)
    value, gradient = one.with_gradient()
    row = {"derivatives": cells + 1, "value": value, "gradient": gradient}

    def turn() -> tuple[float, float]:
        one.value(*one.given)  # the processor's cache is theirs after their turn
        return seconds(lambda: one.value(*one.given)), seconds(one.with_gradient)

    return row | {"extra_solves": one.extra_solves()}, turn


def measure(problem: str, cells: int, rounds: int, peer: Worker | None) -> list[dict[str, Any]]:
    """A row of ours and, where it is there, of deltapv's."""
    request = {"problem": problem, "options": {"cells": cells}, "repeat": 1}
    row, turn = ours(problem, cells)
    rows, times = [{"program": "pnpfusion", **row}], [[turn()]]
    if peer is not None:
        said = peer.ask(request, 120.0)
        if "failed" in said:
            return [*finished(problem, cells, rows, times), {"program": "deltapv", **said}]
        theirs = {key: said[key] for key in row if key in said}
        rows.append({"program": "deltapv", "version": peer.version, **theirs})
        times.append([])
    times[0].clear()
    for _ in range(rounds):
        times[0].append(turn())
        if peer is not None:
            said = peer.ask(request, 120.0)
            times[1].append((said["seconds"][0], said["with_gradient"][0]))
    return finished(problem, cells, rows, times)


def finished(
    problem: str, cells: int, rows: list[dict[str, Any]], times: list[list[tuple[float, float]]]
) -> list[dict[str, Any]]:
    """Rows with their errors and times."""
    if problem == "rest":
        exact, slopes = junction.exact_field()
    else:
        exact, found = Junction(problem, FINE).with_gradient()
        slopes = np.array(found)
    done = []
    for row, taken in zip(rows, times, strict=True):
        error = abs(row["value"] / exact - 1)
        worst = np.abs(np.array(row.pop("gradient")) / slopes - 1).max()
        extra = {"extra_solves": row.pop("extra_solves", "")}
        done.append(
            {"problem": f"{problem}, {cells} cells", **row}
            | {"value": significant(row["value"], 6)}
            | {"error": significant(error), "gradient_error": significant(worst)}
            | summary([a for a, _ in taken], [b for _, b in taken])
            | extra
        )
    return done


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=count, default=9)
    parser.add_argument("--deltapv-python", metavar="PATH")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)  # where nothing happens cells are coarse
    peer, absent = None, "no --deltapv-python"
    if given.deltapv_python:
        try:
            peer = Worker("benchmarks.peers.deltapv_junction", given.deltapv_python)
        except Absent as why:
            absent = str(why)
    rows = []
    for problem in junction.BIAS:
        for cells in CELLS:
            for row in measure(problem, cells, given.rounds, peer):
                rows.append(row)
                say(row)
    if peer is None:
        rows.append({"program": "deltapv", "absent": absent})
        say(rows[-1])
    else:
        peer.close()
    show(rows)


if __name__ == "__main__":
    main()
