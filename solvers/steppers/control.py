"""How large the next step is: fixed, or as large as the error of each sample allows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.plain_steps import Place
from pnpfusion.solvers.steppers.base import Law, Work

SAFETY, LARGEST_GROWTH, SMALLEST_SHRINK = 0.9, 5.0, 0.2
SHRINK_AFTER_FAILURE = 0.25
FAILURES_BEFORE_ROBUST_STEP = 3


def per_state(values: Tensor, u: Tensor) -> Tensor:
    """``values`` ``(B,)`` with axes added to multiply a state ``u`` ``(B, *state)``."""
    return values.reshape(-1, *(1 for _ in u.shape[1:]))


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


class Control(ABC):
    """Chooses the steps of one run and learns from how they went."""

    tolerance: Tolerance
    times: Tensor
    max_steps: int

    @abstractmethod
    def plan(self, t: Tensor, following: Tensor, going: Tensor) -> Plan:
        """The next step of each sample; ``following`` is the index of its next saved time."""

    @abstractmethod
    def learn(
        self, plan: Plan, accept: Tensor, valid: Tensor, ratio: Tensor, pushed: Tensor
    ) -> None:
        """Take in how the steps went.

        Args:
            plan: what was tried.
            accept: which steps stand.
            valid: which were solved and admissible, whatever their error.
            ratio: error over allowed error.
            pushed: which must be taken again onto the next saved time.
        """

    def place(self, t: Tensor, u: Tensor, slope: Tensor, following: Tensor) -> Place:
        """Where a run stands, for a law that takes plain steps by itself."""
        raise NotImplementedError

    def take(self, place: Place) -> None:
        """Take in how the steps went that a law took by itself."""
        raise NotImplementedError

    @abstractmethod
    def hopeless(self, t: Tensor) -> Tensor:
        """Samples whose last failure leaves nothing else to try, bool ``(B,)``."""

    def ended(
        self, t: Tensor, failed: Tensor, tried: Tensor, work: Work
    ) -> Iterator[tuple[Tensor, Outcome]]:
        """Which samples end here without reaching the end, and how."""
        lost = failed & self.hopeless(t)
        if lost.any():
            finite = tried.detach().isfinite().flatten(1).all(1)
            yield lost & ~finite, Outcome.NOT_FINITE
            yield lost & finite, Outcome.STEP_TOO_SMALL
        yield work.steps + work.rejected >= self.max_steps, Outcome.OUT_OF_STEPS

    def _aimed(self, dt: Tensor, t: Tensor, target: Tensor, going: Tensor) -> tuple[Tensor, Tensor]:
        """Steps of ``dt``, shortened or stretched a little to end at ``target``, and their ends."""
        room = target - t
        dt = torch.where(room - dt < 1e-6 * dt, room, dt)
        dt = torch.where(going, dt, 0)
        return dt, torch.where(going & (dt == room), target, t + dt)


class FixedSteps(Control):
    """Equal steps of at most ``dt`` between each two saved times."""

    def __init__(
        self,
        dt: float,
        times: Tensor,
        tolerance: Tolerance,
        max_steps: int,
        batch: int,
        retry: bool,
    ) -> None:
        gaps = times.diff()
        self.sizes = gaps / (gaps / dt - 1e-6).ceil().clamp_min(1)
        self.times, self.tolerance, self.max_steps, self.retry = times, tolerance, max_steps, retry
        self.robust = torch.zeros(batch, dtype=torch.bool, device=times.device)
        self.tried_all = self.robust

    def plan(self, t: Tensor, following: Tensor, going: Tensor) -> Plan:
        at = following.clamp_max(len(self.times) - 1)
        dt, ends = self._aimed(self.sizes[at - 1], t, self.times[at], going)
        return Plan(dt, ends, self.robust & going)

    def learn(
        self, plan: Plan, accept: Tensor, valid: Tensor, ratio: Tensor, pushed: Tensor
    ) -> None:
        self.tried_all = plan.robust | (not self.retry)
        self.robust = ~accept

    def hopeless(self, t: Tensor) -> Tensor:
        return self.tried_all


class AdaptiveSteps(Control):
    """Steps as large as each sample's own error allows; saved times do not shorten them."""

    def __init__(
        self,
        law: Law,
        u: Tensor,
        slope: Tensor,
        times: Tensor,
        tolerance: Tolerance,
        max_steps: int,
        error_order: int,
    ) -> None:
        self.times, self.tolerance, self.max_steps = times, tolerance, max_steps
        self.error_order = error_order
        self.dt = self._first_step(law, u, slope)
        self.failures = torch.zeros(len(u), dtype=torch.long, device=u.device)
        self.land = torch.zeros_like(self.failures, dtype=torch.bool)

    def _first_step(self, law: Law, u: Tensor, slope: Tensor) -> Tensor:
        """A step over which the state and its slope change by about the tolerance [HNW93, II.4]."""
        span = self.times[-1] - self.times[0]
        scale = self.tolerance.scale(u)

        def size(values: Tensor) -> Tensor:
            return (values / scale).square().flatten(1).mean(1).sqrt()

        tiny = torch.finfo(u.dtype).tiny
        trial = 0.01 * size(u) / (size(slope) + tiny)
        trial = torch.minimum(trial, span).clamp_min(1e-12 * span)
        ahead = law.rate(self.times[0] + trial, u + per_state(trial, u) * slope)
        curvature = size(ahead - slope) / trial
        steepest = torch.maximum(size(slope), curvature).clamp_min(tiny)
        wanted = (0.01 / steepest).pow(1 / self.error_order)
        return torch.minimum(torch.minimum(100 * trial, wanted), span).nan_to_num(
            1e-6 * float(span)
        )

    def plan(self, t: Tensor, following: Tensor, going: Tensor) -> Plan:
        robust = going & (self.failures >= FAILURES_BEFORE_ROBUST_STEP)
        last = torch.full_like(following, len(self.times) - 1)
        at = torch.where(robust | self.land, torch.minimum(following, last), last)
        dt, ends = self._aimed(torch.minimum(self.dt, self.times[at] - t), t, self.times[at], going)
        return Plan(dt, ends, robust)

    def learn(
        self, plan: Plan, accept: Tensor, valid: Tensor, ratio: Tensor, pushed: Tensor
    ) -> None:
        order = torch.where(plan.robust, 2, self.error_order)
        growth = (SAFETY * ratio.clamp_min(1e-10).pow(-1 / order)).clamp(
            SMALLEST_SHRINK, LARGEST_GROWTH
        )
        growth = torch.where(accept, growth, growth.clamp_max(SAFETY))
        growth = torch.where(valid, growth, SHRINK_AFTER_FAILURE)
        wanted = plan.dt * growth
        # Cut short by a saved time, not by the error:
        cut_short = accept & (plan.dt < self.dt) & (growth >= 1)
        wanted = torch.where(cut_short, torch.maximum(wanted, self.dt), wanted)
        moved = (plan.dt > 0) & ~pushed
        self.dt = torch.where(moved, wanted, self.dt)
        worse = torch.where(valid, self.failures, self.failures + 1)
        settled = torch.where(plan.robust, FAILURES_BEFORE_ROBUST_STEP - 1, 0)
        self.failures = torch.where(moved, torch.where(accept, settled, worse), self.failures)
        self.land = pushed | (self.land & ~accept)

    def hopeless(self, t: Tensor) -> Tensor:
        precision = torch.finfo(t.dtype).eps
        span = self.times[-1] - self.times[0]
        return self.dt < 4 * precision * torch.maximum(t.abs(), 1e-3 * span)

    def place(self, t: Tensor, u: Tensor, slope: Tensor, following: Tensor) -> Place:
        """See :class:`Control`."""
        lowest = torch.full_like(t, torch.inf)  # the record keeps what came before
        pace = self.dt, self.failures, self.land
        return Place(t, u.detach(), slope.detach(), following, *pace, lowest)

    def take(self, place: Place) -> None:
        """See :class:`Control`."""
        self.dt, self.failures, self.land = place.dt, place.failures, place.land
