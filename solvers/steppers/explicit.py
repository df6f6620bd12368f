"""Explicit one-step methods with fixed steps: quick to write down, limited by stability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.steppers.base import Law
from pnpfusion.solvers.steppers.control import Control, FixedSteps, Tolerance, per_state
from pnpfusion.solvers.steppers.march import Attempt, OneStep


@dataclass(frozen=True)
class ExplicitRK(OneStep):
    r"""Explicit Runge-Kutta steps of fixed size.

    .. math:: k_i = f(t + c_i \Delta t,\; u + \Delta t \sum_{j<i} a_{ij} k_j), \quad
              u' = u + \Delta t \sum_i b_i k_i.

    A step that is too large for the law makes the state grow without bound; that is reported as an
    outcome, and nothing keeps concentrations positive meanwhile.
    """

    dt: float  #: steps of at most this size; they are made to fit between the saved times
    max_steps: int = 1_000_000  #: per sample

    nodes: ClassVar[tuple[float, ...]]
    stages: ClassVar[tuple[tuple[float, ...], ...]]
    weights: ClassVar[tuple[float, ...]]
    implicit: ClassVar[bool] = False

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
        h, slopes = per_state(dt, u), [slope]
        for node, row in zip(self.nodes, self.stages, strict=True):
            at = u + h * sum(a * k for a, k in zip(row, slopes, strict=True) if a)
            slopes.append(law.rate(t + node * dt, at))
        new = u + h * sum(b * k for b, k in zip(self.weights, slopes, strict=True) if b)
        solved = torch.ones_like(dt, dtype=torch.bool)
        none = torch.zeros_like(dt, dtype=torch.long)
        return Attempt(new, law.rate(t + dt, new), None, solved, none, len(slopes))


class Euler(ExplicitRK):
    """Forward Euler, order 1."""

    order = 1
    nodes, stages, weights = (), (), (1.0,)


class Heun(ExplicitRK):
    """Explicit trapezoidal rule, order 2 [HNW93, II.1]."""

    order = 2
    nodes, stages, weights = (1.0,), ((1.0,),), (0.5, 0.5)


class RK4(ExplicitRK):
    """The classical method of order 4 [HNW93, II.1]."""

    order = 4
    nodes = (0.5, 0.5, 1.0)
    stages = ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
