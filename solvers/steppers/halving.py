"""Steps whose sizes are halves of halves of the time between two saved ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.steppers.base import Law, Pace
from pnpfusion.solvers.steppers.control import (
    FAILURES_BEFORE_ROBUST_STEP,
    LARGEST_GROWTH,
    SAFETY,
    SHRINK_AFTER_FAILURE,
    SMALLEST_SHRINK,
    AdaptiveSteps,
    Plan,
    Tolerance,
    Verdict,
)
from pnpfusion.solvers.steppers.modal import Split

FINEST = 40  # halvings


@dataclass(frozen=True)
class MeanSquare(Tolerance):
    """The error that counts as one: rtol times the root mean square of each species.

    An orthonormal transform keeps it, so it is the same for values and for their modes.
    """

    def ratio(self, error: Tensor | None, before: Tensor, after: Tensor) -> Tensor:
        """Error over allowed error, that of the worst species, ``(B,)``; zero without estimate."""
        if error is None:
            return torch.zeros(len(after), dtype=after.dtype, device=after.device)
        tiny, eps = torch.finfo(after.dtype).tiny, torch.finfo(after.dtype).eps
        error, after = (v.flatten(2) if v.ndim > 2 else v.unsqueeze(2) for v in (error, after))
        wrong, size = (torch.linalg.vector_norm(v, dim=2) for v in (error, after))
        worst = wrong / size.clamp_min(tiny)
        safe = (size > tiny**0.5 / eps) & size.isfinite() & wrong.isfinite()
        if not safe.all():  # squares are out of range
            largest = after.abs().amax(2, keepdim=True).clamp_min(tiny)
            wrong, size = (torch.linalg.vector_norm(v / largest, dim=2) for v in (error, after))
            worst = torch.where(safe, worst, wrong / size.clamp_min(tiny))
        ratio: Tensor = worst.amax(1) / self.rtol
        return ratio


class HalvedSteps(AdaptiveSteps):
    r"""Adaptive steps of :math:`2^{-m}` times the gap between two saved times.

    They begin at whole multiples of their size and end at the saved times, so a run has few sizes,
    whose coefficients are worth keeping.
    """

    def first(self, law: Law, u: Tensor, slope: Tensor) -> Pace:
        """A share of the time in which what is not linear changes the state."""
        span = float(self.times[-1] - self.times[0])
        known = law.part.resolution if isinstance(law, Split) else None
        if known is None:
            return super().first(law, u, slope)
        dt = torch.full((len(u),), span, dtype=self.times.dtype, device=u.device)
        quickest = known.quickest.to(dt)
        wanted = 1.5 * quickest * self.tolerance.rtol ** (1 / self.error_order)
        return Pace.of(torch.minimum(dt, wanted))

    def plan(self, pace: Pace, t: Tensor, following: Tensor, going: Tensor) -> Plan:
        at = following.clamp_max(len(self.times) - 1)
        begin, end = self.times[at - 1], self.times[at]
        gap = end - begin
        halvings = (gap / pace.dt).log2().sub(1e-9).ceil().nan_to_num(FINEST).clamp(0, FINEST)
        # Where the step begins, in the finest parts, which its size must divide:
        whole = 2**FINEST
        parts = ((t - begin) / gap * whole).round()
        while True:
            size = whole * 2**-halvings
            odd = parts.remainder(size) != 0
            if not odd.any():
                break
            halvings = halvings + odd
        after = parts + size
        ends = torch.where(after >= whole, end, begin + gap * (after / whole))
        dt = torch.where(going, gap * (size / whole), 0)
        robust = going & (pace.failures >= FAILURES_BEFORE_ROBUST_STEP)
        return Plan(dt, torch.where(going, ends, t), robust)

    def learn(self, pace: Pace, plan: Plan, verdict: Verdict) -> Pace:
        """Half the size after a step that errs; at least the same after one that does not."""
        accept, dt = verdict.accept, plan.dt
        valid = verdict.valid & verdict.ratio.isfinite()
        growth = SAFETY * verdict.ratio.clamp_min(1e-10).pow(-1 / self.error_order)
        growth = growth.clamp_max(LARGEST_GROWTH)
        # The last step may have been short for where it began:
        grown = torch.where(growth < 1, dt, torch.maximum(dt * growth, pace.dt))
        wanted = torch.where(accept, grown, dt * growth.clamp(SMALLEST_SHRINK, 0.5))
        wanted = torch.where(valid, wanted, dt * SHRINK_AFTER_FAILURE)
        moved = dt > 0
        worse = torch.where(valid, pace.failures, pace.failures + 1).masked_fill(accept, 0)
        return Pace(
            torch.where(moved, wanted, pace.dt),
            torch.where(moved, worse, pace.failures),
            pace.land,
        )

    def hopeless(self, pace: Pace, t: Tensor) -> Tensor:
        """Those that ask for less than the finest part of the time between two saved ones."""
        at = torch.searchsorted(self.times, t, right=True).clamp_max(len(self.times) - 1)
        gap = self.times[at] - self.times[at - 1]
        finest: Tensor = gap * 2**-FINEST
        return (pace.dt < finest) | super().hopeless(pace, t)
