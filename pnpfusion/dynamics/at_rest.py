"""What is known of a law at rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import FixedPoint, GradientReport


@dataclass(frozen=True, eq=False)
class AtRest:
    """Where a law stands still, or as far as its solver came, over a flat batch of B samples."""

    u: Tensor  #: (B, *state); carries the gradient
    converged: Tensor  #: bool, (B,)
    finite: Tensor  #: whether all stayed finite, bool, (B,)
    iterations: Tensor  #: of Newton's method, (B,); 0 for solvers that count evaluations
    evaluations: Tensor  #: of the rate, (B,)
    rates: Tensor  #: RMS rate there, (B,)
    way: str  #: how it was found
    history: Tensor | None = None  #: relative residuals of each iteration, (K, B)
    backward: GradientReport | None = None  #: filled in by the backward pass

    @classmethod
    def of(cls, found: FixedPoint, way: str) -> AtRest:
        """What a fixed-point solver found."""
        return cls(
            u=found.u,
            converged=found.converged,
            finite=found.residuals.isfinite(),
            iterations=torch.zeros_like(found.evaluations),
            evaluations=found.evaluations,
            rates=found.rates,
            way=way,
            history=found.history,
            backward=found.backward,
        )
