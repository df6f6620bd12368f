"""Runs in the modes of a law with a linear part, which are left only for the states to be saved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import ImplicitSolve, is_followed, per_state
from pnpfusion.solvers.phi_functions import apply, doubled, phi_functions
from pnpfusion.solvers.plain_steps import Advance, Place
from pnpfusion.solvers.steppers.base import Law, Pace, Semilinear, SemilinearLaw
from pnpfusion.solvers.steppers.control import Control, Plan, Verdict

if TYPE_CHECKING:
    from pnpfusion.solvers.steppers.exponential import Exponential

#: One tensor per coefficient of a method, each (B|1, S, S, *modes).
Coefficients = tuple[Tensor, ...]

SIZES_KEPT = 4  # sizes of steps whose coefficients are remembered
REDUCED_AFTER = 4  # steps, since what a state needs changes slowly
MOST_AT_ONCE = 20_000_000  # modes times steps, so that Ctrl-C and progress bars wait a moment only


class Matrices:
    """The coefficients of a method for a linear part, by size of step."""

    def __init__(self, method: Exponential, linear: Tensor) -> None:
        self.method, self.linear = method, linear
        self.known: dict[str, Coefficients] = {}
        self.phis: dict[str, tuple[Tensor, ...]] = {}

    def of(self, dt: Tensor) -> Coefficients:
        """Those for steps ``dt`` ``(B,)``; sizes that differ by round-off share them."""
        keys = [self._key(size) for size in dt.tolist()]
        kinds = dict.fromkeys(keys)
        if len(kinds) == 1:
            return self._of_size(keys[0], dt[:1])
        if len(kinds) > SIZES_KEPT:
            return self._made(dt)
        each = {key: self._of_size(key, dt[keys.index(key)].reshape(1)) for key in kinds}
        rows = [[c[i : i + 1] if len(c) > 1 else c for c in each[k]] for i, k in enumerate(keys)]
        return tuple(torch.cat(parts) for parts in zip(*rows, strict=True))

    def _key(self, size: float) -> str:
        digits = 12 if self.linear.dtype == torch.float64 else 6
        return f"{torch.is_grad_enabled()} {size:.{digits}e}"

    def _of_size(self, key: str, size: Tensor) -> Coefficients:
        if key not in self.known:
            _make_room(self.known)
            self.known[key] = self._made(size)
        return self.known[key]

    def _made(self, sizes: Tensor) -> Coefficients:
        h = sizes.reshape(-1, *(1 for _ in self.linear.shape[1:]))
        if self.method.highest == 0:
            return self.method.coefficients(phi_functions(h / 2 * self.linear, 1), (), h)
        at_half = None
        if len(sizes) == 1:
            at_half = self.phis.get(self._key(float(sizes) / 2))
        if at_half is None:
            at_half = phi_functions(h / 2 * self.linear, self.method.highest)
        whole = doubled(at_half)
        if len(sizes) == 1:  # the next size is often twice this one
            _make_room(self.phis)
            self.phis[self._key(float(sizes))] = whole
        return self.method.coefficients(at_half, whole, h)


def _make_room(known: dict[str, tuple[Tensor, ...]]) -> None:
    if len(known) >= SIZES_KEPT:
        known.pop(next(iter(known)))


@dataclass(eq=False)
class Split:
    """A law whose linear part is known."""

    law: Law
    part: Semilinear
    matrices: Matrices | None = field(default=None)

    def whole(self, method: Exponential) -> tuple[Semilinear, Matrices]:
        """The law in all of its modes."""
        if self.matrices is None:
            self.matrices = Matrices(method, self.part.linear)
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


@dataclass(eq=False)
class _Here:
    """Where the samples stand: modes v, the remainder n there, and the law in these modes."""

    method: Exponential
    part: Semilinear
    matrices: Matrices
    v: Tensor
    n: Tensor

    @classmethod
    def of(cls, method: Exponential, part: Semilinear, t: Tensor, v: Tensor) -> _Here:
        return cls(method, part, Matrices(method, part.linear), v, part.remainder(t, v))

    def reduced(self) -> _Here:
        """The same in the modes that it needs."""
        known = self.part.resolution
        part = None if known is None else known.reduced(self.v)
        if part is None or part.resolution is None:
            return self
        v, n = (part.resolution.fitted(modes) for modes in (self.v, self.n))
        return _Here(self.method, part, Matrices(self.method, part.linear), v, n)

    def stepped(
        self, t: Tensor, dt: Tensor, moving: Tensor
    ) -> tuple[_Here, Tensor, Tensor, Tensor | None]:
        """Modes, remainder and error after a step, in more modes if ``moving`` have too few."""
        here = self
        while True:
            part = here.part
            end, n, error = self.method.step(part, here.matrices.of(dt), t, dt, here.v, here.n)
            resolution = part.resolution
            asked = end if moving.all() else torch.where(per_state(moving, end), end, here.v)
            finer = None if resolution is None else resolution.finer(asked)
            if finer is None or finer.resolution is None:
                return here, end, n, error
            here = _Here.of(self.method, finer, t, finer.resolution.fitted(here.v))


@dataclass(frozen=True, eq=False)
class ModalSteps:
    """Takes the steps of `march` in modes, which carry the gradient; see :class:`FollowedSteps`.

    A step whose end is not finite is not plain. Between saved times the smallest concentration is
    looked for at the points where products are formed.
    """

    method: Exponential
    split: Split
    control: Control

    @property
    def negligible(self) -> float:
        """What a mode may hold of the largest one: hundreds of them are still far below rtol."""
        return 3e-5 * self.control.tolerance.rtol

    def follows(self, u: Tensor) -> bool:
        """See :class:`FollowedSteps`."""
        return is_followed(u, self.split.part.linear)

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """See :class:`FollowedSteps`."""
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
        here = _Here.of(self.method, part, place.t.to(u.dtype), part.to_modes(u))
        t, following, lowest = place.t, place.next, place.lowest
        pace = Pace(place.dt, place.failures, place.land)
        moving, lost = going & (left > 0), torch.zeros_like(going)
        steps = rejected = torch.zeros_like(following)
        calls = torch.where(going, 2, 0)  # here and at the end
        saved: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        ends: Tensor | None = None  # where the samples stand, if all have just been saved
        for count in range(1, 1 + max(8, MOST_AT_ONCE // max(1, here.v.numel()))):
            if not moving.any():
                break
            plan = control.plan(pace, t, following, moving)
            here, end, n, verdict = self._tried(here, t, plan, moving)
            accept, failed = verdict.accept, moving & ~verdict.valid
            if not accept.all():
                keep = per_state(accept, end)
                end, n = torch.where(keep, end, here.v), torch.where(keep, n, here.n)
            here = replace(here, v=end, n=n)
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
            ends = None if accept.any() else ends
            if reached.any():
                sample = reached.nonzero().squeeze(1)
                states = here.part.from_modes(here.v[sample])
                least = self.split.lowest(states.detach(), sample)
                before = lowest[sample]
                least = before if least is None else torch.minimum(before, least.to(before))
                saved.append((following[sample], sample, states, least))
                ends = states if len(sample) == len(u) else None
                following = following + reached
                lowest = torch.where(reached, torch.inf, lowest)
            if bool((accept & ~reached).any()):
                lowest = torch.where(accept & ~reached, self._lowest(here, lowest), lowest)
            if not followed and count % REDUCED_AFTER == 0:
                here = here.reduced()
            moving = moving & ~lost & (following < len(times)) & (steps + rejected < left)
        with torch.no_grad():
            v, n = here.v.detach(), here.n.detach()
            slope = here.part.from_modes(apply(here.part.linear, v, plus=n))
        moved = per_state(steps > 0, u)
        empty = following[:0], following[:0], u[:0], lowest[:0]
        which, sample, values, smallest = (
            torch.cat(p) for p in zip(*(saved or [empty]), strict=True)
        )
        row = which * len(u) + sample
        if bool((row.diff() < 0).any()):  # each came as its sample got there
            order = row.argsort()
            which, sample, values, smallest = (p[order] for p in (which, sample, values, smallest))
        ends = here.part.from_modes(here.v) if ends is None else ends
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

    def _lowest(self, here: _Here, so_far: Tensor) -> Tensor:
        v = here.v.detach()
        if here.part.resolution is not None:
            found: Tensor | None = here.part.resolution.lowest(v)
        else:
            found = self.split.lowest(here.part.from_modes(v))
        return so_far if found is None else torch.minimum(so_far, found.to(so_far))

    def _tried(
        self, here: _Here, t: Tensor, plan: Plan, moving: Tensor
    ) -> tuple[_Here, Tensor, Tensor, Verdict]:
        """The end of a step of the samples that move, and whether it stands."""
        clock = t.to(here.v.dtype)
        # Who rests steps along, for coefficients to share, and is put back:
        dt = torch.where(moving, plan.dt, plan.dt.max()).to(here.v.dtype)
        after, end, n, error = here.stepped(clock, dt, moving)
        with torch.no_grad():
            ratio = self.control.tolerance.ratio(error, here.v, end)
            valid = end.detach().flatten(1).sum(1).isfinite() & ratio.isfinite()
            accept = moving & valid & (ratio <= 1)
        if torch.is_grad_enabled() and not bool(accept.all()) and is_followed(end):
            # What is not finite or thrown away must not be in the graph of the others:
            dt = torch.where(accept, dt, 0)
            after, end, n, _ = here.stepped(clock, dt, moving)
        return after, end, n, Verdict(accept, valid, ratio, torch.zeros_like(accept))
