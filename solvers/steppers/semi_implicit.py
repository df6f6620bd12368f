"""The law's robust first-order step as a method of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.steppers.base import Law
from pnpfusion.solvers.steppers.control import Control, FixedSteps, Tolerance
from pnpfusion.solvers.steppers.march import Attempt, OneStep


@dataclass(frozen=True)
class AsymptoticPreserving(OneStep):
    """Semi-implicit steps that need no Newton iteration: positive for any step, first order.

    For PNP see :func:`pnpfusion.solvers.asymptotic_preserving.asymptotic_preserving_step`. Gauss'
    law holds to the step's order during a step, and to round-off in what is reported.
    """

    dt: float  #: steps of at most this size; they are made to fit between the saved times
    max_steps: int = 1_000_000  #: per sample

    order: ClassVar[int] = 1
    implicit: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.dt > 0:
            raise ValueError(f"`dt` must be > 0, got {self.dt}.")

    def control(self, law: Law, u: Tensor, slope: Tensor, times: Tensor) -> Control:
        """See :class:`OneStep`."""
        exact = Tolerance(0.0, 1.0)
        return FixedSteps(self.dt, times, exact, self.max_steps, len(u), retry=False)

    def attempt(
        self,
        law: Law,
        t: Tensor,
        dt: Tensor,
        u: Tensor,
        slope: Tensor,
        scale: Tensor,
        stages: tuple[Tensor, ...] = (),
    ) -> Attempt:
        """See :class:`OneStep`."""
        new = law.robust_step(t, dt, u)
        if new is None:
            raise ValueError(
                "this law has no semi-implicit step of its own, so `AsymptoticPreserving` cannot "
                "follow it; use another stepper, e.g. TRBDF2()."
            )
        solved = torch.ones_like(dt, dtype=torch.bool)
        none = torch.zeros_like(dt, dtype=torch.long)
        return Attempt(new, law.rate(t + dt, new), None, solved, none, 1)
