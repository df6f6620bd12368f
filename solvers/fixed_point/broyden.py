"""Broyden's method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_positive, check_whole
from pnpfusion.solvers.fixed_point.base import (
    FixedPoint,
    FixedPointSolver,
    Iterates,
    Memory,
    Proposal,
    Residual,
    Tolerance,
)
from pnpfusion.solvers.fixed_point.compiled import Rounds, is_compiled, iterate


@dataclass(frozen=True)
class Broyden(FixedPointSolver):
    r"""Broyden's good method [Bro65] for f(u) = 0, of limited memory.

    Each step multiplies the inverse Jacobian, at first :math:`-\beta 1`, by a factor
    :math:`1 + a_j s_j^T` with the last step s, such that it maps the last change of f to that step
    [Kel95, 7.3]. A factor whose denominator vanishes is left out; a full memory is emptied of all
    but the last step. A sample whose residual explodes goes back to its best iterate, forgets, and
    takes half the steps.
    """

    memory: int = 20  #: factors that are kept
    damping: float = 1.0  #: beta

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("damping", self.damping)
        check_whole("memory", self.memory)

    def solve(self, residual: Residual, u0: Tensor, tolerance: Tolerance | float) -> FixedPoint:
        """See :class:`FixedPointSolver`; compiled where it can be."""
        if is_compiled(u0):
            rounds = Rounds("broyden", self.memory, self.damping, self.max_evaluations)
            return iterate(rounds, residual, u0, tolerance)
        return super().solve(residual, u0, tolerance)

    def begin(self, u0: Tensor, tolerance: Tolerance) -> _Factors:
        """See :class:`FixedPointSolver`."""
        return _Factors(u0, self.memory, self.damping)


class _Factors(Memory):
    """The factors of each row, as far as there are any, and the last step after them."""

    by_row = ("gains", "steps", "last_f", "used", "damping")

    def __init__(self, u0: Tensor, memory: int, damping: float) -> None:
        self.memory = memory
        room = (len(u0), memory, u0[0].numel() if len(u0) else 0)
        self.gains, self.steps = u0.new_zeros(room), u0.new_zeros(room)  #: a and s
        self.last_f = torch.zeros_like(u0.flatten(1))
        self.used = torch.full((len(u0),), -1, device=u0.device)  #: factors; -1 without a last step
        self.damping = u0.new_full((len(u0), 1), damping)

    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        f = at.f.flatten(1)
        emptied = self.used == self.memory
        self.gains[emptied] = 0
        step = self.damping * f
        for j in range(int(torch.where(emptied, 0, self.used).max())):
            step = step + self.gains[:, j] * (self.steps[:, j] * step).sum(1, keepdim=True)
        rows, slot = torch.arange(len(f), device=f.device), self.used.clamp_min(0) % self.memory
        last = self.steps[rows, slot]
        missed = last + self.damping * (f - self.last_f)
        left = torch.where(emptied[:, None], missed, step)
        below = (last * (last - left)).sum(1, keepdim=True)
        least = 1e-8 * last.norm(dim=1, keepdim=True) * (last - left).norm(dim=1, keepdim=True)
        usable = (below.abs() > least) & (self.used >= 0)[:, None]
        gain = torch.where(usable, left / torch.where(usable, below, 1.0), 0.0)
        step = step + gain * (last * step).sum(1, keepdim=True)
        self.gains[rows, slot] = gain
        self.used = slot + usable.squeeze(1)
        self.steps[rows, self.used % self.memory] = step
        self.last_f = f
        return Proposal(at.u + step.reshape(at.u.shape))

    def restart(self, lost: Tensor) -> bool:
        """See :class:`Memory`."""
        self.gains[lost], self.steps[lost] = 0, 0
        self.used = torch.where(lost, -1, self.used)
        self.damping = torch.where(lost[:, None], self.damping / 2, self.damping)
        return True
