"""The law's robust first-order step as a method of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.plain_steps import PlainSteps, SlopedSteps
from pnpfusion.solvers.steppers.base import Law
from pnpfusion.solvers.steppers.control import Control, FixedSteps
from pnpfusion.solvers.steppers.one_step import Attempt, FixedOneStep, Start


@dataclass(frozen=True)
class AsymptoticPreserving(FixedOneStep):
    """Semi-implicit steps that need no Newton iteration: positive for any step, first order.

    For PNP see :func:`pnpfusion.solvers.asymptotic_preserving.asymptotic_preserving_step`. Gauss'
    law holds to the step's order during a step, and to round-off in what is reported.
    """

    order: ClassVar[int] = 1
    keeps_positive: ClassVar[bool] = True
    repeats: ClassVar[bool] = True

    def plain_steps(self, law: Law, control: Control) -> PlainSteps | None:
        """See :class:`OneStep`."""
        make = getattr(law, "semi_implicit_steps", None)
        if make is None or not isinstance(control, FixedSteps):
            return None
        plain: PlainSteps | None = make(control.schedule)
        return plain

    def end(self, law: Law, u0: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Where :meth:`integrate` ends and whether it got there, without what it finds beside.

        Args:
            law: the law.
            u0: where to begin, ``(B, *state)``.
            times: as :meth:`integrate` takes them; the states between are not kept.

        Returns:
            The last states, the same bits as there, and bool ``(B,)``.
        """
        plain = self.plain_steps(law, self.control(u0, times))
        if isinstance(plain, SlopedSteps):
            final = plain.end(u0, float(times[0]), self.max_steps)
            if final is not None:
                return final, torch.ones(len(u0), dtype=torch.bool, device=u0.device)
        path = self.integrate(law, u0, times)
        good = [outcome.is_success for outcome in path.outcomes]
        return path.states[-1], torch.tensor(good, dtype=torch.bool, device=u0.device)

    def attempt(self, law: Law, start: Start) -> Attempt:
        """See :class:`OneStep`."""
        again = getattr(law, "robust_step_again", None)
        if again is not None:
            found = again(start.t, start.dt, start.u, start.stages)
        else:
            new = law.robust_step(start.t, start.dt, start.u)
            found = None if new is None else (new, ())
        if found is None:
            raise ValueError(
                "this law has no semi-implicit step of its own, so `AsymptoticPreserving` cannot "
                f"follow it; use another stepper, e.g. TRBDF2() {Faq.WHICH_STEPPER}."
            )
        u, stages = found
        if start.stages:  # these steps end at the saved times: no state depends on a slope
            return Attempt.unsolved(start, u, start.slope, 0)
        with torch.no_grad():
            slope = law.rate(start.t + start.dt, u)
        return replace(Attempt.unsolved(start, u, slope, 1), stages=stages)
