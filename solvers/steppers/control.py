"""How large the next step is: fixed, or as large as the error of each sample allows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.plain_steps import FixedStep, Rate
from pnpfusion.solvers.steppers.base import FirstStep, Law, Pace, Work

SAFETY, LARGEST_GROWTH, SMALLEST_SHRINK = 0.9, 5.0, 0.2
SHRINK_AFTER_FAILURE = 0.25
FAILURES_BEFORE_ROBUST_STEP = 3


@dataclass(frozen=True)
class Tolerance:
    """The local error that counts as one: atol + rtol abs(u), in the mean square of a sample."""

    rtol: float
    atol: float

    def scale(self, u: Tensor) -> Tensor:
        """The error allowed in each component, like ``u``."""
        return self.atol + self.rtol * u.abs()

    def ratio(self, error: Tensor | None, before: Tensor, after: Tensor) -> Tensor:
        """Error over allowed error per sample, ``(B,)``; zero where there is no estimate."""
        if error is None:
            return torch.zeros(len(after), dtype=after.dtype, device=after.device)
        allowed = self.scale(torch.maximum(before.abs(), after.abs()))
        return (error / allowed).square().flatten(1).mean(1).sqrt()


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps of one sweep; every tensor has shape (B,)."""

    dt: Tensor  #: 0 for samples that rest
    ends: Tensor  #: the time after the step
    robust: Tensor  #: whether to take the law's first-order robust step


@dataclass(frozen=True, eq=False)
class Verdict:
    """How the steps of one sweep went; every tensor has shape (B,)."""

    accept: Tensor  #: which steps stand
    valid: Tensor  #: which were solved and admissible, whatever their error
    ratio: Tensor  #: error over allowed error
    pushed: Tensor  #: which must be taken again onto the next saved time


class Control(ABC):
    """Chooses the steps of a run. What it learns is in the :class:`Pace` that it hands on."""

    tolerance: Tolerance
    times: Tensor
    max_steps: int

    @abstractmethod
    def first(self, law: Law, u: Tensor, slope: Tensor) -> Pace:
        """The pace at which a run begins."""

    def start(self, law: Law, rate: Rate, u: Tensor) -> tuple[Tensor, Pace]:
        """The slopes of ``u`` and the pace at which a run begins there."""
        slope = rate(self.times[:1].to(u.dtype).expand(len(u)), u)
        with torch.no_grad():  # the sizes of steps count as constants
            return slope, self.first(law, u.detach(), slope.detach())

    @abstractmethod
    def plan(self, pace: Pace, t: Tensor, following: Tensor, going: Tensor) -> Plan:
        """The next step of each sample; ``following`` is the index of its next saved time."""

    @abstractmethod
    def learn(self, pace: Pace, plan: Plan, verdict: Verdict) -> Pace:
        """The pace after steps that went so."""

    @abstractmethod
    def hopeless(self, pace: Pace, t: Tensor) -> Tensor:
        """Samples whose last failure leaves nothing else to try, bool ``(B,)``."""

    def ended(
        self, pace: Pace, t: Tensor, failed: Tensor, tried: Tensor, work: Work
    ) -> Iterator[tuple[Tensor, Outcome]]:
        """Which samples end here without reaching the end, and how."""
        lost = failed & self.hopeless(pace, t)
        if lost.any():
            finite = tried.detach().isfinite().flatten(1).all(1)
            yield lost & ~finite, Outcome.NOT_FINITE
            yield lost & finite, Outcome.STEP_TOO_SMALL
        yield self.spent(work), Outcome.OUT_OF_STEPS

    def spent(self, work: Work) -> Tensor:
        """Samples that may take no further step, bool ``(B,)``."""
        return work.steps + work.rejected >= self.max_steps

    def _aimed(self, dt: Tensor, t: Tensor, target: Tensor, going: Tensor) -> tuple[Tensor, Tensor]:
        """Steps of ``dt``, shortened or stretched a little to end at ``target``, and their ends."""
        room = target - t
        dt = torch.where(room - dt < 1e-6 * dt, room, dt)
        dt = torch.where(going, dt, 0)
        return dt, torch.where(going & (dt == room), target, t + dt)


class FixedSteps(Control):
    """Equal steps of at most ``dt`` between each two saved times."""

    def __init__(
        self, dt: float, times: Tensor, tolerance: Tolerance, max_steps: int, *, retry: bool
    ) -> None:
        gaps = times.diff()
        self.sizes = gaps / (gaps / dt - 1e-6).ceil().clamp_min(1)
        self.dt, self.times, self.tolerance, self.max_steps = dt, times, tolerance, max_steps
        self.tries = 2 if retry else 1  #: the second one is the robust step

    def first(self, law: Law, u: Tensor, slope: Tensor) -> Pace:
        return Pace.of(torch.full((len(u),), self.dt).to(self.times))

    def plan(self, pace: Pace, t: Tensor, following: Tensor, going: Tensor) -> Plan:
        at = following.clamp_max(len(self.times) - 1)
        dt, ends = self._aimed(self.sizes[at - 1], t, self.times[at], going)
        return Plan(dt, ends, going & (pace.failures > 0))

    def schedule(self, t: float, following: int, most: int) -> list[FixedStep]:
        """The steps of a sample at ``t``, at most ``most``, as :meth:`plan` would make them."""
        steps: list[FixedStep] = []
        sizes, times = self.sizes.tolist(), self.times.tolist()
        while len(steps) < most and following < len(times):
            room, dt = times[following] - t, sizes[following - 1]
            if room - dt < 1e-6 * dt:
                dt = room
            t = times[following] if dt == room else t + dt
            following += t >= times[following]
            steps.append(FixedStep(dt, t, following))
        return steps

    def learn(self, pace: Pace, plan: Plan, verdict: Verdict) -> Pace:
        return Pace(pace.dt, torch.where(verdict.accept, 0, pace.failures + 1), pace.land)

    def hopeless(self, pace: Pace, t: Tensor) -> Tensor:
        return pace.failures >= self.tries


