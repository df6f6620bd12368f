"""The states at the saved times, collected while every sample runs at its own pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import is_followed, per_state
from pnpfusion.solvers.steppers.base import Law, Path, Standing
from pnpfusion.solvers.steppers.control import Plan


@dataclass(frozen=True, eq=False)
class Step:
    """One step of every sample, with the states and slopes at both its ends."""

    t: Tensor  #: when it begins, (B,)
    plan: Plan
    u_0: Tensor  #: (B, *state), as the next three
    k_0: Tensor
    u_1: Tensor
    k_1: Tensor


@dataclass(frozen=True, eq=False)
class Piece:
    """What one sweep saved: P states, each of one sample at one time.

    In the order of times, and of samples at each time.
    """

    which: Tensor  #: indices of times, (P,)
    sample: Tensor  #: indices of samples, (P,)
    values: Tensor  #: (P, *state); carry the gradient
    lowest: Tensor | None  #: smallest of `Law.lowest` since the time before, (P,)
    in_place: bool = False  #: whether values are those of all pieces, see :class:`Advance`


class Record:
    """What was saved so far.

    Between the ends of a step the state is the cubic Hermite interpolant, so saved times do not
    shorten steps; a step whose interpolant is not positive is pushed back onto them.
    """

    def __init__(self, law: Law, times: Tensor) -> None:
        self.law, self.times = law, times
        self.pieces: list[Piece] = []

    def begin(self, u0: Tensor) -> Tensor | None:
        """Save the states at the first time; returns what is lowest there."""
        sample = torch.arange(len(u0), device=u0.device)
        lowest = self.law.lowest(u0.detach())
        self.pieces = [Piece(torch.zeros_like(sample), sample, u0, lowest)]
        return lowest

    def resume(self, path: Path) -> None:
        """Save what ``path`` has saved."""
        rows = torch.arange(len(path.states), device=path.reached.device)
        which, sample = (rows[:, None] < path.reached).nonzero(as_tuple=True)
        lowest = None if path.lowest is None else path.lowest[which, sample]
        self.pieces.append(Piece(which, sample, path.states[which, sample], lowest))

    def passed(self, accept: Tensor, step: Step) -> Piece | None:
        """The saved times that the accepted steps pass, and the states there."""
        ends, t = step.plan.ends, step.t
        among = (self.times[:, None] > t) & (self.times[:, None] <= ends) & accept
        if not among.any():
            return None
        which, sample = among.nonzero(as_tuple=True)
        u_0, k_0, u_1, k_1 = (v[sample] for v in (step.u_0, step.k_0, step.u_1, step.k_1))
        dt = step.plan.dt[sample]
        h = per_state(dt, u_0).to(u_0.dtype)
        s = per_state((self.times[which] - t[sample]) / dt, u_0).to(u_0.dtype)
        bend = (1 - 2 * s) * (u_1 - u_0) + (s - 1) * h * k_0 + s * h * k_1
        inside = (1 - s) * u_0 + s * u_1 + s * (s - 1) * bend
        at_end = per_state(self.times[which] == ends[sample], u_0)
        values = torch.where(at_end, u_1, inside)
        return Piece(which, sample, values, self.law.lowest(values.detach(), sample))

    def may_keep(self, accept: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Which accepted steps may stand, and which must first be taken onto a saved time."""
        pushed = torch.zeros_like(accept)
        passed = self.passed(accept, step)
        if passed is not None and passed.lowest is not None:
            first, last = (self.law.lowest(u) for u in (step.u_0, step.u_1))
            if first is not None and last is not None:
                ends, lowest = torch.minimum(first, last)[passed.sample], passed.lowest
                below = (lowest < 0) & (ends >= 0) | (lowest == 0) & (ends > 0)
                pushed[passed.sample[below]] = True
        return accept & ~pushed, pushed

    def keep(
        self, accept: Tensor, step: Step, following: Tensor, lowest: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Save the states that the accepted steps pass.

        Args:
            accept: which steps stand, ``(B,)``.
            step: the steps.
            following: index of the next saved time of each sample, ``(B,)``.
            lowest: smallest value since the last saved time, ``(B,)``.

        Returns:
            ``following`` and ``lowest`` after the step.
        """
        passed, at_end = self.passed(accept, step), self.law.lowest(step.u_1.detach())
        after = torch.where(
            accept, torch.searchsorted(self.times, step.plan.ends, right=True), following
        )
        if lowest is not None and at_end is not None:
            # What a step ends with counts for the first saved time that is not before its end.
            beyond = torch.where(
                accept & (self.times[after - 1] == step.plan.ends), torch.inf, at_end
            )
            if passed is not None and passed.lowest is not None:
                first = passed.which == following[passed.sample]
                waited = torch.where(first, lowest[passed.sample], torch.inf)
                passed = replace(passed, lowest=torch.minimum(passed.lowest, waited))
            since = torch.where(after > following, beyond, torch.minimum(lowest, beyond))
            lowest = torch.where(accept, since, lowest)
        if passed is not None:
            self.pieces.append(passed)
        return after, lowest

    def path(self, here: Standing, pieces: Sequence[Piece]) -> Path:
        """Everything that was saved up to ``here``; NaN where a sample did not get to."""
        shape = (self.times.shape[0], here.next.shape[0])
        lowest, are_rows = None, _are_rows(pieces, *shape)
        if here.lowest is not None:
            lowest = _joined([piece.lowest for piece in pieces if piece.lowest is not None])
        if lowest is not None and are_rows:
            lowest = lowest.reshape(shape)
        elif lowest is not None and here.lowest is not None:
            waiting = (here.next < len(self.times)).nonzero().squeeze(1)
            smallest = lowest.new_full(shape, torch.inf)
            smallest[here.next[waiting], waiting] = here.lowest[waiting]
            lowest = smallest.index_put(_places(pieces), lowest)
        return Path(
            states=_states(pieces, here.next, len(self.times), are_rows=are_rows),
            lowest=lowest,
            reached=here.next,
            outcomes=here.outcomes,
            work=here.work,
            standing=here.detached(),
        )


def _states(pieces: Sequence[Piece], reached: Tensor, times: int, *, are_rows: bool) -> Tensor:
    """The states of all pieces, at their places; NaN from where each sample did not get to."""
    whole = next((piece.values for piece in pieces if piece.in_place), None)
    loose = [piece for piece in pieces if not piece.in_place]
    parts = [piece.values for piece in loose]
    if whole is None:
        shape = times, len(reached), *parts[0].shape[1:]
        if are_rows:
            return _joined(parts).reshape(shape)
        states = parts[0].new_full(shape, torch.nan)
    else:
        states = whole
        if not are_rows:
            rows = torch.arange(times, device=reached.device)
            states[rows[:, None] >= reached] = torch.nan
    if any(map(is_followed, parts)):
        return states.index_put(_places(loose), _joined(parts))
    for piece in loose:
        states[piece.which, piece.sample] = piece.values
    return states


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """``parts``, one below the other."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _places(pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
    """The times and samples of all pieces, by index."""
    which, sample = zip(*((piece.which, piece.sample) for piece in pieces), strict=True)
    return torch.cat(which), torch.cat(sample)


def _are_rows(pieces: Sequence[Piece], times: int, samples: int) -> bool:
    """Whether the pieces, one after the other, are all of the path, row by row."""
    sizes = [piece.sample.shape[0] for piece in pieces]
    if sum(sizes) < times * samples:
        return False
    if len(pieces) <= 2:  # the first is all of the first row, or of all that was resumed
        return sizes[0] in (samples, times * samples)
    which, sample = _places(pieces)
    rows = torch.arange(times * samples, device=which.device)
    return torch.equal(which * samples + sample, rows)
