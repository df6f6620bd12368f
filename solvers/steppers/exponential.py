"""Exponential Runge-Kutta steps: the linear part of a law is followed exactly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.implicit_solve import per_state
from pnpfusion.solvers.phi_functions import apply
from pnpfusion.solvers.plain_steps import PlainSteps
from pnpfusion.solvers.steppers.base import Law, Path, Report, Semilinear, SemilinearLaw
from pnpfusion.solvers.steppers.control import Control, FixedSteps
from pnpfusion.solvers.steppers.halving import HalvedSteps, MeanSquare
from pnpfusion.solvers.steppers.matrices import Coefficients, Matrices
from pnpfusion.solvers.steppers.modal import ModalSteps, Split
from pnpfusion.solvers.steppers.modal_law import Modes, Outer, Separable
from pnpfusion.solvers.steppers.one_step import Attempt, OneStep, Start
from pnpfusion.solvers.steppers.settings import settle


@dataclass(frozen=True)
class Exponential(OneStep):
    r"""Steps of order 4 for laws :math:`\dot v = M v + N(t, v)` in modes.

    What M holds, diffusion and the mean drift of PNP, limits no step; the rest is explicit. Steps
    are as long as the error of each sample allows, halves of halves of the time between two saved
    ones, so that a few sizes share their coefficients; or of a fixed size. The error of a step is
    that against an embedded solution of order 3, which costs no evaluation [BM13]. A fixed step
    that is too large for the rest makes the state grow without bound, which is reported as an
    outcome; nothing keeps concentrations positive. Differentiable to any order, M included.

    Raises:
        ValueError: a setting is not positive, both ``dt`` and ``rtol`` are given, ``rtol`` is below
            what the dtype can tell, or the law has no linear part to offer.
    """

    order: ClassVar[int] = 4
    keeps_positive: ClassVar[bool] = False

    dt: float | None = None  #: steps of at most this size, made to fit between the saved times
    rtol: float | None = None  #: error of a step; None is 1e-5, in float32 1e-3
    max_steps: int = 1_000_000  #: per sample

    def __post_init__(self) -> None:
        if self.dt is not None and self.rtol is not None:
            raise ValueError(
                f"`dt` fixes the steps, so it excludes `rtol`; give one {Faq.WHICH_STEPPER}."
            )
        settle(self, ("dt", "rtol"))

    highest: ClassVar[int]  #: the last phi function that :meth:`coefficients` wants

    @abstractmethod
    def coefficients(self, half: Coefficients, whole: Coefficients, h: Tensor) -> Coefficients:
        """What one size ``h`` ``(B|1, 1, 1, 1, ...)`` takes, from the phi functions.

        ``half`` are those of h M / 2, ``whole`` those of h M; only e^(h M / 2) if that will do.
        """

    @abstractmethod
    def advance(
        self, part: Semilinear, matrices: Coefficients, t: Tensor, dt: Tensor, v: Tensor, n: Tensor
    ) -> tuple[Tensor, Tensor, Coefficients]:
        """The modes after ``dt`` ``(B,)`` from ``v`` at ``t``, where the remainder is ``n``.

        With them the remainder of the last stage and, for :meth:`error`, the matrix that weighs it.
        """

    @abstractmethod
    def back(
        self,
        matrices: Coefficients,
        dt: Tensor,
        stages: Sequence[Modes],
        by_end: Tensor,
        through: Callable[[int, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, list[Outer]]:
        """Gradients by v, n and the matrices of :meth:`advance` from that by its end.

        Args:
            matrices: what :meth:`advance` was given.
            dt: likewise.
            stages: v and n, then the modes and the remainder of each stage.
            by_end: the gradient by the modes that it led to.
            through: by the modes of a stage, from that by its remainder; once for each, last first.

        Returns:
            Those by v and n, and for each matrix the outer products that add up to its own.
        """

    def step(
        self, part: Semilinear, matrices: Coefficients, t: Tensor, dt: Tensor, v: Tensor, n: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The modes after a step, the remainder there, and an estimate of the error."""
        end, n_last, weight = self.advance(part, matrices, t, dt, v, n)
        n_end = part.remainder(t + dt, end)
        if self.dt is not None:
            return end, n_end, None
        with torch.no_grad():
            difference = 0.6 * (n_last - n_end)
            error = apply(weight[0], difference) if weight else per_state(dt, v) / 6 * difference
        return end, n_end, error

    def control(self, u: Tensor, times: Tensor) -> Control:
        """See :class:`OneStep`."""
        double = u.dtype == torch.float64
        if self.dt is not None:
            none = MeanSquare(0.0, 1.0)
            return FixedSteps(self.dt, times, none, self.max_steps, retry=False)
        rtol = self.rtol if self.rtol is not None else (1e-5 if double else 1e-3)
        least = 5e2 * torch.finfo(u.dtype).eps
        if rtol < least:
            raise ValueError(f"`rtol` must be >= {least:.1e} for {u.dtype}, got {rtol:g}.")
        return HalvedSteps(times, MeanSquare(rtol, 0.0), self.max_steps, error_order=4)

    def plain_steps(self, law: Law, control: Control) -> PlainSteps | None:
        """See :class:`OneStep`."""
        return ModalSteps(self, law, control) if isinstance(law, Split) else None

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
                f"offers none; use another stepper, e.g. KenCarp4(), or for PNP series in space"
                f" {Faq.WHICH_STEPPER}."
            )
        split = Split(law, part)
        if isinstance(part.resolution, Separable):  # steps in modes keep places themselves
            split, checkpoints = replace(split, checkpoints=checkpoints), None
        return super().integrate(split, u0, times, report, checkpoints, resume)

    def attempt(self, law: Law, start: Start) -> Attempt:
        """See :class:`OneStep`."""
        if not isinstance(law, Split):
            raise TypeError("an exponential step is taken by `integrate` only.")
        part, matrices = law.whole(self)
        if torch.is_grad_enabled():  # what a graph holds serves one step
            matrices = Matrices(self, part.linear, part.alike)
        v = part.to_modes(start.u)
        n = part.to_modes(start.slope) - apply(part.linear, v)
        v, n, error = self.step(part, matrices.of(start.dt), start.t, start.dt, v, n)
        new, slope = part.from_modes(v), part.from_modes(apply(part.linear, v, plus=n))
        return replace(Attempt.unsolved(start, new, slope, rate_calls=4), error=error)


