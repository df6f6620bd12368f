"""The linear system behind the gradient of a solution, solved in the backward pass."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pnpfusion.solvers.callers import users_level
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.fixed_point.base import (
    ConvergenceWarning,
    FixedPoint,
    FixedPointSolver,
    GradientReport,
    Tolerance,
)
from pnpfusion.solvers.fixed_point.linearised import Linearised
from pnpfusion.solvers.implicit_solve import per_state, without_derivative
from pnpfusion.solvers.krylov import gmres


@dataclass(frozen=True, eq=False)
class Adjoint:
    """The linear system f'(u)^T w = -y of a backward pass."""

    found: FixedPoint
    rows: Tensor | None  #: those that have a gradient; None is all
    there: Linearised  #: f at the solution in these rows
    solver: FixedPointSolver | None
    tolerance: float
    mask: bool
    report: GradientReport

    def attached(self) -> Tensor:
        """The solution, whose backward pass solves the system."""
        solution: Tensor = _Implicit.apply(self, self.there.f)  # type: ignore[no-untyped-call]
        return solution

    def solve(self, whole: Tensor) -> Tensor:
        """w, as far as the solver came, for the gradient of all rows."""
        y = whole if self.rows is None else whole[self.rows]
        size = y.flatten(1).norm(dim=1)
        size = per_state(torch.where(size > 0, size, 1.0), y)  # the system is linear in y
        w, evaluations, converged, residuals = self._solve(y / size)
        good = torch.zeros_like(self.found.converged)
        everybody = (
            torch.arange(len(whole), device=whole.device) if self.rows is None else self.rows
        )
        good = good.index_copy(0, everybody, converged & self.found.converged[everybody])
        report = self.report
        report.converged = good
        report.evaluations = torch.zeros_like(good, dtype=torch.long).index_copy(
            0, everybody, evaluations
        )
        report.residuals = torch.full_like(whole.flatten(1)[:, 0], torch.nan).index_copy(
            0, everybody, residuals
        )
        lost = ~whole.flatten(1).isfinite().all(1)
        if lost.any():
            warnings.warn(
                f"the gradient that comes to the solution is not finite in {int(lost.sum())} of "
                f"{len(lost)} samples before it goes through the solve, so look at what is "
                f"computed from the solution, such as the loss; more evaluations do not help.",
                ConvergenceWarning,
                stacklevel=2,
            )
        warn_unsolved(self.found, good | lost, self.mask)
        w = w * size
        return torch.where(per_state(converged, w), w, 0.0) if self.mask else w

    def _solve(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For y of norm 1 in each row: w, products, whether it converged, relative residuals."""
        times_jacobian = self.there.transposed
        if self.solver is None:
            w, products, left = gmres(
                times_jacobian, -y, lambda v: v, self.tolerance, restart=100, verify=False
            )
            enough = max(self.tolerance, 20 * torch.finfo(y.dtype).eps)
            return w, products, left <= enough, left

        def residual(w: Tensor, which: Tensor | None) -> Tensor:
            if which is None:
                return y + times_jacobian(w)
            wide = torch.zeros_like(y).index_copy(0, which, w)
            return y[which] + times_jacobian(wide)[which]

        solved = self.solver.solve(residual, y, Tolerance(self.tolerance, 0.0))
        return solved.u, solved.evaluations, solved.converged, solved.residuals


def warn_unsolved(found: FixedPoint, good: Tensor | None, masked: bool) -> None:
    """Say how many gradients are wrong; ``good`` is None where there is no linear system."""
    forward = found.converged
    failed = int((~(forward if good is None else good)).sum())
    if not failed:
        return
    unsolved = int((~(forward if good is None else forward | good)).sum())
    backward = "" if good is None else f", {failed - unsolved} more backward"
    warnings.warn(
        f"{failed} of {len(forward)} samples have "
        + ("had their gradient set to zero" if masked else "a gradient that may be wrong")
        + (f" in {found.name}" if found.name else "")
        + f": {unsolved} did not converge forward{backward}; raise `max_evaluations`"
        + ("" if masked else ", or leave them out with mask_unconverged=True")
        + f" {Faq.UNSOLVED_IN_TRAINING}.",
        ConvergenceWarning,
        stacklevel=users_level(),
    )


class _Implicit(torch.autograd.Function):
    """Takes f(u), hands out u; backward turns the gradient of u into that of f."""

    @staticmethod
    def forward(ctx: Any, plan: Adjoint, f: Tensor) -> Tensor:
        ctx.plan = plan
        return plan.found.u.clone()

    @staticmethod
    def backward(ctx: Any, y: Tensor) -> tuple[None, Tensor]:
        with torch.no_grad(), torch.autocast(y.device.type, enabled=False):
            w = ctx.plan.solve(y)
        return None, without_derivative(w, y, ctx.plan.there.f)
