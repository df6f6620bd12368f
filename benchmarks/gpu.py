"""What a graphics card makes of the solvers, beside the bound of its memory and beside this CPU.

usage: python -m benchmarks.gpu [--rounds 9] [--largest 16384] [--rehearse]

One JSON line per row, then a table. Kinds of rows:

- lines: block-tridiagonal systems of 128 cells, by elimination with a sample in each lane, by
  parallel cyclic reduction with a sample in each program, and by torch;
- newton: one implicit step of blocking cells of 128 cells and two ions;
- run: such cells to t = .5 by the default stepper, as `simulate` runs them;
- gradient: three implicit steps and their gradient by the walls' potentials;
- layer: 8 semi-implicit steps of cells of 16, recorded once and replayed;
- transform: of a square into cosines and back, as Poisson's equation takes it, by either way.

`ms` is the median and `best` the smallest of the rounds, in which ways take turns. `floor` is the
time in which the card copies what must at least be read and written, with its own speed of copying,
measured in the same run; `share` is floor over median. `cpu_ms` is the same work on this CPU with
one thread, of at most 64 samples and in proportion for more; `times` is cpu_ms over ms. `error` is
the largest difference from the CPU's answer in float64, over the largest entry of that.

Without a card it says so and ends. `--rehearse` runs every row at the smallest size in Triton's
interpreter, to see that the script works; its times mean nothing.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import pnpfusion as pf
from benchmarks import count
from benchmarks.script import options, say, show, significant

#: From a device and a number of samples to what is timed.
Work = Callable[[torch.device, int], Callable[[], Tensor]]
NUMBER = 8  # bytes, float64 throughout


@dataclass(frozen=True)
class Row:
    """One kind of work; ``bytes_each`` is what one sample must at least move, 0 where unknown."""

    kind: str
    way: str
    size: int
    batches: tuple[int, ...]
    bytes_each: int
    work: Work


def synchronized(device: torch.device) -> float:
    """The time, once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(device: torch.device, work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Milliseconds and the answer."""
    begin = synchronized(device)
    answer = work()
    return 1e3 * (synchronized(device) - begin), answer


def copying_speed(device: torch.device, numbers: int) -> float:
    """Bytes per millisecond, read and written, of a large copy."""
    source = torch.ones(numbers, dtype=torch.float64, device=device)
    into = torch.empty_like(source)
    best = min(timed(device, lambda: into.copy_(source))[0] for _ in range(9))
    return 2 * NUMBER * numbers / best


def blocking_cells(
    device: torch.device, batch: int, cells: int, voltage: Tensor | None = None
) -> tuple[pf.PNP, Tensor]:
    """Blocking cells with Debye lengths from .05 to .1 and potentials from .5 to 3."""
    debye = torch.linspace(0.05, 0.1, batch, dtype=torch.float64, device=device)
    if voltage is None:
        voltage = torch.linspace(0.5, 3.0, batch, dtype=torch.float64, device=device)
    edges = torch.tanh(2.5 * torch.linspace(-1, 1, cells + 1, dtype=torch.float64))
    grid = pf.Grid((cells,), (2.0,), ("wall",), edges=(edges / edges[-1],))
    cell = pf.PNP(
        grid,
        [pf.Species("cation", +1), pf.Species("anion", -1)],
        permittivity=2 * debye**2,
        walls={"x-": pf.Wall(potential=-voltage), "x+": pf.Wall(potential=voltage)},
    )
    return cell, torch.ones(batch, 2, cells, dtype=torch.float64, device=device)


def lines(cells: int, m: int, way: str) -> Work:
    """Random systems with a heavy diagonal."""
    from pnpfusion.solvers import banded
    from pnpfusion.solvers.backend import backend
    from pnpfusion.solvers.device import banded as device_banded

    ways = {
        "elimination": device_banded.by_elimination,
        "reduction": device_banded.by_reduction,
        "torch": banded._solve_by_reduction,
    }

    def prepare(device: torch.device, batch: int) -> Callable[[], Tensor]:
        generator = torch.Generator().manual_seed(0)
        shape = min(batch, 64), cells, m, m
        blocks = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
        blocks[1] += 8 * m * torch.eye(m)
        lower, diagonal, upper = blocks.repeat(1, batch // shape[0], 1, 1, 1).to(device)
        rhs = torch.ones(batch, cells, m, dtype=torch.float64, device=device)
        solve = ways[way] if backend(rhs) == "triton" else banded._solve_line
        return lambda: solve(lower, diagonal, upper, rhs)

    return prepare


def newton(cells: int) -> Work:
    """One implicit step, with the potential."""
    from pnpfusion.solvers.coupled_newton import solve_implicit
    from pnpfusion.solvers.nernst_planck import Electrolyte

    def prepare(device: torch.device, batch: int) -> Callable[[], Tensor]:
        cell, c = blocking_cells(device, batch, cells)
        step = torch.full((batch,), 1e-3, dtype=torch.float64, device=device)
        bound = cell.electrolyte((batch,), c, None)
        scale = torch.full_like(c, 1e-8)
        if not isinstance(bound, Electrolyte):
            raise TypeError(f"a cell of finite volumes was wanted, got {type(bound).__name__}.")
        return lambda: solve_implicit(bound, c, step, c, scale).u

    return prepare


def run(cells: int, end: float) -> Work:
    """Through time, by the default stepper."""

    def prepare(device: torch.device, batch: int) -> Callable[[], Tensor]:
        cell, c = blocking_cells(device, batch, cells)
        times = torch.tensor([0, end], dtype=torch.float64)
        return lambda: pf.simulate(cell, c, times, rtol=1e-4).final

    return prepare


def gradient(cells: int) -> Work:
    """By the potentials, through three implicit steps."""
    times, stepper = torch.tensor([0, 3e-3]).double(), pf.solvers.BackwardEuler(dt=1e-3)

    def prepare(device: torch.device, batch: int) -> Callable[[], Tensor]:
        voltage = torch.linspace(0.5, 3.0, batch, dtype=torch.float64, device=device)
        voltage.requires_grad_()

        def work() -> Tensor:
            cell, c = blocking_cells(device, batch, cells, voltage)
            final = pf.simulate(cell, c, times, stepper=stepper).final
            return torch.autograd.grad(final.square().sum(), voltage)[0]

        return work

    return prepare


def layer(cells: int, steps: int) -> Work:
    """Semi-implicit steps, as a layer takes them."""
    times = torch.tensor([0, 0.01 * steps], dtype=torch.float64)
    stepper = pf.solvers.AsymptoticPreserving(dt=0.01)

    def prepare(device: torch.device, batch: int) -> Callable[[], Tensor]:
        cell, c = blocking_cells(device, batch, cells)
        return lambda: pf.simulate(cell, c, times, stepper=stepper).final

    return prepare


def transform(cells: int, way: str) -> Work:
    """Of a square with insulating walls."""
    from pnpfusion.solvers import bases as kinds
    from pnpfusion.solvers import transforms
    from pnpfusion.solvers.backend import backend

    bases: tuple[kinds.Basis, ...] = ("cosine", "cosine")
    shape = (cells, cells)
    largest_matrix = 0 if way == "fft" else cells

    def prepare(device: torch.device, batch: int) -> Callable[[], Tensor]:
        generator = torch.Generator().manual_seed(0)
        rho = torch.randn(batch, *shape, generator=generator, dtype=torch.float64).to(device)
        if backend(rho) != "triton":
            return lambda: transforms.from_modes(transforms.to_modes(rho, bases), bases)

        def work() -> Tensor:
            modes = transforms._by_torch(rho, bases, shape, False, largest_matrix)
            return transforms._by_torch(modes, bases, shape, True, largest_matrix)

        return work

    return prepare


def rows(largest: int) -> Iterator[Row]:
    """Everything to measure, small sizes in a rehearsal."""
    n, some = (4, 3) if REHEARSAL else (128, 512)
    batches = tuple(4**k for k in range(10) if 4**k <= largest)
    for m in (1, 3):
        each = NUMBER * n * (3 * m * m + 2 * m)
        for way in ("elimination", "reduction", "torch"):
            yield Row("lines", f"{way}, m = {m}", n, batches, each, lines(n, m, way))
    yield Row("newton", "kernel", n, batches, 0, newton(n))
    yield Row("run", "kernel", n, batches, 0, run(n, 1e-3 if REHEARSAL else 0.5))
    yield Row("gradient", "recorded", n, batches, 0, gradient(n))
    short = 3 if REHEARSAL else 16
    yield Row("layer", "graph", short, batches, 0, layer(short, 8))
    for cells in (some,) if REHEARSAL else (128, 256, 512, 1024):
        for way in ("matrices", "fft"):
            # There and back, each axis reads and writes every number once.
            each = 8 * NUMBER * cells * cells
            yield Row("transform", way, cells, (1, min(16, largest)), each, transform(cells, way))


def measured(
    row: Row, batch: int, rounds: int, device: torch.device, speed: float
) -> dict[str, Any]:
    """One line of the table."""
    from pnpfusion.solvers.backend import Backend, using

    few = min(batch, 64)
    ours: Backend = "triton" if REHEARSAL else "numba"
    theirs: Backend = "torch" if REHEARSAL else "numba"
    here, cpu, found, wanted = [], [], torch.empty(0), torch.empty(0)
    with using(ours):
        work = row.work(device, batch)
    with using(theirs):
        reference = row.work(torch.device("cpu"), few)
    for turn in range(rounds + 1):  # the first compiles
        with using(ours):
            ms, found = timed(device, work)
        with using(theirs):
            cpu_ms, wanted = timed(torch.device("cpu"), reference)
        if turn or not rounds:
            here.append(ms)
            cpu.append(cpu_ms * batch / few)
    ms, cpu_ms = statistics.median(here), statistics.median(cpu)
    floor = row.bytes_each * batch / speed
    same = batch == few or row.kind == "lines"  # whose systems repeat
    error = float((found.cpu()[:few] - wanted).abs().max() / wanted.abs().max()) if same else None
    return {
        "kind": row.kind,
        "way": row.way,
        "cells": row.size,
        "batch": batch,
        "ms": significant(ms),
        "best": significant(min(here)),
        "floor": significant(floor) if floor else None,
        "share": significant(floor / ms) if floor else None,
        "cpu_ms": significant(cpu_ms),
        "times": significant(cpu_ms / ms),
        "error": None if error is None else significant(error),
    }


def main() -> None:
    """Run everything and print it."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=count, default=9, help="timed rounds (default 9)")
    parser.add_argument("--largest", type=count, default=16384, help="batch (default 16384)")
    parser.add_argument("--rehearse", action="store_true", help="without a card, tiny")
    given = parser.parse_args()
    if REHEARSAL:
        device, given.rounds, given.largest = torch.device("cpu"), 0, 1
        warnings.simplefilter("ignore")
    elif torch.cuda.is_available():
        device = torch.device("cuda")
    else:
        print("There is no CUDA device here, so nothing is measured; --rehearse runs the script.")
        return
    torch.set_num_threads(1)
    speed = copying_speed(device, 10_000 if REHEARSAL else 200_000_000)
    card = "none, a rehearsal" if REHEARSAL else torch.cuda.get_device_name(device)
    say({"card": card, "copies_GB_per_s": significant(speed / 1e6)})
    table = []
    for row in rows(given.largest):
        for batch in row.batches:
            line = measured(row, batch, given.rounds, device, speed)
            say(line)
            table.append(line)
    show(table)


if __name__ == "__main__":
    REHEARSAL = "--rehearse" in sys.argv
    if REHEARSAL:  # before Triton is imported
        os.environ["TRITON_INTERPRET"] = "1"
    main()
