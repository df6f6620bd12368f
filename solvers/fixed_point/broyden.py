"""Broyden's method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import (
    FixedPoint,
    FixedPointSolver,
    Iterates,
    Proposal,
    Residual,
    Tolerance,
    check_positive,
    check_whole,
)
from pnpfusion.solvers.fixed_point.compiled import Rounds, is_compiled, iterate
from pnpfusion.solvers.fixed_point.past import Past


@dataclass(frozen=True)
class Broyden(FixedPointSolver):
    r"""Broyden's good method [Bro65] for f(u) = 0, of limited memory.

    The inverse Jacobian is :math:`-\beta 1 + \sum_j a_j b_j^T`; each step adds the pair that makes
    it map the last change of f to the last step. A pair whose denominator vanishes is left out; a
    full memory loses its oldest pair. A sample whose residual explodes goes back to its best
    iterate, forgets, and takes half the steps.
    """

    memory: int = 20  #: pairs that are kept
    damping: float = 1.0  #: beta

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("damping", self.damping)
        check_whole("memory", self.memory)

    def solve(self, residual: Residual, u0: Tensor, tolerance: Tolerance | float) -> FixedPoint:
        """See :class:`FixedPointSolver`; compiled where it can be."""
        if is_compiled(u0):
            rounds = Rounds("broyden_round", self.memory, self.damping, self.max_evaluations)
            return iterate(rounds, residual, u0, tolerance)
        return super().solve(residual, u0, tolerance)

    def begin(self, u0: Tensor, tolerance: Tolerance) -> _Pairs:
        """See :class:`FixedPointSolver`."""
        return _Pairs(u0, self.memory, self.damping)


class _Pairs(Past):
    """The pairs a and b of each row."""

    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        flat_u, flat_f = at.u.flatten(1), at.f.flatten(1)
        if self.count:
            step, change = flat_u - self.last_u, flat_f - self.last_f
            self.one[:, self.slot], self.other[:, self.slot] = 0, 0  # the oldest pair makes room
            by_step = self._inverse(step, self.one, self.other)
            below = (by_step * change).sum(1, keepdim=True)
            least = 1e-8 * by_step.norm(dim=1, keepdim=True) * change.norm(dim=1, keepdim=True)
            usable = (below.abs() > least) & ~self.fresh
            moved = step - self._inverse(change, self.other, self.one)
            moved = moved / torch.where(usable, below, 1.0)
            self.one[:, self.slot] = torch.where(usable, moved, 0.0)
            self.other[:, self.slot] = torch.where(usable, by_step, 0.0)
        self.remember(at)
        return Proposal((flat_u - self._inverse(flat_f, self.other, self.one)).reshape(at.u.shape))

    def _inverse(self, v: Tensor, by: Tensor, to: Tensor) -> Tensor:
        """The inverse Jacobian times v, by b and to a; its transpose the other way round."""
        by, to = by[:, : self.count], to[:, : self.count]
        return ((by @ v.unsqueeze(2)).mT @ to).squeeze(1) - self.damping * v
