"""The states at the saved times, collected while every sample runs at its own pace."""

from __future__ import annotations

import torch
from torch import Tensor

from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.plain_steps import Advance
from pnpfusion.solvers.steppers.base import Law, Path, Work
from pnpfusion.solvers.steppers.control import Plan, per_state

Pieces = tuple[Tensor, Tensor, Tensor]  #: indices of times, of samples, and their states


class Record:
    """What was saved so far, and which samples are still going.

    Between the ends of a step the state is the cubic Hermite interpolant, so saved times do not
    shorten steps; a step whose interpolant is not positive is pushed back onto them.
    """

    def __init__(self, law: Law, u0: Tensor, times: Tensor) -> None:
        batch, device = len(u0), u0.device
        self.law, self.times = law, times
        self.next = torch.ones(batch, dtype=torch.long, device=device)  #: next saved time of each
        self.going = torch.full((batch,), len(times) > 1, device=device)
        self.outcomes = [Outcome.REACHED_END] * batch
        self.pieces: list[Pieces] = [
            (torch.zeros_like(self.next), torch.arange(batch, device=device), u0)
        ]
        lowest = law.lowest(u0.detach())
        self.lowest: Tensor | None = None
        if lowest is not None:
            self.lowest = torch.full((len(times), batch), torch.inf).to(lowest)
            self.lowest[0] = lowest

    def _passed(
        self,
        accept: Tensor,
        t: Tensor,
        plan: Plan,
        u_0: Tensor,
        k_0: Tensor,
        u_1: Tensor,
        k_1: Tensor,
    ) -> Pieces | None:
        """The saved times that the accepted steps pass, and the states there."""
        among = (self.times[:, None] > t) & (self.times[:, None] <= plan.ends) & accept
        if not among.any():
            return None
        which, sample = among.nonzero(as_tuple=True)
        u_0, k_0, u_1, k_1 = (values[sample] for values in (u_0, k_0, u_1, k_1))
        h = per_state(plan.dt[sample], u_0)
        s = per_state((self.times[which] - t[sample]) / plan.dt[sample], u_0)
        bend = (1 - 2 * s) * (u_1 - u_0) + (s - 1) * h * k_0 + s * h * k_1
        inside = (1 - s) * u_0 + s * u_1 + s * (s - 1) * bend
        at_end = per_state(self.times[which] == plan.ends[sample], u_0)
        return which, sample, torch.where(at_end, u_1, inside)

    def may_keep(
        self,
        accept: Tensor,
        t: Tensor,
        plan: Plan,
        u_0: Tensor,
        k_0: Tensor,
        u_1: Tensor,
        k_1: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Which accepted steps may stand, and which must first be taken onto a saved time."""
        pushed = torch.zeros_like(accept)
        passed = None if self.lowest is None else self._passed(accept, t, plan, u_0, k_0, u_1, k_1)
        if passed is not None:
            _, sample, values = passed
            lowest, ends = self.law.lowest(values), self.law.lowest(torch.minimum(u_0, u_1)[sample])
            if lowest is not None and ends is not None:
                below = (lowest < 0) & (ends >= 0) | (lowest == 0) & (ends > 0)
                pushed[sample[below]] = True
        return accept & ~pushed, pushed

    def keep(
        self,
        accept: Tensor,
        t: Tensor,
        plan: Plan,
        u_0: Tensor,
        k_0: Tensor,
        u_1: Tensor,
        k_1: Tensor,
    ) -> None:
        """Save the states that the accepted steps pass, and move on."""
        passed = self._passed(accept, t, plan, u_0, k_0, u_1, k_1)
        if passed is not None:
            self.pieces.append(passed)
            self._note_lowest(*passed)
        ends = torch.where(accept, plan.ends, t)
        sample = accept.nonzero().squeeze(1)
        row = torch.searchsorted(self.times, ends[sample]).clamp_max(len(self.times) - 1)
        self._note_lowest(row, sample, u_1[sample])
        self.next = torch.where(
            self.going, torch.searchsorted(self.times, ends, right=True), self.next
        )
        self.going = self.going & (self.next < len(self.times))

    def take(self, ahead: Advance) -> None:
        """Save what a law saved that took steps by itself."""
        if len(ahead.which):
            self.pieces.append((ahead.which, ahead.sample, ahead.values))
        self.next = torch.where(self.going, ahead.place.next, self.next)
        if self.lowest is not None:
            self.lowest[ahead.which, ahead.sample] = torch.minimum(
                self.lowest[ahead.which, ahead.sample], ahead.lowest
            )
            waiting = (self.next < len(self.times)).nonzero().squeeze(1)
            row = self.next[waiting]
            self.lowest[row, waiting] = torch.minimum(
                self.lowest[row, waiting], ahead.place.lowest[waiting]
            )
        self.going = self.going & (self.next < len(self.times))

    def _note_lowest(self, row: Tensor, sample: Tensor, u: Tensor) -> None:
        lowest = self.law.lowest(u.detach())
        if self.lowest is not None and lowest is not None:
            self.lowest[row, sample] = torch.minimum(self.lowest[row, sample], lowest)

    def stop(self, which: Tensor, outcome: Outcome) -> None:
        """End the run of the samples ``which`` that are still going."""
        stopped = which & self.going
        for sample in stopped.nonzero().squeeze(1).tolist():
            self.outcomes[sample] = outcome
        self.going = self.going & ~stopped

    def progress(self, t: Tensor) -> float:
        """The share of the time span that every sample still going has behind it."""
        if not self.going.any():
            return 1.0
        span = self.times[-1] - self.times[0]
        return float(((t[self.going] - self.times[0]) / span).min())

    def path(self, work: Work) -> Path:
        """Everything that was saved; NaN where a sample did not get to."""
        which, sample, values = (torch.cat(column) for column in zip(*self.pieces, strict=True))
        shape = (len(self.times), len(self.next), *values.shape[1:])
        states = torch.full(shape, torch.nan, dtype=values.dtype, device=values.device)
        return Path(
            states=states.index_put((which, sample), values),
            reached=self.next,
            outcomes=tuple(self.outcomes),
            lowest=self.lowest,
            work=work,
        )
