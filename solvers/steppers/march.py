"""The one loop that takes steps: every sample at its own time with its own step, in lockstep."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.plain_steps import PlainSteps
from pnpfusion.solvers.steppers.base import Law, Path, Report, Stepper, Work
from pnpfusion.solvers.steppers.control import Control, Plan, Tolerance, per_state
from pnpfusion.solvers.steppers.record import Record


@dataclass(frozen=True, eq=False)
class Attempt:
    """One step of every sample, which may still be thrown away."""

    u: Tensor  #: state at the end, (B, *state)
    slope: Tensor  #: du/dt there, (B, *state)
    error: Tensor | None  #: estimate of the local error, (B, *state); None: the method has none
    solved: Tensor  #: whether its equations were solved, bool (B,)
    iterations: Tensor  #: Newton iterations, (B,)
    rate_calls: int  #: evaluations of the rate
    stages: tuple[Tensor, ...] = ()  #: where to begin if the same step is solved again


class OneStep(Stepper):
    """A stepper that needs nothing but the state and slope at the beginning of its step."""

    #: Whether a step solves equations (and must keep what is positive positive).
    implicit: ClassVar[bool]

    @abstractmethod
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
        """A step of ``dt`` ``(B,)`` from ``u`` at ``t``, solved to a small part of ``scale``."""

    @abstractmethod
    def control(self, law: Law, u: Tensor, slope: Tensor, times: Tensor) -> Control:
        """What chooses the steps of one run."""

    def plain_steps(self, law: Law, control: Control) -> PlainSteps | None:
        """The law's own way to take this method's steps; None: it has none."""
        return None

    def integrate(self, law: Law, u0: Tensor, times: Tensor, report: Report | None = None) -> Path:
        """See :meth:`Stepper.integrate`."""
        t, u = times[:1].expand(len(u0)).clone(), u0
        slope = law.rate(t, u)
        differentiable = torch.is_grad_enabled() and (slope.requires_grad or u0.requires_grad)
        record, work = Record(law, u0, times), Work.none(len(u0), u0.device)
        work.rate_calls.add_(1)
        with torch.no_grad():  # the sizes of steps count as constants
            control = self.control(law, u.detach(), slope.detach(), times)
            plain = None if differentiable else self.plain_steps(law, control)
        try:
            while record.going.any():
                going = record.going
                if plain is not None:
                    left = control.max_steps - 1 - work.steps - work.rejected
                    place = control.place(t, u, slope, record.next)
                    ahead = plain.advance(place, going, left)
                    t, u, slope = ahead.place.t, ahead.place.u, ahead.place.slope
                    record.take(ahead)
                    control.take(ahead.place)
                    work.steps.add_(ahead.steps)
                    work.rejected.add_(ahead.rejected)
                    work.iterations.add_(ahead.iterations)
                    if report is not None:
                        report(record.progress(t))
                    going = record.going & ahead.waits  # the others have plain steps ahead
                    if not going.any():
                        continue
                plan = control.plan(t, record.next, going)
                u_0, slope_0 = u.detach(), slope.detach()
                with torch.no_grad():
                    trial = self._try(law, t, plan, u_0, slope_0, control.tolerance)
                    ratio = control.tolerance.ratio(trial.error, u_0, trial.u)
                    valid = going & trial.solved & self._admissible(law, plan, u_0, trial.u)
                    accept = valid & (ratio <= 1)
                    accept, pushed = record.may_keep(
                        accept, t, plan, u_0, slope_0, trial.u, trial.slope
                    )
                if differentiable and accept.any():  # the steps that stand once more, recorded
                    taken = replace(plan, dt=torch.where(accept, plan.dt, 0))
                    stages = tuple(torch.where(per_state(accept, u), s, u_0) for s in trial.stages)
                    again = self._try(law, t, taken, u, slope, control.tolerance, stages)
                    trial = replace(trial, u=again.u, slope=again.slope)
                record.keep(accept, t, plan, u, slope, trial.u, trial.slope)
                u = torch.where(per_state(accept, u), trial.u, u)
                slope = torch.where(per_state(accept, u), trial.slope, slope)
                t = torch.where(accept, plan.ends, t)

                work.steps.add_(accept)
                work.rejected.add_(going & ~accept)
                work.fallbacks.add_(accept & plan.robust)
                work.iterations.add_(torch.where(going, trial.iterations, 0))
                work.rate_calls.add_(torch.where(going, trial.rate_calls, 0))
                control.learn(plan, accept, valid, ratio, pushed)
                for which, outcome in control.ended(t, going & ~accept, trial.u, work):
                    record.stop(which, outcome)
                if report is not None:
                    report(record.progress(t))
        except KeyboardInterrupt:
            record.stop(record.going, Outcome.INTERRUPTED)
        return record.path(work)

    def _admissible(self, law: Law, plan: Plan, before: Tensor, after: Tensor) -> Tensor:
        """Whether a step ended well: finite, and positive where the law and method ask for it.

        Zero will do where it was zero before, and after a robust step, which gets there only where
        the value is below the smallest number there is.
        """
        finite = after.isfinite().flatten(1).all(1)
        lowest, lowest_before = law.lowest(after), law.lowest(before)
        if not self.implicit or lowest is None or lowest_before is None:
            return finite
        return finite & ((lowest > 0) | ((lowest == 0) & (plan.robust | (lowest_before == 0))))

    def _try(
        self,
        law: Law,
        t: Tensor,
        plan: Plan,
        u: Tensor,
        slope: Tensor,
        tolerance: Tolerance,
        stages: tuple[Tensor, ...] = (),
    ) -> Attempt:
        """This method's step, or where the plan says so two halves of the law's robust step."""
        scale = tolerance.scale(u.detach())
        dt = torch.where(plan.robust, 0, plan.dt)
        trial = self.attempt(law, t, dt, u, slope, scale, stages)
        if not plan.robust.any():
            return trial
        robust, dt = per_state(plan.robust, u), torch.where(plan.robust, plan.dt, 0)
        steps = _robust_steps(law, t, dt, u)
        if steps is None:
            return replace(trial, solved=trial.solved & ~plan.robust)
        twice, once = steps
        error = trial.error  # fixed steps have none: the robust step then stands as it is
        if error is not None:
            error = torch.where(robust, once - twice, error).detach()
        return replace(
            trial,
            u=torch.where(robust, twice, trial.u),
            slope=torch.where(robust, law.rate(plan.ends, twice), trial.slope),
            error=error,
            solved=trial.solved | plan.robust,
            rate_calls=trial.rate_calls + 1,
        )


def _robust_steps(law: Law, t: Tensor, dt: Tensor, u: Tensor) -> tuple[Tensor, Tensor] | None:
    """The law's robust step taken as two halves, and at once without gradient; None without one."""
    half = law.robust_step(t, dt / 2, u)
    twice = None if half is None else law.robust_step(t + dt / 2, dt / 2, half)
    if twice is None:
        return None
    with torch.no_grad():
        once = law.robust_step(t, dt, u)
    return None if once is None else (twice, once)
