"""The one loop that takes steps: every sample at its own time with its own step, in lockstep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.steppers.base import Law, Path, Report, Standing, Work
from pnpfusion.solvers.steppers.control import Control, Verdict
from pnpfusion.solvers.steppers.record import Record, Step

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.one_step import OneStep


def march(
    stepper: OneStep, law: Law, u0: Tensor, times: Tensor, report: Report | None = None
) -> Path:
    """See :meth:`Stepper.integrate`."""
    record, control = Record(law, times), stepper.control(u0, times)
    here = _start(law, control, record, u0, times)
    differentiable = torch.is_grad_enabled() and (here.slope.requires_grad or u0.requires_grad)
    try:
        while here.going.any():
            # One assignment: an interruption finds all of a sweep done, or nothing of it.
            here = _swept(stepper, law, control, record, here, differentiable)
            if report is not None:
                report(_progress(here, times))
    except KeyboardInterrupt:
        here = here.stopped(here.going, Outcome.INTERRUPTED)
    return record.path(here)


def _start(law: Law, control: Control, record: Record, u0: Tensor, times: Tensor) -> Standing:
    batch, t = len(u0), times[:1].expand(len(u0)).clone()
    slope = law.rate(t, u0)
    work = Work.none(batch, u0.device)
    record.begin(u0)
    with torch.no_grad():  # the sizes of steps count as constants
        pace = control.first(law, u0.detach(), slope.detach())
        lowest = law.lowest(u0)
    return Standing(
        t=t,
        u=u0,
        slope=slope,
        next=torch.ones_like(work.steps),
        going=torch.full_like(work.steps, len(times) > 1, dtype=torch.bool),
        outcomes=(Outcome.REACHED_END,) * batch,
        pace=pace,
        work=replace(work, rate_calls=work.rate_calls + 1),
        lowest=None if lowest is None else torch.full_like(lowest, torch.inf),
        pieces=len(record.pieces),
    )


def _swept(
    stepper: OneStep,
    law: Law,
    control: Control,
    record: Record,
    here: Standing,
    differentiable: bool,
) -> Standing:
    """Where the run stands after one step of every sample that is going."""
    t, u, slope, going, work = here.t, here.u, here.slope, here.going, here.work
    tolerance = control.tolerance
    plan = control.plan(here.pace, t, here.next, going)
    u_0, k_0 = u.detach(), slope.detach()
    with torch.no_grad():
        trial = stepper.take(law, t, plan, u_0, k_0, tolerance)
        ratio = tolerance.ratio(trial.error, u_0, trial.u)
        valid = going & trial.solved & stepper.admissible(law, plan, u_0, trial.u)
        accept, pushed = record.may_keep(
            valid & (ratio <= 1), Step(t, plan, u_0, k_0, trial.u, trial.slope)
        )
    if differentiable and accept.any():  # the steps that stand once more, recorded
        taken = replace(plan, dt=torch.where(accept, plan.dt, 0))
        stages = tuple(torch.where(per_state(accept, u), s, u_0) for s in trial.stages)
        again = stepper.take(law, t, taken, u, slope, tolerance, stages)
        trial = replace(trial, u=again.u, slope=again.slope)
    step = Step(t, plan, u, slope, trial.u, trial.slope)
    following, lowest = record.keep(accept, step, here.next, here.lowest)
    t = torch.where(accept, plan.ends, t)
    work = Work(
        steps=work.steps + accept,
        rejected=work.rejected + (going & ~accept),
        fallbacks=work.fallbacks + (accept & plan.robust),
        iterations=work.iterations + torch.where(going, trial.iterations, 0),
        rate_calls=work.rate_calls + torch.where(going, trial.rate_calls, 0),
    )
    pace = control.learn(here.pace, plan, Verdict(accept, valid, ratio, pushed))
    after = Standing(
        t=t,
        u=torch.where(per_state(accept, u), trial.u, u),
        slope=torch.where(per_state(accept, u), trial.slope, slope),
        next=following,
        going=going & (following < len(record.times)),
        outcomes=here.outcomes,
        pace=pace,
        work=work,
        lowest=lowest,
        pieces=len(record.pieces),
    )
    for which, outcome in control.ended(pace, t, going & ~accept, trial.u, work):
        after = after.stopped(which, outcome)
    return after


def _progress(here: Standing, times: Tensor) -> float:
    """The share of the time span that every sample still going has behind it."""
    if not here.going.any():
        return 1.0
    return float(((here.t[here.going] - times[0]) / (times[-1] - times[0])).min())
