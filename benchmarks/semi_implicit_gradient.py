"""What the gradient of semi-implicit runs costs, in boxes and on one axis, as steps become more.

usage: python -m benchmarks.semi_implicit_gradient [--rounds 7] [--square 64] [--cube 16]

P2 in a square and P4 in a cube (finite volumes), to a quarter of their end, and blocking cells of
256 with the voltages of P3, in one sample and in 64. The gradient is that of the sum of squares at
the end by the start, the permittivity and, of blocking cells, the voltage; every run has a law made
for it. Each row is measured in a process of its own.

One JSON line per row, then a table: milliseconds of the processor on one thread of a run alone and
of one with its gradient, by turns (least of all rounds), the ratio of the least and that of the
medians, and by how many MB the largest resident memory grew in the runs with gradient.
"""

from __future__ import annotations

import statistics
import warnings
from typing import Any

import torch

from benchmarks import count
from benchmarks.clock import in_turns
from benchmarks.memory import alone, resident
from benchmarks.script import options, say, show, significant
from benchmarks.suite.cost import JOBS, Job, blocking
from pnpfusion.dynamics.resolution import ResolutionWarning
from pnpfusion.solvers import AsymptoticPreserving

STEPS = (5, 20, 100)
SAMPLES = (1, 64)


def made(problem: str, size: int, steps: int) -> Job:
    """A run of so many steps; the size of a cell is its batch."""
    job = blocking(256, size) if problem == "cell" else JOBS[f"{problem}, volumes"](size)
    job.stepper = AsymptoticPreserving(dt=float(job.times[-1]) / steps)
    return job


def row(problem: str, size: int, steps: int, rounds: int) -> dict[str, Any]:
    """One line of the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", ResolutionWarning)  # coarse cells are measured too
    made(problem, 1 if problem == "cell" else 8, 2).gradient()  # what the first call loads
    job = made(problem, size, steps)
    job.anew()
    before = resident()
    times = in_turns({"run": job.anew, "both": job.gradient}, rounds)
    grown = resident() - before
    found = {
        "run_ms": 1e3 * min(times["run"]),
        "with_gradient_ms": 1e3 * min(times["both"]),
        "smallest_ratio": min(times["both"]) / min(times["run"]),
        "ratio": statistics.median(times["both"]) / statistics.median(times["run"]),
        "peak_MB": grown / 1e6,
    }
    rounded = {name: significant(value) for name, value in found.items()}
    return {"problem": problem, "size": size, "steps": steps, **rounded}


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--square", type=count, default=64, help="cells along a side")
    parser.add_argument("--cube", type=count, default=16, help="cells along a side")
    given = parser.parse_args()
    sizes = [("square", given.square), ("cube", given.cube)]
    sizes += [("cell", samples) for samples in SAMPLES]
    rows = []
    for problem, size in sizes:
        for steps in STEPS:
            rows.append(alone(row, problem, size, steps, given.rounds))
            say(rows[-1])
    show(rows)


if __name__ == "__main__":
    main()
