"""What is watched: something of ours, and a fixed code to time it by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

import pnpfusion as pf
from benchmarks.peers.cosine_box import Series
from benchmarks.peers.problems import P1, P2, P3, P4, Box, Cells
from benchmarks.regression import fixed
from benchmarks.suite import cost, ours

Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A pair of runs."""

    name: str
    make: Callable[[], tuple[Work, Work]]  #: ours, and the fixed one


def cells(problem: Cells, n: int, grading: float, rtol: float) -> tuple[Work, Work]:
    """An adaptive implicit run, by backward Euler on as many cells."""
    scheme = "scharfetter-gummel" if grading else "central"
    run = ours.prepare(problem, n, rtol, scheme, grading)
    debye = float(problem.debye[0])
    return run, partial(fixed.charge_by_banded_newton, 2 * debye**2, 2.0, 64, 10)


def series(box: Box, n: int, steps: int) -> tuple[Work, Work]:
    """A box by series, by the hand-written integrator."""
    hand = Series(box, n)
    start = hand.coefficients(box.start_on(n))
    return ours.prepare(box, n, steps=steps), partial(hand.run, start, steps)


def curve(key: str, size: int, gradient: bool) -> tuple[Work, Work]:
    """A run of benchmarks.suite.cost, by backward Euler."""
    job = cost.JOBS[key](size)
    work = job.gradient if gradient else job.forward
    return work, partial(fixed.charge_by_banded_newton, 0.005, 2.0, 64, 10)


def semi_implicit() -> tuple[Work, Work]:
    """A semi-implicit run of 64 cells and its gradient, by Thomas' elimination in numpy."""
    job = cost.blocking(128, 64)
    job.stepper = pf.solvers.AsymptoticPreserving(dt=P3.end / 20)
    return job.gradient, partial(fixed.thomas, *systems(128, 64))


def systems(rows: int, columns: int) -> list[np.ndarray]:
    """Lower, diagonal, upper and right side of dominant systems, (rows, columns)."""
    generator = np.random.default_rng(0)
    lower, upper, rhs = generator.standard_normal((3, rows, columns))
    return [lower, 4 + np.abs(lower) + np.abs(upper), upper, rhs]


def tridiagonal() -> tuple[Work, Work]:
    """64 systems of 128."""
    given = systems(64, 128)
    tensors = [torch.from_numpy(array) for array in given]
    return partial(pf.solvers.solve_tridiagonal, *tensors), partial(fixed.chained, *given)


def blocks() -> tuple[Work, Work]:
    """64 systems of 128 blocks of 3, by 64 scalar ones of LAPACK."""
    generator = torch.Generator().manual_seed(0)
    shape = (64, 128, 3, 3)
    lower, diagonal, upper = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    diagonal = diagonal + 8 * torch.eye(3)
    rhs = torch.randn(64, 128, 3, generator=generator, dtype=torch.float64)
    work = partial(pf.solvers.solve_block_tridiagonal, lower, diagonal, upper, rhs)
    return work, partial(fixed.chained, *systems(64, 128))


def square_poisson() -> tuple[Work, Work]:
    """Eight squares of 128²."""
    rho = np.random.default_rng(0).standard_normal((8, 128, 128))
    rho -= rho.mean((-2, -1), keepdims=True)
    grid = pf.Grid((128, 128), (1.0, 1.0), ("wall", "wall"))
    work = partial(pf.solvers.solve_poisson, torch.from_numpy(rho), grid)
    return work, partial(fixed.poisson, rho)


def rest() -> tuple[Work, Work]:
    """64 cells come to rest."""
    job = cost.blocking(64, 64)
    work = partial(pf.equilibrium, job.law, job.start)
    return work, partial(fixed.charge_by_banded_newton, 0.005, 2.0, 64, 10)


def fusion(kind: str) -> tuple[Work, Work]:
    """A fusion layer forward and backward, by dense layers of numpy."""
    torch.manual_seed(0)
    layer = getattr(pf.fusion, kind)({"a": 16, "b": 16}, 32)
    given = {name: torch.randn(64, 16) for name in ("a", "b")}

    def work() -> None:
        layer(given).square().sum().backward()

    generator = np.random.default_rng(0)
    x, weights = generator.standard_normal((64, 128)), generator.standard_normal((20, 128, 128))
    return work, partial(fixed.layers, x, weights / 16)


CASES = (
    Case("one cell, 256 equal cells, central", partial(cells, P1, 256, 0.0, 1e-3)),
    Case("one cell, 64 graded cells, Scharfetter–Gummel", partial(cells, P1, 64, 3.0, 1e-2)),
    Case("64 cells of 128, central", partial(cells, P3, 128, 0.0, 1e-3)),
    Case("one cell of 4096", partial(curve, "line", 4096, False)),
    Case("256 cells of 128, Scharfetter–Gummel", partial(curve, "batch", 256, False)),
    Case("four species", partial(curve, "species", 4, False)),
    Case("one cell of 64 with its gradient", partial(curve, "line", 64, True)),
    Case("64 semi-implicit runs with gradient", semi_implicit),
    Case("64 cells at rest", rest),
    Case("square of 64², series", partial(series, P2, 64, 5)),
    Case("cube of 16³, series", partial(series, P4, 16, 5)),
    Case("square of 64², finite volumes", partial(curve, "square, volumes", 64, False)),
    Case("64 tridiagonal systems of 128", tridiagonal),
    Case("64 block systems of 128 × 3", blocks),
    Case("Poisson in eight squares of 128²", square_poisson),
    Case("fusion.PNP, forward and backward", partial(fusion, "PNP")),
    Case("fusion.DEQ, forward and backward", partial(fusion, "DEQ")),
)
