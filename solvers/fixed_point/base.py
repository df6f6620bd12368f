"""What solves f(u) = 0 by iterating, and the one loop that all of these share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_whole
from pnpfusion.solvers.implicit_solve import per_state

#: f(u, which) for rows ``which`` of the batch, all of them if None; ``u`` is (rows, *state). For a
#: fixed point of g it is g(u) - u.
Residual = Callable[[Tensor, Tensor | None], Tensor]

GROWTH = 100.0  #: a residual this many times a sample's best one sends it back there


@dataclass(frozen=True)
class Tolerance:
    r"""A sample has converged when :math:`e \le \tau\,s + \alpha`, for an error e at a size s.

    Root mean squares, so neither the width of a state nor the size of a batch counts.
    """

    relative: float  #: tau
    absolute: float  #: alpha

    @classmethod
    def of(cls, tolerance: Tolerance | float) -> Tolerance:
        """A number is the relative one; the absolute one is then a thousandth of it.

        Args:
            tolerance: a number, or already a pair, which stays as it is.
        """
        return tolerance if isinstance(tolerance, Tolerance) else cls(tolerance, tolerance / 1000)

    def __post_init__(self) -> None:
        if not self.relative > 0 or not self.absolute >= 0:
            raise ValueError(f"a tolerance must be > 0, and an absolute one >= 0, got {self}.")

    def measure(self, error: Tensor, size: Tensor) -> Tensor:
        """What must be at most :attr:`relative`: e over s, a small s counting as alpha / tau.

        Args:
            error: root mean squares e, of any shape.
            size: the sizes s they are judged against, likewise.
        """
        return error / (size + self.absolute / self.relative).clamp_min(TINY)


TINY = 1e-37  #: so that nothing is divided by zero, in either precision


class ConvergenceWarning(UserWarning):
    """Samples of a fixed-point solve, or their gradients, did not reach the tolerance."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """Where each row goes next."""

    u: Tensor  #: (rows, *state); not finite for a row that gives up
    evaluations: Tensor | int = 0  #: that it took to find out, of each row
    converged: Tensor | None = None  #: rows that need not go; None: the residual tells


class Memory(ABC):
    """What a method remembers of the rows that are still going."""

    by_residual: ClassVar[bool] = True  #: whether the residual tells if a row has converged
    by_row: ClassVar[tuple[str, ...]] = ()  #: attributes with an entry for each row

    @abstractmethod
    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        """Where the rows go next."""

    def restart(self, lost: Tensor) -> bool:
        """Forget the past of the rows ``lost``, bool, which go on from their best iterate.

        False, as here, if the method takes no such help, and they go on from where they are.
        """
        return False

    def keep(self, going: Tensor) -> None:
        """Forget all rows but those that ``going``, bool, names."""
        for name in self.by_row:
            setattr(self, name, getattr(self, name)[going])


@dataclass(frozen=True, eq=False)
class Iterates:
    """The rows that are still going."""

    u: Tensor  #: (rows, *state)
    f: Tensor  #: likewise
    size: Tensor  #: RMS of f, (rows,)
    rows: Tensor  #: which they are of the batch, (rows,)
    left: int  #: evaluations that the row with the fewest still has

    def of(self, going: Tensor) -> Iterates:
        """Some of them, by a bool for each."""
        u, f, size, rows = (one[going] for one in (self.u, self.f, self.size, self.rows))
        return Iterates(u, f, size, rows, self.left)


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
    name: str = ""  #: what was solved for, in warnings of laws that solve one thing after another


@dataclass(frozen=True)
class FixedPointSolver(ABC):
    r"""Finds u with f(u) = 0, for each sample by itself.

    A sample has converged when :math:`\lVert f(u) \rVert \le \tau \lVert u + f(u) \rVert + \alpha`
    (see :class:`Tolerance`), and is then left alone and out of further evaluations. What is
    returned is each sample's best iterate.
    """

    _: KW_ONLY
    max_evaluations: int = 50  #: of f, of each sample

    def __post_init__(self) -> None:
        check_whole("max_evaluations", self.max_evaluations)

    @abstractmethod
    def begin(self, u0: Tensor, tolerance: Tolerance) -> Memory:
        """A memory for the rows of ``u0`` ``(B, *state)``.

        Args:
            u0: where the iteration begins.
            tolerance: when a row has converged.
        """

    @torch.no_grad()
    def solve(self, residual: Residual, u0: Tensor, tolerance: Tolerance | float) -> FixedPoint:
        """Iterate from ``u0`` ``(B, *state)``, without gradient.

        Args:
            residual: f(u, which) for rows ``which`` of the batch, all of them if None.
            u0: where to begin, ``(B, *state)``.
            tolerance: when a row has converged; a number is the relative one.
        """
        goal = Tolerance.of(tolerance)
        u = best = u0.detach()
        best_f = torch.zeros_like(u)
        batch, device = len(u), u.device
        converged = torch.zeros(batch, dtype=torch.bool, device=device)
        evaluations = torch.zeros(batch, dtype=torch.long, device=device)
        smallest = torch.full((batch,), torch.inf, dtype=u.dtype, device=device)
        rates = relative = smallest
        history: list[Tensor] = []
        rows = torch.arange(batch, device=device)  # those that are still going
        memory = self.begin(u, goal)
        while len(rows):
            f = residual(u, None if len(rows) == batch else rows)
            rate = rms(f)
            scale = rms(u + f)
            size, ratio = goal.measure(rate, scale), rate / scale.clamp_min(TINY)
            history.append(torch.full_like(smallest, torch.nan).index_copy(0, rows, ratio))
            lost = ~(size <= GROWTH * smallest[rows])  # also where it is not a number
            if bool(lost.any()) and memory.restart(lost):
                u = torch.where(per_state(lost, u), best[rows], u)
                f = torch.where(per_state(lost, u), best_f[rows], f)
            better = size < smallest[rows]
            best = best.index_copy(0, rows, torch.where(per_state(better, u), u, best[rows]))
            best_f = best_f.index_copy(0, rows, torch.where(per_state(better, u), f, best_f[rows]))
            smallest = smallest.index_copy(0, rows, torch.where(better, size, smallest[rows]))
            rates = rates.index_copy(0, rows, torch.where(better, rate, rates[rows]))
            relative = relative.index_copy(0, rows, torch.where(better, ratio, relative[rows]))
            evaluations = evaluations.index_add(0, rows, torch.ones_like(rows))

            done = (size <= goal.relative) & memory.by_residual
            converged = converged.index_copy(0, rows, done)
            over = evaluations[rows] >= self.max_evaluations
            going = ~done & ~over & smallest[rows].isfinite()
            left = self.max_evaluations - int(evaluations[rows].max())
            at = Iterates(u, f, rate, rows, left)
            if not bool(going.all()):
                at = at.of(going)
                memory.keep(going)
            rows = at.rows
            if not len(rows):
                break
            proposal = memory.propose(at, residual)
            u, going = proposal.u, proposal.u.flatten(1).isfinite().all(1)
            evaluations = evaluations.index_add(0, rows, proposal.evaluations + 0 * rows)
            if proposal.converged is not None:
                converged = converged.index_copy(0, rows, proposal.converged)
                going = going & ~proposal.converged & (evaluations[rows] < self.max_evaluations)
            if not bool(going.all()):
                u, rows = u[going], rows[going]
                memory.keep(going)
        empty = torch.zeros(0, batch, dtype=u.dtype, device=device)
        return FixedPoint(
            u=best,
            converged=converged,
            evaluations=evaluations,
            residuals=relative,
            rates=rates,
            history=torch.stack(history) if history else empty,
        )


def rms(values: Tensor) -> Tensor:
    """The root mean square of each row, (B,)."""
    return values.flatten(1).square().mean(1).sqrt()
