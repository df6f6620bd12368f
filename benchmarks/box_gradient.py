"""What the gradient of runs in series costs in a square and in a cube, against the run alone.

usage: python -m benchmarks.box_gradient [--square 128] [--cube 32] [--rounds 5] [--checkpoints 6]

Two clouds of opposite charge (the case of `box_3d.py`, in the plane its first two coordinates), run
to t = .02 by ETDRK4 with rtol 1e-4 and with 32 equal steps. The gradient is that of the sum of
squares at the end by the start, the permittivity and the diffusivity of the cation, the run
included; once as it is and once with `checkpoints`.

One JSON line per case, then a table: seconds of the processor on one thread (least of all rounds,
which take turns), and how many times as long runs with gradient take.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count
from pnpfusion.solvers import ETDRK4

F64 = torch.float64
PLACES, WIDTH, END, STEPS = ((0.35, 0.40, 0.45), (0.65, 0.60, 0.55)), 0.12, 0.02, 32


def clouds(axes: int, cells: int) -> tuple[pf.Grid, Tensor]:
    """The box and what it starts from, ``(2, cells, ...)``."""
    grid = pf.Grid((cells,) * axes, (1.0,) * axes, ("wall",) * axes)
    x = grid.coordinates(0)
    found = []
    for place in PLACES:
        cloud = torch.ones((), dtype=F64)
        for centre in place[:axes]:
            images = [sign * centre + 2 * m for m in range(-2, 3) for sign in (1, -1)]
            line = sum((torch.exp(-((x - at) ** 2) / (2 * WIDTH**2)) for at in images), 0 * x)
            cloud = cloud.unsqueeze(-1) * line
        found.append(cloud)
    return grid, 0.2 + 3 * torch.stack(found)


def run(grid: pf.Grid, start: Tensor, epsilon: Tensor, diffusivity: Tensor, **how: Any) -> Tensor:
    """The sum of squares at the end."""
    ions = [pf.Species("cation", +1, diffusivity), pf.Species("anion", -1)]
    law = pf.PNP(grid, ions, permittivity=epsilon, scheme="spectral")
    times = torch.tensor([0.0, END], dtype=F64)
    found = pf.simulate(law, start, times, **how).require_success()
    return found.final.square().sum()


def works(axes: int, cells: int, checkpoints: int, adaptive: bool) -> dict[str, Callable[[], Any]]:
    """The run, with its gradient, and with `checkpoints`."""
    grid, start = clouds(axes, cells)
    numbers = [torch.tensor(value, dtype=F64) for value in (0.02, 1.0)]
    how: dict[str, Any] = {"rtol": 1e-4} if adaptive else {"stepper": ETDRK4(dt=END / STEPS)}

    def gradient(**more: Any) -> tuple[Tensor, ...]:
        given = [values.clone().requires_grad_() for values in (start, *numbers)]
        return torch.autograd.grad(run(grid, *given, **how, **more), given)

    return {
        "forward": lambda: run(grid, start, *numbers, **how),
        "gradient": gradient,
        "checkpoints": lambda: gradient(checkpoints=checkpoints),
    }


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--square", type=count, default=128, help="cells along a side")
    parser.add_argument("--cube", type=count, default=32, help="cells along a side")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--checkpoints", type=count, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for axes, cells in ((2, given.square), (3, given.cube)):
        for adaptive in (True, False):
            jobs = works(axes, cells, given.checkpoints, adaptive)
            least = dict.fromkeys(jobs, float("inf"))
            for turn in range(given.rounds + 1):  # the first warms up
                for name, job in jobs.items():
                    begin = time.process_time()
                    job()
                    taken = time.process_time() - begin
                    least[name] = min(least[name], taken) if turn else least[name]
            row = {"cells": cells, "axes": axes, "steps": "rtol 1e-4" if adaptive else f"{STEPS}"}
            row |= {name: float(f"{seconds:.3g}") for name, seconds in least.items()}
            print(json.dumps(row), flush=True)
            rows.append(row)
    print(f"\n{'cells':>8}{'steps':>11}{'forward s':>11}{'gradient':>10}{'checkpoints':>13}")
    for row in rows:
        more = [row[name] / row["forward"] for name in ("gradient", "checkpoints")]
        print(
            f"{row['cells']:>6}^{row['axes']}{row['steps']:>11}{row['forward']:>11.3g}"
            f"{more[0]:>10.2f}{more[1]:>13.2f}"
        )


if __name__ == "__main__":
    main()
