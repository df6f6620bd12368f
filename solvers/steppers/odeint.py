"""torchdiffeq's explicit adaptive methods, for laws that are not stiff."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_choice
from pnpfusion.solvers.outcome import Outcome
from pnpfusion.solvers.steppers.base import Law, Path, Report, Stepper, Work
from pnpfusion.solvers.steppers.settings import settle

Method = Literal["dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"]
_ORDERS = {"dopri5": 5, "dopri8": 8, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 2}


@dataclass(frozen=True)
class Odeint(Stepper):
    """Explicit Runge-Kutta by torchdiffeq, differentiated through its steps.

    All samples share each step. Its size is set by the sample with the largest error (the default
    norm of torchdiffeq averages over the batch and hides that sample), so batch mates never make a
    sample less accurate; but only the implicit steppers here make samples independent. Diffusion
    limits the step to about h^2 / 2, so prefer :class:`TRBDF2` for fine grids. Nothing keeps
    concentrations positive. The continuous adjoint is not offered: it integrates diffusion
    backwards in time, which is ill-posed.
    """

    method: Method = "dopri5"  #: of torchdiffeq
    rtol: float = 1e-6  #: relative error per step
    atol: float = 1e-8  #: absolute error per step
    max_steps: int = 1_000_000  #: tried ones included

    adaptive: ClassVar[bool] = True  #: it takes no fixed steps

    def __post_init__(self) -> None:
        check_choice("method", self.method, get_args(Method))
        settle(self, ("rtol", "atol"))

    @property
    def order(self) -> int:  # type: ignore[override]
        """Order of the method chosen."""
        return _ORDERS[self.method]

    def integrate(
        self,
        law: Law,
        u0: Tensor,
        times: Tensor,
        report: Report | None = None,
        checkpoints: int | None = None,
        resume: Path | None = None,
    ) -> Path:
        """See :meth:`Stepper.integrate`."""
        if checkpoints is not None:
            raise ValueError(
                "`checkpoints` needs a stepper of pnpfusion, such as KenCarp4() or RK4(dt=...); "
                "`Odeint` records every step of torchdiffeq."
            )
        if resume is not None:
            raise ValueError(
                "`resume` needs a stepper of pnpfusion, such as KenCarp4() or RK4(dt=...); "
                "torchdiffeq does not tell `Odeint` where its steps stand."
            )
        from torchdiffeq import odeint

        def largest_over_batch(values: Tensor) -> Tensor:
            # Detached: the sizes of steps count as constants.
            return values.detach().square().flatten(1).mean(1).sqrt().max()

        def run(watched: _Watched, upto: Tensor) -> Tensor:
            states: Tensor = odeint(
                watched,
                u0,
                upto,
                method=self.method,
                rtol=self.rtol,
                atol=self.atol,
                options={"norm": largest_over_batch},
            )
            return states

        watched = _Watched(law, u0, times, self.max_steps, report)
        outcome, reached = Outcome.REACHED_END, len(times)
        try:
            alone = reached == 1 or not len(u0)
            states = u0.expand(reached, *u0.shape) if alone else run(watched, times)
            watched.note(times[-1], states[-1])
        except (_Stop, KeyboardInterrupt) as stop:
            outcome = stop.outcome if isinstance(stop, _Stop) else Outcome.INTERRUPTED
            reached = max(int((times <= watched.t).sum()), 1)
            again = _Watched(law, u0, times, self.max_steps, None)
            states = run(again, times[:reached]) if reached > 1 else u0[None]
        if reached < len(times):
            lost = torch.full_like(states[:1], torch.nan).expand(len(times) - reached, *u0.shape)
            states = torch.cat([states, lost])
        batch = len(u0)
        none = Work.none(batch, u0.device)
        work = replace(
            none,
            steps=none.steps + watched.accepted,
            rejected=none.rejected + watched.rejected,
            rate_calls=none.rate_calls + watched.calls,
        )
        return Path(
            states=states,
            reached=torch.full((batch,), reached, device=u0.device),
            outcomes=(outcome,) * batch,
            lowest=watched.lowest,
            work=work,
        )


class _Stop(Exception):
    """Raised in torchdiffeq's callbacks, where it would fail an assertion that -O removes."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class _Watched:
    """The rate, with torchdiffeq's callbacks beside it."""

    def __init__(
        self, law: Law, u0: Tensor, times: Tensor, max_steps: int, report: Report | None
    ) -> None:
        self.law, self.times, self.max_steps, self.report = law, times, max_steps, report
        self.calls = self.accepted = self.rejected = 0
        self.known = True  # whether the law had a rate where it was asked last
        self.t = times[0]  # up to where the steps stand
        lowest = law.lowest(u0.detach())
        self.lowest: Tensor | None = None
        if lowest is not None:
            self.lowest = torch.full((len(times), len(u0)), torch.inf).to(lowest)
            self.lowest[0] = lowest

    def __call__(self, t: Tensor, u: Tensor) -> Tensor:
        self.calls += 1
        rate = self.law.rate(t.to(u).expand(len(u)), u)
        # At a trial point where the law has no rate, a huge one has the step rejected; NaN would
        # end up in the size of the next step.
        unknown = rate.isnan() & u.isfinite()
        self.known = not bool(unknown.any())
        if self.calls == 1 and not self.known:
            raise _Stop(Outcome.NOT_FINITE)
        return torch.where(unknown, torch.finfo(u.dtype).max ** 0.25, rate)

    def callback_step(self, t: Tensor, u: Tensor, dt: Tensor) -> None:
        """Before each step: ``u`` at ``t`` is accepted."""
        self.t = t
        self.note(t, u)
        if self.report is not None:
            span = self.times[-1] - self.times[0]
            self.report(float(((t - self.times[0]) / span).clamp(0, 1)))
        if not u.isfinite().all():
            raise _Stop(Outcome.NOT_FINITE)
        if not t + dt > t:
            raise _Stop(Outcome.STEP_TOO_SMALL)
        if self.accepted + self.rejected >= self.max_steps:
            raise _Stop(Outcome.OUT_OF_STEPS)

    def callback_accept_step(self, t: Tensor, u: Tensor, dt: Tensor) -> None:
        """After a step that stands; the last call was at its end."""
        self.accepted += 1
        if not self.known:
            raise _Stop(Outcome.NOT_FINITE)

    def callback_reject_step(self, t: Tensor, u: Tensor, dt: Tensor) -> None:
        """After a step that does not."""
        self.rejected += 1

    def note(self, t: Tensor, u: Tensor) -> None:
        """Keep the smallest value seen up to the saved time that follows ``t``."""
        lowest = self.law.lowest(u.detach())
        if self.lowest is not None and lowest is not None:
            row = int(torch.searchsorted(self.times, t.to(self.times)))
            row = min(row, len(self.times) - 1)
            self.lowest[row] = torch.minimum(self.lowest[row], lowest)
