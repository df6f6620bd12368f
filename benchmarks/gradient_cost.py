"""What a gradient costs beside its run: time and memory, of runs and of equilibria.

usage: python -m benchmarks.gradient_cost [--rounds 15] [--pybamm-python PATH]

P1 is a blocking cell with two ions, P3 is 64 of them with Debye lengths and voltages of their own
(peers/problems.py). The gradient is that of the final state by everything at once: permittivity,
voltage, both diffusivities and valences, fixed charge and the state at the start. Each is measured
in two cases, by turns:

- remembered: a cell that has run before with the values it has now, so that nothing is built;
- rebuilt: a cell made anew with values that have moved, as after a step of an optimiser.

A ratio is the run with its gradient over the run alone, both of one case and one round: median,
smallest and largest; "over remembered run" is over the run alone of a remembered cell in both
cases, median. Times are those that the processor worked, on one thread.

Memory is what the largest resident memory of a process of its own grows by, in MB, over one run
with its gradient, for P1 by TRBDF2 at tolerances that take more and more steps.

With --pybamm-python, an interpreter that can import pybamm, its forward sensitivities to two inputs
(eps2 and V) are timed on the same problems, and their ratio to its own run. One JSON line per row,
then a table.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import subprocess
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import ONE_THREAD, ROOT, count
from benchmarks.clock import in_turns
from benchmarks.memory import alone, resident
from benchmarks.script import options, rows_in, say, show, significant
from pnpfusion.dynamics.pnp_arguments import Scheme
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import TRBDF2, AsymptoticPreserving, KenCarp4, Stepper

END = torch.tensor([0.0, 0.5], dtype=torch.float64)

Inputs = dict[str, Tensor]
Make = Callable[[Inputs], pf.PNP]
Follow = Callable[[pf.PNP, Inputs], Tensor]
Problem = tuple[Inputs, Make, Follow]


def blocking(
    problem: str, cells: int, grading: float, scheme: Scheme, stepper: Stepper | None
) -> Problem:
    """Inputs, a cell of them, and its final states; at rest without a ``stepper``."""
    batch = (64,) if problem == "P3" else ()
    debye = torch.linspace(0.05, 0.1, 64).double() if batch else torch.tensor(0.05).double()
    voltage = torch.linspace(0.5, 3.0, 64).double() if batch else torch.tensor(2.0).double()
    if batch:
        order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
        voltage = voltage[order]
    edges = torch.linspace(-1, 1, cells + 1, dtype=torch.float64)
    if grading:
        edges = torch.tanh(grading * edges) / math.tanh(grading)
    grid = pf.Grid((cells,), (2.0,), ("wall",), edges=(edges,))
    inputs = {
        "permittivity": 2 * debye**2,
        "voltage": voltage,
        "diffusivity": torch.ones(2, dtype=torch.float64),
        "valence": torch.tensor([1.0, -1.0], dtype=torch.float64),
        "fixed charge": torch.zeros(cells, dtype=torch.float64),
        "start": torch.ones(*batch, 2, cells, dtype=torch.float64),
    }

    def make(given: Inputs) -> pf.PNP:
        names, (z, d) = ("cation", "anion"), (given["valence"], given["diffusivity"])
        return pf.PNP(
            grid,
            [pf.Species(name, z[i], d[i]) for i, name in enumerate(names)],
            permittivity=given["permittivity"],
            fixed_charge=pf.Field(given["fixed charge"]),
            walls={
                "x-": pf.Wall(potential=-given["voltage"]),
                "x+": pf.Wall(potential=given["voltage"]),
            },
            scheme=scheme,
        )

    def follow(cell: pf.PNP, given: Inputs) -> Tensor:
        if stepper is None:
            return pf.equilibrium(cell, given["start"]).final
        return pf.simulate(cell, given["start"], END, stepper=stepper).final

    return inputs, make, follow


def problems() -> dict[str, Problem]:
    """A new problem is one more entry here."""
    exact: Scheme = "scharfetter-gummel"
    return {
        "P1, 256 equal cells": blocking("P1", 256, 0, "central", KenCarp4(1e-4)),
        "P1, 256 equal cells, Scharfetter-Gummel": blocking("P1", 256, 0, exact, KenCarp4(1e-4)),
        "P1, 48 graded cells": blocking("P1", 48, 1.5, "central", KenCarp4(3e-3)),
        "P3, 128 equal cells": blocking("P3", 128, 0, "central", KenCarp4(1e-3)),
        "P3, 48 graded cells": blocking("P3", 48, 1.5, "central", KenCarp4(3e-3)),
        "P3, semi-implicit": blocking("P3", 128, 0, exact, AsymptoticPreserving(dt=0.01)),
        "P1 at rest": blocking("P1", 256, 0, exact, None),
        "P3 at rest": blocking("P3", 128, 0, exact, None),
    }


def followed(inputs: Inputs) -> Inputs:
    """The same with a gradient in each."""
    return {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}


def gradient(cell: pf.PNP, leaves: Inputs, follow: Follow) -> None:
    """The run and its gradient."""
    loss = follow(cell, leaves).square().sum()
    torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)


def measure(name: str, problem: Problem, rounds: int) -> list[dict[str, Any]]:
    """A row for each case."""
    inputs, make, follow = problem
    plain, leaves, moving = make(inputs), followed(inputs), followed(inputs)
    asked = make(leaves)

    def moved() -> None:
        with torch.no_grad():
            for one in moving.values():
                one.mul_(1 + 1e-9)
        gradient(make(moving), moving, follow)

    ways: dict[str, Callable[[], Any]] = {
        "remembered run": lambda: follow(plain, inputs),
        "remembered gradient": lambda: gradient(asked, leaves, follow),
        "rebuilt run": lambda: follow(make(inputs), inputs),
        "rebuilt gradient": moved,
    }
    times = in_turns(ways, rounds, warm=2)  # a cell is remembered after two runs
    rows = []
    for case in ("remembered", "rebuilt"):
        forward, both = times[f"{case} run"], times[f"{case} gradient"]
        pairs = zip(both, times["remembered run"], strict=True)
        rows.append(
            {
                "problem": name,
                "program": "pnpfusion",
                "cell": case,
                "derivatives": sum(value.numel() for value in inputs.values()),
                **summary(forward, both),
                "over_remembered_run": significant(statistics.median(a / b for a, b in pairs)),
            }
        )
    return rows


def summary(forward: list[float], with_gradient: list[float]) -> dict[str, Any]:
    """Medians and smallest times in ms, and ratios."""
    ratios = [a / b for a, b in zip(with_gradient, forward, strict=True)]
    figures = {
        "forward_ms": 1e3 * statistics.median(forward),
        "with_gradient_ms": 1e3 * statistics.median(with_gradient),
        "smallest_ratio": min(with_gradient) / min(forward),
        "ratio": statistics.median(ratios),
    }
    rounded = {key: significant(value) for key, value in figures.items()}
    return {**rounded, "ratio_range": [significant(of(ratios)) for of in (min, max)]}


def memory(rtol: float) -> dict[str, Any]:
    """Steps of P1 at a tolerance, and what the run and its gradient need."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)
    first, make, follow = blocking("P1", 256, 0, "central", TRBDF2(1e-2))
    leaves = followed(first)
    gradient(make(leaves), leaves, follow)  # what the first call loads
    inputs, make, follow = blocking("P1", 256, 0, "central", TRBDF2(rtol))
    leaves = followed(inputs)
    gc.collect()
    before = resident()
    gradient(make(leaves), leaves, follow)
    grown = resident() - before
    cell = pf.PNP(
        pf.Grid((256,), (2.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=0.005,
        walls={"x-": pf.Wall(potential=-2.0), "x+": pf.Wall(potential=2.0)},
        scheme="central",
    )
    found = pf.simulate(cell, inputs["start"], END, stepper=TRBDF2(rtol)).work
    return {"rtol": rtol, "steps": int(found.steps), "peak_MB": significant(grown / 1e6)}


def pybamm_rows(python: str | None, rounds: int) -> list[dict[str, Any]]:
    """Those of PyBaMM, where it can be imported."""
    if python is None:
        return [{"problem": "P1, P3", "program": "pybamm", "absent": "no --pybamm-python"}]
    environment = {**os.environ, **ONE_THREAD, "PYBAMM_DISABLE_TELEMETRY": "true"}
    command = [python, "-m", "benchmarks.pybamm_sensitivities", "--rounds", str(rounds)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return [{"problem": "P1, P3", "program": "pybamm", "absent": done.stderr[-300:]}]
    return [
        {
            "problem": row["problem"],
            "program": row["program"],
            "cell": "its own",
            "derivatives": 2,
            **summary(row["forward"], row["with_gradient"]),
        }
        for row in rows_in(done.stdout)
    ]


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=count, default=15)
    parser.add_argument("--pybamm-python", metavar="PATH")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)  # P3's equal cells are coarse on purpose
    rows = []
    for name, problem in problems().items():
        for row in measure(name, problem, given.rounds):
            rows.append(row)
            say(row)
    for row in pybamm_rows(given.pybamm_python, max(3, given.rounds // 3)):
        rows.append(row)
        say(row)
    peaks = []
    for rtol in (1e-5, 1e-7, 1e-9, 1e-10):
        peaks.append(alone(memory, rtol))
        say(peaks[-1])
    show(rows)
    show(peaks)


if __name__ == "__main__":
    main()
