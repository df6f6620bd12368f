"""What the gradient of a run costs: every step recorded, or few states kept.

usage: python -m benchmarks.gradient_memory

The blocking cell of the README with 256 cells, through 300 equal steps; the gradient is that of the
final state in the wall's potential and the start. One JSON line per run, then a table. Held: bytes
of tensors that the graph and the kept states hold when the run is over. Peak: growth of the
largest resident memory of a process of its own, which counts the nodes of the graph too. Seconds
are medians of three runs on one thread, forward alone and with the gradient.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import pnpfusion as pf
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
    before = largest_resident()
    values = inputs()
    torch.autograd.grad(run(*values, stepper, checkpoints).square().sum(), values)
    return largest_resident() - before


def largest_resident() -> int:
    """The largest resident memory of this process so far, in bytes (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of ``function`` in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """Run everything and print it."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    torch.set_num_threads(1)
    rows = []
    for stepper in STEPPERS:
        for checkpoints in (None, 8, 32):
            forward, both = seconds(stepper, checkpoints)
            row = {
                "stepper": stepper.__name__,
                "checkpoints": checkpoints,
                "steps": STEPS,
                "held_MB": float(f"{held(stepper, checkpoints) / 1e6:.3g}"),
                "peak_MB": float(f"{alone(peak, stepper, checkpoints) / 1e6:.3g}"),
                "forward_s": float(f"{forward:.3g}"),
                "with_gradient_s": float(f"{both:.3g}"),
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    print(
        f"\n{'stepper':<22}{'checkpoints':>12}{'held MB':>10}{'peak MB':>10}{'forward s':>11}"
        f"{'with gradient s':>17}"
    )
    for row in rows:
        print(
            f"{row['stepper']:<22}{row['checkpoints'] or 'recorded':>12}{row['held_MB']:>10}"
            f"{row['peak_MB']:>10}{row['forward_s']:>11}{row['with_gradient_s']:>17}"
        )


if __name__ == "__main__":
    main()
