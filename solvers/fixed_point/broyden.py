"""Broyden's method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import (
    FixedPointSolver,
    Iterates,
    Memory,
    Proposal,
    Residual,
    Tolerance,
    check_positive,
)


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
        if type(self.memory) is not int or self.memory < 1:
            raise ValueError(f"`memory` must be a whole number >= 1, got {self.memory!r}.")

    def begin(self, u0: Tensor, tolerance: Tolerance) -> _Pairs:
        """See :class:`FixedPointSolver`."""
        return _Pairs(self, u0)


class _Pairs(Memory):
    """The pairs of each row."""

    by_row = ("a", "b", "last_u", "last_f", "damping", "fresh")

    def __init__(self, method: Broyden, u0: Tensor) -> None:
        self.method = method
        room = (len(u0), method.memory, u0[0].numel() if len(u0) else 0)
        self.a, self.b = u0.new_zeros(room), u0.new_zeros(room)
        self.last_u = self.last_f = u0.flatten(1)
        self.damping = u0.new_full((len(u0), 1), method.damping)
        self.fresh = torch.ones_like(self.damping, dtype=torch.bool)  #: rows without a last iterate
        self.count = 0

    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        flat_u, flat_f = at.u.flatten(1), at.f.flatten(1)
        if self.count:
            step, change = flat_u - self.last_u, flat_f - self.last_f
            slot = (self.count - 1) % self.method.memory
            self.a[:, slot], self.b[:, slot] = 0, 0  # the oldest pair makes room
            by_step = self._transposed(step)
            below = (by_step * change).sum(1, keepdim=True)
            least = 1e-8 * by_step.norm(dim=1, keepdim=True) * change.norm(dim=1, keepdim=True)
            usable = (below.abs() > least) & ~self.fresh
            a = (step - self._applied(change)) / torch.where(usable, below, 1.0)
            self.a[:, slot] = torch.where(usable, a, 0.0)
            self.b[:, slot] = torch.where(usable, by_step, 0.0)
        self.last_u, self.last_f = flat_u, flat_f
        self.fresh = torch.zeros_like(self.fresh)
        self.count += 1
        return Proposal((flat_u - self._applied(flat_f)).reshape(at.u.shape))

    def restart(self, lost: Tensor) -> bool:
        self.a[lost], self.b[lost] = 0, 0
        self.fresh = self.fresh | lost[:, None]
        self.damping = torch.where(lost[:, None], self.damping / 2, self.damping)
        return True

    def _used(self) -> int:
        return min(max(self.count, 1), self.method.memory)

    def _applied(self, v: Tensor) -> Tensor:
        """The inverse Jacobian times v."""
        a, b = self.a[:, : self._used()], self.b[:, : self._used()]
        return ((b @ v.unsqueeze(2)).mT @ a).squeeze(1) - self.damping * v

    def _transposed(self, v: Tensor) -> Tensor:
        a, b = self.a[:, : self._used()], self.b[:, : self._used()]
        return ((a @ v.unsqueeze(2)).mT @ b).squeeze(1) - self.damping * v
