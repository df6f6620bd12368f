"""Exponential Runge-Kutta steps: the linear part of a law is followed exactly."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.implicit_solve import ImplicitSolve, per_state
from pnpfusion.solvers.phi_functions import apply, doubled, phi_functions
from pnpfusion.solvers.steppers.base import Law, Path, Report, Semilinear, SemilinearLaw
from pnpfusion.solvers.steppers.one_step import Attempt, FixedOneStep, Start

#: One tensor per coefficient of a method, each (B|1, S, S, *modes).
Coefficients = tuple[Tensor, ...]


@dataclass(frozen=True)
class Exponential(FixedOneStep):
    r"""Fixed steps of order 4 for laws :math:`\dot v = M v + N(t, v)` in modes.

    What M holds, diffusion and the mean drift of PNP, limits no step; the rest is explicit. A step
    that is too large for the rest makes the state grow without bound, which is reported as an
    outcome; nothing keeps concentrations positive. Differentiable to any order, M included.

    Raises:
        ValueError: ``dt`` is not positive, or the law has no linear part to offer.
    """

    order: ClassVar[int] = 4
    keeps_positive: ClassVar[bool] = False

    @abstractmethod
    def coefficients(self, linear: Tensor, h: Tensor) -> Coefficients:
        """Functions of h M for one size of step; ``h`` is ``(B|1, 1, 1, 1, ...)``."""

    @abstractmethod
    def advance(
        self, part: Semilinear, matrices: Coefficients, t: Tensor, dt: Tensor, v: Tensor, n: Tensor
    ) -> Tensor:
        """The modes after ``dt`` ``(B,)`` from ``v`` at ``t``, where the remainder is ``n``."""

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
        part = law.semilinear(u0) if isinstance(law, SemilinearLaw) else None
        if part is None:
            raise ValueError(
                f"`{type(self).__name__}` follows the linear part of a law exactly, but this law "
                f"offers none; use another stepper, e.g. KenCarp4(), or for PNP series in space."
            )
        return super().integrate(_Split(law, part), u0, times, report, checkpoints, resume)

    def attempt(self, law: Law, start: Start) -> Attempt:
        """See :class:`OneStep`."""
        if not isinstance(law, _Split):
            raise TypeError("an exponential step is taken by `integrate` only.")
        part = law.part
        t, dt = start.t, start.dt
        v, n = law.start(t, start.u, start.slope)
        v = self.advance(part, law.matrices(self, dt), t, dt, v, n)
        n = part.remainder(t + dt, v)
        new, slope = part.from_modes(v), part.from_modes(apply(part.linear, v, plus=n))
        law.keep(t + dt, new, v, n)
        return Attempt.unsolved(start, new, slope, rate_calls=4)


@dataclass(eq=False)
class _Split:
    """A law with its linear part and, for one run, what the last steps have computed."""

    law: Law
    part: Semilinear
    known: dict[tuple[object, ...], Coefficients] = field(default_factory=dict)
    last: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def start(self, t: Tensor, u: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The modes of ``u`` and of the remainder there, kept from the last step if it stands."""
        if self.last is not None and not torch.is_grad_enabled():
            t_kept, u_kept, v, n = self.last
            if torch.equal(u, u_kept) and torch.allclose(t, t_kept):
                return v, n
        v = self.part.to_modes(u)
        return v, self.part.to_modes(slope) - apply(self.part.linear, v)

    def keep(self, t: Tensor, u: Tensor, v: Tensor, n: Tensor) -> None:
        """Remember the end of a step, unless a graph holds it."""
        self.last = None if torch.is_grad_enabled() else (t, u, v, n)

    def matrices(self, method: Exponential, dt: Tensor) -> Coefficients:
        """The coefficients for ``dt`` ``(B,)``; sizes that differ by round-off share them."""
        digits = 12 if dt.dtype == torch.float64 else 6
        sizes = dt.tolist()
        if len(set(sizes)) == 1:
            sizes = sizes[:1]
        key = (torch.is_grad_enabled(), *(f"{size:.{digits}e}" for size in sizes))
        if key not in self.known:
            if len(self.known) >= 4:
                self.known.pop(next(iter(self.known)))
            linear = self.part.linear
            h = dt[: len(sizes)].reshape(-1, *(1 for _ in linear.shape[1:]))
            self.known[key] = method.coefficients(linear, h)
        return self.known[key]

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


class IFRK4(Exponential):
    r"""Integrating factor [Law67]: the classical method of order 4 for :math:`e^{-tM} v`.

    One matrix per mode; what rests by a balance of M v and N moves by the error of a step.
    """

    def coefficients(self, linear: Tensor, h: Tensor) -> Coefficients:
        """The propagator of half a step."""
        return (phi_functions(h / 2 * linear, 1)[0],)

    def advance(
        self, part: Semilinear, matrices: Coefficients, t: Tensor, dt: Tensor, v: Tensor, n: Tensor
    ) -> Tensor:
        """See :class:`Exponential`."""
        (half,) = matrices
        h, middle = per_state(dt, v), t + dt / 2
        v_half, n_half = apply(half, v), apply(half, n)
        n_2 = part.remainder(middle, torch.addcmul(v_half, h / 2, n_half))
        n_3 = part.remainder(middle, torch.addcmul(v_half, h / 2, n_2))
        n_4 = part.remainder(t + dt, apply(half, torch.addcmul(v_half, h, n_3)))
        end = v_half + h / 6 * (n_half + 2 * (n_2 + n_3))
        return torch.addcmul(apply(half, end), h / 6, n_4)


class ETDRK4(Exponential):
    r"""Exponential time differencing [CM02]: the remainder is integrated against :math:`e^{tM}`.

    Six matrices per mode; what rests stays at rest, whatever the step.
    """

    def coefficients(self, linear: Tensor, h: Tensor) -> Coefficients:
        """Propagators of half a step and a step, then the weights of the remainders."""
        at_half = phi_functions(h / 2 * linear, 3)
        whole, phi_1, phi_2, phi_3 = doubled(at_half)
        return (
            at_half[0],
            h / 2 * at_half[1],
            whole,
            h * (phi_1 - 3 * phi_2 + 4 * phi_3),
            h * (2 * phi_2 - 4 * phi_3),
            h * (4 * phi_3 - phi_2),
        )

    def advance(
        self, part: Semilinear, matrices: Coefficients, t: Tensor, dt: Tensor, v: Tensor, n: Tensor
    ) -> Tensor:
        """See :class:`Exponential`."""
        half, weight, whole, first, inner, last = matrices
        middle = t + dt / 2
        v_half = apply(half, v)
        v_2 = apply(weight, n, plus=v_half)
        n_2 = part.remainder(middle, v_2)
        n_3 = part.remainder(middle, apply(weight, n_2, plus=v_half))
        v_4 = apply(weight, 2 * n_3 - n, plus=apply(half, v_2))
        end = apply(first, n, plus=apply(inner, n_2 + n_3, plus=apply(whole, v)))
        return apply(last, part.remainder(t + dt, v_4), plus=end)