class IFRK4(Exponential):
    r"""Integrating factor [Law67]: the classical method of order 4 for :math:`e^{-tM} v`.

    One matrix per mode; what rests by a balance of M v and N moves by the error of a step.
    """

    highest: ClassVar[int] = 0

    def coefficients(self, half: Coefficients, whole: Coefficients, h: Tensor) -> Coefficients:
        """The propagator of half a step."""
        return (half[0],)

    def advance(
        self, part: Semilinear, matrices: Coefficients, t: Tensor, dt: Tensor, v: Tensor, n: Tensor
    ) -> tuple[Tensor, Tensor, Coefficients]:
        """See :class:`Exponential`."""
        (half,) = matrices
        h, middle = per_state(dt, v), t + dt / 2
        v_half, n_half = apply(half, v), apply(half, n)
        n_2 = part.remainder(middle, torch.addcmul(v_half, h / 2, n_half))
        n_3 = part.remainder(middle, torch.addcmul(v_half, h / 2, n_2))
        n_4 = part.remainder(t + dt, apply(half, torch.addcmul(v_half, h, n_3)))
        end = v_half + h / 6 * (n_half + 2 * (n_2 + n_3))
        return torch.addcmul(apply(half, end), h / 6, n_4), n_4, ()

    def back(
        self,
        matrices: Coefficients,
        dt: Tensor,
        stages: Sequence[Modes],
        by_end: Tensor,
        through: Callable[[int, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, list[Outer]]:
        """See :class:`Exponential`."""
        (half,) = matrices
        (v, n), (_, n_2), (_, n_3), _ = stages
        h = per_state(dt, by_end)
        v_half, n_half = apply(half, v), apply(half, n)
        half = half.transpose(1, 2)
        inner = v_half + h / 6 * (n_half + 2 * (n_2 + n_3))
        by_inner = apply(half, by_end)
        by_4 = through(3, h / 6 * by_end)
        before_4 = apply(half, by_4)
        by_3 = through(2, torch.addcmul(h / 3 * by_inner, h, before_4))
        by_2 = through(1, torch.addcmul(h / 3 * by_inner, h / 2, by_3))
        by_v, by_n = by_inner + before_4 + by_3 + by_2, torch.addcmul(h / 6 * by_inner, h / 2, by_2)
        outer = [
            (by_end, inner),
            (by_4, torch.addcmul(v_half, h, n_3)),
            (by_v, v),
            (by_n, n),
        ]
        return apply(half, by_v), apply(half, by_n), [outer]


class ETDRK4(Exponential):
    r"""Exponential time differencing [CM02]: the remainder is integrated against :math:`e^{tM}`.

    Six matrices per mode; what rests stays at rest, whatever the step.
    """

    highest: ClassVar[int] = 3

    def coefficients(self, half: Coefficients, whole: Coefficients, h: Tensor) -> Coefficients:
        """Propagators of half a step and a step, then the weights of the remainders."""
        exponential, phi_1, phi_2, phi_3 = whole
        return (
            half[0],
            h / 2 * half[1],
            exponential,
            h * (phi_1 - 3 * phi_2 + 4 * phi_3),
            h * (2 * phi_2 - 4 * phi_3),
            h * (4 * phi_3 - phi_2),
        )

    def advance(
        self, part: Semilinear, matrices: Coefficients, t: Tensor, dt: Tensor, v: Tensor, n: Tensor
    ) -> tuple[Tensor, Tensor, Coefficients]:
        """See :class:`Exponential`."""
        half, weight, whole, first, inner, last = matrices
        middle = t + dt / 2
        v_half = apply(half, v)
        v_2 = apply(weight, n, plus=v_half)
        n_2 = part.remainder(middle, v_2)
        n_3 = part.remainder(middle, apply(weight, n_2, plus=v_half))
        v_4 = apply(weight, 2 * n_3 - n, plus=apply(half, v_2))
        n_4 = part.remainder(t + dt, v_4)
        end = apply(first, n, plus=apply(inner, n_2 + n_3, plus=apply(whole, v)))
        return apply(last, n_4, plus=end), n_4, (last,)

    def back(
        self,
        matrices: Coefficients,
        dt: Tensor,
        stages: Sequence[Modes],
        by_end: Tensor,
        through: Callable[[int, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, list[Outer]]:
        """See :class:`Exponential`."""
        half, weight, whole, first, inner, last = (m.transpose(1, 2) for m in matrices)
        (v, n), (v_2, n_2), (_, n_3), (_, n_4) = stages
        by_inner = apply(inner, by_end)
        by_4 = through(3, apply(last, by_end))
        before_4 = apply(weight, by_4)
        by_3 = through(2, torch.add(by_inner, before_4, alpha=2))
        by_2 = through(1, apply(weight, by_3, plus=by_inner))
        by_2 = apply(half, by_4, plus=by_2)
        by_half = by_3 + by_2
        by_v = apply(whole, by_end, plus=apply(half, by_half))
        by_n = apply(first, by_end, plus=apply(weight, by_2)) - before_4
        outer: list[Outer] = [
            [(by_half, v), (by_4, v_2)],
            [(by_2, n), (by_3, n_2), (by_4, 2 * n_3 - n)],
            [(by_end, v)],
            [(by_end, n)],
            [(by_end, n_2 + n_3)],
            [(by_end, n_4)],
        ]
        return by_v, by_n, outer
