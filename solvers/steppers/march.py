"""The one loop that takes steps: every sample at its own time with its own step, in lockstep."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import is_followed, is_transformed, per_state
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.plain_steps import (
    Advance,
    FollowedSteps,
    Place,
    PlainSteps,
    SlopedSteps,
    StartingSteps,
)
from pnpfusion.solvers.steppers.base import Law, Pace, Path, Report, Standing, Work
from pnpfusion.solvers.steppers.control import Control, Verdict
from pnpfusion.solvers.steppers.graph_room import GraphRoom
from pnpfusion.solvers.steppers.record import Piece, Record, Step
from pnpfusion.solvers.steppers.tape import Again, Method, State, Sweep, Tape

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.one_step import OneStep


def march(
    stepper: OneStep,
    law: Law,
    u0: Tensor,
    times: Tensor,
    report: Report | None = None,
    checkpoints: int | None = None,
    resume: Path | None = None,
) -> Path:
    """See :meth:`Stepper.integrate`."""
    record, control = Record(law, times), stepper.control(u0, times)
    method = Method(stepper, law, control.tolerance, record)
    plain = stepper.plain_steps(law, control)
    enabled = torch.is_grad_enabled()
    followed = enabled and isinstance(plain, FollowedSteps) and plain.follows(u0)
    follower = plain if checkpoints is None and isinstance(plain, FollowedSteps) else None
    here: Standing | None = None
    again: Again | None = None
    start: State | None = None  # for a tape alone, since it takes room
    graphs: GraphRoom | None = None

    def begun(steps: int) -> Standing:
        """Where the run begins, or comes to by at most so many plain steps that begin it."""
        if isinstance(plain, StartingSteps) and (follower is not None or not followed):
            return _arrived(plain.start(u0, steps), control, record, None)
        return _start(law, control, record, u0, follower)

    try:
        if resume is not None and resume.standing is not None:
            here = _resumed(control, record, resume, resume.standing)
        else:
            here = begun(control.max_steps)
            _tell(report, here, times)
        if enabled and follower is not None:
            again = method.again if followed else None  # for steps that are not plain
        elif enabled and (is_followed(here.u, here.slope) or _followed_later(law, u0, times)):
            again = method.again
            # A forward derivative goes along with the run and holds nothing.
            if checkpoints is not None and (here.u.requires_grad or here.slope.requires_grad):
                again, start = Tape(method, checkpoints, here.pieces), (here.u, here.slope)
                here = here.detached()
        if again is not None and follower is None:
            plain = None
            if start is None and method.alike and not is_transformed():
                graphs = GraphRoom()
        while here.going.any():
            if plain is not None:
                ahead = _advance(plain, control, here)
                here = _arrived(ahead, control, record, here)
                _tell(report, here, times)
                waits = ahead.waits & here.going
                if waits.any():  # the others have plain steps ahead
                    swept = _swept(method, control, replace(here, going=waits), again)
                    here = replace(swept, going=swept.going | (here.going & ~waits))
                continue
            if graphs is not None and graphs.is_full and here.u.requires_grad:
                tape, state, graphs = Tape(method, None, here.pieces), (here.u, here.slope), None
                again, start, here = tape, state, here.detached()
            # One assignment: an interruption finds all of a sweep done, or nothing of it.
            with nullcontext() if graphs is None else graphs.counted():
                here = _swept(method, control, here, again)
            _tell(report, here, times)
    except KeyboardInterrupt:
        # In the line of a `with` statement it may come before what the statement restores.
        torch.set_grad_enabled(enabled)
        if isinstance(again, Tape):
            again.outside.forget_modes()
        if here is None:
            here = begun(0)
        here = here.stopped(here.going, Outcome.INTERRUPTED)
    pieces = record.pieces[: here.pieces]
    if isinstance(again, Tape) and start is not None:
        pieces = [*pieces[: again.before], *again.attach(pieces[again.before :], start)]
    return record.path(here, pieces)


def _advance(plain: PlainSteps, control: Control, here: Standing) -> Advance:
    """The law's own steps from ``here``."""
    pace, lowest = here.pace, here.lowest
    if lowest is None:
        lowest = torch.full_like(here.t, torch.inf)
    place = Place(here.t, here.u, here.slope, here.next, pace.dt, pace.failures, pace.land, lowest)
    left = control.max_steps - here.work.steps - here.work.rejected
    return plain.advance(place, here.going, left)


def _arrived(ahead: Advance, control: Control, record: Record, before: Standing | None) -> Standing:
    """Where the law's own steps lead, from ``before`` or from the start."""
    if before is None:
        record.pieces.clear()
    if before is None or ahead.which.shape[0]:
        saved = ahead.which, ahead.sample, ahead.values, ahead.lowest
        record.pieces.append(Piece(*saved, in_place=ahead.in_place))
    there, none = ahead.place, torch.zeros_like(ahead.steps)
    work = Work(ahead.steps, ahead.rejected, none, ahead.iterations, ahead.rate_calls)
    outcomes = (Outcome.REACHED_END,) * none.shape[0]
    going = there.next < record.times.shape[0]
    if before is not None:
        work, outcomes, going = before.work + work, before.outcomes, before.going & going
    here = Standing(
        t=there.t,
        u=there.u,
        slope=there.slope,
        next=there.next,
        going=going,
        outcomes=outcomes,
        pace=Pace(there.dt, there.failures, there.land),
        work=work,
        lowest=there.lowest,
        pieces=len(record.pieces),
    )
    return here.stopped(control.spent(work), Outcome.OUT_OF_STEPS) if going.any() else here


