"""How a gradient goes through the solution of f(u) = 0."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pnpfusion.solvers.arguments import check_positive, check_whole
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.fixed_point.adjoint import Adjoint, warn_unsolved
from pnpfusion.solvers.fixed_point.base import (
    FixedPoint,
    FixedPointSolver,
    GradientReport,
    Residual,
    Tolerance,
)
from pnpfusion.solvers.fixed_point.linearised import linearised
from pnpfusion.solvers.fixed_point.picard import Picard
from pnpfusion.solvers.implicit_solve import runs_forward


class Gradient(ABC):
    """What stands for the derivative of the solution."""

    mask_unconverged: bool  #: whether samples without an answer pass on no gradient

    @abstractmethod
    def through(
        self, found: FixedPoint, residual: Residual, solver: FixedPointSolver, tolerance: Tolerance
    ) -> tuple[Tensor, GradientReport]:
        """The solution ``found.u`` with a gradient, and the report that its backward fills in.

        Args:
            found: what the solver came to, without gradient.
            residual: f, whose parameters get the gradient.
            solver: the one that was used, for linear solves of its kind.
            tolerance: that of the solve, which linear solves share.

        Returns:
            The state and what its backward pass will have done.
        """


@dataclass(frozen=True)
class Implicit(Gradient):
    r"""The implicit function theorem: exact where the solve has converged.

    .. math:: \frac{du}{d\theta} = -\Bigl(\frac{\partial f}{\partial u}\Bigr)^{-1}
              \frac{\partial f}{\partial\theta},

    one linear solve with the transposed Jacobian in the backward pass, whatever the solver took;
    memory does not grow with its iterations. Once differentiable.
    """

    solver: FixedPointSolver | None = None
    """Of the linear system; None is Picard where that found the solution, else GMRES."""
    tolerance: float | None = None  #: of the linear system; None is that of the solve
    mask_unconverged: bool = False
    """Whether samples without an answer, forward or backward, get and pass on no gradient."""

    def through(
        self, found: FixedPoint, residual: Residual, solver: FixedPointSolver, tolerance: Tolerance
    ) -> tuple[Tensor, GradientReport]:
        """See :class:`Gradient`."""
        linear = self.solver
        if linear is None and isinstance(solver, Picard):
            linear = solver
        how = "GMRES" if linear is None else repr(linear)
        report = GradientReport(f"implicit function theorem, its linear systems by {how}")
        # What failed may not be finite inside f, where not even a gradient of zero would pass:
        rows = found.converged.nonzero().squeeze(1) if self.mask_unconverged else None
        if rows is not None and not len(rows):
            warn_unsolved(found, None, True)
            return found.u, replace(report, converged=found.converged)
        if rows is not None and len(rows) == len(found.u):
            rows = None
        there = linearised(residual, found.u if rows is None else found.u[rows], rows)
        if there is None:
            return found.u, report
        relative = tolerance.relative if self.tolerance is None else self.tolerance
        plan = Adjoint(found, rows, there, linear, relative, self.mask_unconverged, report)
        return plan.attached(), report


@dataclass(frozen=True)
class Phantom(Gradient):
    r"""The gradient of a few further rounds :math:`u \leftarrow u + \tau f(u)` [GZB21].

    Cheap and biased: what it leaves out decays with the number of rounds where the law contracts.
    The value stays that of the solve. With ``damping=1`` this is backpropagation through the last
    ``steps`` rounds; through all rounds it goes by :func:`pnpfusion.unroll`.
    """

    steps: int = 1
    damping: float = 1.0  #: tau
    mask_unconverged: bool = False  #: whether samples without an answer pass on no gradient

    def __post_init__(self) -> None:
        check_positive("damping", self.damping)
        check_whole("steps", self.steps)

    def through(
        self, found: FixedPoint, residual: Residual, solver: FixedPointSolver, tolerance: Tolerance
    ) -> tuple[Tensor, GradientReport]:
        """See :class:`Gradient`."""
        good = found.converged
        rows = good.nonzero().squeeze(1) if self.mask_unconverged and not good.all() else None
        start = u = (found.u if rows is None else found.u[rows]).detach()
        for _ in range(self.steps):
            u = u + self.damping * residual(u, rows)
        warn_unsolved(found, None, self.mask_unconverged)
        value = start + (u - u.detach())
        if rows is not None:
            value = found.u.index_copy(0, rows, value)
        return value, GradientReport(f"{self!r}, biased", converged=good)


def solve_fixed_point(
    residual: Residual,
    u0: Tensor,
    *,
    solver: FixedPointSolver,
    tolerance: Tolerance | float,
    gradient: Gradient | None = None,
    name: str = "",
) -> FixedPoint:
    r"""Solve f(u) = 0 from ``u0``, sample by sample, with a gradient to all that f depends on.

    Args:
        residual: f; for a fixed point of g it is g(u) - u.
        u0: where to begin, ``(B, *state)``; no gradient goes to it.
        solver: how.
        tolerance: when it has converged; a number is that of the RMS of f(u) relative to that of
            u + f(u).
        gradient: None is :class:`Implicit`.
        name: what is solved for, if a law solves for one thing after another; for warnings.

    Returns:
        The solution; its ``u`` carries the gradient, its ``backward`` is filled in by the backward
        pass.

    Raises:
        NotImplementedError: a derivative in forward mode, as of ``torch.func.jvp``.
    """
    if runs_forward():
        raise NotImplementedError(
            "derivatives of fixed points go backward only; use torch.autograd instead of jvp "
            f"{Faq.SECOND_DERIVATIVES}."
        )
    goal = Tolerance.of(tolerance)
    found = replace(solver.solve(residual, u0, goal), name=name)
    gradient = Implicit() if gradient is None else gradient
    if not torch.is_grad_enabled():
        return found
    u, report = gradient.through(found, residual, solver, goal)
    return replace(found, u=u, backward=report)
