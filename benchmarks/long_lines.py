"""What a long line costs: time per cell and iteration, what goes through memory, and a plain copy.

usage: python -m benchmarks.long_lines [--cells 1024 4096 16384 100000] [--rounds 5]
           [--scheme central]

Runs a cell between blocking electrodes to t = .5 with the default stepper (rtol 1e-3), and between
runs negates an array that no cache holds into another. Prints one JSON line per size, then a table:
iterations of Newton's method, nanoseconds per cell and iteration (processor time, smallest of all
rounds), bytes per cell and iteration that pass between a line and memory where no cache holds it,
counted as in `traffic`, and what they take at the speed of the array; then exponents of time, of
iterations, and of time per iteration over cells. One thread. Central faces take no exponentials, so
what they save beside the default is what these cost; lines of more than 32768 cells need them
twice.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch

import pnpfusion as pf
from benchmarks import count
from benchmarks.clock import seconds
from benchmarks.script import options, say, show
from benchmarks.suite.cost import blocking
from benchmarks.suite.curves import exponent
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import KenCarp4

SPECIES, NUMBER = 2, 8
COPIED = 12_000_000


def traffic(steps: int, iterations: int) -> float:
    """Bytes per cell and iteration; what is written is fetched before, unless it was just read.

    Of records of S species and the potential, m = S + 1 numbers a cell, an iteration reads the
    state and the S rows of the right side twice, writes the state, and reads the S weights. A step
    reads and writes them as `lanes/esdirk.py` says, and two potentials are found at its beginning.
    """
    tableau, record = KenCarp4.tableau, NUMBER * (SPECIES + 1)
    iteration = 3 * record + 3 * NUMBER * SPECIES
    step = 3 + 3 + 4 + 6  # first stage, weights, last slope, what an accepted step leaves
    for row, weights in enumerate(tableau.rows):
        step += 6 if row == 0 else 8  # state, base, guess; the stage before and its slope
        step += int(np.count_nonzero(weights[:row]))
    step += int(np.count_nonzero(tableau.error)) + 2
    potentials = 2 * (record + 13 * NUMBER)  # charge, load, walls, and the potential, twice
    return iteration + steps * (step * record + potentials) / iterations


def measure(sizes: list[int], rounds: int, scheme: str) -> list[dict[str, float]]:
    """One row for each size."""
    jobs = [blocking(cells, 1) for cells in sizes]
    for job in jobs:
        job.scheme = scheme
        job.law = job.make(job.permittivity, job.voltage)
    works = [job.forward().work for job in jobs]
    best, copy = [math.inf] * len(jobs), math.inf
    source = np.random.default_rng(0).random(COPIED)
    goal = np.empty_like(source)
    np.negative(source, out=goal)
    for _ in range(rounds):
        for k, (job, cells) in enumerate(zip(jobs, sizes, strict=True)):
            for _ in range(max(1, 20_000 // cells)):
                best[k] = min(best[k], seconds(job.forward))
        copy = min(copy, seconds(lambda: np.negative(source, out=goal)))
    speed = 3 * source.nbytes / copy  # fetched, fetched to be written, written
    rows = []
    for cells, work, taken in zip(sizes, works, best, strict=True):
        iterations = int(work.iterations.sum())
        moved = traffic(int((work.steps + work.rejected).sum()), iterations)
        rows.append(
            {
                "cells": cells,
                "iterations": iterations,
                "seconds": taken,
                "ns": 1e9 * taken / iterations / cells,
                "bytes": moved,
                "copy_gb_per_s": speed / 1e9,
                "moving_ns": 1e9 * moved / speed,
            }
        )
    return rows


def main() -> None:
    """Print the costs."""
    parser = options(__doc__)
    parser.add_argument("--cells", type=count, nargs="+", default=[1024, 4096, 16384, 100_000])
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument(
        "--scheme", choices=("scharfetter-gummel", "central"), default="scharfetter-gummel"
    )
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)
    rows = measure(chosen.cells, chosen.rounds, chosen.scheme)
    for row in rows:
        say(row)
    print(f"pnpfusion {pf.__version__}; a copy moves {rows[0]['copy_gb_per_s']:.1f} GB/s")
    show(rows, ("cells", "iterations", "ns", "bytes", "moving_ns"))
    for what in ("seconds", "iterations", "ns"):
        found = exponent([(row["cells"], row[what]) for row in rows])
        print(f"exponent of {what}: {'too few sizes' if found is None else f'{found:.2f}'}")


if __name__ == "__main__":
    main()
