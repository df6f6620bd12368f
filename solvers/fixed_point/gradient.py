"""How a gradient goes through the solution of f(u) = 0."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pnpfusion.solvers.fixed_point.base import (
    ConvergenceWarning,
    FixedPoint,
    FixedPointSolver,
    GradientReport,
    Residual,
    check_share,
    per_row,
    rms,
)
from pnpfusion.solvers.fixed_point.picard import Picard
from pnpfusion.solvers.implicit_solve import runs_forward, without_derivative
from pnpfusion.solvers.krylov import gmres


class Gradient(ABC):
    """What stands for the derivative of the solution."""

    @abstractmethod
    def through(
        self, found: FixedPoint, residual: Residual, solver: FixedPointSolver, tolerance: float
    ) -> tuple[Tensor, GradientReport]:
        """The solution ``found.u`` with a gradient, and the report that its backward fills in."""


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
        self, found: FixedPoint, residual: Residual, solver: FixedPointSolver, tolerance: float
    ) -> tuple[Tensor, GradientReport]:
        """See :class:`Gradient`."""
        linear = self.solver
        if linear is None and isinstance(solver, Picard):
            linear = solver
        how = "GMRES" if linear is None else repr(linear)
        report = GradientReport(f"implicit function theorem, its linear systems by {how}")
        u = found.u.detach().requires_grad_()
        f = residual(u, None)
        if not f.requires_grad:  # it depends on nothing, not even on the state
            return found.u, report
        tol = tolerance if self.tolerance is None else self.tolerance
        plan = _Adjoint(found, u, f, linear, tol, self.mask_unconverged, report)
        solution: Tensor = _Implicit.apply(plan, f)  # type: ignore[no-untyped-call]
        return solution, report


@dataclass(frozen=True)
class Phantom(Gradient):
    r"""The gradient of a few further rounds :math:`u \leftarrow u + \tau f(u)` [GZWJ21].

    Cheap and biased: what it leaves out decays with the number of rounds where the law contracts.
    The value stays that of the solve. With ``damping=1`` this is backpropagation through the last
    ``steps`` rounds; through all rounds it goes by :func:`pnpfusion.unroll`.
    """

    steps: int = 1
    damping: float = 1.0  #: tau

    def __post_init__(self) -> None:
        check_share("damping", self.damping)
        if type(self.steps) is not int or self.steps < 1:
            raise ValueError(f"`steps` must be a whole number >= 1, got {self.steps!r}.")

    def through(
        self, found: FixedPoint, residual: Residual, solver: FixedPointSolver, tolerance: float
    ) -> tuple[Tensor, GradientReport]:
        """See :class:`Gradient`."""
        u = found.u.detach()
        for _ in range(self.steps):
            u = u + self.damping * residual(u, None)
        return found.u + (u - u.detach()), GradientReport(f"{self!r}, biased")


def solve_fixed_point(
    residual: Residual,
    u0: Tensor,
    *,
    solver: FixedPointSolver,
    tolerance: float,
    gradient: Gradient | None = None,
) -> FixedPoint:
    r"""Solve f(u) = 0 from ``u0``, sample by sample, with a gradient to all that f depends on.

    Args:
        residual: f; for a fixed point of g it is g(u) - u.
        u0: where to begin, ``(B, *state)``; no gradient goes to it.
        solver: how.
        tolerance: of the RMS of f(u) relative to that of u + f(u).
        gradient: None is :class:`Implicit`.

    Returns:
        The solution; its ``u`` carries the gradient, its ``backward`` is filled in by the backward
        pass.
    """
    if runs_forward():
        raise NotImplementedError(
            "derivatives of fixed points go backward only; use torch.autograd instead of jvp."
        )
    found = solver.solve(residual, u0, tolerance)
    gradient = Implicit() if gradient is None else gradient
    if not torch.is_grad_enabled():
        return found
    u, report = gradient.through(found, residual, solver, tolerance)
    return replace(found, u=u, backward=report)


@dataclass(frozen=True, eq=False)
class _Adjoint:
    """The linear system f'(u)^T w = -y of a backward pass."""

    found: FixedPoint
    u: Tensor  #: the solution, a leaf
    f: Tensor  #: f there, with its graph
    solver: FixedPointSolver | None
    tolerance: float
    mask: bool
    report: GradientReport

    def solve(self, y: Tensor) -> Tensor:
        """w, as far as the solver came."""

        def times_jacobian(w: Tensor) -> Tensor:
            (product,) = torch.autograd.grad(
                self.f, self.u, w, retain_graph=True, materialize_grads=True
            )
            return product

        if self.solver is None:
            w, evaluations, converged = gmres(
                times_jacobian, -y, lambda v: v, self.tolerance, restart=50, max_iterations=200
            )
            residuals = rms(times_jacobian(w) + y) / rms(y).clamp_min(torch.finfo(y.dtype).tiny)
        else:

            def residual(w: Tensor, which: Tensor | None) -> Tensor:
                if which is None:
                    return y + times_jacobian(w)
                wide = torch.zeros_like(y).index_copy(0, which, w)
                return y[which] + times_jacobian(wide)[which]

            solved = self.solver.solve(residual, y, self.tolerance)
            w, evaluations, converged = solved.u, solved.evaluations, solved.converged
            residuals = solved.residuals
        report = self.report
        report.converged, report.evaluations, report.residuals = converged, evaluations, residuals
        good = converged & self.found.converged
        if not bool(good.all()):
            failed, mask = int((~good).sum()), self.mask
            warnings.warn(
                f"{failed} of {len(good)} samples have "
                + ("had their gradient set to zero" if mask else "a gradient that may be wrong")
                + f": {int((~self.found.converged).sum())} did not converge forward, "
                f"{int((~converged).sum())} backward; raise `max_evaluations`"
                + ("" if mask else ", or leave them out: gradient=Implicit(mask_unconverged=True)"),
                ConvergenceWarning,
                stacklevel=2,
            )
        return torch.where(per_row(good, w), w, 0.0) if self.mask else w


class _Implicit(torch.autograd.Function):
    """Takes f(u), hands out u; backward turns the gradient of u into that of f."""

    @staticmethod
    def forward(ctx: Any, plan: _Adjoint, f: Tensor) -> Tensor:
        ctx.plan = plan
        return plan.found.u.clone()

    @staticmethod
    def backward(ctx: Any, y: Tensor) -> tuple[None, Tensor]:
        with torch.no_grad():
            w = ctx.plan.solve(y)
        return None, without_derivative(w, y, ctx.plan.f)
