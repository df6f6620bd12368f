"""Picard iteration."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pnpfusion.solvers.arguments import check_positive
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
class Picard(FixedPointSolver):
    r"""Damped Picard iteration :math:`u \leftarrow u + \beta f(u)`.

    For f = g(u) - u and :math:`\beta = 1` it applies g again and again. It converges where the
    spectral radius of :math:`1 + \beta f'` is below 1, at that rate.
    """

    damping: float = 1.0  #: beta; a stiff law wants less than 2 / (its largest decay rate)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("damping", self.damping)

    def solve(self, residual: Residual, u0: Tensor, tolerance: Tolerance | float) -> FixedPoint:
        """See :class:`FixedPointSolver`; compiled where it can be."""
        if is_compiled(u0):
            rounds = Rounds("anderson", 0, self.damping, self.max_evaluations)
            return iterate(rounds, residual, u0, tolerance)
        return super().solve(residual, u0, tolerance)

    def begin(self, u0: Tensor, tolerance: Tolerance) -> _Step:
        """See :class:`FixedPointSolver`."""
        return _Step(self.damping)


class _Step(Memory):
    """Nothing is remembered."""

    def __init__(self, damping: float) -> None:
        self.damping = damping

    def propose(self, at: Iterates, residual: Residual) -> Proposal:
        return Proposal(at.u + self.damping * at.f)
