"""What solves f(u) = 0 by iterating, and the one loop that all of these share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

import torch
from torch import Tensor

#: f(u, which) for rows ``which`` of the batch, all of them if None; ``u`` is (rows, *state). For a
#: fixed point of g it is g(u) - u.
Residual = Callable[[Tensor, Tensor | None], Tensor]

GROWTH = 100.0  #: a residual this many times a sample's best one sends it back there
FLOOR = 1e-8  #: states smaller than this (RMS) count as of this size in a relative residual


class ConvergenceWarning(UserWarning):
    """Samples of a fixed-point solve, or their gradients, did not reach the tolerance."""


class Proposals(Protocol):
    """What a method remembers of the rows that are still going."""

    def propose(
        self, u: Tensor, f: Tensor, size: Tensor, residual: Residual, which: Tensor
    ) -> tuple[Tensor, Tensor | int]:
        """The next states, and how many evaluations of each row it took to find them."""

    def restart(self, lost: Tensor) -> bool:
        """Forget the past of the rows ``lost``, bool, which go on from their best iterate.

        False if the method takes no such help, and the rows go on from where they are.
        """

    def keep(self, going: Tensor) -> None:
        """Forget all rows but those that ``going``, bool, names."""


@dataclass(eq=False)
class GradientReport:
    """How the linear solve of the last backward pass went; None before there was one."""

    way: str  #: how the gradient is computed
    converged: Tensor | None = None  #: bool, (B,)
    evaluations: Tensor | None = None  #: products with the transposed Jacobian, (B,)
    residuals: Tensor | None = None  #: relative residuals of the linear systems, (B,)


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Where an iteration came to, row by row of a flat batch."""

    u: Tensor  #: the iterate of the smallest residual, (B, *state)
    converged: Tensor  #: whether that is within the tolerance, bool, (B,)
    evaluations: Tensor  #: of f, of each row, (B,)
    residuals: Tensor  #: RMS of f(u) over that of u + f(u), at ``u``, (B,)
    rates: Tensor  #: RMS of f(u), at ``u``, (B,)
    history: Tensor  #: the same at every iterate, (K, B); NaN once a row has ended
    backward: GradientReport | None = None  #: filled in by the backward pass; None without gradient


@dataclass(frozen=True)
class FixedPointSolver(ABC):
    r"""Finds u with f(u) = 0, for each sample by itself.

    A sample has converged when :math:`\lVert f(u) \rVert \le \tau \lVert u + f(u) \rVert` (root
    mean squares, so neither the width of a state nor the size of a batch counts), and is then left
    alone and out of further evaluations. What is returned is each sample's best iterate.
    """

    _: KW_ONLY
    max_evaluations: int = 50  #: of f, of each sample

    def __post_init__(self) -> None:
        if type(self.max_evaluations) is not int or self.max_evaluations < 1:
            raise ValueError(
                f"`max_evaluations` must be a whole number >= 1, got {self.max_evaluations!r}."
            )

    @abstractmethod
    def begin(self, u0: Tensor) -> Proposals:
        """A memory for the rows of ``u0`` ``(B, *state)``."""

    @torch.no_grad()
    def solve(self, residual: Residual, u0: Tensor, tolerance: float) -> FixedPoint:
        """Iterate from ``u0`` ``(B, *state)``, without gradient."""
        u = best = best_f = u0.detach()
        batch, device = len(u), u.device
        converged = torch.zeros(batch, dtype=torch.bool, device=device)
        evaluations = torch.zeros(batch, dtype=torch.long, device=device)
        smallest = torch.full((batch,), torch.inf, dtype=u.dtype, device=device)
        rates = smallest
        history: list[Tensor] = []
        rows = torch.arange(batch, device=device)  # those that are still going
        memory = self.begin(u)
        while len(rows):
            f = residual(u, None if len(rows) == batch else rows)
            absolute = rms(f)
            size = absolute / (rms(u + f) + FLOOR)
            history.append(torch.full_like(smallest, torch.nan).index_copy(0, rows, size))
            lost = ~(size <= GROWTH * smallest[rows])  # also where it is not a number
            if bool(lost.any()) and memory.restart(lost):
                u = torch.where(per_row(lost, u), best[rows], u)
                f = torch.where(per_row(lost, u), best_f[rows], f)
            better = size < smallest[rows]
            best = best.index_copy(0, rows, torch.where(per_row(better, u), u, best[rows]))
            best_f = best_f.index_copy(0, rows, torch.where(per_row(better, u), f, best_f[rows]))
            smallest = smallest.index_copy(0, rows, torch.where(better, size, smallest[rows]))
            rates = rates.index_copy(0, rows, torch.where(better, absolute, rates[rows]))
            spent = evaluations[rows] + 1
            proposed, more = memory.propose(u, f, absolute, residual, rows)
            done = size <= tolerance
            spent = torch.where(done, spent, spent + more)
            converged = converged.index_copy(0, rows, done)
            evaluations = evaluations.index_copy(0, rows, spent)
            going = ~done & (spent < self.max_evaluations) & proposed.flatten(1).isfinite().all(1)
            if bool(going.all()):
                u = proposed
                continue
            rows, u = rows[going], proposed[going]
            memory.keep(going)
        empty = torch.zeros(0, batch, dtype=u.dtype, device=device)
        return FixedPoint(
            u=best,
            converged=converged,
            evaluations=evaluations,
            residuals=smallest,
            rates=rates,
            history=torch.stack(history) if history else empty,
        )


def rms(values: Tensor) -> Tensor:
    """The root mean square of each row, (B,)."""
    return values.flatten(1).square().mean(1).sqrt()


def per_row(values: Tensor, u: Tensor) -> Tensor:
    """``values`` ``(B,)`` with axes added to go with ``u`` ``(B, *state)``."""
    return values.reshape(-1, *(1 for _ in u.shape[1:]))


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless ``value`` is a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"`{name}` must be a number > 0, got {value!r}.")
