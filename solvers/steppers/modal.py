"""Runs in the modes of a law with a linear part, which are left only for the states to be saved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import (
    ImplicitSolve,
    is_followed,
    per_state,
    runs_forward,
)
from pnpfusion.solvers.phi_functions import apply
from pnpfusion.solvers.plain_steps import Advance, Place, SlopedSteps
from pnpfusion.solvers.steppers.base import Law, Pace, Semilinear, SemilinearLaw
from pnpfusion.solvers.steppers.control import Control, Plan, Verdict
from pnpfusion.solvers.steppers.matrices import Matrices
from pnpfusion.solvers.steppers.modal_standing import ModalStanding
from pnpfusion.solvers.steppers.modal_tape import ModalTape

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

REDUCED_AFTER = 4  # steps, since what a state needs changes slowly
ROOM_FOR_TRACES = 2**28  # bytes that the stages of the first steps of a run may take
MOST_AT_ONCE = 20_000_000  # modes times steps, so that Ctrl-C and progress bars wait a moment only


@dataclass(eq=False)
class Split:
    """A law whose linear part is known."""

    law: Law
    part: Semilinear
    checkpoints: int | None = None  #: places kept for the gradient; None: as many as fit
    matrices: Matrices | None = field(default=None)

    def whole(self, method: Exponential) -> tuple[Semilinear, Matrices]:
        """The law in all of its modes."""
        if self.matrices is None:
            self.matrices = Matrices(method, self.part.linear, self.part.alike)
        return self.part, self.matrices

    def part_at(self, u: Tensor, negligible: float) -> Semilinear:
        """The law about ``u`` in as many modes as it needs; see :class:`Resolution`."""
        part = self.law.semilinear(u) if isinstance(self.law, SemilinearLaw) else None
        part = self.part if part is None else part
        return part if part.resolution is None else part.resolution.fitting(u, negligible)

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        return self.law.rate(t, u)

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        return self.law.solve_implicit(t, base, step, guess, scale)

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> Tensor | None:
        return self.law.robust_step(t, dt, u)

    def lowest(self, u: Tensor, sample: Tensor | None = None) -> Tensor | None:
        return self.law.lowest(u, sample)


def surviving(part: Semilinear, span: float) -> Semilinear:
    """``part`` in all modes that a gradient over ``span`` can tell."""
    more = None if part.resolution is None else part.resolution.surviving(span)
    return part if more is None else more


@dataclass(frozen=True, eq=False)
class _Saved:
    """Modes of samples at a saved time, to be brought back to the cells."""

    following: Tensor  #: the index of each sample's time, (B,)
    sample: Tensor  #: which of them, (P,)
    part: Semilinear
    modes: Tensor  #: theirs, (P, S, *modes)
    lowest: Tensor  #: the smallest value since the time before, (P,)


def _together(plan: Plan, moving: Tensor, like: Tensor) -> Tensor:
    """Steps of all samples: who rests steps along, for coefficients to share, and is put back."""
    return torch.where(moving, plan.dt, plan.dt.max()).to(like.dtype)


@dataclass(eq=False)
class ModalSteps(SlopedSteps):
    """Takes the steps of `march` in modes, which carry the gradient; see :class:`SlopedSteps`.

    A step whose end is not finite is not plain. Between saved times the smallest concentration is
    looked for at the points where products are formed. The first steps keep what the gradient needs
    of them. Backward, those after them are taken again from a few places (:class:`ModalTape`);
    forward derivatives, and laws that do not tell what they are made of, are recorded.
    """

    method: Exponential
    split: Split
    control: Control
    tried: int = 0  #: steps so far, for what a gradient needs at once to grow with their root
    room: int = field(default_factory=lambda: ROOM_FOR_TRACES)  #: bytes left for their stages

    @property
    def negligible(self) -> float:
        """What a mode may hold of the largest one: hundreds of them are still far below rtol."""
        return 3e-5 * self.control.tolerance.rtol

    def follows(self, u: Tensor) -> bool:
        """See :class:`SlopedSteps`."""
        return is_followed(u, self.split.part.linear)

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`SlopedSteps`."""
        with torch.no_grad():
            part = self.split.part_at(u, self.negligible)
            v = part.to_modes(u)
            return part.from_modes(apply(part.linear, v, plus=part.remainder(t, v)))

    def advance(self, place: Place, going: Tensor, left: Tensor) -> Advance:
        """See :class:`PlainSteps`."""
        control, times, u = self.control, self.control.times, place.u
        part = self.split.part_at(u, self.negligible)
        followed = torch.is_grad_enabled() and is_followed(u, part.linear)
        if followed:
            part = surviving(part, float((times[place.next[going]] - place.t[going]).min()))
        clock, began, tape = place.t.to(u.dtype), part.to_modes(u), None
        if followed and not runs_forward():
            asked = self.split.checkpoints
            tape = ModalTape.of(self.method, part, clock, began.detach(), asked, self.room)
        here = (
            ModalStanding.of(self.method, part, clock, began)
            if tape is None
            else ModalStanding.entering(tape)
        )
        t, following, lowest = place.t, place.next, place.lowest
        pace = Pace(place.dt, place.failures, place.land)
        moving, lost = going & (left > 0), torch.zeros_like(going)
        steps = rejected = torch.zeros_like(following)
        calls = torch.where(going, 2, 0)  # here and at the end
        saved: list[_Saved] = []
        stand = False  # whether all samples stand where they have just been saved
        most = max(8, MOST_AT_ONCE // max(1, here.v.numel()), isqrt(self.tried))
        for count in range(1, 1 + most):
            if not moving.any():
                break
            if tape is not None and count % REDUCED_AFTER == 0:
                here = here.reduced_on(tape, t, float((t - place.t)[moving].min()))
            plan, self.tried = control.plan(pace, t, following, moving), self.tried + 1
            recorded = followed and tape is None
            with torch.set_grad_enabled(recorded):
                here, end, n, verdict = self._tried(here, t, plan, moving, recorded)
            here = here.at(end, n, verdict.accept)
            if tape is not None and verdict.accept.any():
                valid = bool(verdict.valid.all())
                dt = _together(plan, moving, here.v)
                dt = dt if valid else torch.where(verdict.valid, dt, 0)
                tape.add(t.to(dt), dt, verdict.accept, (here.v, here.n), valid=valid)
            accept, failed = verdict.accept, moving & ~verdict.valid
            learnt = control.learn(pace, plan, verdict)
            pace = Pace(  # `march` is to see the step fail for the first time
                torch.where(failed, pace.dt, learnt.dt),
                torch.where(failed, pace.failures, learnt.failures),
                learnt.land,
            )
            steps, calls = steps + accept, calls + 4 * moving
            rejected = rejected + (moving & ~accept & ~failed)
            stuck = moving & ~accept & control.hopeless(pace, t)  # `march` ends them
            t, lost = torch.where(accept, plan.ends, t), lost | failed | stuck
            reached = accept & (t >= times[following.clamp_max(len(times) - 1)])
            stand = stand and not bool(accept.any())
            if reached.any():
                sample = reached.nonzero().squeeze(1)
                saved.append(_Saved(following, sample, here.part, here.v[sample], lowest[sample]))
                stand = len(sample) == len(u)
                if tape is not None:
                    tape.save(sample)
                following = following + reached
                lowest = torch.where(reached, torch.inf, lowest)
            if bool((accept & ~reached).any()):
                lowest = torch.where(accept & ~reached, self._lowest(here, lowest), lowest)
            if not followed and count % REDUCED_AFTER == 0:
                here = here.reduced()
            moving = moving & ~lost & (following < len(times)) & (steps + rejected < left)
        if tape is not None:
            self.room, tape.law.remainder.evaluations = tape.room, []
            wanted = [*(one.modes for one in saved), here.v]
            *modes, end = tape.attached(began, wanted)
            here = replace(here, v=end)
            saved = [replace(one, modes=v) for one, v in zip(saved, modes, strict=True)]
        with torch.no_grad():
            v, n = here.v.detach(), here.n.detach()
            slope = here.part.from_modes(apply(here.part.linear, v, plus=n))
        moved = per_state(steps > 0, u)
        empty = following[:0], following[:0], u[:0], lowest[:0]
        which, sample, values, smallest = (
            torch.cat(p)
            for p in zip(*([self._in_cells(one) for one in saved] or [empty]), strict=True)
        )
        ends = values[-len(u) :] if stand else here.part.from_modes(here.v)
        order = (which * len(u) + sample).argsort()  # samples have their own pace
        if bool((order.diff() < 0).any()):
            which, sample, values, smallest = (p[order] for p in (which, sample, values, smallest))
        return Advance(
            place=Place(
                t=t,
                u=torch.where(moved, ends, u),
                slope=torch.where(moved, slope, place.slope),
                next=following,
                dt=pace.dt,
                failures=pace.failures,
                land=pace.land,
                lowest=lowest,
            ),
            waits=lost | (going & (following < len(times)) & (steps + rejected >= left)),
            steps=steps,
            rejected=rejected,
            iterations=torch.zeros_like(steps),
            rate_calls=calls,
            which=which,
            sample=sample,
            values=values,
            lowest=smallest,
        )

    def _in_cells(self, saved: _Saved) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Which times and samples they are, their states, and the smallest value up to there."""
        states = saved.part.from_modes(saved.modes)
        found, least = self.split.lowest(states.detach(), saved.sample), saved.lowest
        least = least if found is None else torch.minimum(least, found.to(least))
        return saved.following[saved.sample], saved.sample, states, least

    def _lowest(self, here: ModalStanding, so_far: Tensor) -> Tensor:
        v = here.v.detach()
        if here.part.resolution is not None:
            found: Tensor | None = here.part.resolution.lowest(v)
        else:
            found = self.split.lowest(here.part.from_modes(v))
        return so_far if found is None else torch.minimum(so_far, found.to(so_far))

    def _tried(
        self, here: ModalStanding, t: Tensor, plan: Plan, moving: Tensor, recorded: bool
    ) -> tuple[ModalStanding, Tensor, Tensor, Verdict]:
        """The end of a step of the samples that move, and whether it stands."""
        clock = t.to(here.v.dtype)
        dt = _together(plan, moving, here.v)
        after, end, n, error = here.stepped(clock, dt, moving)
        with torch.no_grad():
            ratio = self.control.tolerance.ratio(error, here.v, end)
            valid = end.detach().flatten(1).sum(1).isfinite() & ratio.isfinite()
            accept = moving & valid & (ratio <= 1)
        if recorded and not bool(accept.all()) and is_followed(end):
            # What is not finite or thrown away must not be in the graph of the others:
            dt = torch.where(accept, dt, 0)
            after, end, n, _ = here.stepped(clock, dt, moving)
        return after, end, n, Verdict(accept, valid, ratio, torch.zeros_like(accept))
