"""Two clouds of opposite charge in an insulated cube: what series in space cost in 3-D.

usage: python -m benchmarks.box_3d [--cells 16 32 64] [--rtol 1e-4 1e-6]

c = .2 + 3 exp(-|r - r_i|² / (2 · .12²)) with mirror images in the walls of [0, 1]³, r_+ = (.35, .4,
.45), r_- = (.65, .6, .55), z = +1 and -1, D = 1, permittivity .02, run to t = .02. The error is the
largest difference at the centres of the cells from a run with rtol 1e-9 on cells a third as wide,
of which every third has a centre in common, divided by the largest concentration.

One JSON line per run, then a table. Seconds are medians of three runs on one thread after one that
warms up; memory is what the process held at most so far. It is compared with none.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count

WIDTH, PLACES = 0.12, ((0.35, 0.40, 0.45), (0.65, 0.60, 0.55))


def problem_3d(cells: int) -> tuple[pf.PNP, Tensor, Tensor]:
    """The law on ``cells``³ cells, the state it starts from, and the times (start and end)."""
    grid = pf.Grid((cells,) * 3, (1.0,) * 3, ("wall",) * 3)
    ions = [pf.Species("cation", +1), pf.Species("anion", -1)]
    law = pf.PNP(grid, ions, permittivity=0.02, scheme="spectral")
    x = grid.coordinates(0)

    def along(centre: float) -> Tensor:
        images = [sign * centre + 2 * m for m in range(-2, 3) for sign in (1, -1)]
        return sum((torch.exp(-((x - at) ** 2) / (2 * WIDTH**2)) for at in images), 0 * x)

    lines = [[along(centre) for centre in place] for place in PLACES]
    clouds = [a[:, None, None] * b[:, None] * c for a, b, c in lines]
    return law, 0.2 + 3 * torch.stack(clouds), torch.tensor([0.0, 0.02], dtype=torch.float64)


def reference_3d(cells: int) -> Tensor:
    """The concentrations at the end, ``(2, cells, cells, cells)``, from cells a third as wide."""
    law, start, times = problem_3d(3 * cells)
    run = pf.simulate(law, start, times, rtol=1e-9).require_success()
    return run.final[:, 1::3, 1::3, 1::3].clone()


def error_3d(final: Tensor, reference: Tensor) -> float:
    """The largest difference over the largest concentration."""
    return float((final - reference).abs().max() / reference.max())


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=count, nargs="+", default=[16, 32, 64])
    parser.add_argument("--rtol", type=float, nargs="+", default=[1e-4, 1e-6])
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for cells in given.cells:
        law, start, times = problem_3d(cells)
        runs = []
        for rtol in given.rtol:
            seconds = []
            for turn in range(4):
                begin = time.perf_counter()
                run = pf.simulate(law, start, times, rtol=rtol).require_success()
                seconds += [time.perf_counter() - begin] if turn else []
            runs.append((rtol, run, seconds))
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        reference = reference_3d(cells)
        for rtol, run, seconds in runs:
            row = {
                "cells": cells,
                "rtol": rtol,
                "error": float(f"{error_3d(run.final, reference):.2g}"),
                "steps": int(run.work.steps),
                "mass_error": float(f"{float(run.ledger.mass_error.max()):.1e}"),
                "seconds": float(f"{statistics.median(seconds):.3g}"),
                "megabytes": round(held),
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    print(f"\n{'cells':>6}{'rtol':>9}{'error':>9}{'steps':>7}{'seconds':>9}{'megabytes':>11}")
    for row in rows:
        print(
            f"{row['cells']:>5}³{row['rtol']:>9.0e}{row['error']:>9.1e}{row['steps']:>7}"
            f"{row['seconds']:>9.2g}{row['megabytes']:>11}"
        )


if __name__ == "__main__":
    main()
