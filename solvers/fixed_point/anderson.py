"""Anderson acceleration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_positive, check_whole
from pnpfusion.solvers.fixed_point.base import (
    FixedPoint,
    FixedPointSolver,
    Iterates,
    Proposal,
    Residual,
    Tolerance,
)
from pnpfusion.solvers.fixed_point.compiled import Rounds, is_compiled, iterate
from pnpfusion.solvers.fixed_point.past import Past


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
        check_whole("memory", self.memory)

    def solve(self, residual: Residual, u0: Tensor, tolerance: Tolerance | float) -> FixedPoint:
        """See :class:`FixedPointSolver`; compiled where it can be."""
        if is_compiled(u0):
            most, ridge = self.max_evaluations, self.ridge_of(u0)
            rounds = Rounds("anderson", self.memory, self.damping, most, ridge)
            return iterate(rounds, residual, u0, tolerance)
        return super().solve(residual, u0, tolerance)

    def ridge_of(self, u: Tensor) -> float:
        """Lambda in the dtype of ``u``."""
        return max(self.ridge, 10 * torch.finfo(u.dtype).eps)

    def begin(self, u0: Tensor, tolerance: Tolerance) -> _Differences:
        """See :class:`FixedPointSolver`."""
        return _Differences(self, u0)


class _Differences(Past):
    """The last differences of each row: of iterates, and of their residuals."""

    def __init__(self, method: Anderson, u0: Tensor) -> None:
        super().__init__(u0, method.memory, method.damping)
        self.ridge = method.ridge_of(u0)

    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        flat_u, flat_f = at.u.flatten(1), at.f.flatten(1)
        if self.count:
            self.one[:, self.slot] = torch.where(self.fresh, 0.0, flat_u - self.last_u)
            self.other[:, self.slot] = torch.where(self.fresh, 0.0, flat_f - self.last_f)
        self.remember(at)
        step = self.damping * flat_f
        if self.used:
            step = step - self._mixed(flat_f)
        return Proposal((flat_u + step).reshape(at.u.shape))

    def _mixed(self, f: Tensor) -> Tensor:
        by_u, by_f = self.one[:, : self.used], self.other[:, : self.used]
        length = by_f.norm(dim=2)
        unit = torch.where(length > 0, length, 1.0)
        columns = by_f / unit[..., None]
        gram = columns @ columns.mT
        gram = gram + self.ridge * torch.eye(self.used, dtype=f.dtype, device=f.device)
        load = (columns @ f.unsqueeze(2)).squeeze(2)
        weights = torch.linalg.solve_ex(gram, load)[0] / unit
        mix = by_u + self.damping[:, None] * by_f
        mixed: Tensor = (weights.unsqueeze(1) @ mix).squeeze(1)
        return mixed.nan_to_num(0.0, 0.0, 0.0)
