"""What the ways of solving block-tridiagonal systems cost, at the sizes that Newton's method needs.

usage: python benchmarks/block_solver.py

One JSON line per size, then a table. Milliseconds per solve, medians of nine on one thread, taken
in turns; `residual` is the largest of the three.
"""

from __future__ import annotations

import json
import statistics
import time

import torch

from pnpfusion.solvers import banded

WAYS = {
    "compiled": banded._solve_compiled,
    "lapack": banded._solve_lapack,
    "reduction": banded._solve_by_reduction,
}
SIZES = [(1, 256, 3), (64, 128, 3), (1, 192, 5), (64, 192, 5), (1024, 128, 3)]


def main() -> None:
    """Run everything and print it."""
    torch.set_num_threads(1)
    rows = []
    for batch, cells, m in SIZES:
        generator = torch.Generator().manual_seed(0)
        shape = (batch, cells, m, m)
        lower, diagonal, upper = torch.randn(3, *shape, generator=generator).double()
        diagonal = diagonal + 8 * torch.eye(m)
        rhs = torch.randn(batch, cells, m, generator=generator).double()
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        residual = 0.0
        for turn in range(10):
            for name, solve in WAYS.items():
                begin = time.perf_counter()
                x = solve(lower, diagonal, upper, rhs)
                if turn:  # the first warms up, and compiles
                    seconds[name].append(1e3 * (time.perf_counter() - begin))
                left = torch.einsum("bnij,bnj->bni", diagonal, x) - rhs
                left[:, 1:] += torch.einsum("bnij,bnj->bni", lower[:, 1:], x[:, :-1])
                left[:, :-1] += torch.einsum("bnij,bnj->bni", upper[:, :-1], x[:, 1:])
                residual = max(residual, float(left.abs().max()))
        row = {"batch": batch, "cells": cells, "block": m, "residual": float(f"{residual:.1e}")}
        row |= {name: float(f"{statistics.median(taken):.3g}") for name, taken in seconds.items()}
        print(json.dumps(row), flush=True)
        rows.append(row)
    print("\n" + "".join(f"{name:>11}" for name in rows[0]))
    for row in rows:
        print("".join(f"{value:>11}" for value in row.values()))


if __name__ == "__main__":
    main()
