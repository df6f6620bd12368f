"""What the gradient of a run costs: every step recorded, or few states kept.

usage: python -m benchmarks.gradient_memory

The blocking cell of the README with 256 cells, through 300 equal steps; the gradient is that of the
final state in the wall's potential and the start. One JSON line per run, then a table. Held: bytes
of tensors that the graph and the kept states hold when the run is over. Peak: growth of the
largest resident memory of a process of its own, which counts the nodes of the graph too. Seconds
are medians of three runs on one thread, forward alone and with the gradient.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

import pnpfusion as pf
from benchmarks.memory import alone, resident
from benchmarks.script import options, say, show, significant
from pnpfusion.solvers import AsymptoticPreserving, KenCarp4

STEPS, REPEATS = 300, 3
STEPPERS = (AsymptoticPreserving, KenCarp4)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """The wall's potential and the start, with gradient."""
    start = torch.ones(2, 256, dtype=torch.float64)
    return torch.tensor(2.0, dtype=torch.float64, requires_grad=True), start.requires_grad_()


def run(
    voltage: torch.Tensor, start: torch.Tensor, stepper: type, checkpoints: int | None
) -> torch.Tensor:
    """The final state."""
    cell = pf.PNP(
        pf.Grid((256,), (2.0,), ("wall",)),
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * 0.05**2,
        walls={"x-": pf.Wall(potential=voltage), "x+": pf.Wall(potential=-2.0)},
    )
    times = torch.tensor([0.0, 0.5], dtype=torch.float64)
    method = stepper(dt=0.5 / STEPS)
    return pf.simulate(cell, start, times, stepper=method, checkpoints=checkpoints).final


def held(stepper: type, checkpoints: int | None) -> int:
    """Bytes of tensors that the gradient needs when the run is over."""
    live: dict[int, int] = {}

    class Saved:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor.detach()  # with its graph it would hold itself
            live[id(self)] = tensor.numel() * tensor.element_size()

        def __del__(self) -> None:
            live.pop(id(self), None)

    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        final = run(*inputs(), stepper, checkpoints)
    if checkpoints is None:
        return sum(live.values())
    node: Any = final.grad_fn
    while not hasattr(node, "replayed"):  # the saved states follow each other to the run
        node = next(after for after, _ in reversed(node.next_functions) if after is not None)
    states = [state for _, pair in node.replayed.kept for state in pair]
    return sum(live.values()) + sum(state.numel() * state.element_size() for state in states)


def seconds(stepper: type, checkpoints: int | None) -> tuple[float, float]:
    """Of the run alone, and with its gradient."""
    forward, both = [], []
    for _ in range(REPEATS):
        values, begin = inputs(), time.perf_counter()
        final = run(*values, stepper, checkpoints)
        forward.append(time.perf_counter() - begin)
        torch.autograd.grad(final.square().sum(), values)
        both.append(time.perf_counter() - begin)
    return statistics.median(forward), statistics.median(both)


def peak(stepper: type, checkpoints: int | None) -> int:
    """Growth of the largest resident memory, in bytes, over a run and its gradient."""
    torch.set_num_threads(1)
    with torch.no_grad():
        run(*inputs(), stepper, None)  # what the first call loads and compiles
    before = resident()
    values = inputs()
    torch.autograd.grad(run(*values, stepper, checkpoints).square().sum(), values)
    return resident() - before


def main() -> None:
    """Run everything and print it."""
    options(__doc__).parse_args()
    torch.set_num_threads(1)
    rows = []
    for stepper in STEPPERS:
        for checkpoints in (None, 8, 32):
            forward, both = seconds(stepper, checkpoints)
            row = {
                "stepper": stepper.__name__,
                "checkpoints": checkpoints,
                "steps": STEPS,
                "held_MB": significant(held(stepper, checkpoints) / 1e6),
                "peak_MB": significant(alone(peak, stepper, checkpoints) / 1e6),
                "forward_s": significant(forward),
                "with_gradient_s": significant(both),
            }
            say(row)
            rows.append(row)
    show(rows)


if __name__ == "__main__":
    main()
