"""How a gradient goes through the solution of f(u) = 0."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pnpfusion.solvers.callers import users_level
from pnpfusion.solvers.faq import Faq
from pnpfusion.solvers.fixed_point.base import (
    ConvergenceWarning,
    FixedPoint,
    FixedPointSolver,
    GradientReport,
    Residual,
    Tolerance,
    check_positive,
    check_whole,
)
from pnpfusion.solvers.fixed_point.picard import Picard
from pnpfusion.solvers.implicit_solve import per_state, runs_forward, without_derivative
from pnpfusion.solvers.krylov import gmres


@dataclass(frozen=True, eq=False)
class Linearised:
    """A residual at one place."""

    f: Tensor  #: like the state; with a graph to all that it depends on but the state
    transposed: Callable[[Tensor], Tensor]  #: products with the transposed Jacobian, row by row


@runtime_checkable
class OwnDerivative(Protocol):
    """A residual that knows its derivative, in less time than autograd finds it."""

    def linearised(self, u: Tensor, rows: Tensor | None) -> Linearised:
        """At ``u``, the states of ``rows`` of the batch, all of them if None."""


def linearised(residual: Residual, u: Tensor, rows: Tensor | None) -> Linearised | None:
    """``residual`` at ``u`` by its own way or by autograd; None if nothing depends on more."""
    if isinstance(residual, OwnDerivative):
        own = residual.linearised(u, rows)
        return own if own.f.requires_grad else None
    u = u.detach().requires_grad_()
    f = residual(u, rows)
    if not _depends_on_more(f, u):
        return None

    def transposed(w: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(f, u, w, retain_graph=True, materialize_grads=True)
        return product

    return Linearised(f, transposed)


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
            _warn(found, None, True)
            return found.u, replace(report, converged=found.converged)
        if rows is not None and len(rows) == len(found.u):
            rows = None
        there = linearised(residual, found.u if rows is None else found.u[rows], rows)
        if there is None:
            return found.u, report
        relative = tolerance.relative if self.tolerance is None else self.tolerance
        plan = _Adjoint(found, rows, there, linear, relative, self.mask_unconverged, report)
        solution: Tensor = _Implicit.apply(plan, there.f)  # type: ignore[no-untyped-call]
        return solution, report


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
        _warn(found, None, self.mask_unconverged)
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


@dataclass(frozen=True, eq=False)
class _Adjoint:
    """The linear system f'(u)^T w = -y of a backward pass."""

    found: FixedPoint
    rows: Tensor | None  #: those that have a gradient; None is all
    there: Linearised  #: f at the solution in these rows
    solver: FixedPointSolver | None
    tolerance: float
    mask: bool
    report: GradientReport

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
        _warn(self.found, good | lost, self.mask)
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


def _warn(found: FixedPoint, good: Tensor | None, masked: bool) -> None:
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


def _depends_on_more(f: Tensor, u: Tensor) -> bool:
    """Whether the graph of ``f`` reaches a leaf beside ``u``."""
    waiting, seen = [f.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and leaf is not u:
            return True
        waiting.extend(edge for edge, _ in node.next_functions)
    return False


class _Implicit(torch.autograd.Function):
    """Takes f(u), hands out u; backward turns the gradient of u into that of f."""

    @staticmethod
    def forward(ctx: Any, plan: _Adjoint, f: Tensor) -> Tensor:
        ctx.plan = plan
        return plan.found.u.clone()

    @staticmethod
    def backward(ctx: Any, y: Tensor) -> tuple[None, Tensor]:
        with torch.no_grad(), torch.autocast(y.device.type, enabled=False):
            w = ctx.plan.solve(y)
        return None, without_derivative(w, y, ctx.plan.there.f)
