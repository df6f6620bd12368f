"""What a stepper is, what it asks of a law of motion, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import ImplicitSolve, is_followed
from pnpfusion.solvers.outcome import Outcome

#: Called now and then with the share of the time span that every sample has behind it.
Report = Callable[[float], None]


class Law(Protocol):
    """A law of motion du/dt = f(t, u) bound to one input and one batch of B samples."""

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """f(t, u), like ``u`` ``(B, *state)``; ``t`` is ``(B,)``.

        Args:
            t: ``(B,)``.
            u: states of the flat batch.
        """

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        """Solve u - step f(t, u) = base for u, until the correction is below ``scale`` (RMS).

        Args:
            t: ``(B,)``, the time of the rate.
            base: ``(B, *state)``.
            step: ``(B,)``, in L²/D.
            guess: where the iteration begins, like ``base``.
            scale: what a correction is small against, like ``base``.
        """

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> Tensor | None:
        """A first-order step of any size that keeps ``u`` admissible; None if there is none.

        Args:
            t: ``(B,)``, where the step begins.
            dt: ``(B,)``, how long it is.
            u: the states there.
        """

    def lowest(self, u: Tensor, sample: Tensor | None = None) -> Tensor | None:
        """Per sample the smallest of what must stay positive, ``(B,)``; None if nothing must.

        With ``sample``, ``u`` holds states of these samples of the batch, by index.
        """


@runtime_checkable
class ConservativeLaw(Law, Protocol):
    """A law that keeps totals, of which round-off takes a part where rates are huge."""

    def conserve(self, before: Tensor, after: Tensor) -> Tensor:
        """A state ``after`` a step, with the totals of the one ``before``; (B, *state) all."""


@dataclass(frozen=True, eq=False)
class Semilinear:
    r"""A law as :math:`\dot v = M v + N(t, v)` for modes v, a small matrix M for each of them.

    M may be any part of the law: what it holds limits no exponential step, what N holds does.
    """

    to_modes: Callable[[Tensor], Tensor]  #: from a state (B, *state) to its modes (B, S, *modes)
    from_modes: Callable[[Tensor], Tensor]  #: and back; both linear
    linear: Tensor  #: M, (B|1, S, S, *modes)
    remainder: Callable[[Tensor, Tensor], Tensor]  #: N, from t (B,) and modes
    resolution: Resolution | None = None  #: None: all modes that there are
    alike: Tensor | None = None  #: of each mode, flattened, one whose M is the same; None: unknown


class Resolution(Protocol):
    """How many modes a law is followed in, which a state that sharpens may ask for more of."""

    @property
    def quickest(self) -> Tensor:
        """The shortest time in which N changes a state by itself, (B,)."""

    def fitting(self, u: Tensor, negligible: float) -> Semilinear:
        """The law in as many modes as states ``u`` need, and what becomes of them.

        ``negligible``: what a mode may hold of the largest one and still be left out.
        """

    def lowest(self, modes: Tensor) -> Tensor:
        """The smallest value of each sample where products are formed, (B,)."""

    def finer(self, modes: Tensor) -> Semilinear | None:
        """The law in more modes, about the same state; None if ``modes`` ask for no more."""

    def reduced(self, modes: Tensor, since: float | None = None) -> Semilinear | None:
        """The law in the modes that ``modes`` need; None if these are about as many.

        With ``since``, a change of any mode so long ago is to be followed too, for gradients.
        """

    def fitted(self, modes: Tensor) -> Tensor:
        """Modes of another resolution, in these; what was left out is zero."""

    def surviving(self, span: float) -> Semilinear | None:
        """The law with all modes that diffusion leaves something of after ``span``, for gradients.

        None: it has them.
        """


@runtime_checkable
class SemilinearLaw(Law, Protocol):
    """A law that offers its linear part, which exponential steppers need."""

    def semilinear(self, u0: Tensor) -> Semilinear | None:
        """The law about the state ``u0`` ``(B, *state)``; None where it has no such form."""


@dataclass(frozen=True, eq=False)
class Work:
    """What a run cost, per sample: whole numbers of shape ``(*batch,)``."""

    steps: Tensor  #: accepted steps
    rejected: Tensor  #: steps tried and thrown away
    fallbacks: Tensor  #: accepted steps that were the law's first-order robust step
    iterations: Tensor  #: Newton iterations
    rate_calls: Tensor  #: evaluations of the rate outside Newton's method

    @classmethod
    def none(cls, batch: int, device: torch.device) -> Work:
        """Nothing done yet.

        Args:
            batch: how many samples.
            device: where the numbers live.
        """
        nothing = torch.zeros(batch, dtype=torch.long, device=device)
        return cls(nothing, nothing, nothing, nothing, nothing)

    def __add__(self, more: Work) -> Work:
        """This and ``more``."""
        return Work(*(getattr(self, f.name) + getattr(more, f.name) for f in fields(self)))

    def reshape(self, batch: tuple[int, ...]) -> Work:
        """The same with the caller's batch axes.

        Args:
            batch: the axes before those of a state.
        """
        if self.steps.shape == batch:
            return self
        each = self.steps, self.rejected, self.fallbacks, self.iterations, self.rate_calls
        return Work(*(values.reshape(batch) for values in each))


@dataclass(frozen=True, eq=False)
class Pace:
    """What the choice of the next step remembers, per sample: tensors of shape (B,)."""

    dt: Tensor  #: the step that the last one suggested
    failures: Tensor  #: in a row
    land: Tensor  #: whether the next step must end at a saved time

    @classmethod
    def of(cls, dt: Tensor) -> Pace:
        """The pace of a run that begins with steps ``dt``."""
        none = dt.new_zeros(len(dt), dtype=torch.long)
        return cls(dt, none, none.bool())


@dataclass(frozen=True, eq=False)
class Standing:
    """Where a run of a flat batch of B samples stands between two sweeps of steps."""

    t: Tensor  #: (B,)
    u: Tensor  #: (B, *state)
    slope: Tensor  #: du/dt there, (B, *state)
    next: Tensor  #: index of the next saved time, which is how many were reached, (B,)
    going: Tensor  #: which samples have not ended, bool (B,)
    outcomes: tuple[Outcome, ...]  #: of those that have, one per sample
    pace: Pace
    work: Work
    lowest: Tensor | None  #: smallest of ``Law.lowest`` since the last saved time, (B,)
    pieces: int  #: how many pieces were saved

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Standing:
        """The same with ``change`` of every tensor."""

        def of(group: Pace | Work) -> dict[str, Tensor]:
            return {f.name: change(getattr(group, f.name)) for f in fields(group)}

        return Standing(
            t=change(self.t),
            u=change(self.u),
            slope=change(self.slope),
            next=change(self.next),
            going=change(self.going),
            outcomes=self.outcomes,
            pace=Pace(**of(self.pace)),
            work=Work(**of(self.work)),
            lowest=None if self.lowest is None else change(self.lowest),
            pieces=self.pieces,
        )

    def detached(self) -> Standing:
        """The same without gradient, which only the states and their slopes can have."""
        if not is_followed(self.u, self.slope):
            return self
        return replace(self, u=self.u.detach(), slope=self.slope.detach())

    def stopped(self, which: Tensor, outcome: Outcome) -> Standing:
        """The same with the samples ``which`` that were still going at their end."""
        now = which & self.going
        if not now.any():
            return self
        outcomes = list(self.outcomes)
        for sample in now.nonzero().squeeze(1).tolist():
            outcomes[sample] = outcome
        return replace(self, going=self.going & ~now, outcomes=tuple(outcomes))


@dataclass(frozen=True, eq=False)
class Path:
    """What a stepper returns, for a flat batch of B samples."""

    states: Tensor  #: (T, B, *state); NaN after a sample's failure
    reached: Tensor  #: how many of the times each sample reached, (B,)
    outcomes: tuple[Outcome, ...]  #: one per sample
    lowest: Tensor | None  #: smallest of ``Law.lowest`` over all steps up to each time, (T, B)
    work: Work
    standing: Standing | None = None  #: where the run can be continued; detached


class Stepper(ABC):
    """A way to follow a law of motion through time. It holds settings only, no state."""

    order: ClassVar[int]  #: global order of accuracy; tests/solvers/test_orders.py measures it

    @abstractmethod
    def integrate(
        self,
        law: Law,
        u0: Tensor,
        times: Tensor,
        report: Report | None = None,
        checkpoints: int | None = None,
        resume: Path | None = None,
    ) -> Path:
        """The states at ``times`` ``(T,)`` from ``u0`` ``(B, *state)`` at ``times[0]``.

        ``times`` are float64 whatever the states are; the law is told them in the states' dtype.
        ``checkpoints`` bounds how many states are held for the gradient; None: every step is.
        ``resume`` is an earlier part of the same run, with its :attr:`Path.standing`: what it saved
        is kept and the rest follows, without gradient.
        An interruption from the keyboard ends the run early and is reported as an outcome.

        Args:
            law: the bound law, see :class:`Law`.
            u0: states of a flat batch, ``(B, *state)``.
            times: saved times, rising, ``(T,)``.
            report: called with the share of time that is done; None: nobody is told.
            checkpoints: how many states are held for the gradient.
            resume: what an earlier part of the run returned.
        """
