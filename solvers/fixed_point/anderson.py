"""Anderson acceleration."""

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
class Anderson(FixedPointSolver):
    r"""Anderson acceleration with memory m [And65, WN11].

    .. math:: u_{k+1} = u_k + \beta f_k - (\Delta U_k + \beta\, \Delta F_k)\,\gamma_k, \qquad
              \gamma_k = \arg\min_\gamma \lVert f_k - \Delta F_k \gamma \rVert^2
              + \lambda \sum_j \lVert \Delta f_j \rVert^2 \gamma_j^2,

    the columns of :math:`\Delta U, \Delta F` being the last m differences of iterates and of their
    residuals. The ridge keeps the least-squares problem regular whatever the columns are; a sample
    whose residual explodes goes back to its best iterate, forgets, and takes half the steps.
    """

    memory: int = 5  #: m
    damping: float = 1.0  #: beta
    ridge: float = 1e-10  #: lambda, at least some ten units of round-off

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("damping", self.damping)
        check_positive("ridge", self.ridge)
        if type(self.memory) is not int or self.memory < 1:
            raise ValueError(f"`memory` must be a whole number >= 1, got {self.memory!r}.")

    def begin(self, u0: Tensor, tolerance: Tolerance) -> _Differences:
        """See :class:`FixedPointSolver`."""
        return _Differences(self, u0)


class _Differences(Memory):
    """The last differences of each row."""

    by_row = ("by_u", "by_f", "last_u", "last_f", "damping", "fresh")

    def __init__(self, method: Anderson, u0: Tensor) -> None:
        self.method = method
        room = (len(u0), method.memory, u0[0].numel() if len(u0) else 0)
        self.by_u, self.by_f = u0.new_zeros(room), u0.new_zeros(room)
        self.last_u = self.last_f = u0.flatten(1)
        self.damping = u0.new_full((len(u0),), method.damping)
        self.fresh = torch.ones_like(self.damping, dtype=torch.bool)  #: rows without a last iterate
        self.count = 0

    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        flat_u, flat_f = at.u.flatten(1), at.f.flatten(1)
        if self.count:
            slot, known = (self.count - 1) % self.method.memory, ~self.fresh[:, None]
            self.by_u[:, slot] = torch.where(known, flat_u - self.last_u, 0.0)
            self.by_f[:, slot] = torch.where(known, flat_f - self.last_f, 0.0)
        self.last_u, self.last_f = flat_u, flat_f
        self.fresh = torch.zeros_like(self.fresh)
        step = self.damping[:, None] * flat_f
        if self.count:
            step = step - self._mixed(flat_f, min(self.count, self.method.memory))
        self.count += 1
        return Proposal((flat_u + step).reshape(at.u.shape))

    def _mixed(self, f: Tensor, used: int) -> Tensor:
        by_u, by_f = self.by_u[:, :used], self.by_f[:, :used]
        length = by_f.norm(dim=2)
        unit = torch.where(length > 0, length, 1.0)
        columns = by_f / unit[..., None]
        gram = columns @ columns.mT
        ridge = max(self.method.ridge, 10 * torch.finfo(f.dtype).eps)
        gram = gram + ridge * torch.eye(used, dtype=f.dtype, device=f.device)
        load = (columns @ f.unsqueeze(2)).squeeze(2)
        weights = torch.linalg.solve_ex(gram, load)[0] / unit
        mix = by_u + self.damping[:, None, None] * by_f
        mixed: Tensor = (weights.unsqueeze(1) @ mix).squeeze(1)
        return mixed.nan_to_num(0.0, 0.0, 0.0)

    def restart(self, lost: Tensor) -> bool:
        self.by_u[lost], self.by_f[lost] = 0, 0
        self.fresh = self.fresh | lost
        self.damping = torch.where(lost, self.damping / 2, self.damping)
        return True
