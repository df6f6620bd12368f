"""What a stepper is, what it asks of a law of motion, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.outcome import Outcome

#: Called now and then with the share of the time span that every sample has behind it.
Report = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class ImplicitSolve:
    """The solution of one implicit equation u - h f(u) = b, per sample."""

    u: Tensor  #: shape (B, *state); carries the gradient
    converged: Tensor  #: bool, (B,)
    iterations: Tensor  #: Newton iterations, (B,)


class Law(Protocol):
    """A law of motion du/dt = f(t, u) bound to one input and one batch of B samples."""

    def rate(self, t: Tensor, u: Tensor) -> Tensor:
        """f(t, u), like ``u`` ``(B, *state)``; ``t`` is ``(B,)``."""

    def solve_implicit(
        self, t: Tensor, base: Tensor, step: Tensor, guess: Tensor, scale: Tensor
    ) -> ImplicitSolve:
        """Solve u - step f(t, u) = base for u, until the correction is below ``scale`` (RMS)."""

    def robust_step(self, t: Tensor, dt: Tensor, u: Tensor) -> Tensor | None:
        """A first-order step of any size that keeps ``u`` admissible; None if there is none."""

    def lowest(self, u: Tensor) -> Tensor | None:
        """Per sample the smallest of what must stay positive, ``(B,)``; None if nothing must."""


@dataclass(frozen=True, eq=False)
class Semilinear:
    r"""A law as :math:`\dot v = M v + N(t, v)` for modes v, a small matrix M for each of them.

    M may be any part of the law: what it holds limits no exponential step, what N holds does.
    """

    to_modes: Callable[[Tensor], Tensor]  #: from a state (B, *state) to its modes (B, S, *modes)
    from_modes: Callable[[Tensor], Tensor]  #: and back; both linear
    linear: Tensor  #: M, (B|1, S, S, *modes)
    remainder: Callable[[Tensor, Tensor], Tensor]  #: N, from t (B,) and modes


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
        """Nothing done yet."""
        return cls(*(torch.zeros(batch, dtype=torch.long, device=device) for _ in fields(cls)))

    def reshape(self, batch: tuple[int, ...]) -> Work:
        """The same with the caller's batch axes."""
        return Work(*(getattr(self, f.name).reshape(batch) for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Path:
    """What a stepper returns, for a flat batch of B samples."""

    states: Tensor  #: (T, B, *state); NaN after a sample's failure
    reached: Tensor  #: how many of the times each sample reached, (B,)
    outcomes: tuple[Outcome, ...]  #: one per sample
    lowest: Tensor | None  #: smallest of ``Law.lowest`` over all steps up to each time, (T, B)
    work: Work


class Stepper(ABC):
    """A way to follow a law of motion through time. It holds settings only, no state."""

    order: ClassVar[int]  #: global order of accuracy; tests/test_orders.py measures it
    energy_stable: ClassVar[bool] = False  #: whether the free energy of a closed cell never rises

    @abstractmethod
    def integrate(self, law: Law, u0: Tensor, times: Tensor, report: Report | None = None) -> Path:
        """The states at ``times`` ``(T,)`` from ``u0`` ``(B, *state)`` at ``times[0]``.

        An interruption from the keyboard ends the run early and is reported as an outcome.
        """
