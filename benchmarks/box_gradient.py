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

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count
from benchmarks.box_3d import CLOUDS
from benchmarks.clock import in_turns
from benchmarks.script import options, say, show, significant
from benchmarks.suite.ours import unit_box
from pnpfusion.solvers import ETDRK4

F64 = torch.float64
STEPS = 32


def clouds(axes: int, cells: int) -> tuple[pf.Grid, Tensor]:
    """The box and what it starts from, ``(2, cells, ...)``."""
    box = replace(CLOUDS, plus=CLOUDS.plus[:axes], minus=CLOUDS.minus[:axes])
    return unit_box(cells, axes), torch.from_numpy(box.start_on(cells))


def run(grid: pf.Grid, start: Tensor, epsilon: Tensor, diffusivity: Tensor, **how: Any) -> Tensor:
    """The sum of squares at the end."""
    ions = [pf.Species("cation", +1, diffusivity), pf.Species("anion", -1)]
    law = pf.PNP(grid, ions, permittivity=epsilon, scheme="spectral")
    times = torch.tensor([0.0, CLOUDS.end], dtype=F64)
    found = pf.simulate(law, start, times, **how).require_success()
    return found.final.square().sum()


def works(axes: int, cells: int, checkpoints: int, adaptive: bool) -> dict[str, Callable[[], Any]]:
    """The run, with its gradient, and with `checkpoints`."""
    grid, start = clouds(axes, cells)
    numbers = [torch.tensor(value, dtype=F64) for value in (CLOUDS.permittivity, 1.0)]
    how: dict[str, Any] = {"rtol": 1e-4} if adaptive else {"stepper": ETDRK4(dt=CLOUDS.end / STEPS)}

    def gradient(**more: Any) -> tuple[Tensor, ...]:
        given = [values.clone().requires_grad_() for values in (start, *numbers)]
        of_start, epsilon, diffusivity = given
        found = run(grid, of_start, epsilon, diffusivity, **how, **more)
        return torch.autograd.grad(found, given)

    return {
        "forward": lambda: run(grid, start, *numbers, **how),
        "gradient": gradient,
        "checkpoints": lambda: gradient(checkpoints=checkpoints),
    }


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--square", type=count, default=128, help="cells along a side")
    parser.add_argument("--cube", type=count, default=32, help="cells along a side")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--checkpoints", type=count, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for axes, cells in ((2, given.square), (3, given.cube)):
        for adaptive in (True, False):
            taken = in_turns(works(axes, cells, given.checkpoints, adaptive), given.rounds)
            least = {name: min(seconds) for name, seconds in taken.items()}
            row = {"cells": cells, "axes": axes, "steps": "rtol 1e-4" if adaptive else f"{STEPS}"}
            row |= {name: significant(seconds) for name, seconds in least.items()}
            row |= {
                f"{name}_over_run": significant(least[name] / least["forward"])
                for name in ("gradient", "checkpoints")
            }
            say(row)
            rows.append(row)
    show(rows)


if __name__ == "__main__":
    main()
