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

import statistics
import time
from dataclasses import replace

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count
from benchmarks.memory import resident
from benchmarks.peers.problems import P4
from benchmarks.script import options, say, show, significant
from benchmarks.suite.ours import unit_box

CLOUDS = replace(P4, permittivity=0.02, height=3.0, width=0.12)


def problem_3d(cells: int) -> tuple[pf.PNP, Tensor, Tensor]:
    """The law on ``cells``³ cells, the state it starts from, and the times (start and end)."""
    ions = [pf.Species("cation", +1), pf.Species("anion", -1)]
    law = pf.PNP(unit_box(cells, 3), ions, permittivity=CLOUDS.permittivity, scheme="spectral")
    times = torch.tensor([0.0, CLOUDS.end], dtype=torch.float64)
    return law, torch.from_numpy(CLOUDS.start_on(cells)), times


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
    parser = options(__doc__)
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
        held = resident() / 2**20
        reference = reference_3d(cells)
        for rtol, run, seconds in runs:
            row = {
                "cells": cells,
                "rtol": rtol,
                "error": significant(error_3d(run.final, reference)),
                "steps": int(run.work.steps),
                "mass_error": significant(float(run.ledger.mass_error.max())),
                "seconds": significant(statistics.median(seconds)),
                "megabytes": round(held),
            }
            say(row)
            rows.append(row)
    show(rows)


if __name__ == "__main__":
    main()
