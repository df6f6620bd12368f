"""Steppers that need nothing but the state and slope at the beginning of a step."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.plain_steps import PlainSteps
from pnpfusion.solvers.steppers.base import Law, Path, Report, Stepper
from pnpfusion.solvers.steppers.control import Control, FixedSteps, Plan, Tolerance
from pnpfusion.solvers.steppers.march import march
from pnpfusion.solvers.steppers.settings import settle


@dataclass(frozen=True, eq=False)
class Start:
    """Where a step of every sample begins, how far it goes, and how well it must be solved."""

    t: Tensor  #: (B,)
    dt: Tensor  #: (B,); 0 for samples that rest
    u: Tensor  #: (B, *state)
    slope: Tensor  #: du/dt at the beginning, (B, *state)
    scale: Tensor  #: error allowed in a step, (B, *state); equations are solved to a part of it
    stages: tuple[Tensor, ...] = ()  #: `Attempt.stages` of the same step, if it is taken again


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

    @classmethod
    def unsolved(cls, start: Start, u: Tensor, slope: Tensor, rate_calls: int) -> Attempt:
        """A step without equations to solve, nor an estimate of its error."""
        solved = torch.ones_like(start.dt, dtype=torch.bool)
        return cls(u, slope, None, solved, torch.zeros_like(solved, dtype=torch.long), rate_calls)

    def detached(self) -> Attempt:
        """The same without gradient."""
        error = None if self.error is None else self.error.detach()
        return replace(self, u=self.u.detach(), slope=self.slope.detach(), error=error)


class OneStep(Stepper):
    """A stepper given by a single step; the loop around it is :func:`march`."""

    #: Whether a step that does not keep positive what the law wants positive is thrown away.
    keeps_positive: ClassVar[bool]
    #: Whether a step is found by iteration, so that it is recorded once more from where that ended.
    iterates: ClassVar[bool] = True
    #: Whether recorded steps have the same bits as others, and all depend on the same tensors (of a
    #: law that no function of time drives), so that the first one tells what the others need.
    repeats: ClassVar[bool] = False

    @abstractmethod
    def attempt(self, law: Law, start: Start) -> Attempt:
        """A step from ``start``."""

    @abstractmethod
    def control(self, u: Tensor, times: Tensor) -> Control:
        """What chooses the steps of a run from states such as ``u`` through ``times``."""

    def plain_steps(self, law: Law, control: Control) -> PlainSteps | None:
        """The law's own way to take this method's steps; None: it has none."""
        return None

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
        return march(self, law, u0, times, report, checkpoints, resume)

    def take(
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
        t, steps, ends = (clock.to(u.dtype) for clock in (t, plan.dt, plan.ends))
        dt = torch.where(plan.robust, 0, steps)
        trial = self.attempt(law, Start(t, dt, u, slope, tolerance.scale(u.detach()), stages))
        if not plan.robust.any():
            return trial
        robust, dt = per_state(plan.robust, u), torch.where(plan.robust, steps, 0)
        halves = _robust_steps(law, t, dt, u)
        if halves is None:
            return replace(trial, solved=trial.solved & ~plan.robust)
        twice, once = halves
        error = trial.error  # fixed steps have none: the robust step then stands as it is
        if error is not None:
            error = torch.where(robust, once - twice, error).detach()
        return replace(
            trial,
            u=torch.where(robust, twice, trial.u),
            slope=torch.where(robust, law.rate(ends, twice), trial.slope),
            error=error,
            solved=trial.solved | plan.robust,
            rate_calls=trial.rate_calls + 1,
        )

    def admissible(self, law: Law, plan: Plan, before: Tensor, after: Tensor) -> Tensor:
        """Whether a step ended well: finite, and positive where the law and method ask for it.

        Zero will do where it was zero before, and after a robust step, which gets there only where
        the value is below the smallest number there is.
        """
        finite = after.isfinite().flatten(1).all(1)
        lowest, lowest_before = law.lowest(after), law.lowest(before)
        if not self.keeps_positive or lowest is None or lowest_before is None:
            return finite
        return finite & ((lowest > 0) | ((lowest == 0) & (plan.robust | (lowest_before == 0))))


@dataclass(frozen=True)
class FixedOneStep(OneStep):
    """Steps of fixed size that solve no equations and are tried once."""

    iterates: ClassVar[bool] = False

    dt: float  #: steps of at most this size; they are made to fit between the saved times
    max_steps: int = 1_000_000  #: per sample

    def __post_init__(self) -> None:
        settle(self, ("dt",))

    def control(self, u: Tensor, times: Tensor) -> Control:
        """See :class:`OneStep`."""
        return FixedSteps(self.dt, times, Tolerance(0.0, 1.0), self.max_steps, retry=False)


def _robust_steps(law: Law, t: Tensor, dt: Tensor, u: Tensor) -> tuple[Tensor, Tensor] | None:
    """The law's robust step taken as two halves, and at once without gradient; None without one."""
    half = law.robust_step(t, dt / 2, u)
    twice = None if half is None else law.robust_step(t + dt / 2, dt / 2, half)
    if twice is None:
        return None
    with torch.no_grad():
        once = law.robust_step(t, dt, u)
    return None if once is None else (twice, once)
