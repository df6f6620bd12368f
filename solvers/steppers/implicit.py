"""Implicit one-step methods for stiff laws, given by their tableaux."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.plain_steps import Method, PlainSteps
from pnpfusion.solvers.steppers.base import ConservativeLaw, Law
from pnpfusion.solvers.steppers.control import (
    FAILURES_BEFORE_ROBUST_STEP,
    LARGEST_GROWTH,
    SAFETY,
    SHRINK_AFTER_FAILURE,
    SMALLEST_SHRINK,
    AdaptiveSteps,
    Control,
    FixedSteps,
    Tolerance,
)
from pnpfusion.solvers.steppers.one_step import Attempt, OneStep, Start
from pnpfusion.solvers.steppers.settings import settle

NEWTON_SHARE = 0.02  # of the error allowed in a step, left to the solution of its equations


@dataclass(frozen=True)
class Tableau:
    """Coefficients of an ESDIRK method: an explicit first stage, then one diagonal entry."""

    nodes: tuple[float, ...]  #: stage times c_i, in steps
    stages: tuple[tuple[float, ...], ...]  #: rows a_ij with j <= i; the last row is the solution
    embedded: tuple[float, ...]  #: weights of the solution that the error is measured against
    error_order: int  #: order in dt of the difference of the two

    @cached_property
    def rows(self) -> NDArray[np.float64]:
        """a_ij without the explicit first row, (R, R+1)."""
        width = len(self.embedded)
        return np.array([row + (0.0,) * (width - len(row)) for row in self.stages])

    @cached_property
    def error(self) -> NDArray[np.float64]:
        """Weights of the slopes in the difference of the two, (R+1,)."""
        return np.subtract(self.stages[-1], self.embedded, dtype=np.float64)


@dataclass(frozen=True)
class ESDIRK(OneStep):
    r"""Stiffly accurate diagonally implicit Runge-Kutta steps with an explicit first stage.

    .. math:: U_i = u + \Delta t \sum_{j \le i} a_{ij} k_j, \quad
              k_i = f(t + c_i \Delta t, U_i), \quad u' = U_s.

    Step control is per sample. A step whose equations are not solved, or that is not positive where
    the law asks for it, is thrown away and made smaller; after three such failures in a row, the
    law's robust first-order step takes its place once. Nothing is clipped.
    """

    rtol: float | None = None  #: relative error per step; None: 1e-5 (float64), 1e-3 (float32)
    atol: float | None = None  #: absolute error per step; None: rtol / 100
    dt: float | None = None  #: fixed steps of at most this size instead of adaptive ones
    max_steps: int = 100_000  #: per sample, tried steps included

    tableau: ClassVar[Tableau]
    keeps_positive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.dt is not None and (self.rtol is not None or self.atol is not None):
            raise ValueError(
                "`dt` fixes the steps, so it excludes `rtol` and `atol`; give one"
                f" {Faq.WHICH_STEPPER}."
            )
        settle(self, ("dt", "rtol", "atol"))

    def control(self, u: Tensor, times: Tensor) -> Control:
        """See :class:`OneStep`."""
        double = u.dtype == torch.float64
        if self.dt is not None:
            tight = Tolerance(1e-9, 1e-11) if double else Tolerance(1e-4, 1e-5)
            return FixedSteps(self.dt, times, tight, self.max_steps, retry=True)
        rtol = self.rtol if self.rtol is not None else (1e-5 if double else 1e-3)
        least = 5e2 * torch.finfo(u.dtype).eps
        if rtol < least:
            raise ValueError(f"`rtol` must be >= {least:.1e} for {u.dtype}, got {rtol:g}.")
        atol = self.atol if self.atol is not None else rtol / 100
        allowed = Tolerance(float(rtol), float(atol))
        return AdaptiveSteps(times, allowed, self.max_steps, error_order=self.tableau.error_order)

    def plain_steps(self, law: Law, control: Control) -> PlainSteps | None:
        """See :class:`OneStep`."""
        make = getattr(law, "plain_steps", None)
        if make is None or not isinstance(control, AdaptiveSteps):
            return None
        method = Method(
            rows=self.tableau.rows,
            error=self.tableau.error,
            error_order=float(control.error_order),
            rtol=control.tolerance.rtol,
            atol=control.tolerance.atol,
            newton_share=NEWTON_SHARE,
            safety=SAFETY,
            largest_growth=LARGEST_GROWTH,
            smallest_shrink=SMALLEST_SHRINK,
            shrink_after_failure=SHRINK_AFTER_FAILURE,
            most_failures=FAILURES_BEFORE_ROBUST_STEP,
        )
        plain: PlainSteps | None = make(method, control.times)
        return plain

    def attempt(self, law: Law, start: Start) -> Attempt:
        """See :class:`OneStep`."""
        dt, u, rows = start.dt, start.u, self.tableau.stages
        h, slopes = per_state(dt, u), [start.slope]
        solved = torch.ones_like(dt, dtype=torch.bool)
        iterations = torch.zeros_like(dt, dtype=torch.long)
        values: list[Tensor] = []
        current = u.detach()
        for i, (node, row) in enumerate(zip(self.tableau.nodes[1:], rows, strict=True)):
            base = u + h * _weighted(row[:-1], slopes)
            own = row[-1] * dt
            known = start.stages
            guess = known[i] if known else _guess(law, current, base, own, slopes[-1])
            scale = NEWTON_SHARE * start.scale
            stage = law.solve_implicit(start.t + node * dt, base, own, guess, scale)
            current = stage.u.detach()
            values.append(current)
            slopes.append((stage.u - base) / per_state(torch.where(dt > 0, own, 1), u))
            solved = solved & stage.converged
            iterations = stage.iterations + iterations
        error, after = None, stage.u
        if self.dt is None:
            weights = zip(rows[-1], self.tableau.embedded, strict=True)
            error = (h * _weighted(tuple(b - e for b, e in weights), slopes)).detach()
        elif isinstance(law, ConservativeLaw):
            # No error limits such a step: where rates are huge, their round-off is not small.
            after = law.conserve(u, after)
        return Attempt(after, slopes[-1], error, solved, iterations, 0, tuple(values))


def _guess(law: Law, current: Tensor, base: Tensor, step: Tensor, slope: Tensor) -> Tensor:
    """Where Newton begins: the last slope drawn on, or the last stage where that goes wrong."""
    ahead = (base + per_state(step, base) * slope).detach()
    lowest = law.lowest(ahead)
    return ahead if lowest is None else torch.where(per_state(lowest > 0, base), ahead, current)


def _weighted(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = torch.zeros_like(slopes[0])
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            total = total + weight * slope
    return total


class BackwardEuler(ESDIRK):
    """First order, L-stable; positive and energy-stable for monotone face schemes."""

    order = 1
    tableau = Tableau((0, 1), ((0, 1),), (0.5, 0.5), error_order=2)


_D = 1 - sqrt(0.5)
_W = sqrt(2) / 4


class TRBDF2(ESDIRK):
    """Trapezoidal rule, then BDF2, as one L-stable step of order 2 [HS96]."""

    order = 2
    tableau = Tableau(
        (0, 2 * _D, 1),
        ((_D, _D), (_W, _W, _D)),
        ((1 - _W) / 3, (3 * _W + 1) / 3, _D / 3),
        error_order=3,
    )


class KenCarp4(ESDIRK):
    """Order 4, L-stable, 5 implicit stages of stage order 2: ESDIRK4(3)6L[2]SA [KC03]."""

    order = 4
    tableau = Tableau(
        (0, 1 / 2, 83 / 250, 31 / 50, 17 / 20, 1),
        (
            (1 / 4, 1 / 4),
            (8611 / 62500, -1743 / 31250, 1 / 4),
            (5012029 / 34652500, -654441 / 2922500, 174375 / 388108, 1 / 4),
            (
                15267082809 / 155376265600,
                -71443401 / 120774400,
                730878875 / 902184768,
                2285395 / 8070912,
                1 / 4,
            ),
            (82889 / 524892, 0, 15625 / 83664, 69875 / 102672, -2260 / 8211, 1 / 4),
        ),
        (
            4586570599 / 29645900160,
            0,
            178811875 / 945068544,
            814220225 / 1159782912,
            -3700637 / 11593932,
            61727 / 225920,
        ),
        error_order=4,
    )
