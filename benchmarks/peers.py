"""What a given error costs, beside other programs: blocking cells, and two blobs in a square.

usage: python benchmarks/peers.py --references FOLDER [--rounds 5] [--peer "COMMAND"]...

P1 is a cell on [-1, 1] with c = 1 at the start, two ions with z = +1 and -1 and D = 1, a Debye
length of .05, potentials of -2 and +2 at its blocking walls, run to t = .5. P3 is 64 such cells at
once, with Debye lengths from .05 to .1 and potentials from .5 to 3. The error is the largest
difference from a reference at the cells' centres over the largest concentration there (P3: the
worst cell's). FOLDER, or the environment variable PNPFUSION_REFERENCES, holds the references:
reference_p1.npz with Chebyshev points x (n,) and c (2, n), and reference_p3.npz with c (64, 2, n).
P2 is a unit square whose walls insulate and block, with permittivity .005 and two Gaussian charges
of width .08, run to t = .02; its reference_p2.npz holds c (2, 128, 128) at the centres of cells.

One JSON line per setting, then a table. Each round times every setting once, after a run that warms
up; each COMMAND takes its turn in the round, in a process of its own. It must print, in its last
line, JSON with "peer", "problem", "seconds" and "error"; a setting's ratio is its seconds over
those of the first peer that solves the same problem, in the same round: median, smallest, largest.
One thread throughout.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pnpfusion as pf
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import ETDRK4, KenCarp4, Stepper

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
END = torch.tensor([0.0, 0.5], dtype=torch.float64)


@dataclass(frozen=True)
class Setting:
    """One way to solve one problem."""

    problem: str
    name: str
    target: float  #: the error that it is meant to reach
    solve: Callable[[], tuple[pf.Solution, Tensor]]  #: the run, and where its cells' centres are
    error: Callable[[Path, Tensor, Tensor], float]  #: of states at centres, by the references


def blocking_cells(
    problem: str, cells: int, scheme: str, grading: float, rtol: float
) -> Callable[[], tuple[pf.Solution, Tensor]]:
    """A solver of P1 or P3; ``grading`` g puts edges at tanh(g s) / tanh(g), 0 is equal cells."""
    debye, voltage = torch.tensor(0.05).double(), torch.tensor(2.0).double()
    if problem == "P3":
        debye = torch.linspace(0.05, 0.1, 64, dtype=torch.float64)
        order = np.random.default_rng(0).permutation(64)
        voltage = torch.linspace(0.5, 3.0, 64, dtype=torch.float64)[order]
    edges = torch.linspace(-1, 1, cells + 1, dtype=torch.float64)
    if grading:
        edges = torch.tanh(grading * edges) / math.tanh(grading)
    grid = pf.Grid((cells,), (2.0,), ("wall",), edges=(edges,))
    cell = pf.PNP(
        grid,
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * debye**2,
        walls={"x-": pf.Wall(potential=-voltage), "x+": pf.Wall(potential=voltage)},
        scheme=scheme,  # type: ignore[arg-type]
    )
    start = torch.ones(*debye.shape, 2, cells, dtype=torch.float64)

    def solve() -> tuple[pf.Solution, Tensor]:
        run = pf.simulate(cell, start, END, stepper=KenCarp4(rtol=rtol))
        return run.require_success(), grid.coordinates(0)

    return solve


def error_at_points(name: str) -> Callable[[Path, Tensor, Tensor], float]:
    """The error of states ``(*batch, 2, N)`` against a reference at Chebyshev points."""

    def error(references: Path, x: Tensor, c: Tensor) -> float:
        with np.load(references / f"reference_{name}.npz") as stored:
            exact = interpolate(stored["x"], stored["c"], x.numpy())
        off = np.abs(c.numpy() - exact).max((-2, -1)) / np.abs(exact).max((-2, -1))
        return float(np.max(off))

    return error


def interpolate(nodes: Any, values: Any, x: Any) -> Any:
    """``values`` ``(..., n)`` at Chebyshev points, brought to ``x`` ``(N,)`` (barycentric)."""
    weights = (-1.0) ** np.arange(len(nodes))
    weights[[0, -1]] *= 0.5
    distance = x[:, None] - nodes
    hit = np.abs(distance) < 1e-14
    share = weights / np.where(hit, 1.0, distance)
    share = np.where(hit.any(1, keepdims=True), hit, share)
    return values @ (share / share.sum(1, keepdims=True)).T


def blocking(
    problem: str, target: float, cells: int, scheme: str, grading: float, rtol: float
) -> Setting:
    """The setting of :func:`blocking_cells`."""
    name = f"{scheme}, {cells} " + (f"tanh({grading:g})" if grading else "equal")
    solve = blocking_cells(problem, cells, scheme, grading, rtol)
    return Setting(problem, name, target, solve, error_at_points(problem.lower()))


def charging_at_chebyshev_points(points: int, rtol: float) -> Setting:
    """P1 by polynomials."""
    grid = pf.ChebyshevGrid((points,), (2.0,))
    cell = pf.PNP(
        grid,
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * 0.05**2,
        walls={"x-": pf.Wall(potential=-2.0), "x+": pf.Wall(potential=2.0)},
        scheme="spectral",
    )
    start = torch.ones(2, points, dtype=torch.float64)

    def solve() -> tuple[pf.Solution, Tensor]:
        run = pf.simulate(cell, start, END, stepper=KenCarp4(rtol=rtol))
        return run.require_success(), grid.coordinates(0) - 1

    return Setting("P1", f"spectral, {points} Chebyshev", 1e-4, solve, error_at_points("p1"))


def blobs(stepper: Stepper | None, name: str, rtol: float | None = None) -> Setting:
    """P2: two Gaussian charges, with their mirror images, in an insulated square, by series."""
    n, width = 128, 0.08
    grid = pf.Grid((n, n), (1.0, 1.0), ("wall", "wall"))
    ions = [pf.Species("cation", +1), pf.Species("anion", -1)]
    cell = pf.PNP(grid, ions, permittivity=0.005, scheme="spectral")

    def along(centre: float) -> Tensor:
        images = [sign * centre + 2 * m for m in range(-3, 4) for sign in (1, -1)]
        x = grid.coordinates(0)
        return sum((torch.exp(-((x - at) ** 2) / (2 * width**2)) for at in images), 0 * x)

    start = torch.stack(
        [0.2 + 5 * along(x)[:, None] * along(y) for x, y in ((0.35, 0.40), (0.65, 0.60))]
    )
    end = torch.tensor([0.0, 0.02], dtype=torch.float64)

    def solve() -> tuple[pf.Solution, Tensor]:
        run = pf.simulate(cell, start, end, stepper=stepper, rtol=rtol)
        return run.require_success(), grid.coordinates(0)

    def error(references: Path, x: Tensor, c: Tensor) -> float:
        with np.load(references / "reference_p2.npz") as stored:
            exact = stored["c"]
        return float(np.abs(c.numpy() - exact).max() / np.abs(exact).max())

    return Setting("P2", f"spectral, {name}", 1e-5, solve, error)


#: A new problem is more entries here, with a solver and an error of its own.
SETTINGS = [
    blocking("P1", 3.3e-3, 256, "central", 0, 1e-4),
    blocking("P1", 3.3e-3, 64, "central", 1.5, 1e-3),
    blocking("P1", 1e-3, 128, "central", 1.5, 1e-3),
    blocking("P1", 1e-4, 128, "scharfetter-gummel", 3, 2e-4),
    charging_at_chebyshev_points(65, 1e-6),
    blobs(ETDRK4(dt=1e-3), "20 steps of ETDRK4"),
    blobs(None, "rtol 1e-4", 1e-4),
    blobs(None, "rtol 3e-5", 3e-5),
    blocking("P3", 1.25e-2, 128, "central", 0, 1e-3),
    blocking("P3", 1.25e-2, 48, "central", 1.5, 3e-3),
    blocking("P3", 1e-3, 80, "scharfetter-gummel", 2.5, 1e-3),
]


def timed(setting: Setting) -> tuple[float, pf.Solution, Tensor]:
    """Seconds of one run after another, and what it came to."""
    setting.solve()
    begin = time.perf_counter()
    run, x = setting.solve()
    return time.perf_counter() - begin, run, x


def peer_line(command: str) -> dict[str, Any]:
    """What ``command`` says in its last line."""
    words = shlex.split(command)
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"`{command}` ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    line: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return line


def measure(references: Path, rounds: int, peers: list[str]) -> list[dict[str, Any]]:
    """One row per setting."""
    seconds: list[list[float]] = [[] for _ in SETTINGS]
    facts: list[dict[str, Any]] = [{} for _ in SETTINGS]
    others: list[list[dict[str, Any]]] = [[] for _ in peers]
    for turn in range(rounds):
        works = [*enumerate(SETTINGS), *enumerate(peers)]
        for i, work in works if turn % 2 == 0 else works[::-1]:
            if isinstance(work, str):
                others[i].append(peer_line(work))
                continue
            taken, run, x = timed(work)
            seconds[i].append(taken)
            facts[i] = {
                "error": float(f"{work.error(references, x, run.final):.3g}"),
                "iterations": int(run.work.iterations.sum()),
                "mass_error": float(f"{float(run.ledger.mass_error.max()):.1e}"),
                "min_c": float(f"{float(run.ledger.min_concentration.min()):.4g}"),
            }
    rows = []
    for setting, own, known in zip(SETTINGS, seconds, facts, strict=True):
        row = {"problem": setting.problem, "setting": setting.name, "target": setting.target}
        row |= {**known, "seconds": float(f"{statistics.median(own):.3g}")}
        peer = next((o for o in others if o[0]["problem"] == setting.problem), None)
        if peer is not None:
            ratios = [a / b["seconds"] for a, b in zip(own, peer, strict=True)]
            low, middle, high = (float(f"{f(ratios):.2g}") for f in (min, statistics.median, max))
            row |= {"peer": peer[0]["peer"], "peer_error": peer[0]["error"]}
            row |= {"ratio": middle, "ratio_range": [low, high]}
        rows.append(row)
    return rows


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--references", default=os.environ.get("PNPFUSION_REFERENCES"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", action="append", default=[], metavar="COMMAND")
    given = parser.parse_args()
    missing = given.references is None or not Path(given.references, "reference_p1.npz").exists()
    if missing:
        print(
            f"no references in {given.references!r}: give the folder that holds reference_p1.npz "
            f"and reference_p3.npz by --references or the variable PNPFUSION_REFERENCES."
        )
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)  # P3's equal cells are coarse on purpose
    rows = measure(Path(given.references), given.rounds, given.peer)
    for row in rows:
        print(json.dumps(row), flush=True)
    print(f"\n{'problem':<9}{'setting':<34}{'target':>9}{'error':>9}{'seconds':>9}  ratio (range)")
    for row in rows:
        ratio = f"{row['ratio']:g} {tuple(row['ratio_range'])}" if "ratio" in row else "-"
        print(
            f"{row['problem']:<9}{row['setting']:<34}{row['target']:>9.1e}{row['error']:>9.1e}"
            f"{row['seconds']:>9.2g}  {ratio}"
        )


if __name__ == "__main__":
    main()