class AdaptiveSteps(Control):
    """Steps as large as each sample's own error allows; saved times do not shorten them."""

    def __init__(
        self, times: Tensor, tolerance: Tolerance, max_steps: int, *, error_order: int
    ) -> None:
        self.times, self.tolerance, self.max_steps = times, tolerance, max_steps
        self.error_order = error_order

    def start(self, law: Law, rate: Rate, u: Tensor) -> tuple[Tensor, Pace]:
        begun = self._begun(law, u)
        if begun is None:
            return super().start(law, rate, u)
        slope, dt = begun
        return slope, Pace.of(dt)

    def _begun(self, law: Law, u: Tensor) -> tuple[Tensor, Tensor] | None:
        begin = getattr(law, "begin", None)
        if begin is None:
            return None
        span = float(self.times[-1] - self.times[0])
        order = float(self.error_order)
        begun: tuple[Tensor, Tensor] | None = begin(
            u, FirstStep(self.tolerance.rtol, self.tolerance.atol, order, span)
        )
        return begun

    def first(self, law: Law, u: Tensor, slope: Tensor) -> Pace:
        """A step over which the state and its slope change by about the tolerance [HNW93, II.4]."""
        begun = self._begun(law, u)
        if begun is not None:  # the same step whether or not the slope has a gradient
            return Pace.of(begun[1])
        span = self.times[-1] - self.times[0]
        scale = self.tolerance.scale(u)

        def size(values: Tensor) -> Tensor:
            return (values / scale).square().flatten(1).mean(1).sqrt()

        tiny = torch.finfo(u.dtype).tiny
        trial = 0.01 * size(u) / (size(slope) + tiny)
        trial = torch.minimum(trial, span).clamp_min(1e-12 * span)
        at = (self.times[0] + trial).to(u.dtype)
        ahead = law.rate(at, u + per_state(trial, u).to(u.dtype) * slope)
        curvature = size(ahead - slope) / trial
        steepest = torch.maximum(size(slope), curvature).clamp_min(tiny)
        wanted = (0.01 / steepest).pow(1 / self.error_order)
        first = torch.minimum(torch.minimum(100 * trial, wanted), span)
        return Pace.of(first.nan_to_num(1e-6 * float(span)).to(self.times.dtype))

    def plan(self, pace: Pace, t: Tensor, following: Tensor, going: Tensor) -> Plan:
        robust = going & (pace.failures >= FAILURES_BEFORE_ROBUST_STEP)
        last = torch.full_like(following, len(self.times) - 1)
        at = torch.where(robust | pace.land, torch.minimum(following, last), last)
        dt, ends = self._aimed(torch.minimum(pace.dt, self.times[at] - t), t, self.times[at], going)
        return Plan(dt, ends, robust)

    def learn(self, pace: Pace, plan: Plan, verdict: Verdict) -> Pace:
        accept, valid = verdict.accept, verdict.valid
        order = torch.where(plan.robust, 2, self.error_order)
        growth = (SAFETY * verdict.ratio.clamp_min(1e-10).pow(-1 / order)).clamp(
            SMALLEST_SHRINK, LARGEST_GROWTH
        )
        growth = torch.where(accept, growth, growth.clamp_max(SAFETY))
        growth = torch.where(valid, growth, SHRINK_AFTER_FAILURE)
        wanted = plan.dt * growth
        # Cut short by a saved time, not by the error:
        cut_short = accept & (plan.dt < pace.dt) & (growth >= 1)
        wanted = torch.where(cut_short, torch.maximum(wanted, pace.dt), wanted)
        moved = (plan.dt > 0) & ~verdict.pushed
        worse = torch.where(valid, pace.failures, pace.failures + 1)
        settled = torch.where(plan.robust, FAILURES_BEFORE_ROBUST_STEP - 1, 0)
        return Pace(
            dt=torch.where(moved, wanted, pace.dt),
            failures=torch.where(moved, torch.where(accept, settled, worse), pace.failures),
            land=verdict.pushed | (pace.land & ~accept),
        )

    def hopeless(self, pace: Pace, t: Tensor) -> Tensor:
        precision = torch.finfo(t.dtype).eps
        span = self.times[-1] - self.times[0]
        return pace.dt < 4 * precision * torch.maximum(t.abs(), 1e-3 * span)
