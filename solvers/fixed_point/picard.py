"""Picard iteration."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pnpfusion.solvers.fixed_point.base import FixedPointSolver, Residual, check_share


@dataclass(frozen=True)
class Picard(FixedPointSolver):
    r"""Damped Picard iteration :math:`u \leftarrow u + \beta f(u)`.

    For f = g(u) - u and :math:`\beta = 1` it applies g again and again. It converges where the
    spectral radius of :math:`1 + \beta f'` is below 1, at that rate.
    """

    damping: float = 1.0  #: beta; a stiff law wants less than 2 / (its largest decay rate)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("damping", self.damping)

    def begin(self, u0: Tensor) -> _Step:
        """See :class:`FixedPointSolver`."""
        return _Step(self.damping)


@dataclass(frozen=True)
class _Step:
    damping: float

    def propose(
        self, u: Tensor, f: Tensor, size: Tensor, residual: Residual, which: Tensor
    ) -> tuple[Tensor, Tensor | int]:
        return u + self.damping * f, 0

    def restart(self, lost: Tensor) -> bool:
        """Diverging is an answer too."""
        return False

    def keep(self, going: Tensor) -> None:
        """Nothing is remembered."""
