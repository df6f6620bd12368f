"""Which stepper earns an error at the least work: the blocking cell of the README, in time only.

usage: python benchmarks/work_precision.py

One JSON line per run, then a table. The error is that of the time steps alone: the largest
difference from the same cell followed with rtol 1e-10, divided by the largest concentration. Work
is counted in Newton iterations, which do not depend on the machine; seconds are medians of five
runs on one thread.
"""

from __future__ import annotations

import json
import statistics
import time

import torch

import pnpfusion as pf
from pnpfusion.solvers import TRBDF2, BackwardEuler, KenCarp4

STEPPERS = {
    "BackwardEuler": (BackwardEuler, (1e-2, 1e-3, 1e-4)),
    "TRBDF2": (TRBDF2, (1e-3, 1e-4, 1e-5, 1e-6)),
    "KenCarp4": (KenCarp4, (1e-3, 1e-4, 1e-5, 1e-6)),
}


def main() -> None:
    """Run everything and print it."""
    torch.set_num_threads(1)
    cell = pf.PNP(
        pf.Grid((256,), (2.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * 0.05**2,
        walls={"x-": pf.Wall(potential=2.0), "x+": pf.Wall(potential=-2.0)},
    )
    c0 = torch.ones(2, 256, dtype=torch.float64)
    times = torch.tensor([0.0, 0.5], dtype=torch.float64)
    exact = pf.simulate(cell, c0, times, stepper=KenCarp4(rtol=1e-10)).final
    rows = []
    for name, (stepper, tolerances) in STEPPERS.items():
        for rtol in tolerances:
            seconds = []
            for _ in range(5):
                begin = time.perf_counter()
                run = pf.simulate(cell, c0, times, stepper=stepper(rtol=rtol))
                seconds.append(time.perf_counter() - begin)
            row = {
                "stepper": name,
                "rtol": rtol,
                "error": float(f"{float((run.final - exact).abs().max() / exact.max()):.2g}"),
                "steps": int(run.work.steps),
                "iterations": int(run.work.iterations),
                "seconds": float(f"{statistics.median(seconds):.2g}"),
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    print(f"\n{'stepper':<14}{'rtol':>8}{'error':>10}{'steps':>7}{'iterations':>12}{'seconds':>9}")
    for row in rows:
        print(
            f"{row['stepper']:<14}{row['rtol']:>8.0e}{row['error']:>10.1e}{row['steps']:>7}"
            f"{row['iterations']:>12}{row['seconds']:>9.2f}"
        )


if __name__ == "__main__":
    main()
