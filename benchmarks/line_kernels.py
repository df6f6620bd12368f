"""What an iteration of Newton's method costs in a compiled run: lanes against cell after cell.

usage: python -m benchmarks.line_kernels [--cells 48 256 1024] [--rounds 20]

Runs a cell between blocking electrodes with both kernels in turn, asserts that they take the same
steps to the same state, and prints one JSON line per size, then a table: nanoseconds per cell and
iteration, smallest of all rounds, everything included that a run does in compiled code. One thread.
"""

from __future__ import annotations

import time

import torch

import pnpfusion as pf
from benchmarks import count
from benchmarks.script import options, say, show
from pnpfusion.dynamics.pnp_arguments import Scheme
from pnpfusion.solvers.compiled import run as compiled_run


def measure(cells: int, rounds: int, scheme: Scheme) -> dict[str, float | str]:
    """Nanoseconds per cell and iteration of both kernels."""
    cell = pf.PNP(
        pf.Grid((cells,), (2.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * 0.05**2,
        walls={"x-": pf.Wall(potential=-2.0), "x+": pf.Wall(potential=2.0)},
        scheme=scheme,
    )
    c0 = torch.ones(2, cells, dtype=torch.float64)
    times = torch.tensor([0, 0.5], dtype=torch.float64)
    most, move = compiled_run.MOST_SPECIES, compiled_run.CompiledRun._move
    spent = [0.0]

    def timed(*arguments: object) -> object:
        start = time.perf_counter()
        waits = move(*arguments)  # type: ignore[arg-type]
        spent[0] += time.perf_counter() - start
        return waits

    best = {"lanes": float("inf"), "one": float("inf")}
    finals = {}
    compiled_run.CompiledRun._move = timed  # type: ignore[method-assign, assignment]
    try:
        for _ in range(rounds + 1):
            for name in best:
                compiled_run.MOST_SPECIES = most if name == "lanes" else 0
                spent[0] = 0.0
                run = pf.simulate(cell, c0, times, rtol=1e-3)
                iterations = int(run.work.iterations)
                best[name] = min(best[name], spent[0] / iterations / cells * 1e9)
                finals[name] = run.final
    finally:
        compiled_run.CompiledRun._move = move  # type: ignore[method-assign]
        compiled_run.MOST_SPECIES = most
    torch.testing.assert_close(finals["lanes"], finals["one"], rtol=1e-9, atol=1e-9)
    ratio = best["one"] / best["lanes"]
    return {"scheme": scheme, "cells": cells, "iterations": iterations, **best, "ratio": ratio}


def main() -> None:
    """Print the costs."""
    parser = options(__doc__)
    parser.add_argument("--cells", type=count, nargs="+", default=[48, 256, 1024])
    parser.add_argument("--rounds", type=count, default=20)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for scheme in ("central", "scharfetter-gummel"):
        for cells in chosen.cells:
            rows.append(measure(cells, chosen.rounds, scheme))
            say(rows[-1])
    show(rows)


if __name__ == "__main__":
    main()