def _followed_later(law: Law, u0: Tensor, times: Tensor) -> bool:
    """Whether what drives the law has a gradient in the middle or at the end of the run."""
    if not getattr(law, "driven", False):
        return False
    later = (times[len(times) // 2], (times[0] + times[-1]) / 2, times[-1])
    return any(is_followed(law.rate(t.to(u0).expand(len(u0)), u0.detach())) for t in later)


def _start(
    law: Law, control: Control, record: Record, u0: Tensor, follower: FollowedSteps | None
) -> Standing:
    """Where a run begins; its slopes are asked of ``follower``, if that has its own."""
    times, batch = record.times, len(u0)
    rate = follower.rate if isinstance(follower, SlopedSteps) else law.rate
    slope = rate(times[:1].to(u0.dtype).expand(batch), u0)
    with torch.no_grad():  # the sizes of steps count as constants
        pace = control.first(law, u0.detach(), slope.detach())
    work, lowest = Work.none(batch, u0.device), record.begin(u0)
    first = work.steps + 1
    return Standing(
        t=times[:1].repeat(batch),
        u=u0,
        slope=slope,
        next=first,
        going=first < len(times),
        outcomes=(Outcome.REACHED_END,) * batch,
        pace=pace,
        work=replace(work, rate_calls=first),
        lowest=None if lowest is None else torch.full_like(lowest, torch.inf),
        pieces=len(record.pieces),
    )


def _resumed(control: Control, record: Record, path: Path, standing: Standing) -> Standing:
    """Where ``path`` stopped, with the samples going that did not fail."""
    record.resume(path)
    ended = (Outcome.NOT_FINITE, Outcome.STEP_TOO_SMALL)
    lost = [outcome in ended for outcome in standing.outcomes]
    going = standing.next < len(record.times)
    going = going & ~torch.tensor(lost, dtype=torch.bool, device=going.device)
    here = replace(
        standing,
        going=going,
        outcomes=tuple(
            outcome if over else Outcome.REACHED_END
            for outcome, over in zip(standing.outcomes, lost, strict=True)
        ),
        pieces=len(record.pieces),
    )
    return here.stopped(control.spent(here.work), Outcome.OUT_OF_STEPS)


def _swept(method: Method, control: Control, here: Standing, again: Again | None) -> Standing:
    """Where the run stands after one step of every sample that is going."""
    t, u, slope, going, work = here.t, here.u, here.slope, here.going, here.work
    stepper, law, tolerance, record = method.stepper, method.law, method.tolerance, method.record
    plan = control.plan(here.pace, t, here.next, going)
    u_0, k_0 = u.detach(), slope.detach()
    # A step that no iteration finds is recorded as it is tried, and stands if all of them do.
    at_once = again is not None and not isinstance(again, Tape) and not stepper.iterates
    with nullcontext() if at_once else torch.no_grad():
        recorded = stepper.take(law, t, plan, *((u, slope) if at_once else (u_0, k_0)), tolerance)
    with torch.no_grad():
        trial = recorded.detached() if at_once else recorded
        ratio = tolerance.ratio(trial.error, u_0, trial.u)
        judged = trial.solved & ~ratio.isnan()
        valid = going & judged & stepper.admissible(law, plan, u_0, trial.u)
        accept, pushed = record.may_keep(
            valid & (ratio <= 1), Step(t, plan, u_0, k_0, trial.u, trial.slope)
        )
    stands = recorded if at_once and torch.equal(accept, going) else trial
    keep = per_state(accept, u)
    after = torch.where(keep, stands.u, u), torch.where(keep, stands.slope, slope)
    # The steps that stand, once more and recorded, unless they were as they were tried.
    if again is not None and stands is trial and accept.any():
        sweep = Sweep(t, plan, accept, bool(trial.stages), len(record.pieces))
        if not (isinstance(again, Tape) and again.writes_down(sweep, (u, slope), trial.stages)):
            after = again(sweep, (u, slope), trial.stages)
            if sweep.staged and not stepper.iterates:  # the slope was not asked for again
                after = after[0], torch.where(keep, trial.slope, slope)
    following, lowest = record.keep(accept, Step(t, plan, u, slope, *after), here.next, here.lowest)
    t = torch.where(accept, plan.ends, t)
    work = Work(
        steps=work.steps + accept,
        rejected=work.rejected + (going & ~accept),
        fallbacks=work.fallbacks + (accept & plan.robust),
        iterations=work.iterations + torch.where(going, trial.iterations, 0),
        rate_calls=work.rate_calls + torch.where(going, trial.rate_calls, 0),
    )
    pace = control.learn(here.pace, plan, Verdict(accept, valid, ratio, pushed))
    there = Standing(
        t=t,
        u=after[0],
        slope=after[1],
        next=following,
        going=going & (following < len(record.times)),
        outcomes=here.outcomes,
        pace=pace,
        work=work,
        lowest=lowest,
        pieces=len(record.pieces),
    )
    for which, outcome in control.ended(pace, t, going & ~accept, trial.u, work):
        there = there.stopped(which, outcome)
    return there


def _tell(report: Report | None, here: Standing, times: Tensor) -> None:
    """Report the share of the time span that every sample still going has behind it."""
    if report is None:
        return
    share = 1.0
    if here.going.any():
        share = float(((here.t[here.going] - times[0]) / (times[-1] - times[0])).min())
    report(share)
