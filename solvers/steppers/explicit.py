"""Explicit one-step methods with fixed steps: quick to write down, limited by stability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.steppers.base import Law
from pnpfusion.solvers.steppers.one_step import Attempt, FixedOneStep, Start


@dataclass(frozen=True)
class ExplicitRK(FixedOneStep):
    r"""Explicit Runge-Kutta steps of fixed size.

    .. math:: k_i = f(t + c_i \Delta t,\; u + \Delta t \sum_{j<i} a_{ij} k_j), \quad
              u' = u + \Delta t \sum_i b_i k_i.

    A step that is too large for the law makes the state grow without bound; that is reported as an
    outcome, and nothing keeps concentrations positive meanwhile.
    """

    nodes: ClassVar[tuple[float, ...]]
    stages: ClassVar[tuple[tuple[float, ...], ...]]
    weights: ClassVar[tuple[float, ...]]
    reach: ClassVar[float]  #: steps times the fastest rate of decay that the method stands
    keeps_positive: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        rows, wanted = [len(row) for row in cls.stages], [*range(1, len(cls.weights))]
        if rows != wanted or len(cls.nodes) != len(wanted):
            raise TypeError(
                f"{cls.__name__} has {len(cls.weights)} weights, so stages after the first want "
                f"{len(wanted)} nodes and rows of {wanted} numbers; got {len(cls.nodes)} nodes and "
                f"rows of {rows}."
            )

    def attempt(self, law: Law, start: Start) -> Attempt:
        """See :class:`OneStep`."""
        t, dt, u, slope = start.t, start.dt, start.u, start.slope
        h, slopes = per_state(dt, u), [slope]
        for node, row in zip(self.nodes, self.stages, strict=True):
            at = u + h * sum(a * k for a, k in zip(row, slopes, strict=True) if a)
            slopes.append(law.rate(t + node * dt, at))
        new = u + h * sum(b * k for b, k in zip(self.weights, slopes, strict=True) if b)
        return Attempt.unsolved(start, new, law.rate(t + dt, new), len(slopes))


class Euler(ExplicitRK):
    """Forward Euler, order 1."""

    order, reach = 1, 2.0
    nodes, stages, weights = (), (), (1.0,)


class Heun(ExplicitRK):
    """Explicit trapezoidal rule, order 2 [HNW93, II.1]."""

    order, reach = 2, 2.0
    nodes, stages, weights = (1.0,), ((1.0,),), (0.5, 0.5)


class RK4(ExplicitRK):
    """The classical method of order 4 [HNW93, II.1]."""

    order, reach = 4, 2.785
    nodes = (0.5, 0.5, 1.0)
    stages = ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
